"""Signals: one row, many rows, daily and intraday; the prices the labels were made with."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import SessionCalendar, Timeframe
from alphatrade_pipelines.models import ModelDataError, TrainingResult, make_signals
from alphatrade_pipelines.models.labels import BarrierConfig, LabelConfig
from alphatrade_pipelines.models.learner import LearnerConfig
from alphatrade_pipelines.models.signals import bracket_prices, hold_until
from alphatrade_pipelines.models.training import TrainConfig
from alphatrade_pipelines.trading.domain import Side
from tests.models.conftest import train_planted
from tests.models.makers import random_bars

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]
CALENDAR = SessionCalendar()
SYMBOLS = ["A", "B", "C"]


def real_sessions(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features and raw bars on XNYS opens."""
    opens = pd.DatetimeIndex(CALENDAR.sessions("2015-01-02", "2016-12-30")["open"][:n]).as_unit("ns")
    index = pd.MultiIndex.from_product([SYMBOLS, opens], names=["symbol", "timestamp"])
    rng = np.random.default_rng(0)
    features = pd.DataFrame(rng.normal(size=(len(index), 3)), index=index, columns=["f0", "f1", "f2"]).assign(vol_ewma=0.012)
    return features, random_bars(SYMBOLS, n).set_axis(index, axis=0)


def test_a_signal_carries_what_the_core_needs(trained: Trained) -> None:
    bundle = trained[0].bundle
    features, bars = real_sessions(30)
    signals = make_signals(bundle, features, bars, CALENDAR, "7")
    assert len(signals) == 90
    assert [(s.decision_time, s.symbol) for s in signals] == sorted((s.decision_time, s.symbol) for s in signals)
    first = signals[0]
    key = ("A", features.index[0][1])
    close = bars.loc[key, "close"]
    assert first.decision_time == datetime(2015, 1, 2, 21, 0, tzinfo=UTC)  # the close of the session
    assert first.hold_until == datetime(2015, 1, 16, 21, 0, tzinfo=UTC)  # the close of the tenth session after
    assert first.reference_price == Decimal(repr(float(close)))
    assert float(first.stop_price) == pytest.approx(close * (1 - 2 * 0.012), abs=0.0051)
    assert float(first.target_price) == pytest.approx(close * (1 + 3 * 0.012), abs=0.0051)
    expected = bundle.predict(features.loc[[key]]).iloc[0]
    assert (first.probability, first.lower, first.upper) == tuple(expected[["probability", "lower", "upper"]])
    assert first.payoff == pytest.approx(bundle.payoff.payoff)
    assert first.feature_hash == bundle.manifest["feature_hash"]
    assert dict(first.features) == features.loc[key, ["f0", "f1", "f2"]].to_dict()
    assert first.model_version == "7"


def test_one_timestamp_at_a_time_equals_all_at_once(trained: Trained) -> None:
    """Backtest (batch) and live (one bar) must make equal signals, field by field."""
    bundle = trained[0].bundle
    features, bars = real_sessions(15)
    batch = make_signals(bundle, features, bars, CALENDAR, "1")
    single = []
    for time in features.index.unique("timestamp"):
        rows = features[features.index.get_level_values("timestamp") == time]
        single += make_signals(bundle, rows, bars.loc[rows.index], CALENDAR, "1")
    assert single == batch


def test_rows_in_warm_up_give_no_signal(trained: Trained) -> None:
    bundle = trained[0].bundle
    features, bars = real_sessions(5)
    features.iloc[0, 0] = np.nan
    features.iloc[1, 3] = np.nan
    assert len(make_signals(bundle, features, bars, CALENDAR, "1")) == 13
    assert make_signals(bundle, features.iloc[:2], bars, CALENDAR, "1") == []


def test_missing_bars_and_columns_are_named(trained: Trained) -> None:
    bundle = trained[0].bundle
    features, bars = real_sessions(5)
    with pytest.raises(ModelDataError, match="none for 1 rows"):
        make_signals(bundle, features, bars.iloc[1:], CALENDAR, "1")
    with pytest.raises(ModelDataError, match="no vol_ewma"):
        make_signals(bundle, features.drop(columns="vol_ewma"), bars, CALENDAR, "1")


