"""The matching engine: the orders of a book against one price path. Pure and deterministic."""

from __future__ import annotations

import math
from decimal import Decimal

from alphatrade_pipelines.venue.exchange import fills
from alphatrade_pipelines.venue.exchange.book import Book
from alphatrade_pipelines.venue.exchange.orders import STOP_TYPES, ZERO, BookOrder
from alphatrade_pipelines.venue.exchange.profiles import FillProfile
from alphatrade_pipelines.venue.exchange.quotes import Quote, money

_PARTIAL, _PART = 101, 102  # purposes of the draws behind Alpaca's random partial fills


class Matcher:
    """Decides what of a book trades, by one fill profile. ``bar_seconds``: length of the bars that carry volatility and volume."""

    def __init__(self, book: Book, profile: FillProfile, seed: int, bar_seconds: float) -> None:
        self.book = book
        self.profile = profile
        self.seed = seed
        self.bar_seconds = bar_seconds
        self.volume_scale: dict[str, float] = {}  # by symbol, set by a lever; the tape's volume where nothing is said

    # --- walking the path ---------------------------------------------------------------------------------------------------------

    def walk(self, quote: Quote, start: float, end: float, jump: bool) -> None:
        """Move the price of one symbol from ``start`` to ``end`` and trade what trades: stops before everything else."""
        for order in sorted(self.book.tradable(quote.symbol), key=lambda order: (order.type not in STOP_TYPES, order.sequence)):
            if not order.active:
                continue
            if order.time_in_force == "cls":
                self.attempt(order, quote, end, end, True)  # the closing print, whatever led to it
            else:
                self.attempt(order, quote, start, end, jump)

    def attempt(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> None:
        """Let one active order meet one stretch of the path; a completed entry sends its legs into the rest of the stretch."""
        if not order.routed:
            order.routed = True
            if order.opening and order.role == "entry" and self._draw(order, quote, fills.REJECTION) < self.profile.rejection_probability:
                self.book.reject(order)
                return
        reference = self._trade(order, quote, start, end, jump)
        if order.status == "filled" and order.role == "entry" and not math.isnan(reference):
            for leg in sorted(order.legs, key=lambda leg: leg.type not in STOP_TYPES):
                if leg.active:
                    self.attempt(leg, quote, reference, end, jump)

    def _trade(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> float:
        if order.type in STOP_TYPES and not order.triggered:
            return self._watch(order, quote, (start, end, jump))
        limit = order.limit_price if order.limit_price is not None else order.stop_cap
        if limit is None:
            return self._take(order, quote, end, math.nan)
        return self._meet_limit(order, quote, float(limit), (start, end, jump))

    def _watch(self, order: BookOrder, quote: Quote, stretch: tuple[float, float, bool]) -> float:
        """A stop waits for its price; a trailing one follows the best price before (a jump shows no price before its end) and after."""
        start, end, jump = stretch
        trails = order.type == "trailing_stop"
        if trails and (order.hwm is None or not jump):
            self.book.follow(order, money(start))
        reference = self._elect(order, quote, start, end, jump)
        if trails and not order.triggered:
            self.book.follow(order, money(end))
        return reference

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

    def _meet_limit(self, order: BookOrder, quote: Quote, limit: float, stretch: tuple[float, float, bool]) -> float:
        start, end, jump = stretch
        if not jump and order.sign * (limit - start) > 0:  # left over from a marketable order: keeps taking
            return self._take(order, quote, end if order.sign * (limit - end) >= 0 else limit, limit)
        through = self.profile.limit_through_ticks * fills.tick_size(limit)
        won = self.profile.touch_probability >= 1.0 or self._draw(order, quote, fills.QUEUE) < self.profile.touch_probability
        reference = fills.limit_reference(order.sign, limit, start, end, jump, through, won)
        if math.isnan(reference):
            return reference
        if jump:
            return self._take(order, quote, reference, limit)
        return self._fill(order, quote, self._quantity(order, quote), limit, limit)

    # --- executions ---------------------------------------------------------------------------------------------------------------

    def _draw(self, order: BookOrder, quote: Quote, purpose: int) -> float:
        return fills.uniform_draw(self.seed, quote.key, quote.bar, order.draw_key, purpose)

    def _quantity(self, order: BookOrder, quote: Quote) -> Decimal:
        volume = quote.volume * self.volume_scale.get(quote.symbol, 1.0)
        available = fills.shares_available(volume, quote.share, self.profile.participation, quote.taken)
        quantity = min(order.remaining, Decimal(int(available)))
        if order.time_in_force == "fok":
            return quantity if quantity == order.remaining else ZERO
        return self._random_part(order, quote, quantity) if order.filled_qty == ZERO else quantity

    def _random_part(self, order: BookOrder, quote: Quote, quantity: Decimal) -> Decimal:
        """Alpaca's paper venue fills a random part first, one time in ten (a fidelity switch); the rest meets the next price."""
        if quantity < 2 or self._draw(order, quote, _PARTIAL) >= self.book.fidelity.partial_fill_probability:
            return quantity
        return max(Decimal(1), Decimal(int(float(quantity) * self._draw(order, quote, _PART))))

    def _take(self, order: BookOrder, quote: Quote, reference: float, bound: float) -> float:
        profile, quantity = self.profile, self._quantity(order, quote)
        if quantity <= 0:
            return math.nan
        cost = (
            fills.half_spread(reference, profile.half_spread_bps, profile.spread_multiplier, profile.minimum_half_spread)
            + fills.square_root_impact(reference, float(quantity), quote.volatility, quote.average_volume, profile.impact_coefficient)
            + fills.adverse_move(reference, quote.volatility, profile.latency_seconds, self.bar_seconds, profile.adverse_fraction)
        )
        price = fills.taker_price(order.sign, reference, cost, quote.low, quote.high, bound)
        return self._fill(order, quote, quantity, price, reference)

    def _fill(self, order: BookOrder, quote: Quote, quantity: Decimal, price: float, reference: float) -> float:
        fill = self.book.execute(order, quantity, money(price), money(reference), money(quote.low), money(quote.high))
        if fill is None:
            return math.nan
        quote.taken += float(fill.qty)
        return reference
