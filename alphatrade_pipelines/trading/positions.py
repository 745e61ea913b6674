"""Positions are sums of executions, nothing else. An execution counts once, whoever reports it and how often."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from alphatrade_pipelines.risk import limits as risk_limits
from alphatrade_pipelines.trading.domain import Execution, Side
from alphatrade_pipelines.trading.events import OrderUpdated
from alphatrade_pipelines.trading.state import CoreState, Counted, Position


def count_execution(state: CoreState, execution: Execution) -> bool:
    """Apply one execution; False when it had been counted before, alone or inside an adopted position.

    Alpaca's activity feed names a fill ``<timestamp>::<uuid>`` where the stream says ``<uuid>``: both are the same fill.
    """
    key = execution_key(execution)
    if key in state.executions:
        return False
    state.executions[key] = None
    counted = state.executed.get(execution.broker_id, Decimal(0))
    state.executed[execution.broker_id] = counted + execution.qty
    if execution.at < state.adopted.get(execution.symbol, execution.at):
        # older than the broker's position that was adopted: contained in it, unless it came while that was read, and then so are the
        # shares that its order reported at that time
        reported = _reported(state, execution.broker_id)
        if reported is not None:
            state.executed[execution.broker_id] = max(counted, min(counted + execution.qty, reported))
        state.look_again_at = state.clock + timedelta(seconds=state.config.activity_guard_s + 1.0)
        return False
    signed = execution.qty if execution.side is Side.BUY else -execution.qty
    held = state.positions.get(execution.symbol)
    state.counted.append(Counted(execution, held.avg_price if held is not None else None))
    _move(state, execution.symbol, signed, execution.price, execution.at)
    if held is None and _only_closes(state, execution.broker_id):
        state.positions[execution.symbol].flipped = True
    return True


def _reported(state: CoreState, broker_id: str) -> Decimal | None:
    """Shares that an order of ours, or a leg of one, is known to have filled; None for an order that is not ours."""
    order = state.orders.get(state.by_broker.get(broker_id, ""))
    return dict(order.fills()).get(broker_id) if order is not None else None


def _only_closes(state: CoreState, broker_id: str) -> bool:
    """An order of ours that may close but never open: an exit, protection, a leg."""
    order = state.orders.get(state.by_broker.get(broker_id, ""))
    return order is not None and (not order.opens or broker_id in order.legs)


def execution_key(execution: Execution) -> str:
    """What makes an execution unique, whoever reports it."""
    return execution.execution_id.rsplit("::", 1)[-1]


def named_execution(execution: Execution, update: OrderUpdated) -> Execution:
    """An execution whose broker gave it no id of its own is named by its event, or by how much of its order had filled with it."""
    if execution.execution_id:
        return execution
    key = f"event {update.event_id}" if update.event_id else f"{execution.broker_id}:{update.order.filled_qty}"
    return replace(execution, execution_id=key)


def adopt(state: CoreState, symbol: str, qty: Decimal, price: Decimal, at: datetime) -> None:
    """Take the broker's position as ours where executions cannot explain the difference."""
    held = state.positions.pop(symbol, None)
    state.adopted[symbol] = at
    settle_fills(state, symbol)
    if qty:
        opened = held.opened_at if held else at
        state.positions[symbol] = Position(symbol, qty, price, Decimal(0), opened, len(state.positions) + 1)
        _count_concurrent(state)
    _forget_if_flat(state, symbol)


def settle_fills(state: CoreState, symbol: str) -> None:
    """A consistent read showed the position: whatever the symbol's orders report as filled is contained in it."""
    for order in state.live_orders(symbol):
        for broker_id, filled in order.fills():
            state.executed[broker_id] = max(filled, state.executed.get(broker_id, Decimal(0)))


def split(state: CoreState, symbol: str, ratio: Decimal) -> None:
    """Convert position, plan, mark and open orders' validity to the new share count (``ratio`` new shares per old one)."""
    held = state.positions.get(symbol)
    if held is not None:
        held.qty, held.avg_price = held.qty * ratio, held.avg_price / ratio
    if symbol in state.marks:
        state.marks[symbol] /= ratio
    plan = state.plans.get(symbol)
    if plan is not None:
        cent = Decimal("0.01")
        plan.stop, plan.target = (plan.stop / ratio).quantize(cent), (plan.target / ratio).quantize(cent)
    if state.entry_retries.pop(symbol, None) is not None and held is None:
        state.plans.pop(symbol, None)
    for order in state.live_orders(symbol):
        order.outdated = True


def split_unannounced(state: CoreState, symbol: str, qty: Decimal, price: Decimal, at: datetime) -> None:
    """The broker's position differs from ours by a split that no corporate action announced; its number and price are taken over."""
    held = state.positions[symbol]
    ratio = qty / held.qty
    mark = state.marks.get(symbol)
    split(state, symbol, ratio)
    if mark is not None and abs(mark - price) < abs(mark / ratio - price):
        state.marks[symbol] = mark  # the last price had been converted already
    held.qty, held.avg_price = qty, price
    state.actions[f"{symbol}|{at.date().isoformat()}"] = None


def rename(state: CoreState, old: str, new: str, at: datetime) -> None:
    """The same shares under another name: position, plan, last price and a saga on its way out go along. Orders do not: the broker cancels
    those of the old name, or we do."""
    books: tuple[dict[str, Any], ...] = (state.positions, state.plans, state.marks, state.marked_at, state.exits)
    for book in books:
        if old in book:
            book[new] = book.pop(old)
    state.positions[new].symbol = new
    state.adopted[new] = at


def _move(state: CoreState, symbol: str, signed: Decimal, price: Decimal, at: datetime) -> None:
    held = state.positions.get(symbol)
    if held is None:
        state.positions[symbol] = Position(symbol, signed, price, Decimal(0), at, len(state.positions) + 1)
        _count_concurrent(state)
        return
    if held.qty * signed > 0:
        held.avg_price = (held.avg_price * held.qty + price * signed) / (held.qty + signed)
        held.qty += signed
        return
    closing = min(abs(signed), abs(held.qty))
    direction = 1 if held.qty > 0 else -1
    held.realized += (price - held.avg_price) * closing * direction
    held.qty += signed
    if held.qty * direction <= 0:
        _close_trade(state, held)
        if held.qty:
            state.positions[symbol] = Position(symbol, held.qty, price, Decimal(0), at, len(state.positions) + 1, flipped=True)
        _forget_if_flat(state, symbol)


def _close_trade(state: CoreState, held: Position) -> None:
    del state.positions[held.symbol]
    state.closed_trades += 1
    state.realized += held.realized
    won = held.realized > 0
    risk_limits.record_closed_trade(state.limits, won, state.config.limits)
    plan = state.plans.get(held.symbol)
    if plan is not None:
        state.record = state.record.after(won, plan.probability, held.concurrent, state.config.sizing)


def _forget_if_flat(state: CoreState, symbol: str) -> None:
    if symbol in state.positions:
        return
    state.repairs.pop(symbol, None)
    state.dust.pop(symbol, None)
    if not any(order.remaining_entry for order in state.live_orders(symbol)):
        state.plans.pop(symbol, None)
        state.exits.pop(symbol, None)


def _count_concurrent(state: CoreState) -> None:
    count = len(state.positions)
    for held in state.positions.values():
        held.concurrent = max(held.concurrent, count)