@pytest.mark.parametrize(
    ("close", "stop", "target", "expected"),
    [
        (100.0, 97.006, 102.994, ("97.01", "102.99")),
        (27.95, 27.95, 27.95, ("27.94", "27.96")),  # a barrier never sits on the price
        (0.5, 0.49123, 0.51234, ("0.4912", "0.5123")),  # below a dollar ticks are finer
        (100.123456, 100.12, 100.13, ("100.11", "100.13")),
    ],
)
def test_prices_stand_on_the_tick_grid(close: float, stop: float, target: float, expected: tuple[str, str]) -> None:
    assert bracket_prices(close, stop, target) == (Decimal(expected[0]), Decimal(expected[1]))


@pytest.mark.parametrize(
    ("start", "timeframe", "bars", "expected"),
    [
        ("2024-07-01 14:00", "15Min", 2, "2024-07-01 14:45"),
        ("2024-07-01 19:30", "15Min", 1, "2024-07-01 20:00"),  # the last bar of the day
        ("2024-07-01 19:45", "15Min", 1, "2024-07-02 13:45"),  # decided at the close: the next bar is tomorrow's first
        ("2024-07-01 19:30", "15Min", 3, "2024-07-02 14:00"),
        ("2024-07-02 19:45", "15Min", 14, "2024-07-03 17:00"),  # half day before the holiday: 14 bars
        ("2024-07-02 19:45", "15Min", 15, "2024-07-05 13:45"),
        ("2024-07-01 13:30", "15Min", 26 * 2, "2024-07-03 13:45"),
        ("2024-07-03 13:30", "1Day", 1, "2024-07-05 20:00"),
    ],
)
def test_the_vertical_barrier_counts_bars_over_sessions(start: str, timeframe: str, bars: int, expected: str) -> None:
    got = hold_until(pd.Timestamp(start, tz="UTC").to_pydatetime(), bars, Timeframe.parse(timeframe), CALENDAR)
    assert got == pd.Timestamp(expected, tz="UTC")


@pytest.mark.parametrize(
    ("start", "sessions", "end"),
    [
        ("2024-11-27 15:30", 1, "2024-11-29 18:00"),  # Thanksgiving is no session, the day after is a half one
        ("2024-11-27 14:30", 2, "2024-12-02 21:00"),
        ("2024-12-06 20:55", 1, "2024-12-09 21:00"),
    ],
)
def test_a_horizon_in_sessions_ends_with_the_session_whatever_the_bars(start: str, sessions: int, end: str) -> None:
    for timeframe in ("5Min", "30Min"):
        at = pd.Timestamp(start, tz="UTC").to_pydatetime()
        assert hold_until(at, sessions, Timeframe.parse(timeframe), CALENDAR, "sessions") == pd.Timestamp(end, tz="UTC")


def test_a_meta_model_speaks_where_its_primary_bets_and_on_that_side() -> None:
    label = LabelConfig("meta", allow_short=True, primary="reversion", primary_feature="f1", primary_threshold=0.5)
    config = TrainConfig(learner=LearnerConfig(iterations=10, stage=10, threads=2), label=label)
    result, _, _ = train_planted(config=config)
    features, bars = real_sessions(30)
    signals = make_signals(result.bundle, features, bars, CALENDAR, "7")
    said = {(s.symbol, pd.Timestamp(s.decision_time)): s for s in signals}
    known = CALENDAR.known_at(pd.DatetimeIndex(features.index.get_level_values("timestamp")), Timeframe.parse("1Day"))
    for (symbol, start), at, f1 in zip(features.index, known, features["f1"], strict=True):
        signal = said.get((symbol, at))
        assert (signal is None) == (abs(f1) <= 0.5)
        if signal is None:
            continue
        close = bars.loc[(symbol, start), "close"]
        side = -1 if f1 > 0 else 1
        assert signal.side is (Side.BUY if side == 1 else Side.SELL)
        assert float(signal.stop_price) == pytest.approx(close * (1 - side * 2 * 0.012), abs=0.0051)
        assert float(signal.target_price) == pytest.approx(close * (1 + side * 3 * 0.012), abs=0.0051)
    assert {s.side for s in signals} == {Side.BUY, Side.SELL}
    with pytest.raises(ModelDataError, match="no f1"):
        make_signals(result.bundle, features.drop(columns="f1"), bars, CALENDAR, "7")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (LabelConfig(barrier=BarrierConfig(horizon=4)), "same barriers"),
        (LabelConfig("meta", short=BarrierConfig()), "one set of barriers"),
        (LabelConfig(cusum=2.0), "a decision at every bar"),
    ],
)
def test_a_bundle_trades_what_it_was_trained_for_or_is_not_trained(label: LabelConfig, message: str) -> None:
    with pytest.raises(ModelDataError, match=message):
        TrainConfig(label=label)
