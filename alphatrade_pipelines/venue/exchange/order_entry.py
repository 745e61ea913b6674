"""Making, replacing, valuing and listing orders: the parts of the exchange that need no market."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from alphatrade_pipelines.venue.exchange.book import stop_cap
from alphatrade_pipelines.venue.exchange.errors import invalid, malformed
from alphatrade_pipelines.venue.exchange.fills import stable_key
from alphatrade_pipelines.venue.exchange.ids import stable_uuid
from alphatrade_pipelines.venue.exchange.orders import ZERO, BookOrder, VenueOrder, VenueOrderRequest
from alphatrade_pipelines.venue.exchange.rules import TIMES_IN_FORCE, check_price

GTC_LIFETIME = timedelta(days=90)
_REPLACEABLE = ("new", "partially_filled", "held")
_SHORT_FACTOR = Decimal("1.03")  # Alpaca reserves 3 % above the ask for a short


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replacement changes; None keeps."""

    qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str | None = None
    client_order_id: str | None = None


@dataclass(frozen=True, slots=True)
class OrderQuery:
    """Alpaca's order filter: ``status`` open, closed or all; ``after`` and ``until`` exclusive on the submission time; newest first
    unless ``direction`` is asc; ``nested`` rolls legs up under their root."""

    status: str = "open"
    limit: int = 50
    after: datetime | None = None
    until: datetime | None = None
    direction: str = "desc"
    nested: bool = False
    symbols: frozenset[str] | None = None
    side: str | None = None


def gtc_expiry(now: datetime) -> datetime:
    """GTC orders end 90 days after they were created."""
    return now + GTC_LIFETIME


def make_order(request: VenueOrderRequest, now: datetime, account: str, counter: int, position: Decimal) -> BookOrder:
    """The root order of ``request`` with its legs (held). ``position`` decides whether it opens or closes."""
    client_id = request.client_order_id or stable_uuid(account, "client", counter)
    sign = 1 if request.side == "buy" else -1
    oco = request.order_class == "oco"
    root = BookOrder(
        id=stable_uuid(account, "order", client_id),
        client_order_id=client_id,
        symbol=request.symbol,
        sign=sign,
        qty=request.qty,
        type=request.type,
        order_class=request.order_class,
        time_in_force=request.time_in_force,
        status="pending_new",
        limit_price=(request.take_profit or request.limit_price) if oco else request.limit_price,
        stop_price=request.stop_price,
        created_at=now,
        draw_key=stable_key(request.client_order_id or f"order {counter}"),
        sequence=counter,
        role="take_profit" if oco else "entry",
        opening=sign * position >= 0,
        active=True,
        stop_cap=stop_cap(sign, request.type, request.stop_price),
    )
    if not oco and request.take_profit is not None:
        root.legs.append(_leg(root, "take_profit", "limit", request.take_profit, None))
    if request.stop_loss is not None:
        kind = "stop_limit" if request.stop_loss_limit is not None else "stop"
        root.legs.append(_leg(root, "stop_loss", kind, request.stop_loss_limit, request.stop_loss))
    for leg in root.legs:
        leg.active = oco
    return root


def _leg(root: BookOrder, role: str, kind: str, limit: Decimal | None, stop: Decimal | None) -> BookOrder:
    client_id = stable_uuid("leg", root.client_order_id, role)
    sign = root.sign if root.order_class == "oco" else -root.sign
    return BookOrder(
        id=stable_uuid("order", root.id, role),
        client_order_id=client_id,
        symbol=root.symbol,
        sign=sign,
        qty=root.qty,
        type=kind,
        order_class=root.order_class,
        time_in_force=root.time_in_force,
        status="held",
        limit_price=limit,
        stop_price=stop,
        created_at=root.created_at,
        draw_key=stable_key(f"{root.client_order_id}:{role}"),
        sequence=root.sequence + len(root.legs) + 1,
        role=role,
        opening=False,
        stop_cap=stop_cap(sign, kind, stop),
        parent=root,
    )


