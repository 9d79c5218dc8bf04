"""Context type `CsvTable`: a CSV file of a ConfigMap as a Markdown table."""

import csv
import io
from dataclasses import dataclass
from typing import Literal

from kubeopencode import ContextType, Request, context_type, field, inline, invalid_config, unsatisfied


@dataclass
class ConfigMapKey:
    name: str = field(min_length=1, max_length=253, examples=["prices"])
    key: str = field(max_length=253, pattern="^[-._a-zA-Z0-9]+$", examples=["prices.csv"])


@dataclass
class Config:
    config_map: ConfigMapKey = field("The file: its first line has the names of the columns")
    columns: list[str] = field("Only these, in this order", max_items=64, default=[])
    max_rows: int = field("How many rows the agent reads at most", minimum=1, maximum=10000, default=100)
    delimiter: Literal[",", ";", "\t", "|"] = field("What stands between columns", default=",")


@context_type("CsvTable", "0.1.0", "A CSV file of a ConfigMap as a Markdown table", default_name="table")
def table(config: Config, request: Request) -> list:
    name, key = config.config_map.name, config.config_map.key
    text = (request.config_map(name, key) or {}).get(key)
    if not isinstance(text, str):
        raise unsatisfied(f"ConfigMap {name} has no text under {key}", "/configMap")
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=config.delimiter) if row]
    if not rows:
        raise unsatisfied(f"key {key} of ConfigMap {name} is empty", "/configMap")
    head, *body = rows
    for at, column in enumerate(config.columns):
        if column not in head:
            raise invalid_config(f'there is no column "{column}": the file has {", ".join(head)}', f"/columns/{at}")
    places = [head.index(column) for column in config.columns or head]
    shown = [line(head, places), "|" + "---|" * len(places)]
    shown += [line(row, places) for row in body[: config.max_rows]]
    left = len(body) - config.max_rows
    if left > 0:
        shown += ["", f"{left} more rows are in key {key} of ConfigMap {name}."]
    return [inline("\n".join(shown))]


def line(row: list, places: list) -> str:
    cells = [row[place] if place < len(row) else "" for place in places]
    return "".join(f"| {cell.replace('|', chr(92) + '|').replace(chr(10), ' ')} " for cell in cells) + "|"
