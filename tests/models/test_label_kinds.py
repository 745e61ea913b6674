"""Sides, sessions, event sampling, published close-only labels, trend scanning, meta-labels: oracles, printed values, bad input."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrade_pipelines.market import SessionCalendar
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels import (
    BarrierConfig,
    CloseBarrierConfig,
    LabelConfig,
    TrendConfig,
    barrier_prices,
    close_barrier,
    cusum_decisions,
    direction,
    make_labels,
    primary_side,
    trend_scanning,
    triple_barrier,
)
from tests.models.makers import random_bars
from tests.tools.published import dollar_bars

CALENDAR = SessionCalendar()


def made_up(times: pd.DatetimeIndex, symbols: tuple[str, ...] = ("A", "B"), seed: int = 0, volatility: float = 0.01) -> pd.DataFrame:
    """Random walks on given time stamps."""
    bars = random_bars(list(symbols), len(times), seed, volatility)
    return bars.set_index(pd.MultiIndex.from_product([list(symbols), times], names=["symbol", "timestamp"]))


def slow_bracket(rows: list[Any], i: int, last: int, stop: float, target: float, side: int, cost: float) -> tuple[str, float]:
    """Exit and net return of one bracket, written as a story of prices: each bar says its open, then its range."""
    outcome = None
    for bar in rows[i + 1 : last]:
        prices = ((bar.open, bar.open, bar.open), (None, bar.low, bar.high))
        for at_open, low, high in prices:
            stopped, reached = (low <= stop, high >= target) if side == 1 else (high >= stop, low <= target)
            if stopped or reached:
                outcome = ("stop" if stopped else "target", at_open if at_open is not None else stop if stopped else target)
                break
        if outcome:
            break
    kind, price = outcome or ("horizon", rows[last].open)
    paid, got = (rows[i + 1].open * (1 + cost), price * (1 - cost)) if side == 1 else (price * (1 + cost), rows[i + 1].open * (1 - cost))
    return kind, got / paid - 1 if side == 1 else 1 - paid / got


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(0.5, 3.0), st.floats(0.5, 3.0), st.sampled_from([0.0, 5.0, 30.0]))
def test_long_and_short_equal_a_slow_story(seed: int, horizon: int, stop: float, target: float, cost_bps: float) -> None:
    rng = np.random.default_rng(seed)
    bars = random_bars(["A", "B"], 60, seed, 0.02)
    volatility = pd.Series(rng.uniform(0.005, 0.03, len(bars)), index=bars.index)
    sides = pd.Series(rng.choice([1.0, -1.0, 0.0, np.nan], len(bars)), index=bars.index)
    long, short = BarrierConfig(stop, target, horizon, cost_bps), BarrierConfig(target, stop, horizon + 1, cost_bps / 2)
    labels = triple_barrier(bars, volatility, long, side=sides, short=short)
    seen = 0
    for symbol in ("A", "B"):
        rows = list(bars.loc[symbol].itertuples())
        for i, row in enumerate(rows):
            key = (symbol, row.Index)
            side = sides.loc[key]
            config = long if side == 1 else short
            last = i + 1 + config.horizon
            if abs(side) != 1 or last >= len(rows):
                assert key not in labels.index
                continue
            stop_at, target_at = (
                row.close * (1 - side * config.stop_multiple * volatility.loc[key]),
                row.close * (1 + side * config.target_multiple * volatility.loc[key]),
            )
            kind, ret = slow_bracket(rows, i, last, stop_at, target_at, int(side), config.cost_bps / 1e4)
            got = labels.loc[key]
            assert (got["exit"], got["side"], got["label"]) == (kind, side, int(got["ret"] > 0))
            assert got["ret"] == pytest.approx(ret, abs=1e-13)
            assert got["risk"] == pytest.approx(config.stop_multiple * volatility.loc[key], abs=1e-12)
            seen += 1
    assert seen == len(labels)


HALF_DAY_WEEK = ("2024-11-18", "2024-12-13")  # Thanksgiving on the 28th is closed, the 29th ends at 13:00


def intraday_times(start: str, end: str, minutes: int) -> pd.DatetimeIndex:
    """Every bar start of the sessions from ``start`` to ``end``."""
    table = CALENDAR.sessions(start, end)
    parts = [pd.date_range(opens, closes, freq=f"{minutes}min", inclusive="left") for opens, closes in table.itertuples(index=False)]
    return pd.DatetimeIndex(np.concatenate([part.as_unit("ns").asi8 for part in parts]).astype("datetime64[ns]")).tz_localize("UTC")


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_sessions_are_counted_over_holidays_and_half_days(horizon: int) -> None:
    times = intraday_times(*HALF_DAY_WEEK, 30)
    bars = made_up(times, volatility=0.0005)
    config = BarrierConfig(100, 100, horizon, 0.0, max_volatility=0.009, horizon_unit="sessions")
    labels = triple_barrier(bars, pd.Series(0.009, index=bars.index), config)
    assert (labels["exit"] == "horizon").all()
    for start, t1 in labels["t1"].xs("A").items():
        # the first bar after the close of the horizon-th following session
        assert t1 == CALENDAR.next_open(CALENDAR.add_sessions(start, horizon))
    sessions = len(CALENDAR.sessions(*HALF_DAY_WEEK))
    last = pd.Timestamp(labels.index.get_level_values("timestamp").max()).date()
    assert last == CALENDAR.sessions(*HALF_DAY_WEEK).index[sessions - horizon - 2].date()  # one more session is needed for the exit
    wednesday = labels.xs(pd.Timestamp("2024-11-27 15:30", tz="UTC"), level="timestamp")["t1"].iloc[0]
    assert wednesday == pd.Timestamp({1: "2024-12-02 14:30", 2: "2024-12-03 14:30", 5: "2024-12-06 14:30"}[horizon], tz="UTC")


def test_a_symbol_without_bars_in_a_session_still_ages_by_it() -> None:
    times = pd.DatetimeIndex(CALENDAR.sessions("2024-03-01", "2024-03-15")["open"])
    bars = made_up(times, volatility=0.0005).drop(index=("B", times[4]))
    config = BarrierConfig(100, 100, 2, 0.0, max_volatility=0.009, horizon_unit="sessions")
    labels = triple_barrier(bars, pd.Series(0.009, index=bars.index), config)
    assert labels.loc[("A", times[1]), "t1"] == times[4]
    assert labels.loc[("B", times[1]), "t1"] == times[5]  # the open of session 4 does not exist: closed at the next there is
    assert labels.loc[("B", times[2]), "t1"] == times[5]


def test_on_complete_daily_bars_sessions_and_bars_are_the_same() -> None:
    times = pd.DatetimeIndex(CALENDAR.sessions("2023-06-01", "2024-01-31")["open"])
    bars = made_up(times)
    volatility = pd.Series(0.012, index=bars.index)
    by_bars = triple_barrier(bars, volatility, BarrierConfig(horizon=7))
    by_sessions = triple_barrier(bars, volatility, BarrierConfig(horizon=7, horizon_unit="sessions"))
    pd.testing.assert_frame_equal(by_bars, by_sessions)


EVERY_KIND = {
    "bars": lambda bars, vol: triple_barrier(bars, vol, BarrierConfig(horizon=4)),
    "sessions": lambda bars, vol: triple_barrier(bars, vol, BarrierConfig(horizon=4, horizon_unit="sessions")),
    "short": lambda bars, vol: triple_barrier(bars, vol, BarrierConfig(horizon=4), side=-1),
    "closes": lambda bars, vol: close_barrier(bars, vol, CloseBarrierConfig(vertical=timedelta(days=6))),
    "trend": lambda bars, vol: trend_scanning(bars, TrendConfig(3, 6)),
    "direction": lambda bars, vol: direction(bars, BarrierConfig(horizon=4)),
    "direction over sessions": lambda bars, vol: direction(bars, BarrierConfig(horizon=4, horizon_unit="sessions")),
    "trend of brackets": lambda bars, vol: make_labels(bars, vol, LabelConfig("trend", BarrierConfig(horizon=4), trend=TrendConfig(3, 6))),
    "events": lambda bars, vol: make_labels(bars, vol, LabelConfig("bracket", BarrierConfig(horizon=4), cusum=1.5)),
    "meta": lambda bars, vol: make_labels(
        bars, vol, LabelConfig("meta", BarrierConfig(horizon=4), allow_short=True, primary_feature="m"), bars[["m"]]
    ),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_label_whose_window_ends_beyond_the_data_does_not_exist_and_later_bars_change_none(kind: str) -> None:
    times = pd.DatetimeIndex(CALENDAR.sessions("2023-01-03", "2023-12-29")["open"])
    bars = made_up(times, volatility=0.015)
    bars["m"] = bars["close"].groupby(level="symbol").pct_change(5)
    volatility = pd.Series(0.012, index=bars.index)
    whole = EVERY_KIND[kind](bars, volatility)
    stamps = whole.index.get_level_values("timestamp")
    assert (whole["t1"] > stamps).all()
    for cut in (times[60], times[133]):
        known = np.asarray(bars.index.get_level_values("timestamp") < cut)
        found = EVERY_KIND[kind](bars[known], volatility[known])
        assert found.index.isin(whole.index).all()
        full = whole.loc[found.index]
        later = np.asarray(full["t1"] >= cut)
        pd.testing.assert_frame_equal(found[~later], full[~later])
        # nothing that needed the future is there, however early a barrier was touched
        assert found.index.get_level_values("timestamp").max() < cut - pd.Timedelta(days=4)


# notes: 1000 E-mini dollar bars, h = .02, pt = sl = 1, target = daily volatility, min_ret = .005, vertical = first bar >= t0 + 1 day
PUBLISHED = """
2015-01-08 01:48:57.964 2015-01-09 07:30:41.047 .010166261176 .0067492944 0
2015-01-12 14:56:49.380 2015-01-13 14:31:38.293 .009425194877 .010776663 1
2015-01-13 18:53:58.129 2015-01-14 13:33:33.398 .008033648933 -.0083374813 -1
2015-01-16 00:15:15.421 2015-01-16 14:36:45.079 .008153682142 .0089918946 1
2015-01-16 20:51:57.294 2015-01-19 00:15:00.645 .008158397975 .0028574978 0
2015-01-22 13:42:25.117 2015-01-22 14:41:32.599 .006833481196 -.0089252965 -1
2015-01-27 15:32:38.987 2015-01-27 19:23:36.368 .006801077861 .0071764415 1
2015-01-28 20:35:26.283 2015-01-29 14:48:26.264 .006455887663 -.0072454716 -1
"""


def daily_volatility(close: pd.Series, span: int = 100) -> pd.Series:
    """AFML snippet 3.1: exponentially weighted deviation of returns over one day."""
    before = close.index.searchsorted(close.index - pd.Timedelta(days=1))
    before = before[before > 0] - 1
    now = close.index[len(close) - len(before) :]
    return pd.Series(close.loc[now].to_numpy() / close.iloc[before].to_numpy() - 1, index=now).ewm(span=span).std()


@pytest.fixture(scope="module")
def emini() -> tuple[pd.DataFrame, pd.Series, pd.MultiIndex]:
    """Published bars, AFML's daily volatility, and the CUSUM events of h = .02."""
    from alphatrade_pipelines.market.cusum import cusum_events

    bars = dollar_bars().assign(symbol="ES").rename(columns={"date_time": "timestamp"})
    bars["timestamp"] = bars["timestamp"].dt.tz_localize("UTC")
    bars = bars.set_index(["symbol", "timestamp"])
    volatility = daily_volatility(bars.loc["ES", "close"])
    assert (len(volatility), volatility.iloc[-1]) == (960, pytest.approx(0.00896823893217064, rel=1e-9))
    unit = pd.Series(volatility.reindex(bars.index.get_level_values("timestamp")).to_numpy(), index=bars.index)
    events = cusum_events(np.log(bars["close"]), 0.02).index
    assert len(events) == 9
    assert isinstance(events, pd.MultiIndex)
    return bars, unit, events


