"""A small shell for tests: the loop every real shell has, with a crash possible at each boundary, and the invariants' checker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alphatrade_pipelines.trading import CoreConfig, CoreState, Engine, MemoryLog, TradingState
from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.commands import Command, ReplaceOrder, SubmitOrder
from alphatrade_pipelines.trading.domain import ModelRef, Side, Signal, StopPolicy
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    ClockTicked,
    CorporateActionApplied,
    Event,
    OperatorAsked,
    PriceSeen,
    SessionStarted,
    SignalReceived,
    StopAsked,
    StreamStateSeen,
)
from tests.trading.fake_broker import FakeBroker, Faults

T0 = datetime(2013, 1, 2, 14, 30, tzinfo=UTC)
MODEL = ModelRef("model", "3", "bundle", "mlflow-run", "dagster-run", "data", "commit", "paper")


class Crash(Exception):  # noqa: N818 - it plays kill -9, it is not an error of the code under test
    """The process died here."""


class RecordingLog(MemoryLog):
    """A log that also notes the state's fingerprint after each durable batch, to compare with replays."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[tuple[int, str]] = []

    def replay(self, config: CoreConfig, upto: int) -> CoreState:
        state = CoreState.initial(config)
        for seq, event in self.events():
            if seq > upto:
                break
            apply(state, event)
        return state


