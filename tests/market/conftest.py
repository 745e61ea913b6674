"""Small hand-made bar frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import SessionCalendar, Timeframe, to_bars

Frame = pd.DataFrame


@pytest.fixture(scope="session")
def daily() -> Timeframe:
    return Timeframe.parse("1Day")


@pytest.fixture
def make_daily() -> Callable[..., Frame]:
    """``make_daily(symbols, n, start)``: n sessions of a seeded random walk for each symbol."""

    def build(symbols: tuple[str, ...] = ("AAA", "BBB"), n: int = 20, start: str = "2013-01-02", seed: int = 1) -> Frame:
        sessions = SessionCalendar().sessions(start, "2040-01-01").head(n)
        rng = np.random.default_rng(seed)
        parts = []
        for symbol in symbols:
            close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
            opened = close * np.exp(rng.normal(0, 0.005, n))
            high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
            prices = {"open": opened, "high": high, "low": low, "close": close}
            volume = rng.integers(1000, 9000, n).astype(float)
            parts.append(pd.DataFrame({"symbol": symbol, "timestamp": sessions["open"].array, **prices, "volume": volume}))
        return to_bars(pd.concat(parts, ignore_index=True))

    return build


@pytest.fixture
def bars(make_daily: Callable[..., Frame]) -> Frame:
    return make_daily()
