"""Microstructure proxies from bars: illiquidity, price impact, spread and order-flow toxicity.

With r the log return, V the volume and D = close x volume in dollars. A bar without volume has no price impact, a window without
movement no spread: NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, Windowed, register
from alphatrade_pipelines.features.kernels import co_moment, half_tanh, normal_cdf, positive, previous, rolling_mean, rolling_variance

_DENOMINATOR = 3.0 - 2.0 * math.sqrt(2.0)


@register("amihud")
@dataclass(frozen=True)
class Amihud(Windowed):
    """Amihud (2002): mean of abs(r) / D, return per dollar traded."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return rolling_mean(np.abs(series.ret) / positive(series.close * series.volume), self.window, first)


@register("kyle_lambda")
@dataclass(frozen=True)
class KyleLambda(Windowed):
    """Kyle (1985) as a regression slope (Hasbrouck 2009): cov(r, q) / var(q), q = sign(r) D being signed dollar volume (tick rule)."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 3

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        signed = np.sign(series.ret) * series.close * series.volume
        return co_moment(series.ret, signed, self.window, first) / positive(co_moment(signed, signed, self.window, first))


@register("roll")
@dataclass(frozen=True)
class Roll(Windowed):
    """Roll (1984): 2 sqrt(abs(cov(r[i], r[i - 1]))), a relative spread; the absolute value as in Lopez de Prado (2018), chapter 19."""

    extra: ClassVar[int] = 2
    least: ClassVar[int] = 3

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        covariance = co_moment(series.ret, previous(series.ret), self.window, first) / (self.window - 1)
        return 2.0 * np.sqrt(positive(np.abs(covariance)))


@register("corwin_schultz")
@dataclass(frozen=True)
class CorwinSchultz(Windowed):
    """Corwin and Schultz (2012): relative spread from the highs and lows of two bars, negative estimates set to zero.

    beta is averaged over ``window`` pairs as in Lopez de Prado (2018), snippet 19.1; gamma is of the last pair. NaN without any range.
    """

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        span = series.log_high - series.log_low
        square = span * span
        beta = positive(rolling_mean(square + previous(square), self.window, first))
        top = np.maximum(series.log_high, previous(series.log_high))
        bottom = np.minimum(series.log_low, previous(series.log_low))
        gamma = ((top - bottom) * (top - bottom))[first:]
        alpha = (math.sqrt(2.0) - 1.0) * np.sqrt(beta) / _DENOMINATOR - np.sqrt(gamma / _DENOMINATOR)
        return half_tanh(np.maximum(alpha, 0.0))


@register("vpin")
@dataclass(frozen=True)
class Vpin(Windowed):
    """VPIN by bulk volume classification (Easley, Lopez de Prado, O'Hara 2012) on time bars: sum of abs(buy - sell) volume over volume.

    The buy share of a bar is Phi(r / sigma), sigma the standard deviation of the ``window`` returns up to it.
    """

    extra: ClassVar[int] = 1

    @property
    def warmup(self) -> int:
        return 2 * self.window

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        sigma = np.sqrt(rolling_variance(series.ret, self.window, 0))
        imbalance = series.volume * np.abs(2.0 * normal_cdf(series.ret / sigma) - 1.0)
        return rolling_mean(imbalance, self.window, first) / positive(rolling_mean(series.volume, self.window, first))
