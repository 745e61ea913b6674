"""The triple barrier as published (Lopez de Prado 2018, snippets 3.2 to 3.7): closes only, entry at the decision's own close.

For comparison with the literature and for decisions that are not traded as brackets. Whoever trades meets
:mod:`alphatrade_pipelines.models.labels.brackets`. The loop is the same: a bar that is nothing but its close.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels.kernels import STOP, TARGET, VERTICAL, first_touch
from alphatrade_pipelines.models.labels.panel import Panel

FloatArray = npt.NDArray[np.float64]
_EXITS = np.array(["stop", "target", "vertical"], dtype=object)


@dataclass(frozen=True, slots=True)
class CloseBarrierConfig:
    """``target_multiple`` and ``stop_multiple`` in units of the target return (0 = no such barrier).

    ``vertical``: the first bar that starts at least so long after the decision; None = the end of the data. ``min_ret``: decisions whose
    target is not larger are left out. ``keep_touched``: a decision whose vertical barrier lies beyond the data counts if another barrier
    was touched, as in the book; that keeps only the fast ones near the end, so the default leaves all of them out.
    """

    target_multiple: float = 1.0
    stop_multiple: float = 1.0
    vertical: timedelta | None = timedelta(days=1)
    min_ret: float = 0.0
    keep_touched: bool = False

    def __post_init__(self) -> None:
        if not (self.target_multiple >= 0 and self.stop_multiple >= 0 and self.min_ret >= 0):
            raise ModelDataError("multiples and min_ret >= 0", repr(self))
        if self.vertical is not None and self.vertical <= timedelta(0):
            raise ModelDataError("a vertical barrier after the decision", repr(self))


def close_barrier(
    bars: pd.DataFrame,
    target: pd.Series,
    config: CloseBarrierConfig | None = None,
    *,
    side: pd.Series | None = None,
    decisions: pd.MultiIndex | None = None,
) -> pd.DataFrame:
    """Label decisions by the first close beyond a barrier, counted from the decision's close.

    Args:
        bars: index (symbol, timestamp), column ``close``, adjusted forward.
        target: the unit of the barriers, a return as a fraction, on the same index.
        side: 1 or -1 on the index of the bars turns the barriers and the return; no decision where it is 0 or NaN.
        decisions: rows of the index; every bar when None.

    Returns:
        A frame on the decisions with ``t1`` (start of the bar after the touch: by then it is known), ``touch`` (time stamp of the bar that
        touched), ``label`` (without side: 1 target, -1 stop, 0 vertical; with side: 1 = the return is positive, else 0), ``ret`` (gross, in
        the direction of the side), ``exit`` and ``target``.

    Raises:
        ModelDataError: as :func:`~alphatrade_pipelines.models.labels.triple_barrier`.
    """
    config = config or CloseBarrierConfig()
    panel = Panel.of(bars, ("close",))
    unit, closes = panel.aligned(target, "target"), panel.prices["close"]
    sides = np.ones(len(panel)) if side is None else np.nan_to_num(panel.aligned(side, "side"), nan=0.0)
    if not np.isin(sides, (-1.0, 0.0, 1.0)).all():
        raise ModelDataError("sides of 1, -1, 0 or NaN", "other values")
    last = panel.ends - 1 if config.vertical is None else panel.after_time(pd.Timedelta(config.vertical).as_unit("ns"))
    bounded = last < panel.ends if config.vertical is not None else np.zeros(len(panel), dtype=np.bool_)
    wanted = panel.positions(decisions) & np.isfinite(unit) & (unit > config.min_ret) & (sides != 0)
    decided = np.flatnonzero(wanted & (bounded | config.keep_touched))
    last = np.minimum(last, panel.ends - 1)[decided]
    ways = sides[decided].astype(np.int64)
    stops, targets = _prices(closes[decided], unit[decided], ways, config)
    bar, _, kind, price = first_touch(closes, closes, closes, stops, targets, ways, decided, last)
    _last_close(kind, price, stops, targets, ways)
    kept = bounded[decided] | (kind != VERTICAL)
    if not kept.any():
        raise ModelDataError("decisions whose window ends inside the data", f"{len(bars)} bars and no label", "Load more history.")
    bar, kind, price, decided, ways = (values[kept] for values in (bar, kind, price, decided, ways))
    ret = ways * (price / closes[decided] - 1.0)
    touched = np.where(kind == TARGET, 1, np.where(kind == STOP, -1, 0))
    return pd.DataFrame(
        {
            "t1": panel.known(bar, np.zeros(len(bar), dtype=np.bool_)),
            "touch": panel.starts(bar),
            "label": touched if side is None else (ret > 0).astype(np.int64),
            "ret": ret,
            "exit": _EXITS[kind],
            "target": unit[decided],
        },
        index=panel.index[decided],
    )


def _prices(close: FloatArray, unit: FloatArray, side: npt.NDArray[np.int64], config: CloseBarrierConfig) -> tuple[FloatArray, FloatArray]:
    """The book asks for a return beyond the barrier, not at it: the next number beyond is the first that counts."""
    stops = np.nextafter(close * (1.0 - side * config.stop_multiple * unit), -side * np.inf)
    targets = np.nextafter(close * (1.0 + side * config.target_multiple * unit), side * np.inf)
    return (
        stops if config.stop_multiple > 0 else np.where(side > 0, -np.inf, np.inf),
        targets if config.target_multiple > 0 else np.where(side > 0, np.inf, -np.inf),
    )


def _last_close(
    kind: npt.NDArray[np.int64], price: FloatArray, stops: FloatArray, targets: FloatArray, side: npt.NDArray[np.int64]
) -> None:
    """The close at the vertical barrier is still looked at: beyond another barrier it is a touch of that one."""
    at_end = kind == VERTICAL
    kind[at_end & (side * price <= side * stops)] = STOP
    kind[at_end & (side * price >= side * targets)] = TARGET
