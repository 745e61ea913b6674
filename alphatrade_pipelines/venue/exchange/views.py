"""What an account looks like from outside: positions, equity, margins and buying power marked at the last prices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from alphatrade_pipelines.venue.exchange import margin
from alphatrade_pipelines.venue.exchange.account import CENT, ZERO, Account
from alphatrade_pipelines.venue.exchange.book import Book
from alphatrade_pipelines.venue.exchange.quotes import Quote, money
from alphatrade_pipelines.venue.exchange.restrictions import Restrictions


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
    """The account now, in dollars. ``buying_power`` is intraday (multiplier x equity), ``regt_buying_power`` what may be held overnight,
    ``non_marginable_buying_power`` cash only; all less what is held and reserved. ``sma`` is the Regulation T credit line,
    ``margin_call`` the maintenance deficit of the last close."""

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
    regt_buying_power: Decimal
    non_marginable_buying_power: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    last_maintenance_margin: Decimal
    margin_call: Decimal
    sma: Decimal
    shorting_enabled: bool
    day_trades: int
    restrictions: Restrictions


def view_account(
    account: Account, book: Book, prices: Mapping[str, Decimal], last_equity: Decimal, standing: tuple[Restrictions, int]
) -> VenueAccount:
    """The account, marked at ``prices`` (of the symbols it holds); ``standing``: its restrictions and day trades."""
    long, short = account.market_value(prices)
    equity, reserved = account.cash + long + short, book.claims.reserved
    leverage = account.leverage(equity)
    overnight = min(margin.REG_T, leverage) * equity - long + short - reserved
    return VenueAccount(
        account_number=account.number,
        cash=account.cash,
        equity=equity,
        last_equity=last_equity,
        buying_power=account.buying_power(prices, reserved),
        multiplier=leverage,
        long_market_value=long,
        short_market_value=short,
        fees_paid=account.fees_paid,
        realized=account.realized,
        regt_buying_power=max(ZERO, overnight).quantize(CENT),
        non_marginable_buying_power=max(ZERO, account.cash + short - reserved).quantize(CENT),
        initial_margin=margin.initial_margin(long - short, leverage),
        maintenance_margin=margin.maintenance_margin(account.positions(), prices),
        last_maintenance_margin=account.last_maintenance,
        margin_call=account.margin_call.amount,
        sma=account.sma.quantize(CENT),
        shorting_enabled=leverage > 1 and not standing[0].no_shorting,
        day_trades=standing[1],
        restrictions=standing[0],
    )


def view_positions(account: Account, book: Book, quotes: dict[str, Quote]) -> list[VenuePosition]:
    """Open positions by symbol."""
    found = []
    for symbol, holding in sorted(account.holdings.items()):
        quote = quotes[symbol]
        previous = quote.price if math.isnan(quote.previous_close) else quote.previous_close
        found.append(
            VenuePosition(
                symbol=symbol,
                qty=holding.qty,
                available=book.free(symbol),
                avg_entry_price=holding.average,
                cost_basis=holding.cost,
                price=money(quote.price),
                previous_close=money(previous),
            )
        )
    return found
