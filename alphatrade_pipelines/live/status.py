"""What a session says about itself: a frozen status for observers, and a switch to stop it from anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from alphatrade_pipelines.live.inbox import StopSession
from alphatrade_pipelines.reporting.protection import ProtectionMeter
from alphatrade_pipelines.reporting.summary import Summary
from alphatrade_pipelines.trading.domain import StopPolicy
from alphatrade_pipelines.trading.state import CoreState


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A snapshot. Money in account currency; ``pnl`` = equity now minus equity when this account's journal began.

    ``previous_run`` says how the run before this one ended; ``journal`` is "sound", or what keeps it from taking events.
    """

    run_id: str
    mode: str
    at: datetime
    market_open: bool
    state: str
    model_version: str
    streams_up: bool
    sessions: int
    signals: int
    orders: int
    fills: int
    rejected: int
    denied: int
    unknown_outcomes: int
    discrepancies: int
    seconds_unprotected: float
    naked: tuple[str, ...]
    positions: tuple[tuple[str, Decimal], ...]
    equity: Decimal
    cash: Decimal
    pnl: Decimal
    realized: Decimal
    reconnects: int
    alerts: int
    bars_quarantined: int
    progress: float | None = None
    previous_run: str = ""
    journal: str = ""

    def change_key(self) -> tuple[object, ...]:
        """Two statuses with equal keys differ only in time and marks."""
        return (
            self.state,
            self.market_open,
            self.model_version,
            self.streams_up,
            self.orders,
            self.fills,
            self.rejected,
            self.discrepancies,
            self.naked,
            self.positions,
            self.alerts,
            self.journal,
        )


@dataclass(frozen=True, slots=True)
class SessionResult:
    """How a session ended. ``open_business`` empty = settled: every position protected, or flat if so asked."""

    status: SessionStatus
    reason: str
    clean: bool
    open_business: tuple[str, ...]


Observer = Callable[[SessionStatus], None]


def status_of(
    state: CoreState,
    summary: Summary,
    meter: ProtectionMeter,
    *,
    streams_up: bool,
    alerts: int,
    bars_quarantined: int,
    progress: float | None,
    previous_run: str = "",
    journal: str = "",
) -> SessionStatus:
    """The status of a running session from the core's state and the counters beside it."""
    if state.session is None or state.account is None:
        raise RuntimeError("a session has a status only after it started")
    return SessionStatus(
        run_id=state.session.run_id,
        mode=state.session.mode,
        at=state.clock,
        market_open=state.market_open,
        state=str(state.trading),
        model_version=state.session.model.version,
        streams_up=streams_up,
        sessions=len(summary.sessions),
        signals=summary.signals,
        orders=len(summary.orders),
        fills=len(summary.fills),
        rejected=len(summary.rejected),
        denied=summary.denied.total(),
        unknown_outcomes=summary.unknown_outcomes,
        discrepancies=summary.discrepancies.total(),
        seconds_unprotected=meter.total,
        naked=meter.naked_now,
        positions=tuple((symbol, held.qty) for symbol, held in sorted(state.positions.items())),
        equity=state.account.equity,
        cash=state.account.cash,
        pnl=summary.pnl,
        realized=state.realized,
        reconnects=summary.reconnects,
        alerts=alerts,
        bars_quarantined=bars_quarantined,
        progress=progress,
        previous_run=previous_run,
        journal=journal,
    )


class StopSwitch:
    """Ask a session to end, from a signal handler or any thread. The first request counts; one before the session listens is kept."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may interrupt the very thread that holds it
        self._asked: StopSession | None = None
        self._listener: Callable[[StopSession], None] | None = None

    def request(self, policy: StopPolicy = StopPolicy.PROTECT, reason: str = "asked to stop") -> None:
        """End the session; ``policy`` says what may be left at the broker."""
        with self._lock:
            if self._asked is not None:
                return
            self._asked = StopSession(policy, reason)
            listener = self._listener
        if listener is not None:
            listener(self._asked)

    @property
    def is_asked(self) -> bool:
        return self._asked is not None

    def listen(self, listener: Callable[[StopSession], None]) -> None:
        """``listener`` is called once, at once if the request came before."""
        with self._lock:
            self._listener = listener
            asked = self._asked
        if asked is not None:
            listener(asked)
