"""Context type `CsvTable`: rows of a CSV file as a Markdown table."""

import csv
import io
from dataclasses import dataclass
from typing import Literal

from kubeopencode import Request, context_type, field, inline, invalid_config, unsatisfied


@dataclass
class Key:
    name: str = field(min_length=1, max_length=253, examples=["stock"])
    key: str = field(max_length=253, pattern="^[-._a-zA-Z0-9]+$", examples=["stock.csv"])


@dataclass
class Config:
    config_map: Key = field("Where the CSV is; its first line names the columns")
    columns: list[str] = field("Only these columns, in this order", default=[], max_items=64)
    where: dict[str, list[str]] = field("Only rows with one of these values in each of these columns", default={}, max_properties=16)
    max_rows: int = field("At most so many rows, the first ones", default=100, minimum=1, maximum=1000)
    delimiter: Literal[",", ";", "\t", "|"] = field("What stands between two cells", default=",")


@context_type("CsvTable", "0.1.0", "Rows of a CSV file as a Markdown table", default_name="table")
def table(config: Config, request: Request) -> list:
    head, rows = parsed(config, request)
    shown = [column(name, head, f"/columns/{i}") for i, name in enumerate(config.columns)] or list(range(len(head)))
    for name, values in config.where.items():
        at = column(name, head, f"/where/{pointer(name)}")
        rows = [row for row in rows if (row[at].strip() if at < len(row) else "") in values]
    lines = [line(head, shown), "|" + " --- |" * len(shown), *(line(row, shown) for row in rows[: config.max_rows])]
    if not rows:
        lines += ["", "(no row)"]
    elif len(rows) > config.max_rows:
        lines += ["", f"(the first {config.max_rows} of {len(rows)} rows)"]
    return [inline("\n".join(lines))]


def parsed(config: Config, request: Request) -> tuple[list, list]:
    """Names of columns, and rows, of which none has more cells."""
    name, key = config.config_map.name, config.config_map.key
    text = (request.config_map(name, key) or {}).get(key)
    if not isinstance(text, str):
        raise unsatisfied(f"ConfigMap {name} has no text under {key}", "/configMap")
    place = f"key {key} of ConfigMap {name}"
    # a program that writes tables may begin with a byte order mark
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
    reader = csv.reader(lines, delimiter=config.delimiter, skipinitialspace=True, strict=True)
    try:
        rows = [cells for cells in reader if any(cells)]
    except csv.Error as error:
        raise unsatisfied(f"{place} is no CSV: line {reader.line_num}: {error}", "/configMap")
    if not rows:
        raise unsatisfied(f"{place} has no line that names its columns", "/configMap")
    head = [cell.strip() for cell in rows.pop(0)]
    if (most := max(map(len, rows), default=0)) > len(head):
        raise unsatisfied(f"{place} has more cells in a row ({most}) than in its first line ({len(head)}): is delimiter right?", "/configMap")
    return head, rows


def column(name: str, head: list, place: str) -> int:
    if head.count(name) != 1:
        how_many = "more than one column" if name in head else "no column"
        raise invalid_config(f"there is {how_many} {name}: the first line has {', '.join(head)}", place)
    return head.index(name)


def pointer(key: str) -> str:
    """A key as JSON Pointers have it."""
    return key.replace("~", "~0").replace("/", "~1")


def line(row: list, shown: list) -> str:
    """What would end a cell, or the line, does not."""
    cells = ((row[at].strip() if at < len(row) else "").replace("|", "\\|").splitlines() for at in shown)
    return f"| {' | '.join('<br>'.join(cell) for cell in cells)} |"
