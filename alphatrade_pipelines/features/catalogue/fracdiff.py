"""Fractional differentiation of log prices with a fixed-width window (Hosking 1981; Lopez de Prado 2018, chapter 5).

y[i] = sum over k < width of w_k x[i - k], w_0 = 1, w_k = -w_{k-1} (d - k + 1) / k, cut where abs(w_k) < threshold. The weights depend on
d only, so the filter cannot look ahead; choosing d can. d is therefore chosen on training bars: the smallest of a grid whose filtered
log price passes an ADF test, for each symbol with enough history, their median for the others and for symbols first met later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from alphatrade_pipelines.features.adf import SIGNIFICANCES, is_stationary
from alphatrade_pipelines.features.base import FloatArray, Series, State, SymbolFeature, register, require_integer
from alphatrade_pipelines.features.errors import FeatureConfigError, FeatureInputError
from alphatrade_pipelines.features.kernels import filtered

GRID = tuple(round(0.05 * step, 2) for step in range(1, 21))
_MAX_WIDTH = 10_000


@lru_cache(maxsize=256)
def fracdiff_weights(d: float, threshold: float) -> FloatArray:
    """Weights w_0, w_1, … down to the last with abs(w_k) >= threshold. d = 1 gives (1, -1), d = 0 gives (1,)."""
    weights = [1.0]
    for k in range(1, _MAX_WIDTH):
        following = -weights[-1] * (d - k + 1) / k
        if abs(following) < threshold:
            break
        weights.append(following)
    return np.array(weights)


def fracdiff(x: FloatArray, d: float, threshold: float) -> FloatArray:
    """The fractional difference of order d; the first width - 1 values are NaN."""
    return filtered(x, fracdiff_weights(d, threshold), 0)


@lru_cache(maxsize=16)
def _widest(threshold: float) -> int:
    return max(len(fracdiff_weights(d, threshold)) for d in GRID)


@register(
    "fracdiff",
    formula="sum_k w_k c[i - k], w_0 = 1, w_k = -w_{k-1} (d - k + 1) / k while |w_k| >= threshold; d by ADF on training bars",
    reference="Hosking (1981); Lopez de Prado (2018), ch. 5",
)
@dataclass(frozen=True)
class FractionalDifference(SymbolFeature):
    """``threshold``: weight cut-off; ``lags`` and ``significance``: of the ADF test; ``min_bars``: history a symbol needs for its own d.

    Warm-up is the widest window of the grid, whatever d is chosen. State: ``{"pooled": d, "by_symbol": {symbol: d}}``.
    """

    threshold: float = 1e-3
    significance: float = 0.05
    lags: int = 1
    min_bars: int = 250
    frozen: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1e-5 <= self.threshold < 0.1:
            raise FeatureConfigError("fracdiff: threshold between 1e-5 and 0.1", repr(self.threshold))
        if self.significance not in SIGNIFICANCES:
            raise FeatureConfigError(f"fracdiff: significance one of {SIGNIFICANCES}", repr(self.significance))
        require_integer(self.kind, "lags", self.lags, 0)
        require_integer(self.kind, "min_bars", self.min_bars, 50)

    @property
    def warmup(self) -> int:
        return _widest(self.threshold)

    def fit(self, series: Mapping[str, Series]) -> dict[str, Any]:
        needed = max(self.min_bars, 2 * self.warmup)
        usable = {symbol: one.log_close for symbol, one in series.items() if len(one.close) >= needed and _moves(one.log_close)}
        if not usable:
            expected = f"a symbol with {needed} training bars and moving prices to choose the order of fracdiff"
            longest = max(len(one.close) for one in series.values())
            raise FeatureInputError(expected, f"at most {longest} bars", fix="Load a longer history, lower min_bars or raise threshold.")
        by_symbol = {symbol: self.choose(log_price) for symbol, log_price in usable.items()}
        return {"pooled": float(np.median(list(by_symbol.values()))), "by_symbol": by_symbol}

    def choose(self, log_price: FloatArray) -> float:
        """Smallest d of the grid that makes the log price stationary; 1 when none does."""
        for d in GRID:
            values = fracdiff(log_price, d, self.threshold)
            if is_stationary(values[np.isfinite(values)], self.lags, self.significance):
                return d
        return 1.0

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        d = state["by_symbol"].get(symbol, state["pooled"])
        return filtered(series.log_close, fracdiff_weights(d, self.threshold), first)


def _moves(log_price: FloatArray) -> bool:
    return bool(np.ptp(log_price) > 0.0)
