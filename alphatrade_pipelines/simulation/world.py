"""One session: a venue, a trader that may die and come back, faults and people, on one clock."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from alphatrade_pipelines.journal import RunEnd
from alphatrade_pipelines.live.bars import BarBuilder
from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
from alphatrade_pipelines.live.gateway import AlpacaGateway, GatewayConfig
from alphatrade_pipelines.live.inbox import OperatorRequest, StopSession, Tick
from alphatrade_pipelines.live.instruments import Instruments, gate_for
from alphatrade_pipelines.live.launch import unfinished
from alphatrade_pipelines.live.session import LiveSession, SessionConfig, Surroundings
from alphatrade_pipelines.live.status import SessionResult
from alphatrade_pipelines.live.transport import BrokerUnavailableError
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.simulation.journals import MemoryStore, SqliteStore, Store
from alphatrade_pipelines.simulation.life import Killed, Life, OwnJournal
from alphatrade_pipelines.simulation.network import InProcessAdapter, Line
from alphatrade_pipelines.simulation.people import BrokersPage
from alphatrade_pipelines.simulation.story import CALM_SECONDS, Step, Story
from alphatrade_pipelines.simulation.streams import InProcessStreams
from alphatrade_pipelines.simulation.tape import SYMBOLS, TIMEFRAME, build, start_of
from alphatrade_pipelines.simulation.trader import KnownBars, SeededBrain, SimulatedPace, model
from alphatrade_pipelines.simulation.truth import (
    SLOW,
    SLOW_ANSWER,
    Judge,
    Look,
    Told,
    Violation,
    judge_fills,
    judge_flat,
    judge_orders,
    judge_parents,
    judge_rest,
)
from alphatrade_pipelines.simulation.virtual import VirtualLoop, run
from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.commands import Command
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import ModelRef, StopPolicy
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    ClockTicked,
    Event,
    OrderUpdated,
    ParentOpened,
    PriceSeen,
    SubmitEnded,
)
from alphatrade_pipelines.trading.execution import Algo, ExecutionConfig
from alphatrade_pipelines.trading.state import CoreState
from alphatrade_pipelines.venue.exchange.config import ExchangeConfig
from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.fidelity import Fidelity
from alphatrade_pipelines.venue.exchange.orders import BookOrder
from alphatrade_pipelines.venue.faults.scenario import ScenarioError, draw, faults_of
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer
from alphatrade_pipelines.venue.server.pacing import Pace, Pacer

URL = "http://127.0.0.1:1"
RESTART_AFTER = 15.0  # a process whose start failed is started again so much later
CHECK_SECONDS = 120.0  # before the last close: the market is open, everything must be at rest


REFUSED_PAUSE = 7.0  # what a refusal excuses: the longest pause before an exit is tried again (three symbols), and a second to look


class VirtualPacer(Pacer):
    """Venue time follows the loop's."""

    def __init__(self, loop: VirtualLoop, server: VenueServer, stepped: Callable[[], None]) -> None:
        super().__init__(server.exchange, Pace(1.0, None), server.step, server._flowed, lambda: True, clock=loop.time)
        self._loop, self._server, self._stepped = loop, server, stepped

    def flow(self) -> None:
        """Bring venue time up to the loop's, short of the next step."""
        exchange = self._server.exchange
        at = self._loop.now
        if exchange.next_step_at is None or exchange.now < at < exchange.next_step_at:
            exchange.tick(at)

    async def run(self) -> None:
        """Play the tape to its end."""
        while (at := self._server.exchange.next_step_at) is not None:
            await asyncio.sleep(self._loop.seconds_at(at) - self._loop.time())
            await self._server.step()
            self._stepped()


@dataclass(slots=True)
class Report:
    """What came of a session. ``journal_hash`` is the head of its journal's chain; ``struck`` counts what really happened, by name."""

    story: Story
    journal_hash: str = ""
    events: int = 0
    requests: int = 0
    processes: int = 0
    violations: list[Violation] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    longest: dict[str, float] = field(default_factory=dict)
    orders: Counter[str] = field(default_factory=Counter)


@dataclass
class _Trap:
    step: Step
    left: int


