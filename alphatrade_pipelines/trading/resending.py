"""When the broker's answer never came: ask for the order by its name, and send the same order again only if it provably is not there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from alphatrade_pipelines.trading.commands import Command, ProbeOrder
from alphatrade_pipelines.trading.events import Event, OrderIntended
from alphatrade_pipelines.trading.orders import LocalOrder, Phase
from alphatrade_pipelines.trading.state import CoreState, TradingState

MAX_ENTRY_SENDS = 4


def signal_is_fresh(state: CoreState, symbol: str) -> bool:
    """The latest signal of ``symbol`` is young enough to act on."""
    signal = state.signals.get(symbol)
    return signal is not None and _is_fresh(state, signal.decision_time)


def _is_fresh(state: CoreState, decided: datetime | None) -> bool:
    return decided is not None and state.clock - decided <= timedelta(seconds=state.config.signal_max_age_s)


def still_wanted(state: CoreState, order: LocalOrder) -> bool:
    """Would the core send exactly this order now?"""
    symbol = order.request.symbol
    held = state.positions.get(symbol)
    if order.outdated:
        return False
    if order.purpose == "entry":
        may_enter = state.trading is TradingState.ACTIVE and symbol not in state.exits and held is None
        return may_enter and order.sends < MAX_ENTRY_SENDS and _is_fresh(state, state.decided.get(symbol))
    if order.purpose == "slice":
        parent = state.parents.get(symbol)
        may_enter = state.trading is TradingState.ACTIVE and symbol not in state.exits and not state.leaving
        age = state.clock - order.intended_at
        return may_enter and parent is not None and order.sends < MAX_ENTRY_SENDS and age.total_seconds() <= parent.order.interval_s
    if held is None or order.request.qty > abs(held.qty):
        return False
    closes = (order.request.side.value == "sell") == (held.qty > 0)
    return closes and (order.purpose == "exit") == (symbol in state.exits)


def settle_unsettled(state: CoreState, symbol: str) -> Iterator[Command | Event]:
    """Ask the broker for every order and replacement of ``symbol`` whose fate is unknown; what never left this machine is sent again."""
    for order in state.live_orders(symbol):
        if order.phase is Phase.UNKNOWN and order.unsent and still_wanted(state, order):
            yield from resend_if_absent(state, order)
        elif order.phase is Phase.UNKNOWN:
            yield ProbeOrder(order.request.client_order_id)
        if order.amendment is not None and order.amendment.unknown:
            yield ProbeOrder(order.amendment.client_order_id)


def resend_if_absent(state: CoreState, order: LocalOrder) -> Iterator[Event]:
    """The broker provably lacks it: the SAME order under the SAME name, as long as it is still wanted and its pause is over."""
    waited = order.next_try is None or state.clock >= order.next_try
    absent = order.absences > 0 or order.unsent
    if order.phase is Phase.UNKNOWN and absent and waited and still_wanted(state, order):
        yield OrderIntended(state.clock, order.request, order.purpose, order.decision_id, order.attempt)
