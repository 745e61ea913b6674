"""Checked bars as arrays, and what every label asks of them: where a symbol ends, when a bar's outcome is known, which session it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError

if TYPE_CHECKING:
    from alphatrade_pipelines.market import SessionCalendar

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Panel:
    """Bars of all symbols one after the other. ``ends``: for each row the position after its symbol's last row; ``stamps``: bar starts."""

    index: pd.MultiIndex
    prices: dict[str, FloatArray]
    ends: IntArray
    stamps: pd.DatetimeIndex

    @classmethod
    def of(cls, bars: pd.DataFrame, needed: tuple[str, ...] = PRICES) -> Panel:
        """Raises ModelDataError for missing columns, rows unsorted or twice, naive time stamps, prices NaN or not positive."""
        missing = [name for name in needed if name not in bars]
        if missing:
            raise ModelDataError(f"bars with the columns {list(needed)}", f"no {', '.join(missing)}")
        index = bars.index
        if not isinstance(index, pd.MultiIndex) or list(index.names) != ["symbol", "timestamp"]:
            raise ModelDataError("bars indexed by symbol and timestamp", str(list(index.names)))
        stamps = pd.DatetimeIndex(index.get_level_values("timestamp"))
        if stamps.tz is None:
            raise ModelDataError("aware UTC time stamps", "naive ones", "Localise them.")
        prices = {name: bars[name].to_numpy(dtype=np.float64) for name in needed}
        for name, values in prices.items():
            bad = ~(np.isfinite(values) & (values > 0))
            if bad.any():
                raise ModelDataError(
                    "positive prices", f"NaN or non-positive prices ({name}) at {index[int(np.argmax(bad))]}", "Check the bars first."
                )
        return cls(index, prices, _ends(index, stamps), stamps)

    def __len__(self) -> int:
        return len(self.index)

    def aligned(self, values: pd.Series, what: str) -> FloatArray:
        """``values`` as an array. Raises ModelDataError when they are on another index."""
        if values.index is not self.index and not self.index.equals(values.index):
            raise ModelDataError(f"{what} on the index of the bars", "a different index", "Reindex it; rows without a value are NaN.")
        return np.asarray(values, dtype=np.float64)

    def positions(self, decisions: pd.MultiIndex | None) -> BoolArray:
        """Which rows are decided at. Raises ModelDataError for decisions that are unsorted, repeated or without a bar."""
        if decisions is None:
            return np.ones(len(self), dtype=np.bool_)
        found = self.index.get_indexer(decisions)
        if (found < 0).any():
            raise ModelDataError("a bar at every decision", f"none for {int((found < 0).sum())}, first {decisions[int(np.argmin(found))]}")
        if (np.diff(found) <= 0).any():
            raise ModelDataError("decisions sorted by symbol and timestamp, each once", "unsorted or duplicate rows")
        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[found] = True
        return chosen

    def known(self, bar: IntArray, at_open: BoolArray) -> pd.DatetimeIndex:
        """When what happened in ``bar`` is known: at its start (what happens at its open), else by the start of the symbol's next bar.

        After the last bar of a symbol, a median step later.
        """
        stamps, following = self.stamps.asi8, np.minimum(bar + 1, len(self) - 1)
        known = np.where(at_open, stamps[bar], stamps[following])
        final = ~at_open & (bar + 1 >= self.ends[bar])
        if final.any():
            known[final] = stamps[bar[final]] + self._step
        return self._as_index(known)

    def starts(self, bar: IntArray) -> pd.DatetimeIndex:
        """Time stamp of each of ``bar``."""
        return self._as_index(self.stamps.asi8[bar])

    def after_sessions(self, count: int, calendar: SessionCalendar) -> IntArray:
        """For each row the symbol's first row later than the ``count``-th exchange session after its own; ``ends`` where there is none.

        Sessions are counted on the calendar: holidays are none, half days are one, a session in which the symbol has no bar still counts.
        """
        opens = calendar.bounds_of(self.stamps)[0]
        every = calendar.sessions(self.stamps.min(), self.stamps.max())["open"]
        number = np.searchsorted(pd.DatetimeIndex(every).as_unit("ns").asi8, opens)
        key = self.ends * (len(every) + count + 1) + number  # ascends: symbols lie one after the other
        return np.minimum(np.searchsorted(key, key + count, side="right"), self.ends).astype(np.int64)

    def after_time(self, delay: pd.Timedelta) -> IntArray:
        """For each row the symbol's first row that starts at least ``delay`` later; ``ends`` where there is none."""
        ns = self.stamps.as_unit("ns").asi8
        found = np.empty(len(self), dtype=np.int64)
        begin = 0
        for end in np.unique(self.ends):
            found[begin:end] = begin + np.searchsorted(ns[begin:end], ns[begin:end] + delay.value, side="left")
            begin = int(end)
        return found

    @cached_property
    def _step(self) -> int:
        steps = np.diff(self.stamps.asi8)[self.ends[1:] == self.ends[:-1]]
        return int(np.median(steps)) if len(steps) else 0

    def _as_index(self, values: IntArray) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(values.astype(f"datetime64[{self.stamps.unit}]")).tz_localize("UTC")


def _ends(index: pd.MultiIndex, stamps: pd.DatetimeIndex) -> IntArray:
    """The position after each row's symbol; refuses rows that are not sorted by symbol and time stamp, each once."""
    codes = np.asarray(index.codes[0])
    new = np.append(True, codes[1:] != codes[:-1]) if len(codes) else np.zeros(0, dtype=np.bool_)
    first = np.flatnonzero(new)
    symbols = index.levels[0][codes[first]]
    ascending = np.append(True, np.diff(stamps.asi8) > 0) if len(codes) else new
    if not (ascending | new).all() or not symbols.is_monotonic_increasing or symbols.has_duplicates:
        raise ModelDataError(
            "bars sorted by symbol and timestamp, each once", "unsorted or duplicate rows", "Run market.check_bars on them."
        )
    ends = np.append(first[1:], len(codes)) if len(first) else first
    return np.repeat(ends, np.diff(np.append(first, len(codes)))).astype(np.int64)
