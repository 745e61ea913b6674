"""A venue as a process: bars in, an address out, a clean end on request."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast

import pandas as pd

from alphatrade_pipelines.market import (
    BarDataError,
    BarStore,
    FilesConfig,
    FilesSource,
    SampleSource,
    SyntheticConfig,
    SyntheticSource,
    Timeframe,
)
from alphatrade_pipelines.venue.exchange.config import ExchangeConfig
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.path import ANCHORS
from alphatrade_pipelines.venue.exchange.tape import BarTape
from alphatrade_pipelines.venue.extended import with_extended_hours
from alphatrade_pipelines.venue.greeting import greeting
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer
from alphatrade_pipelines.venue.server.pacing import Pace

_PLAYED = 60  # sessions left to play when no start is given
_SYNTHETIC = ("ALFA", "BRAV", "CHAR", "DELT", "ECHO")
_MOST_POINTS = 3_600  # prices a bar: beyond, nobody waits for a second between two of them
_LAYOUTS = ("symbol_column", "file_per_symbol")


@dataclass(frozen=True, slots=True)
class BarsConfig:
    """Where the bars come from: ``sample``, ``synthetic``, or a path (a bar store, or files in ``layout``, ``timeframe`` and
    ``timezone``). ``symbols`` narrow them; ``seed`` invents the synthetic ones. ``extended_hours``: invent and play the hours before and
    after each session too (no source records them)."""

    source: str = "sample"
    symbols: tuple[str, ...] = ()
    timeframe: str | None = None
    layout: str = "symbol_column"
    timezone: str | None = None
    seed: int = 0
    extended_hours: bool = False


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """Everything a venue process needs. ``state_file`` gets the address as JSON once the port is open (mode 0600). ``path_points``: prices
    a bar is walked in; None = so many that they come about once a wall second, and four when time is stepped."""

    bars: BarsConfig = field(default_factory=BarsConfig)
    exchange: ExchangeConfig = field(default_factory=ExchangeConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    state_file: Path | None = None
    path_points: int | None = None


def load_tape(config: BarsConfig) -> BarTape:
    """The tape ``config`` names.

    Raises:
        BarDataError, ValueError: no such source or store, unknown symbol, unusable bars.
    """
    bars, timeframe = _bars(config)
    if config.extended_hours:
        bars = with_extended_hours(bars, timeframe, config.seed)
    return BarTape(bars, timeframe, extended_hours=config.extended_hours)


def _bars(config: BarsConfig) -> tuple[pd.DataFrame, Timeframe]:
    wanted = list(config.symbols) or None
    if config.source == "sample":
        return SampleSource().fetch(wanted), SampleSource.timeframe
    if config.source == "synthetic":
        timeframe = Timeframe.parse(config.timeframe or "1Min")  # what clients of Alpaca ask for first
        names = config.symbols or _SYNTHETIC
        market = SyntheticConfig(seed=config.seed, symbols=names, start=date(2024, 1, 2), end=date(2024, 6, 28), timeframe=timeframe)
        return SyntheticSource(market).fetch(), timeframe
    path = Path(config.source)
    if (path / "manifest.json").is_file():
        store = BarStore(path)
        return store.read(wanted), Timeframe.parse(store.manifest().timeframe)
    if not path.exists():
        raise BarDataError("sample, synthetic, or the path of a bar store or bar files", repr(config.source), where="--bars")
    if config.timeframe is None:
        raise BarDataError("the length of the bars", "none", where="--bars", fix="Give --timeframe, such as 1Day or 5Min.")
    timeframe, layout = Timeframe.parse(config.timeframe), config.layout
    if layout not in _LAYOUTS:
        raise BarDataError(f"a layout out of {', '.join(_LAYOUTS)}", repr(layout), where="--layout")
    files = FilesConfig(path, timeframe, cast(Any, layout), timezone=config.timezone, off_session="drop")
    return FilesSource(files).fetch(wanted), timeframe


def default_start(tape: BarTape) -> datetime | None:
    """The close before the last sixty sessions (or the last two thirds of a short tape): what came before is history."""
    played = min(_PLAYED, len(tape.sessions) * 2 // 3)
    return tape.sessions[-played - 1].close if 0 < played < len(tape.sessions) else None


def path_points(timeframe: Timeframe, pace: Pace | None) -> int:
    """Prices a bar is walked in, so that one comes about every wall second: at least the four of a backtest, which is what a stepped venue
    always takes."""
    if pace is None:
        return ANCHORS
    return max(ANCHORS, min(round(timeframe.minutes * 60 / pace.speed), _MOST_POINTS))


def serve(config: VenueConfig, announce: Callable[[str], None] | None = None) -> int:
    """Run a venue until it is told to end (SIGINT, SIGTERM, POST /admin/shutdown, idle exit); returns the exit code.

    ``announce`` gets what there is to say once the port is open. By default standard output gets it: a person at a terminal reads how to
    use the venue; anything else reads one JSON line with ``url``, ``admin_token_file``, ``account_number`` and ``pid``.

    Raises:
        BarDataError, ValueError: the bars or the settings cannot be used.
        OSError: the port is taken.
    """
    tape = load_tape(config.bars)
    settings = config.exchange
    if settings.start is None:
        settings = replace(settings, start=default_start(tape))
    points = config.path_points if config.path_points is not None else path_points(tape.timeframe, config.server.pace)
    exchange = Exchange(tape, replace(settings, path_points=points))
    asyncio.run(_serve(exchange, config, announce))
    return 0


async def _serve(exchange: Exchange, config: VenueConfig, announce: Callable[[str], None] | None) -> None:
    server = VenueServer(exchange, config.server)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.closed.set)
    url = await server.start()
    scratch = None if config.state_file else Path(tempfile.mkdtemp(prefix="alphatrade-venue-"))
    token_file = config.state_file.with_suffix(".token") if config.state_file else cast(Path, scratch) / "admin.token"
    try:
        _write_private(token_file, server.admin_token)
        line = json.dumps(
            {
                "url": url,
                "admin_token_file": str(token_file),
                "account_number": exchange.cash_account.number,
                "pid": os.getpid(),
                "at": exchange.now.isoformat(),
            }
        )
        if config.state_file:
            _write_private(config.state_file, line)
        if announce is not None:
            announce(line)
        else:
            _print_line(greeting(server, url, config.bars.source) if sys.stdout.isatty() else line)
        await server.closed.wait()
    finally:
        await server.stop()
        token_file.unlink(missing_ok=True)
        if config.state_file:
            config.state_file.unlink(missing_ok=True)
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _write_private(path: Path, content: str) -> None:
    """Write a file only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    temporary.replace(path)


def parse_instant(text: str) -> datetime:
    """A time with its zone. A bare date means midnight in New York, which lies before that day's session.

    Raises:
        ValueError: not a time, or one without a zone.
    """
    at = pd.Timestamp(text)
    if at.tzinfo is None:
        if at != at.normalize():
            raise ValueError(f"expected a date or a time with its zone, found {text!r}")
        at = at.tz_localize("America/New_York")
    return at.tz_convert("UTC").to_pydatetime()