def check_replace(order: BookOrder, changes: Changes) -> None:
    """Raise the 422 Alpaca would: wrong state, a leg's quantity, a price the type does not have, nothing to change."""
    if order.status not in _REPLACEABLE:
        raise invalid(f"cannot replace order in {order.status} status")
    if changes.qty is not None:
        if order.parent is not None or order.legs:
            raise invalid("qty of a complex order cannot be replaced")
        if changes.qty != changes.qty.to_integral_value() or order.qty != order.qty.to_integral_value():
            raise invalid("fractional qty cannot be replaced")
        if changes.qty <= order.filled_qty:
            raise invalid(f"qty must be > filled_qty {order.filled_qty}")
    if changes.time_in_force is not None and changes.time_in_force not in TIMES_IN_FORCE[:2]:
        raise malformed(f"invalid time_in_force {changes.time_in_force!r}")
    if changes.limit_price is not None and order.limit_price is None:
        raise invalid(f"{order.type} orders must not have limit_price")
    if changes.stop_price is not None and order.stop_price is None:
        raise invalid(f"{order.type} orders must not have stop_price")
    if order.triggered and changes.stop_price is not None:
        raise invalid("the stop has been triggered")
    check_price("limit_price", changes.limit_price)
    check_price("stop_price", changes.stop_price)


def replacement(old: BookOrder, changes: Changes, now: datetime, account: str, counter: int) -> BookOrder:
    """The order that takes the place of ``old``: unfilled part, new ids, the same standing in its group."""
    client_id = changes.client_order_id or stable_uuid("replace", old.client_order_id, counter)
    stop = changes.stop_price if changes.stop_price is not None else old.stop_price
    new = replace(
        old,
        id=stable_uuid(account, "order", client_id),
        client_order_id=client_id,
        qty=(changes.qty if changes.qty is not None else old.qty) - old.filled_qty,
        limit_price=changes.limit_price if changes.limit_price is not None else old.limit_price,
        stop_price=stop,
        stop_cap=stop_cap(old.sign, old.type, stop),
        time_in_force=changes.time_in_force or old.time_in_force,
        status="held" if old.status == "held" else "new",
        created_at=now,
        updated_at=now,
        draw_key=stable_key(client_id),
        sequence=counter,
        filled_qty=ZERO,
        filled_value=ZERO,
        replaces=old.id,
        legs=[],
    )
    return new


def swap(old: BookOrder, new: BookOrder) -> None:
    """Give ``new`` the place of ``old`` in its group."""
    if old.parent is not None:
        siblings = old.parent.legs
        siblings[siblings.index(old)] = new
    new.legs, old.legs = old.legs, []
    for leg in new.legs:
        leg.parent = new


def order_value(request: VenueOrderRequest, price: Decimal, half_spread: Decimal) -> Decimal:
    """Dollars a share that the order is checked at: its limit, else the far side of the market; a short 3 % above the ask."""
    ask = price + half_spread
    bound = request.limit_price if request.limit_price is not None else request.stop_price
    if request.side == "sell":
        return max(bound or ZERO, ask * _SHORT_FACTOR)
    return ask if bound is None else bound


def reserve(order: BookOrder, price: Decimal) -> Decimal:
    """Buying power an open order holds; closing orders and inactive legs hold none."""
    if not order.opening or not order.is_live:
        return ZERO
    bound = order.limit_price if order.limit_price is not None else order.stop_price
    if order.sign < 0:
        return max(bound or ZERO, price * _SHORT_FACTOR) * order.remaining
    return (price if bound is None else bound) * order.remaining


def select(orders: Iterable[BookOrder], query: OrderQuery, held_is_open: bool) -> list[VenueOrder]:
    """The orders ``query`` asks for. Nested, a group is open while any of its members is."""
    if query.status not in ("open", "closed", "all"):
        raise malformed(f"invalid status {query.status!r}: open, closed or all")
    if query.direction not in ("asc", "desc"):
        raise malformed(f"invalid direction {query.direction!r}: asc or desc")
    found = [order for order in orders if _matches(order, query, held_is_open)]
    found.sort(key=lambda order: (order.created_at, order.sequence), reverse=query.direction == "desc")
    snapshots = [order.snapshot() for order in found[: query.limit]]
    return snapshots if query.nested else [replace(snapshot, legs=()) for snapshot in snapshots]


def _matches(order: BookOrder, query: OrderQuery, held_is_open: bool) -> bool:
    if query.nested and order.parent is not None:
        return False
    members = order.members if query.nested else [order]
    is_open = any(member.is_live and (held_is_open or query.nested or member.status != "held") for member in members)
    return (
        (query.status == "all" or is_open == (query.status == "open"))
        and (query.symbols is None or order.symbol in query.symbols)
        and (query.side is None or order.side == query.side)
        and (query.after is None or order.created_at > query.after)
        and (query.until is None or order.created_at < query.until)
    )
