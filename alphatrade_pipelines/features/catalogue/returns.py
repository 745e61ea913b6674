"""Returns and momentum: log returns of total-return prices over several horizons, and where price stands below its high."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alphatrade_pipelines.features.base import FloatArray, Series, State, SymbolFeature, Windowed, register, require_integer
from alphatrade_pipelines.features.kernels import lagged_change, previous, window_maximum


@register("momentum", formula="c[i - skip] - c[i - window]", reference="Jegadeesh and Titman (1993)")
@dataclass(frozen=True)
class Momentum(SymbolFeature):
    """The log return over ``window`` bars without the last ``skip``."""

    window: int = 1
    skip: int = 0

    def __post_init__(self) -> None:
        require_integer(self.kind, "skip", self.skip, 0)
        require_integer(self.kind, "window", self.window, self.skip + 1)

    @property
    def warmup(self) -> int:
        return self.window + 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        whole = lagged_change(series.log_close, self.window, first)
        return whole - lagged_change(series.log_close, self.skip, first) if self.skip else whole


@register("gap", formula="o[i] - c[i - 1]", reference="Lou, Polk and Skouras (2019)")
@dataclass(frozen=True)
class Gap(SymbolFeature):
    """The log return from the last close to the open."""

    @property
    def warmup(self) -> int:
        return 2

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return (series.log_open - previous(series.log_close))[first:]


@register("maximum_return", formula="max r", reference="Bali, Cakici and Whitelaw (2011)")
@dataclass(frozen=True)
class MaximumReturn(Windowed):
    """The largest log return of the last ``window`` bars: lottery-like stocks."""

    extra: ClassVar[int] = 1
    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return window_maximum(series.ret, self.window, first)


@register("below_high", formula="c - max h", reference="George and Hwang (2004)")
@dataclass(frozen=True)
class BelowHigh(Windowed):
    """Log distance of the close from the highest high of the last ``window`` bars, zero or below."""

    least: ClassVar[int] = 1

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return series.log_close[first:] - window_maximum(series.log_high, self.window, first)
