"""The order desk: what becomes of a submission, a cancellation and a replacement that the rules allow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from alphatrade_pipelines.venue.exchange import admission
from alphatrade_pipelines.venue.exchange.errors import VenueError, invalid
from alphatrade_pipelines.venue.exchange.order_entry import Changes, Entry, make_order, swap, trailing_stop_price
from alphatrade_pipelines.venue.exchange.orders import BookOrder, VenueOrder, VenueOrderRequest

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.exchange.exchange import Exchange

_IMMEDIATE = ("ioc", "fok")


@dataclass(frozen=True, slots=True)
class PendingReplacement:
    """A replacement that was answered 200 and has not happened yet. ``left``: what the old order still had to trade then."""

    old: BookOrder
    new: BookOrder
    left: Decimal


class OrderDesk:
    """Acts on one exchange."""

    def __init__(self, venue: Exchange) -> None:
        self.venue = venue
        self.book = venue.book

    # --- submitting -----------------------------------------------------------------------------------------------------------------

    def submit(self, request: VenueOrderRequest) -> VenueOrder:
        """Take an order the client sent; see ``Exchange.submit``."""
        venue = self.venue
        halted = request.symbol in venue.halts
        try:
            entry = admission.check_order(venue, request)
        except VenueError as error:
            venue.ledger.refused(venue.now, request, error.code, error.message, halted=halted)
            raise
        order = self.enter(request, entry)
        venue.ledger.accepted(venue.now, request, order, halted=halted)
        return self.route(order)

    def enter(self, request: VenueOrderRequest, entry: Entry) -> BookOrder:
        """Make the order and its legs and put them into the book."""
        order = make_order(request, entry)
        for member in order.members:
            self._set_expiry(member)
            self.book.add(member)
        return order

    def route(self, order: BookOrder) -> VenueOrder:
        """Send an entered order on its way; the answer is the order as accepted."""
        trading = self.venue.trading_now(order)
        order.status = "pending_new" if trading else "accepted"
        answer = order.snapshot()
        self.book.emit(order.status, order)
        if trading:
            self.arrive(order)
        elif order.extended_hours:
            self.venue.schedule.at(self.venue.hours.next_pre_market(self.venue.now), lambda: self._wake(order))
        return answer

    def _wake(self, order: BookOrder) -> None:
        if order.status == "accepted":
            self.arrive(order)

    def arrive(self, order: BookOrder) -> None:
        """The order reaches the market: it meets the price that is printing, if there is one."""
        self.book.move(order, "new")
        for member in order.members:
            self._meet_now(member)
        if order.time_in_force in _IMMEDIATE and order.is_live and order.symbol in self.venue.halts:
            self.book.close(order, "canceled")  # in an open market the matcher ends it once it has met a price

    def _meet_now(self, order: BookOrder) -> None:
        quote = self.venue.market.quotes[order.symbol]
        if quote.live and order.symbol not in self.venue.halts and order.active and self.book.eligible(order):
            self.venue.matcher.attempt(order, quote, quote.price, quote.price, True)

    def _set_expiry(self, order: BookOrder) -> None:
        venue = self.venue
        if order.time_in_force == "gtc":
            order.expires_at = venue.hours.ageing(venue.now, venue.fidelity.gtc_days)
            venue.schedule.at(order.expires_at, lambda: self._age(order))
        elif order.extended_hours:
            order.expires_at = venue.hours.extended_end(venue.now)
            venue.schedule.at(order.expires_at, lambda: self.end_day(order))
        else:
            order.expires_at = venue.next_close

    def _age(self, order: BookOrder) -> None:
        if order.is_live:
            self.book.cancel_group(order)

    def end_day(self, order: BookOrder) -> None:
        """End an order whose time is over, and the legs that waited for it."""
        if not order.is_live:
            return
        status = self.venue.fidelity.day_end_status if order.time_in_force == "day" else "canceled"
        self.book.close(order, status)
        for leg in order.legs:
            if leg.is_live and not leg.active:
                self.book.close(leg, status)

    # --- cancelling -----------------------------------------------------------------------------------------------------------------

    def cancel(self, order: BookOrder) -> None:
        """Cancel an order and its group, at once or after the lag; see ``Exchange.cancel``."""
        if not order.is_live or order.status in ("pending_cancel", "pending_replace") or order.predecessor is not None:
            raise invalid(f'order is already in "{order.status}" state')
        venue = self.venue
        waits = venue.fidelity.overnight_cancel_waits and not venue.market_open and order.status != "accepted"
        if not waits and not venue.fidelity.cancel_lag_seconds:
            self.book.cancel_group(order)
            return
        due = venue.next_open if waits else venue.now + timedelta(seconds=venue.fidelity.cancel_lag_seconds)
        for member in order.members:
            if member.is_live and member.status != "held":
                self.book.move(member, "pending_cancel")
        venue.schedule.at(due, lambda: self._confirm_cancel(order))

    def _confirm_cancel(self, order: BookOrder) -> None:
        if any(member.status == "pending_cancel" for member in order.members):
            self.book.cancel_group(order)

    # --- replacing ------------------------------------------------------------------------------------------------------------------

    def replace(self, old: BookOrder, changes: Changes) -> VenueOrder:
        """Replace an order, at once or after the lag; see ``Exchange.replace``."""
        venue = self.venue
        new = admission.check_replacement(venue, old, changes)
        lag = venue.fidelity.replace_lag_seconds
        if lag:
            return self._replace_later(old, new, lag)
        old.replaced_by = new.id
        swap(old, new)
        self.book.close(old, "replaced")
        self._take_place(new)
        answer = new.snapshot()
        self.book.emit(new.status if new.status != "held" else "new", new)
        self._meet_now(new)
        return answer

    def _take_place(self, new: BookOrder) -> None:
        self._set_expiry(new)
        self.book.add(new)

    def _replace_later(self, old: BookOrder, new: BookOrder, lag: float) -> VenueOrder:
        pending = PendingReplacement(old, new, old.remaining)
        new.status, new.active, new.parent = "pending_new", False, None
        old.successor, new.predecessor = new, old
        self._take_place(new)
        self.book.move(old, "pending_replace")
        self.book.emit("pending_new", new)
        self.venue.schedule.at(self.venue.now + timedelta(seconds=lag), lambda: self._confirm_replace(pending))
        return new.snapshot()

    def _confirm_replace(self, pending: PendingReplacement) -> None:
        """The replacement takes effect, unless the old order has ended or filled beyond it meanwhile: then the NEW one is rejected."""
        old, new = pending.old, pending.new
        old.successor = new.predecessor = None
        if not new.is_live:
            self._keep(pending)
            return
        qty = new.qty + old.remaining - pending.left  # filled meanwhile, or reduced with the group
        if not old.is_live or qty <= 0:
            self.book.close(new, "rejected")
            self._keep(pending)
            return
        new.qty = qty
        old.replaced_by = new.id
        new.parent, new.active, new.hwm, new.triggered, new.routed = old.parent, old.active, old.hwm, old.triggered, old.routed
        if new.type == "trailing_stop" and new.hwm is not None:
            new.stop_price = trailing_stop_price(new, new.hwm)
        swap(old, new)
        self.book.close(old, "replaced")
        self.book.move(new, new.standing, "new")
        self._meet_now(new)

    def _keep(self, pending: PendingReplacement) -> None:
        """The old order goes on as it was, if it still lives."""
        old = pending.old
        if old.is_live:
            self.book.move(old, "partially_filled" if old.filled_qty else old.standing, "order_replace_rejected")
