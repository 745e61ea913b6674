"""Synthetic bars with everything that breaks naive features: late symbols, missing bars, splits, dividends, calm and wild stretches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

MakeBars = Callable[..., pd.DataFrame]


def _stamps(count: int, timeframe: str) -> pd.DatetimeIndex:
    days = pd.bdate_range("2015-01-05", periods=count if timeframe == "1Day" else -(-count // 78) + 1)
    opens = (days + pd.Timedelta(hours=9, minutes=30)).tz_localize("America/New_York")
    if timeframe == "1Day":
        return opens.tz_convert("UTC")
    # every fifth session is a half day: 42 bars of five minutes instead of 78
    bars = [opening + pd.Timedelta(minutes=5 * k) for day, opening in enumerate(opens) for k in range(42 if day % 5 == 4 else 78)]
    return pd.DatetimeIndex(bars[:count]).tz_convert("UTC")


def _symbol(rng: np.random.Generator, common: np.ndarray, volatility: np.ndarray, actions: bool) -> pd.DataFrame:
    n = len(common)
    ret = common * rng.uniform(0.6, 1.4) + volatility * rng.standard_normal(n) * 0.7
    close = 50.0 * np.exp(np.cumsum(ret))
    opening = np.concatenate([[50.0], close[:-1]]) * np.exp(0.3 * volatility * rng.standard_normal(n))
    reach = np.exp(np.abs(volatility[:, None] * rng.standard_normal((n, 2))))
    frame = pd.DataFrame(
        {"open": opening, "high": np.maximum(opening, close) * reach[:, 0], "low": np.minimum(opening, close) / reach[:, 1]}
    )
    frame["close"], frame["volume"] = close, rng.lognormal(13.0, 0.5, n)
    frame["split"], frame["dividend"] = 1.0, 0.0
    if actions:
        for at in rng.integers(1, n, 2):
            frame.loc[int(at), "split"] = float(rng.choice([2.0, 0.1, 7.0]))
        for at in rng.integers(1, n, 3):
            frame.loc[int(at), "dividend"] = 0.01 * close[at - 1]
        share = np.cumprod(frame["split"].to_numpy())
        for name in ("open", "high", "low", "close", "dividend"):
            frame[name] = frame[name] / share
        frame["dividend"] *= frame["split"]  # per share of the evening before
        frame["volume"] *= share
    return frame


@pytest.fixture(scope="session")
def make_bars() -> MakeBars:
    """``make(count, symbols=4, seed=0, timeframe="1Day", missing=0.03, actions=True, late=0.3)`` -> raw bars."""

    def make(
        count: int, symbols: int = 4, seed: int = 0, timeframe: str = "1Day", missing: float = 0.03, actions: bool = True, late: float = 0.3
    ) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        stamps = _stamps(count, timeframe)
        level = 0.01 if timeframe == "1Day" else 0.001
        state = np.cumsum(rng.random(count) < 0.01) % 3
        volatility = level * np.array([0.6, 1.2, 3.0])[state]
        common = volatility * rng.standard_normal(count)
        parts = {}
        for k in range(symbols):
            name = f"S{k:02d}"
            frame = _symbol(rng, common, volatility, actions).set_axis(stamps, axis=0)
            begin = int(late * count) if k == symbols - 1 else 0
            kept = (np.arange(count) >= begin) & ((rng.random(count) >= missing) | (k == 0))
            parts[name] = frame[kept]
        return pd.concat(parts, names=["symbol", "timestamp"])

    return make


@pytest.fixture(scope="session")
def same_bits() -> Callable[[pd.DataFrame, pd.DataFrame], list[str]]:
    """Columns of two frames (same index) that are not equal to the last bit, NaN equal to NaN."""

    def compare(left: pd.DataFrame, right: pd.DataFrame) -> list[str]:
        pd.testing.assert_index_equal(left.index, right.index, exact="equiv")
        assert list(left.columns) == list(right.columns)
        a, b = left.to_numpy(), right.to_numpy()
        equal = (a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))
        return [str(name) for name, good in zip(left.columns, equal.all(axis=0), strict=True) if not good]

    return compare


@pytest.fixture(scope="session")
def play() -> Callable[..., pd.DataFrame]:
    """Stream bars time stamp by time stamp; the features as one sorted frame."""

    def run(stream, bars: pd.DataFrame) -> pd.DataFrame:  # type: ignore[no-untyped-def]
        return pd.concat([stream.update(rows) for _, rows in bars.groupby(level="timestamp")]).sort_index()

    return run
