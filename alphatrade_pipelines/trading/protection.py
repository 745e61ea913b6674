"""Protection is a standing invariant: the live stops at the broker cover the whole position, or this module is making it so.

Covered means: stop legs of brackets whose entry filled completely, stop legs of OCOs (an OCO counts once), and live stops of others.
Uncovered shares get an OCO, good till cancelled, for exactly their number at the intended stop and target; when the market is already
beyond them, when no price is known, or when the broker keeps refusing, the position is flattened instead. A fraction of a share cannot
have an OCO: it is sold. What covers is kept in order (keeping.py), and exposure beyond the bound is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal

from alphatrade_pipelines.trading.commands import Command, RaiseAlert
from alphatrade_pipelines.trading.coverage import covered_qty, exposed_qty, is_dust, leaving_qty
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import Event, OrderIntended, ProtectionBreached
from alphatrade_pipelines.trading.exits import advance_exit, cancel_group, cancel_hangs
from alphatrade_pipelines.trading.findings import name
from alphatrade_pipelines.trading.ids import client_order_id
from alphatrade_pipelines.trading.keeping import keep_in_order, trim_fraction
from alphatrade_pipelines.trading.orders import LocalOrder
from alphatrade_pipelines.trading.state import CoreState, Position

Item = Event | Command
CENT = Decimal("0.01")


def audit_protection(state: CoreState, symbol: str, *, after_read: bool, reserved: Decimal = Decimal(0)) -> Iterator[Item]:
    """Make the invariant true for one symbol that is not on its way out. ``after_read``: name what a broker read uncovered.

    ``reserved`` shares need no stop: an order is selling them.
    """
    if state.has_uncounted_fills(symbol):
        return  # the executions behind those fills are on their way; judging now would judge a stale position
    held, live = state.positions.get(symbol), state.live_orders(symbol)
    if held is None:
        for order in live:
            if not order.remaining_entry and not _ends_by_itself(state, order):
                yield from cancel_group(state, order, "flat")
        return
    if _is_wrong_way(state, held):
        yield RaiseAlert("CRITICAL", "POSITION_FLIPPED", f"{symbol}: {held.qty} shares, against the plan")
        yield from advance_exit(state, symbol, "flip")
        return
    outdated = [order for order in live if order.outdated]
    for order in outdated:
        if not _heard_recently(state, symbol):
            yield from cancel_group(state, order, "split")
    coming = [order for order in live if order.remaining_entry and not cancel_hangs(state, order)]
    if coming or outdated or any(order.is_unsettled for order in live):
        return
    yield from _balance(state, held, after_read=after_read, reserved=reserved)


def _ends_by_itself(state: CoreState, order: LocalOrder) -> bool:
    """A leg has just sold everything, so the broker is cancelling its sibling: give its word the time a cancellation gets."""
    sold = order.status == "filled" if order.request.order_class is OrderClass.OCO else False
    sold = sold or any(leg.status == "filled" for leg in order.legs.values())
    return sold and _heard_recently(state, order.request.symbol)


def _heard_recently(state: CoreState, symbol: str) -> bool:
    """Updates of the symbol are just coming in: what the broker does by itself need not be asked for."""
    latest = state.activity.get(symbol)
    return latest is not None and state.clock - latest < timedelta(seconds=state.config.cancel_retry_s)


def _is_wrong_way(state: CoreState, held: Position) -> bool:
    plan = state.plans.get(held.symbol)
    if plan is None:
        return held.flipped or (held.qty < 0 and not state.config.allow_short)
    return (held.qty > 0) != (plan.side is Side.BUY)


def _balance(state: CoreState, held: Position, *, after_read: bool, reserved: Decimal) -> Iterator[Item]:
    symbol = held.symbol
    missing = abs(held.qty) - covered_qty(state, symbol) - leaving_qty(state, symbol) - reserved
    if missing > 0:
        if after_read and not (missing < 1 and (is_dust(state, symbol) or not state.market_open)):
            yield from name(state, "missing_protection", symbol, f"{missing} of {held.qty} shares have no live stop", "repair")
        yield from _repair(state, held, missing)
    elif missing < 0:
        yield from _shrink(state, held, -missing, after_read=after_read)
    else:
        yield from keep_in_order(state, held)


def _shrink(state: CoreState, held: Position, excess: Decimal, *, after_read: bool) -> Iterator[Item]:
    """More shares are offered than held, which would flip the position: end the youngest groups, what remains uncovered gets an OCO."""
    for order in reversed(state.live_orders(held.symbol)):
        if excess <= 0:
            return
        if order.protective_qty > 0:
            if after_read and order.cancel_asked_at is None:
                detail = f"{order.protective_qty} shares offered by {order.request.client_order_id}, {held.qty} held"
                yield from name(state, "excess_protection", held.symbol, detail, "cancel")
            excess -= order.protective_qty
            yield from cancel_group(state, order, "too_much_protection")


def _repair(state: CoreState, held: Position, missing: Decimal) -> Iterator[Item]:
    symbol, repair = held.symbol, state.repairs.get(held.symbol)
    whole = missing.to_integral_value(ROUND_FLOOR)
    if not whole:
        yield from trim_fraction(state, held, missing)
        return
    prices = exit_prices(state, held)
    refused = repair is not None and (repair.beyond or repair.attempts >= state.config.attempts_before_alarm)
    if prices is None or refused:
        why = "no price to protect at" if prices is None else "the broker refuses protection"
        yield RaiseAlert("WARNING", "PROTECTION_FLATTEN", f"{symbol}: {why}, leaving {held.qty} shares")
        yield from advance_exit(state, symbol, "unprotectable")
        return
    if repair is not None and state.clock < repair.next_try:
        return
    yield _oco(state, held, whole, prices)


def _oco(state: CoreState, held: Position, qty: Decimal, prices: tuple[Decimal, Decimal]) -> OrderIntended:
    symbol, plan, attempt = held.symbol, state.plans.get(held.symbol), state.intents.get(held.symbol, 0)
    decision = f"protect|{plan.decision_id if plan else symbol}"
    request = OrderRequest(
        client_order_id=client_order_id(decision, symbol, state.clock, "protect", attempt),
        symbol=symbol,
        side=Side.SELL if held.qty > 0 else Side.BUY,
        qty=qty,
        kind=OrderKind.LIMIT,
        order_class=OrderClass.OCO,
        time_in_force=TimeInForce.GTC,
        take_profit=prices[1],
        stop_loss=prices[0],
    )
    return OrderIntended(state.clock, request, "protect", decision, attempt)


def exit_prices(state: CoreState, held: Position) -> tuple[Decimal, Decimal] | None:
    """(stop, target) in whole cents: the plan's, else the configured distances from the last price; None when the market is beyond."""
    plan, mark = state.plans.get(held.symbol), state.marks.get(held.symbol)
    direction = 1 if held.qty > 0 else -1
    if plan is not None:
        stop, target = plan.stop, plan.target
    else:
        base = mark or held.avg_price
        stop = (base * (1 - direction * Decimal(repr(state.config.default_stop)))).quantize(CENT)
        target = (base * (1 + direction * Decimal(repr(state.config.default_target)))).quantize(CENT)
    beyond = mark is not None and ((mark - stop) * direction < CENT or (target - mark) * direction < CENT)
    return None if beyond or min(stop, target) <= 0 else (stop, target)


