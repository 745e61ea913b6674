"""Making, replacing, valuing and listing orders: the parts of the exchange that need no market."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_UP, Decimal

from alphatrade_pipelines.venue.exchange.errors import malformed, not_found
from alphatrade_pipelines.venue.exchange.fidelity import Fidelity
from alphatrade_pipelines.venue.exchange.fills import stable_key
from alphatrade_pipelines.venue.exchange.ids import stable_uuid
from alphatrade_pipelines.venue.exchange.orders import ZERO, BookOrder, VenueOrder, VenueOrderRequest

_SHORT_FACTOR = Decimal("1.03")  # Alpaca reserves 3 % above the ask for a short
_SHARE = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replacement changes; None keeps. ``trail``: the new trail price or percent, whichever the order has."""

    qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str | None = None
    client_order_id: str | None = None
    trail: Decimal | None = None

    @property
    def asked(self) -> set[str]:
        """Names of what is given."""
        return {field.name for field in fields(self) if getattr(self, field.name) is not None}


@dataclass(frozen=True, slots=True)
class OrderQuery:
    """Alpaca's order filter: ``status`` open, closed or all; ``after`` and ``until`` exclusive on the submission time; newest first
    unless ``direction`` is asc; ``nested`` rolls legs up under their root; ``before_order_id`` and ``after_order_id`` are exclusive too and
    tell orders of one moment apart."""

    status: str = "open"
    limit: int = 50
    after: datetime | None = None
    until: datetime | None = None
    direction: str = "desc"
    nested: bool = False
    symbols: frozenset[str] | None = None
    side: str | None = None
    before_order_id: str | None = None
    after_order_id: str | None = None


def stop_cap(sign: int, kind: str, stop_price: Decimal | None, converts: bool = True) -> Decimal | None:
    """Alpaca turns a BUY stop into a stop-limit 4 % (below $50) or 2.5 % above its stop; a sell stop stays a true stop."""
    if kind != "stop" or sign < 0 or stop_price is None or not converts:
        return None
    factor = Decimal("1.04") if stop_price < 50 else Decimal("1.025")
    return (stop_price * factor).quantize(Decimal("0.01"), ROUND_CEILING)


