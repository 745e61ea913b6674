"""Tick, volume, dollar and imbalance bars, and CUSUM events: hand values, a plain-Python oracle, incremental = batch, real trades."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import BarDataError
from alphatrade_pipelines.market.cusum import CusumFilter, cusum_events
from alphatrade_pipelines.market.event_bars import EventBarBuilder, EventBarConfig, event_bars
from tests.tools.published import dollar_bars

CONFIGS = {
    "tick": EventBarConfig("tick", 50),
    "volume": EventBarConfig("volume", 20_000),
    "dollar": EventBarConfig("dollar", 2e6),
    "tick_imbalance": EventBarConfig("tick", 100, imbalance=True, ticks_span=500),
    "volume_imbalance": EventBarConfig("volume", 100, imbalance=True, ticks_span=500),
    "dollar_imbalance": EventBarConfig("dollar", 100, imbalance=True, ticks_span=500),
    "afml_rule": EventBarConfig("volume", 100, imbalance=True, ticks_span=500, guard=float("inf")),
}


def tape(count: int, seed: int = 2, symbol: str = "AAA") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random(count) < 0.4, 0.0, rng.choice([-0.01, 0.01], count, p=[0.45, 0.55]))
    times = pd.Timestamp("2013-10-07 13:30", tz="UTC") + pd.to_timedelta(np.cumsum(rng.integers(0, 900, count)), unit="ms")
    index = pd.MultiIndex.from_arrays([[symbol] * count, times], names=["symbol", "timestamp"])
    return pd.DataFrame({"price": np.round(100 + np.cumsum(steps), 2), "size": rng.integers(1, 20, count) * 100.0}, index=index)


def plain(trades: pd.DataFrame, config: EventBarConfig) -> list[tuple[float, ...]]:
    """The rules of AFML 2.3 as one would write them on paper, expectations by pandas: (ticks, volume, close, theta, threshold)."""
    price, size = trades["price"].to_numpy(), trades["size"].to_numpy()
    sign = np.sign(np.diff(price, prepend=price[0]))
    sign = pd.Series(np.where(sign == 0, np.nan, sign)).ffill().fillna(0.0).to_numpy()
    amount = {"tick": np.ones_like(price), "volume": size, "dollar": price * size}[config.unit]
    learnt = pd.Series(sign * amount).ewm(span=config.ticks_span, adjust=False).mean().to_numpy()
    found: list[tuple[float, ...]] = []
    first = 0
    for i in range(len(price)):
        ticks, inside = i + 1 - first, slice(first, i + 1)
        theta = float((sign * amount)[inside].sum())
        threshold = config.threshold
        if not config.imbalance:
            full = amount[inside].sum() >= threshold
        elif not found:
            full = ticks >= threshold
        else:
            expected = pd.Series([bar[0] for bar in found]).ewm(span=config.bars_span, adjust=False).mean().iloc[-1]
            threshold = expected * abs(learnt[first - 1])
            most, least = config.threshold * config.guard, config.threshold / config.guard
            full = ticks >= least and (abs(theta) >= threshold or ticks >= most)
        if full:
            found.append((ticks, float(size[inside].sum()), price[i], theta, threshold))
            first = i + 1
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_equals_the_rule_written_plainly(name) -> None:
    trades = tape(3000)
    ours = event_bars(trades, CONFIGS[name]).loc["AAA"]
    theirs = np.array(plain(trades, CONFIGS[name]))
    assert len(ours) == len(theirs) > 3
    np.testing.assert_allclose(ours[["ticks", "volume", "close", "imbalance", "threshold"]].to_numpy(), theirs, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("name", CONFIGS)
def test_one_trade_at_a_time_resumed_from_json_equals_the_whole_tape(name) -> None:
    trades, builder, closed = tape(2000, seed=4), EventBarBuilder(CONFIGS[name]), []
    for at, ((_, stamp), row) in enumerate(trades.iterrows()):
        if at == 777:
            state = json.loads(json.dumps(builder.to_state()))
            builder = EventBarBuilder(CONFIGS[name])
            builder.restore(state)
        bar = builder.update(stamp, row["price"], row["size"])
        if bar is not None:
            closed.append(bar)
    pd.testing.assert_frame_equal(pd.concat(closed), event_bars(trades, CONFIGS[name]).loc["AAA"], check_exact=True)


def test_what_a_bar_holds() -> None:
    times = pd.to_datetime(
        ["2013-10-07 14:00:00.1", "2013-10-07 14:00:00.2", "2013-10-07 14:00:00.2", "2013-10-07 14:00:03"], utc=True, format="ISO8601"
    )
    index = pd.MultiIndex.from_arrays([["A"] * 4, times], names=["symbol", "timestamp"])
    trades = pd.DataFrame({"price": [10.0, 11.0, 9.0, 9.0], "size": [100.0, 200.0, 100.0, 50.0]}, index=index)
    bar = event_bars(trades, EventBarConfig("volume", 250)).loc[("A", 0)]
    assert bar[["start", "end"]].tolist() == [times[0], times[1]]
    assert bar[["open", "high", "low", "close", "volume", "dollar", "ticks", "imbalance"]].tolist() == [10, 11, 10, 11, 300, 3200, 2, 200]
    assert bar["vwap"] == 3200 / 300
    both = event_bars(trades, EventBarConfig("tick", 2)).loc["A"]
    assert both["close"].tolist() == [11.0, 9.0]
    assert both["imbalance"].tolist() == [1.0, -2.0]  # no change repeats the last sign


def test_symbols_are_independent() -> None:
    left, right = tape(800, 1, "AAA"), tape(600, 9, "BBB")
    both = event_bars(pd.concat([left, right]), CONFIGS["dollar_imbalance"])
    for trades in (left, right):
        symbol = trades.index[0][0]
        pd.testing.assert_frame_equal(both.loc[symbol], event_bars(trades, CONFIGS["dollar_imbalance"]).loc[symbol], check_exact=True)


def test_the_guard_holds_what_the_bare_rule_loses() -> None:
    """A balanced tape: AFML's rule ends in bars of a few trades or in none at all; with the guard bars keep their size."""
    rng = np.random.default_rng(8)
    trades = tape(30_000, seed=8)
    trades["price"] = 100 + 0.01 * rng.integers(-1, 2, len(trades))
    bare, held = (event_bars(trades, EventBarConfig("tick", 100, True, ticks_span=500, guard=guard)) for guard in (float("inf"), 10.0))
    assert bare["ticks"].iloc[-50:].median() < 5
    assert held["ticks"].between(10, 1000).all()


