"""What a session brings to the orders: corporate actions before the open, the routing of what was queued, the end of the day."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from alphatrade_pipelines.venue.exchange.account import ZERO
from alphatrade_pipelines.venue.exchange.margin import FREEZE
from alphatrade_pipelines.venue.exchange.quotes import money
from alphatrade_pipelines.venue.exchange.tape import CorporateAction, Point

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.exchange.exchange import Exchange


def corporate_actions(venue: Exchange, session: int) -> tuple[CorporateAction, ...]:
    """Dividends on the shares held into the ex-date, splits of positions and prices; returns what took effect."""
    actions = tuple(venue.tape.actions[session])
    for action in actions:
        if action.dividend:
            held = venue.cash_account.quantity(action.symbol)
            amount = venue.cash_account.dividend(action.symbol, money(action.dividend))
            if held:
                venue.dividends.append((venue.now, action, held, amount))
        if action.split != 1.0:
            _split(venue, action)
    return actions


def _split(venue: Exchange, action: CorporateAction) -> None:
    venue.market.split(action.symbol, action.split)
    for order in list(venue.book.working.get(action.symbol, {}).values()):
        if order.is_live:
            venue.book.cancel_group(order)
    last = venue.market.quotes[action.symbol].price
    price = ZERO if math.isnan(last) else money(last)
    venue.cash_account.split(action.symbol, Fraction(action.split).limit_denominator(10_000), price)


def open_session(venue: Exchange) -> None:
    """The session opens: shorts of names that have become hard to borrow are gone, what was queued reaches the market."""
    for symbol, flags in venue.assets.items():
        if not flags.easy_to_borrow:
            for order in venue.book.claims.opening(symbol, -1):
                venue.book.cancel_group(order)
    venue.market_open = True
    for order in venue.book.live():
        if order.status == "accepted":
            venue.book.move(order, "new")


def after_opening(venue: Exchange) -> None:
    """The opening prints are made: what asked for them and did not get them ends."""
    for order in venue.book.live():
        if order.time_in_force == "opg":
            venue.book.close(order, "canceled")


def close_session(venue: Exchange, point: Point) -> None:
    """The session closes: DAY orders end, the account is marked."""
    venue.market_open = False
    for order in [*venue.book.stragglers, *venue.book.live()]:
        over = order.time_in_force != "gtc" and not order.extended_hours
        aged = order.expires_at is not None and order.expires_at <= venue.now
        if over or aged or order in venue.book.stragglers:
            venue.desk.end_day(order)
    venue.book.stragglers.clear()
    venue.market.close_session()
    venue.day_trades.close_session()
    if venue.cash_account.close_session(venue.prices_held()) and venue.fidelity.margin_calls:
        venue.levers.restrict(closing_only=True)
        venue.schedule.at(venue.now + FREEZE, lambda: venue.levers.restrict(closing_only=False))
    venue.equity_history.append((venue.tape.sessions[point.session].day, venue.now, venue.equity()))
