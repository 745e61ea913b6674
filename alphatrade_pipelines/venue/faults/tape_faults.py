"""Surprises in the days to come: a split nobody has seen in the bars, a session that closes early. The rest of the tape is rewritten in
place, so that everything that reads it (prices, history, calendar, corporate actions) agrees."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market import SessionCalendar, Timeframe
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.tape import BarTape
from alphatrade_pipelines.venue.faults.scenario import ScenarioError

_NEW_YORK = ZoneInfo("America/New_York")
_AFTER_HOURS = timedelta(hours=4)
_PRICES = ("open", "high", "low", "close", "vwap")


class EarlyCloses(SessionCalendar):
    """The calendar of the exchange with some sessions cut short. ``closes``: the close of those, by New York date."""

    def __init__(self, closes: dict[date, datetime]) -> None:
        self.closes = closes

    def sessions(self, start: date | datetime | str, end: date | datetime | str) -> pd.DataFrame:
        """See :meth:`SessionCalendar.sessions`."""
        table = super().sessions(start, end)
        for day, close in self.closes.items():
            if pd.Timestamp(day) in table.index:
                table.loc[pd.Timestamp(day), "close"] = pd.Timestamp(close)
        return table

    def session_bounds(self, ts: datetime) -> tuple[datetime, datetime]:
        """See :meth:`SessionCalendar.session_bounds`."""
        opens, closes = super().session_bounds(ts)
        return opens, self.closes.get(self.session_of(ts), closes)

    def is_open(self, ts: datetime) -> bool:
        """See :meth:`SessionCalendar.is_open`."""
        early = self.closes.get(self.session_of(ts))
        return super().is_open(ts) and (early is None or ts < early)

    def next_close(self, ts: datetime) -> datetime:
        """See :meth:`SessionCalendar.next_close`."""
        close = super().next_close(ts)
        early = self.closes.get(self.session_of(close), close)
        return early if ts < early else self.next_close(close)

    def previous_close(self, ts: datetime) -> datetime:
        """See :meth:`SessionCalendar.previous_close`."""
        early = self.closes.get(self.session_of(ts))
        return early if early is not None and early <= ts else super().previous_close(ts)

    def known_at(self, timestamps: pd.DatetimeIndex, timeframe: Timeframe) -> pd.DatetimeIndex:
        """See :meth:`SessionCalendar.known_at`."""
        known = super().known_at(timestamps, timeframe)
        for day, close in self.closes.items():
            late = self._on(timestamps, day) & np.asarray(known > pd.Timestamp(close))
            known = known.where(~late, pd.Timestamp(close))
        return known

    def in_session(self, timestamps: pd.DatetimeIndex, timeframe: Timeframe) -> npt.NDArray[np.bool_]:
        """See :meth:`SessionCalendar.in_session`."""
        inside = super().in_session(timestamps, timeframe)
        for day, close in self.closes.items():
            inside &= ~(self._on(timestamps, day) & np.asarray(timestamps >= pd.Timestamp(close)))
        return inside

    def _on(self, timestamps: pd.DatetimeIndex, day: date) -> npt.NDArray[np.bool_]:
        return np.asarray(timestamps.tz_convert(_NEW_YORK).date == day)


def early_closes(calendar: SessionCalendar) -> dict[str, dict[str, str]]:
    """What differs in GET /v2/calendar, by date: ``close`` and the end of after hours."""
    closes = calendar.closes if isinstance(calendar, EarlyCloses) else {}
    return {
        day.isoformat(): {
            "close": f"{at.astimezone(_NEW_YORK):%H:%M}",
            "session_close": f"{(at + _AFTER_HOURS).astimezone(_NEW_YORK):%H%M}",
        }
        for day, at in closes.items()
    }


def check_early_close(text: str) -> time:
    """The time of day in HH:MM. Raises ScenarioError for anything else, or outside regular hours."""
    try:
        at = time.fromisoformat(text)
    except ValueError:
        at = time()
    if not time(9, 30) < at < time(16):
        raise ScenarioError(f"early_close: expected time as HH:MM between 09:31 and 15:59 New York, found {text!r}")
    return at


def early_close(exchange: Exchange, text: str) -> None:
    """Let the next session close at ``text`` (HH:MM New York)."""
    tape = exchange.tape
    day = tape.sessions[_next_session(exchange)].day
    close = datetime.combine(day, check_early_close(text), _NEW_YORK).astimezone(exchange.now.tzinfo)
    known = tape.calendar.closes if isinstance(tape.calendar, EarlyCloses) else {}
    _rewrite(exchange, tape.frame, EarlyCloses({**known, day: close}))


def split(exchange: Exchange, symbol: str, ratio: float) -> None:
    """Let ``symbol`` split before the next session: ``ratio`` new shares for each old one."""
    tape = exchange.tape
    morning = datetime.combine(tape.sessions[_next_session(exchange)].day, time(), _NEW_YORK)
    frame = tape.frame.copy()
    starts = frame.index.get_level_values(1)
    rows = (frame.index.get_level_values(0) == symbol) & (starts >= pd.Timestamp(morning))
    if not rows.any():
        raise ScenarioError(f"split: the tape has no bars of {symbol} after {morning.isoformat()}")
    for name in [name for name in _PRICES if name in frame.columns]:
        frame.loc[rows, name] /= ratio
    frame.loc[rows, "volume"] *= ratio
    splits = frame["split"].to_numpy(dtype=float, copy=True) if "split" in frame.columns else np.ones(len(frame))
    splits[np.flatnonzero(rows)[0]] *= ratio
    frame["split"] = splits
    _rewrite(exchange, frame, tape.calendar)


def _rewrite(exchange: Exchange, frame: pd.DataFrame, calendar: SessionCalendar) -> None:
    tape = exchange.tape
    vars(tape).update(vars(BarTape(frame, tape.timeframe, calendar, extended_hours=tape.extended_hours)))
    exchange.reread_tape()


def _next_session(exchange: Exchange) -> int:
    number = exchange.tape.first_session_after(exchange.now)
    if exchange.market_open and number < len(exchange.tape.sessions) and exchange.tape.sessions[number].open == exchange.now:
        number += 1  # it has just opened
    if number >= len(exchange.tape.sessions):
        raise ScenarioError("no session is left to change")
    return number
