"""Leaving a position: cancel what rests at the broker -> wait for the broker's word -> close; again until flat.

The ladder, climbed by refusals that will not pass by themselves: market orders -> limit orders through the market (moved after it while
they rest) -> the broker's own "close this position" -> from the first rung again. It has no end but a flat position: each refusal waits a
little longer (at most ``exit_retry_longest_s``, where few wait), the first one cancels orders of others that hold the shares, and an
alarm sounds from the ``attempts_before_alarm``-th attempt on, each time they have doubled, and when an accepted exit rests. An exit that
sells what is no longer held (the position was turned round by hand) is cancelled. Cancels and exits are never checked against limits.

The saga lives in the state (``state.exits``); every step is derived from what is known now, so it resumes anywhere after a crash.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from alphatrade_pipelines.trading.commands import Command, ProbeOrder, RaiseAlert, ReadBroker
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import CancelIntended, CloseIntended, Event, OrderIntended
from alphatrade_pipelines.trading.ids import EXIT_REASON, client_order_id, exit_decision
from alphatrade_pipelines.trading.orders import LocalOrder
from alphatrade_pipelines.trading.rejections import price_increment
from alphatrade_pipelines.trading.replacing import replace_order
from alphatrade_pipelines.trading.state import CoreState, ExitSaga, Position

Item = Event | Command


def time_exit_due(state: CoreState, symbol: str) -> bool:
    """The vertical barrier: held until its time, and the market is open."""
    plan = state.plans.get(symbol)
    return state.market_open and symbol in state.positions and plan is not None and state.clock >= plan.hold_until


def advance_exit(state: CoreState, symbol: str, reason: str) -> Iterator[Item]:
    """The next step out of ``symbol``; nothing while a step waits for the broker."""
    saga = state.exits.get(symbol)
    why = saga.reason if saga else reason
    resting = [order for order in state.live_orders(symbol) if order.cancel_target and not _is_leaving(state, order)]
    for order in resting:
        yield from cancel_group(state, order, f"{EXIT_REASON}{why}")
    if saga is not None and saga.next_try is not None:
        yield from _cancel_strangers(state, symbol, f"{EXIT_REASON}{why}")
    if all(cancel_hangs(state, order) for order in resting):
        yield from _close(state, symbol, why)


def cancel_hangs(state: CoreState, order: LocalOrder) -> bool:
    """An entry that was to be cancelled ``entry_cancel_wait_s`` ago and has not ended: what it has bought cannot wait. Nothing else is
    passed over like that: what protects or closes holds the shares."""
    asked = order.cancel_since
    patience = timedelta(seconds=state.config.entry_cancel_wait_s)
    return bool(order.remaining_entry) and asked is not None and state.clock - asked >= patience


def _is_leaving(state: CoreState, order: LocalOrder) -> bool:
    held = state.positions.get(order.request.symbol)
    return order.purpose == "exit" and (held is None or (order.request.side is Side.SELL) == (held.qty > 0))


def cancel_group(state: CoreState, order: LocalOrder, reason: str) -> Iterator[Item]:
    """Ask once to cancel a group; ask for the order, read the broker, and ask again, when no word came for ``cancel_retry_s`` (for
    ``retry_longest_s`` while the market is closed and the broker says that it is at it: that may last until the open)."""
    config, target, asked = state.config, order.cancel_target, order.cancel_asked_at
    if target is None:
        return
    patience = config.retry_longest_s if order.is_cancelling and not state.market_open else config.cancel_retry_s
    if asked is not None and state.clock - asked < timedelta(seconds=patience):
        return
    if asked is not None:
        yield ProbeOrder(order.request.client_order_id)
        yield ReadBroker(f"no word on the cancellation of {order.request.client_order_id}")
    yield CancelIntended(state.clock, target, order.request.symbol, reason)


def _cancel_strangers(state: CoreState, symbol: str, reason: str) -> Iterator[Item]:
    patience = timedelta(seconds=state.config.cancel_retry_s)
    for _, stranger in sorted(state.strangers.items()):
        waited = stranger.cancel_asked_at is None or state.clock - stranger.cancel_asked_at >= patience
        if stranger.order.symbol == symbol and waited:
            yield CancelIntended(state.clock, stranger.cancel_target, symbol, reason)


def _close(state: CoreState, symbol: str, reason: str) -> Iterator[Item]:
    held, saga = state.positions.get(symbol), state.exits.get(symbol)
    closing = [order for order in state.live_orders(symbol) if order.purpose == "exit"]
    if held is None:
        return
    yield from _alarm_at_rest(state, symbol, closing)
    if any(order.is_unsettled for order in closing) or state.has_uncounted_fills(symbol):
        return
    if saga is not None and saga.closing is not None:
        return  # the broker was asked to close it; its answer, or the next read, goes on
    missing = abs(held.qty) - sum((order.open_qty for order in closing), Decimal(0))
    if missing < 0:  # part of it was sold by somebody else: what is left of the exit would flip the position
        yield from cancel_group(state, closing[-1], f"{EXIT_REASON}{reason}")
        return
    for order in closing:
        yield from _move_limit(state, order, held)
    if missing > 0 and not (saga is not None and saga.next_try is not None and state.clock < saga.next_try):
        yield from _next_rung(state, held, missing, reason, saga)


def _next_rung(state: CoreState, held: Position, qty: Decimal, reason: str, saga: ExitSaga | None) -> Iterator[Item]:
    symbol, config = held.symbol, state.config
    attempts = saga.attempts if saga else 0
    if _is_worth_an_alarm(attempts, config.attempts_before_alarm):
        yield RaiseAlert("CRITICAL", "EXIT_REFUSED", f"{symbol}: {attempts} attempts to leave {held.qty} shares ({reason}) failed so far")
    plan, attempt = state.plans.get(symbol), state.intents.get(symbol, 0)
    decision = exit_decision(reason, plan.decision_id if plan else symbol)
    ladder = config.exit_market_attempts + config.exit_limit_attempts + 1
    rung = (saga.refusals if saga else 0) % ladder
    if rung == ladder - 1 and qty == abs(held.qty):
        yield CloseIntended(state.clock, symbol, decision, attempt)
        return
    limit = marketable_limit(state, held) if rung >= config.exit_market_attempts else None
    request = OrderRequest(
        client_order_id=client_order_id(decision, symbol, state.clock, "exit", attempt),
        symbol=symbol,
        side=Side.SELL if held.qty > 0 else Side.BUY,
        qty=qty,
        kind=OrderKind.MARKET if limit is None else OrderKind.LIMIT,
        order_class=OrderClass.SIMPLE,
        time_in_force=TimeInForce.DAY,
        limit_price=limit,
    )
    yield OrderIntended(state.clock, request, "exit", decision, attempt)


def _is_worth_an_alarm(attempts: int, first: int) -> bool:
    """At the first, twice, four times as many …: one every few seconds would only hide the others."""
    times, rest = divmod(attempts, first)
    return times > 0 and not rest and times.bit_count() == 1


def marketable_limit(state: CoreState, held: Position) -> Decimal | None:
    """A limit through the last price, so that it fills like a market order but not at any price; None without a price."""
    mark = state.marks.get(held.symbol)
    if mark is None:
        return None
    through = Decimal(repr(state.config.exit_limit_collar)) * (-1 if held.qty > 0 else 1)
    price = mark * (1 + through)
    return price.quantize(price_increment(price))


def _alarm_at_rest(state: CoreState, symbol: str, closing: list[LocalOrder]) -> Iterator[Item]:
    """Whatever rests, or has no answer, for long in an open market is said aloud: once per ``exit_stalled_s``, whatever the ticks are."""
    pause, last = state.config.exit_stalled_s, state.ticked_before
    if not state.market_open or state.clock != state.ticked_at:
        return
    for order in closing:
        waited = (state.clock - order.intended_at).total_seconds()
        before = (last - order.intended_at).total_seconds() if last is not None else 0.0
        if order.open_qty and waited // pause > max(before, 0.0) // pause:
            waits = "an answer" if order.is_unsettled else "a fill"
            yield RaiseAlert("CRITICAL", "EXIT_STALLED", f"{symbol}: {order.open_qty} shares wait for {waits} since {order.intended_at}")


def _move_limit(state: CoreState, order: LocalOrder, held: Position) -> Iterator[Item]:
    """An exit's limit that the market has run away from follows it."""
    if not order.open_qty or not state.market_open:
        return
    head, price = order.head, marketable_limit(state, held)
    if head is None or head.limit_price is None or price is None or price == head.limit_price:
        return
    ran_away = price < head.limit_price if order.request.side is Side.SELL else price > head.limit_price
    since = order.amend_after or order.intended_at
    if not ran_away or state.clock - since < timedelta(seconds=state.config.exit_reprice_s):
        return
    if order.filled_qty or order.amend_refusals >= state.config.attempts_before_alarm:
        # a partly filled order is not replaced (see replacing.py), another cannot be: it makes room for a new one
        yield from cancel_group(state, order, f"{EXIT_REASON}reprice")
        return
    moved = replace_order(state, order, head, "exit_reprice", limit_price=price)
    if moved is not None:
        yield moved
