"""The life of a live session: connect, look, trade, tell, stop. One asyncio loop; one stimulus at a time.

Starting: streams first (nothing may happen between the first look and the first message), then clock and account, then the core,
which reads the broker and asks for every order whose fate the last run left open. Stopping: the core is told, and the session goes on
until everything is protected (or flat), or patience ends. Whatever happens, positions are protected by orders at the broker.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import structlog

from alphatrade_pipelines.live.control import ControlInbox
from alphatrade_pipelines.live.endpoints import check_arming
from alphatrade_pipelines.live.health import Heartbeat, write_heartbeat
from alphatrade_pipelines.live.inbox import Inbox, Kind, OperatorRequest, Stimulus, StopSession, Tick
from alphatrade_pipelines.live.instruments import Instruments, Outside
from alphatrade_pipelines.live.shell import Shell, utc_now
from alphatrade_pipelines.live.status import Observer, SessionResult, SessionStatus, StopSwitch, status_of
from alphatrade_pipelines.live.transport import BrokerUnavailableError
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import StopPolicy
from alphatrade_pipelines.trading.events import OperatorAsked, PriceSeen, SessionEnded, SessionStarted, StopAsked

log = structlog.get_logger(__name__)
Sink = Callable[[Stimulus], None]
SETTLE_LOOK_S = 0.5
START_ATTEMPTS = 4


class StreamPair(Protocol):
    """What the session needs of its streams."""

    @property
    def is_up(self) -> bool: ...

    @property
    def received(self) -> tuple[int, int]: ...

    def start(self) -> None: ...

    def reconnect_data(self) -> None: ...

    async def stop(self) -> None: ...


class Pace(Protocol):
    """Who supplies time: the wall clock, or a lockstep harness.

    ``begin`` is awaited once the streams are up and before anything else; ``run`` returns why it ended, and is cancelled when the
    session ends first.
    """

    async def begin(self, session: LiveSession) -> None: ...

    async def run(self, session: LiveSession) -> str: ...

    @property
    def progress(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """One session. Wall-clock seconds: ``status_every_s`` between statuses when nothing changes, ``status_least_s`` when much does;
    ``stop_patience_s`` to settle after a stop; ``connect_patience_s`` for the streams to come up at the start."""

    mode: str
    run_id: str
    core: CoreConfig
    armed_account: str | None = None
    status_every_s: float = 60.0
    status_least_s: float = 1.0
    stop_patience_s: float = 60.0
    connect_patience_s: float = 30.0
    heartbeat: Path | None = None
    heartbeat_every_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The outside of a session beside its instruments. ``catch_up(after, now)`` reads the complete bars that start after ``after`` from
    the broker's history; observers are called from a thread of their own, about once a minute and on change."""

    streams: Callable[[Sink], StreamPair]
    catch_up: Callable[[pd.Timestamp, datetime], pd.DataFrame]
    control: ControlInbox | None = None
    observers: tuple[Observer, ...] = ()


