"""What a bracket wins and loses on average, with errors that know about overlapping trades."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels import BarrierConfig
from alphatrade_pipelines.models.weights import clustered_error, effective_size, time_blocks


@dataclass(frozen=True, slots=True)
class PayoffEstimate:
    """Net returns of won and lost brackets as fractions of the entry price (losses positive), and the barriers they belong to.

    ``*_error`` are standard errors clustered in time, ``n_effective`` the number of independent brackets with the same precision.
    """

    mean_win: float
    mean_win_error: float
    mean_loss: float
    mean_loss_error: float
    wins: int
    losses: int
    n_effective: float
    stop_multiple: float
    target_multiple: float
    horizon: int
    cost_bps: float
    min_volatility: float
    max_volatility: float

    @property
    def payoff(self) -> float:
        """b of the Kelly formula: mean win over mean loss, net of cost."""
        return self.mean_win / self.mean_loss

    @property
    def payoff_error(self) -> float:
        """Standard error of :attr:`payoff` (delta method, wins and losses independent)."""
        return float(self.payoff * np.hypot(self.mean_win_error / self.mean_win, self.mean_loss_error / self.mean_loss))

    @property
    def break_even(self) -> float:
        """The probability of winning at which a bracket earns nothing: 1 / (1 + b)."""
        return 1.0 / (1.0 + self.payoff)

    @property
    def barrier(self) -> BarrierConfig:
        """The barriers to place live orders with: those the model was trained for."""
        return BarrierConfig(**{field.name: getattr(self, field.name) for field in fields(BarrierConfig)})

    @classmethod
    def from_labels(cls, labels: pd.DataFrame, config: BarrierConfig) -> PayoffEstimate:
        """Estimate from triple-barrier labels. Raises ModelDataError when nothing was won or nothing was lost."""
        won = labels["label"].to_numpy() == 1
        if won.all() or not won.any():
            raise ModelDataError("won and lost brackets", f"{int(won.sum())} won of {len(won)}", "Use more history or other barriers.")
        returns, blocks = labels["ret"].to_numpy(dtype=np.float64), time_blocks(labels)
        return cls(
            mean_win=float(returns[won].mean()),
            mean_win_error=clustered_error(returns[won], blocks[won]),
            mean_loss=float(-returns[~won].mean()),
            mean_loss_error=clustered_error(returns[~won], blocks[~won]),
            wins=int(won.sum()),
            losses=int((~won).sum()),
            n_effective=effective_size(returns, blocks),
            **asdict(config),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; payoff, its error and the break-even probability are included for the reader."""
        return asdict(self) | {"payoff": self.payoff, "payoff_error": self.payoff_error, "break_even": self.break_even}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PayoffEstimate:
        """The inverse of :meth:`to_dict`."""
        return cls(**{field.name: data[field.name] for field in fields(cls)})
