"""Bars off the wire become the frames features are computed on.

A daily bar is final when its session has closed; an N-minute bar is built of the minute bars inside it and is final at its end. Both
wait a little for stragglers, then for nobody: a symbol that stayed silent simply has no bar. What comes later is counted, not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import structlog

from alphatrade_pipelines.live.inbox import BarArrived
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe

log = structlog.get_logger(__name__)
NEW_YORK = "America/New_York"
COLUMNS = ("open", "high", "low", "close", "volume", "split", "dividend")
VALUES = ("open", "high", "low", "close", "volume", "vwap", "trade_count")
Values = Mapping[str, float]


@dataclass
class BarBuilder:
    """Collects messages and hands out complete timestamps, oldest first, each once.

    ``grace``: how long after the end of a bar a missing symbol is waited for; zero where all messages of a moment are known to have
    arrived. ``columns``: those of the history the frames continue.
    """

    timeframe: Timeframe
    symbols: tuple[str, ...]
    calendar: SessionCalendar
    grace: timedelta = timedelta(seconds=20)
    columns: tuple[str, ...] = COLUMNS
    late: Counter[str] = field(default_factory=Counter)
    _parts: dict[datetime, dict[str, dict[datetime, Values]]] = field(default_factory=dict)
    _actions: dict[tuple[str, date], tuple[float, float]] = field(default_factory=dict)
    _whole: set[tuple[datetime, str]] = field(default_factory=set)
    _done_until: datetime | None = None

    @property
    def done_until(self) -> datetime | None:
        """Start of the latest timestamp handed out, or known from history."""
        return self._done_until

    def seen_until(self, start: datetime) -> None:
        """Bars starting at or before ``start`` are already known (history): messages about them are late."""
        self._done_until = start if self._done_until is None else max(start, self._done_until)

    def corporate_action(self, symbol: str, day: date, split: float, dividend: float) -> None:
        """The first bar of ``symbol`` on ``day`` carries these."""
        self._actions[(symbol, day)] = (split, dividend)

    def add(self, bar: BarArrived) -> None:
        """Take one message in; a correction replaces what it corrects. Foreign symbols and bars outside sessions are ignored."""
        start = self._bucket(bar.start)
        if bar.symbol not in self.symbols or start is None:
            return
        if self._done_until is not None and start <= self._done_until:
            self.late[bar.symbol] += 1
            log.warning("late bar ignored", symbol=bar.symbol, start=start.isoformat(), channel=bar.channel)
            return
        if (start, bar.symbol) not in self._whole:
            self._parts.setdefault(start, {}).setdefault(bar.symbol, {})[bar.start] = bar.values

    def fill(self, bars: pd.DataFrame) -> None:
        """Take in whole bars of this time frame read from the broker's history; they stand in place of whatever parts had come."""
        names = [name for name in VALUES if name in bars]
        for (symbol, stamp), row in zip(bars.index, bars[names].to_dict("records"), strict=True):
            start = stamp.to_pydatetime(warn=False)
            if symbol not in self.symbols or (self._done_until is not None and start <= self._done_until):
                continue
            values = {str(name): float(value) for name, value in row.items() if not pd.isna(value)}
            self._parts.setdefault(start, {})[str(symbol)] = {start: values}
            self._whole.add((start, str(symbol)))

    def _bucket(self, start: datetime) -> datetime | None:
        """Start of the bar a message belongs to: the session's open for days, else the grid of New York's clock, as Alpaca's bars."""
        if self.timeframe.is_daily:
            return self._open_of(start)
        local = pd.Timestamp(start).tz_convert(NEW_YORK)
        begin = start - timedelta(minutes=(local.hour * 60 + local.minute) % self.timeframe.minutes, seconds=local.second)
        inside = self.calendar.in_session(pd.DatetimeIndex([pd.Timestamp(start)]), Timeframe(1))
        return begin if inside[0] else self._own_bucket(start)

    def _own_bucket(self, start: datetime) -> datetime | None:
        """A message that is itself a longer bar may begin before the open (the hour of 09:00 holds the first half hour)."""
        inside = self.calendar.in_session(pd.DatetimeIndex([pd.Timestamp(start)]), self.timeframe)
        return start if inside[0] and self.timeframe.minutes > 1 else None

    def _open_of(self, start: datetime) -> datetime | None:
        """Wire days are stamped midnight New York (Alpaca) or at the open: both name the same session."""
        day = pd.Timestamp(start).tz_convert(NEW_YORK).date()
        span = self.calendar.sessions(day, day)
        return None if span.empty else pd.Timestamp(span["open"].iloc[0]).to_pydatetime(warn=False)

    def complete(self, now: datetime) -> list[pd.DataFrame]:
        """Frames of all timestamps that are final at ``now``: index (symbol, timestamp), all symbols that printed."""
        frames = []
        for start in sorted(self._parts):
            end = self._known_at(start)
            full = set(self._parts[start]) == set(self.symbols)
            if now < end or (not full and now < end + self.grace):
                break
            frames.append(self._frame(start, self._parts.pop(start)))
            self._whole = {key for key in self._whole if key[0] > start}
            self.seen_until(start)
        return frames

    def _known_at(self, start: datetime) -> datetime:
        index = pd.DatetimeIndex([pd.Timestamp(start)])
        return self.calendar.known_at(index, self.timeframe)[0].to_pydatetime(warn=False)

    def _frame(self, start: datetime, parts: Mapping[str, Mapping[datetime, Values]]) -> pd.DataFrame:
        symbols = sorted(parts)
        rows = [self._row(symbol, start, parts[symbol]) for symbol in symbols]
        stamps = pd.DatetimeIndex([pd.Timestamp(start)] * len(symbols)).as_unit("ns")
        index = pd.MultiIndex.from_arrays([symbols, stamps], names=["symbol", "timestamp"])
        return pd.DataFrame(rows, index=index, columns=list(self.columns)).astype(np.float64)

    def _row(self, symbol: str, start: datetime, minutes: Mapping[datetime, Values]) -> dict[str, float]:
        day = self.calendar.session_of(start)
        split, dividend = self._actions.pop((symbol, day), (1.0, 0.0))
        return {**merge([minutes[at] for at in sorted(minutes)]), "split": split, "dividend": dividend}


def merge(parts: Iterable[Values]) -> dict[str, float]:
    """One bar of consecutive shorter ones; a single one is kept to the bit. The average price is weighted by volume."""
    bars = list(parts)
    if len(bars) == 1:
        return dict(bars[0])
    volume = sum(bar["volume"] for bar in bars)
    merged = {
        "open": bars[0]["open"],
        "high": max(bar["high"] for bar in bars),
        "low": min(bar["low"] for bar in bars),
        "close": bars[-1]["close"],
        "volume": volume,
        "trade_count": sum(bar.get("trade_count", 0.0) for bar in bars),
    }
    if volume > 0 and all("vwap" in bar for bar in bars):
        merged["vwap"] = sum(bar["vwap"] * bar["volume"] for bar in bars) / volume
    return merged
