"""Commands: everything the core may ever ask its shell to do. Money-moving ones are journaled as intents before they are returned."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from alphatrade_pipelines.trading.domain import OrderRequest


@dataclass(frozen=True, slots=True)
class SubmitOrder:
    """Send this order; answer with ``SubmitEnded``."""

    request: OrderRequest


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Ask the broker to cancel; answer with ``CancelEnded``. The final word comes as ``OrderUpdated``."""

    broker_id: str
    symbol: str


@dataclass(frozen=True, slots=True)
class ReplaceOrder:
    """Replace the broker order ``broker_id`` by one named ``client_order_id``; None keeps a value. Answer with ``ReplaceEnded``."""

    broker_id: str
    symbol: str
    client_order_id: str
    qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ClosePosition:
    """Ask the broker to close the whole position at market; answer with ``CloseEnded``."""

    symbol: str


@dataclass(frozen=True, slots=True)
class ProbeOrder:
    """Ask the broker for this client order id; answer with ``OrderProbed``."""

    client_order_id: str


@dataclass(frozen=True, slots=True)
class ReadBroker:
    """Read positions, orders and executions; answer with ``BrokerSeen`` (or nothing if the broker does not answer)."""

    reason: str


@dataclass(frozen=True, slots=True)
class RaiseAlert:
    """Tell a person. ``level`` is INFO, WARNING or CRITICAL."""

    level: str
    code: str
    detail: str


Command = SubmitOrder | CancelOrder | ReplaceOrder | ClosePosition | ProbeOrder | ReadBroker | RaiseAlert
