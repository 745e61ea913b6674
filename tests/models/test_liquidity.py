"""Liquidity as known at a session's open: no look-ahead, half days, splits, the same numbers from any amount of history."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import SessionCalendar, Timeframe, to_bars
from alphatrade_pipelines.models.liquidity import LiquidityConfig, session_liquidity

CALENDAR = SessionCalendar()
MINUTES = Timeframe.parse("15Min")
SMALL = LiquidityConfig(sessions=6, least_sessions=3, parts=13)


def walk(symbol: str = "AAA", n: int = 14, start: str = "2023-11-13", seed: int = 3) -> pd.DataFrame:
    """Seeded quarter hours over ``n`` sessions; 2023-11-24 is a half day."""
    rng, parts = np.random.default_rng(seed), []
    price = 100.0
    for _, day in CALENDAR.sessions(start, "2024-12-31").head(n).iterrows():
        stamps = pd.date_range(day["open"], day["close"], freq="15min", inclusive="left")
        for place, stamp in enumerate(stamps):
            opened = price
            price *= math.exp(rng.normal(0, 0.002))
            high, low = max(opened, price) * 1.0005, min(opened, price) * 0.9995
            volume = 1000.0 * (3.0 if place in (0, len(stamps) - 1) else 1.0) + float(rng.integers(0, 100))
            parts.append({"symbol": symbol, "timestamp": stamp, "open": opened, "high": high, "low": low, "close": price, "volume": volume})
    return to_bars(pd.DataFrame(parts))


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return pd.concat([walk("AAA"), walk("BBB", seed=4)]).sort_index()


def test_daily_bars_and_short_histories_give_none(bars: pd.DataFrame) -> None:
    assert session_liquidity(bars, Timeframe.parse("1Day"), CALENDAR) == {}
    assert session_liquidity(bars.iloc[:0], MINUTES, CALENDAR) == {}
    assert len(session_liquidity(bars, MINUTES, CALENDAR, SMALL)) == 2 * (14 - 3)


def test_nothing_of_the_session_itself_or_later_is_used(bars: pd.DataFrame) -> None:
    whole = session_liquidity(bars, MINUTES, CALENDAR, SMALL)
    stamps = bars.index.get_level_values("timestamp")
    for key in [key for key in whole if key[0] == "AAA"]:
        poisoned = bars.copy()
        later = np.asarray(stamps >= key[1])
        poisoned.loc[later, ["open", "high", "low", "close"]] *= 7.0
        poisoned.loc[later, "volume"] = 1e9
        assert session_liquidity(poisoned, MINUTES, CALENDAR, SMALL)[key] == whole[key]
        known = bars[np.asarray(stamps <= key[1])]  # the session's first bar has been seen: a live session asks then
        assert session_liquidity(known, MINUTES, CALENDAR, SMALL)[key] == whole[key]


def test_older_history_changes_nothing(bars: pd.DataFrame) -> None:
    whole = session_liquidity(bars, MINUTES, CALENDAR, SMALL)
    opens = sorted({key[1] for key in whole})
    recent = bars[bars.index.get_level_values("timestamp") >= opens[-1] - pd.Timedelta(days=13)]
    assert session_liquidity(recent, MINUTES, CALENDAR, SMALL)["AAA", opens[-1]] == whole["AAA", opens[-1]]


def test_estimates_are_the_plain_averages(bars: pd.DataFrame) -> None:
    key = ("AAA", pd.Timestamp("2023-11-22 14:30", tz="UTC"))
    found = session_liquidity(bars, MINUTES, CALENDAR, SMALL)[key]
    own = bars.loc["AAA"]
    before = own[own.index < key[1]]
    days = before.groupby(before.index.date)
    volumes = days["volume"].sum().tail(6)
    assert found.daily_volume == pytest.approx(volumes.mean(), abs=1e-3)
    closes = days["close"].last().tail(6)
    assert found.volatility == pytest.approx(math.sqrt((np.log(closes).diff().dropna() ** 2).mean()), abs=1e-9)
    shares = [day["volume"].to_numpy().reshape(13, 2).sum(axis=1) / day["volume"].sum() for _, day in days][-6:]
    np.testing.assert_allclose(found.volume_curve, np.mean(shares, axis=0), atol=1e-9)


def test_half_days_are_stretched_both_ways(bars: pd.DataFrame) -> None:
    whole = session_liquidity(bars, MINUTES, CALENDAR, SMALL)
    half, after = pd.Timestamp("2023-11-24 14:30", tz="UTC"), pd.Timestamp("2023-11-27 14:30", tz="UTC")
    eve = pd.Timestamp("2023-11-22 14:30", tz="UTC")
    assert whole["AAA", half].daily_volume == pytest.approx(whole["AAA", eve].daily_volume * 210 / 390, rel=0.02)
    assert whole["AAA", after].daily_volume == pytest.approx(whole["AAA", eve].daily_volume, rel=0.05)
    for key, found in whole.items():
        assert math.fsum(found.volume_curve) == pytest.approx(1.0, abs=1e-7), key
        assert found.volume_curve[0] > 1.5 * found.volume_curve[6], "the open and the close trade more"


def test_a_split_restates_volume_and_moves_no_price() -> None:
    plain = walk()
    opened = pd.Timestamp("2023-11-24 14:30", tz="UTC")
    stamps = plain.index.get_level_values("timestamp")
    after = np.asarray(stamps >= opened)
    split = plain.copy()
    split.loc[after, ["open", "high", "low", "close"]] /= 4.0
    split.loc[after, "volume"] *= 4.0
    split.loc[np.asarray(stamps == opened), "split"] = 4.0
    before, told = session_liquidity(plain, MINUTES, CALENDAR, SMALL), session_liquidity(split, MINUTES, CALENDAR, SMALL)
    for key, usual in before.items():
        factor = 4.0 if key[1] >= opened else 1.0
        assert told[key].daily_volume == pytest.approx(usual.daily_volume * factor, rel=1e-6)
        assert told[key].volatility == pytest.approx(usual.volatility, abs=2e-9)
        assert told[key].volume_curve == pytest.approx(usual.volume_curve)
        assert told[key].spread == pytest.approx(usual.spread, rel=0.05, abs=4e-4)


def test_symbols_that_do_not_trade_have_no_estimate() -> None:
    dead = walk()
    dead["volume"] = 0.0
    assert session_liquidity(dead, MINUTES, CALENDAR, SMALL) == {}


def test_real_five_minute_bars(market_data: Path) -> None:
    raw = pd.read_parquet(market_data / "intraday_5min_2025" / "bars_5min.parquet").query("symbol in ['SPY', 'GE']")
    raw["timestamp"] = pd.DatetimeIndex(raw["ts"]).tz_localize("America/New_York").tz_convert("UTC")
    bars = to_bars(raw).sort_index()
    found = session_liquidity(bars[bars.index.get_level_values("timestamp") < "2025-07-15"], Timeframe.parse("5Min"), CALENDAR)
    last = {symbol: found[symbol, max(key[1] for key in found if key[0] == symbol)] for symbol in ("SPY", "GE")}
    assert 2e7 < last["SPY"].daily_volume < 2e8
    assert 1e6 < last["GE"].daily_volume < 2e7
    assert 0.002 < last["SPY"].volatility < last["GE"].volatility < 0.04
    assert all(1e-5 < item.spread < 2e-3 for item in last.values())
    for item in last.values():
        middle = item.volume_curve[8:18]
        assert item.volume_curve[0] > max(middle), "the day is U-shaped"
        assert item.volume_curve[-1] > max(middle)
