"""Events: everything the core may ever learn. Closed set, frozen, versioned; ``at`` is aware UTC (venue time in simulation)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from alphatrade_pipelines.trading.domain import (
    AccountState,
    AssetState,
    BrokerOrder,
    BrokerPosition,
    Execution,
    ModelRef,
    OrderRequest,
    ParentOrder,
    Signal,
    StopPolicy,
)


class Outcome(StrEnum):
    """How a command ended. UNKNOWN blocks new exposure in its symbol until the broker has answered; it never blocks an exit.

    CONFIRMED and REFUSED are words of the broker. DENIED: our own side cannot make such a request, the broker was never asked.
    UNSENT: the connection was never made, so the broker provably has nothing; the same command may be tried again under the same name.
    """

    CONFIRMED = "confirmed"
    REFUSED = "refused"
    DENIED = "denied"
    UNKNOWN = "unknown"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A process began to trade this account. ``config`` is the core's configuration as JSON, so a replay needs nothing else.

    ``previous`` says in one sentence how the run before it ended, as its journal was found.
    """

    at: datetime
    run_id: str
    mode: str
    model: ModelRef
    account: AccountState
    config: str
    previous: str = ""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The process stopped in an orderly way; a journal without it as its last word belongs to a crashed run."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class ClockTicked:
    """Time passed. ``market_open`` comes from the broker's clock, ``next_close`` is the end of the current or next session."""

    at: datetime
    market_open: bool
    next_open: datetime
    next_close: datetime


@dataclass(frozen=True, slots=True)
class PriceSeen:
    """A bar became known: last price of one symbol (raw, as it trades), and how many shares traded in it (0 = not told)."""

    at: datetime
    symbol: str
    price: Decimal
    volume: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class CorporateActionApplied:
    """On the morning of ``at``: ``split`` new shares for each old one (1 = none), ``dividend`` cash per (old) share; ``renamed``: what the
    symbol is called from then on, if that changes."""

    at: datetime
    symbol: str
    split: Decimal
    dividend: Decimal
    renamed: str = ""


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """The model has an opinion."""

    at: datetime
    signal: Signal


@dataclass(frozen=True, slots=True)
class AssetSeen:
    """The broker lets us do something else with a symbol than before (looked up before and at each open)."""

    at: datetime
    asset: AssetState


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """A fresh look at the account."""

    at: datetime
    account: AccountState


@dataclass(frozen=True, slots=True)
class OrderIntended:
    """Write-ahead intent: journaled (fsync) before the order is sent. ``decision_id`` names the signal or audit that caused it."""

    at: datetime
    request: OrderRequest
    purpose: str  # entry | slice | protect | exit | unwind | trim
    decision_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class CancelIntended:
    """Write-ahead intent to cancel one order (for a bracket or OCO: its group)."""

    at: datetime
    broker_id: str
    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReplaceIntended:
    """Write-ahead intent to replace the broker order ``broker_id`` by one named ``client_order_id`` with other prices or another quantity.

    ``root`` is the client order id of the order it belongs to (the first of its chain, or the one whose leg it is). None keeps a value.
    Only an order without fills is given another quantity: what Alpaca does with ``qty`` after a partial fill is disputed (docs/core.md).
    """

    at: datetime
    client_order_id: str
    root: str
    broker_id: str
    symbol: str
    reason: str
    qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class CloseIntended:
    """Write-ahead intent to ask the broker itself to close the whole position, whatever its size: the last rung of an exit."""

    at: datetime
    symbol: str
    decision_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class SubmitEnded:
    """What became of a submission. ``order`` is set when CONFIRMED; ``http_status``, ``code`` and ``reason`` when REFUSED or UNKNOWN.

    ``retry_after_s``: how long the broker asked to wait (a rate limit's reset), None when it did not say.
    """

    at: datetime
    client_order_id: str
    outcome: Outcome
    order: BrokerOrder | None = None
    http_status: int | None = None
    code: int | None = None
    reason: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class CancelEnded:
    """What became of a cancel REQUEST; the order itself is only cancelled when an update says so."""

    at: datetime
    broker_id: str
    outcome: Outcome
    http_status: int | None = None
    code: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplaceEnded:
    """What became of a replacement REQUEST. CONFIRMED with ``order`` (the new one) is a promise only: when the old order fills first, the
    new one is rejected afterwards, and an update says so. ``broker_id`` is the order that was to be replaced."""

    at: datetime
    client_order_id: str
    broker_id: str
    outcome: Outcome
    order: BrokerOrder | None = None
    http_status: int | None = None
    code: int | None = None
    reason: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class CloseEnded:
    """What became of a request to close a position. ``order`` is the closing order, named by the broker; UNKNOWN: a read must show it."""

    at: datetime
    symbol: str
    outcome: Outcome
    order: BrokerOrder | None = None
    http_status: int | None = None
    code: int | None = None
    reason: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class OrderProbed:
    """The broker answered (or not) for one client order id.

    CONFIRMED with ``order`` (its legs nested); REFUSED = it provably has none; UNKNOWN = no answer.
    """

    at: datetime
    client_order_id: str
    outcome: Outcome
    order: BrokerOrder | None = None


