"""What is wrong right now, for the heartbeat: each part of a session says how it fares, and market data that falls silent is noticed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alphatrade_pipelines.market.timeframe import Timeframe

# a bar is on the wire a few seconds after its end; what has not come by then is not on its way
SLACK = timedelta(seconds=90)


@dataclass
class Vitals:
    """``troubles``: what is wrong, by part; a part that works again is forgotten."""

    troubles: dict[str, str] = field(default_factory=dict)

    def bad(self, part: str, detail: str) -> None:
        """This part does not work."""
        self.troubles[part] = detail

    def good(self, part: str) -> None:
        """This part works."""
        self.troubles.pop(part, None)

    @property
    def degraded(self) -> tuple[str, ...]:
        """One line a part, sorted."""
        return tuple(f"{part}: {detail}" for part, detail in sorted(self.troubles.items()))


class BarWatch:
    """Notices that no bar of any symbol has come for a whole bar and ``SLACK`` of an open market. Daily bars come after the close: they
    have no such rhythm, and are not watched."""

    def __init__(self, timeframe: Timeframe) -> None:
        self._limit = None if timeframe.is_daily else timedelta(minutes=timeframe.minutes) + SLACK
        self._heard: datetime | None = None
        self._close: datetime | None = None

    def heard(self, now: datetime) -> None:
        """A bar has come."""
        self._heard = now

    def silence(self, now: datetime, market_open: bool, close: datetime) -> timedelta | None:
        """How long the market has been silent, if that is too long; None if all is well. ``close``: when this session ends, or the next."""
        if not market_open:
            self._heard = None
            return None
        if self._heard is None or self._close != close:
            self._heard, self._close = now, close  # counted from the open on, or from our first look at it: nobody may look all night
        quiet = now - self._heard
        return quiet if self._limit is not None and quiet > self._limit else None