def partial_entry_waited(state: CoreState, symbol: str) -> bool:
    """An entry has kept shares naked for longer than allowed: its own filled part, whose legs are not awake, or shares that came from
    elsewhere (bought by hand) while it rests, which cannot get their OCO before it is over."""
    limit = timedelta(seconds=state.config.partial_entry_wait_s)
    entering = [order for order in state.live_orders(symbol) if order.remaining_entry]
    if any(order.part_filled_at is not None and state.clock - order.part_filled_at >= limit for order in entering):
        return True
    exposed = state.exposed.get(symbol)
    return bool(entering) and exposed is not None and state.market_open and timedelta(seconds=exposed.seconds) >= limit


def report_exposure(state: CoreState) -> Iterator[Item]:
    """Positions that stood exposed for longer than the bound, once each: a fact for the journal and an alarm."""
    bound = state.config.protection_bound_s
    for symbol, item in sorted(state.exposed.items()):
        if item.seconds > bound and not item.reported and symbol in state.positions:
            qty = exposed_qty(state, symbol)
            yield ProtectionBreached(state.clock, symbol, qty, item.seconds, bound)
            yield RaiseAlert("CRITICAL", "PROTECTION_BREACH", f"{symbol}: {qty} shares without a stop for {item.seconds:.1f} s")
