"""Volatility per bar, as a fraction (0.02 = 2 %): from closes, exponentially weighted, and from ranges.

A stretch without any movement has no volatility estimate: NaN.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pandas as pd

from alphatrade_pipelines.features.base import FloatArray, Series, State, SymbolFeature, Windowed, register, require_integer
from alphatrade_pipelines.features.kernels import central_moment, decayed_mean, positive, previous, rolling_mean, rolling_variance
from alphatrade_pipelines.features.table import Table

_TAIL_SPANS = 4  # beyond four spans the weights left out sum to less than 0.04 %


@lru_cache(maxsize=64)
def _decay(span: int) -> FloatArray:
    weights: FloatArray = (1.0 - 2.0 / (span + 1.0)) ** np.arange(_TAIL_SPANS * span, dtype=np.float64)
    return weights


@register(
    "ewma_volatility",
    formula="sqrt(sum_k lambda^k r[i - k]^2 / sum_k lambda^k), lambda = 1 - 2 / (span + 1), k < 4 span",
    reference="RiskMetrics (1996)",
)
@dataclass(frozen=True)
class EwmaVolatility(SymbolFeature):
    """Root of the exponentially weighted mean of squared log returns, zero mean, over the last four spans.

    ``span`` as in pandas (decay 1 - 2 / (span + 1)). Defined from ``span`` returns on; weights renormalised until four spans are there.
    """

    span: int = 32

    def __post_init__(self) -> None:
        require_integer(self.kind, "span", self.span, 2)

    @property
    def warmup(self) -> int:
        return self.span + 1

    @property
    def memory(self) -> int:
        return _TAIL_SPANS * self.span + 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return np.sqrt(positive(decayed_mean(series.ret * series.ret, _decay(self.span), self.span, first)))


def ewma_volatility(bars: pd.DataFrame, span: int = 32) -> pd.Series:
    """The volatility used for labels, stops and sizing, on raw bars (adjusted here); equal to the feature ``vol_ewma``.

    Args:
        bars: index (symbol, timestamp), raw prices with split and dividend columns.
        span: as in pandas' ``ewm``.

    Returns:
        Per-bar volatility as a fraction, same index, NaN for the first ``span`` bars of a symbol and where prices did not move.

    Raises:
        FeatureInputError: bars of the wrong shape.
    """
    table = Table.of(bars)
    feature = EwmaVolatility(span)
    parts = [feature.compute(series, 0, symbol, None) for symbol, series in table.items()]
    return pd.Series(np.concatenate(parts), index=bars.index, name="vol_ewma")


@register("close_volatility", formula="std r", reference="Andersen and Bollerslev (1998)")
@dataclass(frozen=True)
class CloseVolatility(Windowed):
    """Sample standard deviation of the last ``window`` log returns."""

    extra: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return np.sqrt(rolling_variance(series.ret, self.window, first))


class RangeVolatility(Windowed):
    """Root of the mean of one term a bar."""

    @staticmethod
    @abstractmethod
    def term(series: Series) -> FloatArray:
        """Variance contribution of each bar."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return np.sqrt(positive(rolling_mean(self.term(series), self.window, first)))


@register("parkinson", formula="sqrt(mean (h - l)^2 / (4 ln 2))", reference="Parkinson (1980)")
@dataclass(frozen=True)
class Parkinson(RangeVolatility):
    """From the range alone; about five times as efficient as closes, blind to gaps."""

    least: ClassVar[int] = 1

    @staticmethod
    def term(series: Series) -> FloatArray:
        span = series.log_high - series.log_low
        return span * span / (4.0 * math.log(2.0))


@register("garman_klass", formula="sqrt(mean (0.5 (h - l)^2 - (2 ln 2 - 1) (c - o)^2))", reference="Garman and Klass (1980)")
@dataclass(frozen=True)
class GarmanKlass(RangeVolatility):
    """From open, range and close; assumes no drift and no gap."""

    least: ClassVar[int] = 1

    @staticmethod
    def term(series: Series) -> FloatArray:
        span, body = series.log_high - series.log_low, series.log_close - series.log_open
        return 0.5 * span * span - (2.0 * math.log(2.0) - 1.0) * body * body


@register("rogers_satchell", formula="sqrt(mean ((h - c)(h - o) + (l - c)(l - o)))", reference="Rogers and Satchell (1991)")
@dataclass(frozen=True)
class RogersSatchell(RangeVolatility):
    """From open, range and close; drift does not bias it."""

    least: ClassVar[int] = 1

    @staticmethod
    def term(series: Series) -> FloatArray:
        upper = (series.log_high - series.log_close) * (series.log_high - series.log_open)
        return upper + (series.log_low - series.log_close) * (series.log_low - series.log_open)


@register(
    "yang_zhang",
    formula="sqrt(var(o - c') + k var(c - o) + (1 - k) mean RS), k = 0.34 / (1.34 + (n + 1) / (n - 1)), RS the Rogers-Satchell term",
    reference="Yang and Zhang (2000)",
)
@dataclass(frozen=True)
class YangZhang(Windowed):
    """Gap, body and Rogers-Satchell combined: drift independent and aware of overnight jumps."""

    extra: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        n = self.window
        k = 0.34 / (1.34 + (n + 1) / (n - 1))
        gap = series.log_open - previous(series.log_close)
        # each part may be zero (no gaps, say); their sum decides what is undefined
        overnight = central_moment(gap, 2, n, first) / (n - 1)
        body = central_moment(series.log_close - series.log_open, 2, n, first) / (n - 1)
        inside = rolling_mean(RogersSatchell.term(series), n, first)
        return np.sqrt(positive(overnight + k * body + (1.0 - k) * inside))


@register(
    "volatility_ratio",
    formula="std of the last short r / std of the last long r",
    reference="Engle and Lee (1999) for short and long components",
)
@dataclass(frozen=True)
class VolatilityRatio(SymbolFeature):
    """Standard deviation of the last ``short`` log returns over that of the last ``long``: above 1 when volatility is rising."""

    short: int = 5
    long: int = 63

    def __post_init__(self) -> None:
        require_integer(self.kind, "short", self.short, 2)
        require_integer(self.kind, "long", self.long, self.short + 1)

    @property
    def warmup(self) -> int:
        return self.long + 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        recent = rolling_variance(series.ret, self.short, first)
        return np.sqrt(recent / rolling_variance(series.ret, self.long, first))
