"""A fault that lies in wait: when it strikes, how often it has, and when it is over. Counts only; what a strike does is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alphatrade_pipelines.venue.faults.scenario import Fault, draw

_REMEMBERED = 100  # strikes whose times are kept


@dataclass(slots=True, eq=False)
class Armed:
    """One armed fault. ``at``: venue time from which it strikes. ``seen`` counts opportunities since then, ``done`` strikes. ``opened`` and
    ``opened_at``: when its time window began, by the wall (monotonic seconds) and in venue time. ``looked_at``: ids of orders that have
    been an opportunity already. ``failed``: why it could not happen when its time had come."""

    id: str
    fault: Fault
    seed: int
    at: datetime | None
    seen: int = 0
    done: int = 0
    over: bool = False
    opened: float | None = None
    opened_at: datetime | None = None
    times: list[datetime] = field(default_factory=list)
    looked_at: set[str] = field(default_factory=set)
    failed: str | None = None

    def look(self, now: datetime, wall: float) -> bool:
        """Note the time; True while this fault may strike."""
        if self.over or (self.at is not None and now < self.at):
            return False
        if self.at is not None and self.opened is None:
            self._open(self.at, wall)
        if self.expired(now, wall):
            self.over = True
        return not self.over

    def _open(self, at: datetime, wall: float) -> None:
        self.opened, self.opened_at = wall, at

    def expired(self, now: datetime, wall: float) -> bool:
        """Whether its ``for_seconds`` have passed."""
        if self.fault.for_seconds is None or self.opened is None or self.opened_at is None:
            return False
        if self.fault.kind.window == "wall":
            return wall - self.opened >= self.fault.for_seconds
        return now - self.opened_at >= timedelta(seconds=self.fault.for_seconds)

    def ends_at(self) -> datetime | None:
        """The venue time at which its window closes, where that is known."""
        if self.fault.for_seconds is None or self.opened_at is None or self.fault.kind.window == "wall":
            return None
        return self.opened_at + timedelta(seconds=self.fault.for_seconds)

    def strike(self, now: datetime, wall: float) -> bool:
        """One opportunity: True if the fault strikes."""
        if not self.look(now, wall):
            return False
        self.seen += 1
        fault = self.fault
        late = self.seen - fault.after_count
        if late < 0 or (fault.every and late % fault.every):
            return False
        if fault.probability is not None and draw(self.seed, self.id, self.seen) >= fault.probability:
            return False
        if self.opened is None:
            self._open(now, wall)
        self.done += 1
        self.times = [*self.times[1 - _REMEMBERED :], now]
        self.over = fault.times is not None and self.done >= fault.times
        return True

    def describe(self) -> dict[str, object]:
        """Everything about it, as plain values."""
        fault = self.fault
        return {
            "id": self.id,
            "kind": fault.kind.name,
            "rehearses": [f"F{number}" for number in fault.kind.rehearses],
            "does": fault.kind.does,
            "at": self.at,
            "after_count": fault.after_count,
            "every": fault.every,
            "times": fault.times,
            "probability": fault.probability,
            "symbol": fault.symbol,
            "endpoint": fault.endpoint,
            "for_seconds": fault.for_seconds,
            "params": dict(fault.params),
            "armed": not self.over,
            "opportunities": self.seen,
            "done": self.done,
            "failed": self.failed,
            "struck_at": list(self.times),
        }
