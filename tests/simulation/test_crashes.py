"""A short day with entries that fill in parts, protection, a halt, a time exit and a flatten: the process is killed at every boundary."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alphatrade_pipelines.simulation.story import draw_story
from alphatrade_pipelines.simulation.tape import TapePlan
from alphatrade_pipelines.simulation.trader import SeededBrain
from alphatrade_pipelines.simulation.world import Report, World
from alphatrade_pipelines.trading.domain import Signal

OPEN = 5400.0  # the market opens an hour and a half after the venue begins
MINUTE = 60.0
BLOCKS = 4


class DayBrain(SeededBrain):
    """Opinions on two symbols after the first bar, one of them for twenty minutes only; one more just before everything is flattened."""

    def take(self, bars: Any) -> list[Signal]:
        signals = super().take(bars)
        return [
            replace(signal, hold_until=signal.decision_time + timedelta(minutes=20 if signal.symbol == "AAA" else 2000))
            for signal in signals
            if signal.symbol != "CCC" or signal.decision_time > self._quiet_from - timedelta(minutes=5)
        ]


class Day(World):
    """Seventy minutes of market. ``die_at``: the boundary at which the process is killed, counted from the first."""

    brain = DayBrain

    def __init__(self, die_at: int | None = None) -> None:
        tape = TapePlan(seed=3, first=draw_story(0).tape.first.replace(year=2024, month=2, day=5), days=1, wildness=0.3, silence=0.0)
        steps = (
            {"at": OPEN + 32 * MINUTE, "do": "operator", "request": "halt"},
            {"at": OPEN + 40 * MINUTE, "do": "operator", "request": "resume"},
        )
        quiet = replace(draw_story(0), tape=tape, profile="optimistic", partial_fills=1.0, signal_rate=1.0, latency=0.01, allow_short=False)
        super().__init__(replace(quiet, journal="memory", flatten=True, steps=steps))
        self.calm, self.ends = OPEN + 61 * MINUTE, OPEN + 71.5 * MINUTE
        self.die_at, self.boundaries = die_at, 0
        self._down = 1.0
        self._last: object = None

    def _boundary(self, point: str) -> None:
        """A crash matters by what it leaves behind: what is durable, and what the venue has done. Boundaries between which neither has
        changed leave the same, so each such state is one boundary."""
        left_behind = (self.store.head, self.exchange.book._events)
        if left_behind == self._last:
            return
        self._last = left_behind
        self.boundaries += 1
        if self.boundaries == self.die_at:
            raise self.killed(point)


def test_the_day_does_everything_it_is_meant_to() -> None:
    report = Day().play()
    assert report.violations == []
    assert report.orders["entry"] == 4  # AAA is flat again when the second bar comes
    assert report.orders["protect"] >= 2  # both entries fill in part, the rest is withdrawn
    assert report.orders["exit"] >= 2  # by time and by the operator
    assert report.struck["operator halt"] == report.struck["operator flatten at the end"] == 1


@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_crash_at_any_boundary_of_the_day_breaks_nothing(block: int) -> None:
    whole = Day()
    whole.play()
    assert whole.boundaries > 120
    crashed = 0
    for boundary in range(1 + block, whole.boundaries + 1, BLOCKS):
        report: Report = Day(boundary).play()
        assert report.violations == [], f"crash at boundary {boundary}: {report.violations}"
        crashed += report.struck["F25"]
    assert crashed == len(range(1 + block, whole.boundaries + 1, BLOCKS))
