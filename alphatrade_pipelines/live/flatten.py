"""Close everything directly at the broker, for when no session runs: the last resort needs no model, no journal and no features."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import structlog

from alphatrade_pipelines.live import wire
from alphatrade_pipelines.live.gateway import AlpacaGateway
from alphatrade_pipelines.trading.domain import BrokerOrder, OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import BrokerSeen, Outcome

log = structlog.get_logger(__name__)
LOOK_EVERY_S = 0.5
CLOCK_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Flattened:
    """What is left: positions still open (symbol, quantity), and whether their closing orders wait for the market to open. ``left_alone``:
    what the account holds beside US equities, which is nobody's to sell here."""

    left: tuple[tuple[str, Decimal], ...]
    queued: bool
    left_alone: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """One line for a person."""
        others = f"; not US equities, left alone: {', '.join(self.left_alone)}" if self.left_alone else ""
        return self._shares + others

    @property
    def _shares(self) -> str:
        if not self.left:
            return "flat: no position is left at the broker" if not self.left_alone else "flat: no share is left at the broker"
        names = ", ".join(f"{qty:f} {symbol}" for symbol, qty in self.left)
        return (
            f"closing orders wait for the next open: {names}" if self.queued else f"NOT flat, still open: {names}; look at the broker now"
        )


def flatten_directly(gateway: AlpacaGateway, patience_s: float = 60.0, sleep: Callable[[float], None] = time.sleep) -> Flattened:
    """Cancel every order of US equities, wait until they are gone, sell or cover every position at market, and look until it is true.

    Repeats what the broker refuses or leaves unanswered until ``patience_s`` is over. Raises ``BrokerUnavailableError`` when the broker
    cannot even be read.
    """
    until = time.monotonic() + patience_s
    closing: dict[str, str] = {}
    while True:
        seen, is_open = _look(gateway), gateway.clock(CLOCK_ATTEMPTS).is_open
        positions = tuple((position.symbol, position.qty) for position in seen.positions if position.qty)
        # the legs that protect a position hang below its filled entry
        alive = [order for order in wire.flatten(seen.orders) if order.is_live]
        ours = {order.symbol for order in alive if order.client_order_id in closing.values()}
        if not positions and not alive:
            return Flattened((), False, gateway.left_alone)
        if not is_open and positions and {symbol for symbol, _ in positions} <= ours:
            return Flattened(positions, True, gateway.left_alone)
        if time.monotonic() > until:
            return Flattened(positions, False, gateway.left_alone)
        _cancel([order for order in alive if order.client_order_id not in closing.values()], gateway)
        busy = {order.symbol for order in alive}
        for symbol, qty in positions:
            if symbol not in busy:
                closing[symbol] = _close(symbol, qty, gateway)
        sleep(LOOK_EVERY_S)


def _look(gateway: AlpacaGateway) -> BrokerSeen:
    began = gateway.clock(CLOCK_ATTEMPTS).at
    return gateway.read_broker(gateway.clock(CLOCK_ATTEMPTS).at, began)


def _cancel(orders: list[BrokerOrder], gateway: AlpacaGateway) -> None:
    for order in orders:
        ended = gateway.cancel(order.broker_id, datetime.now(UTC))
        log.info("flatten: cancel", symbol=order.symbol, order=order.client_order_id, outcome=str(ended.outcome), reason=ended.reason)


def _close(symbol: str, qty: Decimal, gateway: AlpacaGateway) -> str:
    # a fresh id each time: the position is read anew before each attempt, and two closing orders cannot both be alive (see ``busy``)
    name = f"flatten-{symbol}-{uuid.uuid4().hex[:12]}"
    side = Side.SELL if qty > 0 else Side.BUY
    request = OrderRequest(name, symbol, side, abs(qty), OrderKind.MARKET, OrderClass.SIMPLE, TimeInForce.DAY)
    ended = gateway.submit(request, datetime.now(UTC))
    if ended.outcome is not Outcome.CONFIRMED:
        log.error("flatten: close refused or unanswered", symbol=symbol, outcome=str(ended.outcome), reason=ended.reason)
    return name
