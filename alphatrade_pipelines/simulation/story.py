"""What happens in one session, as a list of plain steps: drawn from a seed, written as JSON, replayed, and cut down to what matters.

A step is ``{"at": seconds since the venue began, "do": ..., ...}``. Everything else of a session (prices, signals, latencies) follows
from the seed by counters, so that taking a step out changes nothing it does not cause.
"""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.simulation.tape import FIRST_DAYS, SYMBOLS, TapePlan, sessions_of, start_of
from alphatrade_pipelines.venue.faults.scenario import shipped

Step = dict[str, Any]
CRASH_POINTS = (
    "before append",
    "after append",
    "before write",
    "during write",
    "after write",
    "before read",
    "during read",
    "after read",
)
SNAPSHOT_POINTS = ("before snapshot", "after snapshot")
CALM_SECONDS = 5400.0  # before the last close every fault ends: what is not right by the end of the day never will be


class StoryError(ValueError):
    """A story that cannot be played."""


@dataclass(frozen=True, slots=True)
class Story:
    """One session. ``profile``: the venue's fill profile; ``partial_fills``: chance of an order filling in parts; ``signal_rate``: chance
    of a signal a bar and symbol; ``journal``: memory or sqlite; ``flatten``: at the end everything is to be closed; ``algo``: how orders
    are worked (docs/execution.md)."""

    seed: int
    tape: TapePlan
    profile: str
    partial_fills: float
    signal_rate: float
    latency: float
    allow_short: bool
    journal: str
    flatten: bool
    algo: str = "auto"
    steps: tuple[Step, ...] = field(default=())

    def to_json(self) -> str:
        """As text, one step a line."""
        content = asdict(self)
        content["tape"]["first"] = self.tape.first.isoformat()
        steps = ",\n    ".join(json.dumps(step) for step in content.pop("steps"))
        head = json.dumps(content, indent=2)[:-2]
        return f'{head},\n  "steps": [\n    {steps}\n  ]\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Story:
        """Inverse of ``to_json``. Raises StoryError naming what is wrong."""
        try:
            content = json.loads(text)
            tape = content["tape"]
            events = {name: tuple((str(s), int(d), float(v)) for s, d, v in tape[name]) for name in ("splits", "dividends")}
            plan = TapePlan(**(tape | {"first": date.fromisoformat(tape["first"])} | events))
            return cls(**(content | {"tape": plan, "steps": tuple(content["steps"])}))
        except (ValueError, KeyError, TypeError) as error:
            raise StoryError(f"expected the JSON of a story as the simulation writes it: {type(error).__name__} {error}") from error

    @classmethod
    def load(cls, path: Path) -> Story:
        """The story in a file. Raises StoryError."""
        if not path.is_file():
            raise StoryError(f"expected a story file, found nothing at {path}")
        return cls.from_json(path.read_text())

    def with_steps(self, steps: tuple[Step, ...]) -> Story:
        """The same session with other steps."""
        return replace(self, steps=steps)


def draw_story(seed: int) -> Story:
    """The story of a seed."""
    rng = random.Random(seed)
    plan = _tape(seed, rng)
    times = _Times(plan)
    steps = [*_faults(rng, times), *_crashes(rng, times), *_people(rng, times)]
    story = Story(
        seed=seed,
        tape=plan,
        profile=rng.choice(("optimistic", "base", "base", "pessimistic")),
        partial_fills=rng.choice((0.0, 0.1, 0.5, 0.9)),
        signal_rate=rng.choice((0.15, 0.3, 0.6)),
        latency=rng.choice((0.01, 0.05, 0.3)),
        allow_short=rng.random() < 0.25,
        journal="sqlite" if rng.random() < 0.08 else "memory",
        flatten=rng.random() < 0.3,
        algo=rng.choice(("auto", *["single"] * 8, "twap", "vwap", "pov", "shortfall")),
    )
    steps += _journal_troubles(rng, times, story.journal)
    return story.with_steps(tuple(sorted(steps, key=lambda step: step["at"])))


def _tape(seed: int, rng: random.Random) -> TapePlan:
    days = rng.choice((1, 2, 2, 3))
    symbol = rng.choice(SYMBOLS)
    splits = ((symbol, rng.randrange(1, days), rng.choice((2.0, 3.0, 0.5))),) if days > 1 and rng.random() < 0.25 else ()
    dividends = ((rng.choice(SYMBOLS), rng.randrange(1, days), 0.5),) if days > 1 and rng.random() < 0.2 else ()
    wildness, silence = rng.choice((0.5, 1.0, 2.0)), rng.choice((0.0, 0.0, 0.1, 0.3))
    return TapePlan(seed, rng.choice(FIRST_DAYS), days, wildness, silence, splits, dividends)


