"""What parent orders add to the core's memory: the part of ``apply`` that is theirs. No decision is taken here."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from alphatrade_pipelines.risk import limits as risk_limits
from alphatrade_pipelines.trading.events import ClockTicked, OrderIntended, ParentEnded, ParentOpened, PriceSeen
from alphatrade_pipelines.trading.orders import LocalOrder
from alphatrade_pipelines.trading.state import CoreState, Parent, Plan

ZERO = Decimal(0)
SLICES = ("slice", "unwind")


def parent_opened(state: CoreState, event: ParentOpened) -> None:
    """An entry's parent carries its plan from the start: stop, target and time are those of the signal behind it."""
    order = event.parent
    state.parents[order.symbol] = Parent(order, counted_at=event.at if state.market_open else None, was_open=state.market_open)
    if order.purpose != "entry":
        return
    signal = state.signals[order.symbol]
    risk_limits.record_entry(state.limits)
    state.decided[order.symbol] = signal.decision_time
    plan = Plan(order.decision_id, order.side, signal.stop_price, signal.target_price, signal.hold_until, signal.probability)
    state.plans[order.symbol] = plan


def parent_ended(state: CoreState, event: ParentEnded) -> None:
    """A plan without shares, or shares on their way, is forgotten with its parent."""
    parent = state.parents.pop(event.symbol, None)
    if parent is not None and parent.order.purpose == "entry":
        forget_plan(state, event.symbol, [state.orders[cid] for cid in parent.slices])


def slice_intended(state: CoreState, event: OrderIntended) -> None:
    """Note a new slice with its parent."""
    parent = state.parents.get(event.request.symbol)
    if parent is None or event.purpose not in SLICES:
        return
    parent.slices.append(event.request.client_order_id)
    parent.begun, parent.followed = step_of(parent), parent.volume


def pass_time(state: CoreState, event: ClockTicked) -> None:
    """Count open market only. Called before the tick itself is applied: what was open until now may just have closed."""
    for parent in state.parents.values():
        if parent.counted_at is not None:
            until = event.at if event.market_open or state.next_close is None else min(event.at, state.next_close)
            if state.next_close is not None and event.at > state.next_close:
                until = state.next_close  # nobody ticked in between: the night does not count
            parent.elapsed_s += max((until - parent.counted_at).total_seconds(), 0.0)
        parent.counted_at = event.at if event.market_open else None
        parent.was_open = parent.was_open or event.market_open


def see_volume(state: CoreState, event: PriceSeen) -> None:
    """Volume that became known since the parent was opened."""
    parent = state.parents.get(event.symbol)
    if parent is not None:
        parent.volume += event.volume


def spoil(state: CoreState, symbol: str, why: str) -> None:
    """The plan of the symbol's parent no longer holds (its shares were split)."""
    parent = state.parents.get(symbol)
    if parent is not None:
        parent.spoiled = why


def step_of(parent: Parent) -> int:
    """How many steps of the plan have begun: 1 at once, one more after each interval of open market."""
    return int(parent.elapsed_s // parent.order.interval_s) + 1


def traded(state: CoreState, parent: Parent) -> Decimal:
    """Shares its slices have filled."""
    return sum((state.orders[cid].filled_qty for cid in parent.slices), ZERO)


def unsent(state: CoreState, symbol: str) -> Decimal:
    """Shares an entry's parent may still send, those of its working slices not included."""
    parent = state.parents.get(symbol)
    if parent is None or parent.order.purpose != "entry":
        return ZERO
    working = sum((state.orders[cid].open_qty for cid in parent.slices), ZERO)
    return max(parent.order.qty - traded(state, parent) - working, ZERO)


def forget_plan(state: CoreState, symbol: str, slices: Iterable[LocalOrder]) -> None:
    """Drop plan and exit of a symbol that holds nothing, awaits nothing and has no fill among ``slices`` that is still to be counted."""
    if symbol in state.positions or symbol in state.parents or any(order.is_open for order in state.live_orders(symbol)):
        return
    if not any(filled > state.executed.get(broker_id, 0) for order in slices for broker_id, filled in order.fills()):
        state.plans.pop(symbol, None)
        state.exits.pop(symbol, None)