class World:
    """Build it with a story and call ``play`` once."""

    brain = SeededBrain
    killed = Killed

    def __init__(self, story: Story, core: CoreConfig | None = None) -> None:
        self.story = story
        self.calendar = SessionCalendar()
        tape = build(story.tape, self.calendar)
        start = start_of(story.tape, self.calendar)
        slicing = ExecutionConfig(algo=Algo(story.algo), slice_s=90.0, horizon_s=900.0, max_slices=4)
        self.core = core or CoreConfig(allow_short=story.allow_short, execution=slicing)
        self.loop = VirtualLoop(start)
        fidelity = Fidelity(partial_fill_probability=story.partial_fills)
        self.exchange = Exchange(tape, ExchangeConfig(start=start, profile=story.profile, seed=story.seed, fidelity=fidelity))
        self.judge = Judge(look=self._look, limit=self.core.reconcile_interval_s + 30.0)
        self.exchange.ledger = self.judge
        self.server = VenueServer(self.exchange, ServerConfig(), self.loop.time)
        self.server.pacer = VirtualPacer(self.loop, self.server, self._nudge)
        self.line = Line(self.loop, self.server, self._latency, lambda: self.loop.time() < self._outage_until)
        self.report = Report(story)
        self.session: LiveSession | None = None
        self.ends = self.loop.seconds_at(tape.sessions[-1].close) - CHECK_SECONDS
        self.calm = self.loop.seconds_at(tape.sessions[-1].close) - CALM_SECONDS
        self.version = "3"
        self.page = BrokersPage(self.loop, self.exchange, self.line, URL)
        self.bars = KnownBars(self.exchange, self.calendar)
        self.impossible: list[str] = []
        self._names: dict[str, str] = {}
        self._life = Life(self.loop, lambda point: None)  # nobody lives before the first process
        self._flatten_is_due = False
        self._running: SimulatedPace | None = None
        self._last_changes: object = None
        self._outage_until = self._journal_full_until = float("-inf")
        self.unwritten: list[Event] = []  # intents that still waited for the journal when their process died
        self._traps: list[_Trap] = []
        self._down = 1.0
        self._torn: float | None = None
        self._draws = 0
        self._refusals: dict[str, float] = {}

    # --- playing ----------------------------------------------------------------------------------------------------------------------

    def play(self) -> Report:
        """The whole session."""
        with tempfile.TemporaryDirectory(prefix="simulate-", dir=_quick_folder()) as folder:
            self.store: Store = self._new_store(Path(folder))
            try:
                run(self.loop, self._main())
            finally:
                self.store.close()
        return self.report

    def _new_store(self, folder: Path) -> Store:
        def boundary(point: str) -> None:
            self._life.boundary(point)

        return SqliteStore(folder, boundary) if self.story.journal == "sqlite" else MemoryStore(boundary)

    async def _main(self) -> None:
        assert self.server.pacer is not None
        for step in self.story.steps:
            self.loop.call_at(step["at"], self._take, step)
        self.loop.call_at(self.calm, self._calm_down)
        market = self.loop.create_task(self.server.pacer.run())
        await self._supervise()
        market.cancel()
        with suppress(asyncio.CancelledError):
            await market
        self._finish()

    async def _supervise(self) -> None:
        """Start the trader, and start it again whenever it has died or stopped, until the day is over."""
        while True:
            self.session = self._process()
            self._ask_to_flatten()
            try:
                ended = await self._life_of(self.session)
            except Killed as death:
                self._flow()
                self.report.struck[f"crash {death}"] += 1
                self.report.struck["F25"] += 1
                self._note_unwritten(self.session)
                pause, torn = self._down, self._torn
                if torn is not None and self.story.journal == "sqlite":
                    self.report.struck["torn journal tail"] += 1
            except BrokerUnavailableError:
                self.report.struck["start refused"] += 1
                pause, torn = RESTART_AFTER, None
            except Exception as error:  # noqa: BLE001 - whatever ends a process by itself is a finding
                self.judge.found("the session lives", f"{type(error).__name__}: {error}")
                return
            else:
                if self.loop.time() >= self.ends:
                    return
                self.report.struck[f"stop {ended.reason}"] += 1
                pause, torn = self._down, None
            self.session = None
            await asyncio.sleep(pause)
            self.store.reopen(torn)

    def _note_unwritten(self, session: LiveSession) -> None:
        engine = session.shell.engine
        if engine.impaired:
            self.unwritten += [event for batch in engine._backlog for event in batch]
            self.report.struck["died with events in memory"] += bool(engine.backlog)

    async def _life_of(self, session: LiveSession) -> SessionResult:
        """Run one process to its end. Killed anywhere, be it in a task beside the session's own, all of it is dead at once."""
        life, running = self._life, self.loop.create_task(session.run(self._pace()))
        await asyncio.wait((running, life.over), return_when=asyncio.FIRST_COMPLETED)
        if life.death is None:
            return running.result()
        running.cancel()
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # whatever the dead one came to, it is no finding
        await session.streams.stop()  # sockets are closed by the system, tasks die: also where no handler of the dead one got so far
        session.shell.close()
        self.line.traffic.in_flight.clear()
        raise life.death

    @property
    def _run_id(self) -> str:
        return f"run-{self.report.processes}"

    def _process(self) -> LiveSession:
        self.report.processes += 1
        life = self._life = Life(self.loop, self._boundary)
        begun = self.store.begin(self.core)
        start, keeper = begun or (None, None)
        state = self._replayed() if start is None else start.parts["core"]
        if start is not None and start.previous.end is RunEnd.DAMAGED:
            self.judge.found("replay gives the state", f"acknowledged events are gone: {start.previous.detail}")
        config = GatewayConfig(
            "sim", _ENDPOINTS, _KEYS, adapter=lambda timeout: InProcessAdapter(self.line, timeout, life), sleep=life.sleep
        )
        gateway = AlpacaGateway(config, *unfinished(state))
        known, closes, last = self.bars.history(self.loop.epoch)
        quiet_from = self.loop.epoch + timedelta(seconds=self.calm)
        brain = self.brain(self.story, self.version, closes, last, quiet_from)
        builder = BarBuilder(TIMEFRAME, SYMBOLS, self.calendar)
        tools = Instruments(
            gateway,
            OwnJournal(self.store, life, lambda: self.loop.time() < self._journal_full_until),
            brain,
            builder,
            self.calendar,
            gate_for(TIMEFRAME, known, self.calendar),
            self._better_model,
            start,
            keeper,
        )
        quiet = 1e9
        settings = SessionConfig("sim", self._run_id, self.core, status_every_s=quiet, status_least_s=quiet, heartbeat_every_s=3600.0)
        streams = partial(InProcessStreams, self.loop, self.server, (_ENDPOINTS, _KEYS), SYMBOLS, self._delay)
        session = LiveSession(settings, tools, Surroundings(streams, self.bars.between))
        self._watch(session)
        return session

    def _replayed(self) -> CoreState:
        state = CoreState.initial(self.core)
        for _, event in self.store.events():
            apply(state, event)
        return state

    def _pace(self) -> SimulatedPace:
        self._running = SimulatedPace(self.loop, self, self.story, self.ends, self._at_rest)
        return self._running

    def agrees(self, session: LiveSession) -> bool:
        """Does the trader believe what is true?"""
        return not judge_rest(Judge(), self.exchange, session.shell.engine.state)

    def _nudge(self) -> None:
        """Wake the trader if there is anything new to see."""
        now = self.changes()
        if now != self._last_changes:
            self._last_changes = now
            if self._running is not None:
                self._running.nudge()

    def changes(self) -> tuple[object, ...]:
        """Differs whenever anything a trader could see has changed."""
        book, account = self.exchange.book, self.exchange.cash_account
        standing = (tuple(sorted(self.exchange.halts)), self.exchange.restrictions, self.line.traffic.failures)
        return (
            len(book.orders),
            sum(order.is_live for order in book.live()),
            len(book.fills),
            tuple(sorted(account.positions().items())),
            *standing,
        )

    def _watch(self, session: LiveSession) -> None:
        engine, handle = session.shell.engine, session.shell.engine.handle

        def watched(event: Event) -> list[Command]:
            before = engine.state.trading
            commands = handle(event)
            self.judge.commanded(before, engine.state, event, commands)
            if not isinstance(event, ClockTicked | PriceSeen | AccountSeen) and self._running is not None:
                self._running.nudge()
            self._note_refusal(event, engine.state)
            return commands

        engine.handle = watched  # type: ignore[method-assign]

    def _note_refusal(self, event: Event, state: CoreState) -> None:
        """The venue turned an order away, at once or after it had taken it: until the next attempt it is the venue that will not."""
        if isinstance(event, SubmitEnded):
            symbol = state.orders[event.client_order_id].request.symbol
            self._refusals.pop(symbol, None)
            if event.http_status is not None:
                self._refusals[symbol] = self.loop.time()
        elif isinstance(event, OrderUpdated) and event.event == "rejected":
            self._refusals[event.order.symbol] = self.loop.time()

    def _better_model(self, running: ModelRef) -> Any:
        return None if running.version == self.version else (None, model(self.version))

    # --- chance -----------------------------------------------------------------------------------------------------------------------

    def _latency(self, number: int) -> tuple[float, float]:
        seed, most = self.story.seed, self.story.latency
        spike = 40.0 if draw(seed, "spike", number) < 0.004 else 1.0
        return most * spike * draw(seed, "there", number), most * draw(seed, "back", number)

    def _delay(self, stream: str) -> float:
        self._draws += 1
        return self.story.latency * 2.0 * draw(self.story.seed, "delay", stream, self._draws)

    # --- boundaries: where the process may die -------------------------------------------------------------------------------------------

    def _boundary(self, point: str) -> None:
        for trap in self._traps:
            if trap.step["point"] == point:
                trap.left -= 1
                if trap.left <= 0:
                    self._traps.remove(trap)
                    self._down, self._torn = trap.step["down"], trap.step.get("torn")
                    raise self.killed(point)

    # --- steps --------------------------------------------------------------------------------------------------------------------------

    def _take(self, step: Step) -> None:
        try:
            self._do(step)
        except (VenueError, ScenarioError) as error:
            self.impossible.append(f"{step['do']}: {error}")
        self._nudge()
        self.loop.create_task(self.server.publish())

    def _do(self, step: Step) -> None:
        self._flow()
        match step["do"]:
            case "fault":
                for fault in self.server.injector.arm(faults_of([step["table"]]), self.story.seed):
                    self._names[fault] = step["name"]
            case "crash":
                self._traps.append(_Trap(step, step["nth"]))
            case "outage":
                self._outage_until = self.loop.time() + step["seconds"]
                self.report.struck["outage"] += 1
            case "journal full":
                self._journal_full_until = self.loop.time() + step["seconds"]
                self.report.struck["journal full"] += 1
            case "operator" | "stop":
                self._operator(step)
            case "swap model":
                self.version = step["version"]
                self.report.struck["swap model"] += 1
            case _:
                self.report.struck[f"by hand: {step['do']}"] += self.page.act(step)

    def _operator(self, step: Step) -> None:
        if self.session is None:
            self.report.struck["nobody to ask"] += 1
            return
        if step["do"] == "operator":
            self._ask(self.session, OperatorRequest(step["request"], "simulated operator"))
            self.report.struck[f"operator {step['request']}"] += 1
        else:
            self._down = step["down"]
            self._ask(self.session, StopSession(StopPolicy(step["policy"]), step["policy"]))

    def _ask(self, session: LiveSession, request: OperatorRequest | StopSession) -> None:
        """A live session looks at the clock every second. This one may have slept for an hour: it looks before it is asked, or what it does
        now would bear the old time, and at the next look seem to have been without an answer for that hour (seed 376)."""
        session.inbox.put(Tick())
        self.loop.call_later(1.0, self._deliver, session, request)

    def _deliver(self, session: LiveSession, request: OperatorRequest | StopSession) -> None:
        """What a person asked for lies in the control folder until a session takes it: a process that died meanwhile never did."""
        if session is self.session and self._life.death is None:
            session.inbox.put(request)
        elif isinstance(request, OperatorRequest) and request.request == "flatten":
            self._flatten_is_due = True
            self._ask_to_flatten()

    def _ask_to_flatten(self) -> None:
        """Ask the process that runs, or else the next one."""
        if self._flatten_is_due and self.session is not None:
            self._flatten_is_due = False
            self._ask(self.session, OperatorRequest("flatten", "simulated operator"))
            self.report.struck["operator flatten at the end"] += 1

    def _flow(self) -> None:
        assert self.server.pacer is not None
        self.server.pacer.flow()

    def _calm_down(self) -> None:
        """From here on nothing more goes wrong: what was armed ends, and is counted."""
        self._flow()
        self._count_faults()
        self.server.injector.disarm()
        self._traps.clear()
        self._outage_until = self._journal_full_until = float("-inf")
        for symbol in list(self.exchange.halts):
            self.exchange.levers.resume(symbol)
        if self.story.flatten:
            self._flatten_is_due = True
            self._ask_to_flatten()
        self.loop.create_task(self.server.publish())

    def _count_faults(self) -> None:
        for name, armed in self.server.injector.faults.items():
            if armed.done:
                self.report.struck[self._names[name].upper()] += armed.done
                self.report.struck[f"fault {armed.fault.kind.name}"] += armed.done
            elif armed.failed:
                self.report.struck["fault impossible"] += 1

    # --- judging --------------------------------------------------------------------------------------------------------------------------

    def _look(self, symbol: str) -> Look:
        session, exchange = self.session, self.exchange
        if session is None:
            return Look(None, "process down")
        state = session.shell.engine.state
        return Look(state, self._why_paused(state, exchange, symbol))

    def _why_paused(self, state: CoreState, exchange: Exchange, symbol: str) -> str:
        if not state.ready or state.session is None or state.session.run_id != self._run_id:
            return "not reconciled"
        if self.line.traffic.down_since is not None:
            return "requests fail"
        if any(self.loop.time() - since > SLOW_ANSWER for since in self.line.traffic.in_flight.values()):
            return SLOW
        if symbol in exchange.halts or not exchange.assets[symbol].tradable:
            return "not tradable"
        blocked = exchange.restrictions
        if blocked.trading_blocked or blocked.account_blocked or blocked.trade_suspended_by_user or blocked.closing_only:
            return "account restricted"
        pending = [order for order in exchange.book.live() if order.symbol == symbol and order.status == "pending_cancel"]
        if any(_holds_shares(order, state) for order in pending):
            return "a cancel is pending"
        if any(a.fault.kind.name == "stale_views" and not a.over for a in self.server.injector.faults.values()):
            return "views lie"
        if self.loop.time() - self._refusals.get(symbol, -1e9) <= REFUSED_PAUSE:
            return "waiting after a refusal"
        return ""

    def _at_rest(self, session: LiveSession) -> None:
        self._flow()
        state = session.shell.engine.state
        self.judge.violations += judge_rest(self.judge, self.exchange, state)
        judge_fills(self.judge, self.exchange, state, self.core)
        if self.story.flatten:
            judge_flat(self.judge, self.exchange)

    def _finish(self) -> None:
        report, judge = self.report, self.judge
        told, state = Told(), CoreState.initial(self.core)
        for seq, event in self.store.events():
            apply(state, event)
            told.add(event)
            report.events = seq
        for event in self.unwritten:
            told.add(event)
        judge_orders(judge, self.exchange, told, self.page.made)
        judge_parents(judge, self.exchange, told.worked)
        judge.checks["replay gives the state"] += 1
        if self.session is not None and state.fingerprint() != self.session.shell.engine.state.fingerprint():
            judge.found("replay gives the state", "replaying the journal gives another state than the process had")
        for wrong in self.store.wrong_snapshots(self.core):
            judge.found("replay gives the state", wrong)
        for error in self.loop.faults:
            if isinstance(error, Killed):
                continue  # a task of a process that died with it
            judge.found("the session lives", f"{type(error).__name__} in the background: {error}")
        judge.checks["the session lives"] += report.processes
        report.violations, report.checks = judge.violations, judge.checks
        report.longest = {name: float(value) for name, value in judge.longest.items()}
        report.journal_hash, report.requests = self.store.head, self.line.traffic.requests
        report.orders["parent"] = sum(isinstance(event, ParentOpened) for event in told.worked)
        report.orders.update(intent.purpose for intent in told.intents.values())
        report.orders["fills"] = len(self.exchange.book.fills)


def play(story: Story, core: CoreConfig | None = None) -> Report:
    """One session, from its story."""
    return World(story, core).play()


def _quick_folder() -> str | None:
    """Where files cost no disk: the journal's fsync is the only thing here that would wait for one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


_ENDPOINTS = Endpoints.of_venue(URL)
_KEYS = Credentials.of(None, None, "sim")


def _holds_shares(order: BookOrder, state: CoreState) -> bool:
    """A pending cancellation is waited for where the order may hold shares of the position: not that of an entry, whose legs sleep."""
    ours = state.orders.get(order.root.client_order_id)
    return ours is None or not ours.opens or order.root.status == "filled"
