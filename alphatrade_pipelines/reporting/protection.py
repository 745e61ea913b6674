"""How long positions stood without a stop at the broker, in seconds of market time.

Measured on the core's own state after every event (replayed from the journal or as it happens): while the market is open and any
share of any position lacks a live stop, the clock runs. Times are the events' (venue time in simulation). A market order on its way
to close a position is not a stop: those seconds count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.coverage import uncovered_qty
from alphatrade_pipelines.trading.events import Event
from alphatrade_pipelines.trading.state import CoreState


@dataclass
class ProtectionMeter:
    """``seconds`` per symbol so far; feed it the state after each event."""

    seconds: dict[str, float] = field(default_factory=dict)
    _since: datetime | None = None
    _open_until: datetime | None = None
    _naked: tuple[str, ...] = ()

    def observe(self, state: CoreState) -> None:
        """Charge the time since the last look to what was uncovered then, and look again."""
        now = state.clock
        if self._since is not None and self._open_until is not None:
            elapsed = (min(now, self._open_until) - self._since).total_seconds()
            for symbol in self._naked if elapsed > 0 else ():
                self.seconds[symbol] = self.seconds.get(symbol, 0.0) + elapsed
        self._since = now
        self._open_until = state.next_close if state.market_open else None
        self._naked = tuple(symbol for symbol in state.positions if uncovered_qty(state, symbol) > 0)

    @property
    def total(self) -> float:
        """Position-seconds: two symbols naked for one second are two."""
        return sum(self.seconds.values())

    @property
    def naked_now(self) -> tuple[str, ...]:
        """Symbols with an uncovered share at the last look."""
        return self._naked


def measure_protection(events: Iterable[Event]) -> ProtectionMeter:
    """Replay a journal through the core and measure."""
    meter, state = ProtectionMeter(), CoreState.initial(CoreConfig())
    for event in events:
        apply(state, event)
        meter.observe(state)
    return meter
