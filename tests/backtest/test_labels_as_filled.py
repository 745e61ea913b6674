"""The label of a bracket is what the venue makes of it, where the venue charges nothing: entry, exit, price, moment."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from alphatrade_pipelines.backtest.driver import run_backtest
from alphatrade_pipelines.market import SessionCalendar
from alphatrade_pipelines.models.labels import BarrierConfig, triple_barrier
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.venue import ExchangeConfig
from alphatrade_pipelines.venue.exchange.profiles import OPTIMISTIC
from tests.backtest.helpers import DAY, MODEL, rule_signals
from tests.models.makers import random_bars

CALENDAR = SessionCalendar()
SYMBOLS = ["AAA", "BBB", "CCC", "DDD"]
FREE = replace(OPTIMISTIC, name="free", path="adverse_first")
HOLD, DISTANCE = 5, 0.03


def labelled(bars: pd.DataFrame, distance: float) -> pd.DataFrame:
    barrier = BarrierConfig(2, 2, HOLD, 0.0, horizon_unit="sessions")
    return triple_barrier(bars, pd.Series(distance / 2, index=bars.index), barrier, calendar=CALENDAR)


def test_labels_are_what_the_venue_makes_of_a_bracket() -> None:
    opens = pd.DatetimeIndex(CALENDAR.sessions("2012-01-03", "2013-03-28")["open"])
    bars = random_bars(SYMBOLS, len(opens), 0, 0.015)
    prices = ["open", "high", "low", "close"]
    bars[prices] = bars[prices].round(2)
    bars = bars.set_index(pd.MultiIndex.from_product([SYMBOLS, opens], names=["symbol", "timestamp"]))
    labels = labelled(bars, DISTANCE)
    # a broker's barriers stand on whole cents: where that cent decides, there is nothing to compare
    wider, nearer = labelled(bars, DISTANCE + 0.0002), labelled(bars, DISTANCE - 0.0002)
    same = (
        (labels["t1"] == wider["t1"])
        & (labels["exit"] == wider["exit"])
        & (labels["t1"] == nearer["t1"])
        & (labels["exit"] == nearer["exit"])
    )
    assert same.mean() > 0.9
    labels = labels[same]
    exchange = ExchangeConfig(start=CALENDAR.session_bounds(opens[30])[0] - pd.Timedelta(minutes=30), profile=FREE)
    played = run_backtest(bars, rule_signals(bars, CALENDAR, 7, DISTANCE, HOLD), exchange, CoreConfig(), MODEL, DAY, CALENDAR)
    seen = []
    for trade in played.trades:
        entered = opens[opens.searchsorted(pd.Timestamp(trade.entry_at), side="right") - 1]
        key = (trade.symbol, opens[opens.get_loc(entered) - 1])
        if key not in labels.index:
            continue
        label, at = labels.loc[key], f"{key}: {trade}"
        entry, exited = bars.loc[(trade.symbol, entered), "open"], label["ret"] + 1
        assert float(trade.entry_price) == pytest.approx(entry, abs=1e-9), at
        assert float(trade.exit_price) == pytest.approx(entry * exited, abs=0.0101), at
        assert pd.Timestamp(trade.exit_at) <= label["t1"], at
        seen.append(label["exit"])
    assert len(seen) > 60
    assert set(seen) == {"stop", "target", "horizon"}
