"""The judge. It looks at the venue's own books, never at what the trader says of itself, and names what must never be.

How long a position stood without protection is counted in venue seconds while the market is open, and only while the trader could act:
not while its process is down or has not read the broker yet, while requests fail (until one succeeds), while the symbol is halted or not
tradable, while the account is restricted, or while views lie about the past. Two bounds hold: ``AWARE_SECONDS`` from the moment the core
knows of the exposure, ``UNAWARE_SECONDS`` in all (when nobody told it, the next reconciliation does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from alphatrade_pipelines.trading.commands import Command, SubmitOrder
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.coverage import uncovered_qty
from alphatrade_pipelines.trading.domain import ParentOrder
from alphatrade_pipelines.trading.events import CloseIntended, Event, OperatorAsked, OrderIntended, ParentOpened
from alphatrade_pipelines.trading.orders import Phase
from alphatrade_pipelines.trading.parent_state import SLICES
from alphatrade_pipelines.trading.state import CoreState, TradingState
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.ledger import Ledger, protected_quantity
from alphatrade_pipelines.venue.exchange.orders import STOP_TYPES, BookOrder

AWARE_SECONDS = 10.0
SLOW_ANSWER = 2.0  # seconds after which a request without an answer counts as a broker that cannot be reached, from its sending on
SLOW = "an answer is slow"
ZERO = Decimal(0)
INVARIANTS = (
    "one intent, one order",
    "intent before order",
    "fills counted once",
    "position is the sum of executions",
    "protected within bounds",
    "no entry while halted or unknown",
    "exits end flat",
    "core agrees with the broker",
    "nothing offered twice",
    "replay gives the state",
    "the session lives",
)


@dataclass(frozen=True, slots=True)
class Violation:
    """What was broken, where, when."""

    invariant: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


@dataclass(slots=True)
class Spell:
    """A stretch without full protection: seconds that count, and those of them in which the core knew. ``latest``: when, how many of both,
    for those that a request still under way may turn out to have taken."""

    since: datetime
    seconds: float = 0.0
    aware: float = 0.0
    reported: bool = False
    latest: list[tuple[datetime, float, float]] = field(default_factory=list)

    def count(self, end: datetime, seconds: float, aware: float) -> None:
        """So many more seconds."""
        self.seconds, self.aware = self.seconds + seconds, self.aware + aware
        recent = end - timedelta(seconds=SLOW_ANSWER)
        self.latest = [item for item in self.latest if item[0] > recent] + [(end, seconds, aware)]

    def take_back(self) -> None:
        """A request has had no answer for ``SLOW_ANSWER`` seconds: the broker could not be reached in them either."""
        self.seconds -= sum(seconds for _, seconds, _ in self.latest)
        self.aware -= sum(aware for _, _, aware in self.latest)
        self.latest = []


@dataclass(slots=True)
class Look:
    """What the judge needs to know of the trader at a moment; ``state`` is None while no process is up."""

    state: CoreState | None
    paused: str


@dataclass(slots=True)
class Worked:
    """A parent order as the journal tells of it: ``slices`` are the client order ids intended since it was opened."""

    order: ParentOrder
    slices: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Told:
    """What the journal tells of orders: ``intents`` by client order id (the first of each), ``closings``: how often a symbol's position was
    to be closed by the venue itself, by an order that it names; ``worked``: parents and intents in the journal's order."""

    intents: dict[str, OrderIntended] = field(default_factory=dict)
    closings: Counter[str] = field(default_factory=Counter)
    worked: list[ParentOpened | OrderIntended] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take note of an event, if it tells anything of orders."""
        if isinstance(event, OrderIntended):
            self.intents.setdefault(event.request.client_order_id, event)
        if isinstance(event, CloseIntended):
            self.closings[event.symbol] += 1
        if isinstance(event, ParentOpened | OrderIntended):
            self.worked.append(event)


def closing_quantity(position: Decimal, live: Iterable[BookOrder]) -> Decimal:
    """Shares of a position that orders to leave at once (no stops, no profit legs) are closing."""
    return sum((o.remaining for o in live if o.active and o.role == "entry" and o.type not in STOP_TYPES and o.sign * position < 0), ZERO)


@dataclass
class Judge(Ledger):
    """Takes the place of the exchange's ledger, so that it sees all that one sees; ``checks`` counts judgements by invariant."""

    look: Callable[[str], Look] = lambda _: Look(None, "not started")
    limit: float = 60.0
    violations: list[Violation] = field(default_factory=list)
    checks: Counter[str] = field(default_factory=Counter)
    longest: Counter[str] = field(default_factory=Counter)
    paused: Counter[str] = field(default_factory=Counter)
    _spells: dict[str, Spell] = field(default_factory=dict)
    _before: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def found(self, invariant: str, detail: str) -> None:
        """Take note of a violation."""
        self.violations.append(Violation(invariant, detail))

    # --- protection -------------------------------------------------------------------------------------------------------------------

    def pass_time(
        self, start: datetime, end: datetime, positions: Mapping[str, Decimal], live: Mapping[str, Mapping[str, BookOrder]]
    ) -> None:
        """See ``Ledger``; every stretch without protection is measured."""
        Ledger.pass_time(self, start, end, positions, live)
        for symbol in [symbol for symbol in self._spells if not positions.get(symbol)]:
            del self._spells[symbol]
        for symbol, position in positions.items():
            if position:
                orders = list(live.get(symbol, {}).values())
                covered = protected_quantity(position, orders) + closing_quantity(position, orders)
                self._measure(symbol, start, end, position, covered)

    def _measure(self, symbol: str, start: datetime, end: datetime, position: Decimal, covered: Decimal) -> None:
        self.checks["protected within bounds"] += 1
        if covered >= abs(position):
            self._spells.pop(symbol, None)
            self._before.pop(symbol, None)
            return
        spell = self._spells.setdefault(symbol, Spell(start))
        now = self.look(symbol)
        before = self._before.get(symbol, (now.paused, False))
        knows = now.state is not None and _knows(now.state, symbol, position)
        paused = now.paused or before[0]
        self._before[symbol] = (now.paused, knows)
        seconds = (end - start).total_seconds()
        if now.paused == SLOW and before[0] != SLOW:
            spell.take_back()
        if paused:
            self.paused[paused] += seconds  # type: ignore[assignment]
            return
        spell.count(end, seconds, seconds if before[1] else 0.0)
        self.longest["aware"] = max(self.longest["aware"], spell.aware)  # type: ignore[assignment]
        self.longest["all"] = max(self.longest["all"], spell.seconds)  # type: ignore[assignment]
        if (spell.aware > AWARE_SECONDS or spell.seconds > self.limit) and not spell.reported:
            spell.reported = True
            what = f"{symbol}: {covered} of {position} shares protected since {spell.since.isoformat()}"
            self.found(
                "protected within bounds", f"{what}, for {spell.seconds:.1f} s ({spell.aware:.1f} s of them known) at {end.isoformat()}"
            )

    # --- commands -----------------------------------------------------------------------------------------------------------------------

    def commanded(self, before: TradingState, state: CoreState, event: Event, commands: list[Command]) -> None:
        """The core has decided: may it?"""
        for command in commands:
            if not isinstance(command, SubmitOrder):
                continue
            order = state.orders[command.request.client_order_id]
            if not order.opens:
                continue
            self.checks["no entry while halted or unknown"] += 1
            symbol = command.request.symbol
            unknown = [other for other in state.live_orders(symbol) if other is not order and other.phase is Phase.UNKNOWN]
            was_halted = before is TradingState.HALTED and not (isinstance(event, OperatorAsked) and event.request == "resume")
            if was_halted or state.trading is TradingState.HALTED or state.stopping is not None:
                self.found("no entry while halted or unknown", f"{command.request.client_order_id} sent while {state.trading} on {event}")
            if unknown:
                self.found("no entry while halted or unknown", f"{command.request.client_order_id} sent while {unknown[0]} is unknown")


