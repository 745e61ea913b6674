"""The trading core with 500 symbols: applying events, deciding, the whole engine, and coming back after a crash.

A made-up broker answers in memory, in the order the real one does: taken, told as new, filled, its legs awake.
"""

from __future__ import annotations

import tempfile
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from alphatrade_pipelines.journal import SqliteJournal
from alphatrade_pipelines.risk import LimitsConfig, SizingConfig
from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.commands import Command, SubmitOrder
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import AccountState, BrokerOrder, Execution, OrderClass, OrderRequest, Side, Signal
from alphatrade_pipelines.trading.engine import Engine, EventLog, MemoryLog
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    BrokerSeen,
    ClockTicked,
    Event,
    OrderUpdated,
    Outcome,
    PriceSeen,
    SessionStarted,
    SignalReceived,
    SubmitEnded,
)
from alphatrade_pipelines.trading.state import CoreState
from benchmarks.made_up import MODEL
from benchmarks.timing import Row, timed

SYMBOLS = tuple(f"S{number:03d}" for number in range(500))
T0 = datetime(2024, 1, 2, 15, 0, tzinfo=UTC)
PRICE, STOP, TARGET = Decimal(100), Decimal(98), Decimal(103)
ACCOUNT = AccountState("PA-BENCH", Decimal(10_000_000), Decimal(10_000_000), Decimal(40_000_000))
CONFIG = CoreConfig(
    sizing=SizingConfig(max_symbol_fraction=0.001),
    limits=LimitsConfig(max_positions=1000, max_trades_a_day=10**6),
)


def rows() -> list[Row]:
    """Every figure of this file."""
    return [*applying(), *deciding(), *handling(), *restarting()]


class MadeUp:
    """An engine and its broker. ``offered`` is every event from outside, in order."""

    def __init__(self, log: EventLog | None = None) -> None:
        self.engine = Engine(CONFIG, log or MemoryLog())
        self.at, self.offered, self._ids = T0, list[Event](), 0
        self.send(SessionStarted(self.at, "bench", "sim", MODEL, ACCOUNT, CONFIG.to_json()))
        self.look()
        self.tick()

    def send(self, event: Event) -> list[Command]:
        """Hand over one event and, until nothing follows, what the broker makes of the commands."""
        todo, first = deque([event]), list[Command]()
        while todo:
            now = todo.popleft()
            self.offered.append(now)
            commands = self.engine.handle(now)
            first = first or commands
            for command in commands:
                if isinstance(command, SubmitOrder):
                    todo.extend(self._filled(command.request))
        return first

    def look(self) -> None:
        """A reconciliation read in which everything agrees."""
        self.send(BrokerSeen(self.at, self.at, (), (), (), self.at, ACCOUNT) if not self.engine.state.positions else self._seen())

    def _seen(self) -> BrokerSeen:
        from alphatrade_pipelines.trading.domain import BrokerPosition

        held = tuple(BrokerPosition(symbol, position.qty, position.avg_price) for symbol, position in self.engine.state.positions.items())
        return BrokerSeen(self.at, self.at, held, tuple(self._orders), (), self.at, ACCOUNT)

    @property
    def _orders(self) -> list[BrokerOrder]:
        return [
            self._order(order.request, "filled")
            for symbol in sorted(self.engine.state.live)
            for order in self.engine.state.live_orders(symbol)
        ]

    def tick(self, seconds: float = 1.0) -> None:
        self.at += timedelta(seconds=seconds)
        self.send(ClockTicked(self.at, True, T0 + timedelta(days=1), T0 + timedelta(hours=6)))

    def signal(self, symbol: str, probability: float = 0.7) -> SignalReceived:
        """An opinion of this moment."""
        p = probability
        return SignalReceived(
            self.at,
            Signal(
                symbol, self.at, Side.BUY, p, p - 0.03, p + 0.03, 1.5, 0.05, PRICE, STOP, TARGET, 0.01, self.at + timedelta(days=5), "1", ""
            ),
        )

    def _filled(self, request: OrderRequest) -> list[Event]:
        self._ids += 1
        new, filled = self._order(request, "new"), self._order(request, "filled")
        fill = Execution(f"fill-{self._ids}", new.broker_id, request.symbol, request.side, request.qty, PRICE, self.at)
        told: list[Event] = [SubmitEnded(self.at, request.client_order_id, Outcome.CONFIRMED, new), OrderUpdated(self.at, "new", new)]
        told += [OrderUpdated(self.at, "fill", filled, fill), *(OrderUpdated(self.at, "new", leg) for leg in filled.legs)]
        return told

    def _order(self, request: OrderRequest, status: str) -> BrokerOrder:
        name = request.client_order_id
        order = BrokerOrder(
            f"b-{name}", name, request.symbol, request.side, request.qty, request.qty if status == "filled" else Decimal(0), PRICE,
            request.kind.value, request.order_class.value, request.time_in_force.value, status,
        )  # fmt: skip
        if request.order_class is not OrderClass.BRACKET:
            return order
        awake = "new" if status == "filled" else "held"
        common = {"client_order_id": f"leg-{name}", "side": request.side.opposite, "filled_qty": Decimal(0), "order_class": "bracket"}
        target = replace(order, broker_id=f"t-{name}", kind="limit", limit_price=request.take_profit, status=awake, **common)  # type: ignore[arg-type]
        stop = replace(order, broker_id=f"s-{name}", kind="stop", stop_price=request.stop_loss, status="held", **common)  # type: ignore[arg-type]
        return replace(order, legs=(target, stop))


