"""XNYS sessions: when the market is open, and when a bar is known.

The calendar of ``exchange_calendars`` is read once per process into sorted nanosecond arrays; every question is then one binary
search. All instants are aware UTC; a session is named by its New York date.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.errors import BarDataError
from alphatrade_pipelines.market.timeframe import Timeframe

# fixed bounds: the answer to a question must not depend on the day it is asked
FIRST_DAY, LAST_DAY = "1970-01-01", "2040-12-31"
_MINUTE_NS = 60_000_000_000


class _Table(NamedTuple):
    dates: pd.DatetimeIndex  # naive session dates
    opens: npt.NDArray[np.int64]
    closes: npt.NDArray[np.int64]
    days: npt.NDArray[np.int64]  # midnight New York of each session, UTC ns
    open_list: list[int]  # the same as Python ints: bisect on a list beats numpy for one value
    close_list: list[int]
    day_list: list[int]


@lru_cache(maxsize=1)
def _table() -> _Table:
    import exchange_calendars

    schedule = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY, end=LAST_DAY).schedule
    dates = pd.DatetimeIndex(schedule.index).as_unit("ns").rename("session")
    opens = pd.DatetimeIndex(schedule["open"].array).as_unit("ns").asi8.copy()
    closes = pd.DatetimeIndex(schedule["close"].array).as_unit("ns").asi8.copy()
    days = dates.tz_localize("America/New_York").tz_convert("UTC").asi8.copy()
    return _Table(dates, opens, closes, days, opens.tolist(), closes.tolist(), days.tolist())


def _ns(ts: datetime) -> int:
    if ts.tzinfo is None:
        raise BarDataError("an aware time stamp", f"the naive {ts}", fix="Attach its time zone, UTC if that is what it is.")
    return int(pd.Timestamp(ts).value)


def _utc(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, tz=UTC)


def _pick(values: list[int], position: int, what: str) -> datetime:
    if not 0 <= position < len(values):
        raise BarDataError(f"a time between {FIRST_DAY} and {LAST_DAY}", f"a question about {what} outside the calendar")
    return _utc(values[position])


class SessionCalendar:
    """The trading sessions of the New York Stock Exchange, half days and past closures included."""

    def sessions(self, start: date | datetime | str, end: date | datetime | str) -> pd.DataFrame:
        """Sessions from ``start`` to ``end``, both dates included: columns ``open`` and ``close`` (UTC), index naive session date."""
        table = _table()
        first, last = (_session_date(bound) for bound in (start, end))
        low, high = table.dates.searchsorted(first, side="left"), table.dates.searchsorted(last, side="right")
        frame = {
            "open": pd.to_datetime(table.opens[low:high], unit="ns", utc=True),
            "close": pd.to_datetime(table.closes[low:high], unit="ns", utc=True),
        }
        return pd.DataFrame(frame, index=table.dates[low:high])

    def session_of(self, ts: datetime) -> date:
        """The session of the New York day of ``ts``; on a day without one, the latest session before it."""
        day: date = _table().dates[self._position(ts)].date()
        return day

    def session_bounds(self, ts: datetime) -> tuple[datetime, datetime]:
        """Open and close of :meth:`session_of` ``ts``."""
        position = self._position(ts)
        return _utc(_table().open_list[position]), _utc(_table().close_list[position])

    def is_open(self, ts: datetime) -> bool:
        """True while open <= ts < close."""
        ns = _ns(ts)
        position = bisect_right(_table().open_list, ns) - 1
        return position >= 0 and ns < _table().close_list[position]

    def next_open(self, ts: datetime) -> datetime:
        """The first open after ``ts`` (strictly)."""
        return _pick(_table().open_list, bisect_right(_table().open_list, _ns(ts)), "the next open")

    def next_close(self, ts: datetime) -> datetime:
        """The first close after ``ts`` (strictly)."""
        return _pick(_table().close_list, bisect_right(_table().close_list, _ns(ts)), "the next close")

    def previous_close(self, ts: datetime) -> datetime:
        """The last close at or before ``ts``."""
        return _pick(_table().close_list, bisect_right(_table().close_list, _ns(ts)) - 1, "the previous close")

    def add_sessions(self, ts: datetime, n: int) -> datetime:
        """Close of the ``n``-th session after the session of ``ts`` (n = 0: its own close)."""
        return _pick(_table().close_list, self._position(ts) + n, f"session {n:+d}")

    def known_at(self, timestamps: pd.DatetimeIndex, timeframe: Timeframe) -> pd.DatetimeIndex:
        """When bars that START at ``timestamps`` are complete: start + timeframe, but no later than the close of their session.

        A daily bar is known at its session's close. Half days close early and so do their last bars.
        """
        starts = _as_ns(timestamps)
        closes = _table().closes[self._positions(starts)]
        if timeframe.is_daily:
            ends = closes
        else:
            ends = starts + timeframe.minutes * _MINUTE_NS
            ends = np.where((starts < closes) & (closes < ends), closes, ends)
        return pd.DatetimeIndex(pd.to_datetime(ends, unit="ns", utc=True), name="known_at")

    def in_session(self, timestamps: pd.DatetimeIndex, timeframe: Timeframe) -> npt.NDArray[np.bool_]:
        """Which bar starts belong to a session.

        Daily bars must start at an open. An intraday bar must overlap a session: the clock-aligned hour of 09:00 does (it covers 09:30
        to 10:00), a print stamped 16:00 does not.
        """
        starts, table = _as_ns(timestamps), _table()
        position = self._positions(starts)
        if timeframe.is_daily:
            return np.equal(table.opens[position], starts)
        return (starts < table.closes[position]) & (starts + timeframe.minutes * _MINUTE_NS > table.opens[position])

    def bounds_of(self, timestamps: pd.DatetimeIndex) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Open and close (UTC, ns since 1970) of the session of each of ``timestamps``, as :meth:`session_bounds`."""
        position = self._positions(_as_ns(timestamps))
        return _table().opens[position], _table().closes[position]

    def opens_of(self, dates: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, npt.NDArray[np.bool_]]:
        """Session opens (UTC) of naive ``dates``, and which dates are sessions at all (the opens of the others mean nothing)."""
        table = _table()
        wanted = dates.as_unit("ns").normalize()
        position = np.clip(table.dates.searchsorted(wanted), 0, len(table.dates) - 1)
        found = np.asarray(table.dates[position] == wanted, dtype=np.bool_)
        return pd.DatetimeIndex(pd.to_datetime(table.opens[position], unit="ns", utc=True)), found

    def _position(self, ts: datetime) -> int:
        position = bisect_right(_table().day_list, _ns(ts)) - 1
        if position < 0:
            raise BarDataError(f"a time between {FIRST_DAY} and {LAST_DAY}", str(ts))
        return position

    def _positions(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        position = np.searchsorted(_table().days, starts, side="right") - 1
        if len(position) and position.min() < 0:
            raise BarDataError(f"times between {FIRST_DAY} and {LAST_DAY}", str(pd.Timestamp(int(starts.min()), tz="UTC")))
        return position.astype(np.int64)


def _as_ns(timestamps: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    if timestamps.tz is None:
        raise BarDataError("aware time stamps", "naive ones", fix="Localise them, or set the time zone in the source's config.")
    return np.asarray(timestamps.as_unit("ns").asi8, dtype=np.int64)


def _session_date(bound: date | datetime | str) -> pd.Timestamp:
    stamp = pd.Timestamp(bound)
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("America/New_York").tz_localize(None)
    return stamp.normalize().as_unit("ns")
