"""Returns and momentum: log returns of total-return prices over several horizons.

References: Jegadeesh and Titman (1993) for momentum with a skipped recent stretch.
"""

from __future__ import annotations

from dataclasses import dataclass

from alphatrade_pipelines.features.base import FloatArray, Series, State, SymbolFeature, register, require_integer
from alphatrade_pipelines.features.kernels import lagged_change, previous


@register("momentum")
@dataclass(frozen=True)
class Momentum(SymbolFeature):
    """log(close[i - skip] / close[i - window]): the return over ``window`` bars without the last ``skip``."""

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


@register("gap")
@dataclass(frozen=True)
class Gap(SymbolFeature):
    """log(open[i] / close[i - 1])."""

    @property
    def warmup(self) -> int:
        return 2

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return (series.log_open - previous(series.log_close))[first:]
