"""A process dies as a whole, also where a task beside the session's own meets the point of its death."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alphatrade_pipelines.live.shell import Shell
from alphatrade_pipelines.simulation.life import Killed, Life, OwnJournal
from alphatrade_pipelines.simulation.story import draw_story
from alphatrade_pipelines.simulation.world import World


class DiesLookingUpAssets(World):
    """The first process is killed in the first read of the background look-up of assets."""

    looking = died = False
    streams_left: tuple[Any, ...] = ()

    def _boundary(self, point: str) -> None:
        if self.looking and not self.died and point == "during read":
            self.died, self._down = True, 30.0
            self.loop.call_later(1.0, self._count_streams)
            raise self.killed(point)

    def _count_streams(self) -> None:
        hubs = (self.server.trade_updates, self.server.market_data)
        self.streams_left = tuple(len(hub.connections) for hub in hubs)


def test_a_kill_in_a_background_task_ends_the_process_and_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    story = draw_story(0)
    world = DiesLookingUpAssets(replace(story, tape=replace(story.tape, days=1), journal="memory", steps=(), latency=0.01))
    look_up = Shell._look_up_assets

    async def watched(self: Shell, key: Any) -> None:
        world.looking = True
        try:
            await look_up(self, key)
        finally:
            world.looking = False

    monkeypatch.setattr(Shell, "_look_up_assets", watched)
    report = world.play()
    assert world.died
    assert report.struck["crash during read"] == 1
    assert report.processes == 2
    assert world.streams_left == (0, 0)
    assert report.violations == []


def test_the_dead_neither_append_nor_reach_another_boundary_nor_wake_up() -> None:
    world = World(draw_story(0))

    def trap(point: str) -> None:
        if point == "after append":
            raise Killed(point)

    life, appended = Life(world.loop, trap), []

    class Rows:
        def append_many(self, events: Any) -> int:
            appended.append(events)
            return 1

    journal = OwnJournal(Rows(), life, lambda: False)  # type: ignore[arg-type]
    journal.append_many(())
    life.boundary("before read")
    with pytest.raises(Killed):
        life.boundary("after append")
    for act in (lambda: life.boundary("before read"), lambda: journal.append_many(()), lambda: life.sleep(60.0)):
        with pytest.raises(Killed, match="after append"):
            act()
    assert len(appended) == 1
    assert world.loop.time() < 60.0
    world.loop.close()
