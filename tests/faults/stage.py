"""A stage for one fault: minute bars written by hand, the real venue server on loopback, a real session over the unmodified SDK.

The test moves the venue's time step by step (about a quarter of a minute each); after each step the session works off whatever it caused,
as in production, with its journal on disk. What is believed at the end is the venue's own ledger, and the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from alphatrade_pipelines.journal import JournalReader
from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
from alphatrade_pipelines.live.gateway import Patience
from alphatrade_pipelines.live.health import Heartbeat, read_heartbeat
from alphatrade_pipelines.live.inbox import OperatorRequest
from alphatrade_pipelines.live.launch import Setup, open_session
from alphatrade_pipelines.live.lockstep import Lockstep, VenueAdmin
from alphatrade_pipelines.live.session import LiveSession, SessionConfig
from alphatrade_pipelines.live.status import SessionResult, StopSwitch
from alphatrade_pipelines.market import GateConfig, SessionCalendar, Timeframe
from alphatrade_pipelines.models.labels import LabelConfig
from alphatrade_pipelines.models.payoff import PayoffEstimate
from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.events import DiscrepancyFound, EntryDenied, Event, OrderIntended
from alphatrade_pipelines.trading.state import CoreState
from alphatrade_pipelines.venue import OPTIMISTIC, BarTape, Exchange, ExchangeConfig, FillProfile
from alphatrade_pipelines.venue.exchange.orders import Fill, VenueOrder
from alphatrade_pipelines.venue.faults.scenario import load
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer
from tests.live.rulebook import MODEL

Row = tuple[float, float, float, float, float]  # open high low close volume
Happened = TypeVar("Happened", bound=Event)
Answer = TypeVar("Answer")
MINUTE = Timeframe.parse("1Min")
CALENDAR = SessionCalendar()
FIRST_DAY = "2024-03-04"
# no cost, no chance: what remains is arithmetic one can do by hand
PLAIN: FillProfile = replace(OPTIMISTIC, name="plain", path="adverse_first")
# nobody waits long on loopback; a machine that is busy may still need a while to answer
PATIENCE = Patience(connect_timeout=2.0, read_timeout=5.0, read_attempts=2, first_wait=0.02)
LONG_S = 60.0


def flat(minutes: int, price: float = 100.0, volume: float = 1e6) -> list[Row]:
    """A market in which nothing happens."""
    return [(price, price, price, price, volume)] * minutes


def move(start: float, end: float, volume: float = 1e6) -> list[Row]:
    """One minute in which the price goes from one level to another, and stays there from then on."""
    return [(start, max(start, end), min(start, end), end, volume)]


def minute_bars(days: Sequence[Mapping[str, Sequence[Row]]], first: str = FIRST_DAY) -> pd.DataFrame:
    """One mapping of symbol to minutes for each session; the rest of each session is silent."""
    opens = list(CALENDAR.sessions(first, pd.Timestamp(first) + pd.Timedelta(days=2 * len(days) + 10))["open"])
    frames = []
    for start, day in zip(opens, days, strict=False):
        for symbol, rows in day.items():
            stamps = pd.DatetimeIndex([start + pd.Timedelta(minutes=number) for number in range(len(rows))])
            index = pd.MultiIndex.from_product([[symbol], stamps], names=["symbol", "timestamp"])
            frames.append(pd.DataFrame(list(rows), index=index, columns=["open", "high", "low", "close", "volume"], dtype=float))
    bars = pd.concat(frames).sort_index()
    bars["split"], bars["dividend"] = 1.0, 0.0
    return bars


class Prompter:
    """In place of a trained bundle: says "buy" after the bars it was told, (symbol, session, minute) with sessions and minutes from 1, and
    nothing after all others. The volatility is 1 %: stop 2 % below, target 3 % above the close."""

    feature_names: Sequence[str] = ["vol_ewma"]
    label = LabelConfig()

    def __init__(self, cues: Collection[tuple[str, int, int]], opens: Sequence[pd.Timestamp], horizon: int) -> None:
        self.manifest = {"timeframe": "1Min", "feature_hash": "prompter"}
        self.payoff = PayoffEstimate(1.5, 0.05, 1.5, 0.05, 1.0, 0.03, 0.001, 0.001, 400, 400, 300.0, 2.0, 3.0, horizon, 5.0, 1e-4, 0.2)
        self._cues = {(symbol, opens[session - 1] + pd.Timedelta(minutes=minute - 1)) for symbol, session, minute in cues}

    def feature_pipeline(self) -> Prompter:
        return self

    def stream(self, _history: pd.DataFrame) -> Prompter:
        return self

    def update(self, bars: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"vol_ewma": [0.01 if key in self._cues else np.nan for key in bars.index]}, index=bars.index)

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"probability": 0.70, "lower": 0.67, "upper": 0.73}, index=features.index)


@dataclass
class Script:
    """What is played. ``days`` after the first one (which is history: a few flat minutes); ``cues`` as in :class:`Prompter`; ``scenario``
    a shipped one, armed from the start; ``core``, ``patience``, ``session``, ``server`` and ``exchange`` change defaults."""

    days: Sequence[Mapping[str, Sequence[Row]]]
    cues: Collection[tuple[str, int, int]] = ()
    scenario: str | None = None
    horizon: int = 100_000
    core: CoreConfig = field(default_factory=CoreConfig)
    patience: Patience = PATIENCE
    session: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    exchange: Mapping[str, Any] = field(default_factory=dict)
    first_day: str = FIRST_DAY
    gate: GateConfig | None = None

    @property
    def bars(self) -> pd.DataFrame:
        history = {symbol: flat(5, rows[0][0]) for symbol, rows in self.days[0].items()}
        return minute_bars([history, *self.days], self.first_day)

    @property
    def opens(self) -> list[pd.Timestamp]:
        return sorted(self.bars.index.get_level_values("timestamp").normalize().unique())

    def venue(self) -> VenueServer:
        tape = BarTape(self.bars, MINUTE, CALENDAR)
        config = ExchangeConfig(**{"start": tape.sessions[0].close, "profile": PLAIN, "seed": 7, **self.exchange})
        return VenueServer(Exchange(tape, config), ServerConfig(scenario=load(self.scenario) if self.scenario else None, **self.server))

    def setup(self, url: str, folder: Path, run_id: str = "run-1") -> Setup:
        bars = self.bars
        days = bars.index.get_level_values("timestamp").normalize()
        opens = [bars.index.get_level_values("timestamp")[days == day].min() for day in self.opens[1:]]
        common: dict[str, Any] = {"status_least_s": 0.05, "heartbeat": folder / "heartbeat.json", "heartbeat_every_s": 0.05}
        return Setup(
            session=SessionConfig("sim", run_id, self.core, **{**common, **self.session}),
            endpoints=Endpoints.of_venue(url),
            credentials=Credentials.of(None, None, "sim"),
            folder=folder,
            bundle=Prompter(self.cues, opens, self.horizon),  # type: ignore[arg-type]
            model=MODEL,
            history=bars[days == days[0]],
            timeframe=MINUTE,
            patience=self.patience,
            gate=self.gate,
        )


class Stage(Lockstep):
    """The pace of a play: the test moves the venue. ``streams_may_be_down``: do not wait for a reconnect before going on."""

    def __init__(self, server: VenueServer, admin: VenueAdmin, folder: Path, url: str) -> None:
        super().__init__(admin, 1)
        self.server, self.admin, self.folder, self.url = server, admin, folder, url
        self.exchange, self.ledger = server.exchange, server.exchange.ledger
        self.streams_may_be_down = False
        self.reads_may_hang = False
        self.session: LiveSession | None = None
        self.playing: asyncio.Task[SessionResult] | None = None
        self.switch = StopSwitch()
        self._over = asyncio.Event()
        self._ready = asyncio.Event()

    # ---- the pace

    async def run(self, session: LiveSession) -> str:
        self.session = session
        self._ready.set()
        await self._over.wait()
        return "the play is over"

    async def begin_play(self, setup: Setup) -> None:
        """Start the session and wait until it has looked around; raises what kept it from starting."""

        async def play() -> SessionResult:
            with open_session(setup) as session:
                return await session.run(self, self.switch)

        self.playing = asyncio.create_task(play())
        await self._or_failure(self._ready.wait())
        await self.settle()

    async def end(self) -> SessionResult:
        """Let the session stop, leaving protected positions, and wait for its result."""
        assert self.playing is not None
        self._over.set()
        async with asyncio.timeout(LONG_S):
            return await self.playing

    async def ask(self, request: str) -> None:
        """A person asks for something, through the control folder's stimulus."""
        assert self.session is not None
        self.session.inbox.put(OperatorRequest(request, "somebody"))

    def in_thread(self, function: Callable[[], Answer]) -> asyncio.Task[Answer]:
        """Something that blocks, beside the play: another client of the same venue."""
        return asyncio.create_task(asyncio.to_thread(function))

    async def soon(self, condition: Callable[[], object]) -> None:
        """Wait, in wall time, for what must happen without the venue moving."""

        async def watch() -> None:
            while not condition():
                await asyncio.sleep(0.01)

        await self._or_failure(watch())

    async def settle(self) -> None:
        assert self.session is not None
        await self._or_failure(self._settle(self.session))

    async def step(self, count: int = 1) -> None:
        """Move the venue's time ``count`` steps; the session works off each."""
        assert self.session is not None
        for _ in range(count):
            kind = await self._or_failure(self._step(self.session))
            assert kind != "end of the tape", "the tape is too short for this play"

    async def until(self, condition: Callable[[], object], steps: int = 400) -> int:
        """Step until it is true; the number of steps taken."""
        for taken in range(steps):
            if condition():
                return taken
            await self.step()
        raise AssertionError(f"it did not happen within {steps} steps; at the venue: {self.picture()}")

    async def until_open(self) -> None:
        await self.until(lambda: self.exchange.market_open)

    async def until_minute(self, minute: int) -> None:
        """Until the given minute (from 1) of the session that is open, or opens next, is over and worked off."""
        await self.until_open()
        await self.until(lambda: self.is_over(minute))

    def is_over(self, minute: int) -> bool:
        """Whether that minute (from 1) of the open session is over."""
        if not self.exchange.market_open:
            return False
        opened = self.exchange.tape.calendar.session_bounds(self.exchange.now)[0]
        return bool(self.exchange.now >= opened + timedelta(minutes=minute))

    async def until_close(self) -> None:
        """Play the rest of the session, silent minutes and all."""
        await self.until(lambda: not self.exchange.market_open)

    async def _settle(self, session: LiveSession) -> None:
        if not (self.streams_may_be_down or self.reads_may_hang):
            await super()._settle(session)
            return
        if not self.reads_may_hang:
            await session.shell.finish_reading()
        await session.inbox.idle()

    async def _arrival(self, session: LiveSession, counts: dict[str, Any]) -> None:
        if not (self.streams_may_be_down or self.reads_may_hang):
            await super()._arrival(session, counts)

    async def _or_failure(self, work: Any) -> Any:
        """Wait for ``work``, but not beyond the end of the session, and not for ever."""
        assert self.playing is not None
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, self.playing}, timeout=LONG_S, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if self.playing.done():
                self.playing.result()
            raise AssertionError(f"the session hangs or ended before its time; at the venue: {self.picture()}")
        return task.result()

    # ---- what really happened

    def picture(self) -> str:
        orders = [f"{o.client_order_id} {o.side} {o.qty} {o.symbol} {o.type} {o.status}" for o in self.orders()]
        return f"{self.exchange.now}, positions {self.positions()}, orders {orders}, asked {self.journaled(DiscrepancyFound)}"

    def orders(self, status: str = "all", symbol: str = "AAA") -> list[VenueOrder]:
        return [order for order in self.exchange.orders(status=status) if order.symbol == symbol]

    def entries(self) -> list[VenueOrder]:
        """The bracket entries the venue took, oldest first."""
        return [order for order in reversed(self.orders()) if order.order_class == "bracket" and order.side == "buy"]

    def fills(self, symbol: str = "AAA", side: str | None = None) -> list[Fill]:
        return [fill for fill in self.exchange.fills() if fill.symbol == symbol and side in (None, fill.side)]

    def positions(self) -> dict[str, Decimal]:
        return {position.symbol: position.qty for position in self.exchange.positions()}

    def taken(self, side: str = "buy", symbol: str = "AAA") -> int:
        """Orders the venue accepted."""
        return sum(r.order_id is not None and (r.request.side, r.request.symbol) == (side, symbol) for r in self.ledger.receipts)

    def struck(self, kind: str) -> int:
        """How often the faults of a kind have struck."""
        return sum(armed.done for armed in self.server.injector.faults.values() if armed.fault.kind.name == kind)

    async def arm(self, *faults: dict[str, Any]) -> None:
        await self.admin.ask("POST", "faults", {"faults": list(faults)})

    async def arm_scenario(self, name: str) -> None:
        """Load a shipped scenario at the decisive moment."""
        self.server.injector.load(load(name))
        await self.server.publish()

    # ---- what the session knows and says

    @property
    def state(self) -> CoreState:
        assert self.session is not None
        return self.session.shell.engine.state

    @property
    def alerts(self) -> int:
        assert self.session is not None
        return self.session.shell.alerts

    def beat(self) -> Heartbeat:
        beat = read_heartbeat(self.folder / "heartbeat.json")
        assert beat is not None
        return beat

    def events(self) -> list[Event]:
        """The journal, read from disk, its chain verified."""
        if not (self.folder / "journal.sqlite").exists():
            return []
        with JournalReader(self.folder / "journal.sqlite") as reader:
            assert reader.verify().sound
            return [event for _, event in reader.events()]

    def journaled(self, kind: type[Happened]) -> list[Happened]:
        return [event for event in self.events() if isinstance(event, kind)]

    def intents(self, purpose: str) -> list[OrderIntended]:
        return [event for event in self.journaled(OrderIntended) if event.purpose == purpose]

    def denials(self) -> list[str]:
        return [event.code for event in self.journaled(EntryDenied)]

    def judge(self, *, flips: int = 0, unprotected_s: float = 0.0) -> None:
        """What must be true after every fault: one order an intent, the books of the venue, a sound journal that replays to the state."""
        assert self.ledger.duplicate_intents == []
        assert len(self.ledger.flips) == flips
        assert all(seconds <= unprotected_s for seconds in self.ledger.unprotected_seconds.values()), self.ledger.unprotected_seconds
        assert {symbol: held.qty for symbol, held in self.state.positions.items()} == self.positions()
        assert not [symbol for symbol in self.state.live if any(order.is_unsettled for order in self.state.live_orders(symbol))]
        replayed = CoreState.initial(self.state.config)
        for event in self.events():
            apply(replayed, event)
        assert replayed.fingerprint() == self.state.fingerprint()
        assert {fill.execution_id for fill in self.exchange.fills()} <= set(self.state.executions)


@asynccontextmanager
async def serve(script: Script, folder: Path) -> AsyncIterator[tuple[Stage, str]]:
    """The venue of a script; the session is still to begin."""
    server = script.venue()
    url = await server.start()
    admin = VenueAdmin(url, server.admin_token)
    stage = Stage(server, admin, folder, url)
    try:
        yield stage, url
    finally:
        if stage.playing is not None and not stage.playing.done():
            stage.playing.cancel()
        if stage.playing is not None:
            await asyncio.gather(stage.playing, return_exceptions=True)
        await admin.close()
        await server.stop()


@asynccontextmanager
async def play(script: Script, folder: Path) -> AsyncIterator[Stage]:
    """A session on stage, before the first session opens."""
    async with serve(script, folder) as (stage, url):
        await stage.begin_play(script.setup(url, folder))
        yield stage


def now_of(stage: Stage) -> datetime:
    return stage.exchange.now
