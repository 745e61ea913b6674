"""The broker's clock may lie, leap and go back (F27): the core's timers go on all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from alphatrade_pipelines.live.session import WallClock
from alphatrade_pipelines.live.timekeeping import SLOW, SteadyClock
from alphatrade_pipelines.live.wire import BrokerClock

OPEN = datetime(2024, 3, 8, 14, 30, tzinfo=UTC)


def reads(seconds: float, *, is_open: bool = True) -> BrokerClock:
    return BrokerClock(OPEN + timedelta(seconds=seconds), is_open, OPEN + timedelta(days=1), OPEN + timedelta(hours=6.5))


def seconds_of(clock: SteadyClock) -> float:
    assert clock.last is not None
    return (clock.last.at - OPEN).total_seconds()


def played(offsets: list[float]) -> list[float]:
    """What the clock shows, second by second, when the broker's is ``offsets`` seconds off."""
    clock, shown = SteadyClock(), []
    for second, offset in enumerate(offsets):
        clock.take(reads(second + offset), 1000.0 + second, steady=True)
        shown.append(seconds_of(clock))
    return shown


def test_one_wrong_answer_costs_nothing() -> None:
    assert played([0, 0, 300, 0, 0]) == [0, 1, 2, 3, 4]
    assert played([0, 0, -300, 0, 0]) == pytest.approx([0, 1, 1 + SLOW, 3, 4])
    assert played([0, 300, 5000, 0]) == [0, 1, 2, 3], "two wrong answers that contradict each other are none"


def test_a_clock_that_says_so_twice_is_believed() -> None:
    """It was set, or this machine slept: monotonic time stands still meanwhile."""
    assert played([0, 3600, 3600, 3600]) == [0, 1, 3602, 3603]


@pytest.mark.parametrize("ahead", [5.0, 300.0])
def test_a_clock_that_was_ahead_is_caught_up_with_and_never_stands_still(ahead: float) -> None:
    shown = played([0.0, ahead, ahead] + [0.0] * 1500)
    steps = [after - before for before, after in pairwise(shown[2:])]
    assert min(steps) == pytest.approx(SLOW, abs=1e-3)
    assert shown[-1] == len(shown) - 1
    assert shown[3] > ahead, "no step back"


def test_answers_that_come_late_are_not_taken_for_a_leap() -> None:
    clock = SteadyClock()
    for second in range(30):
        late = 3.0 if second % 7 == 0 else 0.0
        assert clock.take(reads(second - late), 1000.0 + second, steady=True) == ""
        assert second - 3.0 <= seconds_of(clock) <= second


def test_the_first_reading_never_lies_before_the_end_of_the_journal() -> None:
    clock = SteadyClock(OPEN + timedelta(seconds=300))
    clock.take(reads(0), 0.0, steady=True)
    clock.take(reads(4), 4.0, steady=True)
    assert seconds_of(clock) == 300 + 4 * SLOW


def test_where_another_moves_the_time_each_reading_is_taken_as_it_is() -> None:
    clock = SteadyClock(OPEN + timedelta(days=9))
    for at in (0, 86_400, 5):
        assert clock.take(reads(at), 0.0, steady=False) == ""
        assert seconds_of(clock) == at


def test_a_reading_that_is_not_believed_is_said_and_the_session_still_closes_on_time() -> None:
    clock = SteadyClock()
    clock.take(reads(6.5 * 3600 - 2), 0.0, steady=True)
    assert "300 s ahead" in clock.take(reads(6.5 * 3600 + 301), 3.0, steady=True)
    assert clock.last is not None
    assert not clock.last.is_open


@pytest.mark.parametrize(("mode", "steady"), [("sim", False), ("paper", True), ("live", True)])
async def test_only_alpacas_seconds_are_taken_for_ours(mode: str, steady: bool) -> None:
    """A venue of ours may play its tape at any pace: every reading of it looks like a leap."""
    session: Any = SimpleNamespace(shell=SimpleNamespace(free_running=False, steady=False), config=SimpleNamespace(mode=mode))
    await WallClock().begin(session)
    assert (session.shell.free_running, session.shell.steady) == (True, steady)
