"""Reconciliation: what we believe against one read of the broker, in both directions. Pure; the second pass over the same facts is silent.

By the time this runs, ``apply`` has counted the read's executions and merged its orders, so what is left are true differences. Nothing is
concluded for a symbol with something in flight or with activity after the read began; nothing is ever concluded from silence: an order
missing from the read is asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from alphatrade_pipelines.trading.commands import Command, ProbeOrder
from alphatrade_pipelines.trading.events import BrokerSeen, DiscrepancyFound, Event
from alphatrade_pipelines.trading.state import CoreState

Item = Event | Command


def reconcile(state: CoreState, seen: BrokerSeen) -> Iterator[Item]:
    """Findings (facts to journal) and probes (questions to the broker) that follow from one read."""
    for fill in state.missed:
        symbol, _, execution_id = fill.partition(" ")
        yield DiscrepancyFound(seen.at, "missed_fill", symbol, execution_id, "counted")
    yield from _unknown_orders(state, seen)
    yield from _position_differences(state, seen)
    yield from _absent_orders(state, seen)


def _unknown_orders(state: CoreState, seen: BrokerSeen) -> Iterator[Item]:
    for broker_id, stranger in sorted(state.strangers.items()):
        if not stranger.reported:
            yield DiscrepancyFound(seen.at, "unknown_order", stranger.order.symbol, broker_id, "freeze_entries")


def _position_differences(state: CoreState, seen: BrokerSeen) -> Iterator[Item]:
    theirs = {position.symbol: position for position in seen.positions}
    for symbol in sorted({*theirs, *state.positions}):
        held, reported = state.positions.get(symbol), theirs.get(symbol)
        mine, broker = (held.qty if held else Decimal(0)), (reported.qty if reported else Decimal(0))
        if mine == broker or not state.is_quiet(symbol, seen.began):
            continue
        kind = "phantom_position" if not broker else "missing_position" if not mine else "quantity_mismatch"
        price = reported.avg_entry_price if reported else Decimal(0)
        yield DiscrepancyFound(seen.at, kind, symbol, f"we hold {mine}, the broker reports {broker}", "adopt", broker, price)


def _absent_orders(state: CoreState, seen: BrokerSeen) -> Iterator[Item]:
    listed = {order.broker_id for order in seen.orders} | {order.client_order_id for order in seen.orders}
    for symbol in sorted(state.live):
        for order in state.live_orders(symbol):
            known_there = order.broker_id in listed or order.request.client_order_id in listed
            if not order.is_unsettled and not known_there and state.is_quiet(symbol, seen.began):
                yield ProbeOrder(order.request.client_order_id)
