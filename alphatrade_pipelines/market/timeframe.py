"""The length of a bar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from alphatrade_pipelines.market.errors import BarDataError

REGULAR_SESSION_MINUTES = 390
_PATTERN = re.compile(r"(\d+)\s*(min|hour|day)s?", re.IGNORECASE)
_UNITS = {"min": "Min", "hour": "Hour", "day": "Day"}


@dataclass(frozen=True, slots=True, order=True)
class Timeframe:
    """Length of a bar, written as Alpaca writes it: ``1Min``, ``5Min``, ``1Hour``, ``1Day``.

    ``minutes`` of a daily bar is the length of a regular session (390), so ``bars_per_session`` is 1.
    """

    minutes: int
    is_daily: bool = False

    @classmethod
    def parse(cls, text: str | Timeframe) -> Timeframe:
        """Read ``"15Min"``, ``"1Hour"``, ``"1Day"`` (any case).

        Raises:
            BarDataError: for anything else, or a length that is not a positive part of a session.
        """
        if isinstance(text, Timeframe):
            return text
        match = _PATTERN.fullmatch(text.strip())
        expected = "a timeframe such as 1Min, 5Min, 15Min, 1Hour or 1Day"
        if match is None:
            raise BarDataError(expected, repr(text))
        amount, unit = int(match[1]), _UNITS[match[2].lower()]
        if unit == "Day":
            if amount != 1:
                raise BarDataError(expected, repr(text), fix="Only one-day bars are supported beyond a session.")
            return cls(REGULAR_SESSION_MINUTES, is_daily=True)
        minutes = amount * (60 if unit == "Hour" else 1)
        if not 1 <= minutes <= REGULAR_SESSION_MINUTES:
            raise BarDataError(expected, repr(text), fix=f"An intraday bar lasts 1 to {REGULAR_SESSION_MINUTES} minutes.")
        return cls(minutes)

    @property
    def duration(self) -> timedelta:
        """Length in trading time."""
        return timedelta(minutes=self.minutes)

    @property
    def bars_per_session(self) -> int:
        """Bars in a regular session, the last one possibly shorter."""
        return -(-REGULAR_SESSION_MINUTES // self.minutes)

    def __str__(self) -> str:
        if self.is_daily:
            return "1Day"
        return f"{self.minutes // 60}Hour" if self.minutes % 60 == 0 else f"{self.minutes}Min"
