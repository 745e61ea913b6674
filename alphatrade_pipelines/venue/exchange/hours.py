"""The parts of the trading day in New York: pre-market from 4:00, the regular session, after hours until four hours past the close
(20:00, on half days 17:00), night. OPG and CLS orders have hours of their own."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alphatrade_pipelines.market import SessionCalendar

NEW_YORK = ZoneInfo("America/New_York")
_AFTER_HOURS = timedelta(hours=4)
_OPG_CUTOFF, _CLS_CUTOFF = timedelta(minutes=2), timedelta(minutes=10)  # 9:28 before a 9:30 open, 15:50 before a 16:00 close
_EVENING = time(19, 0)
_PRE_MARKET = time(4, 0)
_AGEING = time(16, 15)


class TradingHours:
    """Questions about one calendar; the answers of the current day are kept."""

    def __init__(self, calendar: SessionCalendar) -> None:
        self.calendar = calendar
        self._next_close: datetime | None = None
        self._asked_from: datetime | None = None

    def next_close(self, at: datetime) -> datetime:
        """The close of the current session, else of the next."""
        if self._asked_from is None or self._next_close is None or not self._asked_from <= at < self._next_close:
            self._asked_from, self._next_close = at, self.calendar.next_close(at)
        return self._next_close

    def phase(self, at: datetime) -> str:
        """``pre_market``, ``regular``, ``after_hours`` or ``closed``."""
        if self.calendar.is_open(at):
            return "regular"
        day_open, day_close = self.calendar.session_bounds(at)
        if at >= day_close:
            inside = at < day_close + _AFTER_HOURS and _day(at) == _day(day_close)
            return "after_hours" if inside else "closed"
        return "pre_market" if _at(_day(day_open), _PRE_MARKET) <= at < day_open else "closed"

    def extended_end(self, at: datetime) -> datetime:
        """When a DAY order for extended hours ends: the end of after hours of this session day, else of the next."""
        if self.phase(at) == "after_hours":
            return self.calendar.session_bounds(at)[1] + _AFTER_HOURS
        return self.next_close(at) + _AFTER_HOURS

    def next_pre_market(self, at: datetime) -> datetime:
        """The start of the next pre-market (4:00 of the day of the next open), ``at`` itself inside one."""
        return max(at, _at(_day(self.calendar.next_open(at)), _PRE_MARKET))

    def refuses_opg(self, at: datetime) -> bool:
        """True from 9:28 to 19:00 on a day with a session."""
        day_open, _ = self.calendar.session_bounds(at)
        return _day(at) == _day(day_open) and day_open - _OPG_CUTOFF <= at < _at(_day(at), _EVENING)

    def refuses_cls(self, at: datetime) -> bool:
        """True from ten minutes before the close to 19:00 on a day with a session."""
        _, day_close = self.calendar.session_bounds(at)
        return _day(at) == _day(day_close) and day_close - _CLS_CUTOFF <= at < _at(_day(at), _EVENING)

    @staticmethod
    def ageing(created: datetime, days: int) -> datetime:
        """When the ageing job ends a GTC order: 16:15 New York of the day it is ``days`` old."""
        return _at(_day(created) + timedelta(days=days), _AGEING)


def _day(at: datetime) -> date:
    return at.astimezone(NEW_YORK).date()


def _at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, NEW_YORK).astimezone(UTC)
