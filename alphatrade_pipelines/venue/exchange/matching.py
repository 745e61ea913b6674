"""The matching engine: a book of orders against one price path. Pure and deterministic; money is booked in the account.

Group rules (Alpaca): the legs of a bracket or OTO become active once the entry is COMPLETELY filled; cancelling one order cancels
what is open of its group; a partly filled profit leg reduces the loss leg; an elected stop withdraws the profit leg.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from alphatrade_pipelines.venue.exchange import fills
from alphatrade_pipelines.venue.exchange.account import Account
from alphatrade_pipelines.venue.exchange.ids import event_ulid, stable_uuid
from alphatrade_pipelines.venue.exchange.orders import ZERO, BookOrder, Fill, TradeUpdate
from alphatrade_pipelines.venue.exchange.profiles import FillProfile
from alphatrade_pipelines.venue.exchange.rules import held_for_orders

_STOPS = ("stop", "stop_limit")


@dataclass(slots=True)
class Quote:
    """What the venue knows of a symbol at this moment: the last ``price`` and the bar being walked. ``live`` = a price is printing, so an
    arriving order may trade at once; at the close of a bar it is not, so that nothing trades on the close it was decided on."""

    symbol: str
    key: int
    price: float = math.nan
    previous_close: float = math.nan
    bar: int = 0
    low: float = math.nan
    high: float = math.nan
    volume: float = 0.0
    volatility: float = math.nan
    average_volume: float = 0.0
    share: float = 0.0
    taken: float = 0.0
    live: bool = False


def money(price: float) -> Decimal:
    """A float price as Decimal, at most four decimals, at least two."""
    text = f"{price:.4f}"
    return Decimal(text[:-2] if text.endswith("00") else text)


def stop_cap(sign: int, kind: str, stop_price: Decimal | None) -> Decimal | None:
    """Alpaca turns a BUY stop into a stop-limit 4 % (below $50) or 2.5 % above its stop; a sell stop stays a true stop."""
    if kind != "stop" or sign < 0 or stop_price is None:
        return None
    factor = Decimal("1.04") if stop_price < 50 else Decimal("1.025")
    return (stop_price * factor).quantize(Decimal("0.01"), ROUND_CEILING)


class Book:
    """All orders of one account, and the rules by which they trade. ``now`` is set by the exchange before each call."""

    def __init__(self, profile: FillProfile, seed: int, account: Account, bar_seconds: float, now: datetime) -> None:
        self.profile = profile
        self.seed = seed
        self.account = account
        self.bar_seconds = bar_seconds
        self.now = now
        self.orders: dict[str, BookOrder] = {}
        self.by_client_id: dict[str, BookOrder] = {}
        self.working: dict[str, list[BookOrder]] = {}
        self.updates: list[TradeUpdate] = []
        self.fills: list[Fill] = []
        self._events = 0

    # --- entering and leaving the book -----------------------------------------------------------------------------------------

    def add(self, order: BookOrder) -> None:
        """Take an accepted order (not its legs) into the book."""
        self.orders[order.id] = order
        self.by_client_id[order.client_order_id] = order
        self.working.setdefault(order.symbol, []).append(order)

    def live(self) -> list[BookOrder]:
        """Every order that may still trade, held legs included, oldest first."""
        return sorted((order for orders in self.working.values() for order in orders), key=lambda order: order.sequence)

    def emit(self, event: str, order: BookOrder, fill: Fill | None = None) -> None:
        """Put one trade update on the queue."""
        self._events += 1
        position = self.account.quantity(order.symbol) if fill else None
        update = TradeUpdate(event, event_ulid(self.now, self._events), self.now, order.snapshot())
        if fill:
            update = TradeUpdate(event, update.event_id, self.now, update.order, fill.execution_id, fill.price, fill.qty, position)
        self.updates.append(update)

    def cancel_group(self, order: BookOrder) -> None:
        """Cancel ``order`` and whatever is open of its group."""
        members = [order, *(member for member in order.members if member is not order)]
        for member in members:
            if member.is_live:
                self.close(member, "canceled")

    def close(self, order: BookOrder, status: str) -> None:
        """End an order without a fill: ``canceled``, ``expired``, ``rejected`` or ``replaced``."""
        order.status = status
        order.updated_at = self.now
        match status:
            case "canceled":
                order.canceled_at = self.now
            case "expired":
                order.expired_at = self.now
            case "rejected":
                order.failed_at = self.now
            case "replaced":
                order.replaced_at = self.now
        self._leave(order)
        self.emit(status, order)

    def _leave(self, order: BookOrder) -> None:
        order.active = False
        self.working[order.symbol].remove(order)

    # --- walking the path ---------------------------------------------------------------------------------------------------------

    def walk(self, quote: Quote, start: float, end: float, jump: bool) -> None:
        """Move the price of one symbol from ``start`` to ``end`` and trade what trades: stops before everything else."""
        active = [order for order in self.working.get(quote.symbol, ()) if order.active]
        for order in sorted(active, key=lambda order: (order.type not in _STOPS, order.sequence)):
            if order.active:
                self.attempt(order, quote, start, end, jump)

    def attempt(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> None:
        """Let one active order meet one stretch of the path; a completed entry sends its legs into the rest of the stretch."""
        if not order.routed:
            order.routed = True
            if order.opening and order.role == "entry" and self._draw(order, quote, fills.REJECTION) < self.profile.rejection_probability:
                self._reject(order)
                return
        reference = self._trade(order, quote, start, end, jump)
        if order.status == "filled" and order.role == "entry" and not math.isnan(reference):
            for leg in sorted(order.legs, key=lambda leg: leg.type not in _STOPS):
                if leg.active:
                    self.attempt(leg, quote, reference, end, jump)

    def _trade(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> float:
        if order.type in _STOPS and not order.triggered:
            return self._elect(order, quote, start, end, jump)
        limit = order.limit_price if order.limit_price is not None else order.stop_cap
        if limit is None:
            return self._take(order, quote, end, math.nan)
        return self._meet_limit(order, quote, float(limit), (start, end, jump))

    def _elect(self, order: BookOrder, quote: Quote, start: float, end: float, jump: bool) -> float:
        assert order.stop_price is not None
        reference = fills.stop_reference(order.sign, float(order.stop_price), start, end, jump)
        if math.isnan(reference):
            return reference
        order.triggered = True
        if order.status == "held":
            order.status = "new"
            order.updated_at = self.now
            self.emit("new", order)
        for sibling in order.members:
            if sibling.role == "take_profit" and sibling.is_live and order.role == "stop_loss":
                self.close(sibling, "canceled")
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
        available = fills.shares_available(quote.volume, quote.share, self.profile.participation, quote.taken)
        return min(order.remaining, Decimal(int(available)))

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
        if quantity <= 0:
            return math.nan
        exact = money(price)
        quote.taken += float(quantity)
        fee = self.account.trade(order.symbol, order.sign, quantity, exact)
        order.filled_qty += quantity
        order.filled_value += quantity * exact
        order.updated_at = self.now
        done = order.remaining == ZERO
        order.status = "filled" if done else "partially_filled"
        if done:
            order.filled_at = self.now
            self._leave(order)
        fill = Fill(
            execution_id=stable_uuid(self.account.number, "execution", len(self.fills)),
            order_id=order.id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=quantity,
            price=exact,
            at=self.now,
            fee=fee,
            reference=money(reference),
            leaves_qty=order.remaining,
            cum_qty=order.filled_qty,
            order_status=order.status,
            low=money(quote.low),
            high=money(quote.high),
        )
        self.fills.append(fill)
        self.emit("fill" if done else "partial_fill", order, fill)
        self._after_fill(order)
        return reference

    def _after_fill(self, order: BookOrder) -> None:
        if order.role == "entry" and order.status == "filled":
            free = self._free_to_close(order)
            for leg in order.legs:
                self._activate(leg, free)
        elif order.role == "take_profit":
            for sibling in order.members:
                if sibling.role == "stop_loss" and sibling.is_live:
                    self._reduce_stop(sibling, order)

    def _reduce_stop(self, stop: BookOrder, profit: BookOrder) -> None:
        if profit.status == "filled":
            self.close(stop, "canceled")
            return
        stop.qty = stop.filled_qty + profit.remaining
        stop.updated_at = self.now
        self.emit("restated", stop)

    def _free_to_close(self, entry: BookOrder) -> Decimal:
        """Shares of the position that no other closing order holds: part of it may be on its way out while the entry was still filling."""
        position = self.account.quantity(entry.symbol)
        if entry.sign * position <= 0:
            return ZERO
        return abs(position) - held_for_orders(entry.symbol, position, self.working.get(entry.symbol, ()))[0]

    def _activate(self, leg: BookOrder, free: Decimal) -> None:
        if free <= 0:
            self.close(leg, "canceled")
            return
        leg.qty = min(leg.qty, free)
        leg.active = True
        leg.updated_at = self.now
        has_sibling = len(leg.root.legs) > 1
        if leg.role == "take_profit" or not has_sibling:  # the stop of a pair stays "held" until it is elected
            leg.status = "new"
            self.emit("new", leg)

    def _reject(self, order: BookOrder) -> None:
        self.close(order, "rejected")
        for leg in order.legs:
            if leg.is_live:
                self.close(leg, "canceled")
