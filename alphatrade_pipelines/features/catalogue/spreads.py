"""Bid-ask spreads and spread-free volatility estimated from prices alone. All are fractions of the price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, Windowed, register
from alphatrade_pipelines.features.jit import row_kernel
from alphatrade_pipelines.features.kernels import co_moments, half_tanh, positive, previous, rolling_mean

_DENOMINATOR = 3.0 - 2.0 * math.sqrt(2.0)
_K2 = math.sqrt(8.0 / math.pi)


@register("roll", formula="2 sqrt(|cov(r[i], r[i - 1])|)", reference="Roll (1984); Lopez de Prado (2018), ch. 19")
@dataclass(frozen=True)
class Roll(Windowed):
    """Spread from the serial covariance of returns; the absolute value where it is positive. NaN without movement."""

    extra: ClassVar[int] = 2
    least: ClassVar[int] = 3

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        covariance = co_moments(series.ret, previous(series.ret), self.window, first)[0] / (self.window - 1)
        return 2.0 * np.sqrt(positive(np.abs(covariance)))


def corwin_schultz_terms(series: Series, window: int, first: int) -> tuple[FloatArray, FloatArray]:
    """(beta, gamma): mean over ``window`` pairs of bars of their summed squared ranges, and the squared range of the last pair.

    beta is NaN without any range.
    """
    span = series.log_high - series.log_low
    square = span * span
    beta = positive(rolling_mean(square + previous(square), window, first))
    top = np.maximum(series.log_high, previous(series.log_high))
    bottom = np.minimum(series.log_low, previous(series.log_low))
    return beta, ((top - bottom) * (top - bottom))[first:]


@register(
    "corwin_schultz",
    formula="2 (e^a - 1) / (e^a + 1), a = max(0, (sqrt 2 - 1) sqrt(beta) / k - sqrt(gamma / k)), k = 3 - 2 sqrt 2",
    reference="Corwin and Schultz (2012); Lopez de Prado (2018), snippet 19.1",
)
@dataclass(frozen=True)
class CorwinSchultz(Windowed):
    """Spread from the highs and lows of two bars, negative estimates set to zero; beta is averaged over ``window`` pairs."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        beta, gamma = corwin_schultz_terms(series, self.window, first)
        alpha = (math.sqrt(2.0) - 1.0) * np.sqrt(beta) / _DENOMINATOR - np.sqrt(gamma / _DENOMINATOR)
        return half_tanh(np.maximum(alpha, 0.0))


@register(
    "becker_parkinson",
    formula="max(0, (1 / sqrt 2 - 1) sqrt(beta) / (k2 k) + sqrt(gamma / (k2^2 k))), k2 = sqrt(8 / pi), k = 3 - 2 sqrt 2",
    reference="Parkinson (1980); Beckers (1983); Lopez de Prado (2018), snippet 19.2",
)
@dataclass(frozen=True)
class BeckerParkinson(Windowed):
    """Volatility from highs and lows with the Corwin-Schultz spread taken out, negative estimates set to zero."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        beta, gamma = corwin_schultz_terms(series, self.window, first)
        sigma = (math.sqrt(0.5) - 1.0) * np.sqrt(beta) / (_K2 * _DENOMINATOR) + np.sqrt(gamma / (_K2 * _K2 * _DENOMINATOR))
        return np.maximum(sigma, 0.0)


@register(
    "edge",
    formula="sqrt |S2|, S2 the variance-weighted mean of two moment estimators from open, high, low and close",
    reference="Ardia, Guidotti and Kroencke (2024)",
)
@dataclass(frozen=True)
class Edge(Windowed):
    """Efficient spread estimator over ``window`` pairs of bars.

    NaN where fewer than two bars trade, or every open (or every close) sits at neither end of its bar's range: no estimate exists.
    """

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 2

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return edge_spread(series.log_open, series.log_high, series.log_low, series.log_close, self.window, first)


@row_kernel
def edge_spread(out: FloatArray, o: FloatArray, h: FloatArray, low: FloatArray, c: FloatArray, width: int, first: int) -> None:
    """The estimator over the last ``width`` pairs of bars; log prices. Written after the paper's equations, two passes a window."""
    n = o.size
    for i in range(max(first, width), n):
        trades, at_open, at_close, sum1, sum3, sum5 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for t in range(i - width + 1, i + 1):
            mid = 0.5 * (h[t] + low[t])
            sum1 += mid - o[t]
            sum3 += mid - c[t - 1]
            sum5 += o[t] - c[t - 1]
            if h[t] != low[t] or low[t] != c[t - 1]:
                trades += 1.0
                at_open += (1.0 if o[t] != h[t] else 0.0) + (1.0 if o[t] != low[t] else 0.0)
                at_close += (1.0 if c[t - 1] != h[t - 1] else 0.0) + (1.0 if c[t - 1] != low[t - 1] else 0.0)
        if not (trades >= 2.0 and at_open > 0.0 and at_close > 0.0):
            continue
        by_open, by_close = -4.0 * width / at_open, -4.0 * width / at_close
        e1, e2, v1, v2 = 0.0, 0.0, 0.0, 0.0
        for t in range(i - width + 1, i + 1):
            mid, mid_before = 0.5 * (h[t] + low[t]), 0.5 * (h[t - 1] + low[t - 1])
            tau = 1.0 if h[t] != low[t] or low[t] != c[t - 1] else 0.0
            d1 = mid - o[t] - sum1 / trades * tau
            d3 = mid - c[t - 1] - sum3 / trades * tau
            d5 = o[t] - c[t - 1] - sum5 / trades * tau
            x1 = by_open * d1 * (o[t] - mid_before) + by_close * d3 * (c[t - 1] - mid_before)
            x2 = by_open * d1 * (o[t] - c[t - 1]) + by_close * d5 * (c[t - 1] - mid_before)
            e1 += x1
            e2 += x2
            v1 += x1 * x1
            v2 += x2 * x2
        e1, e2 = e1 / width, e2 / width
        v1, v2 = v1 / width - e1 * e1, v2 / width - e2 * e2
        total = v1 + v2
        out[i - first] = math.sqrt(abs((v2 * e1 + v1 * e2) / total if total > 0.0 else 0.5 * (e1 + e2)))
