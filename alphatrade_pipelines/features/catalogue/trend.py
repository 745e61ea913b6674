"""Trend scanning: the straight line through the latest log prices that explains them best, looking backward only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, SymbolFeature, register, require_integer
from alphatrade_pipelines.features.jit import kernel

# residuals below this share of the raw sum of squares are rounding: the line is exact and its t value has no meaning
_NOISE = 1e-12


@register(
    "trend_scan",
    formula="t value and slope a bar of the regression of c on time over the last L bars, the L in [shortest, window] of largest |t|",
    reference="Lopez de Prado (2020), ch. 5; backward windows instead of forward ones",
)
@dataclass(frozen=True)
class TrendScan(SymbolFeature):
    """Columns ``<name>_t`` and ``<name>_slope`` (log return a bar); NaN where no window has a residual (constant prices)."""

    window: int = 42
    shortest: int = 10
    suffixes: ClassVar[tuple[str, ...]] = ("_t", "_slope")

    def __post_init__(self) -> None:
        require_integer(self.kind, "shortest", self.shortest, 4)
        require_integer(self.kind, "window", self.window, self.shortest)

    @property
    def warmup(self) -> int:
        return self.window

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        out = np.full((len(series.close) - first, 2), np.nan)
        trend_scan(out, series.log_close, self.shortest, self.window, first)
        return out


@kernel
def trend_scan(out: FloatArray, y: FloatArray, shortest: int, longest: int, first: int) -> None:
    """Fill (t value, slope) of rows ``first`` to the last. Sums grow backward from the row, with prices relative to the latest."""
    for i in range(max(first, longest - 1), y.size):
        sum_y, sum_ky, sum_yy, best, side, slope = 0.0, 0.0, 0.0, -1.0, 0.0, 0.0
        for k in range(longest):
            value = y[i - k] - y[i]
            sum_y += value
            sum_ky += k * value
            sum_yy += value * value
            count = k + 1.0
            if count < shortest:
                continue
            kk = count * (count * count - 1.0) / 12.0
            ky = sum_ky - 0.5 * k * sum_y
            yy = sum_yy - sum_y * sum_y / count
            rest = yy * kk - ky * ky  # the sum of squared residuals, times kk
            square = ky * ky * (count - 2.0)
            if rest > _NOISE * sum_yy * kk and square > best * rest:
                best, side, slope = square / rest, -ky, -ky / kk
        if best >= 0.0:
            out[i - first, 0] = math.copysign(math.sqrt(best), side)
            out[i - first, 1] = slope