def _knows(state: CoreState, symbol: str, position: Decimal) -> bool:
    held = state.positions.get(symbol)
    return held is not None and held.qty == position and (uncovered_qty(state, symbol) > 0 or symbol in state.exits)


# --- at the end -----------------------------------------------------------------------------------------------------------------------


def judge_orders(judge: Judge, exchange: Exchange, told: Told, by_hand: set[str]) -> None:
    """Every order at the venue was intended first, and every decision became at most one order."""
    closings = Counter(told.closings)
    taken: dict[str, list[str]] = {}
    for receipt in judge.receipts:
        cid = receipt.request.client_order_id or ""
        if receipt.order_id is None or receipt.order_id in by_hand:
            continue
        judge.checks["intent before order"] += 1
        intent = told.intents.get(cid)
        if intent is None and not cid and closings[receipt.request.symbol] > 0:
            closings[receipt.request.symbol] -= 1
        elif intent is None:
            judge.found("intent before order", f"the venue took {cid or 'an order without a name'}, which the journal does not hold")
        elif intent.purpose == "entry":
            order = exchange.book.orders[receipt.order_id]
            if order.status != "rejected":
                taken.setdefault(intent.decision_id, []).append(cid)
    for decision, names in taken.items():
        judge.checks["one intent, one order"] += 1
        if len(names) > 1:
            judge.found("one intent, one order", f"decision {decision} became {', '.join(names)}")


