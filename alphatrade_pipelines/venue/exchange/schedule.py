"""What is due later: pending cancels, resumptions, the ageing of orders. In order of time, then of entry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from heapq import heappop, heappush


class Schedule:
    """Jobs by venue time."""

    def __init__(self) -> None:
        self._jobs: list[tuple[datetime, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, due: datetime, job: Callable[[], None]) -> None:
        """Do ``job`` at ``due``."""
        self._number += 1
        heappush(self._jobs, (due, self._number, job))

    def pop(self, until: datetime) -> tuple[datetime, Callable[[], None]] | None:
        """The next job due at or before ``until``, taken off; None if there is none."""
        if not self._jobs or self._jobs[0][0] > until:
            return None
        due, _, job = heappop(self._jobs)
        return due, job
