"""What an account looks like from outside: positions, equity and buying power marked at the last prices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from alphatrade_pipelines.venue.exchange import order_entry, rules
from alphatrade_pipelines.venue.exchange.account import ZERO, Account
from alphatrade_pipelines.venue.exchange.book import Book
from alphatrade_pipelines.venue.exchange.quotes import Quote, money


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """An open position, ``qty`` signed; ``available`` = not held by open closing orders."""

    symbol: str
    qty: Decimal
    available: Decimal
    avg_entry_price: Decimal
    cost_basis: Decimal
    price: Decimal
    previous_close: Decimal


@dataclass(frozen=True, slots=True)
class VenueAccount:
    """The account now, in dollars."""

    account_number: str
    cash: Decimal
    equity: Decimal
    last_equity: Decimal
    buying_power: Decimal
    multiplier: Decimal
    long_market_value: Decimal
    short_market_value: Decimal
    fees_paid: Decimal
    realized: Decimal


def buying_power(account: Account, book: Book, prices: dict[str, Decimal]) -> Decimal:
    """What may still be bought: leverage x equity less exposure less the reserve of open opening orders."""
    reserved = sum((order_entry.reserve(order, prices[order.symbol]) for order in book.live() if order.opening), ZERO)
    return account.buying_power(prices, reserved)


def view_account(account: Account, book: Book, prices: dict[str, Decimal], last_equity: Decimal) -> VenueAccount:
    """The account, marked at ``prices``."""
    long, short = account.market_value(prices)
    equity = account.cash + long + short
    return VenueAccount(
        account_number=account.number,
        cash=account.cash,
        equity=equity,
        last_equity=last_equity,
        buying_power=buying_power(account, book, prices),
        multiplier=account.leverage(equity),
        long_market_value=long,
        short_market_value=short,
        fees_paid=account.fees_paid,
        realized=account.realized,
    )


def view_positions(account: Account, book: Book, quotes: dict[str, Quote]) -> list[VenuePosition]:
    """Open positions by symbol."""
    live = book.live()
    found = []
    for symbol, holding in sorted(account.holdings.items()):
        held, _ = rules.held_for_orders(symbol, holding.qty, live)
        quote = quotes[symbol]
        previous = quote.price if math.isnan(quote.previous_close) else quote.previous_close
        found.append(
            VenuePosition(
                symbol=symbol,
                qty=holding.qty,
                available=abs(holding.qty) - held,
                avg_entry_price=holding.average,
                cost_basis=holding.cost,
                price=money(quote.price),
                previous_close=money(previous),
            )
        )
    return found