AS_PUBLISHED = CloseBarrierConfig(1, 1, timedelta(days=1), min_ret=0.005, keep_touched=True)


def test_the_eight_published_labels(emini: Any) -> None:
    bars, unit, events = emini
    labels = close_barrier(bars, unit, AS_PUBLISHED, decisions=events)
    assert len(labels) == 8
    for (key, got), line in zip(labels.iterrows(), PUBLISHED.strip().splitlines(), strict=True):
        day, clock, end_day, end_clock, target, ret, label = line.split()
        assert key == ("ES", pd.Timestamp(f"{day} {clock}", tz="UTC"))
        assert got["touch"] == pd.Timestamp(f"{end_day} {end_clock}", tz="UTC")
        assert got["target"] == pytest.approx(float(target), abs=5e-13)
        assert got["ret"] == pytest.approx(float(ret), abs=5e-11)
        assert got["label"] == int(label)
        assert got["exit"] == {0: "vertical", 1: "target", -1: "stop"}[int(label)]
        assert got["t1"] > got["touch"]
    # the last window ends after the data: by the contract of the house it does not exist
    strict = close_barrier(bars, unit, CloseBarrierConfig(1, 1, timedelta(days=1), 0.005), decisions=events)
    assert strict.index.equals(labels.index[:-1])


