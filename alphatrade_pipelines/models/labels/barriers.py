"""Where a bracket's exits are: one formula behind labels, backtest and live orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.models.errors import ModelDataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
HorizonUnit = Literal["bars", "sessions"]


@dataclass(frozen=True, slots=True)
class BarrierConfig:
    """Where the bracket's exits are. The same numbers label the past and price the live orders.

    ``stop_multiple`` and ``target_multiple`` are in units of per-bar volatility, ``horizon`` in bars or, by ``horizon_unit``, in exchange
    sessions (the position is closed at the first open after the ``horizon``-th session that follows the decision's), ``cost_bps`` in basis
    points of price for each of entry and exit (half a spread, impact, fees). ``min_volatility`` and ``max_volatility`` bound the volatility
    used, so that a dead or exploding estimate cannot place a barrier at the price itself or below zero.
    """

    stop_multiple: float = 2.0
    target_multiple: float = 3.0
    horizon: int = 10
    cost_bps: float = 5.0
    min_volatility: float = 1e-4
    max_volatility: float = 0.2
    horizon_unit: HorizonUnit = "bars"

    def __post_init__(self) -> None:
        if not (self.stop_multiple > 0 and self.target_multiple > 0 and self.horizon >= 1 and self.cost_bps >= 0):
            raise ModelDataError("positive barrier multiples, a horizon of at least one bar and a cost >= 0", repr(self))
        if not 0 < self.min_volatility < self.max_volatility or self.stop_multiple * self.max_volatility >= 1:
            raise ModelDataError("0 < min_volatility < max_volatility < 1 / stop_multiple", repr(self), "A stop must stay above zero.")
        if self.horizon_unit not in ("bars", "sessions"):
            raise ModelDataError("a horizon_unit of bars or sessions", repr(self.horizon_unit))


def barrier_prices(close: FloatArray, volatility: FloatArray, config: BarrierConfig, side: int = 1) -> tuple[FloatArray, FloatArray]:
    """Stop and target of a bracket decided at ``close``; ``side`` is 1 (long) or -1 (short: the stop above, the target below)."""
    if side == -1 and config.target_multiple * config.max_volatility >= 1:
        raise ModelDataError(
            "max_volatility < 1 / target_multiple for short brackets", repr(config), "A target below the price must stay above zero."
        )
    used = np.clip(volatility, config.min_volatility, config.max_volatility)
    return close * (1.0 - side * config.stop_multiple * used), close * (1.0 + side * config.target_multiple * used)
