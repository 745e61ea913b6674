"""Run every benchmark and print one table: `make bench`, or `python -m benchmarks backtest journal` for some."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.bars import bars
from benchmarks.drift import drift
from benchmarks.features import features, regime
from benchmarks.labels import labels
from benchmarks.models import models
from benchmarks.timing import Row, sample_bars, timed


def backtest() -> list[Row]:
    """The whole decision path over ten years of the sample: signals at random, so that no model is needed."""
    import numpy as np

    from alphatrade_pipelines.backtest.driver import run_backtest
    from alphatrade_pipelines.market import SessionCalendar, Timeframe
    from alphatrade_pipelines.trading.config import CoreConfig
    from benchmarks.made_up import MODEL, random_signals

    bars, calendar, frame = sample_bars(), SessionCalendar(), Timeframe.parse("1Day")
    start = pd.Timestamp("2003-01-02 14:00", tz="UTC")
    signals = random_signals(bars, calendar, np.random.default_rng(7))
    played = bars.index.get_level_values("timestamp") >= start
    from alphatrade_pipelines.venue.exchange.config import ExchangeConfig

    def run() -> object:
        return run_backtest(bars, signals, ExchangeConfig(start=start, seed=7), CoreConfig(partial_entry_wait_s=0), MODEL, frame, calendar)

    return [("backtest through core, journal in memory and exchange", int(played.sum()) / timed(run, 3), "bars/s")]


def journal() -> list[Row]:
    """Durable appends, SQLite beside Redis, and starts from 10,000 events."""
    from benchmarks import journal

    return journal.rows()


def journal_million() -> list[Row]:
    """A start from a million events."""
    from benchmarks import journal

    return journal.million()


def core() -> list[Row]:
    """The trading core with 500 symbols."""
    from benchmarks import core

    return core.rows()


def venue() -> list[Row]:
    """The exchange's matching core."""
    from benchmarks import venue_core

    return venue_core.rows()


def venue_server() -> list[Row]:
    """The exchange's server."""
    from benchmarks import venue_server

    return venue_server.rows()


BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "bars": bars,
    "features": features,
    "regime": regime,
    "models": models,
    "labels": labels,
    "drift": drift,
    "backtest": backtest,
    "journal": journal,
    "core": core,
    "journal_million": journal_million,
    "venue": venue,
    "venue_server": venue_server,
}


def main() -> None:
    """Run the named benchmarks, or all."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise SystemExit(f"unknown benchmark {', '.join(unknown)}: expected some of {', '.join(BENCHMARKS)}")
    table = Table("what", "median", "unit")
    for name in names:
        for what, value, unit in BENCHMARKS[name]():
            table.add_row(what, f"{value:,.1f}" if value < 1000 else f"{value:,.0f}", unit)
    Console().print(table)


if __name__ == "__main__":
    main()
