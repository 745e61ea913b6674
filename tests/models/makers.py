"""Small made-up markets with a known truth."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import pandas as pd


def daily_index(symbols: list[str], n: int, start: str = "2015-01-05 14:30") -> pd.MultiIndex:
    times = pd.date_range(start, periods=n, freq="B", tz="UTC", unit="ns")
    return pd.MultiIndex.from_product([symbols, times], names=["symbol", "timestamp"])


def random_bars(symbols: list[str], n: int, seed: int = 0, volatility: float = 0.015) -> pd.DataFrame:
    """Geometric random walks with gaps and sound highs and lows."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in symbols:
        overnight, intraday = rng.normal(0, volatility / 2, n), rng.normal(0, volatility, n)
        close = 50 * np.exp(np.cumsum(overnight + intraday))
        opened = close / np.exp(intraday)
        high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, volatility / 2, n)))
        low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, volatility / 2, n)))
        pieces.append(np.column_stack([opened, high, low, close, rng.integers(1e5, 1e6, n), np.ones(n), np.zeros(n)]))
    columns = ["open", "high", "low", "close", "volume", "split", "dividend"]
    return pd.DataFrame(np.concatenate(pieces), index=daily_index(symbols, n), columns=columns).astype("float64")


@dataclass(frozen=True)
class MadeUpState:
    """A feature state with the three things training asks for."""

    feature_names: tuple[str, ...]

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        return json.dumps({"features": list(self.feature_names)})


def planted(symbols: list[str], n: int, edge: float, seed: int = 0, horizon: int = 5) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Features and labels where logit P(1) = edge * f0 and f1, f2 mean nothing. Returns (features, labels, true probability)."""
    rng = np.random.default_rng(seed)
    index = daily_index(symbols, n)
    features = pd.DataFrame(rng.normal(size=(len(index), 3)), index=index, columns=["f0", "f1", "f2"])
    truth = 1 / (1 + np.exp(-(0.1 + edge * features["f0"])))
    won = rng.random(len(index)) < truth
    times = index.get_level_values("timestamp")
    ret = np.where(won, 0.03, -0.02) * rng.uniform(0.8, 1.2, len(index))
    labels = pd.DataFrame({"t1": times + horizon * pd.offsets.BDay(), "label": won.astype(int), "ret": ret, "risk": 0.02}, index=index)
    return features, labels, truth
