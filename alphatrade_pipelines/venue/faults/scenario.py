"""Scenarios: which fault strikes when. Read from TOML (a file, or one shipped by name) or from the admin API; checked whole before
anything is armed.

    seed = 7

    [[fault]]
    kind = "error_after_accept"     # see ``alphatrade venue faults``
    at = "session 2 10:30"          # or "session 2 open", "+15m after open", "10m before close", "+30s", an ISO time with its zone
    after_count = 3                 # the third matching request (message, step ...) is the first one struck
    every = 2                       # then every second one
    times = 5                       # five at most
    probability = 0.1               # each with this probability, drawn by counter from the seed
    symbol = "AAPL"                 # "first": the first symbol of the tape
    endpoint = "POST /v2/orders"    # {x} or * stand for anything in a path
    for_seconds = 60                # from ``at``, else from the first strike

Without ``times`` a fault strikes once; with ``every``, ``probability`` or ``for_seconds`` as often as these say.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from alphatrade_pipelines.venue.exchange.tape import TapeSession
from alphatrade_pipelines.venue.faults.catalogue import KINDS, REQUIRED, Kind, Param, Value

NEW_YORK = ZoneInfo("America/New_York")
FIRST_SYMBOL = "first"
_COMMON = ("kind", "at", "after_count", "every", "times", "probability", "symbol", "endpoint", "for_seconds")
_METHODS = ("GET", "POST", "PATCH", "DELETE", "*")
_SESSION = re.compile(r"session (\d+) (open|close|([01]\d|2[0-3]):([0-5]\d))")
_OFFSET = re.compile(r"\+?(\d+(?:\.\d+)?)(s|m|h)(?: (after|before) (open|close))?")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_AT_FORMS = '"session 2 10:30", "session 2 open", "+15m after open", "10m before close", "+30s", or an ISO time with its zone'


class ScenarioError(ValueError):
    """A scenario that cannot be armed: what was expected, what was found, where."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as asked for. ``at`` is the text of the scenario; :func:`moment` makes it a time. ``params`` hold every parameter."""

    kind: Kind
    at: str | None = None
    after_count: int = 1
    every: int | None = None
    times: int | None = 1
    probability: float | None = None
    symbol: str | None = None
    endpoint: str | None = None
    for_seconds: float | None = None
    params: Mapping[str, Value] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A parameter that is a string."""
        return str(self.params[name])

    def number(self, name: str) -> float:
        """A parameter that is a number."""
        return float(self.params[name])

    def matches(self, method: str, path: str) -> bool:
        """Whether a request is one of this fault's endpoint."""
        if self.endpoint is None:
            return True
        wanted, pattern = self.endpoint.split(" ")
        return wanted in ("*", method) and _pattern(pattern).fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults that belong together, and the seed of their draws. ``source`` is the text they were read from."""

    faults: tuple[Fault, ...]
    seed: int = 0
    name: str = ""
    source: str = ""


def draw(seed: int, *place: object) -> float:
    """A uniform number in [0, 1) of the seed and a place: counter-based, so the same run draws the same."""
    key = "|".join(map(str, (seed, *place))).encode()
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") / 2.0**64


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("".join("[^/]+" if part.startswith(("{", "*")) else re.escape(part) for part in re.split(r"(\{\w+\}|\*)", path)))


# --- reading ------------------------------------------------------------------------------------------------------------------------


def load(name: str) -> Scenario:
    """The scenario in a file, or a shipped one by its name (``f13``, or all of its file name).

    Raises:
        ScenarioError: no such scenario, not TOML, or anything in it that cannot be used.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise ScenarioError(f"expected a scenario file, found nothing at {name}")
        return parse(path.read_text(), path.stem)
    for stem, source in shipped().items():
        if name in (stem, stem.split("_")[0]):
            return parse(source, stem)
    raise ScenarioError(f"no scenario {name!r}: expected a path ending in .toml or one of {', '.join(s.split('_')[0] for s in shipped())}")


def shipped() -> dict[str, str]:
    """The scenarios of this package: text by file name without ``.toml``, in order."""
    folder = resources.files("alphatrade_pipelines.venue.faults") / "scenarios"
    return {
        file.name.removesuffix(".toml"): file.read_text()
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".toml")
    }


