"""The exchange in process, as the core's broker: the same answers the server would give, without the wire between."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from alphatrade_pipelines.trading.commands import CancelOrder, ClosePosition, Command, ProbeOrder, ReadBroker, ReplaceOrder, SubmitOrder
from alphatrade_pipelines.trading.domain import AccountState, BrokerOrder, BrokerPosition, Execution, OrderRequest, Side
from alphatrade_pipelines.trading.events import (
    BrokerSeen,
    CancelEnded,
    ClockTicked,
    CloseEnded,
    CorporateActionApplied,
    Event,
    OrderProbed,
    OrderUpdated,
    Outcome,
    ReplaceEnded,
    SubmitEnded,
)
from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.orders import Fill, TradeUpdate, VenueOrder, VenueOrderRequest
from alphatrade_pipelines.venue.exchange.tape import CorporateAction

OVERLAP = timedelta(minutes=10)


class ExchangeBroker:
    """Executes commands at an ``Exchange``; nothing is ever UNKNOWN here."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._since = exchange.now
        self._seen_live: set[str] = set()
        self._fills_read = 0

    def execute(self, command: Command, at: datetime) -> Event | None:
        """How the command ended; None for alerts."""
        if isinstance(command, SubmitOrder):
            return self._submit(command.request, at)
        if isinstance(command, CancelOrder):
            return self._cancel(command.broker_id, at)
        if isinstance(command, ReplaceOrder):
            return self._replace(command, at)
        if isinstance(command, ClosePosition):
            return self._close(command.symbol, at)
        if isinstance(command, ProbeOrder):
            return self._probe(command.client_order_id, at)
        if isinstance(command, ReadBroker):
            return self._read(at)
        return None

    def _submit(self, request: OrderRequest, at: datetime) -> SubmitEnded:
        try:
            order = broker_order(self._exchange.submit(venue_request(request)))
        except VenueError as error:
            return SubmitEnded(at, request.client_order_id, Outcome.REFUSED, None, error.http_status, error.code, reason(error))
        self._seen_live.add(order.broker_id)
        return SubmitEnded(at, request.client_order_id, Outcome.CONFIRMED, order)

    def _cancel(self, broker_id: str, at: datetime) -> CancelEnded:
        try:
            self._exchange.cancel(broker_id)
        except VenueError as error:
            return CancelEnded(at, broker_id, Outcome.REFUSED, error.http_status, error.code, reason(error))
        return CancelEnded(at, broker_id, Outcome.CONFIRMED)

    def _replace(self, command: ReplaceOrder, at: datetime) -> ReplaceEnded:
        ids = (command.client_order_id, command.broker_id)
        try:
            order = self._exchange.replace(
                command.broker_id,
                qty=command.qty,
                limit_price=command.limit_price,
                stop_price=command.stop_price,
                client_order_id=command.client_order_id,
            )
        except VenueError as error:
            return ReplaceEnded(at, *ids, Outcome.REFUSED, None, error.http_status, error.code, reason(error))
        self._seen_live.add(order.id)
        return ReplaceEnded(at, *ids, Outcome.CONFIRMED, broker_order(order))

    def _close(self, symbol: str, at: datetime) -> CloseEnded:
        try:
            order = broker_order(self._exchange.close_position(symbol))
        except VenueError as error:
            return CloseEnded(at, symbol, Outcome.REFUSED, None, error.http_status, error.code, reason(error))
        self._seen_live.add(order.broker_id)
        return CloseEnded(at, symbol, Outcome.CONFIRMED, order)

    def _probe(self, client_order_id: str, at: datetime) -> OrderProbed:
        try:
            found = self._exchange.order_by_client_id(client_order_id)
        except VenueError:
            return OrderProbed(at, client_order_id, Outcome.REFUSED)
        return OrderProbed(at, client_order_id, Outcome.CONFIRMED, broker_order(found))

    def _read(self, at: datetime) -> BrokerSeen:
        """Groups with something alive, and those that were alive at the last look (with what replaced them); fills since then."""
        live = {order.root.id for order in self._exchange.book.live()}
        wanted = live | self._seen_live
        for order_id in sorted(wanted):
            successor = self._exchange.order(order_id).replaced_by
            while successor is not None and successor not in wanted:
                wanted.add(successor)
                successor = self._exchange.order(successor).replaced_by
        orders = tuple(broker_order(self._exchange.order(order_id)) for order_id in sorted(wanted))
        self._seen_live = live
        since, fills = self._since, self._exchange.book.fills
        self._since = at - OVERLAP
        fresh = tuple(execution_of(fill) for fill in fills[self._fills_read :])
        self._fills_read = len(fills)
        positions = tuple(BrokerPosition(held.symbol, held.qty, held.avg_entry_price) for held in self._exchange.positions())
        return BrokerSeen(at, at, positions, orders, fresh, since, self.account())

    def account(self) -> AccountState:
        """The account now."""
        view = self._exchange.account()
        return AccountState(view.account_number, view.equity, view.cash, view.buying_power)

    def clock(self) -> ClockTicked:
        """The exchange's clock."""
        exchange = self._exchange
        return ClockTicked(exchange.now, exchange.market_open, exchange.next_open, exchange.next_close)

    def updates(self) -> list[OrderUpdated]:
        """Trade updates since the last call, stamped now."""
        return [order_updated(update, self._exchange.now) for update in self._exchange.drain()]