def judge_parents(judge: Judge, exchange: Exchange, told: Iterable[ParentOpened | OrderIntended]) -> None:
    """A parent's slices never trade more than it was for. A decision to enter has one parent; a decision to leave has another after a close
    that left shares, for what is still held then. ``told``: what the journal holds of them, in its order."""
    for worked in _parents(judge, told):
        judge.checks["one intent, one order"] += 1
        order = worked.order
        sent = [exchange.book.by_client_id[cid] for cid in worked.slices if cid in exchange.book.by_client_id]
        traded = sum((child.filled_qty for child in sent), ZERO)
        if traded > order.qty and not exchange.tape.actions:
            judge.found("one intent, one order", f"decision {order.decision_id} was for {order.qty} shares, its slices traded {traded}")


def _parents(judge: Judge, told: Iterable[ParentOpened | OrderIntended]) -> list[Worked]:
    """Each parent with its slices: a slice belongs to the parent opened last for its symbol when it was first intended. Intended again
    under its name, because the broker provably lacked it, it is the same order still."""
    parents: list[Worked] = []
    latest: dict[str, Worked] = {}
    entered: set[str] = set()
    named: set[str] = set()
    for event in told:
        if isinstance(event, ParentOpened):
            decision = event.parent.decision_id
            if event.parent.purpose == "entry" and decision in entered:
                judge.found("one intent, one order", f"decision {decision} to enter was given a second parent")
            entered.add(decision)
            parents.append(Worked(event.parent))
            latest[event.parent.symbol] = parents[-1]
        elif event.request.client_order_id in named:
            continue
        elif event.purpose in SLICES and event.request.symbol in latest:
            named.add(event.request.client_order_id)
            latest[event.request.symbol].slices.append(event.request.client_order_id)
        elif event.purpose in SLICES:
            judge.found("one intent, one order", f"{event.request.client_order_id} is a slice of nothing: its symbol has no parent")
    return parents


def judge_rest(judge: Judge, exchange: Exchange, state: CoreState) -> list[Violation]:
    """What must be true when everything has come to rest, with faults over and the market open. Nothing is kept: the caller decides."""
    found: list[Violation] = []
    for symbol in exchange.tape.symbols:
        position = exchange.cash_account.quantity(symbol)
        if not exchange.assets[symbol].tradable:
            continue  # its name has changed: nothing of it is taken any more
        judge.checks["core agrees with the broker"] += 1
        held = state.positions.get(symbol)
        mine = held.qty if held else ZERO
        if mine != position:
            found.append(Violation("core agrees with the broker", f"{symbol}: the core holds {mine}, the venue {position}"))
        found += _orders_agree(exchange, state, symbol)
        found += _offered(exchange, symbol, position)
        judge.checks["nothing offered twice"] += 1
    return found


