"""The symbol against the others: the market (the equal-weighted mean return of the universe at each time stamp) and the cross-section.

The universe is what is present at the time stamp; with a single symbol there is nothing to compare with, and its residual is nothing: NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphatrade_pipelines.features.base import CrossSectionFeature, FloatArray, IntArray, Series, State, Windowed, register
from alphatrade_pipelines.features.kernels import co_moments, group_ranks, group_spread, positive, rolling_mean

# a residual variance below this share of the total is what cancellation leaves of zero
_NOISE = 1e-12


class AgainstMarket(Windowed):
    """Reads the last ``window`` returns r of the symbol and m of the market at the same time stamps."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 3

    def moments(self, series: Series, first: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Sums over the window of the cross product, of r squared and of m squared, all centred: worked out once for all four."""
        return series.once(_moments, self.window, first)

    def slope(self, series: Series, first: int) -> FloatArray:
        """Least-squares beta; NaN where the market did not move."""
        shared, _, market = self.moments(series, first)
        return shared / positive(market)


def _moments(series: Series, window: int, first: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    return co_moments(series.ret, series.market, window, first)


@register("beta", formula="cov(r, m) / var(m)", reference="Sharpe (1964)")
@dataclass(frozen=True)
class Beta(AgainstMarket):
    """Sensitivity to the market."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return self.slope(series, first)


@register("market_correlation", formula="cov(r, m) / sqrt(var(r) var(m))", reference="Pollet and Wilson (2010)")
@dataclass(frozen=True)
class MarketCorrelation(AgainstMarket):
    """Correlation with the market, -1 to 1; NaN where either did not move."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        shared, own, market = self.moments(series, first)
        return shared / np.sqrt(positive(own) * positive(market))


@register("residual_return", formula="n (mean r - beta mean m)", reference="Blitz, Huij and Martens (2011)")
@dataclass(frozen=True)
class ResidualReturn(AgainstMarket):
    """What the symbol gained over the window beyond its beta: the intercept of the regression, times the bars."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        own, market = rolling_mean(series.ret, self.window, first), rolling_mean(series.market, self.window, first)
        return self.window * (own - self.slope(series, first) * market)


@register("residual_volatility", formula="sqrt((sum (r - mean r)^2 - beta cov) / (n - 2)), cov summed", reference="Ang et al. (2006)")
@dataclass(frozen=True)
class ResidualVolatility(AgainstMarket):
    """Standard deviation of the residuals of the regression on the market, per bar; NaN where the market explains everything."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        shared, own, market = self.moments(series, first)
        rest = own - shared * shared / positive(market)
        return np.sqrt(np.where(rest > _NOISE * own, rest, np.nan) / (self.window - 2))


@register("relative_return", formula="sum (r - m)", reference="Moskowitz and Grinblatt (1999)")
@dataclass(frozen=True)
class RelativeReturn(Windowed):
    """The log return of the last ``window`` bars in excess of the market's."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return rolling_mean(series.ret - series.market, self.window, first) * self.window


@dataclass(frozen=True)
class ReadsColumn(CrossSectionFeature):
    """Compares the values of ``column`` at one time stamp."""

    column: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def warmup(self) -> int:
        return 1


@register("cross_rank", formula="(smaller + half of the equal) / symbols", reference="Jegadeesh and Titman (1993)")
@dataclass(frozen=True)
class CrossRank(ReadsColumn):
    """Rank of ``column`` among the symbols present at the time stamp, in (0, 1), ties sharing it; NaN for fewer than two values."""

    def compute(self, values: FloatArray, order: IntArray, bounds: IntArray) -> FloatArray:
        return group_ranks(values, order, bounds)


@register("dispersion", formula="std of the column over the symbols", reference="Stivers and Sun (2010)")
@dataclass(frozen=True)
class Dispersion(ReadsColumn):
    """Sample standard deviation of ``column`` over the symbols present, the same for all of them; NaN for fewer than two values."""

    def compute(self, values: FloatArray, order: IntArray, bounds: IntArray) -> FloatArray:
        spread = np.empty(values.size)
        spread[order] = np.repeat(group_spread(values, order, bounds), np.diff(bounds))
        return spread
