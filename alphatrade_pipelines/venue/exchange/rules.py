"""Which orders the venue takes. Each rule is Alpaca's, with its code and words (see ``errors``); the first one broken is reported."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from alphatrade_pipelines.venue.exchange.errors import VenueError, forbidden, insufficient_quantity, invalid, malformed, wash_trade
from alphatrade_pipelines.venue.exchange.orders import ZERO, BookOrder, VenueOrderRequest

TYPES = ("market", "limit", "stop", "stop_limit")
CLASSES = ("simple", "bracket", "oco", "oto")
TIMES_IN_FORCE = ("day", "gtc", "ioc")
CENT = Decimal("0.01")


def check_shape(request: VenueOrderRequest) -> None:
    """What is wrong with the request whatever the market does.

    Raises:
        VenueError: 422 with code 40010001 (malformed) or 42210000 (a trading rule).
    """
    for name, allowed in (("side", ("buy", "sell")), ("type", TYPES), ("order_class", CLASSES), ("time_in_force", TIMES_IN_FORCE)):
        if getattr(request, name) not in allowed:
            raise malformed(f"invalid {name} {getattr(request, name)!r}: this venue takes {', '.join(allowed)}")
    if request.client_order_id is not None and len(request.client_order_id) > 128:
        raise malformed("client_order_id must be no more than 128 characters")
    _check_quantity(request)
    _check_prices(request)
    _check_legs(request)


def _check_quantity(request: VenueOrderRequest) -> None:
    if request.qty <= 0:
        raise malformed("qty must be > 0")
    if request.qty != request.qty.quantize(Decimal("1e-9")):
        raise malformed("qty must have at most 9 decimal places")
    if request.qty != request.qty.to_integral_value():
        if request.order_class != "simple":
            raise invalid("fractional orders must be simple orders")
        if request.time_in_force != "day":
            raise invalid("fractional orders must be DAY orders")
    if request.time_in_force == "ioc" and (request.type not in ("market", "limit") or request.order_class != "simple"):
        raise invalid("ioc orders must be simple market or limit orders")


def _check_prices(request: VenueOrderRequest) -> None:
    kind = request.type
    if kind in ("limit", "stop_limit") and request.limit_price is None and request.order_class != "oco":
        raise malformed(f"{kind} orders require limit_price")
    if kind in ("stop", "stop_limit") and request.stop_price is None:
        raise malformed(f"{kind} orders require stop_price")
    if kind in ("market", "stop") and request.limit_price is not None:
        raise invalid(f"{kind} orders must not have limit_price")
    if kind in ("market", "limit") and request.stop_price is not None:
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


def check_wash_trade(request: VenueOrderRequest, live: Iterable[BookOrder]) -> None:
    """A simple order against a resting simple order of the other side (complex orders are exempt)."""
    if request.order_class != "simple":
        return
    for order in live:
        if order.symbol != request.symbol or order.side == request.side or order.order_class != "simple":
            continue
        limits = order.type in ("limit", "stop_limit") and request.type in ("limit", "stop_limit")
        if not limits:
            raise wash_trade(order.id, "opposite side market/stop order exists")
        assert order.limit_price is not None
        assert request.limit_price is not None
        buy, sell = (request.limit_price, order.limit_price) if request.side == "buy" else (order.limit_price, request.limit_price)
        if buy >= sell:
            raise wash_trade(order.id, "opposite side limit order exists")


def check_one_direction(request: VenueOrderRequest, live: Iterable[BookOrder]) -> None:
    """Two opening orders of one symbol may not point in opposite directions."""
    for order in live:
        if order.symbol == request.symbol and order.opening and order.side != request.side:
            mine, other = ("long buy", "short sell") if request.side == "buy" else ("short sell", "long buy")
            raise forbidden(f"cannot open a {mine} while a {other} order is open")


def held_for_orders(symbol: str, position: Decimal, live: Iterable[BookOrder]) -> tuple[Decimal, list[str]]:
    """Shares of a position that open closing orders hold, and the ids of those orders; a group counts once."""
    groups: dict[str, Decimal] = {}
    for order in live:
        if order.symbol == symbol and order.sign * position < 0 and order.active and not order.opening:
            root = order.root.id
            groups[root] = max(groups.get(root, ZERO), order.remaining)
    return sum(groups.values(), ZERO), sorted(groups)


def check_quantity_available(request: VenueOrderRequest, position: Decimal, live: Iterable[BookOrder]) -> None:
    """A closing order must find as many free shares as it asks for; crossing zero takes two orders."""
    held, related = held_for_orders(request.symbol, position, live)
    existing = abs(position)
    if request.qty > existing - held:
        raise insufficient_quantity(request.symbol, request.qty, existing, held, related)


def check_purpose(request: VenueOrderRequest, closing: bool) -> VenueError | None:
    """Brackets and OTOs open positions, OCOs close them."""
    if request.order_class in ("bracket", "oto") and closing:
        return invalid(f"{request.order_class} orders must be entry orders")
    if request.order_class == "oco" and not closing:
        return invalid("oco orders must be exit orders")
    return None
