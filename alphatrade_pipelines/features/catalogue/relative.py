"""The symbol against the market, the market being the equal-weighted mean return of the universe as present at each time stamp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alphatrade_pipelines.features.base import CrossSectionFeature, FloatArray, IntArray, Series, State, Windowed, register
from alphatrade_pipelines.features.kernels import co_moment, group_ranks, positive, rolling_mean


@register("beta")
@dataclass(frozen=True)
class Beta(Windowed):
    """cov(r, m) / var(m) over the last ``window`` returns of the symbol and the market at the same time stamps."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 3

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        shared = co_moment(series.ret, series.market, self.window, first)
        return shared / positive(co_moment(series.market, series.market, self.window, first))


@register("relative_return")
@dataclass(frozen=True)
class RelativeReturn(Windowed):
    """Sum of r - m over the last ``window`` bars: the log return in excess of the market's."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return rolling_mean(series.ret - series.market, self.window, first) * self.window


@register("cross_rank")
@dataclass(frozen=True)
class CrossRank(CrossSectionFeature):
    """Rank of ``column`` among the symbols present at the time stamp, in (0, 1), ties sharing it; NaN for fewer than two values."""

    column: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def warmup(self) -> int:
        return 1

    def compute(self, values: FloatArray, order: IntArray, bounds: IntArray) -> FloatArray:
        return group_ranks(values, order, bounds)
