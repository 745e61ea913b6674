"""Round trips by FIFO lots, realised P&L to the cent, and where it came from.

A split converts the open lots; a dividend belongs to the lots open on its morning. Each round trip's P&L is taken apart exactly:
``market`` (reference to reference) + ``entry_slippage`` + ``exit_slippage`` = ``pnl``; fees and dividends are stated beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from alphatrade_pipelines.reporting.book import Fill, OrderBook
from alphatrade_pipelines.trading.domain import Side
from alphatrade_pipelines.trading.events import CorporateActionApplied, Event

ZERO = Decimal(0)
CENT = Decimal("0.01")


@dataclass(slots=True)
class Lot:
    """Shares bought (``qty`` > 0) or sold short (< 0) by one fill and still open; prices per share as they trade now."""

    symbol: str
    qty: Decimal
    price: Decimal
    reference: Decimal
    at: datetime
    client_order_id: str
    dividends: Decimal = ZERO  # cash received on the shares still open


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Shares opened by one order and closed by another. Money in account currency, prices per share at the exit's share count."""

    symbol: str
    side: Side
    qty: Decimal
    entry_at: datetime
    entry_price: Decimal
    exit_at: datetime
    exit_price: Decimal
    exit_role: str
    entry_order: str
    exit_order: str
    pnl: Decimal
    market: Decimal
    entry_slippage: Decimal
    exit_slippage: Decimal
    dividends: Decimal

    @property
    def return_fraction(self) -> Decimal:
        """P&L over the money that opened it."""
        return self.pnl / (self.entry_price * self.qty)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Where the money came from. ``market + entry_slippage + exit_slippage = realised``; ``realised + dividends + fees`` reached cash."""

    realised: Decimal
    market: Decimal
    entry_slippage: Decimal
    exit_slippage: Decimal
    dividends: Decimal

    @property
    def residual(self) -> Decimal:
        """Zero, or the attribution is wrong."""
        return self.realised - self.market - self.entry_slippage - self.exit_slippage


@dataclass
class TradeLedger:
    """Lots and round trips after a sequence of fills and corporate actions."""

    lots: dict[str, deque[Lot]] = field(default_factory=dict)
    round_trips: list[RoundTrip] = field(default_factory=list)
    bought: Decimal = ZERO
    sold: Decimal = ZERO
    dividends: Decimal = ZERO
    _actions: set[tuple[str, str]] = field(default_factory=set)

    def fill(self, fill: Fill) -> None:
        """Close open lots of the other direction, first in first out; what is left opens a new lot."""
        done, left = fill.execution, fill.signed_qty
        if done.side is Side.BUY:
            self.bought += done.qty * done.price
        else:
            self.sold += done.qty * done.price
        lots = self.lots.setdefault(done.symbol, deque())
        while left and lots and lots[0].qty * left < 0:
            left = self._close(lots, fill, left)
        if left:
            lots.append(Lot(done.symbol, left, done.price, fill.reference or done.price, done.at, fill.client_order_id))

    def _close(self, lots: deque[Lot], fill: Fill, left: Decimal) -> Decimal:
        """Close as much of the first lot as ``left`` allows; returns what is left of the fill."""
        lot, done = lots[0], fill.execution
        qty = min(abs(lot.qty), abs(left))
        sign = 1 if lot.qty > 0 else -1
        reference = fill.reference or done.price
        dividends = lot.dividends * qty / abs(lot.qty)
        self.round_trips.append(
            RoundTrip(
                symbol=lot.symbol,
                side=Side.BUY if sign > 0 else Side.SELL,
                qty=qty,
                entry_at=lot.at,
                entry_price=lot.price,
                exit_at=done.at,
                exit_price=done.price,
                exit_role=fill.role,
                entry_order=lot.client_order_id,
                exit_order=fill.client_order_id,
                pnl=(done.price - lot.price) * qty * sign,
                market=(reference - lot.reference) * qty * sign,
                entry_slippage=(lot.reference - lot.price) * qty * sign,
                exit_slippage=(done.price - reference) * qty * sign,
                dividends=dividends,
            )
        )
        lot.qty -= sign * qty
        lot.dividends -= dividends
        if not lot.qty:
            lots.popleft()
        return left + sign * qty

    def corporate_action(self, action: CorporateActionApplied) -> None:
        """Pay the dividend on the old shares, then convert the lots; a repeated notice counts once."""
        key = (action.symbol, action.at.date().isoformat())
        if key in self._actions:
            return
        self._actions.add(key)
        for lot in self.lots.get(action.symbol, ()):
            paid = lot.qty * action.dividend
            lot.dividends += paid
            self.dividends += paid
            lot.qty *= action.split
            lot.price /= action.split
            lot.reference /= action.split

    def attribution(self) -> Attribution:
        """The sum over all round trips."""
        trips = self.round_trips
        return Attribution(
            realised=sum((trip.pnl for trip in trips), ZERO),
            market=sum((trip.market for trip in trips), ZERO),
            entry_slippage=sum((trip.entry_slippage for trip in trips), ZERO),
            exit_slippage=sum((trip.exit_slippage for trip in trips), ZERO),
            dividends=self.dividends,
        )

    def open_qty(self, symbol: str) -> Decimal:
        """Shares still open, negative when short."""
        return sum((lot.qty for lot in self.lots.get(symbol, ())), ZERO)


def trade_ledger(events: Iterable[Event], book: OrderBook | None = None) -> TradeLedger:
    """Lots and round trips of a journal. A fill heard of twice counts once; fills and corporate actions are taken in event order."""
    history = list(events)
    book = book or OrderBook.of(history)
    meaning = {fill.execution.execution_id: fill for fill in book.fills()}
    ledger, counted = TradeLedger(), set[str]()
    for event in history:
        if isinstance(event, CorporateActionApplied):
            ledger.corporate_action(event)
        heard = getattr(event, "executions", ()) or (getattr(event, "execution", None),)
        for execution in heard:
            key = "" if execution is None else execution.execution_id.rsplit("::", 1)[-1]
            if key and key not in counted:
                counted.add(key)
                ledger.fill(meaning[book.executions[key].execution_id])
    return ledger


def merged(trips: Iterable[RoundTrip]) -> list[RoundTrip]:
    """One row for each pair of entry and exit order: partial fills summed, prices averaged by quantity, times of the outer fills."""
    groups: dict[tuple[str, str, str], list[RoundTrip]] = {}
    for trip in trips:
        groups.setdefault((trip.symbol, trip.entry_order, trip.exit_order), []).append(trip)
    return [_merge(group) for group in groups.values()]


def _merge(group: list[RoundTrip]) -> RoundTrip:
    qty = sum((trip.qty for trip in group), ZERO)
    first, last = group[0], group[-1]
    return RoundTrip(
        symbol=first.symbol,
        side=first.side,
        qty=qty,
        entry_at=min(trip.entry_at for trip in group),
        entry_price=sum((trip.entry_price * trip.qty for trip in group), ZERO) / qty,
        exit_at=max(trip.exit_at for trip in group),
        exit_price=sum((trip.exit_price * trip.qty for trip in group), ZERO) / qty,
        exit_role=last.exit_role,
        entry_order=first.entry_order,
        exit_order=first.exit_order,
        pnl=sum((trip.pnl for trip in group), ZERO),
        market=sum((trip.market for trip in group), ZERO),
        entry_slippage=sum((trip.entry_slippage for trip in group), ZERO),
        exit_slippage=sum((trip.exit_slippage for trip in group), ZERO),
        dividends=sum((trip.dividends for trip in group), ZERO),
    )