def parse(source: str, name: str = "") -> Scenario:
    """The scenario in a TOML text. Raises ScenarioError."""
    try:
        content = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{name or 'scenario'} is not TOML: {error}") from None
    _known(content, ("seed", "fault", "description"), "at the top")
    tables = content.get("fault", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ScenarioError("expected at least one [[fault]] table, found none")
    seed = content.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ScenarioError(f"expected seed to be a whole number, found {seed!r}")
    return Scenario(faults_of(tables), seed, name, source)


def faults_of(tables: Iterable[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """The faults in tables of TOML or objects of JSON: all of them, or ScenarioError for the first that cannot be used."""
    return tuple(_fault(number, table) for number, table in enumerate(tables, 1))


def _fault(number: int, table: Mapping[str, Any]) -> Fault:
    name = table.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ScenarioError(f"fault {number}: unknown kind {name!r}; the kinds are {', '.join(KINDS)}")
    where = f"fault {number} ({kind.name})"
    _known(table, (*_COMMON, *kind.params), where)
    symbol = _word(table, "symbol", where)
    if symbol is None and "symbol" in kind.params:
        raise ScenarioError(f"{where}: symbol is required")
    seconds = _number(table, "for_seconds", where, Param("seconds", 0.0, least=0.001))
    if seconds is not None and not kind.lasting:
        raise ScenarioError(f"{where}: this kind happens at once, for_seconds means nothing to it")
    every = _whole(table, "every", where)
    probability = _number(table, "probability", where, Param("a probability", 0.0, most=1.0))
    unlimited = kind.where != "exchange" and seconds is not None
    times = _whole(table, "times", where)
    return Fault(
        kind=kind,
        at=_at(table.get("at"), where),
        after_count=_whole(table, "after_count", where) or 1,
        every=every,
        times=times if times or unlimited or every or probability is not None else 1,
        probability=probability,
        symbol=symbol,
        endpoint=_endpoint(table, kind, where),
        for_seconds=seconds,
        params=MappingProxyType({key: _value(table, key, param, where) for key, param in kind.params.items() if key != "symbol"}),
    )


def _known(table: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    unknown = sorted(set(table) - set(names))
    if unknown:
        raise ScenarioError(f"{where}: unknown key {unknown[0]!r}; expected some of {', '.join(dict.fromkeys(names))}")


def _word(table: Mapping[str, Any], key: str, where: str) -> str | None:
    value = table.get(key)
    if value is None or (isinstance(value, str) and value):
        return value
    raise ScenarioError(f"{where}: expected {key} to be a text, found {value!r}")


def _whole(table: Mapping[str, Any], key: str, where: str) -> int | None:
    value = table.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ScenarioError(f"{where}: expected {key} to be a whole number >= 1, found {value!r}")


def _number(table: Mapping[str, Any], key: str, where: str, param: Param) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and param.least <= value <= param.most
    if not fits:
        raise ScenarioError(f"{where}: expected {key} in {param.unit} from {param.least:g} to {param.most:g}, found {value!r}")
    return float(value)


def _value(table: Mapping[str, Any], key: str, param: Param, where: str) -> Value:
    value = table.get(key)
    if value is None:
        if param.default is REQUIRED:
            raise ScenarioError(f"{where}: {key} is required ({param.unit})")
        return param.default
    if param.choices and value not in param.choices:
        raise ScenarioError(f"{where}: expected {key} to be {param.unit}, found {value!r}")
    if param.type in (int, float):
        number = _number(table, key, where, param)
        assert number is not None
        if param.type is int and number != int(number):
            raise ScenarioError(f"{where}: expected {key} to be a whole number ({param.unit}), found {value!r}")
        return int(number) if param.type is int else number
    if not isinstance(value, param.type):
        raise ScenarioError(f"{where}: expected {key} to be {param.unit}, found {value!r}")
    return value


def _endpoint(table: Mapping[str, Any], kind: Kind, where: str) -> str | None:
    value = _word(table, "endpoint", where)
    if value is None:
        return kind.endpoint
    if kind.where not in ("request", "answer", "exchange"):
        raise ScenarioError(f"{where}: this kind strikes no requests, endpoint means nothing to it")
    method, _, path = value.partition(" ")
    if method not in _METHODS or not path.startswith("/") or " " in path:
        raise ScenarioError(f'{where}: expected endpoint as "POST /v2/orders" (one of {", ".join(_METHODS)} and a path), found {value!r}')
    return value


# --- time ---------------------------------------------------------------------------------------------------------------------------


def _at(value: object, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        value = value.isoformat()
    fits = isinstance(value, str) and (_SESSION.fullmatch(value) or _OFFSET.fullmatch(value) or _instant(value))
    if not fits:
        raise ScenarioError(f"{where}: expected at as {_AT_FORMS}, found {value!r}")
    return str(value)


def _instant(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def moment(at: str, now: datetime, sessions: tuple[TapeSession, ...], first: int) -> datetime:
    """The venue time ``at`` means. ``sessions`` of the tape, ``first`` the index of session 1: the first one this venue plays.

    Raises:
        ScenarioError: a session the tape does not have, or a time that has passed.
    """
    if found := _SESSION.fullmatch(at):
        number = first + int(found[1]) - 1
        if number >= len(sessions) or int(found[1]) < 1:
            raise ScenarioError(f"at {at!r}: this venue plays sessions 1 to {len(sessions) - first}")
        span = sessions[number]
        clock = span.open.astimezone(NEW_YORK)
        when = {"open": span.open, "close": span.close}.get(found[2]) or clock.replace(hour=int(found[3]), minute=int(found[4]), second=0)
    elif found := _OFFSET.fullmatch(at):
        when = _offset(found, now, sessions)
    else:
        when = datetime.fromisoformat(at)
    when = when.astimezone(now.tzinfo)
    if when < now:
        raise ScenarioError(f"at {at!r}: {when.isoformat()} has passed, venue time is {now.isoformat()}")
    return when


def _offset(found: re.Match[str], now: datetime, sessions: tuple[TapeSession, ...]) -> datetime:
    amount = timedelta(seconds=float(found[1]) * _UNITS[found[2]])
    if found[4] is None:
        return now + amount
    for session in sessions:
        when = (session.open if found[4] == "open" else session.close) + (amount if found[3] == "after" else -amount)
        if session.close >= now and when >= now:
            return when
    raise ScenarioError(f"at {found[0]!r}: no session is left")
