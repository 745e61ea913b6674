"""Triple-barrier labels of a long bracket, with the prices, the order of events and the costs that live trading meets.

Lopez de Prado 2018, ch. 3, moved from closes to brackets: the decision is taken at the close of bar i, the entry is the open of bar i + 1,
stop and target rest at the broker at close[i] * (1 -/+ multiple * volatility[i]), and after ``horizon`` bars the position is closed at the
following open. A bar that opens beyond a barrier exits at its open, not at the barrier; a bar that touches both counts as a stop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models._jit import jit
from alphatrade_pipelines.models.errors import ModelDataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
EXITS = ("stop", "target", "horizon")
STOP, TARGET, HORIZON = 0, 1, 2
_PRICES = ["open", "high", "low", "close"]


@dataclass(frozen=True, slots=True)
class BarrierConfig:
    """Where the bracket's exits are. The same numbers label the past and price the live orders.

    ``stop_multiple`` and ``target_multiple`` are in units of per-bar volatility, ``horizon`` in bars, ``cost_bps`` in basis points of
    price for each of entry and exit (half a spread, impact, fees). ``min_volatility`` and ``max_volatility`` bound the volatility used,
    so that a dead or exploding estimate cannot place a barrier at the price itself or below zero.
    """

    stop_multiple: float = 2.0
    target_multiple: float = 3.0
    horizon: int = 10
    cost_bps: float = 5.0
    min_volatility: float = 1e-4
    max_volatility: float = 0.2

    def __post_init__(self) -> None:
        if not (self.stop_multiple > 0 and self.target_multiple > 0 and self.horizon >= 1 and self.cost_bps >= 0):
            raise ModelDataError("positive barrier multiples, a horizon of at least one bar and a cost >= 0", repr(self))
        if not 0 < self.min_volatility < self.max_volatility or self.stop_multiple * self.max_volatility >= 1:
            raise ModelDataError("0 < min_volatility < max_volatility < 1 / stop_multiple", repr(self), "A stop must stay above zero.")


def barrier_prices(close: FloatArray, volatility: FloatArray, config: BarrierConfig) -> tuple[FloatArray, FloatArray]:
    """Stop and target of a long bracket decided at ``close``: the one formula behind labels, backtest and live orders."""
    used = np.clip(volatility, config.min_volatility, config.max_volatility)
    return close * (1.0 - config.stop_multiple * used), close * (1.0 + config.target_multiple * used)


def triple_barrier(bars: pd.DataFrame, volatility: pd.Series, config: BarrierConfig | None = None) -> pd.DataFrame:
    """Label every bar whose whole horizon lies inside the data.

    ``bars`` (index symbol, timestamp) must be adjusted forward, so that a split is not a loss; ``volatility`` is the per-bar standard
    deviation of returns as a fraction, on the same index, known at each bar's close. Bars whose volatility is NaN or not positive get
    no label.

    Returns a frame on (symbol, timestamp of the decision bar) with ``t1`` (UTC: start of the first bar by which the outcome is known),
    ``label`` (1 = the bracket made money net of cost), ``ret`` (its net return), ``exit`` (stop, target or horizon), ``held`` (bars in
    the market), ``risk`` (distance from the decision's close to the stop, as a fraction).
    A bar near the end gets no label even if a barrier was touched early: keeping only the fast ones would bias the sample.

    Raises ModelDataError for a different index, missing columns, NaN prices or fewer than ``horizon + 2`` bars in every symbol.
    """
    config = config or BarrierConfig()
    _check(bars, volatility)
    pieces = []
    for _symbol, rows in bars.groupby(level="symbol", sort=False):
        vol = volatility.loc[rows.index].to_numpy(dtype=np.float64)
        labels = _label_symbol(rows, vol, config)
        if labels is not None:
            pieces.append(labels)
    if not pieces:
        raise ModelDataError(
            f"at least one symbol with {config.horizon + 2} bars and a volatility", f"{len(bars)} bars and no label", "Load more history."
        )
    return pd.concat(pieces).sort_index()


def _check(bars: pd.DataFrame, volatility: pd.Series) -> None:
    missing = [name for name in _PRICES if name not in bars]
    if missing:
        raise ModelDataError(f"bars with the columns {_PRICES}", f"no {', '.join(missing)}")
    if not bars.index.equals(volatility.index):
        raise ModelDataError("volatility on the index of the bars", "a different index", "Reindex it; rows without a value are NaN.")
    if bars.index.has_duplicates or not bars.index.is_monotonic_increasing:
        raise ModelDataError(
            "bars sorted by symbol and timestamp, each once", "unsorted or duplicate rows", "Run market.check_bars on them."
        )
    prices = bars[_PRICES].to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(prices) & (prices > 0)).all(axis=1)
    if bad.any():
        raise ModelDataError("positive prices", f"NaN or non-positive prices at {bars.index[int(np.argmax(bad))]}", "Check the bars first.")


def _label_symbol(rows: pd.DataFrame, volatility: FloatArray, config: BarrierConfig) -> pd.DataFrame | None:
    decisions = len(rows) - config.horizon - 1
    if decisions <= 0:
        return None
    opens, highs, lows, closes = (rows[name].to_numpy(dtype=np.float64) for name in _PRICES)
    usable = np.flatnonzero(np.isfinite(volatility[:decisions]) & (volatility[:decisions] > 0))
    if len(usable) == 0:
        return None
    stops, targets = barrier_prices(closes, volatility, config)
    exit_bar, at_open, exit_kind, exit_price = _walk(opens, highs, lows, stops, targets, usable, config.horizon)
    cost = config.cost_bps * 1e-4
    ret = exit_price * (1.0 - cost) / (opens[usable + 1] * (1.0 + cost)) - 1.0
    return pd.DataFrame(
        {
            "t1": _known(pd.DatetimeIndex(rows.index.get_level_values("timestamp")), exit_bar, at_open),
            "label": (ret > 0).astype(np.int64),
            "ret": ret,
            "exit": np.array(EXITS, dtype=object)[exit_kind],
            "held": exit_bar - usable - at_open,
            "risk": 1.0 - stops[usable] / closes[usable],
        },
        index=rows.index[usable],
    )


def _known(stamps: pd.DatetimeIndex, exit_bar: IntArray, at_open: npt.NDArray[np.bool_]) -> pd.DatetimeIndex:
    """An exit at the open is known then, one inside a bar by the start of the next bar (never later than a whole usual step)."""
    after_last = stamps[-1] + pd.Series(stamps).diff().median()
    following = stamps[1:].append(pd.DatetimeIndex([after_last]))
    known = np.where(at_open, stamps.asi8[exit_bar], pd.DatetimeIndex(following).as_unit(stamps.unit).asi8[exit_bar])
    return pd.DatetimeIndex(known.astype(f"datetime64[{stamps.unit}]")).tz_localize("UTC")


@jit
def _walk(
    opens: FloatArray, highs: FloatArray, lows: FloatArray, stops: FloatArray, targets: FloatArray, decisions: IntArray, horizon: int
) -> tuple[IntArray, npt.NDArray[np.bool_], IntArray, FloatArray]:
    """First exit of each bracket: (bar, exited at its open?, kind, price)."""
    n = len(decisions)
    bar, at_open = np.empty(n, np.int64), np.empty(n, np.bool_)
    kind, price = np.empty(n, np.int64), np.empty(n, np.float64)
    for k in range(n):
        i = decisions[k]
        stop, target = stops[i], targets[i]
        last = i + 1 + horizon  # the bar at whose open the vertical barrier closes the position
        bar[k], at_open[k], kind[k], price[k] = last, True, 2, opens[last]
        for j in range(i + 1, last):
            if opens[j] <= stop or opens[j] >= target:  # gapped through, possibly already at the entry
                bar[k], at_open[k], price[k] = j, True, opens[j]
                kind[k] = 0 if opens[j] <= stop else 1
                break
            if lows[j] <= stop:
                bar[k], at_open[k], kind[k], price[k] = j, False, 0, stop
                break
            if highs[j] >= target:
                bar[k], at_open[k], kind[k], price[k] = j, False, 1, target
                break
    return bar, at_open, kind, price
