"""Batch = stream = truncated batch, to the last bit, for every feature, symbol and t."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphatrade_pipelines.features import FeatureInputError, FeaturePipeline
from alphatrade_pipelines.features.base import REGISTRY, build
from alphatrade_pipelines.leaks.house import audit_features
from alphatrade_pipelines.market import SampleSource

# every registered kind, with windows short enough for a hundred bars
SMALL = {
    "momentum": {"window": 7, "skip": 2},
    "maximum_return": {"window": 5},
    "below_high": {"window": 6},
    "close_volatility": {"window": 6},
    "ewma_volatility": {"span": 5},
    "parkinson": {"window": 6},
    "garman_klass": {"window": 6},
    "rogers_satchell": {"window": 6},
    "yang_zhang": {"window": 6},
    "volatility_ratio": {"short": 3, "long": 9},
    "skewness": {"window": 7},
    "kurtosis": {"window": 7},
    "downside_share": {"window": 5},
    "jump_share": {"window": 5},
    "amihud": {"window": 5},
    "hasbrouck_lambda": {"window": 5},
    "kyle_lambda": {"window": 5},
    "kyle_ratio": {"window": 5},
    "vpin": {"window": 5},
    "order_flow": {"window": 5},
    "roll": {"window": 5},
    "corwin_schultz": {"window": 4},
    "becker_parkinson": {"window": 4},
    "edge": {"window": 6},
    "volume_zscore": {"window": 6},
    "volume_trend": {"short": 2, "long": 8},
    "volume_for_time": {"window": 6},
    "plug_in_entropy": {"window": 12, "word": 2},
    "lempel_ziv": {"window": 12},
    "kontoyiannis": {"window": 12},
    "cusum_break": {"window": 9},
    "sadf": {"window": 14, "shortest": 7},
    "trend_scan": {"window": 12, "shortest": 5},
    "rsi": {"window": 5},
    "price_zscore": {"window": 6},
    "beta": {"window": 8},
    "market_correlation": {"window": 8},
    "residual_return": {"window": 8},
    "residual_volatility": {"window": 8},
    "relative_return": {"window": 5},
    "session_return": {"limit": 20},
    "overnight_return": {"limit": 20},
    "vwap_distance": {"limit": 20},
    "session_location": {"limit": 90},
    "fracdiff": {"threshold": 0.02, "min_bars": 50},
    "cross_rank": {"column": "momentum"},
    "dispersion": {"column": "momentum"},
    "training_percentile": {"column": "ewma_volatility", "min_values": 60, "points": 51},
    "volatility_regime": {"column": "training_percentile"},
    "regime": {"min_bars": 100, "refit_every": 10, "max_bars": 120},
}
READ_A_COLUMN = ("cross_rank", "dispersion", "training_percentile", "volatility_regime")  # in this order


def small_pipeline(timeframe: str) -> FeaturePipeline:
    kinds = sorted(set(REGISTRY) - set(READ_A_COLUMN)) + list(READ_A_COLUMN)
    return FeaturePipeline(timeframe, {kind: build(kind, SMALL.get(kind, {})) for kind in kinds})


def stamps_of(bars: pd.DataFrame) -> pd.Index:
    return bars.index.get_level_values("timestamp")


@pytest.mark.parametrize(("timeframe", "count"), [("1Day", 640), ("5Min", 640)])
def test_default_set(make_bars, same_bits, play, timeframe, count) -> None:
    bars = make_bars(count, symbols=3, seed=3, timeframe=timeframe)
    times = stamps_of(bars).unique().sort_values()
    fitted = FeaturePipeline.default(timeframe).fit(bars[stamps_of(bars) <= times[int(0.8 * count)]])
    batch = fitted.transform(bars)
    assert batch.notna().any().all(), "a column without any value would make the comparison empty"
    assert same_bits(play(fitted.stream(), bars), batch) == []
    for cut in times[np.linspace(1, count - 2, 23).astype(int)]:
        past = stamps_of(bars) <= cut
        assert same_bits(fitted.transform(bars[past]), batch[past]) == [], cut


@given(
    seed=st.integers(0, 10_000),
    missing=st.sampled_from([0.0, 0.1, 0.4]),
    timeframe=st.sampled_from(["1Day", "5Min"]),
    late=st.floats(0.0, 0.9),
)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_kind_on_any_panel(make_bars, same_bits, play, seed, missing, timeframe, late) -> None:
    bars = make_bars(150, symbols=2, seed=seed, timeframe=timeframe, missing=missing, late=late)
    times = stamps_of(bars).unique().sort_values()
    fitted = small_pipeline(timeframe).fit(bars[stamps_of(bars) <= times[135]])
    batch = fitted.transform(bars)
    assert same_bits(play(fitted.stream(), bars), batch) == []
    for cut in times[[0, 1, 5, 30, 99, 101, 130, 141, 148]]:
        past = stamps_of(bars) <= cut
        assert same_bits(fitted.transform(bars[past]), batch[past]) == []


@pytest.mark.parametrize("at", [1, 130, 638])
def test_stream_from_history_continues_to_the_same_bits(make_bars, same_bits, play, at) -> None:
    bars = make_bars(640, symbols=3, seed=5)
    times = stamps_of(bars).unique().sort_values()
    fitted = FeaturePipeline.default("1Day").fit(bars)
    past, next_ones = stamps_of(bars) < times[at], (stamps_of(bars) >= times[at]) & (stamps_of(bars) < times[min(at + 60, 639)])
    assert same_bits(play(fitted.stream(bars[past]), bars[next_ones]), fitted.transform(bars)[next_ones]) == []


def test_row_order_within_a_time_stamp_and_zone_of_input_change_nothing(make_bars, same_bits) -> None:
    bars = make_bars(760, seed=6)
    fitted = FeaturePipeline.default("1Day").fit(bars)
    local = bars.tz_convert("Asia/Tokyo", level="timestamp")
    expected = fitted.transform(bars)
    assert same_bits(fitted.transform(local).tz_convert("UTC", level="timestamp"), expected) == []
    last = bars.index.get_level_values("timestamp").max()
    before = bars[stamps_of(bars) < last]
    rows = bars[stamps_of(bars) == last]
    turned = fitted.stream(before).update(rows[::-1])
    assert list(turned.index) == list(rows.index[::-1])
    assert same_bits(turned[::-1], expected.loc[rows.index]) == []


def test_prices_in_another_unit_change_only_what_is_measured_in_dollars(make_bars) -> None:
    bars = make_bars(760, seed=7)
    scaled = bars.copy()
    scaled[["open", "high", "low", "close", "dividend"]] *= 4.0
    pipeline = FeaturePipeline.default("1Day")
    one, four = pipeline.fit(bars).transform(bars), pipeline.fit(scaled).transform(scaled)
    dollars = {"amihud_21": 0.25, "kyle_lambda_21": 0.25, "hasbrouck_lambda_21": 0.5}
    level = {"fracdiff"}
    for name in one.columns.difference(list(level)):
        np.testing.assert_allclose(four[name], one[name] * dollars.get(name, 1.0), rtol=1e-6, atol=1e-8, err_msg=name)


def test_each_symbol_in_its_own_unit_changes_nothing_between_symbols(make_bars) -> None:
    """Prices of each symbol scaled by another power of two: the market, ranks and dispersion are made of returns."""
    bars = make_bars(760, seed=14)
    unit = bars.index.get_level_values("symbol").map({"S00": 0.25, "S01": 8.0, "S02": 1.0, "S03": 64.0}).to_numpy(np.float64)
    scaled = bars.copy()
    for name in ("open", "high", "low", "close", "dividend"):
        scaled[name] = scaled[name].to_numpy() * unit
    pipeline = FeaturePipeline.default("1Day")
    names = [name for name in pipeline.features if name not in ("amihud_21", "kyle_lambda_21", "hasbrouck_lambda_21", "fracdiff")]
    kept = pipeline.select(names)
    pd.testing.assert_frame_equal(kept.fit(scaled).transform(scaled), kept.fit(bars).transform(bars), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("timeframe", ["1Day", "5Min"])
def test_names_and_order_of_symbols_change_nothing(make_bars, timeframe) -> None:
    """Other names sort otherwise; sums over symbols then add in another order, hence rounding but no more."""
    bars = make_bars(620, seed=15, timeframe=timeframe, late=0.2)
    names = {"S00": "ZZ", "S01": "AA", "S02": "MM", "S03": "BB"}
    renamed = bars.rename(index=names, level="symbol").sort_index()
    pipeline = FeaturePipeline.default(timeframe)
    one, other = pipeline.fit(bars).transform(bars), pipeline.fit(renamed).transform(renamed)
    for old, new in names.items():
        pd.testing.assert_frame_equal(other.loc[new], one.loc[old], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("timeframe", ["1Day", "5Min"])
def test_halts_half_days_and_a_duplicated_last_bar(make_bars, same_bits, timeframe) -> None:
    """A symbol halted for hours or weeks, all symbols missing for a while, and a feed that repeats its last bar or changes its zone."""
    bars = make_bars(620, seed=16, timeframe=timeframe, late=0.1)
    times = stamps_of(bars).unique().sort_values()
    halted = (bars.index.get_level_values("symbol") == "S01") & (stamps_of(bars) > times[530]) & (stamps_of(bars) < times[560])
    outage = (stamps_of(bars) > times[570]) & (stamps_of(bars) < times[576])
    bars = bars[~halted & ~outage]
    fitted = FeaturePipeline.default(timeframe).fit(bars[stamps_of(bars) <= times[540]])
    expected = fitted.transform(bars)
    stream = fitted.stream(bars[stamps_of(bars) <= times[500]])
    found = []
    for at, (stamp, rows) in enumerate(bars[stamps_of(bars) > times[500]].groupby(level="timestamp")):
        zone = ("UTC", "Asia/Tokyo", "America/New_York")[at % 3]
        given = rows.tz_convert(zone, level="timestamp")
        found.append(stream.update(given).tz_convert("UTC", level="timestamp"))
        if at % 5 == 0:
            with pytest.raises(FeatureInputError, match="a time stamp after"):
                stream.update(rows)
        assert found[-1].index.get_level_values("timestamp")[0] == stamp
    assert same_bits(pd.concat(found).sort_index(), expected[stamps_of(bars) > times[500]]) == []
    with pytest.raises(FeatureInputError, match="out of order or repeated"):
        fitted.transform(pd.concat([bars, bars.tail(1)]))


def test_adjustment_sees_splits_and_dividends(make_bars) -> None:
    plain = make_bars(400, symbols=2, seed=8, actions=False, missing=0.0, late=0.0)
    split = plain.copy()
    rows = split.loc["S00"].index[200:]
    where = (split.index.get_level_values("symbol") == "S00") & stamps_of(split).isin(rows)
    split.loc[where, ["open", "high", "low", "close"]] /= 8.0
    split.loc[where, "volume"] *= 8.0
    split.loc[("S00", rows[0]), "split"] = 8.0
    pipeline = FeaturePipeline.default("1Day").select(
        ["momentum_63", "vol_yang_zhang_21", "volume_z_21", "kyle_lambda_21", "fracdiff", "beta_63"]
    )
    pd.testing.assert_frame_equal(pipeline.fit(plain).transform(plain), pipeline.fit(split).transform(split), rtol=1e-12)


def test_real_daily_bars(same_bits, play) -> None:
    """The embedded sample: real splits and dividends, a symbol that begins twelve years late."""
    pytest.importorskip("bokeh_sampledata", reason="the `sample` extra is not installed")
    bars = SampleSource().fetch(None, "2009-06-01", "2013-03-01")
    times = stamps_of(bars)
    fitted = FeaturePipeline.default("1Day").fit(bars[times < "2012-09-01"])
    batch = fitted.transform(bars)
    live = times >= "2012-10-01"
    assert same_bits(play(fitted.stream(bars[~live]), bars[live]), batch[live]) == []
    assert audit_features(fitted, bars, cuts=4).clean
    assert batch.loc["AAPL"].iloc[501:].notna().all().all()
