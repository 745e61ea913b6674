"""The shape of the return distribution over a trailing window: asymmetry, tails, jumps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, Windowed, register
from alphatrade_pipelines.features.kernels import central_moment, positive, previous, rolling_mean


@register("skewness", formula="sqrt(n) sum (r - mean r)^3 / (sum (r - mean r)^2)^1.5", reference="Amaya et al. (2015)")
@dataclass(frozen=True)
class Skewness(Windowed):
    """Moment skewness of the last ``window`` log returns; NaN without movement."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 3

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        square = series.once(_squares, self.window, first)
        return math.sqrt(self.window) * central_moment(series.ret, 3, self.window, first) / (square * np.sqrt(square))


@register("kurtosis", formula="n sum (r - mean r)^4 / (sum (r - mean r)^2)^2 - 3", reference="Amaya et al. (2015)")
@dataclass(frozen=True)
class Kurtosis(Windowed):
    """Moment excess kurtosis of the last ``window`` log returns, 0 for a normal; NaN without movement."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 4

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        square = series.once(_squares, self.window, first)
        return self.window * central_moment(series.ret, 4, self.window, first) / (square * square) - 3.0


def _squares(series: Series, window: int, first: int) -> FloatArray:
    return positive(central_moment(series.ret, 2, window, first))


@register("downside_share", formula="sum min(r, 0)^2 / sum r^2", reference="Barndorff-Nielsen, Kinnebrock and Shephard (2010)")
@dataclass(frozen=True)
class DownsideShare(Windowed):
    """Share of the realised variance of the last ``window`` bars that fell on losses, 0 to 1; NaN without movement."""

    extra: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        loss = np.minimum(series.ret, 0.0)
        return rolling_mean(loss * loss, self.window, first) / positive(rolling_mean(series.ret * series.ret, self.window, first))


@register("jump_share", formula="max(0, 1 - (pi / 2) sum |r[i]| |r[i - 1]| / sum r^2)", reference="Barndorff-Nielsen and Shephard (2004)")
@dataclass(frozen=True)
class JumpShare(Windowed):
    """Share of the realised variance of the last ``window`` bars not explained by bipower variation, 0 to 1; NaN without movement."""

    extra: ClassVar[int] = 2

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        size = np.abs(series.ret)
        bipower = 0.5 * math.pi * rolling_mean(size * previous(size), self.window, first)
        return np.maximum(0.0, 1.0 - bipower / positive(rolling_mean(size * size, self.window, first)))
