"""The book: the orders of one account, how those of a group hang together, and what an execution does to them.

Group rules (Alpaca): the legs of a bracket or OTO become active once the entry is COMPLETELY filled; cancelling one order cancels
what is open of its group; a partly filled profit leg reduces the loss leg; an elected stop withdraws the profit leg.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from alphatrade_pipelines.venue.exchange import order_entry
from alphatrade_pipelines.venue.exchange.account import Account
from alphatrade_pipelines.venue.exchange.claims import Claims
from alphatrade_pipelines.venue.exchange.fidelity import Fidelity
from alphatrade_pipelines.venue.exchange.ids import event_ulid, stable_uuid
from alphatrade_pipelines.venue.exchange.orders import ZERO, BookOrder, Fill, TradeUpdate

_SHARE = Decimal("1e-9")
_STAMPS = {"canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at", "replaced": "replaced_at"}


class Book:
    """All orders of one account. ``now`` is set by the exchange before each call; so are ``extended`` (only orders marked for extended
    hours trade) and ``auction`` (``opening`` or ``closing`` while such a print is made: the only ones OPG and CLS orders trade at)."""

    def __init__(self, account: Account, now: datetime, fidelity: Fidelity | None = None) -> None:
        self.account = account
        self.now = now
        self.fidelity = fidelity or Fidelity()
        self.extended = False
        self.auction: str | None = None
        self.orders: dict[str, BookOrder] = {}
        self.by_client_id: dict[str, BookOrder] = {}
        self.working: dict[str, dict[str, BookOrder]] = {}
        self.claims = Claims()
        self.updates: list[TradeUpdate] = []
        self.fills: list[Fill] = []
        self.racing: set[str] = set()  # symbols whose next elected stop leaves its profit leg working
        self.stragglers: list[BookOrder] = []  # profit legs that were left so
        self.on_fill: Callable[[BookOrder, Fill, Decimal], None] | None = None
        self._live: dict[str, BookOrder] = {}
        self._events = 0

    # --- entering and leaving the book -----------------------------------------------------------------------------------------

    def add(self, order: BookOrder) -> None:
        """Take an accepted order (not its legs) into the book."""
        self.orders[order.id] = order
        self.by_client_id[order.client_order_id] = order
        self.working.setdefault(order.symbol, {})[order.id] = order
        self._live[order.id] = order
        self.claims.add(order)

    def live(self) -> list[BookOrder]:
        """Every order that may still trade, held legs included, oldest first."""
        return list(self._live.values())

    def tradable(self, symbol: str) -> list[BookOrder]:
        """The orders of a symbol that the price now printing may trade, oldest first."""
        return [order for order in self.working.get(symbol, {}).values() if order.active and self.eligible(order)]

    def eligible(self, order: BookOrder) -> bool:
        """May ``order`` trade in the present part of the day."""
        if self.extended:
            return order.extended_hours
        if order.time_in_force == "opg":
            return self.auction == "opening"
        return order.time_in_force != "cls" or self.auction == "closing"

    def emit(self, event: str, order: BookOrder, fill: Fill | None = None) -> None:
        """Put one trade update on the queue."""
        self._events += 1
        name, snapshot = event_ulid(self.now, self._events), order.snapshot()
        if fill is None:
            self.updates.append(TradeUpdate(event, name, self.now, snapshot))
        else:
            position = self.account.quantity(order.symbol)
            self.updates.append(TradeUpdate(event, name, self.now, snapshot, fill.execution_id, fill.price, fill.qty, position))

    def move(self, order: BookOrder, status: str, event: str | None = None) -> None:
        """Give a live order another live status and say so."""
        order.status = status
        order.updated_at = self.now
        self.claims.refresh(order)
        self.emit(event or status, order)

    def cancel_group(self, order: BookOrder) -> None:
        """Cancel ``order`` and whatever is open of its group."""
        members = [order, *(member for member in order.members if member is not order)]
        for member in members:
            if member.is_live:
                self.close(member, "canceled")

    def close(self, order: BookOrder, status: str, *, silent: bool = False) -> None:
        """End an order without a fill: ``canceled``, ``expired``, ``rejected`` or ``replaced``; ``silent``: no update tells it."""
        order.status = status
        order.updated_at = self.now
        setattr(order, _STAMPS[status], self.now)
        self.leave(order)
        if not silent:
            self.emit(status, order)

    def leave(self, order: BookOrder) -> None:
        """Take a finished order out of what works."""
        order.active = False
        self.working[order.symbol].pop(order.id)
        self._live.pop(order.id)
        self.claims.remove(order)

    def reject(self, order: BookOrder) -> None:
        """End an order that the market refused, and what is open of its group."""
        self.close(order, "rejected")
        for member in order.members:
            if member.is_live:
                self.close(member, "canceled")

    def entry(self, symbol: str, value: Decimal) -> order_entry.Entry:
        """Where the next order of ``symbol`` enters, checked at ``value`` dollars a share."""
        return order_entry.Entry(self.now, self.account.number, len(self.orders), self.account.quantity(symbol), value, self.fidelity)

    # --- executions ---------------------------------------------------------------------------------------------------------------

    def execute(
        self, order: BookOrder, quantity: Decimal, price: Decimal, seen: tuple[Decimal, Decimal, Decimal], room: Decimal
    ) -> Fill | None:
        """Book an execution of ``quantity`` shares at ``price`` and what it does to the group; None if nothing is left to trade. ``seen``:
        the market price before cost, the low and the high of the bar. Of a notional order,
        whose size only this price decides, at most ``room`` shares."""
        if order.notional is not None:
            whole, size = quantity == order.remaining, self._size(order, price)
            quantity = min(quantity, size) if not whole else size if size <= room else room.to_integral_value(ROUND_DOWN)
        if quantity <= 0:
            return None
        before = self.account.quantity(order.symbol)
        fee = self.account.trade(order.symbol, order.sign, quantity, price)
        order.filled_qty += quantity
        order.filled_value += quantity * price
        order.updated_at = self.now
        fill = self._record(order, quantity, price, fee, seen)
        if self.on_fill is not None:
            self.on_fill(order, fill, before)
        self.emit("fill" if order.status == "filled" else "partial_fill", order, fill)
        self._after_fill(order)
        return fill

    def _size(self, order: BookOrder, price: Decimal) -> Decimal:
        """Shares that the dollars left of a notional order still buy; a closing one never sells more than is free."""
        assert order.notional is not None
        shares = ((order.notional - order.filled_value) / price).quantize(_SHARE, ROUND_DOWN)
        if not order.opening:
            shares = min(shares, self.free(order.symbol) + order.remaining)
        if shares <= 0:
            return order.remaining  # less than the smallest part of a share is left
        order.qty = order.filled_qty + shares
        self.claims.refresh(order)
        return shares

    def _record(self, order: BookOrder, quantity: Decimal, price: Decimal, fee: Decimal, seen: tuple[Decimal, Decimal, Decimal]) -> Fill:
        done = order.remaining == ZERO
        if done:
            order.status = "filled"
            order.filled_at = self.now
            self.leave(order)
        else:
            if not order.status.startswith("pending_"):  # what is asked of the order is still open
                order.status = "partially_filled"
            self.claims.refresh(order)
        fill = Fill(
            execution_id=stable_uuid(self.account.number, "execution", len(self.fills)),
            order_id=order.id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=quantity,
            price=price,
            at=self.now,
            fee=fee,
            reference=seen[0],
            leaves_qty=order.remaining,
            cum_qty=order.filled_qty,
            order_status=order.status,
            low=seen[1],
            high=seen[2],
        )
        self.fills.append(fill)
        return fill

    # --- stops --------------------------------------------------------------------------------------------------------------------

    def follow(self, order: BookOrder, price: Decimal) -> None:
        """Let a trailing stop follow ``price`` when it is the best seen so far."""
        if order.hwm is None or order.sign * (price - order.hwm) < 0:
            order.hwm = price
            order.stop_price = order_entry.trailing_stop_price(order, price)

    def elect(self, order: BookOrder) -> BookOrder:
        """A stop's price was seen: it may trade from now on; its profit leg is withdrawn. Returns the order that trades (a new one under
        ``sl_trigger_replaces_id``)."""
        order.triggered = True
        profits = [member for member in order.members if member.role == "take_profit" and member.is_live and member is not order]
        profit = profits[0] if order.role == "stop_loss" and profits else None
        if order.role == "stop_loss" and self.fidelity.sl_trigger_replaces_id:
            order = self._renamed(order)
        if order.status == "held":
            self.move(order, "new")
        if profit is not None:
            self._withdraw(profit, order)
        return order

    def _renamed(self, stop: BookOrder) -> BookOrder:
        new = order_entry.replacement(stop, order_entry.Changes(), self.entry(stop.symbol, ZERO))
        new.triggered = new.active = True
        stop.replaced_by = new.id
        order_entry.swap(stop, new)
        self.close(stop, "replaced")
        self.add(new)
        return new

    def _withdraw(self, profit: BookOrder, stop: BookOrder) -> None:
        if self.fidelity.both_legs_may_fill or profit.symbol in self.racing:
            self.racing.discard(profit.symbol)
            self.stragglers.append(profit)
        elif self.fidelity.sl_trigger_replaces_id:
            profit.replaced_by = stop.id
            self.close(profit, "replaced")
        else:
            self.close(profit, "canceled", silent=not self.fidelity.stream_sibling_cancel)

    # --- groups ---

    def _after_fill(self, order: BookOrder) -> None:
        """What an execution does to the rest of its group."""
        if order.role == "entry" and order.status == "filled":
            free = self.free(order.symbol) if order.sign * self.account.quantity(order.symbol) > 0 else ZERO
            for leg in order.legs:
                if leg.is_live:
                    self._activate(leg, free)
        elif order.role == "take_profit":
            for sibling in order.members:
                if sibling.role == "stop_loss" and sibling.is_live:
                    self._reduce_stop(sibling, order)

    def _reduce_stop(self, stop: BookOrder, profit: BookOrder) -> None:
        if profit.status == "filled":
            self.close(stop, "canceled", silent=not self.fidelity.stream_sibling_cancel)
            return
        stop.qty = min(stop.qty, stop.filled_qty + profit.remaining)
        stop.updated_at = self.now
        self.claims.refresh(stop)
        self.emit("restated", stop)

    def free(self, symbol: str) -> Decimal:
        """Shares of the position that no open closing order holds: part of it may be on its way out while an entry is still filling."""
        position = self.account.quantity(symbol)
        return abs(position) - self.claims.held(symbol, position)

    def _activate(self, leg: BookOrder, free: Decimal) -> None:
        if free <= 0:
            self.close(leg, "canceled")
            return
        leg.qty = min(leg.qty, free)
        leg.active = True
        leg.updated_at = self.now
        self.claims.refresh(leg)
        if leg.status == "held" and leg.standing == "new":
            self.move(leg, "new")
