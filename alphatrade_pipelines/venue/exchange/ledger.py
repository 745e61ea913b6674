"""Ground truth: what the exchange itself saw, by which a client is judged."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from alphatrade_pipelines.venue.exchange.orders import STOP_TYPES, ZERO, BookOrder, Fill, VenueOrderRequest


@dataclass(frozen=True, slots=True)
class Receipt:
    """One order request as received. ``order_id`` when taken, else ``code`` and ``message`` of the refusal. ``halted``: its symbol was."""

    at: datetime
    request: VenueOrderRequest
    order_id: str | None
    code: int | None = None
    message: str = ""
    halted: bool = False


@dataclass(slots=True)
class Coverage:
    """A stretch of open market during which a position and what protects it did not change. ``position`` is signed; ``protected`` counts
    the shares that live stops on its other side would close (of a group, one order), so it may exceed the position."""

    symbol: str
    start: datetime
    end: datetime
    position: Decimal
    protected: Decimal


@dataclass(frozen=True, slots=True)
class Flip:
    """An execution that took a position through zero, or an exit that opened one on the other side because there was nothing to close."""

    at: datetime
    symbol: str
    before: Decimal
    after: Decimal
    execution_id: str


@dataclass(slots=True)
class Ledger:
    """Requests, time without protection, duplicate intents, flips.

    ``unprotected_seconds`` counts venue time in regular hours during which a position was larger than the live protective stops,
    ``overprotected_seconds`` that during which these would have closed more than it; ``coverage`` holds the stretches themselves.
    ``duplicate_intents`` are pairs of accepted opening orders that ask for exactly the same at the same venue time. ``refusals`` counts
    refused requests by code and message. Every entry costs the same whatever is there already.
    """

    receipts: list[Receipt] = field(default_factory=list)
    unprotected_seconds: dict[str, float] = field(default_factory=dict)
    overprotected_seconds: dict[str, float] = field(default_factory=dict)
    coverage: list[Coverage] = field(default_factory=list)
    duplicate_intents: list[tuple[str, str]] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)
    refusals: Counter[tuple[int | None, str]] = field(default_factory=Counter)
    reused_client_ids: int = 0
    _intents: dict[tuple[object, ...], str] = field(default_factory=dict)
    _current: dict[str, Coverage] = field(default_factory=dict)
    _digest: _RunningDigest = field(default_factory=lambda: _RunningDigest())

    # --- requests -----------------------------------------------------------------------------------------------------------------

    def accepted(self, at: datetime, request: VenueOrderRequest, order: BookOrder, *, halted: bool = False) -> None:
        """Take note of an order that was taken."""
        self.receipts.append(Receipt(at, request, order.id, halted=halted))
        if not order.opening:
            return
        asked = (request.symbol, request.side, request.qty, request.notional, request.type, request.order_class)
        prices = (request.limit_price, request.stop_price, request.take_profit, request.stop_loss, request.trail_price)
        first = self._intents.setdefault((at, *asked, *prices, request.trail_percent), order.client_order_id)
        if first != order.client_order_id:
            self.duplicate_intents.append((first, order.client_order_id))

    def refused(self, at: datetime, request: VenueOrderRequest, code: int | None, message: str, *, halted: bool = False) -> None:
        """Take note of an order that was refused."""
        self.receipts.append(Receipt(at, request, None, code, message, halted))
        self.refusals[code, message] += 1
        if message.startswith("client_order_id must be unique"):
            self.reused_client_ids += 1

    @property
    def orders_while_halted(self) -> list[Receipt]:
        """Requests for a symbol that was halted, taken or not."""
        return [receipt for receipt in self.receipts if receipt.halted]

    # --- what happened --------------------------------------------------------------------------------------------------------------

    def executed(self, order: BookOrder, fill: Fill, before: Decimal) -> None:
        """Take note of an execution; ``before``: the position it met."""
        after = before + order.sign * fill.qty
        if before * after < 0 or (not order.opening and order.sign * after > 0):
            self.flips.append(Flip(fill.at, fill.symbol, before, after, fill.execution_id))

    def pass_time(
        self, start: datetime, end: datetime, positions: Mapping[str, Decimal], live: Mapping[str, Mapping[str, BookOrder]]
    ) -> None:
        """Account for open market from ``start`` to ``end`` with these positions and live orders."""
        seconds = (end - start).total_seconds()
        for symbol, position in positions.items():
            protected = protected_quantity(position, live.get(symbol, {}).values())
            if protected != abs(position):
                counted = self.unprotected_seconds if protected < abs(position) else self.overprotected_seconds
                counted[symbol] = counted.get(symbol, 0.0) + seconds
            current = self._current.get(symbol)
            if current and current.end == start and current.position == position and current.protected == protected:
                current.end = end
            else:
                self._current[symbol] = current = Coverage(symbol, start, end, position, protected)
                self.coverage.append(current)

    def digest(self, fills: Sequence[Fill]) -> str:
        """A hash of all executions by client id, symbol, side, quantity, price and time: equal runs have equal digests whatever the ids.
        ``fills`` only ever grows; what was hashed before is not hashed again."""
        return self._digest.of(fills)


class _RunningDigest:
    """SHA-256 of the JSON list of executions, kept open at its end."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(b"[")
        self._count = 0

    def of(self, fills: Sequence[Fill]) -> str:
        for number in range(self._count, len(fills)):
            f = fills[number]
            row = [f.client_order_id, f.symbol, f.side, str(f.qty), str(f.price), f.at.isoformat(), str(f.fee)]
            self._hash.update(b"," * (number > 0) + json.dumps(row, separators=(",", ":")).encode())
        self._count = len(fills)
        closed = self._hash.copy()
        closed.update(b"]")
        return closed.hexdigest()


def protected_quantity(position: Decimal, live: Iterable[BookOrder]) -> Decimal:
    """Shares of a position that live stops (trailing ones too) on its other side would close; a group closes them once."""
    groups: dict[str, Decimal] = {}
    for order in live:
        if order.active and order.type in STOP_TYPES and order.sign * position < 0:
            root = order.root.id
            groups[root] = max(groups.get(root, ZERO), order.remaining)
    return sum(groups.values(), ZERO)
