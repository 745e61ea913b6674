"""The shell around the core: stimuli become events, commands become calls, outcomes become events again, until nothing follows.

Nothing is decided here. REST calls run in worker threads, so the loop keeps reading the streams while the broker thinks. Orders are sent
one after the other and their answers awaited; a reconciliation read runs beside them, so that one that hangs never holds up an exit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import pandas as pd
import structlog

from alphatrade_pipelines.journal import RunEnd, Snapshotter, Start
from alphatrade_pipelines.journal.runs import LastRun
from alphatrade_pipelines.journal.snapshots import Parts
from alphatrade_pipelines.live.bars import COLUMNS, NEW_YORK, BarBuilder
from alphatrade_pipelines.live.brain import Brain, ModelProvider
from alphatrade_pipelines.live.gateway import Broker
from alphatrade_pipelines.live.inbox import (
    BarArrived,
    Decide,
    Morning,
    OperatorRequest,
    ReadDone,
    Stimulus,
    StreamChanged,
    Tick,
    UpdateArrived,
)
from alphatrade_pipelines.live.memory import blank, fold
from alphatrade_pipelines.live.transport import BrokerUnavailableError
from alphatrade_pipelines.live.wire import BrokerClock, WireError, trade_update
from alphatrade_pipelines.market.gate import BarGate, GateConfig, LiveBar
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe
from alphatrade_pipelines.reporting.protection import ProtectionMeter
from alphatrade_pipelines.reporting.summary import Summary
from alphatrade_pipelines.trading.commands import Command, RaiseAlert, ReadBroker
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.engine import Engine, EventLog
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    BrokerSeen,
    ClockTicked,
    CorporateActionApplied,
    Event,
    ModelSwapped,
    OperatorAsked,
    PriceSeen,
    SignalReceived,
    StreamStateSeen,
)

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")
# splits and dividends are asked for from an hour before the open on: by then the broker has converted positions
PRE_OPEN = timedelta(hours=1)
ALERT_LOG = {"INFO": "info", "WARNING": "warning", "CRITICAL": "error"}


class TalliedLog:
    """A journal whose every durable event also feeds the counters."""

    def __init__(self, inner: EventLog, summary: Summary, run: LastRun | None = None) -> None:
        self._inner, self._summary, self._run = inner, summary, run

    @property
    def trouble(self) -> str:
        """Why entries must halt although the journal still takes events."""
        return str(getattr(self._inner, "trouble", ""))

    def append(self, event: Event) -> int:
        """Store one event durably, then count it."""
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        """Store a batch durably, then count it."""
        last = self._inner.append_many(events)
        for seq, event in enumerate(events, last - len(events) + 1):
            self._summary.add(event)
            if self._run is not None:
                self._run.add(seq, event)
        return last

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Stored events with sequence numbers >= ``from_seq``."""
        return self._inner.events(from_seq)


def _read_all(journal: EventLog, core: CoreConfig) -> Parts:
    memory = blank(core)
    for _, event in journal.events():
        fold(memory, event)
    return memory


def gate_for(timeframe: Timeframe, history: pd.DataFrame, calendar: SessionCalendar, config: GateConfig | None = None) -> BarGate:
    """The gate of a time frame, seeded with history. A day may gap by an earnings surprise: daily bars may move 60 %, others 20 %."""
    gate = BarGate(timeframe, config or (GateConfig(max_jump=0.60) if timeframe.is_daily else GateConfig()), calendar)
    gate.seed(history)
    return gate


@dataclass(frozen=True, slots=True)
class Instruments:
    """What the shell works with. ``start`` is what the journal comes to (None: the shell reads it all itself)."""

    broker: Broker
    journal: EventLog
    brain: Brain
    builder: BarBuilder
    calendar: SessionCalendar
    gate: BarGate
    provider: ModelProvider | None = None
    start: Start | None = None
    snapshotter: Snapshotter | None = None


