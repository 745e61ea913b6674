"""The shell around the core: stimuli become events, commands become calls, outcomes become events again, until nothing follows.

Nothing is decided here. REST calls run in worker threads, so the loop keeps reading the streams while the broker thinks. Orders are sent
one after the other and their answers awaited; a reconciliation read runs beside them, so that one that hangs never holds up an exit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import pandas as pd
import structlog

from alphatrade_pipelines.live.bars import COLUMNS, NEW_YORK
from alphatrade_pipelines.live.inbox import (
    AssetsFound,
    BarArrived,
    BarsFound,
    Decide,
    Morning,
    OperatorRequest,
    ReadDone,
    Stimulus,
    StreamChanged,
    Tick,
    UpdateArrived,
)
from alphatrade_pipelines.live.instruments import Instruments, Outside, TalliedLog, read_all
from alphatrade_pipelines.live.timekeeping import SteadyClock
from alphatrade_pipelines.live.transport import BrokerUnavailableError
from alphatrade_pipelines.live.vitals import BarWatch, Vitals
from alphatrade_pipelines.live.wire import BrokerClock, WireError, trade_update
from alphatrade_pipelines.market.gate import LiveBar
from alphatrade_pipelines.reporting.protection import ProtectionMeter
from alphatrade_pipelines.reporting.summary import Summary
from alphatrade_pipelines.trading.commands import Command, RaiseAlert, ReadBroker
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import AssetState
from alphatrade_pipelines.trading.engine import Engine
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    AssetSeen,
    BrokerSeen,
    ClockTicked,
    CorporateActionApplied,
    Event,
    ModelSwapped,
    OperatorAsked,
    Outcome,
    PriceSeen,
    SignalReceived,
    StreamStateSeen,
)

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")
# splits and dividends are asked for from an hour before the open on: by then the broker has converted positions
PRE_OPEN = timedelta(hours=1)
# a read is slow from here on, and corporate actions that could not be read are asked for again after so long
SLOW_READ_S = 5.0
ACTIONS_PAUSE_S = 30.0
# where the market's time runs faster than ours, it is no silence if a bar came so many of our seconds ago
HASTY_S = 10.0
ALERT_LOG = {"INFO": "info", "WARNING": "warning", "CRITICAL": "error"}


class Shell:
    """Takes stimuli one at a time. ``engine`` is the replayed core; ``summary`` and ``meter`` cover the whole journal."""

    def __init__(self, core: CoreConfig, tools: Instruments, put: Callable[[Stimulus], None], outside: Outside) -> None:
        """``put`` hands a stimulus to the session: what a background read brought comes back that way."""
        self.tools = tools
        self._put = put
        self.catch_up, self.reconnect_data = outside.catch_up, outside.reconnect_data
        self.memory = tools.start.parts if tools.start is not None else read_all(tools.journal, core)
        self.summary: Summary = self.memory["summary"]
        self.meter: ProtectionMeter = self.memory["meter"]
        self.engine = Engine(core, TalliedLog(tools.journal, self.summary, self.memory.get("run")), self.memory["core"])
        self.alerts = 0
        self._time = SteadyClock(self.engine.state.now)
        self._morning_done: date | None = None
        self._orders, self._reads, self._glances, self._history, self._listings = (
            ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("orders", "reads", "glances", "history", "listings")
        )
        self._reading: asyncio.Task[None] | None = None
        self._finding: asyncio.Task[None] | None = None
        self._listing: asyncio.Task[None] | None = None
        self._assets_of: tuple[date, bool] | None = None
        self._heard_at = float("-inf")
        self._renew_at = timedelta(0)
        self._bars_lost = False
        self._read_again = ""
        self._told_left_alone = False
        self.vitals, self._bars_heard = Vitals(), BarWatch(tools.builder.timeframe)
        self.free_running = False  # time goes on while nobody can read it; not where a harness moves it
        self.steady = False  # a second of the broker's is one of ours; not at a venue of another pace
        self._actions_after = float("-inf")

    @property
    def now(self) -> datetime:
        """The broker's time as last read: the stamp of every event until it is read again."""
        return self._clock.at

    @property
    def _clock(self) -> BrokerClock:
        if self._time.last is None:
            raise RuntimeError("the broker's clock has not been read yet")
        return self._time.last

    @property
    def previous(self) -> str:
        """How the run before this one ended, in one sentence."""
        return self.tools.start.previous.headline if self.tools.start is not None else ""

    @property
    def journal_was_damaged(self) -> bool:
        """Acknowledged events of earlier runs are missing or were changed, and no halt that says so stands in the journal."""
        return self.tools.start is not None and self.tools.start.previous.needs_review

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
        for task in (self._reading, self._finding, self._listing):
            if task is not None:
                task.cancel()
        for worker in (self._orders, self._reads, self._glances, self._history, self._listings):
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
        answer = await asyncio.get_running_loop().run_in_executor(self._orders, lambda: self.tools.broker.execute(command, at))
        self._judge_answer(answer)
        return answer

    def _judge_answer(self, answer: Event | None) -> None:
        if getattr(answer, "outcome", None) in (Outcome.UNKNOWN, Outcome.UNSENT):
            self.vitals.bad("orders", f"{type(answer).__name__} {getattr(answer, 'outcome', '')}: {getattr(answer, 'reason', '')}")
        elif answer is not None:
            self.vitals.good("orders")

    # ---- reads

    @property
    def is_reading(self) -> bool:
        """A read in the background is under way, of the broker or of missing bars."""
        return any(task is not None and not task.done() for task in (self._reading, self._finding, self._listing))

    def _read(self, command: ReadBroker) -> None:
        """Read the broker in the background; asked again meanwhile, read once more afterwards: the first may have looked too early."""
        if self._reading is not None and not self._reading.done():
            self._read_again = command.reason
            return
        self._reading = self._in_background(lambda: self._read_in_background(command))

    def _in_background(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Start ``work`` beside the orders. What ends it, other than being cancelled, is raised by whoever takes the stimulus: a task of
        its own must not hide it."""

        async def told() -> None:
            try:
                await work()
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - see above
                self._put(ReadDone(None, error=error))

        return asyncio.create_task(told())

    async def _read_in_background(self, command: ReadBroker) -> None:
        at, broker = self.now, self.tools.broker
        slow = asyncio.get_running_loop().call_later(SLOW_READ_S, self.vitals.bad, "reads", f"no answer for {SLOW_READ_S:.0f} s")
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._reads, lambda: broker.execute(command, at))
        finally:
            slow.cancel()
        again, self._read_again = self._read_again, ""
        self._put(ReadDone(answer if isinstance(answer, BrokerSeen) else None, again))

    async def finish_reading(self) -> None:
        """Wait for the reads that are under way, if there are any; their answers are stimuli like any other."""
        under_way = [task for task in (self._reading, self._finding, self._listing) if task is not None]
        if under_way:
            await asyncio.wait(under_way)

    def find_bars(self) -> None:
        """Ask the broker's history, in the background, for the bars that the stream did not bring."""
        if self._finding is None or self._finding.done():
            self._finding = self._in_background(self._find_bars)

    async def _find_bars(self) -> None:
        after, now = self.tools.builder.done_until or self.tools.brain.last_start.to_pydatetime(warn=False), self.now
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._history, lambda: self.catch_up(pd.Timestamp(after), now))
        except Exception as error:  # noqa: BLE001 - a gap in the bars is no reason to stop looking after positions
            log.error("missing bars not read", after=str(after), error=str(error))
            self.vitals.bad("bars", f"the gap after {after} could not be filled: {error}")
            return
        self._bars_lost = False
        if not found.empty:
            log.info("bars read that the stream did not bring", count=len(found), after=str(after))
            self._put(BarsFound(found))

    async def _seen(self, done: ReadDone) -> None:
        if done.error is not None:
            raise done.error
        if done.seen is None:  # no answer is no news; the next tick asks again
            self.vitals.bad("reads", "the broker did not answer the last one")
        else:
            self.vitals.good("reads")
            if done.seen.fills_known:
                self.vitals.good("fills")
            else:
                self.vitals.bad("fills", "the broker does not list them; its positions count")
            await self._tell_left_alone()
            await self.pump(done.seen)
            if done.again:
                self._read(ReadBroker(done.again))

    async def _tell_left_alone(self) -> None:
        """Once a session: a person should know what else is in the account, since nobody here looks after it."""
        names = self.tools.broker.left_alone
        if names and not self._told_left_alone:
            self._told_left_alone = True
            await self._execute(RaiseAlert("WARNING", "LEFT_ALONE", f"not US equities, not traded, not protected: {', '.join(names)}"))

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
                self._bar(stimulus)
            case AssetsFound(assets=assets):
                await self._assets(assets)
            case BarsFound(bars=bars):
                self.tools.builder.fill(bars)
                await self.decide()
            case Decide():
                await self.decide()
            case StreamChanged():
                await self._stream(stimulus)
            case OperatorRequest():
                await self.pump(OperatorAsked(self.now, stimulus.request, stimulus.who))

    def _bar(self, bar: BarArrived) -> None:
        self._bars_heard.heard(self.now)
        self._heard_at = asyncio.get_running_loop().time()
        self._renew_at = timedelta(0)
        if "bars" in self.vitals.troubles:  # it speaks again: what it kept to itself is read before this bar is decided on
            self.vitals.good("bars")
            self.find_bars()
        self.tools.builder.add(bar)

    async def read_clock(self, attempts: int = 1) -> bool:
        """Ask the broker for the time; False when it does not answer: then the last known time stands, or goes on by our own clock where
        nobody else moves it."""
        try:
            reading = await self.call(lambda: self.tools.broker.clock(attempts))
        except (BrokerUnavailableError, WireError) as error:
            log.error("clock not read", error=str(error))
            self.vitals.bad("clock", str(error))
            if self.free_running:
                self._time.coast(asyncio.get_running_loop().time())
            return False
        doubt = self._time.take(reading, asyncio.get_running_loop().time(), steady=self.steady)
        if doubt:
            log.warning("clock not believed", detail=doubt)
            self.vitals.bad("clock", doubt)
        else:
            self.vitals.good("clock")
        return True

    async def tick(self) -> None:
        """Tell the core the time; notice market data that has fallen silent."""
        if await self.read_clock() or self.free_running:
            await self.pump(self.ticked())
            self.look_up_assets()
            await self._watch_bars()

    async def _watch_bars(self) -> None:
        silence = self._bars_heard.silence(self.now, self._clock.is_open, self._clock.next_close)
        hasty = self.free_running and asyncio.get_running_loop().time() - self._heard_at < HASTY_S
        if silence is None or hasty:
            return
        detail = f"no bar for {silence.total_seconds():.0f} s of an open market"
        if "bars" not in self.vitals.troubles:
            await self.pump(StreamStateSeen(self.now, "market_data", connected=False, detail=detail))
        self.vitals.bad("bars", detail)
        if silence >= self._renew_at:
            self._renew_at = 2 * silence  # if the new connection is mute as well, try again, less and less often
            self._bars_lost = True
            self.reconnect_data()

    def ticked(self) -> ClockTicked:
        """The clock as last read."""
        return ClockTicked(self._clock.at, self._clock.is_open, self._clock.next_open, self._clock.next_close)

    async def morning(self) -> None:
        """Once a session day, from an hour before its open: splits and dividends, before anything else of that day is worked off."""
        if asyncio.get_running_loop().time() < self._actions_after:
            return
        if not self.free_running and not await self.read_clock():  # else the tick has just read it: the broker counts our requests
            return
        day = pd.Timestamp(self.now).tz_convert(NEW_YORK).date()
        if day == self._morning_done or not self._is_session_morning(day):
            return
        symbols = self.tools.builder.symbols
        try:
            actions = await self.call(lambda: self.tools.broker.corporate_actions(symbols, day, day))
        except (BrokerUnavailableError, WireError) as error:
            log.error("corporate actions not read", day=str(day), error=str(error))
            self.vitals.bad("corporate actions", str(error))
            self._actions_after = asyncio.get_running_loop().time() + ACTIONS_PAUSE_S
            return
        self.vitals.good("corporate actions")
        for action in actions:
            if action.renamed:
                renamed = AssetState(action.symbol, False, False, False, f"it is called {action.renamed} from {day} on")
                await self._assets((renamed,))
            self.tools.builder.corporate_action(action.symbol, day, float(action.split), float(action.dividend))
            await self.pump(CorporateActionApplied(self.now, action.symbol, action.split, action.dividend, action.renamed))
        self._morning_done = day

    def look_up_assets(self) -> None:
        """Before and again at each open, in the background: what may be traded, sold short, borrowed."""
        key = (pd.Timestamp(self.now).tz_convert(NEW_YORK).date(), self.engine.state.market_open)
        if key == self._assets_of or (self._listing is not None and not self._listing.done()) or not self._is_session_morning(key[0]):
            return
        self._listing = self._in_background(lambda: self._look_up_assets(key))

    async def _look_up_assets(self, key: tuple[date, bool]) -> None:
        symbols, broker = self.tools.builder.symbols, self.tools.broker
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._listings, lambda: broker.assets(symbols))
        except Exception as error:  # noqa: BLE001 - not knowing is said aloud; what the broker then refuses, it refuses
            log.error("assets not read", error=str(error))
            self.vitals.bad("assets", str(error))
            await asyncio.sleep(ACTIONS_PAUSE_S if self.free_running else 0.0)
            return
        self.vitals.good("assets")
        self._assets_of = key
        self._put(AssetsFound(tuple(found)))

    async def _assets(self, assets: Sequence[AssetState]) -> None:
        known = self.engine.state.assets
        for asset in assets:
            if asset != known.get(asset.symbol, AssetState(asset.symbol)):
                await self.pump(AssetSeen(self.now, asset))

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
        if update is not None:
            await self.pump(update)

    async def _stream(self, change: StreamChanged) -> None:
        if change.garbled and change.name == "market_data":
            self.find_bars()
        elif change.garbled:
            self.reread(f"{change.name}: {change.detail}")
        else:
            if change.name == "market_data" and change.connected and self._bars_lost:
                self.find_bars()
            self._bars_lost |= change.name == "market_data" and not change.connected
            await self.pump(StreamStateSeen(self.now, change.name, change.connected, change.detail))

    def reread(self, reason: str) -> None:
        """What a lost or garbled message said can only be had by asking."""
        self._read(ReadBroker(reason))

    # ---- bars

    async def decide(self) -> None:
        """Work off every timestamp that is complete, oldest first; between bars, go on with a better model if there is one.

        Without a look at the broker every signal would be denied, and bars out of order are lost: while either is on its way, decisions
        wait for it (and soon come late).
        """
        if (not self.engine.state.ready and self.is_reading) or (self._finding is not None and not self._finding.done()):
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
