"""The live quality gate: every bar is judged before any model sees it.

The gate keeps its own history of accepted bars. A rejected bar is quarantined: kept, counted by reason, visible, never passed on. NaN
fails. A split or dividend that stands on the bar moves the expected price and is no bad tick. A true jump must not silence a symbol for
good: when the next bar confirms a rejected level, that level is accepted.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import pandas as pd

from alphatrade_pipelines.market.errors import BarDataError
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe


class Fault(StrEnum):
    """Why a bar was rejected."""

    NOT_A_NUMBER = "not_a_number"
    NOT_POSITIVE = "not_positive"
    OHLC = "ohlc"
    NAIVE_TIME = "naive_time"
    OFF_SESSION = "off_session"
    FROM_THE_FUTURE = "from_the_future"
    LATE = "late"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    TOO_FAST = "too_fast"
    PRICE_JUMP = "price_jump"
    VOLUME_SPIKE = "volume_spike"


@dataclass(frozen=True, slots=True)
class LiveBar:
    """One bar off a stream: raw prices, ``timestamp`` = its start (aware). ``split`` and ``dividend`` as in the bar frame."""

    symbol: str
    timestamp: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    split: float = 1.0
    dividend: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate thinks of a bar: accepted without ``faults``. ``confirmed_jump``: accepted because it repeats a rejected level."""

    bar: LiveBar
    faults: tuple[Fault, ...]
    detail: str = ""
    confirmed_jump: bool = False

    @property
    def accepted(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Limits of the gate.

    ``max_jump`` is a fraction of the last accepted close; ``max_volume_ratio`` a multiple of the mean of the last ``volume_window``
    accepted volumes, judged from ``min_volume_history`` on; a bar arriving ``max_delay_seconds`` after it was complete is late, one
    arriving ``clock_skew_seconds`` before that is from the future. ``quarantine_size`` rejected bars are kept for people to look at.
    """

    max_jump: float = 0.20
    max_volume_ratio: float = 50.0
    volume_window: int = 50
    min_volume_history: int = 20
    max_delay_seconds: float = 120.0
    clock_skew_seconds: float = 2.0
    quarantine_size: int = 1000


@dataclass(slots=True)
class _Memory:
    """What the gate remembers of one symbol."""

    volumes: deque[float]
    last: LiveBar | None = None
    suspect: LiveBar | None = None  # last bar rejected for nothing but its price


class BarGate:
    """Judges live bars of one time frame, symbol by symbol; not thread-safe."""

    def __init__(self, timeframe: Timeframe, config: GateConfig | None = None, calendar: SessionCalendar | None = None) -> None:
        self.timeframe, self.config, self.calendar = timeframe, config or GateConfig(), calendar or SessionCalendar()
        self._accepted, self._rejected = 0, 0
        self._faults: Counter[Fault] = Counter()
        self._memory: dict[str, _Memory] = {}
        self._quarantine: deque[Verdict] = deque(maxlen=self.config.quarantine_size)

    @property
    def quarantine(self) -> tuple[Verdict, ...]:
        """The latest rejected bars, oldest first."""
        return tuple(self._quarantine)

    def seed(self, bars: pd.DataFrame) -> None:
        """Start from history that has already been checked (a canonical bar frame), without judging it."""
        for symbol, group in bars.groupby(level="symbol"):
            memory = self._of(str(symbol))
            tail = group.tail(self.config.volume_window)
            memory.volumes.extend(float(volume) for volume in tail["volume"] / _later_splits(tail["split"]))
            row = tail.iloc[-1]
            numbers = {name: float(row[name]) for name in ("open", "high", "low", "close", "volume", "split", "dividend")}
            memory.last = LiveBar(str(symbol), tail.index[-1][1].to_pydatetime(), **numbers)

    def check(self, bar: LiveBar, received_at: datetime) -> Verdict:
        """Accept or quarantine ``bar``, which arrived at ``received_at`` (aware; the venue's clock in simulation)."""
        memory = self._of(bar.symbol)
        # order matters: a bar whose numbers or time mean nothing cannot be compared with anything
        faults = _value_faults(bar) or self._time_faults(bar, received_at, memory)
        confirmed, detail = False, ""
        if not faults:
            faults, detail = self._history_faults(bar, memory)
            if faults == (Fault.PRICE_JUMP,) and self._confirms(bar, memory):
                faults, confirmed = (), True
            elif Fault.PRICE_JUMP in faults:
                memory.suspect = bar
        verdict = Verdict(bar, faults, detail, confirmed)
        self._record(verdict, memory)
        return verdict

    def summary(self) -> dict[str, int]:
        """Counts for metrics: accepted, rejected, and one for each fault seen."""
        by_fault = {f"rejected_{fault.value}": count for fault, count in sorted(self._faults.items())}
        return {"accepted": self._accepted, "rejected": self._rejected, **by_fault}

    def _of(self, symbol: str) -> _Memory:
        return self._memory.setdefault(symbol, _Memory(deque(maxlen=self.config.volume_window)))

    def _time_faults(self, bar: LiveBar, received_at: datetime, memory: _Memory) -> tuple[Fault, ...]:
        if bar.timestamp.tzinfo is None:
            return (Fault.NAIVE_TIME,)
        if received_at.tzinfo is None:
            raise BarDataError("an aware arrival time", f"the naive {received_at}", where=bar.symbol)
        last = memory.last
        if last is not None and bar.timestamp <= last.timestamp:
            return (Fault.DUPLICATE if bar.timestamp == last.timestamp else Fault.OUT_OF_ORDER,)
        opened, closed = self.calendar.session_bounds(bar.timestamp)
        known = closed if self.timeframe.is_daily else min(bar.timestamp + self.timeframe.duration, closed)
        inside = bar.timestamp == opened if self.timeframe.is_daily else bar.timestamp < closed and known > opened
        if not inside:
            return (Fault.OFF_SESSION,)
        if last is not None and not self.timeframe.is_daily and bar.timestamp - last.timestamp < self.timeframe.duration:
            return (Fault.TOO_FAST,)
        if received_at < known - timedelta(seconds=self.config.clock_skew_seconds):
            return (Fault.FROM_THE_FUTURE,)
        return (Fault.LATE,) if received_at > known + timedelta(seconds=self.config.max_delay_seconds) else ()

    def _history_faults(self, bar: LiveBar, memory: _Memory) -> tuple[tuple[Fault, ...], str]:
        faults, details = [], []
        expected = None if memory.last is None else (memory.last.close - bar.dividend) / bar.split
        if expected is not None:
            worst = max((abs(price / expected - 1.0), price) for price in (bar.open, bar.high, bar.low, bar.close))
            if expected <= 0 or worst[0] > self.config.max_jump:
                faults.append(Fault.PRICE_JUMP)
                details.append(f"{worst[1]:g} against {expected:g} expected")
        if len(memory.volumes) >= self.config.min_volume_history:
            mean = math.fsum(memory.volumes) / len(memory.volumes) * bar.split
            if bar.volume > self.config.max_volume_ratio * mean:
                faults.append(Fault.VOLUME_SPIKE)
                details.append(f"volume {bar.volume:g} against a mean of {mean:g}")
        return tuple(faults), "; ".join(details)

    def _confirms(self, bar: LiveBar, memory: _Memory) -> bool:
        """True when ``bar`` trades around the close of the bar rejected just before it: two bars on one level are no bad tick."""
        suspect = memory.suspect
        if suspect is None:
            return False
        level = (suspect.close - bar.dividend) / bar.split
        return all(abs(price / level - 1.0) <= self.config.max_jump for price in (bar.open, bar.high, bar.low, bar.close))

    def _record(self, verdict: Verdict, memory: _Memory) -> None:
        bar = verdict.bar
        if not verdict.accepted:
            self._faults.update(verdict.faults)
            self._rejected += 1
            self._quarantine.append(verdict)
            return
        self._accepted += 1
        if bar.split != 1.0:
            memory.volumes = deque((volume * bar.split for volume in memory.volumes), maxlen=self.config.volume_window)
        memory.volumes.append(bar.volume)
        memory.last, memory.suspect = bar, None


def _value_faults(bar: LiveBar) -> tuple[Fault, ...]:
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(math.isfinite(value) for value in (*prices, bar.volume, bar.split, bar.dividend)):
        return (Fault.NOT_A_NUMBER,)
    if min(prices) <= 0 or bar.volume < 0 or bar.split <= 0 or bar.dividend < 0:
        return (Fault.NOT_POSITIVE,)
    sane = bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high
    return () if sane else (Fault.OHLC,)


def _later_splits(split: pd.Series) -> pd.Series:
    """For each bar the inverse product of the splits after it: dividing a volume by it restates it in today's shares."""
    return 1.0 / split[::-1].cumprod()[::-1].shift(-1, fill_value=1.0)
