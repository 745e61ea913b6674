"""Commands: everything the core may ever ask its shell to do. Money-moving ones are journaled as intents before they are returned."""

from __future__ import annotations

from dataclasses import dataclass

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


Command = SubmitOrder | CancelOrder | ProbeOrder | ReadBroker | RaiseAlert
