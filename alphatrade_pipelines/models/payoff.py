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
    """Wins and losses of brackets in multiples of their risk (the distance from decision price to stop; losses positive), net of cost.

    Risk is the unit because risk is what the sizer holds constant; returns in percent would let the volatile years decide. ``*_error``
    are standard errors clustered in time; wins and losses of one time move together, so the error of the ratio is clustered jointly.
    ``n_effective``: independent brackets with the same precision. ``mean_return`` is in fractions of the entry price.
    """

    payoff: float
    payoff_error: float
    mean_win: float
    mean_win_error: float
    mean_loss: float
    mean_loss_error: float
    mean_return: float
    mean_return_error: float
    wins: int
    losses: int
    n_effective: float
    stop_multiple: float
    target_multiple: float
    horizon: int
    cost_bps: float
    min_volatility: float
    max_volatility: float
    horizon_unit: str = "bars"

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
        """Estimate from labels of brackets. Raises ModelDataError when nothing was won or nothing was lost, or when (labels of trends) what
        counts as won loses money on average or what counts as lost earns it: such a probability is nothing to size by."""
        won = labels["label"].to_numpy() == 1
        if won.all() or not won.any():
            raise ModelDataError("won and lost brackets", f"{int(won.sum())} won of {len(won)}", "Use more history or other barriers.")
        returns, blocks = labels["ret"].to_numpy(dtype=np.float64), time_blocks(labels)
        multiples = returns / labels["risk"].to_numpy(dtype=np.float64)
        mean_win, mean_loss = float(multiples[won].mean()), float(-multiples[~won].mean())
        if not (mean_win > 0 and mean_loss > 0):
            found = f"mean outcomes of {mean_win:.3g} and {-mean_loss:.3g} risks"
            raise ModelDataError("wins that earn and losses that cost", found, "Use the label of the bracket itself.")
        # influence of each bracket on ln(mean win / mean loss): the delta method for a ratio, before clustering
        influence = np.where(won, (multiples / mean_win - 1.0) / won.mean(), (multiples / mean_loss + 1.0) / (~won).mean())
        return cls(
            payoff=mean_win / mean_loss,
            payoff_error=mean_win / mean_loss * clustered_error(influence, blocks),
            mean_win=mean_win,
            mean_win_error=clustered_error(multiples[won], blocks[won]),
            mean_loss=mean_loss,
            mean_loss_error=clustered_error(multiples[~won], blocks[~won]),
            mean_return=float(returns.mean()),
            mean_return_error=clustered_error(returns, blocks),
            wins=int(won.sum()),
            losses=int((~won).sum()),
            n_effective=effective_size(multiples, blocks),
            **asdict(config),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; the break-even probability is included for the reader."""
        return asdict(self) | {"break_even": self.break_even}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PayoffEstimate:
        """The inverse of :meth:`to_dict`."""
        return cls(**{field.name: data[field.name] for field in fields(cls) if field.name in data})
