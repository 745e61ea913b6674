"""How long it takes from a cold process with a long journal until it may trade."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alphatrade_pipelines.simulation.journals import SqliteStore
from alphatrade_pipelines.simulation.story import draw_story
from alphatrade_pipelines.simulation.world import World
from alphatrade_pipelines.trading.events import BrokerSeen, ClockTicked, Event, PriceSeen

EVENTS = 10_000
SECONDS = 10.0


class Long(World):
    """A session whose journal holds thousands of events before its process starts."""

    ready_after: tuple[float, float] | None = None

    def _process(self):  # type: ignore[no-untyped-def]
        if isinstance(self.store, SqliteStore) and not self.report.processes:
            self.store.append_many(self.before)
            self.began = (time.process_time(), self.loop.time())
        return super()._process()

    def changes(self) -> tuple[object, ...]:
        if self.ready_after is None and self.session is not None:
            state = self.session.shell.engine.state
            if state.ready and state.session is not None and state.session.run_id == self._run_id:
                self.ready_after = (time.process_time() - self.began[0], self.loop.time() - self.began[1])
        return super().changes()


def history() -> list[Event]:
    """The events of a played session, then what a quiet broker says until there are enough, all before the next session begins."""
    story = replace(draw_story(1), journal="memory", flatten=True)
    world = World(story)
    world.play()
    events = [event for _, event in world.store.events()]
    reads = [event for event in events if isinstance(event, BrokerSeen | ClockTicked | PriceSeen)]
    last = events[-1].at
    while len(events) < EVENTS:
        last += timedelta(seconds=1)
        events.append(replace(reads[-1 - len(events) % 3], at=last))
    begins = World(story).loop.epoch
    early = last - begins + timedelta(hours=1)
    return [replace(event, at=event.at - early) for event in events]


def test_a_session_is_ready_within_ten_seconds_after_ten_thousand_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Long(replace(draw_story(1), journal="sqlite", steps=()))
    world.before = history()  # type: ignore[attr-defined]
    world.calm = world.ends = 1800.0  # half an hour before the open is enough to start
    world.play()
    assert world.report.events > EVENTS
    assert world.ready_after is not None
    wall, virtual = world.ready_after
    assert wall + virtual < SECONDS, f"{wall:.2f} s of processor time, {virtual:.2f} s until the broker had answered"