@dataclass(frozen=True, slots=True)
class OrderUpdated:
    """A trade update from the stream or a poll. ``execution`` is set for fills; ``event_id`` may be empty."""

    at: datetime
    event: str
    order: BrokerOrder
    execution: Execution | None = None
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class BrokerSeen:
    """One reconciliation read: positions, orders (legs nested) and executions since ``fills_since``; taken from ``began`` on.
    The shell stamps ``at`` with the same time, so that what is counted from a read (its age, the next one) is never younger than it is.

    It exists only when positions, orders and account were read: a failed query never means "flat". ``fills_known`` is False when not all
    of the executions were. ``absent``: broker ids believed alive that were in no list, and that the broker, asked for each, does not know.
    """

    at: datetime
    began: datetime
    positions: tuple[BrokerPosition, ...]
    orders: tuple[BrokerOrder, ...]
    executions: tuple[Execution, ...]
    fills_since: datetime
    account: AccountState
    fills_known: bool = True
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiscrepancyFound:
    """Reconciliation named a difference between us and the broker and what it does about it.

    With action ``adopt`` the position becomes ``qty`` at average price ``price`` (what the broker reports).
    """

    at: datetime
    kind: (
        str  # phantom_position | missing_position | quantity_mismatch | unknown_order | orphaned_order | missed_fill | missing_protection …
    )
    symbol: str
    detail: str
    action: str
    qty: Decimal | None = None
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ParentOpened:
    """A decision is worked in slices from now on; each slice is an ``OrderIntended`` of purpose ``slice`` (entry) or ``unwind`` (exit)."""

    at: datetime
    parent: ParentOrder


@dataclass(frozen=True, slots=True)
class ParentEnded:
    """No further slice of this parent will be sent. ``filled`` of ``qty`` shares were traded; ``reason`` is complete, time, refused, …"""

    at: datetime
    symbol: str
    decision_id: str
    reason: str
    filled: Decimal
    qty: Decimal


@dataclass(frozen=True, slots=True)
class EntryDenied:
    """A signal was not traded, with its coded reason (CATEGORY_CONDITION)."""

    at: datetime
    symbol: str
    decision_id: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class ProtectionBreached:
    """``qty`` shares stood without a live stop for ``seconds`` of open market, longer than ``bound_s``, while the broker was reachable."""

    at: datetime
    symbol: str
    qty: Decimal
    seconds: float
    bound_s: float


@dataclass(frozen=True, slots=True)
class GapLossRecorded:
    """A stop filled beyond its price: a stop does not cap a gap. Losses of ``qty`` shares from their average entry, in account currency:
    ``intended_loss`` at the stop, ``realized_loss`` at the fill; both are positive when money was lost."""

    at: datetime
    symbol: str
    decision_id: str
    execution_id: str
    qty: Decimal
    stop: Decimal
    price: Decimal
    intended_loss: Decimal
    realized_loss: Decimal


@dataclass(frozen=True, slots=True)
class StreamStateSeen:
    """A stream connected, was lost, or fell silent; ``name`` is trade_updates or market_data."""

    at: datetime
    name: str
    connected: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ModelSwapped:
    """From now on signals come from this model."""

    at: datetime
    model: ModelRef


@dataclass(frozen=True, slots=True)
class OperatorAsked:
    """A person (or a job) asked: flatten, halt, reduce, resume, reset_breakers."""

    at: datetime
    request: str
    who: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The session is to end; entries stop at once and ``policy`` says what may be left at the broker."""

    at: datetime
    policy: StopPolicy
    reason: str


@dataclass(frozen=True, slots=True)
class JournalStateSeen:
    """The journal could not be written (``writable`` False: entries halt, exits go on), or can be again.

    ``late`` counts the events before this one that became durable only now, in their order, without a gap.
    """

    at: datetime
    writable: bool
    detail: str
    late: int = 0


Event = (
    SessionStarted
    | SessionEnded
    | ClockTicked
    | PriceSeen
    | CorporateActionApplied
    | SignalReceived
    | AccountSeen
    | OrderIntended
    | CancelIntended
    | ReplaceIntended
    | CloseIntended
    | SubmitEnded
    | CancelEnded
    | ReplaceEnded
    | CloseEnded
    | OrderProbed
    | OrderUpdated
    | BrokerSeen
    | DiscrepancyFound
    | ParentOpened
    | ParentEnded
    | EntryDenied
    | ProtectionBreached
    | GapLossRecorded
    | StreamStateSeen
    | AssetSeen
    | ModelSwapped
    | OperatorAsked
    | StopAsked
    | JournalStateSeen
)