def invested(log: EventLog | None = None, symbols: int = len(SYMBOLS)) -> MadeUp:
    """A core that holds a protected position in each of the first ``symbols``."""
    world = MadeUp(log)
    for symbol in SYMBOLS[:symbols]:
        world.send(PriceSeen(world.at, symbol, PRICE))
        world.send(world.signal(symbol))
    assert len(world.engine.state.positions) == symbols, "the made-up broker fills everything"
    return world


def busy(world: MadeUp, minutes: int) -> None:
    """Minutes of a day with all symbols: prices, an account, signals (mostly about what is held), a tick a second, reads."""
    for _ in range(minutes):
        for symbol in SYMBOLS:
            world.send(PriceSeen(world.at, symbol, PRICE))
        world.send(AccountSeen(world.at, ACCOUNT))
        for symbol in SYMBOLS:
            world.send(world.signal(symbol))
        for second in range(60):
            world.tick()
            if second % 30 == 29:
                world.look()


def applying() -> list[Row]:
    """Replaying a journal of a busy day into a fresh memory."""
    log = MemoryLog()
    busy(invested(log), 3)
    events = [event for _, event in log.events()]

    def replay() -> None:
        state = CoreState.initial(CONFIG)
        for event in events:
            apply(state, event)

    wall, cpu = (len(events) / timed(replay, 3, clock) for clock in (perf_counter, process_time))
    return [
        (f"core, events applied, 500 symbols, {len(events):,} events", wall, "events/s"),
        ("core, events applied, the same in CPU time", cpu, "events/s"),
    ]


def deciding() -> list[Row]:
    """Signal in, intents out, with positions in 250 symbols; with the journal its fsync is included."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for label, log in (
            ("without journal", MemoryLog()),
            ("journal with fsync included", SqliteJournal(Path(folder) / "journal.sqlite")),
        ):
            world, each = invested(log, 250), []
            for symbol in SYMBOLS[250:]:
                event = world.signal(symbol)
                began = perf_counter()
                commands = world.engine.handle(event)
                each.append((perf_counter() - began) * 1e3)
                assert isinstance(commands[0], SubmitOrder)
            found += [(f"core, decision, 500 symbols, {label}, p{share}", float(np.percentile(each, share)), "ms") for share in (50, 99)]
            if isinstance(log, SqliteJournal):
                log.close()
    return found


def handling() -> list[Row]:
    """The whole engine over three busy minutes of 500 held and protected symbols, and a single tick and a single read among them."""
    world = invested()
    count = len(world.offered)
    began = perf_counter()
    busy(world, 3)
    seconds = perf_counter() - began
    tick = timed(world.tick, 20)
    look = timed(world.look, 5)
    return [
        (
            "core, events handled, 500 protected positions: prices, signals, ticks, reads",
            (len(world.offered) - count) / seconds,
            "events/s",
        ),
        ("core, one tick over 500 protected positions", tick * 1e3, "ms"),
        ("core, one reconciliation read of 500 positions and 1,500 orders", look * 1e3, "ms"),
    ]


def restarting() -> list[Row]:
    """From a journal of 10,000 events on disk to an engine that has asked the broker: no snapshot, the worst case."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        with SqliteJournal(path) as log:
            memory = MemoryLog()
            world = invested(memory)
            while sum(1 for _ in memory.events()) < 10_000:
                busy(world, 1)
            log.append_many([event for _, event in memory.events()][:10_000])

        def come_back() -> None:
            with SqliteJournal(path) as again:
                engine = Engine(CONFIG, again)
                assert engine.state.positions

        wall, cpu = timed(come_back, 3), timed(come_back, 3, process_time)
    return [
        ("core, ready after a crash, journal of 10,000 events, no snapshot", wall, "s"),
        ("core, ready after a crash, the same in CPU time", cpu, "s"),
    ]