class Shell:
    """Engine + fake broker. ``crash_at`` counts boundaries: after each journaled batch, after each executed command."""

    def __init__(self, config: CoreConfig | None = None, seed: int = 0, crash_at: int | None = None) -> None:
        self.config = config or CoreConfig()
        self.broker = FakeBroker(T0, seed)
        self.log = RecordingLog()
        self.crash_at, self.boundaries, self.crashes = crash_at, 0, 0
        self.violations: list[str] = []
        self.commands: list[Command] = []
        self.fingerprints = False
        self.flat_for_good: set[str] = set()  # symbols nobody may hold any more: a flatten was asked
        self.engine = Engine(self.config, self.log)

    @property
    def state(self) -> CoreState:
        return self.engine.state

    # -- running -------------------------------------------------------------------------------------------------------------

    def send(self, *events: Event) -> None:
        """Give events to the engine and carry out what it asks, first in first out, with the stream's updates in between."""
        todo: list[Event] = list(events)
        rounds = 0
        while todo or self.broker.outbox:
            rounds += 1
            assert rounds < 500, f"the shell never comes to rest: {todo[:3]}"
            if not todo:
                todo.extend(self.broker.deliver())
                continue
            for command in self.handle(todo.pop(0)):
                answer = self.broker.execute(command)
                self._boundary()
                if answer is not None:
                    todo.append(answer)

    def handle(self, event: Event) -> list[Command]:
        commands = self.engine.handle(event)
        for command in commands:
            self.commands.append(command)
            self._judge(command)
        if self.fingerprints:
            self.log.marks.append((sum(1 for _ in self.log.events()), self.state.fingerprint()))
        self._boundary()
        return commands

    def restart(self) -> None:
        """A new process: memory is gone, the stream's undelivered messages too."""
        self.crashes += 1
        self.broker.outbox = []
        self.engine = Engine(self.config, self.log)
        self.start()

    def run(self, steps: Sequence[tuple[object, ...]]) -> None:
        """Play a script. A crash restarts the process and repeats the interrupted step's events (never the market's part)."""
        for name, *args in steps:
            step = getattr(self, str(name))
            try:
                step(*args)
            except Crash:
                self.restart()
                repeat = {"signal": self.signal, "operator": self.operator, "stop": self.stop}.get(str(name))
                if repeat is not None:
                    repeat(*args)  # type: ignore[operator]

    def _boundary(self) -> None:
        self.boundaries += 1
        if self.crash_at is not None and self.boundaries == self.crash_at:
            raise Crash

    # -- script words --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        config = self.config.to_json()
        self.send(SessionStarted(self.broker.now, f"run-{self.crashes}", "sim", MODEL, self.broker.account(), config))

    def tick(self, seconds: float = 5.0) -> None:
        self.broker.now += timedelta(seconds=seconds)
        self.broker.work(allow_partial=False)
        self.send(self.clock())

    def clock(self) -> ClockTicked:
        now = self.broker.now
        close = now.replace(hour=21, minute=0, second=0, microsecond=0)
        return ClockTicked(now, self.broker.market_open, now + timedelta(hours=17), close if close > now else close + timedelta(days=1))

    def open_market(self) -> None:
        self.broker.market_open = True
        self.broker.work()
        self.send(self.clock())

    def close_market(self) -> None:
        self.broker.market_open = False
        self.send(self.clock())

    def price(self, symbol: str, price: object) -> None:
        self.broker.set_price(symbol, Decimal(str(price)))
        self.send(PriceSeen(self.broker.now, symbol, Decimal(str(price))), AccountSeen(self.broker.now, self.broker.account()))

    def volume(self, symbol: str, shares: int) -> None:
        """So many shares traded at the last price."""
        self.send(PriceSeen(self.broker.now, symbol, self.broker.prices[symbol], Decimal(shares)))

    def signal(self, symbol: str, hold_s: float = 86400.0) -> None:
        """A bullish opinion at the last price, decided now: said twice at one time it is the same decision."""
        self.send(SignalReceived(self.broker.now, make_signal(symbol, self.broker.prices[symbol], self.broker.now, hold_s)))

    def split(self, symbol: str, ratio: int) -> None:
        self.broker.split(symbol, ratio)
        self.send(CorporateActionApplied(self.broker.now, symbol, Decimal(ratio), Decimal(0)))

    def operator(self, request: str) -> None:
        if request == "flatten":
            self.flat_for_good.update(self.broker.prices)
        if request == "resume":
            self.flat_for_good.clear()
        self.send(OperatorAsked(self.broker.now, request, "tester"))

    def crash(self) -> None:
        raise Crash

    def stop(self, policy: str) -> None:
        if policy == "flatten":
            self.flat_for_good.update(self.broker.prices)
        self.send(StopAsked(self.broker.now, StopPolicy(policy), "test"))

    def reconnect(self) -> None:
        self.broker.outbox = []
        self.send(StreamStateSeen(self.broker.now, "trade_updates", False, "1001"), StreamStateSeen(self.broker.now, "trade_updates", True))

    def faults(self, faults: Faults) -> None:
        self.broker.faults = faults

    def by_hand(self, symbol: str, qty: int) -> None:
        self.broker.trade_by_hand(symbol, qty)
        self.send(self.clock())

    def by_hand_exactly(self, symbol: str, qty: Decimal) -> None:
        self.broker.trade_exactly(symbol, qty)
        self.send(self.clock())

    def fraction_by_hand(self, symbol: str, hundredths: int) -> None:
        """Somebody buys part of a share."""
        self.by_hand_exactly(symbol, Decimal(hundredths) / 100)

    def rest_by_hand(self, symbol: str, qty: int) -> None:
        """Somebody leaves a limit order 10 % off the market."""
        price = self.broker.prices[symbol] * (Decimal("0.9") if qty > 0 else Decimal("1.1"))
        self.broker.rest_by_hand(symbol, qty, price.quantize(Decimal("0.01")))

    def move_stop_by_hand(self, symbol: str, percent: int) -> None:
        """Somebody moves every live stop of the symbol by so much."""
        for order in self.broker.everything():
            if order.symbol == symbol and order.stop_price is not None and order.status in ("held", "new"):
                self.broker.serial += 1
                moved = (order.stop_price * (100 + percent) / 100).quantize(Decimal("0.01"))
                command = ReplaceOrder(order.broker_id, symbol, f"manual-stop-{self.broker.serial}", stop_price=moved)
                if moved < self.broker.prices[symbol]:
                    self.broker.take_place(order, command)
        self.send(self.clock())

    def settle(self, ticks: int = 45) -> None:
        """The faults are over: after this much venue time everything must be right."""
        self.broker.faults = Faults()
        for _ in range(ticks):
            self.tick(10.0)

    # -- invariants ----------------------------------------------------------------------------------------------------------

    def _judge(self, command: Command) -> None:
        if not isinstance(command, SubmitOrder) or self.state.orders[command.request.client_order_id].purpose != "entry":
            return
        if self.state.trading is TradingState.HALTED or self.state.stopping is not None:
            self.violations.append(f"entry {command.request.client_order_id} while {self.state.trading}")

    def check(self, *, quiescent: bool = True) -> list[str]:
        """Every broken invariant, judged on the broker's own ledger."""
        found = list(self.violations)
        found += [f"short position: {text}" for text in self.broker.shorted]
        found += _doubled_decisions(self)
        if quiescent:
            for symbol in sorted({*self.broker.prices, *self.broker.positions}):
                found += _at_rest(self, symbol)
        replayed = self.log.replay(self.config, 10**9).fingerprint()
        if replayed != self.state.fingerprint():
            found.append("replaying the journal gives another state")
        return found


