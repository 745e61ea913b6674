"""Adjustment against arithmetic anybody can redo, and against its own promises: nothing of the future, stream = batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import BarDataError, ForwardAdjuster, SampleSource, adjust, adjust_forward, check_bars, forward_factors

Frame = pd.DataFrame
PRICES = ["open", "high", "low", "close"]


@pytest.fixture
def with_actions(make_daily: Callable[..., Frame]) -> Frame:
    """One symbol, constant value of a holding: close 100, then a 2:1 split at bar 5, a dividend of 5 at bar 10."""
    bars = make_daily(("AAA",), 15)
    close = np.r_[np.full(5, 100.0), np.full(5, 50.0), np.full(5, 45.0)]
    bars = bars.assign(**dict.fromkeys(PRICES, close))
    bars["volume"] = 1000.0
    bars.iloc[5, bars.columns.get_loc("split")] = 2.0
    bars.iloc[10, bars.columns.get_loc("dividend")] = 5.0
    return bars


def test_forward_prices_follow_the_value_of_a_reinvested_holding(with_actions: Frame) -> None:
    adjusted = adjust_forward(with_actions)
    assert adjusted["close"].to_numpy() == pytest.approx(np.full(15, 100.0))
    assert forward_factors(with_actions).to_numpy() == pytest.approx(np.r_[np.ones(5), np.full(5, 2.0), np.full(5, 2.0 / 0.9)])
    assert adjusted["volume"].to_numpy() == pytest.approx(np.r_[np.full(5, 1000.0), np.full(10, 500.0)])
    assert (adjusted["split"] == 1).all()
    assert (adjusted["dividend"] == 0).all()


def test_backward_prices_end_raw(with_actions: Frame) -> None:
    adjusted = adjust(with_actions, as_of="2014-01-01")
    assert adjusted["close"].to_numpy() == pytest.approx(np.full(15, 45.0))
    assert adjusted["close"].iloc[-1] == 45.0
    assert adjusted["volume"].to_numpy() == pytest.approx(np.r_[np.full(5, 2000.0), np.full(10, 1000.0)])


def test_backward_by_splits_only_restates_dividends_per_present_share(with_actions: Frame) -> None:
    with_actions.iloc[2, with_actions.columns.get_loc("dividend")] = 4.0
    adjusted = adjust(with_actions, as_of="2014-01-01", dividends=False)
    assert adjusted["close"].to_numpy() == pytest.approx(np.r_[np.full(10, 50.0), np.full(5, 45.0)])
    assert adjusted["dividend"].iloc[2] == 2.0
    assert adjusted["dividend"].iloc[10] == 5.0


def test_factors_after_the_stated_date_are_not_used(with_actions: Frame) -> None:
    before_split = with_actions.index[4][1]
    seen = adjust(with_actions, as_of=before_split)
    assert len(seen) == 5
    assert (seen["close"] == 100.0).all()
    changed = with_actions.copy()
    changed.iloc[5:, changed.columns.get_loc("split")] = 7.0
    pd.testing.assert_frame_equal(adjust(changed, as_of=before_split), seen)
    assert len(adjust(with_actions, as_of=before_split.date())) == 5  # a bare date includes its session
    with pytest.raises(BarDataError, match="aware time stamp or a bare date"):
        adjust(with_actions, as_of="2013-01-04 12:00")


def test_forward_adjustment_is_truncation_invariant_to_the_last_bit() -> None:
    bars = SampleSource().fetch()
    full = adjust_forward(bars)
    for cut in ("2000-06-21", "2004-11-15", "2012-08-10"):
        part = bars[bars.index.get_level_values("timestamp") < pd.Timestamp(cut, tz="UTC")]
        pd.testing.assert_frame_equal(adjust_forward(part), full.loc[part.index], check_exact=True)


def test_the_stream_gives_the_bits_of_the_batch() -> None:
    bars = SampleSource().fetch(start="2003-01-01", end="2005-06-01")
    batch, factors = adjust_forward(bars), forward_factors(bars)
    by_time = bars.sort_index(level="timestamp", sort_remaining=True, kind="stable")  # symbols interleaved, as live
    adjuster, rows, stream_factors = ForwardAdjuster(), {}, {}
    for (symbol, stamp), row in by_time.iterrows():
        rows[symbol, stamp], stream_factors[symbol, stamp] = adjuster.update(symbol, row)
    stream = pd.DataFrame.from_dict(rows, orient="index").rename_axis(bars.index.names).sort_index()[list(batch.columns)]
    assert (stream.to_numpy() == batch.to_numpy()).all()
    assert all(stream_factors[key] == value for key, value in factors.items())
    assert (batch["close"] == bars["close"] * factors).all()
    assert (factors != 1.0).any()


def test_an_event_on_the_first_bar_changes_nothing(make_daily: Callable[..., Frame]) -> None:
    bars = make_daily(("AAA",), 5)
    marked = bars.copy()
    marked.iloc[0, marked.columns.get_loc("split")] = 3.0
    marked.iloc[0, marked.columns.get_loc("dividend")] = 1.0
    pd.testing.assert_frame_equal(adjust_forward(marked), adjust_forward(bars))


def test_adjusted_bars_are_still_bars(daily: object) -> None:
    bars = SampleSource().fetch()
    check_bars(adjust_forward(bars), daily)  # type: ignore[arg-type]
    check_bars(adjust(bars, "2013-03-01"), daily)  # type: ignore[arg-type]


def test_a_dividend_as_large_as_the_price_is_refused(make_daily: Callable[..., Frame]) -> None:
    bars = make_daily(("AAA",), 5)
    bars.iloc[3, bars.columns.get_loc("dividend")] = 500.0
    with pytest.raises(BarDataError, match=r"AAA at 2013-01-07.*a dividend below the previous close, found dividend 500"):
        adjust_forward(bars)
    adjuster = ForwardAdjuster()
    rows = [row for _, row in bars.iterrows()]
    for row in rows[:3]:
        adjuster.update("AAA", row)
    with pytest.raises(BarDataError, match="a dividend below the previous close"):
        adjuster.update("AAA", rows[3])
