"""Ground truth: what the exchange itself saw, by which a client is judged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256

from alphatrade_pipelines.venue.exchange.orders import STOP_TYPES, BookOrder, Fill, VenueOrderRequest


@dataclass(frozen=True, slots=True)
class Receipt:
    """One order request as received. ``order_id`` when taken, else ``code`` and ``message`` of the refusal."""

    at: datetime
    request: VenueOrderRequest
    order_id: str | None
    code: int | None = None
    message: str = ""


@dataclass(slots=True)
class Ledger:
    """Requests, time without protection, and duplicate intents.

    ``unprotected_seconds`` counts venue time in regular hours during which a position was larger than the live protective stops.
    ``duplicate_intents`` are pairs of accepted opening orders that ask for exactly the same at the same venue time.
    """

    receipts: list[Receipt] = field(default_factory=list)
    unprotected_seconds: dict[str, float] = field(default_factory=dict)
    duplicate_intents: list[tuple[str, str]] = field(default_factory=list)
    reused_client_ids: int = 0
    _intents: dict[tuple[object, ...], str] = field(default_factory=dict)

    def accepted(self, at: datetime, request: VenueOrderRequest, order: BookOrder) -> None:
        self.receipts.append(Receipt(at, request, order.id))
        if not order.opening:
            return
        asked = (request.symbol, request.side, request.qty, request.type, request.order_class)
        intent = (at, *asked, request.limit_price, request.stop_price, request.take_profit, request.stop_loss)
        first = self._intents.setdefault(intent, order.client_order_id)
        if first != order.client_order_id:
            self.duplicate_intents.append((first, order.client_order_id))

    def refused(self, at: datetime, request: VenueOrderRequest, code: int | None, message: str) -> None:
        self.receipts.append(Receipt(at, request, None, code, message))
        if message.startswith("client_order_id must be unique"):
            self.reused_client_ids += 1

    def pass_time(self, seconds: float, positions: dict[str, Decimal], live: Mapping[str, Mapping[str, BookOrder]]) -> None:
        """Account for ``seconds`` of open market with these positions and live orders."""
        for symbol, quantity in positions.items():
            if protected_quantity(quantity, live.get(symbol, {}).values()) < abs(quantity):
                self.unprotected_seconds[symbol] = self.unprotected_seconds.get(symbol, 0.0) + seconds


def protected_quantity(position: Decimal, live: Iterable[BookOrder]) -> Decimal:
    """Shares of a position that live stops on its other side would close."""
    return sum((order.remaining for order in live if order.active and order.type in STOP_TYPES and order.sign * position < 0), Decimal(0))


def digest(fills: list[Fill]) -> str:
    """A hash of all executions by client id, symbol, side, quantity, price and time: equal runs have equal digests whatever the ids."""
    rows = [[f.client_order_id, f.symbol, f.side, str(f.qty), str(f.price), f.at.isoformat(), str(f.fee)] for f in fills]
    return sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
