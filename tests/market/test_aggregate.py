"""Aggregated time bars: the live minute stream and the historical download give the same bars, to the bit."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.live.bars import BarBuilder
from alphatrade_pipelines.live.inbox import BarArrived
from alphatrade_pipelines.market import (
    BarDataError,
    BarGate,
    Fault,
    FilesConfig,
    FilesSource,
    GateConfig,
    LiveBar,
    SessionCalendar,
    SyntheticConfig,
    SyntheticSource,
    Timeframe,
    to_bars,
)
from alphatrade_pipelines.market.aggregate import BarAggregator, aggregate_bars
from alphatrade_pipelines.market.bars import REQUIRED

MINUTE, QUARTER, DAY = (Timeframe.parse(text) for text in ("1Min", "15Min", "1Day"))
CALENDAR = SessionCalendar()
HALF_DAY = "2013-11-29"
Arrival = tuple[datetime, LiveBar]


@pytest.fixture(scope="module")
def minutes() -> pd.DataFrame:
    """Two symbols over three sessions, the last a half day; a fifth of the minutes missing, whole quarters too; fractional volumes."""
    rng = np.random.default_rng(5)
    parts = []
    for symbol in ("AAA", "BBB"):
        for _, session in CALENDAR.sessions("2013-11-26", HALF_DAY).iterrows():
            stamps = pd.date_range(session["open"], session["close"], freq="1min", inclusive="left")
            close = 50.0 * np.exp(np.cumsum(rng.normal(0, 0.001, len(stamps))))
            opened = close * np.exp(rng.normal(0, 0.0005, len(stamps)))
            frame = pd.DataFrame({"symbol": symbol, "timestamp": stamps, "open": opened, "close": close})
            frame["high"], frame["low"] = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
            frame["volume"], frame["vwap"] = rng.lognormal(5, 1, len(stamps)), (opened + close) / 2
            frame["trade_count"] = rng.integers(1, 50, len(stamps)).astype(float)
            kept = (rng.random(len(stamps)) > 0.2) & ~((np.arange(len(stamps)) >= 60) & (np.arange(len(stamps)) < 90))
            parts.append(frame[kept])
    bars = to_bars(pd.concat(parts))
    second = bars.index.get_level_values("timestamp") >= CALENDAR.sessions(HALF_DAY, HALF_DAY)["open"].iloc[0]
    for symbol in ("AAA", "BBB"):
        first = bars.index[second & (bars.index.get_level_values("symbol") == symbol)][0]
        bars.loc[first, ["split", "dividend"]] = [2.0, 0.1]
    return bars


def live_bars(bars: pd.DataFrame) -> list[LiveBar]:
    flat = bars.reset_index().sort_values(["timestamp", "symbol"])
    return [LiveBar(row.symbol, row.timestamp.to_pydatetime(), *(getattr(row, name) for name in REQUIRED)) for row in flat.itertuples()]


def frame_of(bars: list[LiveBar]) -> pd.DataFrame:
    rows = [{"symbol": bar.symbol, "timestamp": bar.timestamp} | {name: getattr(bar, name) for name in REQUIRED} for bar in bars]
    return to_bars(pd.DataFrame(rows).sort_values(["symbol", "timestamp"]))


def arrivals(bars: pd.DataFrame, seed: int = 3, latest: float = 59.0) -> list[Arrival]:
    """Each bar up to ``latest`` seconds after its minute, its neighbours' order kept within a symbol; a tenth of them twice."""
    rng = np.random.default_rng(seed)
    found: list[Arrival] = []
    for bar in live_bars(bars):
        at = bar.timestamp + timedelta(seconds=60 + float(rng.uniform(0, latest)))
        found.append((at, bar))
        if rng.random() < 0.1:
            found.append((at + timedelta(seconds=0.5), bar))
    return sorted(found, key=lambda item: item[0])


def stream(found: list[Arrival], target: Timeframe, gate: BarGate) -> tuple[pd.DataFrame, BarGate]:
    aggregator, done = BarAggregator(MINUTE, target), []
    for at, bar in found:
        done += aggregator.close_until(at)
        if gate.check(bar, at).accepted:
            done += aggregator.update(bar)
    done += aggregator.close_until(found[-1][0] + timedelta(days=1))
    return frame_of(done), gate


