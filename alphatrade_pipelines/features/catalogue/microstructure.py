"""Illiquidity, price impact and order flow, estimated from bars.

A bar without volume has no price impact, a window without movement no order flow: NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, Windowed, register
from alphatrade_pipelines.features.kernels import co_moments, normal_cdf, positive, previous, rolling_mean, rolling_variance


@register("amihud", formula="mean |r| / D", reference="Amihud (2002)")
@dataclass(frozen=True)
class Amihud(Windowed):
    """Return per dollar traded."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return rolling_mean(np.abs(series.ret) / positive(series.close * series.volume), self.window, first)


@register("hasbrouck_lambda", formula="mean |r| / sqrt(D)", reference="Hasbrouck (2009); Lopez de Prado (2018), ch. 19")
@dataclass(frozen=True)
class HasbrouckLambda(Windowed):
    """Return per square root of the dollars traded."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return rolling_mean(np.abs(series.ret) / np.sqrt(positive(series.close * series.volume)), self.window, first)


@register("kyle_lambda", formula="cov(r, q) / var(q), q = sign(r) D", reference="Kyle (1985); Hasbrouck (2009)")
@dataclass(frozen=True)
class KyleLambda(Windowed):
    """Price impact as the slope of returns on signed dollar volume (tick rule)."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 3

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        signed = np.sign(series.ret) * series.close * series.volume
        shared, _, flow = co_moments(series.ret, signed, self.window, first)
        return shared / positive(flow)


@register("kyle_ratio", formula="mean |C[i] - C[i - 1]| / V", reference="Kyle (1985); Lopez de Prado (2018), ch. 19")
@dataclass(frozen=True)
class KyleRatio(Windowed):
    """Price impact as the mean price change, in dollars, per share traded."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return rolling_mean(np.abs(series.close - previous(series.close)) / positive(series.volume), self.window, first)


def bulk_imbalance(ret: FloatArray, volume: FloatArray, window: int, first: int = 0) -> FloatArray:
    """Bought minus sold volume of each bar by bulk volume classification, NaN until ``window`` returns are there.

    The bought share is Phi(r / sigma), sigma the standard deviation of the ``window`` returns up to the bar.
    """
    sigma = np.sqrt(rolling_variance(ret, window, first))
    bought: FloatArray = 2.0 * normal_cdf(ret[first:] / sigma) - 1.0
    return volume[first:] * bought


def _imbalance(series: Series, window: int, first: int) -> FloatArray:
    return bulk_imbalance(series.ret, series.volume, window, first)


def _volume(series: Series, window: int, first: int) -> FloatArray:
    return positive(rolling_mean(series.volume, window, first))


class BulkClassified(Windowed):
    """Reads ``window`` bars of classified volume, each classified by the ``window`` returns up to it."""

    extra: ClassVar[int] = 1

    @property
    def warmup(self) -> int:
        return 2 * self.window

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        begin = max(0, first - self.window + 1)  # earlier bars lie in no window
        flow = self._weigh(series.once(_imbalance, self.window, begin))
        return rolling_mean(flow, self.window, first - begin) / series.once(_volume, self.window, first)

    @staticmethod
    def _weigh(imbalance: FloatArray) -> FloatArray:
        return imbalance


@register("vpin", formula="sum |V (2 Phi(r / sigma) - 1)| / sum V, sigma = std r", reference="Easley, Lopez de Prado and O'Hara (2012)")
@dataclass(frozen=True)
class Vpin(BulkClassified):
    """Order-flow toxicity by bulk volume classification on time bars, 0 (balanced) to 1."""

    @staticmethod
    def _weigh(imbalance: FloatArray) -> FloatArray:
        return np.abs(imbalance)


@register("order_flow", formula="sum V (2 Phi(r / sigma) - 1) / sum V, sigma = std r", reference="Easley, Lopez de Prado and O'Hara (2016)")
@dataclass(frozen=True)
class OrderFlow(BulkClassified):
    """Net order flow by bulk volume classification, -1 (all sold) to 1 (all bought)."""
