"""What a context type in Python is written with: a dataclass for `config`, and a function.

`wit_world`, the interface with all its records, is made by componentize-py when it builds the component. What a function imports
is not there when it is called: import at the top of a file.
"""

import dataclasses
import importlib
import json
import sys
import traceback
import types as python_types
import typing
from typing import Any, Callable, Optional, Union

from componentize_py_types import Err
from wit_world.exports import context_type as wit
from wit_world.imports import types
from wit_world.imports.log import Level, log as _log

_KINDS: dict = {}

# --- a dataclass and its schema ----------------------------------------------------------------------------------


def field(description: str = "", *, secret: bool = False, default: Any = dataclasses.MISSING, **keywords: Any) -> Any:
    """A field of a dataclass with words for users and with limits, as JSON Schema has them: `max_length=100`.

    With a `default` it may be left out; a list or a dict is copied for each item. `secret`: it names a Secret.
    """
    schema = {_camel(key): value for key, value in keywords.items()}
    if description:
        schema["description"] = description
    if secret:
        schema["x-kubeopencode-secret"] = True
    metadata = {"schema": schema}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: json.loads(json.dumps(default)), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def schema_of(cls: Any) -> dict:
    """JSON Schema of a dataclass: `config_map` is `configMap`, what has a default may be left out, nothing else may be there."""
    names = typing.get_type_hints(cls)
    properties = {}
    required = []
    for one in dataclasses.fields(cls):
        name = _camel(one.name)
        properties[name] = {**_schema(names[one.name], f"{cls.__name__}.{one.name}"), **one.metadata.get("schema", {})}
        default = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        if default is dataclasses.MISSING:
            required.append(name)
        elif default is not None:
            properties[name]["default"] = _plain(default)
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def _plain(value: Any) -> Any:
    """A default as users write it."""
    if dataclasses.is_dataclass(value):
        fields = ((_camel(one.name), getattr(value, one.name)) for one in dataclasses.fields(value))
        return {name: _plain(one) for name, one in fields if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


def _schema(hint: Any, place: str) -> dict:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if hint is Any:
        return {}
    if dataclasses.is_dataclass(hint):
        return schema_of(hint)
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], place)}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _schema(arguments[1], place)}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if (inner := _optional(hint)) is not None:
        return _schema(inner, place)
    raise TypeError(f"{place}: there is no schema of {hint}: use str, int, float, bool, list, dict, Literal, Optional or a dataclass")


def _optional(hint: Any) -> Any:
    if typing.get_origin(hint) in (Union, python_types.UnionType):
        inner = [one for one in typing.get_args(hint) if one is not type(None)]
        if len(inner) == 1:
            return inner[0]
    return None


def read(hint: Any, value: Any) -> Any:
    """What the host has checked against the schema, as a dataclass."""
    if (inner := _optional(hint)) is not None:
        return None if value is None else read(inner, value)
    if dataclasses.is_dataclass(hint):
        names = typing.get_type_hints(hint)
        given = {one.name: _camel(one.name) for one in dataclasses.fields(hint)}
        return hint(**{name: read(names[name], value[key]) for name, key in given.items() if key in value})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return [read(arguments[0], one) for one in value]
    if origin is dict:
        return {key: read(arguments[1], one) for key, one in value.items()}
    # 7.0 is an integer in JSON
    return int(value) if hint is int else value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


# --- what a plugin is asked --------------------------------------------------------------------------------------


class _Needed(BaseException):
    """Asks the host for what was not read yet. No Exception, so that an author's `except Exception` lets it through."""


