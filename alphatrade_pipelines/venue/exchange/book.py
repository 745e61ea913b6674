"""The book: the orders of one account and how those of a group hang together. Money is booked in the account.

Group rules (Alpaca): the legs of a bracket or OTO become active once the entry is COMPLETELY filled; cancelling one order cancels
what is open of its group; a partly filled profit leg reduces the loss leg; an elected stop withdraws the profit leg.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from alphatrade_pipelines.venue.exchange.account import Account
from alphatrade_pipelines.venue.exchange.ids import event_ulid
from alphatrade_pipelines.venue.exchange.orders import ZERO, BookOrder, Fill, TradeUpdate
from alphatrade_pipelines.venue.exchange.rules import held_for_orders


def stop_cap(sign: int, kind: str, stop_price: Decimal | None) -> Decimal | None:
    """Alpaca turns a BUY stop into a stop-limit 4 % (below $50) or 2.5 % above its stop; a sell stop stays a true stop."""
    if kind != "stop" or sign < 0 or stop_price is None:
        return None
    factor = Decimal("1.04") if stop_price < 50 else Decimal("1.025")
    return (stop_price * factor).quantize(Decimal("0.01"), ROUND_CEILING)


class Book:
    """All orders of one account, and the rules by which they trade. ``now`` is set by the exchange before each call."""

    def __init__(self, account: Account, now: datetime) -> None:
        self.account = account
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
        self.leave(order)
        self.emit(status, order)

    def leave(self, order: BookOrder) -> None:
        """Take a finished order out of what works."""
        order.active = False
        self.working[order.symbol].remove(order)

    # --- groups ---

    def after_fill(self, order: BookOrder) -> None:
        """What an execution does to the rest of its group."""
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

    def reject(self, order: BookOrder) -> None:
        """End an order that the market refused, and its legs."""
        self.close(order, "rejected")
        for leg in order.legs:
            if leg.is_live:
                self.close(leg, "canceled")
