"""Plain recomputations that the incremental figures of the exchange are held against."""

from __future__ import annotations

from decimal import Decimal

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.exchange.orders import BookOrder

ZERO = Decimal(0)


def held(live: list[BookOrder], symbol: str, sign: int) -> Decimal:
    """Shares held by closing orders of one side: each group once, by its largest active member; a waiting replacement by what it adds."""
    groups: dict[str, Decimal] = {}
    for order in live:
        if order.symbol != symbol or order.sign != sign or order.opening:
            continue
        shares = ZERO
        if order.active:
            shares = order.remaining
        elif order.predecessor is not None and order.order_class == "simple":
            old = order.predecessor
            shares = max(ZERO, order.remaining - old.remaining) if old.is_live else ZERO
        groups[order.root.id] = max(groups.get(order.root.id, ZERO), shares)
    return sum(groups.values(), ZERO)


def reserved(live: list[BookOrder]) -> Decimal:
    """Dollars reserved by opening orders; a waiting replacement reserves what it asks beyond the order it replaces."""
    total = ZERO
    for order in live:
        if not order.opening:
            continue
        value = order.reserve_price * order.remaining
        if (old := order.predecessor) is not None:
            value = max(ZERO, value - old.reserve_price * old.remaining) if old.is_live else ZERO
        total += value
    return total


def check_claims(ex: Exchange) -> None:
    """What the exchange keeps incrementally equals what a walk over all orders gives."""
    live = [order for order in ex.book.orders.values() if order.is_live]
    claims = ex.book.claims
    assert ex.book.live() == live or {order.id for order in ex.book.live()} == {order.id for order in live}
    assert claims.reserved == reserved(live)
    for symbol in ex.tape.symbols:
        assert set(ex.book.working.get(symbol, {})) == {order.id for order in live if order.symbol == symbol}
        for sign in (1, -1):
            position = Decimal(-sign)
            assert claims.held(symbol, position) == held(live, symbol, sign), (symbol, sign)
            ours = [order for order in live if order.symbol == symbol and order.sign == sign]
            assert claims.has_opening(symbol, sign) == any(order.opening for order in ours)
            simple = [order for order in ours if order.order_class == "simple" and order.type != "trailing_stop"]
            resting = claims.resting(symbol, sign)
            assert {order.id for order in simple} == set(resting.all if resting else ())
            limits = [order.limit_price for order in simple if order.type in ("limit", "stop_limit") and order.limit_price is not None]
            best = resting.best_limit() if resting else None
            expected = (max(limits) if sign > 0 else min(limits)) if limits else None
            assert (best.limit_price if best else None) == expected


def check_groups(ex: Exchange) -> None:
    """No group lives on after its entry died unfilled, and no leg after the other ended it."""
    for order in ex.book.live():
        root = order.root
        if order is not root and root.role == "entry":
            assert root.status not in ("canceled", "expired", "rejected"), f"{order.role} of a {root.status} entry is {order.status}"
        profit = next((member for member in order.members if member.role == "take_profit"), None)
        stop = next((member for member in order.members if member.role == "stop_loss"), None)
        if profit is None or stop is None:
            continue
        if order is profit:
            assert stop.status not in ("canceled", "expired"), "a profit leg works on without its stop"
        if order is stop and not stop.triggered:
            assert profit.status not in ("canceled", "expired", "filled"), "a stop waits on without its profit leg"
