"""Mean reversion: how far price stands from where it recently was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, SymbolFeature, Windowed, register
from alphatrade_pipelines.features.kernels import positive, rolling_mean, rolling_variance


@register("rsi", formula="100 mean max(r, 0) / (mean max(r, 0) + mean max(-r, 0))", reference="Wilder (1978), means as in Cutler")
@dataclass(frozen=True)
class Rsi(Windowed):
    """Relative strength index with simple means, 0 to 100; NaN without movement."""

    extra: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        gain = rolling_mean(np.maximum(series.ret, 0.0), self.window, first)
        loss = rolling_mean(np.maximum(-series.ret, 0.0), self.window, first)
        return 100.0 * gain / positive(gain + loss)


@register("price_zscore", formula="(c - mean c) / std c", reference="Bollinger (1992)")
@dataclass(frozen=True)
class PriceZScore(Windowed):
    """(log close - mean) / standard deviation over the last ``window`` bars: the position within Bollinger bands."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        price = series.log_close
        return (price[first:] - rolling_mean(price, self.window, first)) / np.sqrt(rolling_variance(price, self.window, first))


@register("close_location", formula="(c - l) / (h - l)", reference="Williams (1973)")
@dataclass(frozen=True)
class CloseLocation(SymbolFeature):
    """Where the bar closed in its range, 0 (low) to 1 (high), in logs; NaN for a bar without range."""

    @property
    def warmup(self) -> int:
        return 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return ((series.log_close - series.log_low) / positive(series.log_high - series.log_low))[first:]
