"""Bars that close when enough has happened rather than when time has passed: tick, volume, dollar and imbalance bars from trades.

Lopez de Prado 2018, chapter 2. A bar closes with the trade that reaches its threshold; a trade is never split. Whole tapes go through
:func:`event_bars`; :class:`EventBarBuilder` is the same loop one trade at a time, to the same bits, and can be saved as JSON mid-bar.

Sums run in time order from the bar's first trade. The threshold of an imbalance bar uses bars before it only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.errors import BarDataError
from alphatrade_pipelines.market.event_bar_kernels import SLOTS, run_trades

FloatArray = npt.NDArray[np.float64]
Unit = Literal["tick", "volume", "dollar"]
UNITS: tuple[Unit, ...] = ("tick", "volume", "dollar")
COLUMNS = (
    "start", "end", "open", "high", "low", "close", "volume", "dollar", "vwap", "ticks", "imbalance", "threshold",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventBarConfig:
    """When a bar closes.

    ``unit``: what is counted: trades, shares or dollars. ``threshold``: how many of them make a bar. With ``imbalance`` they are signed by
    the tick rule and the threshold is dynamic: a bar closes when abs(sum of b_t x_t) >= E[T] abs(E[b x]) (AFML 2.3.2.1-2), where

    - ``threshold`` is the number of trades of the first bar, which closes by count and only teaches the expectations;
    - E[T], trades a bar, is an exponentially weighted mean over finished bars of span ``bars_span``;
    - E[b x] is one over all their trades, of span ``ticks_span``, both as they stood when the bar began;
    - a bar holds at least ``threshold / guard`` and at most ``threshold * guard`` trades. AFML has no such guard, and its rule then
      collapses to bars of one trade when buying and selling balance, or never closes again; ``guard`` = inf is AFML's rule.
    """

    unit: Unit
    threshold: float
    imbalance: bool = False
    bars_span: float = 20.0
    ticks_span: float = 10_000.0
    guard: float = 10.0

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise BarDataError(f"a unit of {', '.join(UNITS)}", repr(self.unit), where="EventBarConfig")
        least = 1.0 if self.imbalance or self.unit == "tick" else 0.0
        if not (np.isfinite(self.threshold) and self.threshold > 0 and self.threshold >= least):
            raise BarDataError("a positive threshold (at least one trade)", repr(self.threshold), where="EventBarConfig")
        if self.imbalance and not (self.bars_span >= 1 and self.ticks_span >= 1 and self.guard >= 1):
            raise BarDataError(
                "spans and guard of at least 1", f"{self.bars_span}, {self.ticks_span}, {self.guard}", where="EventBarConfig"
            )

    @property
    def parameters(self) -> FloatArray:
        """For the kernel: unit, threshold, imbalance, the two decays, least and most trades."""
        decays = 2.0 / (self.bars_span + 1.0), 2.0 / (self.ticks_span + 1.0)
        bounds = self.threshold / self.guard, self.threshold * self.guard
        return np.array([UNITS.index(self.unit), self.threshold, float(self.imbalance), *decays, *bounds])


def event_bars(trades: pd.DataFrame, config: EventBarConfig) -> pd.DataFrame:
    """Bars of all finished events of every symbol.

    Args:
        trades: index (symbol, timestamp), UTC, sorted; several trades may share a time stamp and keep their order; columns ``price`` and
            ``size`` (shares), floats above zero.

    Returns:
        Index (symbol, bar number from 0); columns ``start`` and ``end`` (time of the first and last trade, UTC; the bar is known at
        ``end``), open, high, low, close, volume (shares), dollar, vwap, ticks (trades), ``imbalance`` (signed units) and ``threshold``
        (in force for the bar). A bar still under construction is left out.

    Raises:
        BarDataError: another index, missing columns, unsorted trades, a price or size that is not a positive number.
    """
    check_trades(trades)
    parts = {}
    for symbol, rows in trades.groupby(level="symbol", sort=False):
        builder = EventBarBuilder(config)
        times = pd.DatetimeIndex(rows.index.get_level_values("timestamp")).as_unit("ns").asi8
        parts[str(symbol)] = builder.extend(times, *(rows[name].to_numpy(dtype=np.float64) for name in ("price", "size")))
    return pd.concat(parts, names=["symbol", "bar"])


def check_trades(trades: pd.DataFrame) -> None:
    """Raise :class:`BarDataError` naming the first thing wrong with a tape."""
    index = trades.index
    if not isinstance(index, pd.MultiIndex) or list(index.names) != ["symbol", "timestamp"]:
        raise BarDataError("trades indexed by (symbol, timestamp)", f"index {list(index.names)}")
    absent = [name for name in ("price", "size") if name not in trades]
    if absent or trades.empty:
        raise BarDataError("trades with price and size", f"no {', '.join(absent) or 'rows'}")
    stamps = pd.DatetimeIndex(index.get_level_values("timestamp"))
    if stamps.tz is None:
        raise BarDataError("aware time stamps", "naive ones", fix="Attach their time zone.")
    codes = pd.factorize(index.get_level_values("symbol"))[0]
    backwards = (codes[1:] == codes[:-1]) & np.asarray(stamps[1:] < stamps[:-1])
    if backwards.any() or (np.diff(codes) < 0).any():
        at = int(np.argmax(backwards)) + 1
        raise BarDataError("trades of one symbol after another, oldest first", f"disorder at {index[at]}", fix="Sort them, stably.")
    values = trades[["price", "size"]].to_numpy(dtype=np.float64)
    bad = ~(np.isfinite(values) & (values > 0)).all(axis=1)
    if bad.any():
        at = int(np.argmax(bad))
        raise BarDataError("a positive price and size", f"{values[at, 0]:g} x {values[at, 1]:g}", where=str(index[at]))


class EventBarBuilder:
    """One symbol's event bars from a stream of trades."""

    def __init__(self, config: EventBarConfig) -> None:
        self.config = config
        self._memory = np.zeros(SLOTS)
        self._span = np.zeros(2, dtype=np.int64)  # first and last trade of the bar under construction, ns
        self._bars = 0

    def update(self, time: pd.Timestamp, price: float, size: float) -> pd.DataFrame | None:
        """Take one trade in; the bar it closes, if any. Raises :class:`BarDataError` for a price or size that is not positive, or a
        time before the last trade's."""
        stamp = pd.Timestamp(time)
        if stamp.tzinfo is None or not (np.isfinite([price, size]).all() and price > 0 and size > 0):
            raise BarDataError("an aware time, a positive price and size", f"{time}, {price}, {size}")
        if stamp.value < self._span[1]:
            raise BarDataError("trades oldest first", f"{stamp} after {pd.Timestamp(int(self._span[1]), tz='UTC')}")
        closed = self.extend(np.array([stamp.as_unit("ns").value]), np.array([price]), np.array([size]))
        return closed if len(closed) else None

    def extend(self, times: npt.NDArray[np.int64], price: FloatArray, size: FloatArray) -> pd.DataFrame:
        """Take a stretch of checked trades in (times in ns since 1970, arrays of one length); the bars they close, numbered on."""
        values, spans = run_trades(times, price, size, self.config.parameters, self._memory, self._span)
        stamps = {name: pd.to_datetime(spans[:, at], unit="ns", utc=True) for at, name in enumerate(("start", "end"))}
        columns = {name: values[:, at] for at, name in enumerate(COLUMNS[2:])}
        index = pd.RangeIndex(self._bars, self._bars + len(values), name="bar")
        self._bars += len(values)
        return pd.DataFrame(stamps | columns, index=index)

    def to_state(self) -> dict[str, Any]:
        """JSON."""
        return {
            "memory": self._memory.tolist(),
            "span": self._span.tolist(),
            "bars": self._bars,
            "parameters": self.config.parameters.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`to_state` was taken; :class:`BarDataError` when it belongs to another configuration."""
        if state["parameters"] != self.config.parameters.tolist():
            raise BarDataError("a state of this configuration", "one of another", where="EventBarBuilder")
        self._memory = np.array(state["memory"], dtype=np.float64)
        self._span, self._bars = np.array(state["span"], dtype=np.int64), int(state["bars"])