def reason(error: VenueError) -> str:
    """Text of a refusal with its extra keys, as the gateway reads it off the wire."""
    return f"{error.message} {json.dumps(error.extra, sort_keys=True)}" if error.extra else error.message


def venue_request(request: OrderRequest) -> VenueOrderRequest:
    """Our order in the exchange's words."""
    return VenueOrderRequest(
        symbol=request.symbol,
        side=request.side.value,
        qty=request.qty,
        type=request.kind.value,
        time_in_force=request.time_in_force.value,
        order_class=request.order_class.value,
        limit_price=request.limit_price,
        stop_price=request.stop_price,
        take_profit=request.take_profit,
        stop_loss=request.stop_loss,
        client_order_id=request.client_order_id,
    )


def broker_order(order: VenueOrder) -> BrokerOrder:
    """The exchange's order in the core's words."""
    return BrokerOrder(
        broker_id=order.id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=Side(order.side),
        qty=order.qty,
        filled_qty=order.filled_qty,
        filled_avg_price=order.filled_avg_price,
        kind=order.type,
        order_class=order.order_class,
        time_in_force=order.time_in_force,
        status=order.status,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        replaces=order.replaces,
        replaced_by=order.replaced_by,
        submitted_at=order.submitted_at,
        legs=tuple(broker_order(leg) for leg in order.legs),
    )


def execution_of(fill: Fill) -> Execution:
    """The exchange's fill in the core's words."""
    return Execution(fill.execution_id, fill.order_id, fill.symbol, Side(fill.side), fill.qty, fill.price, fill.at)


def order_updated(update: TradeUpdate, at: datetime) -> OrderUpdated:
    """The exchange's update in the core's words."""
    order, execution = broker_order(update.order), None
    if update.execution_id is not None and update.qty is not None and update.price is not None:
        execution = Execution(update.execution_id, order.broker_id, order.symbol, order.side, update.qty, update.price, update.at)
    return OrderUpdated(at, update.event, order, execution, update.event_id)


def corporate_events(actions: Iterable[CorporateAction], at: datetime) -> list[CorporateActionApplied]:
    """Splits and dividends of one morning, by symbol. The ratio is the exact fraction the wire carries, not the float's expansion."""
    found = []
    for action in sorted(actions, key=lambda action: action.symbol):
        ratio = Fraction(action.split).limit_denominator(10_000)
        split = Decimal(ratio.numerator) / Decimal(ratio.denominator)
        found.append(CorporateActionApplied(at, action.symbol, split, Decimal(str(action.dividend))))
    return found
