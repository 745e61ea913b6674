"""Putting a session together: lock, journal, gateway, streams, features, gate. The caller brings the model; nothing here looks for one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import structlog

from alphatrade_pipelines.journal import JournalStore, RunEnd, Snapshotter, SqliteJournal, Start
from alphatrade_pipelines.live.bars import COLUMNS, BarBuilder
from alphatrade_pipelines.live.brain import Brain, ModelProvider
from alphatrade_pipelines.live.control import ControlInbox
from alphatrade_pipelines.live.endpoints import Credentials, Endpoints, check_endpoints
from alphatrade_pipelines.live.gateway import AlpacaGateway, GatewayConfig, Patience
from alphatrade_pipelines.live.instruments import Instruments, gate_for
from alphatrade_pipelines.live.lock import SessionLock
from alphatrade_pipelines.live.lockstep import END_OF_TAPE, Lockstep, VenueAdmin
from alphatrade_pipelines.live.memory import remember
from alphatrade_pipelines.live.session import LiveSession, SessionConfig, Sink, StreamPair, Surroundings, WallClock
from alphatrade_pipelines.live.sim import RunningVenue, VenueSpec, sessions_to_play
from alphatrade_pipelines.live.status import Observer, SessionResult, StopSwitch
from alphatrade_pipelines.market.gate import GateConfig
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.sources.alpaca import AlpacaConfig, AlpacaSource
from alphatrade_pipelines.market.timeframe import Timeframe
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import ModelRef
from alphatrade_pipelines.trading.state import CoreState

if TYPE_CHECKING:
    from alphatrade_pipelines.models.bundle import Bundle


log = structlog.get_logger(__name__)
OpenJournal = Callable[[Path], JournalStore]


@dataclass(frozen=True)
class Setup:
    """Everything a session is made of.

    ``folder`` holds what belongs to the account (``session.lock``, ``journal.sqlite``, ``control/``); ``history`` is every bar the
    features are to be warmed with, the first to the last; ``feed`` is Alpaca's data feed; ``gate`` replaces the limits of the bar gate;
    ``patience`` is how long the broker is waited for.
    ``journal`` opens the journal of the account whose folder it is given (default: SQLite in that folder).
    """

    session: SessionConfig
    endpoints: Endpoints
    credentials: Credentials
    folder: Path
    bundle: Bundle
    model: ModelRef
    history: pd.DataFrame
    timeframe: Timeframe
    provider: ModelProvider | None = None
    observers: tuple[Observer, ...] = ()
    feed: str = "iex"
    gate: GateConfig | None = None
    patience: Patience = field(default_factory=Patience)
    journal: OpenJournal | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is traded: the symbols of the history."""
        return tuple(sorted(map(str, self.history.index.get_level_values("symbol").unique())))


async def trade(setup: Setup, switch: StopSwitch | None = None, sessions: int | None = None) -> SessionResult:
    """A session against Alpaca, in the time of the world, until it is told to stop or ``sessions`` market sessions are over.

    Raises: EndpointError, ArmingError, SecondSessionError, JournalError, BrokerUnavailableError before anything is sent.
    """
    with open_session(setup) as session:
        return await session.run(WallClock(sessions=sessions), switch)


async def trade_lockstep(
    setup: Setup, venue: RunningVenue, spec: VenueSpec, switch: StopSwitch | None = None, pace_s: float = 0.0
) -> SessionResult:
    """A session against the local venue, as fast as the session digests it, until the tape ends or it is told to stop.

    The end of the tape ends the venue too; after a stop the venue stays for the next session, until its idle exit.
    """
    admin = VenueAdmin(venue.url, venue.token)
    try:
        with open_session(setup) as session:
            total = sessions_to_play(venue, spec, SessionCalendar())
            result = await session.run(Lockstep(admin, total, pace_s), switch)
        if result.reason == END_OF_TAPE:
            await admin.ask("POST", "shutdown")
        return result
    finally:
        await admin.close()


