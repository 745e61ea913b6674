"""How venue time follows the wall clock: real time (speed 1) or accelerated, with pauses. Stepped venues have no pacer.

While the market trades, ``speed`` venue seconds pass in a wall second; a night is squeezed into ``night_seconds`` of wall clock, or played
at the same speed. Every deadline is computed from a fixed pair of a wall instant and a venue instant, never from "now plus a wait", so
that neither the time a step takes nor an inexact sleep adds up: there is no drift, in a day or in a month. Between two steps venue time
flows (``Exchange.tick``).

No storm of steps follows an interruption. A venue that finds itself more than ``LATE_SECONDS`` behind (a stopped process, a machine too
slow for the speed asked for) lets the lost time go: venue time carries on from where it stood, at the same speed. A suspended laptop is
the same thing, or not even noticed: the monotonic clock of Linux and macOS stands still while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)
LATE_SECONDS = 1.0
FLOW_SECONDS = 0.25  # wall seconds between two looks at venue time: schedules in venue time are at most so late
FIRST_NIGHT_SECONDS = 3.0


class Timeline(Protocol):
    """The part of the exchange that a pacer moves."""

    now: datetime

    @property
    def next_step_at(self) -> datetime | None:
        """When the next step is due; None at the end of the tape."""

    @property
    def next_open(self) -> datetime:
        """The first session open after now."""

    def tick(self, at: datetime) -> None:
        """Let time pass up to ``at``, the next step at most."""


@dataclass(frozen=True, slots=True)
class Pace:
    """``speed``: venue seconds a wall second. ``night_seconds``: wall seconds of a night or a weekend, None = as long as ``speed`` makes
    it. The wait before the first session is never longer than three seconds."""

    speed: float
    night_seconds: float | None = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.speed < float("inf"):
            raise ValueError(f"expected speed > 0, found {self.speed}")
        if self.night_seconds is not None and not 0 < self.night_seconds < float("inf"):
            raise ValueError(f"expected nights of more than 0 seconds, found {self.night_seconds}")


@dataclass(slots=True)
class _Anchor:
    """At ``wall`` (monotonic seconds) it was ``venue``; from there on ``rate`` venue seconds a wall second pass."""

    wall: float
    venue: datetime
    rate: float

    def due(self, at: datetime) -> float:
        return self.wall + (at - self.venue).total_seconds() / self.rate

    def venue_at(self, wall: float) -> datetime:
        return self.venue + timedelta(seconds=(wall - self.wall) * self.rate)


class Pacer:
    """Takes the steps of a timeline when they are due. ``flowed`` is called whenever time has passed without a step; ``trading`` says
    whether prices are printed up to the next step (else it is night)."""

    def __init__(
        self,
        timeline: Timeline,
        pace: Pace,
        step: Callable[[], Awaitable[object]],
        flowed: Callable[[], Awaitable[object]],
        trading: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.pace = pace
        self.forgiven_seconds = 0.0
        self._timeline, self._step, self._flowed = timeline, step, flowed
        self._trading, self._clock, self._sleep = trading, clock, sleep
        self._first_night = True
        self._night: float | None = None  # the rate of the night that is passing
        self._anchor = _Anchor(clock(), timeline.now, self._rate())
        self._going = asyncio.Event()
        self._going.set()

    @property
    def paused(self) -> bool:
        """Does time stand still?"""
        return not self._going.is_set()

    def pause(self) -> None:
        """Let time stand still."""
        if not self.paused:
            self.flow()
            self._going.clear()

    def resume(self) -> None:
        """Let time go on from where it stands."""
        if self.paused:
            self._anchor = _Anchor(self._clock(), self._timeline.now, self._rate())
            self._going.set()

    def flow(self) -> None:
        """Bring venue time up to the wall clock, short of the next step."""
        if self.paused or self._timeline.next_step_at is None:
            return
        at = self._anchor.venue_at(self._clock())
        if self._timeline.now < at < self._timeline.next_step_at:
            self._timeline.tick(at)

    async def run(self) -> None:
        """Pace the timeline to its end."""
        self._anchor = _Anchor(self._clock(), self._timeline.now, self._rate())
        while True:
            await self._going.wait()
            at = self._timeline.next_step_at
            if at is None:
                return
            remaining = self._anchor.due(at) - self._clock()
            if remaining > 0:
                await self._sleep(min(remaining, FLOW_SECONDS))
                if remaining > FLOW_SECONDS and not self.paused:
                    self.flow()
                    await self._flowed()
                continue
            self._forgive(-remaining)
            await self._step()
            self._turn(at)
            await asyncio.sleep(0)  # at a speed the machine cannot keep up with, clients must still be served

    def _forgive(self, late: float) -> None:
        if late > LATE_SECONDS:
            self._anchor.wall += late
            self.forgiven_seconds += late
            log.warning("venue time stood still and carries on from there", wall_seconds=round(late, 3), at=self._timeline.now.isoformat())

    def _turn(self, at: datetime) -> None:
        """After the step of ``at``: if time passes at another rate from here on, it does so from the instant the step was due."""
        rate = self._rate()
        if rate != self._anchor.rate and not self.paused:
            self._anchor = _Anchor(self._anchor.due(at), at, rate)

    def _rate(self) -> float:
        if self._trading():
            self._night, self._first_night = None, False
            return self.pace.speed
        if self._night is None:
            self._night = self._night_rate()
        return self._night

    def _night_rate(self) -> float:
        speed, lasts = self.pace.speed, self.pace.night_seconds
        if self._first_night:
            lasts = FIRST_NIGHT_SECONDS if lasts is None else min(lasts, FIRST_NIGHT_SECONDS)
        if lasts is None:
            return speed
        return max(speed, (self._timeline.next_open - self._timeline.now).total_seconds() / lasts)