def trailing_stop_price(order: BookOrder, hwm: Decimal) -> Decimal:
    """The stop of a trailing order whose best price was ``hwm``: below it for a sale, above it for a purchase; in whole ticks."""
    trail = order.trail_price if order.trail_price is not None else hwm * (order.trail_percent or ZERO) / 100
    stop = hwm + order.sign * trail
    tick = Decimal("0.01") if stop >= 1 else Decimal("0.0001")
    return max(stop.quantize(tick, ROUND_HALF_UP), Decimal("0.0001"))


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an order enters: venue time, the account's number, how many orders came before, the signed position, dollars a share it was
    checked at, and the switches in force."""

    now: datetime
    account: str
    counter: int
    position: Decimal
    value: Decimal
    fidelity: Fidelity


def make_order(request: VenueOrderRequest, at: Entry) -> BookOrder:
    """The root order of ``request`` with its legs (held)."""
    client_id = request.client_order_id or stable_uuid(at.account, "client", at.counter)
    sign = 1 if request.side == "buy" else -1
    oco = request.order_class == "oco"
    opening = sign * at.position >= 0
    root = BookOrder(
        id=stable_uuid(at.account, "order", client_id),
        client_order_id=client_id,
        symbol=request.symbol,
        sign=sign,
        qty=shares_of(request, at.value),
        type=request.type,
        order_class=request.order_class,
        time_in_force=request.time_in_force,
        status="pending_new",
        limit_price=(request.take_profit or request.limit_price) if oco else request.limit_price,
        stop_price=request.stop_price,
        created_at=at.now,
        draw_key=stable_key(request.client_order_id or f"order {at.counter}"),
        sequence=at.counter,
        role="take_profit" if oco else "entry",
        opening=opening,
        active=True,
        stop_cap=stop_cap(sign, request.type, request.stop_price, at.fidelity.buy_stop_converts),
        notional=request.notional,
        trail_price=request.trail_price,
        trail_percent=request.trail_percent,
        extended_hours=request.extended_hours,
        reserve_price=at.value if opening else ZERO,
    )
    if not oco and request.take_profit is not None:
        root.legs.append(_leg(root, "take_profit", "limit", request.take_profit, None, request, at.fidelity))
    if request.stop_loss is not None:
        kind = "stop_limit" if request.stop_loss_limit is not None else "stop"
        root.legs.append(_leg(root, "stop_loss", kind, request.stop_loss_limit, request.stop_loss, request, at.fidelity))
    for leg in root.legs:
        leg.active = oco
    return root


def shares_of(request: VenueOrderRequest, price: Decimal) -> Decimal:
    """Shares an order stands for: its qty, or what its notional buys at ``price``, in billionths."""
    if request.qty is not None:
        return request.qty
    assert request.notional is not None
    return (request.notional / price).quantize(_SHARE, ROUND_DOWN)


def _leg(
    root: BookOrder, role: str, kind: str, limit: Decimal | None, stop: Decimal | None, request: VenueOrderRequest, rules: Fidelity
) -> BookOrder:
    client_id = stable_uuid("leg", root.client_order_id, role)
    sign = root.sign if root.order_class == "oco" else -root.sign
    own = None if rules.leg_tif_inherited else request.leg_time_in_force
    return BookOrder(
        id=stable_uuid("order", root.id, role),
        client_order_id=client_id,
        symbol=root.symbol,
        sign=sign,
        qty=root.qty,
        type=kind,
        order_class=root.order_class,
        time_in_force=own or root.time_in_force,
        status="held",
        limit_price=limit,
        stop_price=stop,
        created_at=root.created_at,
        draw_key=stable_key(f"{root.client_order_id}:{role}"),
        sequence=root.sequence + len(root.legs) + 1,
        role=role,
        opening=False,
        stop_cap=stop_cap(sign, kind, stop, rules.buy_stop_converts),
        parent=root,
    )


def replacement(old: BookOrder, changes: Changes, at: Entry) -> BookOrder:
    """The order that takes the place of ``old``: unfilled part, new ids, the same standing in its group."""
    client_id = changes.client_order_id or stable_uuid("replace", old.client_order_id, at.counter)
    stop = changes.stop_price if changes.stop_price is not None else old.stop_price
    new = replace(
        old,
        id=stable_uuid(at.account, "order", client_id),
        client_order_id=client_id,
        qty=(changes.qty if changes.qty is not None else old.qty) - old.filled_qty,
        limit_price=changes.limit_price if changes.limit_price is not None else old.limit_price,
        stop_price=stop,
        stop_cap=stop_cap(old.sign, old.type, stop, at.fidelity.buy_stop_converts),
        time_in_force=changes.time_in_force or old.time_in_force,
        status="held" if old.status == "held" else "new",
        created_at=at.now,
        updated_at=at.now,
        draw_key=stable_key(changes.client_order_id or f"{old.draw_key} replaced"),
        sequence=at.counter,
        filled_qty=ZERO,
        filled_value=ZERO,
        reserve_price=at.value if old.opening else ZERO,
        replaces=old.id,
        legs=[],
        ahead=None,  # the back of the queue
        predecessor=None,
        successor=None,
    )
    if changes.trail is not None:
        new.trail_price = None if old.trail_price is None else changes.trail
        new.trail_percent = None if old.trail_percent is None else changes.trail
        new.stop_price = None if new.hwm is None else trailing_stop_price(new, new.hwm)
    return new


def swap(old: BookOrder, new: BookOrder) -> None:
    """Give ``new`` the place of ``old`` in its group."""
    if old.parent is not None:
        siblings = old.parent.legs
        siblings[siblings.index(old)] = new
    new.legs, old.legs = old.legs, []
    for leg in new.legs:
        leg.parent = new


def share_value(side: str, bound: Decimal | None, ask: Decimal) -> Decimal:
    """Dollars a share that an opening order is checked at and reserves: its limit (or stop), else the ask; a short 3 % above the ask."""
    if side == "sell":
        return max(bound or ZERO, ask * _SHORT_FACTOR)
    return ask if bound is None else bound


def select(orders: dict[str, BookOrder], live: Collection[BookOrder], query: OrderQuery, held_is_open: bool) -> list[VenueOrder]:
    """The orders ``query`` asks for, out of all ``orders`` and the ``live`` ones (both oldest first). Nested, a group is open while any of
    its members is."""
    if query.status not in ("open", "closed", "all"):
        raise malformed(f"invalid status {query.status!r}: open, closed or all")
    if query.direction not in ("asc", "desc"):
        raise malformed(f"invalid direction {query.direction!r}: asc or desc")
    newest_first = query.direction == "desc"
    before, after = (_sequence_of(orders, order_id) for order_id in (query.before_order_id, query.after_order_id))
    candidates: Iterable[BookOrder] = reversed(orders.values()) if newest_first else orders.values()
    if query.status == "open" and query.nested:
        roots = {order.root.id: order.root for order in live}
        candidates = sorted(roots.values(), key=lambda order: order.sequence, reverse=newest_first)
    elif query.status == "open":
        candidates = reversed(list(live)) if newest_first else live
    picked: list[VenueOrder] = []
    for order in candidates:
        if len(picked) >= query.limit:
            break
        if (before is not None and order.sequence >= before) or (after is not None and order.sequence <= after):
            continue
        if _matches(order, query, held_is_open):
            picked.append(order.snapshot())
    return picked if query.nested else [replace(snapshot, legs=()) for snapshot in picked]


def _sequence_of(orders: dict[str, BookOrder], order_id: str | None) -> int | None:
    if order_id is None:
        return None
    if order_id not in orders:
        raise not_found(f"order not found for {order_id}")
    return orders[order_id].sequence


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
