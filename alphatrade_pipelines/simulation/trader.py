"""What a live session is given in place of a model and a wall clock: seeded opinions, and a pace that looks often while it matters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pandas as pd

from alphatrade_pipelines.live.bars import COLUMNS
from alphatrade_pipelines.live.brain import Brain
from alphatrade_pipelines.live.inbox import Decide, Kind, Morning, Tick
from alphatrade_pipelines.live.session import LiveSession
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.simulation.story import Story
from alphatrade_pipelines.simulation.tape import TIMEFRAME
from alphatrade_pipelines.simulation.virtual import VirtualLoop
from alphatrade_pipelines.trading.coverage import exposed_qty
from alphatrade_pipelines.trading.domain import ModelRef, Side, Signal
from alphatrade_pipelines.trading.state import CoreState
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.faults.scenario import draw

CENT = Decimal("0.01")
LENGTH = timedelta(minutes=TIMEFRAME.minutes)
END_OF_TAPE = "end of the tape"
HOLDS = (20.0, 90.0, 400.0, 2000.0)  # minutes


def model(version: str) -> ModelRef:
    """A model of this version."""
    return ModelRef("simulated", version, f"bundle-{version}", "mlflow-run", "dagster-run", "data", "commit", "paper")


class Venue(Protocol):
    """What the pace asks of the world."""

    exchange: Exchange

    def changes(self) -> tuple[object, ...]:
        """Differs whenever anything a trader could see has changed."""

    def agrees(self, session: LiveSession) -> bool:
        """Does the trader believe what is true?"""


class KnownBars:
    """The tape's bars, as far as they are known at a time: what a broker's history of bars would say."""

    def __init__(self, exchange: Exchange, calendar: SessionCalendar) -> None:
        self._frame: pd.DataFrame = exchange.tape.frame
        self._starts = pd.DatetimeIndex(self._frame.index.get_level_values("timestamp"))
        self._known_at = calendar.known_at(self._starts, TIMEFRAME)

    def history(self, now: datetime) -> tuple[pd.DataFrame, dict[str, float], pd.Timestamp]:
        """Bars known by ``now``, their last closes, and the start of the latest."""
        known = self._frame[self._known_at <= pd.Timestamp(now)]
        closes = {str(symbol): float(close) for symbol, close in known["close"].groupby(level="symbol").last().items()}
        return known, closes, known.index.get_level_values("timestamp").max()

    def between(self, after: pd.Timestamp, now: datetime) -> pd.DataFrame:
        """Bars that began after ``after`` and are known by ``now``."""
        found = self._frame[(self._starts > after) & (self._known_at <= pd.Timestamp(now))]
        return found.reindex(columns=list(COLUMNS))


class SeededBrain(Brain):
    """Opinions drawn by seed, symbol and bar: a process that starts again has the same ones. ``quiet_from``: none any more."""

    def __init__(self, story: Story, version: str, closes: dict[str, float], last_start: pd.Timestamp, quiet_from: datetime) -> None:
        self.model = model(version)
        self._story, self._closes, self._last, self._quiet_from = story, dict(closes), last_start, quiet_from

    @property
    def last_start(self) -> pd.Timestamp:
        return self._last

    def last_closes(self) -> dict[str, float]:
        return dict(self._closes)

    def take(self, bars: pd.DataFrame) -> list[Signal]:
        signals = []
        for (symbol, start), close in zip(bars.index, bars["close"].tolist(), strict=True):
            self._closes[symbol], self._last = close, max(self._last, start)
            decided = start.to_pydatetime(warn=False) + LENGTH
            if decided < self._quiet_from and self._draw("signal", symbol, decided) < self._story.signal_rate:
                signals.append(self._signal(symbol, decided, close))
        return signals

    def swap(self, bundle: object, model: ModelRef) -> None:
        self.model = model

    def _draw(self, *place: object) -> float:
        return draw(self._story.seed, *place)

    def _signal(self, symbol: str, decided: datetime, close: float) -> Signal:
        def pick(name: str, low: float, high: float) -> float:
            return low + (high - low) * self._draw(name, symbol, decided)

        price = Decimal(repr(round(close, 4)))
        side = Side.SELL if self._draw("side", symbol, decided) < 0.4 and self._story.allow_short else Side.BUY
        way = 1 if side is Side.BUY else -1
        stop, target = Decimal(repr(round(pick("stop", 0.004, 0.05), 4))), Decimal(repr(round(pick("target", 0.004, 0.06), 4)))
        held = HOLDS[int(self._draw("hold", symbol, decided) * len(HOLDS))]
        return Signal(
            symbol=symbol,
            decision_time=decided,
            side=side,
            probability=0.66,
            lower=0.62,
            upper=0.70,
            payoff=pick("payoff", 0.9, 1.6),
            payoff_error=0.05,
            reference_price=price,
            stop_price=(price * (1 - way * stop)).quantize(CENT),
            target_price=(price * (1 + way * target)).quantize(CENT),
            volatility=0.01,
            hold_until=decided + timedelta(minutes=held),
            model_version=self.model.version,
            feature_hash="simulated",
        )


class SimulatedPace:
    """Ticks each second while something is uncertain, seldom while everything rests; always just after a bar, the open and the close.

    A live session looks every second. Looks at which nothing could be seen are left out here: neither the venue nor the trader has
    changed, and they agree with each other. ``ends``: virtual second at which the session is over;
    ``at_rest(session)`` is called then, before the session is told to stop.
    """

    progress: float | None = None

    def __init__(self, loop: VirtualLoop, venue: Venue, story: Story, ends: float, at_rest: Callable[[LiveSession], object]) -> None:
        self._loop, self._venue, self._exchange, self._story = loop, venue, venue.exchange, story
        self._ends, self._at_rest = ends, at_rest
        self._quiet = 0
        self._seen: object = None
        self._idle = 0
        self._next_morning = 0.0
        self._nudged_until = 0.0
        self._waited = 0
        self._wake: asyncio.Future[None] | None = None

    async def begin(self, session: LiveSession) -> None:
        """The world needs no preparation; its time goes on even while the broker's clock cannot be read."""
        session.shell.free_running = session.shell.steady = True

    async def run(self, session: LiveSession) -> str:
        """Until the end of the tape."""
        inbox = session.inbox
        while self._loop.time() < self._ends:
            if inbox.arrived(Kind.TICK) == inbox.taken[Kind.TICK]:
                if self._loop.time() >= self._next_morning:
                    self._next_morning = self._loop.time() + 3600.0
                    inbox.put(Morning())
                inbox.put(Tick())
                if self._may_decide(session):
                    inbox.put(Decide())
                await inbox.idle()
            await self._sleep(max(0.001, min(self._pause(session), self._until_next_event(), self._ends - self._loop.time())))
        await inbox.idle()
        self._at_rest(session)
        return END_OF_TAPE

    def _may_decide(self, session: LiveSession) -> bool:
        """A live session reads the broker every half minute. Here it may have slept since, so that a decision first waits for a read."""
        seen = session.shell.engine.state.broker_seen_at
        fresh = seen is not None and (self._loop.now - seen).total_seconds() < session.config.core.reconcile_interval_s
        self._waited = 0 if fresh else self._waited + 1
        return fresh or self._waited > 2

    async def _sleep(self, seconds: float) -> None:
        self._wake = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._awake)
        await self._wake
        timer.cancel()

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def nudge(self) -> None:
        """Something has changed: a live session would look within a second."""
        if self._nudged_until <= self._loop.time():
            self._nudged_until = self._loop.time() + 1.0
            self._loop.call_later(1.0, self._awake)

    def _pause(self, session: LiveSession) -> float:
        state, business = session.shell.engine.state, session.shell.engine.open_business()
        seen = (self._venue.changes(), tuple(business))
        self._quiet += 1
        if seen != self._seen:
            self._seen, self._quiet = seen, 0
        exposed = any(exposed_qty(state, symbol) for symbol in state.positions)
        urgent = not state.ready or exposed or _is_waiting_for_an_answer(state) or any("unprotected" in item for item in business)
        if urgent and self._exchange.market_open:
            return 1.0 if self._quiet < 12 else 3.0 if exposed or self._quiet < 30 else 15.0
        if urgent and self._quiet < 5:
            return 2.0
        if self._quiet < 12 and not self._venue.agrees(session):
            return (1.0, 2.0, 5.0)[self._quiet] if self._quiet < 3 else 10.0
        if session.tools.builder._parts:
            return 2.0 if self._quiet < 3 else 21.0
        if state.parents and self._exchange.market_open:
            return 60.0
        if not self._exchange.market_open:
            return 1000.0 if self._quiet < 2 else 1e9
        self._idle += 1
        return 300.0 + 3000.0 * draw(self._story.seed, "pause", self._idle)

    def _until_next_event(self) -> float:
        """Seconds to just after the next end of a bar, open, close or morning."""
        exchange, now = self._exchange, self._loop.now
        if exchange.market_open:
            minutes = TIMEFRAME.minutes * 60.0
            return minutes - (now - exchange.next_close).total_seconds() % minutes + 0.5
        opens = (exchange.next_open - now).total_seconds()
        return opens - 3540.0 if opens > 3541.0 else opens + 0.5


def _is_waiting_for_an_answer(state: CoreState) -> bool:
    """Is an order's fate open, or a symbol on its way out without an order that takes it there?"""
    for symbol in state.active_symbols():
        orders = state.live_orders(symbol)
        if any(order.is_unsettled for order in orders):
            return True
        if symbol in state.exits and symbol in state.positions and not any(order.purpose == "exit" for order in orders):
            return True
    return False
