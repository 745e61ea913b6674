"""Leaving a position: cancel what rests at the broker -> wait for the broker's word -> close at market; again until flat.

The saga lives in the state (``state.exits``), every step is derived from what is known now, so it resumes anywhere after a crash. No
refusal ends it: it waits a little longer each time (at most ``retry_longest_s``), cancels orders of others that hold the shares, and
raises an alarm from the ``attempts_before_alarm``-th refusal on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from alphatrade_pipelines.trading.commands import Command, RaiseAlert, ReadBroker
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import CancelIntended, Event, OrderIntended
from alphatrade_pipelines.trading.ids import EXIT_REASON, client_order_id, exit_decision
from alphatrade_pipelines.trading.orders import LocalOrder
from alphatrade_pipelines.trading.state import CoreState

Item = Event | Command


def time_exit_due(state: CoreState, symbol: str) -> bool:
    """The vertical barrier: held until its time, and the market is open."""
    plan = state.plans.get(symbol)
    return state.market_open and symbol in state.positions and plan is not None and state.clock >= plan.hold_until


def advance_exit(state: CoreState, symbol: str, reason: str) -> Iterator[Item]:
    """The next step out of ``symbol``; nothing while a step waits for the broker."""
    saga = state.exits.get(symbol)
    why = saga.reason if saga else reason
    resting = [order for order in state.live_orders(symbol) if order.purpose != "exit" and order.cancel_target]
    for order in resting:
        yield from cancel_group(state, order, f"{EXIT_REASON}{why}")
    if saga is not None and saga.next_try is not None:
        yield from _cancel_strangers(state, symbol, f"{EXIT_REASON}{why}")
    if not resting:
        yield from _close_at_market(state, symbol, why)


def cancel_group(state: CoreState, order: LocalOrder, reason: str) -> Iterator[Item]:
    """Ask once to cancel a group; ask again, and read the broker, when no word came for ``cancel_retry_s``."""
    target, asked = order.cancel_target, order.cancel_asked_at
    if target is None:
        return
    if asked is not None and state.clock - asked < timedelta(seconds=state.config.cancel_retry_s):
        return
    if asked is not None:
        yield ReadBroker(f"no word on the cancellation of {order.request.client_order_id}")
    yield CancelIntended(state.clock, target, order.request.symbol, reason)


def _cancel_strangers(state: CoreState, symbol: str, reason: str) -> Iterator[Item]:
    for broker_id, stranger in sorted(state.strangers.items()):
        if stranger.order.symbol == symbol and stranger.cancel_asked_at is None:
            yield CancelIntended(state.clock, broker_id, symbol, reason)


def _close_at_market(state: CoreState, symbol: str, reason: str) -> Iterator[Item]:
    held, saga = state.positions.get(symbol), state.exits.get(symbol)
    closing = [order for order in state.live_orders(symbol) if order.purpose == "exit"]
    if held is None or any(order.is_unsettled for order in closing) or state.has_uncounted_fills(symbol):
        return
    if saga is not None and saga.next_try is not None and state.clock < saga.next_try:
        return
    qty = abs(held.qty) - sum(order.request.qty - order.filled_qty for order in closing)
    if qty <= 0:
        return
    attempts = saga.attempts if saga else 0
    if attempts >= state.config.attempts_before_alarm:
        yield RaiseAlert("CRITICAL", "EXIT_REFUSED", f"{symbol}: {attempts} attempts to leave {held.qty} shares ({reason}) failed so far")
    plan = state.plans.get(symbol)
    decision = exit_decision(reason, plan.decision_id if plan else symbol)
    attempt = state.intents.get(symbol, 0)
    request = OrderRequest(
        client_order_id=client_order_id(decision, symbol, state.clock, "exit", attempt),
        symbol=symbol,
        side=Side.SELL if held.qty > 0 else Side.BUY,
        qty=qty,
        kind=OrderKind.MARKET,
        order_class=OrderClass.SIMPLE,
        time_in_force=TimeInForce.DAY,
    )
    yield OrderIntended(state.clock, request, "exit", decision, attempt)