@cache
def _calendar() -> SessionCalendar:
    return SessionCalendar()


class _Times:
    """Moments of a session, in seconds since the venue began; always before the calm."""

    def __init__(self, plan: TapePlan) -> None:
        start = start_of(plan, _calendar())
        spans = sessions_of(plan, _calendar()).iloc[1:]
        self.spans: list[tuple[float, float]] = [
            ((opens - start).total_seconds(), (closes - start).total_seconds())
            for opens, closes in zip(spans["open"], spans["close"], strict=True)
        ]
        self.calm: float = self.spans[-1][1] - CALM_SECONDS

    def draw(self, rng: random.Random) -> float:
        """Mostly inside a session, often just after a bar has ended (that is when something happens), sometimes at night."""
        opens, closes = rng.choice(self.spans)
        way = rng.random()
        if way < 0.1:
            at = rng.uniform(max(0.0, opens - 5400.0), opens)
        elif way < 0.7:
            at = opens + 1800.0 * rng.randrange(int((closes - opens) // 1800)) + rng.choice((-1.0, 0.5, 3.0, 5.0, 10.0, 40.0))
        else:
            at = rng.uniform(opens, closes)
        return round(min(max(at, 1.0), self.calm - 60.0), 3)


# --- faults -------------------------------------------------------------------------------------------------------------------------


@cache
def _catalogue() -> dict[str, list[Step]]:
    """The tables of the shipped scenarios, by number (f01 to f30)."""
    return {stem.split("_")[0]: tomllib.loads(source)["fault"] for stem, source in shipped().items()}


def _faults(rng: random.Random, times: _Times) -> Iterator[Step]:
    for _ in range(rng.choice((0, 1, 2, 4, 6, 9))):
        name = rng.choice(sorted(_catalogue()))
        at = times.draw(rng)
        if name == "f25":
            yield _crash(rng, at, rng.choice(("before write", "during write", "after append")))
            continue
        if name == "f30":
            yield {"at": at, "do": "close all", "cancel": rng.random() < 0.7}
        tables = _catalogue()[name]
        for table in tables if rng.random() < 0.5 else [rng.choice(tables)]:
            if table["kind"] == "early_close" and sum(opens > at for opens, _ in times.spans) < 2:
                continue  # it would take away the calm of the last day
            yield {"at": at, "do": "fault", "name": name, "table": _varied(table, rng)}
    if rng.random() < 0.3:
        yield {"at": times.draw(rng), "do": "outage", "seconds": rng.choice((2.0, 20.0, 120.0))}


def _varied(table: Step, rng: random.Random) -> Step:
    """A shipped fault at another time, on another symbol, longer or more often."""
    varied = {key: value for key, value in table.items() if key != "at"}
    kind = varied["kind"]
    if varied.get("symbol") == "first":
        varied["symbol"] = rng.choice(SYMBOLS)
    match kind:
        case "hang":
            varied["seconds"] = rng.choice((4.0, 30.0))
            varied["endpoint"] = varied.get("endpoint") or rng.choice(("GET /v2/positions", "POST /v2/orders", "DELETE /v2/orders/{id}"))
        case "rate_limited" | "keys_refused" | "slot_taken":
            varied["for_seconds"] = rng.choice((2.0, 10.0, 60.0))
        case "cancel_lag" | "replace_lag":
            varied["for_seconds"] = rng.choice((300.0, 1800.0))
            varied["seconds"] = rng.choice((1.0, 10.0, 60.0, 3600.0))
        case "stale_views" | "clock_skew":
            varied["for_seconds"] = rng.choice((30.0, 300.0))
            if kind == "clock_skew":
                varied["seconds"] = rng.choice((-300.0, -5.0, 5.0, 300.0))
            else:
                varied["lag_seconds"] = rng.choice((0.3, 2.0, 10.0))
        case "stop_gets_new_id" | "gtc_ages_out" | "restrict" | "asset" | "halt":
            varied["for_seconds"] = rng.choice((60.0, 600.0, 3600.0))
        case "mute_trade_updates" | "mute_data":
            if rng.random() < 0.4:
                varied = {key: value for key, value in varied.items() if key != "event"} | {"for_seconds": rng.choice((60.0, 1800.0))}
        case "cut_streams":
            varied["zombie_seconds"] = rng.choice((0.0, 5.0, 90.0))
            varied["how"] = rng.choice(("close", "abort"))
        case "manual_trade":
            varied["qty"] = float(rng.choice((-40, -7, -1, 3, 12)))
        case "split":
            varied["ratio"] = rng.choice((2.0, 3.0))
        case "symbol_change":
            varied["new_symbol"] = "NEWCO"
    if kind in _REPEATED and "for_seconds" not in varied:
        varied["times"] = rng.choice((1, 1, 2, 4))
    if "after_count" in varied:
        varied["after_count"] = rng.choice((1, 2, 5))
    return varied


_REPEATED = (
    "http_error",
    "error_after_accept",
    "drop",
    "hang",
    "delay_answer",
    "garble_answer",
    "mute_trade_updates",
    "duplicate_trade_updates",
    "reorder_trade_updates",
    "garble_trade_updates",
    "garble_data",
    "late_bars",
    "duplicate_bars",
    "corrected_bars",
    "partial_then_cancel",
    "reject_later",
)


# --- crashes and people ---------------------------------------------------------------------------------------------------------------


def _crashes(rng: random.Random, times: _Times) -> Iterator[Step]:
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        yield _crash(rng, times.draw(rng), rng.choice(CRASH_POINTS))


def _crash(rng: random.Random, at: float, point: str) -> Step:
    step: Step = {"at": at, "do": "crash", "point": point, "nth": rng.choice((1, 1, 2, 3, 7)), "down": rng.choice((1.0, 5.0, 30.0, 600.0))}
    if rng.random() < 0.3:
        step["torn"] = round(rng.random(), 3)
    return step


def _journal_troubles(rng: random.Random, times: _Times, journal: str) -> Iterator[Step]:
    """The disk is full for a while, and sometimes the process dies meanwhile; or it dies around a snapshot."""
    if rng.random() < 0.12:
        at, seconds = times.draw(rng), rng.choice((5.0, 60.0, 1200.0))
        yield {"at": at, "do": "journal full", "seconds": seconds}
        if rng.random() < 0.5:
            yield _crash(
                rng, round(at + seconds * rng.random(), 3), rng.choice(("before write", "during write", "after write", "before read"))
            )
        yield {"at": min(times.calm, at + seconds + rng.choice((60.0, 600.0))), "do": "operator", "request": "resume"}
    if journal == "sqlite" and rng.random() < 0.5:
        yield _crash(rng, times.draw(rng), rng.choice(SNAPSHOT_POINTS))


def _people(rng: random.Random, times: _Times) -> Iterator[Step]:
    """Operators of the trader, and persons at the broker's own page."""
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        at, symbol = times.draw(rng), rng.choice(SYMBOLS)
        match rng.randrange(9):
            case 0:
                yield {"at": at, "do": "operator", "request": "halt"}
                yield {"at": min(times.calm, at + rng.choice((60.0, 3600.0))), "do": "operator", "request": "resume"}
            case 1:
                yield {"at": at, "do": "operator", "request": "flatten"}
                yield {"at": min(times.calm, at + rng.choice((120.0, 1800.0))), "do": "operator", "request": "resume"}
            case 2:
                yield {"at": at, "do": "operator", "request": "reset_breakers"}
            case 3:
                policy = rng.choice(("protect", "flatten"))
                yield {"at": at, "do": "stop", "policy": policy, "down": rng.choice((5.0, 600.0))}
            case 4:
                yield {"at": at, "do": "trade", "symbol": symbol, "qty": rng.choice((-50, -5, 4, 25))}
            case 5:
                side, away = rng.choice((("buy", 0.9), ("sell", 1.1), ("buy", 1.0), ("sell", 1.0)))
                yield {"at": at, "do": "order", "symbol": symbol, "side": side, "qty": rng.randint(1, 20), "at_price": away}
            case 6:
                yield {"at": at, "do": "replace leg", "symbol": symbol, "by": rng.choice((0.99, 0.995, 1.003))}
            case 7:
                yield {"at": at, "do": "cancel order", "symbol": symbol}
            case 8:
                yield {"at": at, "do": "swap model", "version": str(rng.randint(4, 99))}
