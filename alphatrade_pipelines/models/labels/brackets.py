"""Triple-barrier labels of a bracket, with the prices, the order of events and the costs that live trading meets.

Lopez de Prado 2018, ch. 3, moved from closes to brackets: the decision is taken at the close of bar i, the entry is the open of bar i + 1,
stop and target rest at the broker at close[i] * (1 -/+ multiple * volatility[i]) (a short mirrors them), and after ``horizon`` bars or
sessions the position is closed at the following open. A bar that opens beyond a barrier exits at its open, not at the barrier; a bar that
touches both counts as a stop. These are the conventions of docs/fills.md for an order decided on complete bars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels.barriers import BarrierConfig, barrier_prices
from alphatrade_pipelines.models.labels.kernels import first_touch
from alphatrade_pipelines.models.labels.panel import Panel

if TYPE_CHECKING:
    from alphatrade_pipelines.market import SessionCalendar

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
EXITS = ("stop", "target", "horizon")


def triple_barrier(
    bars: pd.DataFrame,
    volatility: pd.Series,
    config: BarrierConfig | None = None,
    *,
    side: int | pd.Series = 1,
    short: BarrierConfig | None = None,
    decisions: pd.MultiIndex | None = None,
    calendar: SessionCalendar | None = None,
) -> pd.DataFrame:
    """Label every decision whose whole horizon lies inside the data.

    Args:
        bars: index (symbol, timestamp), adjusted forward, so that a split is not a loss.
        volatility: per-bar standard deviation of returns as a fraction, on the same index, known at each bar's close. Where it is NaN or
            not positive there is no label.
        config: barriers of long brackets, and of short ones unless ``short`` is given.
        side: 1 (long) or -1 (short) for all, or a series on the index of the bars; no label where it is 0 or NaN.
        decisions: rows of the index to decide at (:func:`~alphatrade_pipelines.models.labels.cusum_decisions`); every bar when None.
        calendar: counts the sessions of a horizon in sessions; XNYS when None.

    Returns:
        A frame on (symbol, timestamp of the decision bar) with ``t1`` (UTC: start of the first bar by which the outcome is known),
        ``label`` (1 = the bracket made money net of cost), ``ret`` (its net return on the entry price), ``exit`` (stop, target or
        horizon), ``held`` (bars in the market), ``risk`` (distance from the decision's close to the stop, as a fraction), ``side``.
        A decision near the end gets no label even if a barrier was touched early: keeping only the fast ones would bias the sample.

    Raises:
        ModelDataError: another index, missing columns, unsorted or duplicate rows, NaN prices, no label at all.
    """
    config = config or BarrierConfig()
    panel = Panel.of(bars)
    vol = panel.aligned(volatility, "volatility")
    sides = _sides(panel, side)
    sides[~panel.positions(decisions)] = 0
    sides[~(np.isfinite(vol) & (vol > 0))] = 0
    pieces = [
        _label(panel, vol, np.flatnonzero(sides == one), own, one, calendar)
        for one, own in ((1, config), (-1, short or config))
        if (sides == one).any()
    ]
    labels = pd.concat(pieces) if len(pieces) > 1 else pieces[0] if pieces else pd.DataFrame()
    if labels.empty:
        raise ModelDataError(
            f"at least one symbol with {config.horizon + 2} bars and a volatility",
            f"{len(bars)} bars, {int((sides != 0).sum())} decisions with a positive volatility and a side, and no label",
            "Load more history.",
        )
    return labels.sort_index() if len(pieces) > 1 else labels


def _sides(panel: Panel, side: int | pd.Series) -> IntArray:
    given = np.nan_to_num(panel.aligned(side, "side") if isinstance(side, pd.Series) else np.full(len(panel), float(side)))
    if not np.isin(given, (-1.0, 0.0, 1.0)).all():
        raise ModelDataError("sides of 1, -1, 0 or NaN", f"{given[~np.isin(given, (-1.0, 0.0, 1.0))][0]:g}")
    return given.astype(np.int64)


def _label(
    panel: Panel, volatility: FloatArray, decided: IntArray, config: BarrierConfig, side: int, calendar: SessionCalendar | None
) -> pd.DataFrame:
    last = vertical_bars(panel, config, calendar)[decided]
    complete = last < panel.ends[decided]
    decided, last = decided[complete], last[complete]
    closes, opens = panel.prices["close"][decided], panel.prices["open"]
    stops, targets = barrier_prices(closes, volatility[decided], config, side)
    sides = np.full(len(decided), side, dtype=np.int64)
    bar, at_open, kind, price = first_touch(opens, panel.prices["high"], panel.prices["low"], stops, targets, sides, decided, last)
    cost = config.cost_bps * 1e-4
    entry = opens[decided + 1]
    # on the entry's own cash flow: a buy pays its cost on top, a sale gets it off
    ret = price * (1.0 - cost) / (entry * (1.0 + cost)) - 1.0 if side == 1 else 1.0 - price * (1.0 + cost) / (entry * (1.0 - cost))
    return pd.DataFrame(
        {
            "t1": panel.known(bar, at_open),
            "label": (ret > 0).astype(np.int64),
            "ret": ret,
            "exit": pd.array(list(EXITS), dtype="str").take(kind),
            "held": bar - decided - at_open,
            "risk": side * (1.0 - stops / closes),
            "side": sides,
        },
        index=panel.index[decided],
    )


def vertical_bars(panel: Panel, config: BarrierConfig, calendar: SessionCalendar | None) -> IntArray:
    """The bar at whose open each row's position would be closed at the latest; at or beyond ``ends`` when the data end before."""
    if config.horizon_unit == "bars":
        return np.arange(len(panel), dtype=np.int64) + 1 + config.horizon
    if calendar is None:
        from alphatrade_pipelines.market import SessionCalendar

        calendar = SessionCalendar()
    return panel.after_sessions(config.horizon, calendar)