class Shell:
    """Takes stimuli one at a time. ``engine`` is the replayed core; ``summary`` and ``meter`` cover the whole journal."""

    def __init__(self, core: CoreConfig, tools: Instruments, put: Callable[[Stimulus], None]) -> None:
        """``put`` hands a stimulus to the session: what a background read brought comes back that way."""
        self.tools = tools
        self._put = put
        self.memory = tools.start.parts if tools.start is not None else _read_all(tools.journal, core)
        self.summary: Summary = self.memory["summary"]
        self.meter: ProtectionMeter = self.memory["meter"]
        self.engine = Engine(core, TalliedLog(tools.journal, self.summary, self.memory.get("run")), self.memory["core"])
        self.alerts = 0
        self._clock: BrokerClock | None = None
        self._morning_done: date | None = None
        self._orders, self._reads, self._glances = (
            ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("orders", "reads", "glances")
        )
        self._reading: asyncio.Task[None] | None = None
        self._read_again = ""

    @property
    def now(self) -> datetime:
        """The broker's time as last read: the stamp of every event until it is read again."""
        if self._clock is None:
            raise RuntimeError("the broker's clock has not been read yet")
        return self._clock.at

    @property
    def previous(self) -> str:
        """How the run before this one ended, in one sentence."""
        return self.tools.start.previous.headline if self.tools.start is not None else ""

    @property
    def journal_was_damaged(self) -> bool:
        """Acknowledged events of earlier runs are missing or were changed."""
        return self.tools.start is not None and self.tools.start.previous.end is RunEnd.DAMAGED

    @property
    def journal_state(self) -> str:
        """For people: is the journal sound, and if not, how much waits in memory?"""
        if not self.engine.impaired:
            return "sound"
        return f"cannot be written: {self.engine.backlog} events wait in memory; entries are halted, exits go on"

    async def call(self, function: Callable[[], Answer]) -> Answer:
        """Run something short that blocks, a glance at the broker, in a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._glances, function)

    def close(self) -> None:
        """Let the worker threads end once their calls are over."""
        if self._reading is not None:
            self._reading.cancel()
        for worker in (self._orders, self._reads, self._glances):
            worker.shutdown(wait=False)

    # ---- the core's loop

    async def pump(self, event: Event) -> None:
        """Hand an event to the engine, execute what it commands, hand back what came of it, until nothing follows."""
        todo = deque([event])
        while todo:
            commands = self.engine.handle(todo.popleft())
            self.meter.observe(self.engine.state)
            self._keep(final=False)
            for command in commands:
                answer = await self._execute(command)
                if answer is not None:
                    todo.append(answer)

    def _keep(self, *, final: bool) -> None:
        """A snapshot when one is due, or now at the end; never while events wait to be stored."""
        keeper = self.tools.snapshotter
        if keeper is None or self.engine.backlog:
            return
        if final:
            keeper.take(self.memory)
        else:
            keeper.offer(lambda: self.memory)

    def rest(self) -> None:
        """The session is over: keep what it came to, so that the next one starts from there."""
        self._keep(final=True)

    async def _execute(self, command: Command) -> Event | None:
        if isinstance(command, RaiseAlert):
            self.alerts += 1
            say = getattr(log, ALERT_LOG.get(command.level, "error"))
            say("alert", level=command.level, code=command.code, detail=command.detail)
            return None
        if isinstance(command, ReadBroker):
            self._read(command)
            return None
        at = self.now
        return await asyncio.get_running_loop().run_in_executor(self._orders, lambda: self.tools.broker.execute(command, at))

    # ---- reads

    @property
    def is_reading(self) -> bool:
        """A reconciliation read is under way."""
        return self._reading is not None and not self._reading.done()

    def _read(self, command: ReadBroker) -> None:
        """Read the broker in the background; asked again meanwhile, read once more afterwards: the first may have looked too early."""
        if self.is_reading:
            self._read_again = command.reason
            return
        self._reading = asyncio.create_task(self._read_in_background(command))

    async def _read_in_background(self, command: ReadBroker) -> None:
        at, broker = self.now, self.tools.broker
        seen: BrokerSeen | None = None
        failure: BaseException | None = None
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._reads, lambda: broker.execute(command, at))
            seen = answer if isinstance(answer, BrokerSeen) else None
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the stimulus: a task of its own must not hide it
            failure = error
        again, self._read_again = self._read_again, ""
        self._put(ReadDone(seen, again, failure))

    async def finish_reading(self) -> None:
        """Wait for the read that is under way, if there is one; its answer is a stimulus like any other."""
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _seen(self, done: ReadDone) -> None:
        if done.error is not None:
            raise done.error
        if done.seen is not None:  # no answer is no news; the next tick asks again
            await self.pump(done.seen)
            if done.again:
                self._read(ReadBroker(done.again))

    # ---- stimuli

    async def take(self, stimulus: Stimulus) -> None:
        """Work off one stimulus completely."""
        match stimulus:
            case Tick():
                await self.tick()
            case Morning():
                await self.morning()
            case UpdateArrived(data=data):
                await self._update(data)
            case ReadDone():
                await self._seen(stimulus)
            case BarArrived():
                self.tools.builder.add(stimulus)
            case Decide():
                await self.decide()
            case StreamChanged():
                await self._stream(stimulus)
            case OperatorRequest():
                await self.pump(OperatorAsked(self.now, stimulus.request, stimulus.who))

    async def read_clock(self, attempts: int = 1) -> bool:
        """Ask the broker for the time; False, and the last known time stands, when it does not answer."""
        try:
            self._clock = await self.call(lambda: self.tools.broker.clock(attempts))
        except (BrokerUnavailableError, WireError) as error:
            log.error("clock not read", error=str(error))
            return False
        return True

    async def tick(self) -> None:
        """Tell the core the time."""
        if await self.read_clock():
            await self.pump(self.ticked())

    def ticked(self) -> ClockTicked:
        """The clock as last read."""
        assert self._clock is not None
        return ClockTicked(self._clock.at, self._clock.is_open, self._clock.next_open, self._clock.next_close)

    async def morning(self) -> None:
        """Once a session day, from an hour before its open: splits and dividends, before anything else of that day is worked off."""
        if not await self.read_clock():
            return
        day = pd.Timestamp(self.now).tz_convert(NEW_YORK).date()
        if day == self._morning_done or not self._is_session_morning(day):
            return
        symbols = self.tools.builder.symbols
        try:
            actions = await self.call(lambda: self.tools.broker.corporate_actions(symbols, day, day))
        except (BrokerUnavailableError, WireError) as error:
            log.error("corporate actions not read", day=str(day), error=str(error))
            return
        for action in actions:
            self.tools.builder.corporate_action(action.symbol, day, float(action.split), float(action.dividend))
            await self.pump(CorporateActionApplied(self.now, action.symbol, action.split, action.dividend))
        self._morning_done = day

    def _is_session_morning(self, day: date) -> bool:
        span = self.tools.calendar.sessions(day, day)
        return not span.empty and pd.Timestamp(self.now) >= span["open"].iloc[0] - PRE_OPEN

    async def _update(self, data: object) -> None:
        try:
            update = trade_update(data, self.now)  # type: ignore[arg-type]
        except WireError as error:
            log.error("unreadable trade update", error=str(error), data=repr(data)[:500])
            self.reread("unreadable trade update")
            return
        await self.pump(update)

    async def _stream(self, change: StreamChanged) -> None:
        if change.garbled:
            self.reread(f"{change.name}: {change.detail}")
        else:
            await self.pump(StreamStateSeen(self.now, change.name, change.connected, change.detail))

    def reread(self, reason: str) -> None:
        """What a lost or garbled message said can only be had by asking."""
        self._read(ReadBroker(reason))

    # ---- bars

    async def decide(self) -> None:
        """Work off every timestamp that is complete, oldest first; between bars, go on with a better model if there is one.

        Without a look at the broker every signal would be denied: while one is on its way, decisions wait for it (and soon come late).
        """
        if not self.engine.state.ready and self.is_reading:
            return
        for bars in self.tools.builder.complete(self.now):
            sound, late = self._judge(bars)
            if sound.empty:
                continue
            if late:
                log.warning("late bars taken in, not decided on", start=str(sound.index[0][1]), now=self.now.isoformat())
                self.tools.brain.take(sound)
            else:
                await self.decide_on(sound)
            await self._swap_model()

    def _judge(self, bars: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
        """The rows the gate lets pass (the others are quarantined there, and said aloud), and whether they come too late to act on.

        Lateness is no fault of the numbers: a late bar belongs into the features, or every one after it would differ from training.
        """
        symbols, starts = bars.index.get_level_values("symbol"), pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
        gate = self.tools.gate
        known: datetime = self.tools.calendar.known_at(starts[:1], gate.timeframe)[0].to_pydatetime(warn=False)
        late = self.now > known + timedelta(seconds=gate.config.max_delay_seconds)
        passed = []
        for symbol, start, row in zip(symbols, starts, bars[list(COLUMNS)].to_dict("records"), strict=True):
            bar = LiveBar(str(symbol), start.to_pydatetime(warn=False), **{str(name): float(value) for name, value in row.items()})
            verdict = gate.check(bar, known if late else self.now)
            passed.append(verdict.accepted)
            if not verdict.accepted:
                faults = [str(fault) for fault in verdict.faults]
                log.error("bar quarantined", symbol=symbol, start=str(start), faults=faults, detail=verdict.detail)
        return bars[passed], late

    async def decide_on(self, bars: pd.DataFrame) -> None:
        """Prices, account, signals: in this order, as in the backtest."""
        for symbol, close, volume in zip(bars.index.get_level_values("symbol"), bars["close"], bars["volume"], strict=True):
            await self.pump(PriceSeen(self.now, str(symbol), Decimal(repr(float(close))), Decimal(repr(float(volume)))))
        try:
            account = await self.call(self.tools.broker.account)
        except (BrokerUnavailableError, WireError) as error:
            log.error("account not read", error=str(error))
        else:
            await self.pump(AccountSeen(self.now, account))
        for signal in self.tools.brain.take(bars):
            await self.pump(SignalReceived(self.now, signal))

    async def _swap_model(self) -> None:
        provider, brain = self.tools.provider, self.tools.brain
        if provider is None:
            return
        found = await self.call(lambda: provider(brain.model))
        if found is not None and found[1] != brain.model:
            brain.swap(*found)
            await self.pump(ModelSwapped(self.now, brain.model))


def utc_now() -> datetime:
    """Wall clock, for records of people; the core never sees it."""
    return datetime.now(UTC)
