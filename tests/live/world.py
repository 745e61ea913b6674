"""A small world for whole sessions: real bars, the real venue server on loopback, the real SDK, a rule instead of a model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from alphatrade_pipelines.backtest.driver import run_backtest
from alphatrade_pipelines.backtest.result import BacktestResult
from alphatrade_pipelines.journal import JournalReader
from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
from alphatrade_pipelines.live.launch import Setup, open_session
from alphatrade_pipelines.live.lockstep import Lockstep, VenueAdmin
from alphatrade_pipelines.live.session import SessionConfig
from alphatrade_pipelines.live.status import SessionResult, StopSwitch
from alphatrade_pipelines.market import SampleSource, SessionCalendar, SyntheticConfig, SyntheticSource, Timeframe
from alphatrade_pipelines.models.liquidity import session_liquidity
from alphatrade_pipelines.models.signals import make_signals
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.events import Event
from alphatrade_pipelines.venue import BarTape, Exchange, ExchangeConfig
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer
from tests.live.rulebook import MODEL, RuleBundle, as_bundle

CALENDAR = SessionCalendar()
DAY = Timeframe.parse("1Day")
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
CORE = CoreConfig()


@dataclass(frozen=True)
class World:
    """Bars, and what is played of them: sessions after ``start`` that open no later than ``end``."""

    bars: pd.DataFrame
    bundle: RuleBundle
    start: datetime
    end: datetime
    timeframe: Timeframe = DAY
    core: CoreConfig = CORE

    @property
    def history(self) -> pd.DataFrame:
        return self.bars[self.bars.index.get_level_values("timestamp") < pd.Timestamp(self.start)]

    @property
    def sessions(self) -> int:
        opens = CALENDAR.sessions(self.start, self.end)["open"]
        return int(((opens > self.start) & (opens <= self.end)).sum())

    @property
    def exchange(self) -> ExchangeConfig:
        return ExchangeConfig(start=self.start, end=self.end, seed=7)

    def backtest(self) -> BacktestResult:
        """The same days without the wire."""
        features = self.bundle.feature_pipeline().transform(self.bars)
        liquidity = session_liquidity(self.bars, self.timeframe, CALENDAR)
        signals = make_signals(as_bundle(self.bundle), features, self.bars, CALENDAR, MODEL.version, liquidity=liquidity)
        return run_backtest(self.bars, signals, self.exchange, self.core, MODEL, self.timeframe, CALENDAR)

    def setup(self, url: str, folder: Path, **changes: Any) -> Setup:
        session = SessionConfig("sim", "run-1", self.core, status_least_s=0.05, heartbeat=folder / "heartbeat.json", heartbeat_every_s=0.1)
        setup = Setup(
            session=session,
            endpoints=Endpoints.of_venue(url),
            credentials=Credentials.of(None, None, "sim"),
            folder=folder,
            bundle=as_bundle(self.bundle),
            model=MODEL,
            history=self.history,
            timeframe=self.timeframe,
        )
        return replace(setup, **changes)


@cache
def world(first: str = "2012-11-01", last: str = "2012-11-21") -> World:
    bars = SampleSource().fetch(SYMBOLS, "2010-01-01", "2013-03-02")
    start = CALENDAR.previous_close(pd.Timestamp(f"{first} 12:00", tz="UTC"))
    end = pd.Timestamp(f"{last} 23:00", tz="UTC").to_pydatetime()
    fitted_on = bars[bars.index.get_level_values("timestamp") < pd.Timestamp("2012-01-01", tz="UTC")]
    return World(bars, RuleBundle.fit(fitted_on), start, end)


@cache
def intraday_world() -> World:
    """Half-hour bars of an invented market, the last three sessions played."""
    timeframe = Timeframe.parse("30Min")
    config = SyntheticConfig(seed=5, symbols=("AAA", "BBB", "CCC"), start=date(2024, 1, 2), end=date(2024, 3, 1), timeframe=timeframe)
    bars = SyntheticSource(config).fetch()
    start = CALENDAR.previous_close(pd.Timestamp("2024-02-28 12:00", tz="UTC"))
    bundle = RuleBundle.fit(bars[bars.index.get_level_values("timestamp") < pd.Timestamp(start)], "30Min")
    return World(bars, bundle, start, pd.Timestamp("2024-03-01 23:00", tz="UTC").to_pydatetime(), timeframe)


@asynccontextmanager
async def venue(of: World, config: ServerConfig | None = None) -> AsyncIterator[tuple[VenueServer, str, VenueAdmin]]:
    """The real server in this loop; stepped unless ``config`` says otherwise."""
    server = VenueServer(Exchange(BarTape(of.bars, of.timeframe, CALENDAR), of.exchange), config)
    url = await server.start()
    admin = VenueAdmin(url, server.admin_token)
    try:
        yield server, url, admin
    finally:
        await admin.close()
        await server.stop()


async def play(setup: Setup, admin: VenueAdmin, sessions: int, switch: StopSwitch | None = None) -> SessionResult:
    """One lockstep session."""
    with open_session(setup) as session:
        return await session.run(Lockstep(admin, sessions), switch)


def journal_of(folder: Path) -> list[Event]:
    with JournalReader(folder / "journal.sqlite") as reader:
        assert reader.verify().sound
        return [event for _, event in reader.events()]


def money(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"))
