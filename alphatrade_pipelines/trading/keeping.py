"""What keeps protection right once it covers everything, and what is written down when a stop filled beyond its price.

- A stop that somebody moved away from the market would lose more than the position was sized for: it is moved back by replacing the leg,
  so the group protects at every step. A tighter stop, and any other target, is somebody's wish and becomes the plan.
- Alpaca ages orders out after 90 days: older groups are renewed during a session, while every answer takes a moment only.
- A fraction of a share (a split, a hand) cannot be in an OCO, brokers take fractions as simple DAY orders only: it is sold at market as
  soon as the market is open. A stop re-armed every morning would leave it naked at each open, and would cost more than it protects.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from alphatrade_pipelines.trading.commands import Command
from alphatrade_pipelines.trading.coverage import is_dust
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import Event, GapLossRecorded, OrderIntended
from alphatrade_pipelines.trading.exits import cancel_group
from alphatrade_pipelines.trading.findings import name
from alphatrade_pipelines.trading.ids import client_order_id
from alphatrade_pipelines.trading.orders import Link, LocalOrder
from alphatrade_pipelines.trading.replacing import replace_order
from alphatrade_pipelines.trading.state import CoreState, Position

Item = Event | Command


def keep_in_order(state: CoreState, held: Position) -> Iterator[Item]:
    """The position is covered: are its stops where they belong, and young enough?"""
    for order in state.live_orders(held.symbol):
        if order.protective_qty <= 0 or order.amendment is not None or order.cancel_asked_at is not None:
            continue
        stop = order.stop_leg
        if stop is not None and stop.stop_price is not None:
            yield from _judge_stop(state, held, order, stop, stop.stop_price)
        yield from _judge_target(state, held, order)
        if _is_old(state, order):
            yield from cancel_group(state, order, "renewal")
            return  # one at a time: what it covered gets its OCO before the next one goes


def _judge_stop(state: CoreState, held: Position, order: LocalOrder, stop: Link, price: Decimal) -> Iterator[Item]:
    plan = state.plans.get(held.symbol)
    if plan is None or price == plan.stop:
        return
    looser = price < plan.stop if held.qty > 0 else price > plan.stop
    detail = f"stop of {order.request.client_order_id} is at {price}, planned at {plan.stop}"
    if not looser:
        yield from name(state, "stop_moved", held.symbol, detail, "accept", None, price)
        return
    if order.amend_refusals >= state.config.attempts_before_alarm:  # it cannot be moved: a short moment without beats a wrong stop for good
        yield from cancel_group(state, order, "stop_moved")
        return
    back = replace_order(state, order, stop, "stop_moved", stop_price=plan.stop)
    if back is not None:
        if not order.amend_refusals:
            yield from name(state, "stop_moved", held.symbol, detail, "restore", None, plan.stop)
        yield back


def _judge_target(state: CoreState, held: Position, order: LocalOrder) -> Iterator[Item]:
    plan = state.plans.get(held.symbol)
    links = [order.head] if order.request.order_class is OrderClass.OCO else list(order.live_legs)
    targets = [link.limit_price for link in links if link is not None and link.is_live and link.limit_price and not link.is_stop]
    if plan is None or len(targets) != 1 or targets[0] == plan.target:
        return
    detail = f"target of {order.request.client_order_id} is at {targets[0]}, planned at {plan.target}"
    yield from name(state, "target_moved", held.symbol, detail, "accept", None, targets[0])


def _is_old(state: CoreState, order: LocalOrder) -> bool:
    age = timedelta(days=state.config.protection_renew_days)
    return state.market_open and state.clock - order.intended_at >= age


def trim_fraction(state: CoreState, held: Position, fraction: Decimal) -> Iterator[Item]:
    """Sell less than one share at market, once the market is open, unless the broker has made clear that it does not take it."""
    symbol, tried = held.symbol, state.dust.get(held.symbol)
    if not state.market_open or is_dust(state, symbol) or (tried is not None and state.clock < tried.next_try):
        return
    plan, attempt = state.plans.get(symbol), state.intents.get(symbol, 0)
    decision = f"trim|{plan.decision_id if plan else symbol}"
    request = OrderRequest(
        client_order_id=client_order_id(decision, symbol, state.clock, "trim", attempt),
        symbol=symbol,
        side=Side.SELL if held.qty > 0 else Side.BUY,
        qty=fraction,
        kind=OrderKind.MARKET,
        order_class=OrderClass.SIMPLE,
        time_in_force=TimeInForce.DAY,
    )
    yield OrderIntended(state.clock, request, "trim", decision, attempt)


def gap_losses(state: CoreState) -> Iterator[Item]:
    """Executions counted just now at which a stop of ours lost more than it was meant to."""
    for counted in state.counted:
        execution, order = counted.execution, _order_of(state, counted.execution.broker_id)
        link = _link_of(order, execution.broker_id) if order is not None else None
        if order is None or link is None or link.stop_price is None or counted.avg_price is None:
            continue
        direction = 1 if execution.side is Side.SELL else -1
        beyond = (link.stop_price - execution.price) * direction
        if beyond > 0:
            yield GapLossRecorded(
                state.clock,
                execution.symbol,
                order.decision_id,
                execution.execution_id,
                execution.qty,
                link.stop_price,
                execution.price,
                (counted.avg_price - link.stop_price) * execution.qty * direction,
                (counted.avg_price - execution.price) * execution.qty * direction,
            )


def _order_of(state: CoreState, broker_id: str) -> LocalOrder | None:
    cid = state.by_broker.get(broker_id)
    return state.orders.get(cid) if cid is not None else None


def _link_of(order: LocalOrder, broker_id: str) -> Link | None:
    return order.legs.get(broker_id) or order.chain.get(broker_id)