def test_the_published_invariants(emini: Any) -> None:
    bars, unit, events = emini

    def labels(target: float, stop: float, vertical: timedelta | None = timedelta(days=1)) -> pd.DataFrame:
        return close_barrier(bars, unit, CloseBarrierConfig(target, stop, vertical, 0.005, keep_touched=True), decisions=events)

    assert (labels(1000, 1000)["label"] == 0).all()
    assert (labels(1e-8, 1e-8)["label"] != 0).all()
    assert (labels(1e4, 1e-8)["label"] != 1).all()
    assert (labels(0, 1)["label"] != 1).all()  # a multiple of 0 is no barrier
    limited, endless = labels(1, 1), labels(1, 1, None)
    assert limited.index.isin(endless.index).all()
    assert int((limited["touch"] != endless.loc[limited.index, "touch"]).sum()) == 2


@pytest.mark.parametrize("side", [1, -1])
def test_closes_equal_snippets_of_the_book(emini: Any, side: int) -> None:
    """Snippets 3.2, 3.3 and 3.7 with pandas, at every bar instead of the events."""
    bars, unit, _ = emini
    close = bars.loc["ES", "close"]
    sides = pd.Series(side, index=bars.index)
    labels = close_barrier(bars, unit, CloseBarrierConfig(1.5, 0.7, timedelta(hours=9), 0.004), side=sides).loc["ES"]
    assert len(labels) > 700
    for start, got in labels.iloc[::7].iterrows():
        place = close.index.searchsorted(start + pd.Timedelta(hours=9))
        path = (close.iloc[close.index.get_loc(start) : place + 1] / close[start] - 1) * side
        touches = [path.index[path < -0.7 * got["target"]].min(), path.index[path > 1.5 * got["target"]].min(), path.index[-1]]
        first = min(touch for touch in touches if touch is not pd.NaT)
        assert got["touch"] == first
        assert got["ret"] == pytest.approx(path[first], abs=1e-12)
        assert got["label"] == int(path[first] > 0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 6), st.integers(0, 9))
