"""Which way a price went over the label horizon: what a primary model learns, before anybody asks whether a bet on it pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels.barriers import BarrierConfig
from alphatrade_pipelines.models.labels.brackets import vertical_bars
from alphatrade_pipelines.models.labels.panel import Panel

if TYPE_CHECKING:
    from alphatrade_pipelines.market import SessionCalendar


def direction(bars: pd.DataFrame, barrier: BarrierConfig | None = None, *, calendar: SessionCalendar | None = None) -> pd.DataFrame:
    """Label every decision by the sign of the return from the next open to the open at which the bracket's horizon ends.

    Neither stop, target nor cost: those belong to the bet, and the meta model judges it. Of ``barrier`` only the horizon counts.

    Args:
        bars: index (symbol, timestamp), column ``open``, adjusted forward.
        calendar: counts the sessions of a horizon in sessions; XNYS when None.

    Returns:
        A frame on the decisions with ``t1`` (UTC: start of the bar at whose open the horizon ends), ``label`` (1 = risen, 0 = fallen or
        level) and ``ret`` (a fraction). Decisions whose horizon does not end inside the data have none.

    Raises:
        ModelDataError: another index, missing columns, unsorted or duplicate rows, NaN prices, no label at all.
    """
    barrier = barrier or BarrierConfig()
    panel = Panel.of(bars, ("open",))
    last = vertical_bars(panel, barrier, calendar)
    decided = np.flatnonzero(last < panel.ends)
    if not len(decided):
        raise ModelDataError(f"at least one symbol with {barrier.horizon + 2} bars", f"{len(bars)} bars and no label", "Load more history.")
    opens = panel.prices["open"]
    ret = opens[last[decided]] / opens[decided + 1] - 1.0
    frame = {"t1": panel.starts(last[decided]), "label": (ret > 0).astype(np.int64), "ret": ret}
    return pd.DataFrame(frame, index=panel.index[decided])
