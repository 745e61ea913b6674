"""What is wrong with an order whatever the market does. Each rule is Alpaca's, with its code and words (see ``errors``); the first one
broken is reported. The rules that need the book or the account are in ``admission``."""

from __future__ import annotations

from decimal import Decimal

from alphatrade_pipelines.venue.exchange.errors import VenueError, invalid, malformed
from alphatrade_pipelines.venue.exchange.fidelity import Fidelity
from alphatrade_pipelines.venue.exchange.order_entry import Changes
from alphatrade_pipelines.venue.exchange.orders import BookOrder, VenueOrderRequest

TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
CLASSES = ("simple", "bracket", "oco", "oto")
TIMES_IN_FORCE = ("day", "gtc", "ioc", "fok", "opg", "cls")
RESTING_TIMES = ("day", "gtc")
INTENTS = ("buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close")
CENT = Decimal("0.01")
_REPLACEABLE = ("new", "partially_filled", "held")


def check_shape(request: VenueOrderRequest, fidelity: Fidelity) -> None:
    """What is wrong with the request itself.

    Raises:
        VenueError: 422 with code 40010001 (malformed) or 42210000 (a trading rule); 400 for both qty and notional.
    """
    for name, allowed in (("side", ("buy", "sell")), ("type", TYPES), ("order_class", CLASSES), ("time_in_force", TIMES_IN_FORCE)):
        if getattr(request, name) not in allowed:
            raise malformed(f"invalid {name} {getattr(request, name)!r}: this venue takes {', '.join(allowed)}")
    if request.position_intent is not None and request.position_intent not in INTENTS:
        raise malformed(f"invalid position_intent {request.position_intent!r}: this venue takes {', '.join(INTENTS)}")
    if request.client_order_id is not None and len(request.client_order_id) > 128:
        raise malformed("client_order_id must be no more than 128 characters")
    _check_size(request)
    _check_time(request, fidelity)
    _check_trail(request)
    _check_prices(request)
    _check_legs(request)


def _check_size(request: VenueOrderRequest) -> None:
    qty, notional = request.qty, request.notional
    if qty is not None and notional is not None:
        raise VenueError(400, 40010001, "only one of qty or notional is accepted")
    if notional is not None:
        if notional <= 0:
            raise malformed("notional must be > 0")
        if notional != notional.quantize(CENT):
            raise malformed("notional value must be limited to 2 decimal places")
        _check_fraction(request)
    elif qty is None:
        raise malformed("qty is required")
    elif qty <= 0:
        raise malformed("qty must be > 0")
    elif qty != qty.quantize(Decimal("1e-9")):
        raise malformed("qty must have at most 9 decimal places")
    elif qty != qty.to_integral_value():
        _check_fraction(request)


def _check_fraction(request: VenueOrderRequest) -> None:
    if request.order_class != "simple":
        raise invalid("fractional orders must be simple orders")
    if request.time_in_force != "day":
        raise invalid("fractional orders must be DAY orders")
    if request.type == "trailing_stop":
        raise invalid("fractional orders must be market, limit, stop or stop_limit orders")


def _check_time(request: VenueOrderRequest, fidelity: Fidelity) -> None:
    tif, kind = request.time_in_force, request.type
    if tif not in RESTING_TIMES:
        if not fidelity.special_tif:
            raise invalid(f"{tif} orders are not enabled for this account")
        if kind not in ("market", "limit") or request.order_class != "simple":
            raise invalid(f"{tif} orders must be simple market or limit orders")
    if request.extended_hours and (kind != "limit" or tif != "day" or request.order_class != "simple"):
        raise invalid("extended hours order must be DAY limit orders")
    if request.leg_time_in_force is not None and request.leg_time_in_force not in RESTING_TIMES:
        raise malformed(f"invalid time_in_force {request.leg_time_in_force!r} of a leg: day or gtc")


def _check_trail(request: VenueOrderRequest) -> None:
    given = [trail for trail in (request.trail_price, request.trail_percent) if trail is not None]
    if request.type != "trailing_stop":
        if given:
            raise invalid(f"{request.type} orders must not have trail_price or trail_percent")
        return
    if request.order_class != "simple":
        raise invalid("trailing stop orders must be simple orders")
    if len(given) != 1:
        raise malformed("trailing stop orders must specify one of trail_price or trail_percent")
    _check_trail_value(request.trail_price, request.trail_percent)