def test_trends_equal_statsmodels(seed: int, shortest: int, more: int) -> None:
    bars = random_bars(["A", "B"], 40, seed, 0.02)
    config = TrendConfig(shortest, shortest + more)
    labels = trend_scanning(bars, config)
    assert len(labels) == 2 * (40 - config.longest)
    for symbol in ("A", "B"):
        log = np.log(bars.loc[symbol, "close"].to_numpy())
        times = bars.loc[symbol].index
        for i, (start, got) in enumerate(labels.loc[symbol].iterrows()):
            assert start == times[i]
            t = {n: sm.OLS(log[i : i + n], sm.add_constant(np.arange(n))).fit().tvalues[1] for n in range(shortest, config.longest + 1)}
            best = max(t, key=lambda n: abs(t[n]))
            assert (got["points"], got["label"], got["t1"]) == (best, int(t[best] > 0), times[i + config.longest])
            assert got["t_value"] == pytest.approx(t[best], rel=1e-7)


def test_straight_and_level_lines() -> None:
    bars = random_bars(["A"], 60)
    rising, level = bars.assign(close=np.exp(0.01 * np.arange(60.0))), bars.assign(close=7.1)
    up = trend_scanning(rising, TrendConfig(3, 10))
    assert (up["label"] == 1).all()
    assert np.isfinite(up["t_value"]).all()
    assert (trend_scanning(rising[::1].assign(close=1 / rising["close"]), TrendConfig(3, 10))["t_value"] < 0).all()
    flat = trend_scanning(level, TrendConfig(3, 10))
    assert (flat["t_value"] == 0).all()
    assert (flat["label"] == 0).all()


