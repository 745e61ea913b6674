"""Reconciliation: what we believe against one read of the broker, in both directions. Pure; the second pass over the same facts is silent.

By the time this runs, ``apply`` has counted the read's executions, merged its orders and noted what they said that we did not know
(``state.drift``), so what is left are true differences. Nothing is concluded for a symbol with something in flight or with activity
around the read, since two snapshots taken apart are not one state. Nothing is ever concluded from silence: an order missing from the read,
or alive in it although it had ended, is asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from alphatrade_pipelines.trading.commands import Command, ProbeOrder, ReadBroker
from alphatrade_pipelines.trading.domain import BrokerPosition
from alphatrade_pipelines.trading.events import BrokerSeen, Event, OrderUpdated
from alphatrade_pipelines.trading.findings import name
from alphatrade_pipelines.trading.orders import LocalOrder
from alphatrade_pipelines.trading.state import CoreState, Position

Item = Event | Command
DISPUTES = frozenset({"restated", "trade_bust", "trade_correct", "trade_cancel"})


def reconcile(state: CoreState, seen: BrokerSeen) -> Iterator[Item]:
    """Findings (facts to journal) and probes (questions to the broker) that follow from one read."""
    for drift in list(state.drift):
        yield from name(state, drift.kind, drift.symbol, drift.detail, drift.action)
    yield from foreign_fills(state)
    yield from _unknown_orders(state)
    yield from _position_differences(state, seen)
    yield from _order_differences(state, seen)


def foreign_fills(state: CoreState) -> Iterator[Item]:
    """Executions counted just now that no order of ours is behind. A leg not shown yet, or a close just asked for, is not foreign."""
    for counted in state.counted:
        execution, symbol = counted.execution, counted.execution.symbol
        saga = state.exits.get(symbol)
        waiting = any(order.is_unsettled or not order.legs_known for order in state.live_orders(symbol))
        if execution.broker_id in state.by_broker or waiting or (saga is not None and saga.closing is not None):
            continue
        detail = f"{execution.side} {execution.qty} at {execution.price} by order {execution.broker_id}"
        yield from name(state, "foreign_fill", symbol, detail, "counted")


def dispute(state: CoreState, event: OrderUpdated) -> Iterator[Item]:
    """The broker takes back or changes what it said of a trade: named once, by event id, and the broker is read."""
    key = event.event_id or f"{event.order.broker_id} {event.event} {event.at.isoformat()}"
    if event.event in DISPUTES and key not in state.disputes:
        yield from name(state, "execution_disputed", event.order.symbol, key, "read_broker")
        yield ReadBroker(f"{event.order.symbol}: {event.event}")


def split_ratio(held: Position, theirs: BrokerPosition) -> Decimal | None:
    """New shares for each old one, when number and average price differ by one simple ratio (up to a fraction of a share paid in cash)."""
    if not theirs.avg_entry_price or held.qty * theirs.qty <= 0:
        return None
    exact = Fraction(held.avg_price / theirs.avg_entry_price)
    ratio = exact.limit_denominator(20)
    simple = Decimal(ratio.numerator) / Decimal(ratio.denominator)
    if ratio in (0, 1) or abs(exact / ratio - 1) > Fraction(1, 200) or abs(held.qty * simple - theirs.qty) >= 1:
        return None
    return simple


def _unknown_orders(state: CoreState) -> Iterator[Item]:
    for broker_id, stranger in sorted(state.strangers.items()):
        if not stranger.reported:
            yield from name(state, "unknown_order", stranger.order.symbol, broker_id, "freeze_entries")


def _position_differences(state: CoreState, seen: BrokerSeen) -> Iterator[Item]:
    theirs = {position.symbol: position for position in seen.positions}
    moving = {old: new for old, new in sorted(state.renames.items()) if _moved_to(state, old, new, theirs)}
    for old, new in moving.items():
        if state.is_quiet(old, seen.began) and state.is_quiet(new, seen.began):
            yield from name(state, "renamed_position", old, f"{theirs[new].qty} shares are called {new} now", "rename")
    for symbol in sorted({*theirs, *state.positions} - {*moving, *moving.values()}):
        held, reported = state.positions.get(symbol), theirs.get(symbol)
        mine, broker = (held.qty if held else Decimal(0)), (reported.qty if reported else Decimal(0))
        if mine == broker or not state.is_quiet(symbol, seen.began):
            continue
        detail = f"we hold {mine}, the broker reports {broker}"
        if held is not None and reported is not None and split_ratio(held, reported) is not None:
            yield from name(state, "split_position", symbol, detail, "split", broker, reported.avg_entry_price)
            continue
        kind = "phantom_position" if not broker else "missing_position" if not mine else "quantity_mismatch"
        price = reported.avg_entry_price if reported else Decimal(0)
        yield from name(state, kind, symbol, detail, "adopt", broker, price)


def _moved_to(state: CoreState, old: str, new: str, theirs: dict[str, BrokerPosition]) -> bool:
    """Exactly what we hold under the old name is there under the new one, and nothing else is known under that."""
    held = state.positions.get(old)
    return held is not None and old not in theirs and new in theirs and new not in state.positions and theirs[new].qty == held.qty


def _order_differences(state: CoreState, seen: BrokerSeen) -> Iterator[Item]:
    listed = {order.broker_id for order in seen.orders} | {order.client_order_id for order in seen.orders}
    for symbol in sorted(state.live):
        quiet = state.is_quiet(symbol, seen.began)
        for order in state.live_orders(symbol) if quiet else ():
            known_there = order.request.client_order_id in listed or not listed.isdisjoint(order.chain)
            if not known_there:
                yield ProbeOrder(order.request.client_order_id)
            elif _asks_for_another_number(order):
                detail = f"{order.request.client_order_id}: {order.total_qty} asked for at the broker, {order.wanted_qty} by us"
                yield from name(state, "order_changed", symbol, detail, "follow", order.total_qty)
    for cid in sorted(state.contradicted):
        yield ProbeOrder(cid)


def _asks_for_another_number(order: LocalOrder) -> bool:
    return order.parent_live and not order.outdated and order.amendment is None and order.total_qty != order.wanted_qty
