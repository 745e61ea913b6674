"""What a session did, in numbers a person asks for. Fed event by event (a live status) or from a whole journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from alphatrade_pipelines.trading.domain import AccountState
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    BrokerSeen,
    ClockTicked,
    DiscrepancyFound,
    EntryDenied,
    Event,
    OrderIntended,
    OrderUpdated,
    Outcome,
    SessionEnded,
    SessionStarted,
    SignalReceived,
    StreamStateSeen,
    SubmitEnded,
)

ZERO = Decimal(0)


@dataclass
class Summary:
    """Counters over events. ``rejected``: refused on submission or rejected afterwards; ``traded``: value of all fills."""

    runs: int = 0
    clean_ends: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    sessions: set[date] = field(default_factory=set, repr=False)
    signals: int = 0
    orders: set[str] = field(default_factory=set, repr=False)
    by_purpose: Counter[str] = field(default_factory=Counter)
    fills: set[str] = field(default_factory=set, repr=False)
    traded: Decimal = ZERO
    rejected: set[str] = field(default_factory=set, repr=False)
    unknown_outcomes: int = 0
    denied: Counter[str] = field(default_factory=Counter)
    discrepancies: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0
    reads: int = 0
    start_equity: Decimal | None = None
    account: AccountState | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> Summary:
        """The summary of a whole journal."""
        summary = cls()
        for event in events:
            summary.add(event)
        return summary

    def add(self, event: Event) -> None:
        """Count one event."""
        self.first_at = self.first_at or event.at
        self.last_at = max(self.last_at or event.at, event.at)
        match event:
            case SessionStarted():
                self.runs += 1
                self._see(event.account)
            case SessionEnded():
                self.clean_ends += 1
            case ClockTicked(market_open=True):
                self.sessions.add(event.next_close.date())
            case SignalReceived():
                self.signals += 1
            case AccountSeen():
                self._see(event.account)
            case BrokerSeen():
                self.reads += 1
                self._see(event.account)
                for execution in event.executions:
                    self._fill(execution.execution_id, execution.qty * execution.price)
            case EntryDenied():
                self.denied[event.code] += 1
            case DiscrepancyFound():
                self.discrepancies[event.kind] += 1
            case StreamStateSeen(connected=False):
                self.reconnects += 1
            case _:
                self._order_event(event)

    def _order_event(self, event: Event) -> None:
        match event:
            case OrderIntended():
                if event.request.client_order_id not in self.orders:
                    self.by_purpose[event.purpose] += 1
                self.orders.add(event.request.client_order_id)
            case SubmitEnded(outcome=Outcome.REFUSED):
                self.rejected.add(event.client_order_id)
            case SubmitEnded(outcome=Outcome.UNKNOWN):
                self.unknown_outcomes += 1
            case OrderUpdated():
                if event.event == "rejected":
                    self.rejected.add(event.order.client_order_id)
                if event.execution is not None:
                    self._fill(event.execution.execution_id, event.execution.qty * event.execution.price)
            case _:
                pass

    def _fill(self, execution_id: str, value: Decimal) -> None:
        key = execution_id.rsplit("::", 1)[-1]
        if key not in self.fills:
            self.fills.add(key)
            self.traded += value

    def _see(self, account: AccountState) -> None:
        self.start_equity = account.equity if self.start_equity is None else self.start_equity
        self.account = account

    @property
    def pnl(self) -> Decimal:
        """Equity now minus equity at the first look: realised, unrealised, dividends and fees together."""
        if self.account is None or self.start_equity is None:
            return ZERO
        return self.account.equity - self.start_equity