@contextlib.contextmanager
def open_session(setup: Setup) -> Iterator[LiveSession]:
    """A session ready to run, holding the account's lock and journal until the block ends."""
    check_endpoints(setup.session.mode, setup.endpoints)
    setup.folder.mkdir(parents=True, exist_ok=True)
    with SessionLock(setup.folder / "session.lock", setup.session.run_id), _journal(setup) as journal:
        start = _start(journal, setup.session.core)
        calendar = SessionCalendar()
        brain = Brain(setup.bundle, setup.model, setup.history, calendar)
        gateway = AlpacaGateway(
            GatewayConfig(setup.session.mode, setup.endpoints, setup.credentials, setup.patience), *unfinished(start.parts["core"])
        )
        columns = tuple(name for name in setup.history.columns if name in (*COLUMNS, "vwap", "trade_count"))
        builder = BarBuilder(setup.timeframe, setup.symbols, calendar, columns=columns)
        gate = gate_for(setup.timeframe, setup.history, calendar, setup.gate)
        keeper = Snapshotter(journal, start.snapshot_seq)
        tools = Instruments(gateway, journal, brain, builder, calendar, gate, setup.provider, start, keeper)
        control = ControlInbox(setup.folder / "control")
        session = LiveSession(setup.session, tools, Surroundings(_streams(setup), _catch_up(setup, columns), control, setup.observers))
        try:
            yield session
        finally:
            gateway.close()


def _journal(setup: Setup) -> JournalStore:
    """The account's journal, open for writing."""
    if setup.journal is not None:
        return setup.journal(setup.folder)
    return SqliteJournal(setup.folder / "journal.sqlite")


def _start(journal: JournalStore, core: CoreConfig) -> Start:
    """What the journal comes to. What is damaged is set aside: what it would have said is then adopted from the broker."""
    began = time.perf_counter()
    start = remember(journal, core)
    say = log.error if start.previous.end is RunEnd.DAMAGED else log.info
    say(
        "journal opened",
        journal=journal.where,
        events=len(journal),
        previous_run=str(start.previous.end),
        detail=start.previous.detail,
        snapshot_at=start.snapshot_seq,
        replayed=start.replayed,
        seconds=round(time.perf_counter() - began, 3),
    )
    return start


def unfinished(state: CoreState) -> tuple[datetime | None, list[str]]:
    """What a former run of this account left to look at: executions from when on, and the orders it believed alive, ours and others':
    one that ended meanwhile is in no list, and would freeze its symbol for ever."""
    alive = [order.broker_id for symbol in state.live for order in state.live_orders(symbol)]
    others = [broker_id for stranger in state.strangers.values() for broker_id in sorted(stranger.live_ids)]
    return state.fills_from, [broker_id for broker_id in (*alive, *others) if broker_id]


def _streams(setup: Setup) -> Callable[[Sink], StreamPair]:
    from alphatrade_pipelines.live.streams import BarStream, Streams, UpdateStream

    def build(sink: Sink) -> Streams:
        bars = BarStream(setup.endpoints, setup.credentials, setup.symbols, setup.timeframe.is_daily, sink)
        return Streams(UpdateStream(setup.endpoints, setup.credentials, sink), bars)

    return build


def _catch_up(setup: Setup, columns: tuple[str, ...]) -> Callable[[pd.Timestamp, datetime], pd.DataFrame]:
    """Complete bars after the history, from the broker's data API, with the history's columns."""
    keys = setup.credentials

    def read(after: pd.Timestamp, now: datetime) -> pd.DataFrame:
        config = AlpacaConfig(keys.key, keys.secret, setup.symbols, setup.timeframe, feed=setup.feed, url=setup.endpoints.data)
        found = AlpacaSource(config, now=lambda: now).fetch(setup.symbols, start=after + pd.Timedelta(seconds=1))
        return found.reindex(columns=list(columns))

    return read