class LiveSession:
    """Build it, then ``await run(pace, switch)`` once."""

    def __init__(self, config: SessionConfig, tools: Instruments, around: Surroundings) -> None:
        self.config, self.tools, self.around = config, tools, around
        self.inbox = Inbox()
        self.streams = around.streams(self.inbox.put)
        self.shell = Shell(config.core, tools, self.inbox.put, Outside(around.catch_up, self.streams.reconnect_data))
        self.stopping: StopSession | None = None
        self._settle_until = float("inf")
        self._pace: Pace | None = None
        self._reporting: asyncio.Future[None] | None = None
        self._reported_at = float("-inf")
        self._reported: tuple[object, ...] = ()

    async def run(self, pace: Pace, switch: StopSwitch | None = None) -> SessionResult:
        """Trade until told to stop or until the pace ends.

        Raises: ArmingError; BrokerUnavailableError when the start fails; EngineError or JournalError when the core cannot go on.
        """
        self._pace = pace
        if switch is not None:
            self._listen(switch)
        helpers: list[asyncio.Task[None]] = []
        try:
            await self._start(pace)
            helpers = [asyncio.create_task(self._pulse()), asyncio.create_task(self._run_pace(pace))]
            for helper in helpers:
                helper.add_done_callback(self._wake_on_failure)
            while not self._is_over():
                await self._take(await self._next())
                _raise_failure(helpers)
                self._report()
            return await self._end()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self.streams.stop()
            self.shell.close()

    def _listen(self, switch: StopSwitch) -> None:
        loop = asyncio.get_running_loop()

        def pass_on(stop: StopSession) -> None:
            loop.call_soon_threadsafe(self.inbox.put, stop)

        switch.listen(pass_on)

    # ---- start

    async def _start(self, pace: Pace) -> None:
        shell, brain = self.shell, self.tools.brain
        self.streams.start()
        await self._wait_for_streams()
        await pace.begin(self)
        if not await shell.read_clock(START_ATTEMPTS):
            raise BrokerUnavailableError("the broker's clock could not be read: is the broker reachable?")
        account = await shell.call(lambda: self.tools.broker.account(START_ATTEMPTS))
        check_arming(self.config.mode, self.config.armed_account, account.account_number, brain.model.profile)
        missed = await shell.call(lambda: self.around.catch_up(brain.last_start, shell.now))
        core = self.config.core.to_json()
        await shell.pump(SessionStarted(shell.now, self.config.run_id, self.config.mode, brain.model, account, core, shell.previous))
        if shell.journal_was_damaged:  # what was lost may have been a halt, a tripped breaker, the day's trade count
            await shell.pump(OperatorAsked(shell.now, "halt", "the start from a damaged journal"))
        await shell.morning()
        for symbol, close in sorted(brain.last_closes().items()):
            if symbol not in shell.engine.state.marks:
                await shell.pump(PriceSeen(shell.now, symbol, Decimal(repr(close))))
        await shell.tick()
        await self._look_around()
        await self._decide_on(missed)

    async def _look_around(self) -> None:
        """What was missed is only decided on once the broker has been read."""
        await self.shell.finish_reading()
        while (done := self.inbox.pick(Kind.READ)) is not None:
            await self.shell.take(done)
            await self.shell.finish_reading()

    async def _wait_for_streams(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.config.connect_patience_s
        while not self.streams.is_up:
            if loop.time() > until:
                raise BrokerUnavailableError(
                    f"streams not subscribed within {self.config.connect_patience_s:.0f} s: check the keys, the network, and that "
                    "no other connection uses these keys"
                )
            await asyncio.sleep(0.02)

    async def _decide_on(self, missed: pd.DataFrame) -> None:
        """Bars that became known since the history ends: all are taken in, those of the latest timestamp are decided on.

        The core itself drops a decision it has already taken and a signal that is too old.
        """
        if not missed.empty:
            stamps = sorted(missed.index.get_level_values("timestamp").unique())
            frames = [missed[missed.index.get_level_values("timestamp") == stamp] for stamp in stamps]
            for frame in frames[:-1]:
                self.tools.brain.take(frame)
            await self.shell.decide_on(frames[-1])
        self.tools.builder.seen_until(self.tools.brain.last_start.to_pydatetime(warn=False))

    # ---- run

    async def _run_pace(self, pace: Pace) -> None:
        reason = await pace.run(self)
        self.inbox.put(StopSession(StopPolicy.PROTECT, reason))

    def _wake_on_failure(self, helper: asyncio.Task[None]) -> None:
        if not helper.cancelled() and helper.exception() is not None:
            self.inbox.put(Tick())

    async def _next(self) -> Stimulus:
        """The next stimulus; while settling after a stop, at least a look at the clock now and then."""
        if self.stopping is None:
            return await self.inbox.get()
        try:
            return await asyncio.wait_for(self.inbox.get(), SETTLE_LOOK_S)
        except TimeoutError:
            return Tick()

    async def _take(self, stimulus: Stimulus) -> None:
        if not isinstance(stimulus, StopSession):
            await self.shell.take(stimulus)
            if isinstance(stimulus, OperatorRequest) and stimulus.name and self.around.control is not None:
                self.around.control.settle(stimulus.name)
        elif self.stopping is None or stimulus.policy is StopPolicy.FLATTEN:
            self.stopping = stimulus
            self._settle_until = asyncio.get_running_loop().time() + self.config.stop_patience_s
            await self.shell.pump(StopAsked(self.shell.now, stimulus.policy, stimulus.reason))

    def _is_over(self) -> bool:
        if self.stopping is None:
            return False
        return not self.shell.engine.open_business() or asyncio.get_running_loop().time() > self._settle_until

    async def _end(self) -> SessionResult:
        assert self.stopping is not None
        left = tuple(self.shell.engine.open_business())
        await self.shell.pump(SessionEnded(self.shell.now, self.stopping.reason))
        self.shell.rest()
        if self.shell.engine.backlog:
            left = (*left, f"journal: {self.shell.engine.backlog} events could not be stored and are lost with this process")
        if self.around.control is not None:
            left = (*left, *(f"request {name} came too late and was not acted upon" for name in self.around.control.dismiss()))
        if left:
            log.error("session ended with open business", items=left)
        if self._reporting is not None:
            await self._reporting
        status = self.status()
        await asyncio.to_thread(self._observe, status)
        return SessionResult(status, self.stopping.reason, not left, left)

    # ---- tell

    def status(self) -> SessionStatus:
        """What the session would say of itself now."""
        progress = self._pace.progress if self._pace is not None else None
        shell = self.shell
        return status_of(
            shell.engine.state,
            shell.summary,
            shell.meter,
            streams_up=self.streams.is_up,
            alerts=shell.alerts,
            bars_quarantined=self.tools.gate.summary()["rejected"],
            progress=progress,
            previous_run=shell.previous,
            journal=shell.journal_state,
        )

    def _report(self) -> None:
        """Tell the observers when something changed (at most once in ``status_least_s``) and at least every ``status_every_s``."""
        now = asyncio.get_running_loop().time()
        age = now - self._reported_at
        if age < self.config.status_least_s or (self._reporting is not None and not self._reporting.done()):
            return
        status = self.status()
        if age >= self.config.status_every_s or status.change_key() != self._reported:
            self._reported_at, self._reported = now, status.change_key()
            self._reporting = asyncio.ensure_future(asyncio.to_thread(self._observe, status))

    def _observe(self, status: SessionStatus) -> None:
        for observer in self.around.observers:
            try:
                observer(status)
            except Exception:
                # a dashboard that fails must not end the protection of a position
                log.exception("observer failed")

    async def _pulse(self) -> None:
        """Heartbeat and operator requests; runs in the loop, so that a stuck loop stops beating."""
        while True:
            if self.config.heartbeat is not None:
                self._write_beat(self.config.heartbeat)
            if self.around.control is not None:
                for request in self.around.control.take():
                    self.inbox.put(request)
            self._report()
            await asyncio.sleep(self.config.heartbeat_every_s)

    def _write_beat(self, path: Path) -> None:
        """A disk that does not even take this must not end the protection of a position."""
        vitals = self.shell.vitals
        try:
            write_heartbeat(path, self._beat())
            vitals.good("heartbeat")
        except OSError as error:
            if "heartbeat" not in vitals.troubles:
                log.error("heartbeat not written", path=str(path), error=str(error))
            vitals.bad("heartbeat", str(error))

    def _beat(self) -> Heartbeat:
        state = "stopping" if self.stopping is not None else str(self.shell.engine.state.trading)
        config, shell = self.config, self.shell
        beat = Heartbeat(utc_now(), shell.now, os.getpid(), config.run_id, config.mode, state, self.streams.is_up)
        return replace(beat, naked=shell.meter.naked_now, degraded=self.degraded)

    @property
    def degraded(self) -> tuple[str, ...]:
        """What is wrong right now, one line a part; empty when all is well."""
        streams = () if self.streams.is_up else ("streams: not both subscribed",)
        journal = () if self.shell.journal_state == "sound" else (f"journal: {self.shell.journal_state}",)
        return (*streams, *journal, *self.shell.vitals.degraded)


def _raise_failure(helpers: list[asyncio.Task[None]]) -> None:
    for helper in helpers:
        error: Any = helper.exception() if helper.done() and not helper.cancelled() else None
        if error is not None:
            raise error


class WallClock:
    """The pace of the real world: the broker's clock every ``tick_s`` seconds, decisions as bars complete.

    ``sessions``: end this many market closes later (None: only when told to), ``linger_s`` wall seconds after the last of them, so that
    the day's bar and the decision on it are not missed.
    """

    progress: float | None = None

    def __init__(self, tick_s: float = 1.0, sessions: int | None = None, linger_s: float = 900.0) -> None:
        self._tick_s, self._sessions, self._linger_s = tick_s, sessions, linger_s

    async def begin(self, session: LiveSession) -> None:
        """The world needs no preparation; its time goes on even while the broker's clock cannot be read."""
        session.shell.free_running = True
        session.shell.steady = session.config.mode != "sim"  # a venue of ours may play a tape at any pace

    async def run(self, session: LiveSession) -> str:
        """Tick until cancelled or until the sessions are over. A tick that has not been worked off yet is not queued again."""
        from alphatrade_pipelines.live.inbox import Decide, Kind, Morning

        loop, state = asyncio.get_running_loop(), session.shell.engine.state
        closes, was_open, until = 0, state.market_open, float("inf")
        while loop.time() < until:
            if session.inbox.arrived(Kind.TICK) == session.inbox.taken[Kind.TICK]:
                for stimulus in (Morning(), Tick(), Decide()):
                    session.inbox.put(stimulus)
            closes += was_open and not state.market_open
            was_open = state.market_open
            if until == float("inf") and self._sessions is not None and closes >= self._sessions:
                until = loop.time() + self._linger_s
            await asyncio.sleep(self._tick_s)
        return f"{closes} market sessions are over"
