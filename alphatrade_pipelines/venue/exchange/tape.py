"""The tape: bars cut into the points at which prices are seen, in order, one session after the other.

A bar is walked in four points: its open, two extremes and its close. A session begins with ``session_open`` and ends with
``session_close``; on the morning of a split or a dividend a ``pre_open`` point comes an hour before the open. Only regular sessions
are played: bars outside them are left out and counted in ``ignored_bars``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from alphatrade_pipelines.market import SessionCalendar, Timeframe

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOKBACK, _MINIMUM = 20, 5  # bars behind the lagged volatility and volume
_DEFAULT_DAILY_VOLATILITY = 0.02
_PRE_OPEN = timedelta(hours=1)
_COLUMNS = ("open", "high", "low", "close", "volume")
PHASES = 4


def to_datetime(ns: int) -> datetime:
    """Aware UTC datetime of nanoseconds since 1970, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def to_ns(at: datetime) -> int:
    """Nanoseconds since 1970 of an aware datetime."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


@dataclass(frozen=True, slots=True)
class TapeBar:
    """One bar: raw prices in dollars, ``start`` as in the bars frame, ``end`` when it became known."""

    symbol: str
    start: datetime
    end: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    split: float
    dividend: float
    vwap: float
    trade_count: int


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """On the morning of ``ex_date``: ``split`` new shares for each old one (1 = none), ``dividend`` dollars per old share."""

    symbol: str
    ex_date: date
    split: float
    dividend: float


@dataclass(frozen=True, slots=True)
class TapeSession:
    """One regular session."""

    day: date
    open: datetime
    close: datetime


@dataclass(frozen=True, slots=True)
class Point:
    """A moment at which something may happen. ``bar`` is the start (ns) of the bars walked, None when no price is printed; ``phase`` 0 is
    their open, 1 and 2 the extremes, 3 the close."""

    at: datetime
    kind: str
    session: int
    bar: int | None = None
    phase: int = 0


@dataclass(slots=True)
class Series:
    """The bars of one symbol as plain lists (Python lists are several times faster than arrays for single values). ``volatility`` and
    ``average_volume`` look at the twenty bars BEFORE the one they stand at."""

    symbol: str
    starts: list[int]
    ends: list[int]
    index: dict[int, int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    split: list[float]
    dividend: list[float]
    vwap: list[float]
    trade_count: list[int]
    volatility: list[float]
    average_volume: list[float]

    def bar(self, position: int) -> TapeBar:
        """The bar at ``position``."""
        return TapeBar(
            self.symbol,
            to_datetime(self.starts[position]),
            to_datetime(self.ends[position]),
            self.open[position],
            self.high[position],
            self.low[position],
            self.close[position],
            self.volume[position],
            self.split[position],
            self.dividend[position],
            self.vwap[position],
            self.trade_count[position],
        )

    def known(self, now: datetime) -> int:
        """How many bars are complete at ``now``."""
        return bisect_right(self.ends, to_ns(now))


class BarTape:
    """Bars of one timeframe, ready to be played. ``frame`` keeps the bars it was made of (MultiIndex symbol, timestamp)."""

    def __init__(self, bars: pd.DataFrame, timeframe: Timeframe | str, calendar: SessionCalendar | None = None) -> None:
        """Read ``bars`` (the frame of ``market``: MultiIndex (symbol, timestamp), UTC bar starts, raw prices, optional split, dividend).

        Raises:
            ValueError: empty frame, missing columns, wrong index, or no bar inside a regular session.
        """
        self.timeframe = Timeframe.parse(timeframe)
        self.calendar = calendar or SessionCalendar()
        _check_frame(bars)
        bars = bars.sort_index()
        starts = pd.DatetimeIndex(bars.index.get_level_values(1)).as_unit("ns")
        inside = self.calendar.in_session(starts, self.timeframe)
        self.ignored_bars = int((~inside).sum())
        self.frame = bars[inside]
        if self.frame.empty:
            raise ValueError("expected bars inside regular XNYS sessions, found none; are the time stamps bar starts in UTC?")
        starts = starts[inside]
        ends = self.calendar.known_at(starts, self.timeframe)
        names = self.frame.index.get_level_values(0).to_numpy()
        self.symbols: tuple[str, ...] = tuple(str(name) for name in sorted(set(names)))
        self.series = {
            symbol: _series(symbol, self.frame[names == symbol], starts[names == symbol], ends[names == symbol], self.timeframe)
            for symbol in self.symbols
        }
        self.sessions = _sessions(self.calendar, starts)
        self._opens = [to_ns(session.open) for session in self.sessions]
        self._bar_starts = self._group(starts)
        self.actions = self._corporate_actions()

    def _group(self, starts: pd.DatetimeIndex) -> list[list[int]]:
        grouped: list[list[int]] = [[] for _ in self.sessions]
        closes = [to_ns(session.close) for session in self.sessions]
        for start in np.unique(starts.asi8).tolist():
            grouped[bisect_right(closes, start)].append(start)
        return grouped

    def _corporate_actions(self) -> dict[int, list[CorporateAction]]:
        found: dict[int, list[CorporateAction]] = {}
        for series in self.series.values():
            for position, start in enumerate(series.starts):
                if series.split[position] != 1.0 or series.dividend[position] != 0.0:
                    session = self.session_at(to_datetime(start))
                    action = CorporateAction(series.symbol, self.sessions[session].day, series.split[position], series.dividend[position])
                    found.setdefault(session, []).append(action)
        return {session: sorted(actions, key=lambda action: action.symbol) for session, actions in found.items()}

    def session_at(self, at: datetime) -> int:
        """Index of the first session that closes after ``at`` (its own, or the next one)."""
        position = bisect_right(self._opens, to_ns(at)) - 1
        if position >= 0 and at < self.sessions[position].close:
            return position
        return position + 1

    def first_session_after(self, at: datetime) -> int:
        """Index of the first session that opens at or after ``at``."""
        return bisect_left(self._opens, to_ns(at))

    def points(self, session: int) -> Iterator[Point]:
        """The points of one session in time order."""
        span = self.sessions[session]
        if session in self.actions:
            yield Point(span.open - _PRE_OPEN, "pre_open", session)
        walked = [point for start in self._bar_starts[session] for point in self._walk(session, start)]
        if not walked or walked[0].at > span.open:
            yield Point(span.open, "session_open", session)
        for number, point in enumerate(walked):
            if number == 0 and point.at == span.open:
                yield Point(point.at, "session_open", session, point.bar, point.phase)
            elif number == len(walked) - 1 and point.at == span.close:
                yield Point(point.at, "session_close", session, point.bar, point.phase)
            else:
                yield point
        if not walked or walked[-1].at < span.close:
            yield Point(span.close, "session_close", session)

    def _walk(self, session: int, start: int) -> Iterator[Point]:
        span = self.sessions[session]
        begin = max(start, to_ns(span.open))
        end = to_ns(span.close) if self.timeframe.is_daily else min(start + self.timeframe.minutes * 60_000_000_000, to_ns(span.close))
        for phase in range(PHASES):
            at = to_datetime(begin + (end - begin) * phase // (PHASES - 1))
            yield Point(at, "path", session, start, phase)

    def bars_ending(self, start: int) -> list[TapeBar]:
        """The bars that start at ``start`` (ns), one a symbol at most, in symbol order."""
        return [series.bar(series.index[start]) for series in self.series.values() if start in series.index]


def _check_frame(bars: pd.DataFrame) -> None:
    missing = [name for name in _COLUMNS if name not in bars.columns]
    if missing:
        raise ValueError(f"expected bars with the columns {', '.join(_COLUMNS)}, found {', '.join(map(str, bars.columns))}")
    if bars.index.nlevels != 2:
        raise ValueError(f"expected an index (symbol, timestamp), found {bars.index.names}")
    if bars.empty:
        raise ValueError("expected at least one bar, found none")
    if getattr(bars.index.get_level_values(1).dtype, "tz", None) is None:
        raise ValueError("expected time zone aware bar starts (UTC), found naive ones")


def _sessions(calendar: SessionCalendar, starts: pd.DatetimeIndex) -> tuple[TapeSession, ...]:
    table = calendar.sessions(starts.min().to_pydatetime(), starts.max().to_pydatetime())
    opens, closes = (pd.DatetimeIndex(table[name].array).as_unit("ns").asi8 for name in ("open", "close"))
    days = pd.DatetimeIndex(table.index).date
    return tuple(
        TapeSession(day, to_datetime(open_), to_datetime(close))
        for day, open_, close in zip(days, opens.tolist(), closes.tolist(), strict=True)
    )


def _series(symbol: str, bars: pd.DataFrame, starts: pd.DatetimeIndex, ends: pd.DatetimeIndex, timeframe: Timeframe) -> Series:
    def column(name: str, missing: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return bars[name].to_numpy(dtype=float) if name in bars.columns else np.full(len(bars), missing)

    close, volume, split = column("close", np.nan), column("volume", np.nan), column("split", 1.0)
    typical = (column("high", np.nan) + column("low", np.nan) + close) / 3
    vwap = column("vwap", np.nan)
    growth = np.cumprod(split)
    before = pd.Series(np.log(close * growth)).diff().rolling(_LOOKBACK, min_periods=_MINIMUM).std().shift(1)
    default = _DEFAULT_DAILY_VOLATILITY / np.sqrt(timeframe.bars_per_session)
    usual = pd.Series(volume / growth).rolling(_LOOKBACK, min_periods=_MINIMUM).mean().shift(1).to_numpy() * growth
    ns = starts.asi8.tolist()
    return Series(
        symbol=symbol,
        starts=ns,
        ends=ends.as_unit("ns").asi8.tolist(),
        index={start: position for position, start in enumerate(ns)},
        open=column("open", np.nan).tolist(),
        high=column("high", np.nan).tolist(),
        low=column("low", np.nan).tolist(),
        close=close.tolist(),
        volume=volume.tolist(),
        split=split.tolist(),
        dividend=column("dividend", 0.0).tolist(),
        vwap=np.where(np.isnan(vwap), typical, vwap).tolist(),
        trade_count=[int(count) for count in np.nan_to_num(column("trade_count", 1.0), nan=1.0)],
        volatility=before.fillna(default).tolist(),
        average_volume=np.where(np.isnan(usual), volume, usual).tolist(),
    )