def _doubled_decisions(shell: Shell) -> Iterator[str]:
    taken: dict[str, list[str]] = {}
    for order in shell.broker.orders:
        ours = shell.state.orders.get(order.client_order_id)
        known = order.client_order_id in shell.state.aliases or order.client_order_id.startswith(("manual", "closed-by-broker"))
        if ours is None and not known:
            yield f"order {order.client_order_id} was sent without an intent in the journal"
        if ours is not None and ours.purpose == "entry" and order.status != "rejected":
            taken.setdefault(ours.decision_id, []).append(order.client_order_id)
    for decision, orders in taken.items():
        if len(orders) > 1:
            yield f"decision {decision} became {len(orders)} orders: {orders}"


def _at_rest(shell: Shell, symbol: str) -> Iterator[str]:
    broker, state = shell.broker, shell.state
    truth = broker.positions.get(symbol, Decimal(0))
    held = state.positions.get(symbol)
    mine = held.qty if held else Decimal(0)
    if truth != mine:
        yield f"{symbol}: the core believes {mine}, the broker holds {truth}"
    executed = sum((e.qty if e.side is Side.BUY else -e.qty for e in broker.executions if e.symbol == symbol), Decimal(0))
    if executed != truth and not state.actions:  # a split converts shares without an execution
        yield f"{symbol}: position {truth} is not the sum of executions {executed}"
    protected = broker.stop_qty(symbol) + broker.queued_exit_qty(symbol)
    if truth > 0 and protected < truth:
        yield f"{symbol}: {truth} held, {protected} protected"
    if broker.held(symbol) > max(truth, Decimal(0)):
        yield f"{symbol}: {broker.held(symbol)} shares offered, {truth} held"
    if truth and symbol in shell.flat_for_good and broker.market_open:
        yield f"{symbol}: {truth} shares left although asked to flatten"
    plan = state.plans.get(symbol)
    for parent in broker.orders if truth > 0 and plan is not None else ():
        for item in (parent, *parent.legs):
            ours = parent.client_order_id in state.orders and item.symbol == symbol and item.live
            if plan is not None and ours and item.stop_price is not None and item.stop_price < plan.stop:
                yield f"{symbol}: the stop {item.broker_id} is at {item.stop_price}, planned at {plan.stop}"
    for item in broker.everything():
        counted = state.executed.get(item.broker_id, Decimal(0))
        if item.symbol == symbol and counted > item.filled:
            yield f"{symbol}: {counted} shares counted of {item.broker_id}, which filled {item.filled}"
    for order in state.live_orders(symbol):
        if order.is_unsettled:
            yield f"{symbol}: {order.request.client_order_id} is still {order.phase}"


def make_signal(symbol: str, price: Decimal, at: datetime, hold_s: float = 86400.0, **changes: object) -> Signal:
    cent = Decimal("0.01")
    values: dict[str, object] = {
        "symbol": symbol,
        "decision_time": at,
        "side": Side.BUY,
        "probability": 0.60,
        "lower": 0.57,
        "upper": 0.63,
        "payoff": 1.1,
        "payoff_error": 0.05,
        "reference_price": price,
        "stop_price": (price * Decimal("0.95")).quantize(cent),
        "target_price": (price * Decimal("1.055")).quantize(cent),
        "volatility": 0.02,
        "hold_until": at + timedelta(seconds=hold_s),
        "model_version": "3",
        "feature_hash": "feature-hash",
    }
    return Signal(**(values | changes))  # type: ignore[arg-type]