def _check_trail_value(price: Decimal | None, percent: Decimal | None) -> None:
    check_price("trail_price", price)
    if percent is not None and not 0 < percent < 100:
        raise malformed("trail_percent must be > 0 and < 100")


def _check_prices(request: VenueOrderRequest) -> None:
    kind = request.type
    if kind in ("limit", "stop_limit") and request.limit_price is None and request.order_class != "oco":
        raise malformed(f"{kind} orders require limit_price")
    if kind in ("stop", "stop_limit") and request.stop_price is None:
        raise malformed(f"{kind} orders require stop_price")
    if kind in ("market", "stop", "trailing_stop") and request.limit_price is not None:
        raise invalid(f"{kind} orders must not have limit_price")
    if kind in ("market", "limit", "trailing_stop") and request.stop_price is not None:
        raise invalid(f"{kind} orders must not have stop_price")
    named = {
        "limit_price": request.limit_price,
        "stop_price": request.stop_price,
        "take_profit.limit_price": request.take_profit,
        "stop_loss.stop_price": request.stop_loss,
        "stop_loss.limit_price": request.stop_loss_limit,
    }
    for name, price in named.items():
        check_price(name, price)


def check_price(name: str, price: Decimal | None) -> None:
    """Positive, and no finer than the minimum increment: a cent from one dollar on, a hundredth of a cent below."""
    if price is None:
        return
    if not price > 0:
        raise malformed(f"{name} must be > 0")
    if price != price.quantize(CENT if price >= 1 else Decimal("0.0001")):
        raise invalid(f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria")


def _check_legs(request: VenueOrderRequest) -> None:
    profit, loss = request.take_profit, request.stop_loss
    match request.order_class:
        case "simple":
            if profit is not None or loss is not None:
                raise malformed("simple orders must not have take_profit or stop_loss")
        case "bracket":
            if request.type not in ("market", "limit"):
                raise malformed("bracket orders must be market or limit orders")
            _require_pair("bracket", profit, loss)
        case "oco":
            if request.type != "limit":
                raise malformed("oco orders must be limit orders")
            _require_pair("oco", profit if profit is not None else request.limit_price, loss)
        case "oto":
            if (profit is None) == (loss is None):
                raise malformed("oto orders require exactly one of take_profit and stop_loss")
    if request.stop_loss_limit is not None and loss is None:
        raise malformed("stop_loss.limit_price requires stop_loss.stop_price")


def _require_pair(order_class: str, profit: Decimal | None, loss: Decimal | None) -> None:
    if profit is None:
        raise malformed(f"{order_class} orders require take_profit.limit_price")
    if loss is None:
        raise malformed(f"{order_class} orders require stop_loss.stop_price")


# --- prices of legs -----------------------------------------------------------------------------------------------------------------


def check_leg_prices(request: VenueOrderRequest, market_price: Decimal) -> None:
    """Profit and loss legs lie at least a cent on their own side of the base price (entry limit, or the market; for an OCO's stop both
    its profit limit and the market)."""
    direction = 1 if request.side == "buy" else -1
    if request.order_class == "oco":
        profit = request.take_profit if request.take_profit is not None else request.limit_price
        assert profit is not None
        for base in (profit, market_price):
            _check_leg("stop_loss.stop_price", request.stop_loss, base, direction)
        return
    base = request.limit_price if request.type in ("limit", "stop_limit") and request.limit_price is not None else market_price
    _check_leg("take_profit.limit_price", request.take_profit, base, direction)
    _check_leg("stop_loss.stop_price", request.stop_loss, base, -direction)


def _check_leg(name: str, price: Decimal | None, base: Decimal, direction: int) -> None:
    if price is None or direction * (price - base) >= CENT:
        return
    bound = ">= base_price + 0.01" if direction > 0 else "<= base_price - 0.01"
    raise invalid(f"{name} must be {bound}", base_price=str(base))


# --- replacing ----------------------------------------------------------------------------------------------------------------------


def check_replace(order: BookOrder, changes: Changes, fidelity: Fidelity) -> None:
    """Raise the 422 Alpaca would: wrong state, a kind of order that cannot be replaced, a price the type does not have, no change."""
    if order.status not in _REPLACEABLE or (order.status == "held" and not fidelity.held_replaceable):
        raise invalid(f"cannot replace order in {order.status} status")
    if order.notional is not None:
        raise invalid("notional orders cannot be replaced")
    if order.order_class == "oto" and not fidelity.oto_replaceable:
        raise invalid("oto orders cannot be replaced")
    if changes.client_order_id is not None and len(changes.client_order_id) > 128:
        raise malformed("client_order_id must be no more than 128 characters")
    if changes.time_in_force is not None and changes.time_in_force not in RESTING_TIMES:
        raise malformed(f"invalid time_in_force {changes.time_in_force!r}")
    _check_replaced_size(order, changes)
    _check_replaced_prices(order, changes)
    if not _differs(order, changes):
        raise invalid("order parameters are not changed")


def _differs(order: BookOrder, changes: Changes) -> bool:
    now = {
        "qty": order.qty,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "time_in_force": order.time_in_force,
        "trail": order.trail_price if order.trail_price is not None else order.trail_percent,
        "client_order_id": order.client_order_id,
    }
    return any(getattr(changes, name) != now[name] for name in changes.asked)


def _check_replaced_size(order: BookOrder, changes: Changes) -> None:
    if order.order_class != "simple":
        for name in ("qty", "time_in_force"):
            if name in changes.asked:
                raise invalid(f"{name} of a complex order cannot be replaced")
    if changes.time_in_force is not None and (order.extended_hours or order.time_in_force not in RESTING_TIMES):
        raise invalid(f"time_in_force of {order.time_in_force} orders cannot be replaced")
    fractional = order.qty != order.qty.to_integral_value()
    if fractional and changes.time_in_force not in (None, "day"):
        raise invalid("fractional orders must be DAY orders")
    if changes.qty is not None:
        if changes.qty != changes.qty.to_integral_value() or fractional:
            raise invalid("fractional qty cannot be replaced")
        if changes.qty <= order.filled_qty:
            raise invalid(f"qty must be > filled_qty {order.filled_qty}")


def _check_replaced_prices(order: BookOrder, changes: Changes) -> None:
    if changes.limit_price is not None and order.limit_price is None:
        raise invalid(f"{order.type} orders must not have limit_price")
    if changes.stop_price is not None and (order.stop_price is None or order.type == "trailing_stop"):
        raise invalid(f"{order.type} orders must not have stop_price")
    if changes.trail is not None and order.type != "trailing_stop":
        raise invalid(f"{order.type} orders must not have trail")
    if order.triggered and changes.asked & {"stop_price", "trail"}:
        raise invalid("the stop has been triggered")
    check_price("limit_price", changes.limit_price)
    check_price("stop_price", changes.stop_price)
    if changes.trail is not None:
        _check_trail_value(*((changes.trail, None) if order.trail_price is not None else (None, changes.trail)))


def check_replaced_legs(old: BookOrder, new: BookOrder, market_price: Decimal) -> None:
    """The prices of a group after ``new`` took the place of ``old``: an entry not yet filled must stay between its legs, a stop must lie
    off the market and off its profit limit. A profit limit may be moved through the market: that closes the position."""
    group = [new if member is old else member for member in old.members]
    entry = next((member for member in group if member.role == "entry" and member.is_live), None)
    profit = next((member for member in group if member.role == "take_profit" and member.is_live), None)
    stop = next((member for member in group if member.role == "stop_loss" and member.is_live and not member.triggered), None)
    bases = [market_price] if new is stop and entry is None else []
    if entry is not None:
        bases.append(entry.limit_price if entry.limit_price is not None else market_price)
        if profit is not None:
            _check_leg("take_profit.limit_price", profit.limit_price, bases[-1], entry.sign)
    if profit is not None and profit.limit_price is not None:
        bases.append(profit.limit_price)
    if stop is not None:
        for base in bases:
            _check_leg("stop_loss.stop_price", stop.stop_price, base, stop.sign)
