"""Venue time against the wall clock: no drift, no storm, smooth between steps. The wall clock of these tests is a number."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from alphatrade_pipelines.venue.server.pacing import FIRST_NIGHT_SECONDS, FLOW_SECONDS, LATE_SECONDS, Pace, Pacer

OPEN = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
SESSION = timedelta(hours=6.5)
DAY = timedelta(days=1)


class World:
    """Sessions of ``every``-second steps, and a wall clock that a sleep oversleeps and a step holds up."""

    def __init__(self, days: int, every: float, *, oversleep: float = 0.0, step_takes: float = 0.0) -> None:
        count = int(SESSION.total_seconds() / every)
        self.opens = [OPEN + DAY * day for day in range(days)]
        self._points = [at + timedelta(seconds=every * number) for at in self.opens for number in range(count + 1)]
        self.now = OPEN - timedelta(hours=17)
        self.market_open = False
        self.wall = 1000.0
        self.oversleep, self.step_takes = oversleep, step_takes
        self.steps: list[tuple[float, datetime]] = []
        self.ticks: list[datetime] = []
        self.flowed = 0

    @property
    def next_step_at(self) -> datetime | None:
        return self._points[len(self.steps)] if len(self.steps) < len(self._points) else None

    @property
    def next_open(self) -> datetime:
        return next((at for at in self.opens if at > self.now), self.opens[-1] + DAY)

    def tick(self, at: datetime) -> None:
        assert self.now <= at
        self.now = at
        self.ticks.append(at)

    async def step(self) -> None:
        due = self.next_step_at
        assert due is not None
        assert due >= self.now, "time went backwards"
        self.now = due
        self.steps.append((self.wall, due))
        self.market_open = due not in {at + SESSION for at in self.opens}
        self.wall += self.step_takes

    async def has_flowed(self) -> None:
        self.flowed += 1

    async def sleep(self, seconds: float) -> None:
        assert 0 < seconds <= FLOW_SECONDS
        self.wall += seconds + self.oversleep
        await asyncio.sleep(0)

    def pacer(self, speed: float, night_seconds: float | None = 3.0) -> Pacer:
        return Pacer(self, Pace(speed, night_seconds), self.step, self.has_flowed, lambda: self.market_open, lambda: self.wall, self.sleep)

    def lateness(self) -> list[float]:
        """How much later than the first step of its day each step came, in wall seconds beyond what real time asks for."""
        by_day = [[step for step in self.steps if at <= step[1] <= at + SESSION] for at in self.opens]
        return [wall - day[0][0] - (at - day[0][1]).total_seconds() for day in by_day for wall, at in day]


async def test_a_day_in_real_time_does_not_drift_although_every_sleep_and_every_step_takes_too_long() -> None:
    world = World(1, every=60, oversleep=0.004, step_takes=0.05)
    await world.pacer(1.0).run()
    assert len(world.steps) == 391
    assert max(map(abs, world.lateness())) < 0.01  # one oversleep, after 93,000 sleeps and 391 steps
    assert world.wall - 1000 == pytest.approx(23_400 + FIRST_NIGHT_SECONDS, abs=0.1)


async def test_venue_time_flows_between_two_steps() -> None:
    world = World(1, every=11_700)
    await world.pacer(390.0).run()
    seen = sorted(at for at in [*world.ticks, *(at for _, at in world.steps)] if at >= OPEN)
    assert len(seen) > 200
    assert max((after - before).total_seconds() for before, after in pairwise(seen)) == pytest.approx(390 * FLOW_SECONDS)
    assert world.flowed == len(world.ticks)


@pytest.mark.parametrize(("night", "lasts"), [(3.0, 3.0), (0.5, 0.5), (None, 17.5 * 3600 / 390)])
async def test_a_session_lasts_a_minute_and_a_night_what_it_is_given(night: float | None, lasts: float) -> None:
    world = World(2, every=300)
    await world.pacer(390.0, night).run()
    at = {venue: wall for wall, venue in world.steps}
    assert at[OPEN] - 1000 == pytest.approx(min(FIRST_NIGHT_SECONDS, night or 99), abs=0.01)  # a stranger waits three seconds at most
    assert at[OPEN + SESSION] - at[OPEN] == pytest.approx(60, abs=0.01)
    assert at[OPEN + DAY] - at[OPEN + SESSION] == pytest.approx(lasts, abs=0.01)
    assert world.wall - 1000 == pytest.approx(120 + lasts + (at[OPEN] - 1000), abs=0.1)


async def test_after_an_hour_of_sleep_time_carries_on_where_it_stood_and_no_storm_of_steps_follows() -> None:
    world = World(1, every=60)
    pacer = world.pacer(1.0)
    sleep = world.sleep

    async def suspended(seconds: float) -> None:
        if len(world.steps) == 100 and not pacer.forgiven_seconds:
            world.wall += 3600
        await sleep(seconds)

    pacer._sleep = suspended
    await pacer.run()
    walls = [wall for wall, _ in world.steps]
    gaps = [after - before for before, after in pairwise(walls)]
    assert sum(gap > 3000 for gap in gaps) == 1
    assert min(gaps) > 59  # not one step was hurried
    assert pacer.forgiven_seconds == pytest.approx(3600, abs=61)


async def test_a_machine_too_slow_for_its_speed_falls_behind_and_says_so() -> None:
    world = World(1, every=60, step_takes=2.0)  # a step is due every 0.15 s
    pacer = world.pacer(390.0)
    await pacer.run()
    assert len(world.steps) == 391
    assert pacer.forgiven_seconds == pytest.approx(391 * 2.0 - 60, abs=2 * LATE_SECONDS + 2)


async def test_paused_time_stands_still_and_goes_on_from_there() -> None:
    world = World(1, every=60)
    pacer = world.pacer(60.0)
    running = asyncio.create_task(pacer.run())
    while len(world.steps) < 50:
        await asyncio.sleep(0)
    world.wall += 0.5
    pacer.pause()
    stood = world.now
    assert stood > world.steps[-1][1]
    for _ in range(100):
        world.wall += 10
        pacer.flow()
        await asyncio.sleep(0)
    assert (len(world.steps), world.now, pacer.paused) == (50, stood, True)
    await world.step()  # by hand, meanwhile
    resumed = world.wall
    pacer.resume()
    await running
    assert world.steps[51][0] - resumed == pytest.approx(1.0, abs=0.01)
    assert pacer.forgiven_seconds == 0


@pytest.mark.parametrize(("speed", "night"), [(0, 3.0), (-1, 3.0), (float("inf"), 3.0), (float("nan"), 3.0), (1, 0.0)])
def test_a_pace_that_is_none(speed: float, night: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Pace(speed, night)
