"""Structural breaks: has the price left its recent level, or begun to explode? Lopez de Prado (2018), chapter 17."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, SymbolFeature, Windowed, register, require_integer
from alphatrade_pipelines.features.jit import row_kernel

# a sum of squares below this share of the raw one is what cancellation leaves of zero
_NOISE = 1e-12


@register(
    "cusum_break",
    formula="the (c[i] - c[i - k]) / (s sqrt k) of largest size over k < window, s = sqrt(mean r^2)",
    reference="Chu, Stinchcombe and White (1996); Homm and Breitung (2012)",
)
@dataclass(frozen=True)
class CusumBreak(Windowed):
    """Signed departure of the log price from the level of some earlier bar of the window, in standard deviations; NaN without movement."""

    @property
    def warmup(self) -> int:
        return self.window

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return cusum_statistic(series.log_close, self.window, first)


@register(
    "sadf",
    formula="max over start points of the t value of b in dc = a + b c[i - 1] + e, samples of shortest to window differences",
    reference="Phillips, Wu and Yu (2011)",
)
@dataclass(frozen=True)
class Sadf(SymbolFeature):
    """Supremum of backward-expanding Dickey-Fuller statistics (constant, no lags) on log prices: large while a bubble grows.

    ``shortest``: differences in the shortest regression; ``window``: in the longest. NaN without movement.
    """

    window: int = 63
    shortest: int = 21

    def __post_init__(self) -> None:
        require_integer(self.kind, "shortest", self.shortest, 5)
        require_integer(self.kind, "window", self.window, self.shortest)

    @property
    def warmup(self) -> int:
        return self.window + 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return sup_adf(series.log_close, self.shortest, self.window, first)


def cusum_statistic(y: FloatArray, width: int, first: int) -> FloatArray:
    """See :class:`CusumBreak`; ``width`` levels, hence width - 1 changes."""
    return _cusum(y, 1.0 / np.sqrt(np.maximum(np.arange(width), 1.0)), width, first)


@row_kernel
def _cusum(out: FloatArray, y: FloatArray, scale: FloatArray, width: int, first: int) -> None:
    """``scale[k]`` = 1 / sqrt(k)."""
    for i in range(max(first, width - 1), y.size):
        square = 0.0
        for k in range(1, width):
            change = y[i - k + 1] - y[i - k]
            square += change * change
        if not square > 0.0:
            continue
        best = 0.0
        for k in range(1, width):
            value = (y[i] - y[i - k]) * scale[k]
            if abs(value) > abs(best):
                best = value
        out[i - first] = best / math.sqrt(square / (width - 1))


@row_kernel
def sup_adf(out: FloatArray, y: FloatArray, shortest: int, longest: int, first: int) -> None:
    """See :class:`Sadf`; sums grow backward from the row, with levels relative to the latest to keep them small.

    The statistics are compared by their signed squares: one root a row.
    """
    for i in range(max(first, longest), y.size):
        sum_x, sum_y, sum_xx, sum_xy, sum_yy = 0.0, 0.0, 0.0, 0.0, 0.0
        best = -np.inf
        for count in range(1, longest + 1):
            at = i - count + 1
            level, change = y[at - 1] - y[i], y[at] - y[at - 1]
            sum_x += level
            sum_y += change
            sum_xx += level * level
            sum_xy += level * change
            sum_yy += change * change
            if count < shortest:
                continue
            share = 1.0 / count
            xx = sum_xx - sum_x * sum_x * share
            xy = sum_xy - sum_x * sum_y * share
            yy = sum_yy - sum_y * sum_y * share
            rest = yy * xx - xy * xy  # the sum of squared residuals, times xx
            if xx > _NOISE * sum_xx and rest > _NOISE * sum_yy * xx:
                best = max(best, xy * abs(xy) * (count - 2) / rest)
        if best > -np.inf:
            out[i - first] = math.copysign(math.sqrt(abs(best)), best)
