"""Events as JSON and back, strictly: the journal's wire format.

Decimals and times are strings (exact), floats use Python's shortest round-trip form, NaN is refused. Each event is written with its
type and schema version. A journal outlives releases: what an older release wrote is lifted to this schema version by version
(``UPGRADERS``), what a newer one wrote is refused (``NewerSchemaError``: it is not damaged, this release is too old for it). A field added
later has a default; an unknown type or field is an error. The same plain form, less strict about containers, holds the core's state.
"""

from __future__ import annotations

import json
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from alphatrade_pipelines.trading import events as _events
from alphatrade_pipelines.trading.events import Event

SCHEMA_VERSION = 2

Record = dict[str, Any]
EVENT_TYPES: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(_events.Event)}


class CodecError(ValueError):
    """An event cannot be written, or a text is not an event of this schema."""


class NewerSchemaError(CodecError):
    """The text was written by a newer release: nothing is wrong with it, but only that release can read it."""


def _from_v1(name: str, data: Record) -> tuple[str, Record]:
    """Version 2 says in ``SessionStarted`` how the run before ended; version 1 did not note it."""
    if name == "SessionStarted":
        return name, {"previous": "", **data}
    return name, data


# from version -> (type name, data) of the next version
UPGRADERS: dict[int, Callable[[str, Record], tuple[str, Record]]] = {1: _from_v1}


def encode_event(event: Event) -> str:
    """One line of JSON for one event. Raises CodecError for a type outside the closed set or a value JSON cannot hold exactly."""
    name = type(event).__name__
    if EVENT_TYPES.get(name) is not type(event):
        raise CodecError(f"Expected one of the core's events, was {type(event)!r}")
    try:
        return json.dumps({"v": SCHEMA_VERSION, "type": name, "data": to_plain(event)}, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CodecError(f"Cannot encode {name}: {error}") from error


def decode_event(text: str) -> Event:
    """The event of one line of JSON. Raises CodecError naming what was expected and found."""
    try:
        record = json.loads(text)
        version, name, data = record["v"], record["type"], record["data"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CodecError(f"Expected an object with v, type and data, was {text[:80]!r}") from error
    if version != SCHEMA_VERSION:
        name, data = _upgraded(version, name, data)
    if name not in EVENT_TYPES:
        raise CodecError(f"Expected one of {', '.join(EVENT_TYPES)}, was {name!r}")
    event: Event = from_plain(EVENT_TYPES[name], data)
    return event


def _upgraded(version: Any, name: str, data: Any) -> tuple[str, Any]:
    if type(version) is not int or version < 1:
        raise CodecError(f"Expected schema version 1 to {SCHEMA_VERSION}, was {version!r}")
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"Expected schema version {SCHEMA_VERSION} or older, was {version}: this journal was written by a newer release; use that one"
        )
    if not isinstance(data, dict):
        raise CodecError(f"Expected an object in data, was {type(data).__name__}")
    while version < SCHEMA_VERSION:
        name, data = UPGRADERS[version](name, data)
        version += 1
    return name, data


def to_plain(value: Any) -> Any:
    """Dataclasses, enums, Decimals, times and containers as JSON types. Times must be aware and in UTC."""
    kind = type(value)
    if kind is str or kind is float or kind is bool or kind is int or value is None:
        return value
    if isinstance(value, Decimal | Enum):
        return str(value)
    if isinstance(value, datetime):
        return _time_text(value)
    if kind is date:
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(to_plain(item) for item in value)
    if is_dataclass(value):
        return {name: to_plain(getattr(value, name)) for name in _field_names(kind)}  # type: ignore[arg-type]
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"cannot hold a {kind.__name__}")


def from_plain(cls: type[Any], data: Any) -> Any:
    """Build the dataclass ``cls`` from JSON types. Raises CodecError on missing, unknown or ill-typed fields."""
    if not isinstance(data, dict):
        raise CodecError(f"Expected an object for {cls.__name__}, was {type(data).__name__}")
    readers, required = _readers(cls)  # type: ignore[arg-type]
    if not required <= data.keys() <= readers.keys():
        unknown, missing = data.keys() - readers.keys(), required - data.keys()
        raise CodecError(f"{cls.__name__}: unknown fields {sorted(unknown)}, missing fields {sorted(missing)}")
    values, name = {}, ""
    try:
        for name, item in data.items():
            values[name] = readers[name](item)
    except (ValueError, TypeError, InvalidOperation) as error:
        raise CodecError(f"{cls.__name__}.{name}: {error}") from error
    return cls(**values)


def _time_text(value: datetime) -> str:
    if type(value) is not datetime:
        raise TypeError(f"expected datetime.datetime, was {type(value).__name__}; convert it before it enters the core")
    if value.tzinfo is None or value.utcoffset():
        raise ValueError(f"expected an aware UTC time, was {value!r}")
    return value.isoformat()


def _time(text: Any) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"expected an aware time, was {text!r}")
    return moment.astimezone(UTC)


@cache
def _field_names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(cls))


@cache
def _readers(cls: type[Any]) -> tuple[dict[str, Callable[[Any], Any]], frozenset[str]]:
    hints = get_type_hints(cls)
    readers = {item.name: _reader(hints[item.name]) for item in fields(cls)}
    required = frozenset(item.name for item in fields(cls) if item.default is MISSING and item.default_factory is MISSING)
    return readers, required


def _reader(hint: Any) -> Callable[[Any], Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _optional_reader(args)
    if origin is tuple:
        return _tuple_reader(args)
    if origin in (list, set, frozenset, dict, Counter):
        return _container_reader(origin, args)
    if is_dataclass(hint):
        return lambda item: from_plain(hint, item)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    simple: dict[Any, Callable[[Any], Any]] = {Decimal: _decimal, datetime: _time, float: _float, date: date.fromisoformat}
    return simple.get(hint) or _exactly(type(None) if hint is None else hint)


def _optional_reader(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    (inner,) = [arg for arg in args if arg is not type(None)]
    reader = _reader(inner)
    return lambda item: None if item is None else reader(item)


def _tuple_reader(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    if len(args) == 2 and args[1] is Ellipsis:
        reader = _reader(args[0])
        return lambda items: tuple(reader(item) for item in items)
    readers = [_reader(arg) for arg in args]
    return lambda items: tuple(read(item) for read, item in zip(readers, items, strict=True))


def _container_reader(kind: Any, args: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Lists and sets come from arrays; dicts and Counters (int values) with text keys from objects, in their order."""
    if kind in (dict, Counter):
        key, value = _reader(args[0]), _reader(args[1] if kind is dict else int)
        return lambda items: kind({key(name): value(item) for name, item in _checked(items, dict).items()})
    inner = _reader(args[0])
    return lambda items: kind([inner(item) for item in _checked(items, list)])


def _checked(items: Any, kind: type[Any]) -> Any:
    if not isinstance(items, kind):
        raise ValueError(f"expected {kind.__name__}, was {type(items).__name__}")
    return items


def _decimal(item: Any) -> Decimal:
    if not isinstance(item, str):
        raise ValueError(f"expected a decimal as text, was {item!r}")
    return Decimal(item)


def _float(item: Any) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise ValueError(f"expected a number, was {item!r}")
    return float(item)


def _exactly(kind: type[Any]) -> Callable[[Any], Any]:
    def read(item: Any) -> Any:
        if type(item) is not kind:
            raise ValueError(f"expected {kind.__name__}, was {item!r}")
        return item

    return read
