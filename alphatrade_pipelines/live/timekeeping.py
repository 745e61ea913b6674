"""The broker's time, kept steady: what every timer of the core runs on must neither leap for one wrong answer nor stand still.

A leap forward is believed when a second reading says the same (the broker's clock was set, or this machine slept): one wrong answer costs
nothing. Time never goes back: a clock that was ahead is caught up with by going slower, so that exits are still tried again meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from alphatrade_pipelines.live.wire import BrokerClock

# further ahead of our own clock than any answer can be late; and how fast time goes while the broker's is behind
LEAP_S = 10.0
SLOW = 0.75


class SteadyClock:
    """Keeps the last reading. ``own`` is always a monotonic reading of this machine, in seconds; ``not_before``: the journal ends there."""

    def __init__(self, not_before: datetime | None = None) -> None:
        self.last: BrokerClock | None = None
        self._not_before = not_before
        self._read_at = 0.0
        self._doubted: timedelta | None = None  # how far ahead of expectation the last reading was that was not believed

    def take(self, reading: BrokerClock, own: float, *, steady: bool) -> str:
        """Go by a reading. ``steady``: a second of ours is one of the broker's; else (a venue at another pace) each is taken as it is.

        Returns why it was not believed, empty if it was.
        """
        if not steady:
            self._set(reading, own)
            return ""
        if self.last is None:
            self._set(replace(reading, at=max(reading.at, self._not_before or reading.at)), own)
            return ""
        passed = timedelta(seconds=own - self._read_at)
        ahead = reading.at - (self.last.at + passed)
        doubted, self._doubted = self._doubted, None
        if ahead.total_seconds() > LEAP_S and (doubted is None or abs((ahead - doubted).total_seconds()) > LEAP_S):
            self._doubted = ahead
            self.coast(own)
            return f"{ahead.total_seconds():.0f} s ahead of this machine's; it is asked again"
        self._set(replace(reading, at=max(reading.at, self.last.at + SLOW * passed)), own)
        return ""

    def coast(self, own: float) -> None:
        """Go on without a reading. A market known to be open closes on time that way; one that is closed is not opened."""
        if self.last is not None:
            at = self.last.at + timedelta(seconds=own - self._read_at)
            self._set(replace(self.last, at=at, is_open=self.last.is_open and at < self.last.next_close), own)

    def _set(self, clock: BrokerClock, own: float) -> None:
        self.last, self._read_at = clock, own
