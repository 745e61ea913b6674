"""The matching engine: the orders of a book against one price path. Pure and deterministic; every formula is a kernel of ``fills``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from alphatrade_pipelines.venue.exchange import fills
from alphatrade_pipelines.venue.exchange.book import Book
from alphatrade_pipelines.venue.exchange.orders import STOP_TYPES, ZERO, BookOrder, Fill
from alphatrade_pipelines.venue.exchange.profiles import FillProfile
from alphatrade_pipelines.venue.exchange.quotes import Quote, money
from alphatrade_pipelines.venue.exchange.screen import Screen
from alphatrade_pipelines.venue.exchange.tape import to_datetime

_AT_ONCE = ("ioc", "fok")


@dataclass(frozen=True, slots=True)
class Markout:
    """What became of one execution by the end of its bar: ``per_share`` is the signed move from its price to that bar's close in dollars,
    negative when price went on against it. ``resting``: it provided liquidity. Nobody may see it before ``known_at``."""

    execution_id: str
    symbol: str
    side: str
    resting: bool
    qty: Decimal
    price: Decimal
    per_share: float
    known_at: datetime


class Matcher:
    """Decides what of a book trades, by one fill profile. ``bar_seconds``: length of the bars that carry volatility and volume."""

    def __init__(self, book: Book, profile: FillProfile, seed: int, bar_seconds: float) -> None:
        self.book = book
        self.profile = profile
        self.seed = seed
        self.bar_seconds = bar_seconds
        self._markouts: list[Markout] = []
        self._screens: dict[str, tuple[int, Screen]] = {}

    def markouts(self) -> list[Markout]:
        """The markouts known by now, in the order of the executions."""
        return [markout for markout in self._markouts if markout.known_at <= self.book.now]

    # --- walking the path ---------------------------------------------------------------------------------------------------------

    def walk(self, quote: Quote, start: float, end: float, jump: bool) -> None:
        """Move the price of one symbol from ``start`` to ``end`` and trade what trades: stops before everything else."""
        for order in self._screen(quote.symbol).touched(start, end):
            if not (order.active and self.book.eligible(order)):
                continue
            if order.time_in_force == "cls":
                self.attempt(order, quote, end, end, True)  # the closing print, whatever led to it
            else:
                self.attempt(order, quote, start, end, jump)

    def _screen(self, symbol: str) -> Screen:
        version = self.book.claims.versions.get(symbol, 0)
        known, found = self._screens.get(symbol, (-1, None))
        if found is None or known != version:
            found = Screen([order for order in self.book.working.get(symbol, {}).values() if order.active])
            self._screens[symbol] = version, found
        return found

    def attempt(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> None:
        """Let one active order meet one stretch of the path; a completed entry sends its legs into the rest of the stretch."""
        if self._shows_latency(quote):
            since_arrival = (self.book.now - order.created_at).total_seconds() - self.profile.latency_seconds
            if since_arrival < 0.0:
                return  # still on its way
            if since_arrival < quote.step_seconds:
                start, jump = end, True  # it came while price was on the move: nothing of that is its to trade
        if not order.routed:
            order.routed = True
            self._screens.pop(order.symbol, None)
            if order.opening and order.role == "entry" and self._draw(order, quote, fills.REJECTION) < self.profile.rejection_probability:
                self.book.reject(order)
                return
        reference = self._trade(order, quote, start, end, jump)
        if order.time_in_force in _AT_ONCE and order.is_live:
            self.book.close(order, "canceled")
        if order.status == "filled" and order.role == "entry" and not math.isnan(reference):
            for leg in sorted(order.legs, key=lambda leg: leg.type not in STOP_TYPES):
                if leg.active:
                    self.attempt(leg, quote, reference, end, jump)

    def _shows_latency(self, quote: Quote) -> bool:
        """Is the path fine enough to tell when an order arrives."""
        return 0.0 < quote.step_seconds <= self.profile.latency_seconds

    def _trade(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> float:
        if order.type in STOP_TYPES and not order.triggered:
            return self._watch(order, quote, start, end, jump)
        limit = order.limit_price if order.limit_price is not None else order.stop_cap
        if limit is None:
            return self._take(order, quote, end, math.nan)
        return self._meet_limit(order, quote, float(limit), start, end, jump)

    # --- stops --------------------------------------------------------------------------------------------------------------------

    def _watch(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> float:
        """A stop waits for its price; a trailing one follows the best price before (a jump shows no price before its end) and after."""
        trails = order.type == "trailing_stop"
        if trails and (order.hwm is None or not jump):
            self._follow(order, start)
        reference = self._elect(order, quote, start, end, jump)
        if trails and not order.triggered:
            self._follow(order, end)
        return reference

    def _follow(self, order: BookOrder, price: float) -> None:
        before = order.stop_price
        self.book.follow(order, money(price))
        if order.stop_price != before:
            self._screens.pop(order.symbol, None)

    def _elect(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> float:
        assert order.stop_price is not None
        reference = fills.stop_reference(order.sign, float(order.stop_price), start, end, jump)
        if math.isnan(reference):
            return reference
        order = self.book.elect(order)
        limit = order.limit_price if order.limit_price is not None else order.stop_cap
        if limit is None:
            return self._take(order, quote, reference, math.nan)
        if order.sign * (float(limit) - reference) < 0:
            return math.nan  # gapped beyond its limit: rests there
        return self._take(order, quote, reference, float(limit))

    # --- limits -------------------------------------------------------------------------------------------------------------------

    def _meet_limit(self, order: BookOrder, quote: Quote, limit: float, start: float, end: float, jump: bool) -> float:
        if order.ahead is None:
            if fills.marketable(order.sign, limit, start, self._half_spread(quote, start)):  # what is left of it keeps taking
                return self._take(order, quote, end if order.sign * (limit - end) >= 0 else limit, limit)
            self._join(order, quote, limit, start)
            if jump:
                return math.nan
        through = self.profile.limit_through_ticks * fills.tick_size(limit)
        if jump and quote.opening and fills.traded_through(order.sign, limit, end, end, through):
            return self._take(order, quote, end, limit)
        most = self._beyond_queue(order, quote, limit, start, end, through, jump)
        quantity = self._quantity(order, quote, most)
        if quantity <= 0:
            return math.nan
        at_a_touch = math.isfinite(most)  # once price has traded through it, nobody can have been served before it
        draw = self._draw(order, quote, fills.ADVERSE)
        if at_a_touch and fills.fill_denied(order.sign, limit, quote.close, self.profile.adverse_selection, draw):
            return math.nan
        price = min(max(limit, quote.low), quote.high)  # a jump between two bars may have left the limit outside
        return self._fill(order, quote, quantity, price, price, resting=True)

    def _join(self, order: BookOrder, quote: Quote, limit: float, price: float) -> None:
        """Join the back of a price level; inside the spread the order is alone on its level."""
        alone = order.sign * (limit - price) > 0
        draw = self._draw(order, quote, fills.QUEUE)
        order.ahead = 0.0 if alone else fills.queue_ahead(draw, self.profile.queue_minutes, quote.minute_volume)
        self._screens.pop(order.symbol, None)

    def _beyond_queue(self, order: BookOrder, quote: Quote, limit: float, start: float, end: float, through: float, jump: bool) -> float:
        """Shares that reach a resting order: all once price has traded through it, else what trades at its price beyond those ahead."""
        assert order.ahead is not None
        if fills.traded_through(order.sign, limit, start, end, through):
            order.ahead = 0.0
            return math.inf
        if jump:
            return 0.0
        traded = fills.volume_at_price(quote.flow, quote.end - quote.begin, limit, start, end)
        beyond, order.ahead = max(0.0, traded - order.ahead), max(0.0, order.ahead - traded)
        return beyond

    # --- executions ---------------------------------------------------------------------------------------------------------------

    def _draw(self, order: BookOrder, quote: Quote, purpose: int) -> float:
        return fills.uniform_draw(self.seed, quote.key, quote.bar, order.draw_key, purpose)

    def _half_spread(self, quote: Quote, price: float) -> float:
        profile = self.profile
        return fills.half_spread(price, profile.half_spread_bps, profile.spread_multiplier * quote.widening, profile.minimum_half_spread)

    def _room(self, quote: Quote) -> float:
        """Shares of this stretch that the account may still take."""
        return fills.shares_available(quote.flow, quote.begin, quote.end, self.profile.participation, quote.taken)

    def _quantity(self, order: BookOrder, quote: Quote, most: float = math.inf) -> Decimal:
        """What may trade now: all that is left if there is room for it, fractions included, else whole shares; FOK: all or nothing."""
        room = min(most, self._room(quote))
        whole = Decimal(math.floor(room))
        if order.remaining <= room:
            whole = order.remaining
        elif order.time_in_force == "fok":
            return ZERO
        chance = self.book.fidelity.partial_fill_probability
        if chance <= 0.0 or order.filled_qty > 0 or order.time_in_force == "fok" or whole < 2:
            return whole
        part = fills.random_part(float(whole), chance, self._draw(order, quote, fills.PARTIAL))
        return whole if part >= float(whole) else Decimal(math.floor(part))

    def _take(self, order: BookOrder, quote: Quote, reference: float, bound: float) -> float:
        profile, quantity = self.profile, self._quantity(order, quote)
        if quantity <= 0:
            return math.nan
        cost = fills.square_root_impact(reference, float(quantity), quote.volatility, quote.average_volume, profile.impact_coefficient)
        if order.time_in_force not in ("opg", "cls"):  # an auction has one price and no spread
            cost += self._half_spread(quote, reference)
            if order.type in STOP_TYPES or not self._shows_latency(quote):
                cost += fills.adverse_move(reference, quote.volatility, profile.latency_seconds, self.bar_seconds, profile.adverse_fraction)
        price = fills.taker_price(order.sign, reference, cost, quote.low, quote.high, bound)
        return self._fill(order, quote, quantity, price, reference, resting=False)

    def _fill(self, order: BookOrder, quote: Quote, quantity: Decimal, price: float, reference: float, *, resting: bool) -> float:
        seen = money(reference), money(quote.low), money(quote.high)
        fill = self.book.execute(order, quantity, money(price), seen, Decimal(self._room(quote)))
        if fill is None:
            return math.nan
        quote.taken += float(fill.qty)
        self._markouts.append(_markout(fill, order.sign, quote, resting))
        return reference


def _markout(fill: Fill, sign: int, quote: Quote, resting: bool) -> Markout:
    per_share = fills.markout(sign, float(fill.price), quote.close)
    known_at = to_datetime(quote.bar_end)
    return Markout(fill.execution_id, fill.symbol, fill.side, resting, fill.qty, fill.price, per_share, known_at)