@pytest.mark.parametrize("target", ["5Min", "15Min", "1Hour", "1Day"])
def test_live_stream_equals_historical_download(minutes, target) -> None:
    frame = Timeframe.parse(target)
    expected = aggregate_bars(minutes, MINUTE, frame)[list(REQUIRED)]
    found, gate = stream(arrivals(minutes), frame, BarGate(MINUTE, GateConfig(max_jump=5.0, max_volume_ratio=1e9)))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert set(gate.summary()) == {"accepted", "rejected", "rejected_duplicate"}


def test_a_bar_the_gate_finds_late_is_the_only_difference(minutes) -> None:
    found = arrivals(minutes)
    lost = found[200][1]
    found = sorted(
        [(at, bar) for at, bar in found if bar is not lost] + [(lost.timestamp + timedelta(minutes=9), lost)], key=lambda one: one[0]
    )
    streamed, gate = stream(found, QUARTER, BarGate(MINUTE, GateConfig(max_jump=5.0, max_volume_ratio=1e9)))
    without = minutes.drop(index=(lost.symbol, pd.Timestamp(lost.timestamp)))
    pd.testing.assert_frame_equal(streamed, aggregate_bars(without, MINUTE, QUARTER)[list(REQUIRED)], check_exact=True)
    refused = {verdict.faults[0] for verdict in gate.quarantine if verdict.bar is lost}
    assert refused <= {Fault.OUT_OF_ORDER, Fault.LATE}
    assert refused
    assert not streamed.equals(aggregate_bars(minutes, MINUTE, QUARTER)[list(REQUIRED)])


def test_in_two_steps_as_in_one(minutes) -> None:
    five = aggregate_bars(minutes, MINUTE, Timeframe.parse("5Min"))
    twice, once = aggregate_bars(five, Timeframe.parse("5Min"), QUARTER), aggregate_bars(minutes, MINUTE, QUARTER)
    pd.testing.assert_frame_equal(twice, once, check_exact=False, rtol=1e-12)
    exact = ["open", "high", "low", "close", "split", "dividend", "trade_count"]
    pd.testing.assert_frame_equal(twice[exact], once[exact], check_exact=True)


def test_equals_pandas(minutes) -> None:
    ours = aggregate_bars(minutes, MINUTE, QUARTER)
    flat = minutes.reset_index()
    keys = ["symbol", flat["timestamp"].dt.floor("15min").rename("bucket")]
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "trade_count": "sum"}
    theirs = flat.groupby(keys).agg(rules)
    weighted = (flat["vwap"] * flat["volume"]).groupby([flat["symbol"], keys[1]]).sum() / theirs["volume"]
    assert list(ours.index.get_level_values("timestamp")) == list(theirs.index.get_level_values("bucket"))
    for name in rules:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-14)
    np.testing.assert_allclose(ours["vwap"], weighted, rtol=1e-13)


def test_half_day_missing_quarters_and_days(minutes) -> None:
    half = aggregate_bars(minutes, MINUTE, QUARTER).loc["AAA"]
    half = half[half.index >= pd.Timestamp(HALF_DAY, tz="UTC")]
    assert half.index[-1] == pd.Timestamp(f"{HALF_DAY} 12:45", tz="America/New_York")
    assert pd.Timestamp(f"{HALF_DAY} 10:30", tz="America/New_York") not in half.index  # nothing traded for half an hour
    assert (half["split"].iloc[0], half["dividend"].iloc[0]) == (2.0, 0.1)
    assert (half["split"].iloc[1:] == 1.0).all()
    days = aggregate_bars(minutes, MINUTE, DAY)
    assert list(days.loc["AAA"].index) == list(CALENDAR.sessions("2013-11-26", HALF_DAY)["open"])
    hour = aggregate_bars(minutes, MINUTE, Timeframe.parse("1Hour")).loc["AAA"]
    assert hour.index[0] == pd.Timestamp("2013-11-26 09:00", tz="America/New_York")  # holds 09:30 to 10:00, as Alpaca's hour does


def test_agrees_with_the_live_builder(minutes) -> None:
    builder = BarBuilder(QUARTER, ("AAA", "BBB"), CALENDAR, columns=("open", "high", "low", "close", "volume"))
    for bar in live_bars(minutes):
        values = {name: getattr(bar, name) for name in ("open", "high", "low", "close", "volume")}
        builder.add(BarArrived(symbol=bar.symbol, start=bar.timestamp, values=values, channel="bars"))
    theirs = pd.concat(builder.complete(datetime.fromisoformat("2013-12-01T00:00:00+00:00"))).sort_index()
    ours = aggregate_bars(minutes, MINUTE, QUARTER)[["open", "high", "low", "close", "volume"]]
    np.testing.assert_array_equal(ours.to_numpy()[:, :4], theirs.to_numpy()[:, :4])
    np.testing.assert_allclose(ours["volume"], theirs["volume"], rtol=1e-14)
    assert list(ours.index) == list(theirs.index)