class Request:
    """What is asked; its other fields are those of `request` in wit/plugin.wit."""

    def __init__(self, raw: wit.Request, settings: Any):
        self._raw = raw
        self._asked: dict = {}
        self._unread = False
        # what the installer wrote in the Plugin's spec.config
        self.settings = read(settings, json.loads(raw.settings)) if settings else json.loads(raw.settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def config_map(self, name: str, *keys: str) -> Optional[dict]:
        """Texts and bytes of a ConfigMap by their keys, in `namespace`; None: there is none. Without keys all of them."""
        what = wit.Requirement_ConfigMap(wit.ConfigMapRead(name, list(keys)))
        found = self._input("/".join(["config-map", name, *keys]), what)
        return {one.key: one.value.value for one in found.value} if isinstance(found, wit.Resolved_ConfigMap) else None

    def prompt(self) -> Optional[str]:
        """The Task's description; None: it has none."""
        found = self._input("prompt", wit.Requirement_Prompt())
        return found.value if isinstance(found, wit.Resolved_Prompt) else None

    def fetch(self, url: str, headers: dict = {}, *, body: Optional[str] = None, **rest: Any) -> Optional[wit.Response]:
        """What a server answers. It happens in the Pod, where the function is called again."""
        if "fetch" not in self.host.features:
            version = self.host.version
            raise PluginError(types.ErrorKind.UNSUPPORTED, f"KubeOpenCode {version} fetches nothing for plugins: a newer one is needed")
        found = self._input(f"fetch/{url} {body or ''}", wit.Requirement_Fetch(_http_request(url, headers, body=body, **rest)))
        return found.value if isinstance(found, wit.Resolved_Response) else None

    # what was read; what was not is asked for, and the function is called again from its beginning
    def _input(self, id: str, what: Any) -> Any:
        self._asked[id] = wit.Required(id, what)
        for one in self._raw.inputs:
            if one.id == id:
                return one.value
        self._unread = True
        raise _Needed()

    # all that was asked for; whatever an `except:` that catches all made of it, it made without knowing what there is
    def _needs(self) -> wit.Outcome:
        return wit.Outcome_Needs(list(self._asked.values()))


class PluginError(Exception):
    """What a plugin says no with."""

    def __init__(self, kind: types.ErrorKind, message: str, field: Optional[str] = None):
        super().__init__(message)
        self.plain = types.PluginError(kind, message, field)


def invalid_config(message: str, field: Optional[str] = None) -> PluginError:
    """The user must change the item, at this place of `config`, as in "/to"."""
    return PluginError(types.ErrorKind.INVALID_CONFIG, message, field)


def unsatisfied(message: str, field: Optional[str] = None) -> PluginError:
    """Something that the item refers to is missing or malformed: tried again when it changes."""
    return PluginError(types.ErrorKind.UNSATISFIED, message, field)


def internal(message: str) -> PluginError:
    """A defect of the plugin."""
    return PluginError(types.ErrorKind.INTERNAL, message)


def log(message: str, level: Level = Level.INFO) -> None:
    """A line for the operator's log: at most 64 lines and 8 KiB a call."""
    _log(level, message)


# --- what it answers ---------------------------------------------------------------------------------------------


def inline(text: str) -> wit.Action:
    """Text for the agent's context file; where the item has a mountPath, the content of that file."""
    return wit.Action_Inline(text)


def inline_file(name: str, text: str) -> wit.Action:
    """The same under a name; where the item has a mountPath, a file in that folder."""
    return wit.Action_InlineFile(wit.TextFile(name, text))


def write_file(path: str, data: Union[str, bytes], mode: Optional[int] = None) -> wit.Action:
    """A file; a relative path lies in the workspace."""
    content = types.Content_Text(data) if isinstance(data, str) else types.Content_Bytes(data)
    return wit.Action_WriteFile(types.File(path, content, mode))


def set_env(name: str, value: str) -> wit.Action:
    """An environment variable of the agent; needs the capability `env`."""
    return wit.Action_SetEnv(types.EnvVar(name, types.EnvSource_Value(value)))


def fetch_url(url: str, path: str, headers: dict = {}, *, unpack: bool = False, mode: Optional[int] = None, **rest: Any) -> wit.Action:
    """A file that is downloaded in the Pod; needs the capability `url`."""
    return wit.Action_FetchUrl(wit.UrlFetch(_http_request(url, headers, **rest), unpack, path, mode))


def _http_request(
    url: str,
    headers: dict,
    *,
    body: Optional[str] = None,
    credentials: Optional[str] = None,
    sha256: Optional[str] = None,
    insecure_skip_tls_verify: bool = False,
    timeout_seconds: int = 30,
) -> wit.HttpRequest:
    given = [wit.Header(name, wit.HeaderValue_Value(value)) for name, value in headers.items()]
    return wit.HttpRequest(url, body, given, credentials, sha256, insecure_skip_tls_verify, timeout_seconds)


# --- the component -----------------------------------------------------------------------------------------------


def context_type(
    name: str,
    version: str,
    description: str,
    *,
    settings: Any = None,
    capabilities: tuple = (),
    requires: tuple = (),
    mount_path: str = "optional",
    default_name: Optional[str] = None,
) -> Callable:
    """Makes a type of a function from `config`, a dataclass, and a Request to a list of actions."""

    def made(evaluate: Callable) -> Callable:
        hints = [hint for key, hint in typing.get_type_hints(evaluate).items() if key != "return"]
        if not hints or not dataclasses.is_dataclass(hints[0]):
            raise TypeError(f"{evaluate.__name__}: its first parameter has to be annotated with a dataclass, as in (config: Config, request)")
        settings_schema = json.dumps(schema_of(settings)) if settings else None
        about = types.Descriptor(
            name, version, description, json.dumps(schema_of(hints[0])), settings_schema, list(capabilities), list(requires),
            mount_path, default_name, [],
        )  # fmt: skip
        _KINDS[name] = (about, evaluate, hints[0], settings)
        return evaluate

    return made


class ContextType:
    """What componentize-py exports."""

    def describe(self) -> list:
        return [about for about, *_ in _KINDS.values()]

    def evaluate(self, req: wit.Request) -> wit.Outcome:
        request = None
        try:
            if req.type_name not in _KINDS:
                raise internal(f"there is no type {req.type_name} here")
            _, evaluate, config, settings = _KINDS[req.type_name]
            request = Request(req, settings)
            actions = evaluate(read(config, json.loads(req.payload)), request)
            if request._unread:
                return request._needs()
            if not isinstance(actions, list):
                raise internal(f"{evaluate.__name__} gives {actions!r}: it has to return a list of actions, as in [inline('text')]")
            return wit.Outcome_Ready(wit.Plan(actions, [], []))
        except _Needed:
            return request._needs()
        except Exception as error:
            if request is not None and request._unread:
                return request._needs()
            raise Err(error.plain if isinstance(error, PluginError) else internal(traceback.format_exc()).plain)


def _no_network(*_: Any, **__: Any) -> Any:
    raise OSError("a plugin has no network: ask request for what it reads, answer fetch_url for what the agent is to have")


# componentize-py looks for ContextType in the module that it is told, which is this one
if "app" not in sys.modules:
    try:
        importlib.import_module("app")
    except ModuleNotFoundError as missing:
        remedy = "name its package in requirements.txt, with its hash; what is not of Python alone, or wants a network, is of no use here"
        raise ModuleNotFoundError(f"{missing}: {remedy}", name=missing.name) from missing
    if not _KINDS:
        raise TypeError('app.py has no type: write @context_type("Name", "0.1.0", "What it does") above a function')
    if "socket" in sys.modules:
        # what is below would fail for a codec that is not there
        sys.modules["socket"].getaddrinfo = sys.modules["socket"].create_connection = _no_network