def _orders_agree(exchange: Exchange, state: CoreState, symbol: str) -> list[Violation]:
    found = []
    for order in state.live_orders(symbol):
        cid = order.request.client_order_id
        if order.is_unsettled:
            found.append(Violation("core agrees with the broker", f"{symbol}: the fate of {cid} is still {order.phase}"))
            continue
        theirs = exchange.book.by_client_id.get(cid)
        if theirs is None or not any(member.is_live for member in theirs.members):
            found.append(Violation("core agrees with the broker", f"{symbol}: the core believes {cid} alive, at the venue it is not"))
    known = set(state.live.get(symbol, ()))
    strangers = set(state.strangers)
    for theirs in exchange.book.live():
        if theirs.symbol == symbol and theirs.root.client_order_id not in known and theirs.id not in strangers:
            if theirs.root.id not in strangers and theirs.root.client_order_id in state.orders:
                found.append(Violation("core agrees with the broker", f"{symbol}: {theirs.root.client_order_id} lives at the venue only"))
            elif theirs.parent is None and theirs.id not in strangers:
                found.append(Violation("core agrees with the broker", f"{symbol}: order {theirs.client_order_id} of others is not known"))
    return found


def _offered(exchange: Exchange, symbol: str, position: Decimal) -> list[Violation]:
    live = [order for order in exchange.book.live() if order.symbol == symbol]
    found = []
    protected = protected_quantity(position, live)
    leaving = closing_quantity(position, live)
    entering = any(order.opening and order.role == "entry" and order.is_live for order in live)
    if position and protected + leaving < abs(position) and not entering:
        found.append(Violation("protected within bounds", f"{symbol}: {protected + leaving} of {position} shares protected at rest"))
    if protected + leaving > abs(position) and not entering:
        found.append(Violation("nothing offered twice", f"{symbol}: {protected + leaving} shares on offer, {position} held"))
    return found


def judge_flat(judge: Judge, exchange: Exchange) -> None:
    """Asked to close everything long ago: nothing is held but what an order at market is closing as soon as somebody trades."""
    judge.checks["exits end flat"] += 1
    for symbol, position in exchange.cash_account.positions().items():
        leaving = closing_quantity(position, [order for order in exchange.book.live() if order.symbol == symbol])
        if leaving < abs(position) and exchange.assets[symbol].tradable and exchange.market_open:
            judge.found("exits end flat", f"{symbol}: asked to flatten, {position} held and {leaving} on their way out")


def judge_fills(judge: Judge, exchange: Exchange, state: CoreState, config: CoreConfig) -> None:
    """The venue's positions are the sum of what happened; the core has counted each execution of its orders exactly once."""
    if not exchange.tape.actions:
        sums: dict[str, Decimal] = {}
        for fill in exchange.book.fills:
            sums[fill.symbol] = sums.get(fill.symbol, ZERO) + (fill.qty if fill.side == "buy" else -fill.qty)
        for trade in exchange.outside_trades:
            sums[trade.symbol] = sums.get(trade.symbol, ZERO) + trade.qty
        for symbol in exchange.tape.symbols:
            judge.checks["position is the sum of executions"] += 1
            position = exchange.cash_account.quantity(symbol)
            if sums.get(symbol, ZERO) != position:
                judge.found(
                    "position is the sum of executions", f"{symbol}: executions give {sums.get(symbol, ZERO)}, the account {position}"
                )
    truth: Counter[str] = Counter()
    for fill in exchange.book.fills:
        truth[fill.order_id] += fill.qty  # type: ignore[assignment]
        judge.checks["fills counted once"] += 1
        if fill.execution_id not in state.executions:
            judge.found("fills counted once", f"execution {fill.execution_id} of {fill.qty} {fill.symbol} was never counted")
    for broker_id, counted in state.executed.items():
        if counted != truth.get(broker_id, ZERO):
            judge.found("fills counted once", f"order {broker_id}: {counted} shares counted, {truth.get(broker_id, ZERO)} executed")