def test_saved_and_resumed_inside_a_bucket(minutes) -> None:
    whole, first, done, resumed = BarAggregator(MINUTE, QUARTER), BarAggregator(MINUTE, QUARTER), [], []
    bars = live_bars(minutes)
    for at, bar in enumerate(bars):
        done += whole.update(bar)
        if at == 137:
            state = json.loads(json.dumps(first.to_state()))
            first = BarAggregator(MINUTE, QUARTER)
            first.restore(state)
        resumed += first.update(bar)
    assert done == resumed
    with pytest.raises(BarDataError, match="1Min to 15Min"):
        BarAggregator(MINUTE, DAY).restore(first.to_state())


def test_nothing_is_closed_while_the_gate_would_still_accept_a_bar(minutes) -> None:
    aggregator, first = BarAggregator(MINUTE, QUARTER), live_bars(minutes)[0]
    assert aggregator.update(first) == []
    end = pd.Timestamp("2013-11-26 09:45", tz="America/New_York").to_pydatetime()
    assert aggregator.close_until(end + timedelta(seconds=120)) == []
    closed = aggregator.close_until(end + timedelta(seconds=121))
    assert [bar.timestamp for bar in closed] == [end - timedelta(minutes=15)]
    with pytest.raises(BarDataError, match="Pass bars through a BarGate"):
        aggregator.update(first)


def test_synthetic_quarters_are_its_minutes_aggregated() -> None:
    days = pd.Timestamp("2024-07-01").date(), pd.Timestamp("2024-07-05").date()
    markets = (SyntheticConfig(7, ("AAA", "BBB"), *days, frame) for frame in (MINUTE, QUARTER))
    one, quarter = (SyntheticSource(market).fetch() for market in markets)
    pd.testing.assert_frame_equal(aggregate_bars(one, MINUTE, QUARTER), quarter, check_exact=True)


def test_real_minutes_of_spy(market_data: Path) -> None:
    path = market_data / "spy_1min_2024" / "spy_1min.parquet"
    source = FilesSource(FilesConfig(path, MINUTE, "symbol_column", columns={"timestamp": "ts"}, off_session="drop"))
    bars = source.fetch(["SPY"], "2024-11-25", "2024-12-05")  # Thanksgiving's half day inside
    quarters = aggregate_bars(bars, MINUTE, QUARTER)
    found, _ = stream(arrivals(bars, seed=11), QUARTER, BarGate(MINUTE, GateConfig(max_volume_ratio=1e9)))
    pd.testing.assert_frame_equal(found, quarters, check_exact=True)
    assert quarters.groupby(np.asarray(quarters.index.get_level_values(1).date)).size().tolist() == [26, 26, 26, 14, 26, 26, 26]
    assert quarters["volume"].sum() == bars["volume"].sum()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [("1Day", "1Day", "intraday bars"), ("15Min", "5Min", "that 15Min bars divide"), ("5Min", "12Min", "that 5Min bars divide")],
)
def test_impossible_lengths(minutes, source, target, message) -> None:
    with pytest.raises(BarDataError, match=message):
        aggregate_bars(minutes, Timeframe.parse(source), Timeframe.parse(target))


def test_bad_bars_are_named(minutes) -> None:
    inside = minutes.copy()
    inside.loc[inside.index[5], "split"] = 2.0
    with pytest.raises(BarDataError, match="split or dividend inside a bucket"):
        aggregate_bars(inside, MINUTE, QUARTER)
    index = inside.index.set_levels(inside.index.levels[1] + pd.Timedelta(seconds=30), level=1)
    with pytest.raises(BarDataError, match="inside one bucket"):
        aggregate_bars(minutes.set_axis(index, axis=0), MINUTE, QUARTER)
    bar = live_bars(minutes)[0]
    night = LiveBar("AAA", bar.timestamp - timedelta(hours=3), 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(BarDataError, match="inside an XNYS session"):
        BarAggregator(MINUTE, QUARTER).update(night)
