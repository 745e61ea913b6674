"""Trend-scanning labels (Lopez de Prado 2019, "Advances in Financial Machine Learning, Lecture 3"; 2020, "Machine Learning for Asset
Managers", ch. 5): the direction of the straight line that fits the coming prices best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels.kernels import strongest_trend
from alphatrade_pipelines.models.labels.panel import Panel


@dataclass(frozen=True, slots=True)
class TrendConfig:
    """Lines through ``shortest`` to ``longest`` closes, the decision's own the first, are compared."""

    shortest: int = 5
    longest: int = 20

    def __post_init__(self) -> None:
        if not 3 <= self.shortest <= self.longest:
            raise ModelDataError("3 <= shortest <= longest", repr(self), "A slope through two points has no t-value.")


def trend_scanning(bars: pd.DataFrame, config: TrendConfig | None = None, *, decisions: pd.MultiIndex | None = None) -> pd.DataFrame:
    """Label decisions by the sign of the most significant trend that begins at them.

    For each length L the log closes of L bars are regressed on time; the length with the largest absolute t-value of the slope wins.

    Args:
        bars: index (symbol, timestamp), column ``close``, adjusted forward.
        decisions: rows of the index; every bar when None.

    Returns:
        A frame on the decisions with ``t1`` (start of the bar after the *longest* line: only then is it known which one won), ``label``
        (1 = rising, 0 = falling or level), ``t_value`` and ``points`` (of the line that won). Decisions whose longest line does not end
        inside the data have none.

    Raises:
        ModelDataError: missing columns, unsorted or duplicate rows, NaN prices, no label at all.
    """
    config = config or TrendConfig()
    panel = Panel.of(bars, ("close",))
    decided = np.flatnonzero(panel.positions(decisions) & (np.arange(len(panel)) + config.longest < panel.ends))
    if not len(decided):
        raise ModelDataError(
            f"at least one decision with {config.longest} bars after it", f"{len(bars)} bars and no label", "Load more history."
        )
    points, t_value = strongest_trend(np.log(panel.prices["close"]), decided, config.shortest, config.longest)
    frame = {
        "t1": panel.starts(decided + config.longest),
        "label": (t_value > 0).astype(np.int64),
        "t_value": t_value,
        "points": points,
    }
    return pd.DataFrame(frame, index=panel.index[decided])
