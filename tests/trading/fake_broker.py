"""A broker for tests: Alpaca's order rules in small, its own ledger of truth, and every fault a wire can have.

It follows notes of Alpaca's behaviour: client order ids unique for ever (422 40010001), legs wake only on a complete entry fill, a
cancelled order takes its group along, shares held by resting sells cannot be sold again (403 40310000), orders queue while closed, a
replacement is a new order under a new id, legs change prices only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from alphatrade_pipelines.trading.commands import CancelOrder, ClosePosition, Command, ProbeOrder, ReadBroker, ReplaceOrder, SubmitOrder
from alphatrade_pipelines.trading.domain import (
    TERMINAL_STATUSES,
    AccountState,
    BrokerOrder,
    BrokerPosition,
    Execution,
    OrderRequest,
    Side,
)
from alphatrade_pipelines.trading.events import (
    BrokerSeen,
    CancelEnded,
    CloseEnded,
    Event,
    OrderProbed,
    OrderUpdated,
    Outcome,
    ReplaceEnded,
    SubmitEnded,
)

CASH = Decimal("100000")


@dataclass(frozen=True)
class Faults:
    """Probability of each fault; ``rng`` decides. All zero: a perfect broker."""

    lost: float = 0.0  # the request never arrives, the caller times out
    unsent: float = 0.0  # no connection: the broker has nothing, and the caller knows
    unanswered: float = 0.0  # the request arrives and is carried out, the caller times out
    refused: float = 0.0  # a refusal with a random cause
    late_reject: float = 0.0  # accepted, rejected afterwards
    partial: float = 0.0  # a market order fills in two parts
    stuck: float = 0.0  # the second part of an entry never comes
    dropped: float = 0.0  # a trade update is never delivered
    doubled: float = 0.0  # a trade update is delivered twice
    shuffled: bool = False  # trade updates arrive out of order
    silent_sibling: bool = False  # the cancelled other leg is never streamed
    mute_reads: float = 0.0  # probes and reads get no answer


REFUSALS = (
    (403, 40310000, "insufficient buying power"),
    (403, 40310000, "potential wash trade detected. use complex orders"),
    (429, 42910000, "rate limit exceeded"),
    (422, 42210000, "asset is halted"),
    (403, 40310000, "market is closed"),
    (500, None, "<html>502 Bad Gateway</html>"),
)


@dataclass
class FakeOrder:
    """One order or leg as the broker keeps it."""

    broker_id: str
    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    kind: str
    order_class: str
    status: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    filled: Decimal = Decimal(0)
    stuck: bool = False
    replaces: str | None = None
    replaced_by: str | None = None
    legs: list[FakeOrder] = field(default_factory=list)
    parent: FakeOrder | None = None

    @property
    def live(self) -> bool:
        return self.status not in TERMINAL_STATUSES

    def seen(self, *, nested: bool) -> BrokerOrder:
        return BrokerOrder(
            broker_id=self.broker_id,
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            qty=self.qty,
            filled_qty=self.filled,
            filled_avg_price=None,
            kind=self.kind,
            order_class=self.order_class,
            time_in_force="gtc",
            status=self.status,
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            replaces=self.replaces,
            replaced_by=self.replaced_by,
            legs=tuple(leg.seen(nested=False) for leg in self.legs) if nested else (),
        )


class FakeBroker:
    """Ground truth plus the wire. ``outbox`` holds trade updates not yet delivered."""

    def __init__(self, now: datetime, seed: int = 0) -> None:
        self.now = self.began = now
        self.market_open = False
        self.faults = Faults()
        self.rng = random.Random(seed)
        self.orders: list[FakeOrder] = []
        self.gone: list[FakeOrder] = []  # legs that were replaced: the broker still knows them by id
        self.positions: dict[str, Decimal] = {}
        self.costs: dict[str, Decimal] = {}
        self.prices: dict[str, Decimal] = {}
        self.executions: list[Execution] = []
        self.outbox: list[OrderUpdated] = []
        self.shorted: list[str] = []
        self.serial = 0

    # -- the wire ------------------------------------------------------------------------------------------------------------

    def execute(self, command: Command) -> Event | None:
        """Carry out one command as a gateway would, faults included; the answer event, or None when there is none."""
        if isinstance(command, SubmitOrder):
            return self._submit(command.request)
        if isinstance(command, CancelOrder):
            return self._cancel(command.broker_id)
        if isinstance(command, ReplaceOrder):
            return self._replace(command)
        if isinstance(command, ClosePosition):
            return self._close(command.symbol)
        if isinstance(command, ProbeOrder):
            return self._probe(command.client_order_id)
        return self._read() if isinstance(command, ReadBroker) else None

    def deliver(self) -> list[OrderUpdated]:
        """Trade updates as the stream brings them: perhaps dropped, doubled, out of order."""
        delivered: list[OrderUpdated] = []
        for update in self.outbox:
            if self._happens(self.faults.dropped):
                continue
            delivered.append(update)
            if self._happens(self.faults.doubled):
                delivered.append(update)
        self.outbox = []
        if self.faults.shuffled:
            self.rng.shuffle(delivered)
        return delivered

    def account(self) -> AccountState:
        value = sum((qty * self.prices[symbol] for symbol, qty in self.positions.items()), Decimal(0))
        cash = CASH - sum((e.qty * e.price * (1 if e.side is Side.BUY else -1) for e in self.executions), Decimal(0))
        return AccountState("FAKE1", cash + value, cash, cash * 2)

    def _submit(self, request: OrderRequest) -> SubmitEnded:
        cid = request.client_order_id
        if self._happens(self.faults.unsent):
            return SubmitEnded(self.now, cid, Outcome.UNSENT, reason="not sent: ConnectTimeout")
        if self._happens(self.faults.lost):
            return SubmitEnded(self.now, cid, Outcome.UNKNOWN, reason="read timeout")
        if self._happens(self.faults.refused):
            status, code, reason = self.rng.choice(REFUSALS)
            outcome = Outcome.UNKNOWN if status == 500 else Outcome.REFUSED
            return SubmitEnded(self.now, cid, outcome, http_status=status, code=code, reason=reason)
        fault = self._refusal(request)
        if fault is not None:
            status, code, reason = fault
            return SubmitEnded(self.now, cid, Outcome.REFUSED, http_status=status, code=code, reason=reason)
        order = self._accept(request)
        answer = SubmitEnded(self.now, cid, Outcome.CONFIRMED, order=order.seen(nested=True))
        if self._happens(self.faults.late_reject):
            self._end(order, "rejected")
        else:
            self.work(order.symbol)
        if self._happens(self.faults.unanswered):
            return SubmitEnded(self.now, cid, Outcome.UNKNOWN, reason="504 after accept")
        return answer

    def _refusal(self, request: OrderRequest) -> tuple[int, int, str] | None:
        if any(order.client_order_id == request.client_order_id for order in self.orders):
            return 422, 40010001, "client_order_id must be unique"
        if request.side is Side.SELL:
            free = self.positions.get(request.symbol, Decimal(0)) - self.held(request.symbol)
            if request.qty > free:
                return 403, 40310000, f"insufficient qty available for order (requested: {request.qty}, available: {free})"
        price = self.prices[request.symbol]
        if request.order_class.value == "oco" and request.stop_loss is not None and request.stop_loss >= price:
            return 422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01"
        return None

    def _accept(self, request: OrderRequest) -> FakeOrder:
        kind = "limit" if request.order_class.value == "oco" else request.kind.value
        order = self._new(request.client_order_id, request, request.side, kind, "new" if self.market_open else "accepted")
        order.limit_price, order.stop_price = request.limit_price, request.stop_price
        self.orders.append(order)
        if request.order_class.value == "oco":
            order.limit_price = request.take_profit
            self._add_leg(order, request, request.side, stop=request.stop_loss)
        if request.order_class.value == "bracket":
            self._add_leg(order, request, request.side.opposite, limit=request.take_profit)
            self._add_leg(order, request, request.side.opposite, stop=request.stop_loss)
        self._tell("new", order)
        return order

    def _add_leg(
        self, parent: FakeOrder, request: OrderRequest, side: Side, limit: Decimal | None = None, stop: Decimal | None = None
    ) -> None:
        leg = self._new(f"made-by-broker-{self.serial}", request, side, "stop" if stop else "limit", "held")
        leg.limit_price, leg.stop_price, leg.parent = limit, stop, parent
        parent.legs.append(leg)

    def _new(self, cid: str, request: OrderRequest, side: Side, kind: str, status: str) -> FakeOrder:
        self.serial += 1
        order_class = request.order_class.value
        return FakeOrder(f"b{self.serial}", cid, request.symbol, side, request.qty, kind, order_class, status)

    def _cancel(self, broker_id: str) -> CancelEnded:
        if self._happens(self.faults.lost):
            return CancelEnded(self.now, broker_id, Outcome.UNKNOWN, reason="read timeout")
        found = [order for order in self.everything() if order.broker_id == broker_id]
        if not found:
            return CancelEnded(self.now, broker_id, Outcome.REFUSED, 404, 40410000, "order not found")
        if not found[0].live:
            return CancelEnded(self.now, broker_id, Outcome.REFUSED, 422, 42210000, f'order is already in "{found[0].status}" state')
        self._cancel_group(found[0])
        if self._happens(self.faults.unanswered):
            return CancelEnded(self.now, broker_id, Outcome.UNKNOWN, reason="504 after cancel")
        return CancelEnded(self.now, broker_id, Outcome.CONFIRMED)

    def _replace(self, command: ReplaceOrder) -> ReplaceEnded:
        ids = (command.client_order_id, command.broker_id)
        if self._happens(self.faults.lost):
            return ReplaceEnded(self.now, *ids, Outcome.UNKNOWN, reason="read timeout")
        if self._happens(self.faults.refused):
            return ReplaceEnded(self.now, *ids, Outcome.REFUSED, None, 429, 42910000, "rate limit exceeded")
        found = [order for order in self.everything() if order.broker_id == command.broker_id]
        if not found:
            return ReplaceEnded(self.now, *ids, Outcome.REFUSED, None, 404, 40410000, "order not found")
        old = found[0]
        if old.status not in ("new", "held", "partially_filled"):
            return ReplaceEnded(self.now, *ids, Outcome.REFUSED, None, 422, 42210000, f"cannot replace order in {old.status} status")
        if any(order.client_order_id == command.client_order_id for order in self.everything()):
            return ReplaceEnded(self.now, *ids, Outcome.REFUSED, None, 422, 40010001, "client_order_id must be unique")
        if command.qty is not None and old.order_class != "simple":
            return ReplaceEnded(self.now, *ids, Outcome.REFUSED, None, 422, 42210000, "qty of a complex order cannot be replaced")
        new = self.take_place(old, command)
        answer = ReplaceEnded(self.now, *ids, Outcome.CONFIRMED, new.seen(nested=True))
        if self._happens(self.faults.unanswered):
            return ReplaceEnded(self.now, *ids, Outcome.UNKNOWN, reason="504 after accept")
        return answer

    def take_place(self, old: FakeOrder, command: ReplaceOrder) -> FakeOrder:
        """``old`` ends replaced, a new order with a new id stands in its place (the quantity asked for includes what is filled)."""
        self.serial += 1
        new = FakeOrder(
            f"b{self.serial}", command.client_order_id, old.symbol, old.side, (command.qty or old.qty) - old.filled, old.kind,
            old.order_class, "held" if old.status == "held" else "new",
            command.limit_price or old.limit_price, command.stop_price or old.stop_price,
            replaces=old.broker_id, legs=old.legs, parent=old.parent,
        )  # fmt: skip
        old.legs = []
        for leg in new.legs:
            leg.parent = new
        if new.parent is not None:
            new.parent.legs[new.parent.legs.index(old)] = new
        else:
            self.orders.append(new)
        if new.parent is not None:
            self.gone.append(old)
        old.replaced_by = new.broker_id
        self._end(old, "replaced")
        self._tell("new", new)
        return new

    def _close(self, symbol: str) -> CloseEnded:
        if self._happens(self.faults.lost):
            return CloseEnded(self.now, symbol, Outcome.UNKNOWN, reason="read timeout")
        held = self.positions.get(symbol, Decimal(0))
        if not held:
            return CloseEnded(self.now, symbol, Outcome.REFUSED, None, 404, 40410000, "position does not exist")
        free = abs(held) - self.held(symbol)
        if free < abs(held):
            reason = f"insufficient qty available for order (requested: {abs(held)}, available: {free})"
            return CloseEnded(self.now, symbol, Outcome.REFUSED, None, 403, 40310000, reason)
        self.serial += 1
        side = Side.SELL if held > 0 else Side.BUY
        status = "new" if self.market_open else "accepted"
        order = FakeOrder(f"b{self.serial}", f"closed-by-broker-{self.serial}", symbol, side, abs(held), "market", "simple", status)
        self.orders.append(order)
        self._tell("new", order)
        answer = CloseEnded(self.now, symbol, Outcome.CONFIRMED, order.seen(nested=True))
        self.work(symbol)
        if self._happens(self.faults.unanswered):
            return CloseEnded(self.now, symbol, Outcome.UNKNOWN, reason="504 after accept")
        return answer

    def _cancel_group(self, order: FakeOrder) -> None:
        self._end(order, "canceled")
        root = order.parent or order
        for other in (root, *root.legs):
            if other.live:
                other.status = "canceled"
                if not self.faults.silent_sibling:
                    self._tell("canceled", other)

    def _probe(self, cid: str) -> OrderProbed:
        if self._happens(self.faults.mute_reads):
            return OrderProbed(self.now, cid, Outcome.UNKNOWN)
        for order in self.everything():
            if order.client_order_id == cid:
                return OrderProbed(self.now, cid, Outcome.CONFIRMED, order.seen(nested=True))
        return OrderProbed(self.now, cid, Outcome.REFUSED)

    def _read(self) -> BrokerSeen | None:
        if self._happens(self.faults.mute_reads):
            return None
        positions = tuple(BrokerPosition(symbol, qty, self.costs[symbol]) for symbol, qty in sorted(self.positions.items()) if qty)
        orders = tuple(order.seen(nested=True) for order in (*self.orders, *self.gone))
        return BrokerSeen(self.now, self.now, positions, orders, tuple(self.executions), self.began, self.account())

    # -- the market ----------------------------------------------------------------------------------------------------------

    def set_price(self, symbol: str, price: Decimal) -> None:
        """The market trades at ``price``: stops trigger (and gap), limits fill."""
        self.prices[symbol] = price
        if not self.market_open:
            return
        for order in self.everything():
            active = order.symbol == symbol and order.live and order.status in ("new", "held", "partially_filled")
            asleep = order.parent is not None and order.order_class == "bracket" and order.parent.status != "filled"
            if not active or asleep:
                continue
            if order.stop_price is not None and self._reached(order.side, price, order.stop_price):
                self._fill(order, order.qty - order.filled, price)
            elif order.limit_price is not None and self._reached(order.side.opposite, price, order.limit_price):
                self._fill(order, order.qty - order.filled, order.limit_price)

    def work(self, symbol: str | None = None, *, allow_partial: bool = True) -> None:
        """Fill market orders, and limit orders that are as good, while the market is open."""
        for order in list(self.orders):
            wanted = self._takes(order) and order.live and not order.stuck and symbol in (None, order.symbol)
            if not self.market_open or not wanted:
                continue
            left = order.qty - order.filled
            if allow_partial and left > 1 and self._happens(self.faults.partial):
                left = Decimal(self.rng.randint(1, int(left) - 1))
                order.stuck = order.side is Side.BUY and self._happens(self.faults.stuck)
            self._fill(order, left, self.prices[order.symbol])

    def _takes(self, order: FakeOrder) -> bool:
        """Would this order trade at the price there is?"""
        if order.kind == "market":
            return True
        limit = order.limit_price
        return order.order_class != "oco" and limit is not None and self._reached(order.side.opposite, self.prices[order.symbol], limit)

    def split(self, symbol: str, ratio: int) -> None:
        """A forward split on its ex-date morning: shares and price convert, open orders are cancelled."""
        if symbol in self.positions:
            self.positions[symbol] *= ratio
            self.costs[symbol] /= ratio
        self.prices[symbol] /= ratio
        self.cancel_all(symbol)

    def cancel_all(self, symbol: str) -> None:
        for order in self.everything():
            if order.symbol == symbol and order.live:
                self._end(order, "canceled")

    def trade_by_hand(self, symbol: str, qty: int) -> None:
        """Somebody trades in the account without us: the fill is in the history, no order of ours is behind it."""
        self.trade_exactly(symbol, Decimal(qty))

    def trade_exactly(self, symbol: str, qty: Decimal) -> None:
        """The same, also in fractions of a share."""
        self.serial += 1
        side = Side.BUY if qty > 0 else Side.SELL
        order = FakeOrder(f"b{self.serial}", f"manual-{self.serial}", symbol, side, abs(qty), "market", "simple", "new")
        self.orders.append(order)
        self._fill(order, order.qty, self.prices[symbol])

    def rest_by_hand(self, symbol: str, qty: int, limit: Decimal) -> FakeOrder:
        """Somebody leaves a limit order in the account."""
        self.serial += 1
        side = Side.BUY if qty > 0 else Side.SELL
        order = FakeOrder(f"b{self.serial}", f"manual-{self.serial}", symbol, side, Decimal(abs(qty)), "limit", "simple", "new", limit)
        self.orders.append(order)
        return order

    # -- truth ---------------------------------------------------------------------------------------------------------------

    def everything(self) -> list[FakeOrder]:
        return [item for order in self.orders for item in (order, *order.legs)]

    def held(self, symbol: str) -> Decimal:
        """Shares reserved by resting sells; a group counts once."""
        total = Decimal(0)
        for order in self.orders:
            group = [item for item in (order, *order.legs) if item.symbol == symbol and item.side is Side.SELL and item.live]
            asleep = order.order_class == "bracket" and order.status != "filled"
            if group and not asleep:
                total += max(item.qty - item.filled for item in group)
        return total

    def stop_qty(self, symbol: str) -> Decimal:
        """Shares a live, awake sell stop protects."""
        total = Decimal(0)
        for order in self.everything():
            awake = order.parent is None or order.order_class == "oco" or order.parent.status == "filled"
            if order.symbol == symbol and order.stop_price is not None and order.side is Side.SELL and order.live and awake:
                total += order.qty - order.filled
        return total

    def queued_exit_qty(self, symbol: str) -> Decimal:
        """Shares of live market sells: on their way out."""
        leaving = [o for o in self.orders if o.symbol == symbol and o.live and o.kind == "market" and o.side is Side.SELL]
        return sum((order.qty - order.filled for order in leaving), Decimal(0))

    def _fill(self, order: FakeOrder, qty: Decimal, price: Decimal) -> None:
        order.filled += qty
        order.status = "filled" if order.filled == order.qty else "partially_filled"
        signed = qty if order.side is Side.BUY else -qty
        before = self.positions.get(order.symbol, Decimal(0))
        self.positions[order.symbol] = before + signed
        if signed > 0:
            cost = self.costs.get(order.symbol, Decimal(0)) * before + price * signed
            self.costs[order.symbol] = cost / (before + signed) if before + signed else price
        if self.positions[order.symbol] < 0:
            self.shorted.append(f"{order.symbol} by {order.client_order_id}")
        execution = Execution(f"x{len(self.executions) + 1}", order.broker_id, order.symbol, order.side, qty, price, self.now)
        self.executions.append(execution)
        self._tell("fill" if order.status == "filled" else "partial_fill", order, execution)
        if order.status == "filled":
            self._after_fill(order)

    def _after_fill(self, order: FakeOrder) -> None:
        if order.parent is None and order.order_class == "bracket":
            for leg in order.legs:
                leg.status = "held" if leg.stop_price is not None else "new"
                if leg.status == "new":
                    self._tell("new", leg)
            return
        root = order.parent or order
        for other in (root, *root.legs):
            if other.live and other is not order:
                other.status = "canceled"
                if not self.faults.silent_sibling:
                    self._tell("canceled", other)

    def _end(self, order: FakeOrder, status: str) -> None:
        order.status = status
        self._tell(status, order)
        if status == "rejected":
            for leg in order.legs:
                leg.status = "canceled"

    def _tell(self, event: str, order: FakeOrder, execution: Execution | None = None) -> None:
        self.outbox.append(OrderUpdated(self.now, event, order.seen(nested=False), execution))

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self.rng.random() < probability

    @staticmethod
    def _reached(side: Side, price: Decimal, trigger: Decimal) -> bool:
        return price <= trigger if side is Side.SELL else price >= trigger