def test_real_trades(market_data: Path) -> None:
    trades = pd.read_parquet(market_data / "lean_tick" / "trades.parquet", filters=[("symbol", "==", "IBM")])
    times = pd.DatetimeIndex(trades["ts"]).tz_localize("America/New_York").tz_convert("UTC").as_unit("ns")
    index = pd.MultiIndex.from_arrays([["IBM"] * len(trades), times], names=["symbol", "timestamp"])
    tape = trades[["price", "size"]].astype("float64").set_axis(index, axis=0)
    size = float((tape["price"] * tape["size"]).sum()) / 500
    bars = event_bars(tape, EventBarConfig("dollar", size))
    assert 450 <= len(bars) <= 500
    assert bars["dollar"].min() >= size
    used = tape.iloc[: int(bars["ticks"].sum())]
    assert bars["volume"].sum() == used["size"].sum()
    assert bars["high"].max() == used["price"].max()
    # dollars sample more evenly than ticks do (AFML 2.3.1): at equal counts their sizes vary less (but for block trades)
    ticks = event_bars(tape, EventBarConfig("tick", len(tape) // len(bars)))
    spread = [float(np.ptp(one["dollar"].quantile([0.1, 0.9]))) for one in (bars, ticks)]
    assert spread[0] < 0.2 * spread[1]


def test_bad_tapes_are_named() -> None:
    trades = tape(10)
    with pytest.raises(BarDataError, match="oldest first"):
        event_bars(trades.iloc[::-1], CONFIGS["tick"])
    with pytest.raises(BarDataError, match="positive price"):
        event_bars(trades.assign(price=np.nan), CONFIGS["tick"])
    with pytest.raises(BarDataError, match="no size"):
        event_bars(trades[["price"]], CONFIGS["tick"])
    with pytest.raises(BarDataError, match="naive"):
        event_bars(trades.tz_localize(None, level=1), CONFIGS["tick"])
    with pytest.raises(BarDataError, match="unit of"):
        EventBarConfig("shares", 5)  # type: ignore[arg-type]
    with pytest.raises(BarDataError, match="positive threshold"):
        EventBarConfig("volume", float("nan"))
    with pytest.raises(BarDataError, match="another"):
        EventBarBuilder(CONFIGS["tick"]).restore(EventBarBuilder(CONFIGS["volume"]).to_state())
    builder = EventBarBuilder(CONFIGS["tick"])
    builder.update(pd.Timestamp("2020-01-01T15:00Z"), 1.0, 1.0)
    with pytest.raises(BarDataError, match="oldest first"):
        builder.update(pd.Timestamp("2020-01-01T14:00Z"), 1.0, 1.0)


def one_symbol(values: list[float], freq: str = "D") -> pd.Series:
    index = pd.MultiIndex.from_product([["A"], pd.date_range("2020-01-01", periods=len(values), freq=freq, tz="UTC")])
    return pd.Series(values, index=index.set_names(["symbol", "timestamp"]))


def test_cusum_of_a_toy_series() -> None:
    prices = [10.0, 11, 12, 13, 14, 15, 14, 13, 12, 11, 10, 11, 12, 11, 12, 11, 12, 13, 14, 15]
    events = cusum_events(one_symbol(prices), 3.0)
    assert [f"{stamp:%m-%d}" for _, stamp in events.index] == ["01-05", "01-10", "01-19"]
    assert events.tolist() == [1, -1, 1]


@pytest.mark.parametrize(("threshold", "count"), [(0.02, 9), (0.015, 17), (0.005, 100)])
def test_cusum_of_the_published_dollar_bars(threshold, count) -> None:
    bars = dollar_bars()
    index = pd.MultiIndex.from_arrays([["ES"] * len(bars), pd.DatetimeIndex(bars["date_time"]).tz_localize("UTC")])
    closes = pd.Series(np.log(bars["close"].to_numpy()), index=index.set_names(["symbol", "timestamp"]))
    assert len(cusum_events(closes, threshold)) == count


def test_cusum_streams_and_follows_a_moving_threshold() -> None:
    rng = np.random.default_rng(0)
    values = one_symbol(np.cumsum(rng.normal(0, 0.01, 500)).tolist())
    limits = pd.Series(0.02 + 0.01 * np.sin(np.arange(500) / 20), index=values.index)
    limits.iloc[:30] = np.nan
    events, running, found = cusum_events(values, limits), CusumFilter(), []
    for at, (key, value) in enumerate(values.items()):
        if at == 250:
            state = json.loads(json.dumps(running.to_state()))
            running = CusumFilter()
            running.restore(state)
        if running.update(value, limits.loc[key]):
            found.append(key)
    assert found == list(events.index)
    assert events.index[0][1] >= values.index[30][1]
    with pytest.raises(BarDataError, match="positive threshold"):
        cusum_events(values, 0.0)
    with pytest.raises(BarDataError, match="index of the values"):
        cusum_events(values, limits.iloc[1:])
