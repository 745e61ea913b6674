"""Which orders the venue takes as things stand: the rules that need the clock, the book or the account. The first one broken is reported;
nothing here looks at more than the orders of one symbol."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from alphatrade_pipelines.venue.exchange import rules
from alphatrade_pipelines.venue.exchange.account import ZERO
from alphatrade_pipelines.venue.exchange.claims import LIMIT_TYPES, Claims
from alphatrade_pipelines.venue.exchange.errors import (
    VenueError,
    duplicate_client_id,
    forbidden,
    insufficient_buying_power,
    insufficient_quantity,
    invalid,
    wash_trade,
)
from alphatrade_pipelines.venue.exchange.order_entry import Changes, Entry, replacement, share_value, shares_of
from alphatrade_pipelines.venue.exchange.orders import BookOrder, VenueOrderRequest
from alphatrade_pipelines.venue.exchange.quotes import money

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.exchange.exchange import Exchange

_CENT = Decimal("0.01")
_RESTRICTED_AT = 6  # gross exposure over equity: Alpaca then takes closing orders only


def check_order(venue: Exchange, request: VenueOrderRequest) -> Entry:
    """Where the order may enter.

    Raises:
        VenueError: refused, with Alpaca's HTTP status, code and message.
    """
    rules.check_shape(request, venue.fidelity)
    price = _market_price(venue, request.symbol)
    check_client_id(venue, request.client_order_id)
    _check_hours(venue, request)
    rules.check_leg_prices(request, price)
    position, sign = venue.cash_account.quantity(request.symbol), (1 if request.side == "buy" else -1)
    closing = position * sign < 0
    _check_restrictions(venue, closing)
    _check_purpose(request, closing)
    if venue.fidelity.wash_check:
        check_wash_trade(request, venue.book.claims)
    entry = venue.book.entry(request.symbol, _value(venue, request.side, request.limit_price, request.stop_price, price))
    if request.notional is not None and request.notional < 1:
        raise forbidden("cost basis must be >= minimal amount of order 1")
    if closing:
        _check_closing(venue, request, entry, position)
    else:
        _check_opening(venue, request, entry)
    return entry


def _market_price(venue: Exchange, symbol: str) -> Decimal:
    quote = venue.market.quotes.get(symbol)
    if quote is None:
        raise invalid(f'asset "{symbol}" not found')
    if math.isnan(quote.price) or not venue.assets[symbol].tradable:
        raise invalid(f"asset {symbol} is not tradable")
    return money(quote.price)


def _value(venue: Exchange, side: str, limit: Decimal | None, stop: Decimal | None, price: Decimal) -> Decimal:
    """Dollars a share: the far side of the quote in the session, the last price out of it."""
    ask = price + venue.half_spread(price) if venue.market_open else price
    return share_value(side, limit if limit is not None else stop, ask)


def check_client_id(venue: Exchange, client_order_id: str | None) -> None:
    """An id is used once and for ever."""
    if client_order_id is not None and client_order_id in venue.book.by_client_id:
        raise duplicate_client_id(venue.fidelity.duplicate_client_id_status)


def _check_hours(venue: Exchange, request: VenueOrderRequest) -> None:
    tif = request.time_in_force
    if tif in ("ioc", "fok") and not venue.market_open:
        raise invalid(f"{tif} orders are only accepted while the market is open")
    if tif == "opg" and venue.hours.refuses_opg(venue.now):
        raise invalid("opg orders are not accepted between 9:28am and 7:00pm ET")
    if tif == "cls" and venue.hours.refuses_cls(venue.now):
        raise invalid("cls orders are not accepted between 3:50pm and 7:00pm ET")
    if venue.fidelity.market_closed == "reject" and not venue.market_open and tif not in ("opg", "cls"):
        extended = request.extended_hours and venue.hours.phase(venue.now) in ("pre_market", "after_hours")
        if not extended:
            raise forbidden("market is closed")


def _check_restrictions(venue: Exchange, closing: bool) -> None:
    rules_in_force = venue.restrictions
    if rules_in_force.account_blocked:
        raise forbidden("account is blocked")
    if rules_in_force.trading_blocked:
        raise forbidden("trading blocked for this account")
    if rules_in_force.trade_suspended_by_user:
        raise forbidden("new orders are rejected by user request")
    if not closing and rules_in_force.closing_only:
        raise forbidden("account is restricted to liquidation")


def _check_purpose(request: VenueOrderRequest, closing: bool) -> None:
    """Brackets and OTOs open positions, OCOs close them; a stated intent must be what the order does."""
    if request.order_class in ("bracket", "oto") and closing:
        raise invalid(f"{request.order_class} orders must be entry orders")
    if request.order_class == "oco" and not closing:
        raise invalid("oco orders must be exit orders")
    inferred = f"{request.side}_to_{'close' if closing else 'open'}"
    if request.position_intent not in (None, inferred):
        raise invalid(f"position intent mismatch, inferred: {inferred}, specified: {request.position_intent}")


def check_wash_trade(request: VenueOrderRequest, claims: Claims) -> None:
    """A simple order against a resting simple order of the other side; complex orders and trailing stops are exempt."""
    if request.order_class != "simple" or request.type == "trailing_stop":
        return
    sign = 1 if request.side == "buy" else -1
    other = claims.resting(request.symbol, -sign)
    if other is None or not other.all:
        return
    takers = other.takers if request.type in LIMIT_TYPES else other.all
    if takers:
        raise wash_trade(next(iter(takers)), "opposite side market/stop order exists")
    best = other.best_limit()
    if best is None or best.limit_price is None or request.limit_price is None:
        return
    if sign * (request.limit_price - best.limit_price) >= 0:
        raise wash_trade(best.id, "opposite side limit order exists")


def _check_closing(venue: Exchange, request: VenueOrderRequest, entry: Entry, position: Decimal) -> None:
    held, qty = venue.book.claims.held(request.symbol, position), shares_of(request, entry.value)
    if qty > abs(position) - held:
        related = venue.book.claims.holders(request.symbol, position)
        raise insufficient_quantity(request.symbol, qty, abs(position), held, related)
    if venue.fidelity.pattern_day_trader and venue.day_trades.refuses(request.symbol, venue.account().equity):
        raise VenueError(403, 40310100, "trade denied due to pattern day trading protection")


def _check_opening(venue: Exchange, request: VenueOrderRequest, entry: Entry) -> None:
    sign = 1 if request.side == "buy" else -1
    claims, fractional = venue.book.claims, request.qty is None or request.qty != request.qty.to_integral_value()
    if claims.has_opening(request.symbol, -sign):
        mine, other = ("long buy", "short sell") if sign > 0 else ("short sell", "long buy")
        raise forbidden(f"cannot open a {mine} while a {other} order is open")
    if request.notional is not None and claims.has_closing(request.symbol):
        raise forbidden("unable to open new notional orders while having open closing position orders")
    if sign < 0:
        _check_short(venue, request, fractional)
    elif fractional and venue.restrictions.no_fractions:
        raise forbidden("account is not allowed to trade fractional shares")
    elif fractional and not venue.assets[request.symbol].fractionable:
        raise invalid("requested asset is not fractionable")
    cost = request.notional if request.notional is not None else (entry.value * shares_of(request, entry.value)).quantize(_CENT)
    if cost < 1:
        raise forbidden("cost basis must be >= minimal amount of order 1")
    check_funds(venue, cost)


def _check_short(venue: Exchange, request: VenueOrderRequest, fractional: bool) -> None:
    if fractional:
        raise invalid("fractional orders cannot be sold short")
    account, asset = venue.cash_account, venue.assets[request.symbol]
    if venue.restrictions.no_shorting or account.leverage(venue.equity()) <= 1:
        raise forbidden("account is not allowed to short")
    if not asset.shortable or not asset.easy_to_borrow:
        raise invalid(f'asset "{request.symbol}" cannot be sold short')


def check_funds(venue: Exchange, cost: Decimal) -> None:
    """Enough buying power for ``cost`` more dollars, in an account that is not over its head."""
    long, short = venue.cash_account.market_value(venue.prices_held())
    equity = venue.cash_account.cash + long + short
    if long - short > _RESTRICTED_AT * max(equity, ZERO) and (long or short):
        raise forbidden("account is restricted to liquidation")
    power = venue.buying_power()
    if cost > power:
        raise insufficient_buying_power(power, cost)


def check_replacement(venue: Exchange, old: BookOrder, changes: Changes) -> BookOrder:
    """The order that may replace ``old``.

    Raises:
        VenueError: 422 not replaceable so; 403 no funds or shares for more.
    """
    rules.check_replace(old, changes, venue.fidelity)
    check_client_id(venue, changes.client_order_id)  # its own id is taken too, by itself
    price = money(venue.market.quotes[old.symbol].price)
    limit = changes.limit_price if changes.limit_price is not None else old.limit_price
    stop = changes.stop_price if changes.stop_price is not None else old.stop_price
    value = _value(venue, old.side, limit, None if old.type == "trailing_stop" else stop, price)
    new = replacement(old, changes, venue.book.entry(old.symbol, value))
    if old.order_class != "simple":
        rules.check_replaced_legs(old, new, price)
    if venue.fidelity.wash_check and old.order_class == "simple" and changes.limit_price is not None:
        check_wash_trade(VenueOrderRequest(new.symbol, new.side, new.qty, new.type, limit_price=new.limit_price), venue.book.claims)
    _check_more(venue, old, new)
    return new


def _check_more(venue: Exchange, old: BookOrder, new: BookOrder) -> None:
    """The larger of the two is reserved while both are about."""
    if new.opening:
        cost = new.reserve_price * new.remaining - old.reserve_price * old.remaining
        if cost > 0:
            check_funds(venue, cost)
        return
    extra = new.remaining - old.remaining
    position = venue.cash_account.quantity(new.symbol)
    held = venue.book.claims.held(new.symbol, position)
    if extra > 0 and extra > abs(position) - held:
        related = venue.book.claims.holders(new.symbol, position)
        raise insufficient_quantity(new.symbol, new.remaining, abs(position), held - old.remaining, related)
