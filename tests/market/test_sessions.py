"""Sessions against exchange_calendars itself and against days everybody remembers."""

from __future__ import annotations

from datetime import UTC, date, datetime

import exchange_calendars
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrade_pipelines.market import BarDataError, SessionCalendar, Timeframe

CALENDAR = SessionCalendar()
XNYS = exchange_calendars.get_calendar("XNYS", start="1999-01-01", end="2026-12-31")
moments = st.datetimes(datetime(2000, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC))


def utc(text: str) -> datetime:
    return pd.Timestamp(text, tz="UTC").to_pydatetime()


def test_sessions_equal_the_library() -> None:
    ours = CALENDAR.sessions("2000-01-01", "2026-06-30")
    theirs = XNYS.schedule.loc["2000-01-01":"2026-06-30"]
    assert list(ours.index) == list(theirs.index)
    assert (ours["open"].array == theirs["open"].array).all()
    assert (ours["close"].array == theirs["close"].array).all()


@settings(max_examples=60, deadline=None)
@given(moments)
def test_questions_about_a_moment_equal_the_library(ts: datetime) -> None:
    stamp = pd.Timestamp(ts).floor("1min")
    at = stamp.to_pydatetime()
    assert CALENDAR.is_open(at) == XNYS.is_open_on_minute(stamp, ignore_breaks=True)
    assert CALENDAR.next_open(at) == XNYS.next_open(stamp)
    assert CALENDAR.next_close(at) == XNYS.next_close(stamp)
    before = XNYS.previous_close(stamp + pd.Timedelta(minutes=1))
    assert CALENDAR.previous_close(at) == before


def test_remarkable_days() -> None:
    sessions = CALENDAR.sessions("2001-09-10", "2001-09-18")
    assert [day.day for day in sessions.index] == [10, 17, 18]
    assert CALENDAR.sessions("2012-10-29", "2012-10-30").empty  # hurricane Sandy
    half = CALENDAR.sessions("2012-11-23", "2012-11-23")
    assert half["close"].iloc[0] == pd.Timestamp("2012-11-23T18:00Z")
    assert CALENDAR.sessions("2025-01-09", "2025-01-09").empty  # national day of mourning


def test_answers_are_plain_utc_datetimes() -> None:
    answer = CALENDAR.next_open(utc("2013-01-04 22:00"))
    assert type(answer) is datetime
    assert answer.tzinfo is UTC
    assert answer == utc("2013-01-07 14:30")
    assert type(CALENDAR.session_of(answer)) is date


def test_open_is_inside_and_close_is_outside() -> None:
    assert not CALENDAR.is_open(utc("2013-01-04 14:29:59"))
    assert CALENDAR.is_open(utc("2013-01-04 14:30"))
    assert CALENDAR.is_open(utc("2013-01-04 20:59:59"))
    assert not CALENDAR.is_open(utc("2013-01-04 21:00"))


def test_the_session_of_a_moment_is_that_of_its_new_york_day() -> None:
    friday = date(2013, 1, 4)
    for moment in ("2013-01-04 14:30", "2013-01-04 21:00", "2013-01-05 02:00", "2013-01-06 12:00", "2013-01-04 05:00"):
        assert CALENDAR.session_of(utc(moment)) == friday, moment
    assert CALENDAR.session_bounds(utc("2013-01-04 21:00")) == (utc("2013-01-04 14:30"), utc("2013-01-04 21:00"))


def test_adding_sessions_counts_from_the_bar_and_from_its_close_alike() -> None:
    for moment in ("2012-11-21 14:30", "2012-11-21 21:00"):  # the day before Thanksgiving
        assert CALENDAR.add_sessions(utc(moment), 0) == utc("2012-11-21 21:00")
        assert CALENDAR.add_sessions(utc(moment), 1) == utc("2012-11-23 18:00")
        assert CALENDAR.add_sessions(utc(moment), 2) == utc("2012-11-26 21:00")
    assert CALENDAR.add_sessions(utc("2012-11-26 15:00"), -1) == utc("2012-11-23 18:00")


def test_daily_bars_are_known_at_the_close() -> None:
    opens = CALENDAR.sessions("2012-11-19", "2012-12-31")
    known = CALENDAR.known_at(pd.DatetimeIndex(opens["open"]), Timeframe.parse("1Day"))
    assert (known == pd.DatetimeIndex(opens["close"])).all()


def test_intraday_bars_are_known_at_their_end_but_not_after_the_close() -> None:
    hour = Timeframe.parse("1Hour")
    starts = pd.DatetimeIndex(["2013-01-04T14:00Z", "2013-01-04T15:00Z", "2013-01-04T20:30Z", "2012-11-23T17:30Z", "2013-01-04T22:00Z"])
    expected = ["2013-01-04T15:00Z", "2013-01-04T16:00Z", "2013-01-04T21:00Z", "2012-11-23T18:00Z", "2013-01-04T23:00Z"]
    assert list(CALENDAR.known_at(starts, hour)) == list(pd.DatetimeIndex(expected))
    assert CALENDAR.known_at(starts.as_unit("us"), hour).equals(CALENDAR.known_at(starts.as_unit("ns"), hour))


def test_naive_and_impossible_times_are_refused() -> None:
    naive = datetime(2013, 1, 4)
    with pytest.raises(BarDataError, match="an aware time stamp"):
        CALENDAR.is_open(naive)
    with pytest.raises(BarDataError, match="aware time stamps"):
        CALENDAR.known_at(pd.DatetimeIndex([naive]), Timeframe.parse("1Day"))
    with pytest.raises(BarDataError, match="outside the calendar"):
        CALENDAR.next_open(utc("2050-01-01"))
    with pytest.raises(BarDataError, match="between 1970"):
        CALENDAR.session_of(utc("1950-01-01"))