def test_primary_rules() -> None:
    values = pd.Series([0.3, -0.3, 0.05, np.nan, 0.0])
    assert primary_side(values, "momentum", 0.1).tolist() == [1, -1, 0, 0, 0]
    assert primary_side(values, "reversion", 0.1).tolist() == [-1, 1, 0, 0, 0]
    assert primary_side(pd.Series([1.0, -1, 0, np.nan]), "model").tolist() == [1, -1, 0, 0]


def test_meta_labels_ask_whether_the_bet_of_the_primary_paid() -> None:
    """On a market that trends with certainty momentum always pays and reversion never does; a bet that is not taken has no label."""
    times = pd.DatetimeIndex(CALENDAR.sessions("2023-01-03", "2023-12-29")["open"])
    close = 50 * np.exp(np.concatenate([0.01 * np.arange(125), 1.25 - 0.01 * np.arange(125)]))
    index = pd.MultiIndex.from_product([["A"], times], names=["symbol", "timestamp"])
    opens = np.append(close[0], close[:-1])
    bars = pd.DataFrame({"open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close}, index=index)
    features = bars[["close"]].pct_change(5).rename(columns={"close": "m"})
    volatility = pd.Series(0.01, index=index)
    barrier = BarrierConfig(2, 2, 5, 5)
    away = np.abs(np.arange(250) - 124) > 12  # around the turn nobody can be right always
    share = {}
    for rule in ("momentum", "reversion"):
        config = LabelConfig("meta", barrier, allow_short=True, primary=rule, primary_feature="m", primary_threshold=0.001)
        labels = make_labels(bars, volatility, config, features)
        assert set(labels["side"]) == {1, -1}
        assert ("A", times[0]) not in labels.index
        share[rule] = labels.loc[labels.index.isin(index[away]), "label"].mean()
        only_long = make_labels(bars, volatility, LabelConfig("meta", barrier, primary=rule, primary_feature="m"), features)
        assert set(only_long["side"]) == {1}
    assert share == {"momentum": 1.0, "reversion": 0.0}


def test_costs_decide_meta_labels() -> None:
    """A bet that wins less than it costs did not pay, on either side."""
    bars = random_bars(["A"], 300, 4, 0.01)
    volatility = pd.Series(0.01, index=bars.index)
    for side in (1, -1):
        free, dear = (triple_barrier(bars, volatility, BarrierConfig(2, 2, 5, cost), side=side) for cost in (0.0, 100.0))
        assert (dear["ret"] < free["ret"]).all()
        assert 0 < dear["label"].sum() < free["label"].sum()


def test_cusum_decisions_are_fewer_and_label_as_before() -> None:
    bars = random_bars(["A", "B"], 400, 2, 0.015)
    volatility = pd.Series(0.015, index=bars.index)
    volatility.iloc[:30] = np.nan
    decisions = cusum_decisions(bars, volatility, 2.0)
    assert 20 < len(decisions) < 400
    assert not decisions.isin(bars.index[:30]).any()
    every, some = triple_barrier(bars, volatility), make_labels(bars, volatility, LabelConfig("bracket", cusum=2.0))
    pd.testing.assert_frame_equal(some, every[every.index.isin(decisions)].loc[some.index], check_dtype=False)
    assert set(some.index) == set(every.index) & set(decisions)


def test_short_barriers_are_mirrored_and_stay_above_zero() -> None:
    stop, target = barrier_prices(np.array([100.0]), np.array([0.01]), BarrierConfig(2, 3), -1)
    assert (stop[0], target[0]) == (pytest.approx(102), pytest.approx(97))
    with pytest.raises(ModelDataError, match="above zero"):
        barrier_prices(np.array([100.0]), np.array([0.01]), BarrierConfig(2, 6), -1)


BARS = random_bars(["A"], 20)
VOL = pd.Series(0.01, index=BARS.index)


def test_twenty_events_are_enough_for_labels() -> None:
    assert len(triple_barrier(BARS, VOL, BarrierConfig(horizon=5))) == 14


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: triple_barrier(BARS, VOL * np.nan), r"0 decisions with a positive volatility"),
        (lambda: triple_barrier(BARS, -VOL), r"0 decisions with a positive volatility"),
        (lambda: triple_barrier(BARS, VOL, BarrierConfig(horizon=19)), "no label"),
        (lambda: triple_barrier(BARS, VOL, side=VOL), "sides of 1, -1, 0 or NaN"),
        (lambda: triple_barrier(BARS, VOL, side=2), "sides of 1, -1, 0 or NaN"),
        (lambda: triple_barrier(BARS, VOL, side=pd.Series(1, index=BARS.index[1:])), "side on the index"),
        (lambda: triple_barrier(pd.concat([BARS, BARS]), pd.concat([VOL, VOL])), "unsorted or duplicate"),
        (lambda: triple_barrier(BARS.tz_localize(None, level="timestamp"), VOL.tz_localize(None, level="timestamp")), "naive"),
        (lambda: triple_barrier(BARS.droplevel("symbol"), VOL.droplevel("symbol")), "indexed by symbol and timestamp"),
        (lambda: triple_barrier(BARS, VOL, decisions=BARS.index[::-1]), "decisions sorted"),
        (lambda: triple_barrier(BARS, VOL, decisions=random_bars(["Z"], 3).index), "none for 3"),
        (lambda: BarrierConfig(horizon_unit="days"), "bars or sessions"),  # type: ignore[arg-type]
        (lambda: cusum_decisions(BARS, VOL, 0.0), "positive multiple"),
        (lambda: cusum_decisions(BARS, VOL, 1e6), "no.* in 20 bars|none in 20 bars"),
        (lambda: cusum_decisions(BARS, VOL * np.nan, 1.0), "none in 20 bars"),
        (lambda: trend_scanning(BARS, TrendConfig(5, 20)), "20 bars and no label"),
        (lambda: trend_scanning(BARS.assign(close=-1.0)), "non-positive prices"),
        (lambda: TrendConfig(2, 5), "no t-value"),
        (lambda: CloseBarrierConfig(vertical=timedelta(0)), "after the decision"),
        (lambda: CloseBarrierConfig(stop_multiple=-1), "multiples and min_ret"),
        (lambda: close_barrier(BARS, VOL * np.nan), "no label"),
        (lambda: close_barrier(BARS, VOL, CloseBarrierConfig(min_ret=0.5)), "no label"),
        (lambda: close_barrier(BARS, VOL, side=VOL), "sides of 1, -1, 0 or NaN"),
        (lambda: LabelConfig("other"), "bracket, meta or trend"),  # type: ignore[arg-type]
        (lambda: make_labels(BARS, VOL, LabelConfig("meta")), "the feature momentum_21"),
        (lambda: make_labels(BARS, VOL, LabelConfig("meta", primary_feature="zero"), BARS.assign(zero=0.0)), "0 decisions"),
        (lambda: primary_side(VOL, "model"), "model's side"),
        (lambda: primary_side(VOL, "contrarian"), "momentum, reversion or model"),  # type: ignore[arg-type]
        (lambda: primary_side(VOL, "momentum", -1.0), "threshold >= 0"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ModelDataError, match=message):
        call()


def test_a_manifest_keeps_what_was_learnt() -> None:
    for config in (
        LabelConfig(),
        LabelConfig("trend", BarrierConfig(1, 2, 3), trend=TrendConfig(4, 9)),
        LabelConfig("meta", BarrierConfig(horizon_unit="sessions"), BarrierConfig(1.5, 2.5), True, "reversion", "m", 0.2, cusum=2.0),
    ):
        assert LabelConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config
    assert LabelConfig.from_dict(None) == LabelConfig()  # bundles from before labels could be chosen
