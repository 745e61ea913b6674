"""The tape: bars cut into the points at which prices are seen, in order, one session after the other.

A bar is walked in four points (its open, two extremes, its close) or more. A session begins with ``session_open`` and ends with
``session_close``; on the morning of a split or a dividend a ``pre_open`` point comes before the first print of the day. Bars outside
regular sessions are left out and counted in ``ignored_bars``, unless ``extended_hours`` are asked for: then those from 4:00 to the open
are played as ``pre_market`` and those of the four hours after the close (16:00 to 20:00, half days 13:00 to 17:00) as ``after_hours``.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market import SessionCalendar, Timeframe
from alphatrade_pipelines.venue.exchange.path import ANCHORS

FloatArray = npt.NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOKBACK, _MINIMUM = 20, 5  # bars behind the lagged volatility and volume
_DEFAULT_DAILY_VOLATILITY = 0.02
_PRE_OPEN = timedelta(hours=1)
_PRE_OPEN_EXTENDED = timedelta(hours=6)  # 3:30 in New York: before the first pre-market print
_PRE_MARKET_NS, _AFTER_HOURS_NS = 11 * 1_800_000_000_000, 4 * 3_600_000_000_000  # 5.5 hours before the open, 4 after the close
_COLUMNS = ("open", "high", "low", "close", "volume")
EXTENDED_KINDS = ("pre_market", "after_hours")


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
    """A moment at which something may happen. ``bar`` is the start (ns) of the bars walked, None when no price is printed; ``phase`` counts
    the points of a bar from 0, its open; ``is_last`` marks its close."""

    at: datetime
    kind: str
    session: int
    bar: int | None = None
    phase: int = 0
    is_last: bool = False


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

    def __init__(
        self, bars: pd.DataFrame, timeframe: Timeframe | str, calendar: SessionCalendar | None = None, *, extended_hours: bool = False
    ) -> None:
        """Read ``bars`` (the frame of ``market``: MultiIndex (symbol, timestamp), UTC bar starts, raw prices, optional split, dividend).

        Raises:
            ValueError: empty frame, missing columns, wrong index, or no bar inside a regular session.
        """
        self.timeframe = Timeframe.parse(timeframe)
        self.calendar = calendar or SessionCalendar()
        self.extended_hours = extended_hours and not self.timeframe.is_daily
        self.typical_volatility = _DEFAULT_DAILY_VOLATILITY / math.sqrt(self.timeframe.bars_per_session)
        _check_frame(bars)
        bars = bars.sort_index()
        starts = pd.DatetimeIndex(bars.index.get_level_values(1)).as_unit("ns")
        regular = self.calendar.in_session(starts, self.timeframe)
        if not regular.any():
            raise ValueError("expected bars inside regular XNYS sessions, found none; are the time stamps bar starts in UTC?")
        kept = regular | _extended(self.calendar, starts) if self.extended_hours else regular
        self.ignored_bars = int((~kept).sum())
        self.frame = bars[kept]
        starts, regular = starts[kept], regular[kept]
        ends = self.calendar.known_at(starts, self.timeframe)
        names = self.frame.index.get_level_values(0).to_numpy()
        self.symbols: tuple[str, ...] = tuple(str(name) for name in sorted(set(names)))
        self.series: dict[str, Series] = {}
        for symbol in self.symbols:
            rows = names == symbol
            self.series[symbol] = _series(
                symbol, self.frame[rows], starts[rows], ends[rows], usual=regular[rows], default=self.typical_volatility
            )
        self.sessions = _sessions(self.calendar, starts)
        self._opens = [to_ns(session.open) for session in self.sessions]
        self._starts = self._group(starts.asi8, regular)
        self.actions = self._corporate_actions()

    def _group(self, starts: npt.NDArray[np.int64], regular: npt.NDArray[np.bool_]) -> dict[str, list[list[int]]]:
        """Distinct bar starts by kind (``pre_market``, ``path``, ``after_hours``) and session."""
        closes = np.array([to_ns(session.close) for session in self.sessions])
        grouped: dict[str, list[list[int]]] = {kind: [[] for _ in self.sessions] for kind in ("path", *EXTENDED_KINDS)}
        unique, first = np.unique(starts, return_index=True)
        session = np.searchsorted(closes, unique, side="right")
        for start, position, inside in zip(unique.tolist(), session.tolist(), regular[first].tolist(), strict=True):
            if inside:
                grouped["path"][position].append(start)
            elif position < len(closes) and start >= self._opens[position] - _PRE_MARKET_NS:
                grouped["pre_market"][position].append(start)
            else:
                grouped["after_hours"][position - 1].append(start)
        return grouped

    def _corporate_actions(self) -> dict[int, list[CorporateAction]]:
        found: dict[int, list[CorporateAction]] = {}
        for series in self.series.values():
            changed = (np.array(series.split) != 1.0) | (np.array(series.dividend) != 0.0)
            for position in np.flatnonzero(changed).tolist():
                session = self.session_at(to_datetime(series.starts[position]))
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

    def points(self, session: int, per_bar: int = ANCHORS) -> Iterator[Point]:
        """The points of one session in time order, each bar in ``per_bar`` of them."""
        span = self.sessions[session]
        if session in self.actions:
            yield Point(span.open - (_PRE_OPEN_EXTENDED if self.extended_hours else _PRE_OPEN), "pre_open", session)
        yield from self._walks("pre_market", session, per_bar)
        walked = list(self._walks("path", session, per_bar))
        if not walked or walked[0].at > span.open:
            yield Point(span.open, "session_open", session)
        for number, point in enumerate(walked):
            if number == 0 and point.at == span.open:
                yield replace(point, kind="session_open")
            elif number == len(walked) - 1 and point.at == span.close:
                yield replace(point, kind="session_close")
            else:
                yield point
        if not walked or walked[-1].at < span.close:
            yield Point(span.close, "session_close", session)
        yield from self._walks("after_hours", session, per_bar)

    def _walks(self, kind: str, session: int, per_bar: int) -> Iterator[Point]:
        open_, close = to_ns(self.sessions[session].open), to_ns(self.sessions[session].close)
        for start in self._starts[kind][session]:
            begin, end = start, close if self.timeframe.is_daily else start + self.timeframe.minutes * 60_000_000_000
            if kind == "path":
                begin, end = max(begin, open_), min(end, close)
            elif kind == "pre_market":
                end = min(end, open_)
            for phase in range(per_bar):
                at = to_datetime(begin + (end - begin) * phase // (per_bar - 1))
                yield Point(at, kind, session, start, phase, phase == per_bar - 1)

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


def _extended(calendar: SessionCalendar, starts: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Which bar starts lie in the hours before an open or after a close."""
    sessions = _sessions(calendar, starts)
    far = np.iinfo(np.int64).max // 2
    opens = np.array([*(to_ns(session.open) for session in sessions), far])
    closes = np.array([-far, *(to_ns(session.close) for session in sessions)])
    ns = starts.asi8
    following = np.searchsorted(closes[1:], ns, side="right")
    before = (opens[following] - _PRE_MARKET_NS <= ns) & (ns < opens[following])
    return np.asarray(before | (ns < closes[following] + _AFTER_HOURS_NS), dtype=np.bool_)


def _lagged(close: FloatArray, volume: FloatArray, growth: FloatArray, default: float) -> tuple[FloatArray, FloatArray]:
    """Volatility (``default`` where unknown) and mean volume (the bar's own) of the twenty bars before each, across splits."""
    before = pd.Series(np.log(close * growth)).diff().rolling(_LOOKBACK, min_periods=_MINIMUM).std().shift(1)
    mean = pd.Series(volume / growth).rolling(_LOOKBACK, min_periods=_MINIMUM).mean().shift(1).to_numpy() * growth
    return before.fillna(default).to_numpy(), np.where(np.isnan(mean), volume, mean)


def _series(
    symbol: str,
    bars: pd.DataFrame,
    starts: pd.DatetimeIndex,
    ends: pd.DatetimeIndex,
    *,
    usual: npt.NDArray[np.bool_],
    default: float,
) -> Series:
    """``usual``: which bars are regular; those and the others have lagged statistics of their own kind."""

    def column(name: str, missing: float) -> FloatArray:
        return bars[name].to_numpy(dtype=float) if name in bars.columns else np.full(len(bars), missing)

    close, volume, split = column("close", np.nan), column("volume", np.nan), column("split", 1.0)
    typical = (column("high", np.nan) + column("low", np.nan) + close) / 3
    vwap, growth = column("vwap", np.nan), np.asarray(np.cumprod(split), dtype=np.float64)
    volatility, average_volume = np.empty(len(bars)), np.empty(len(bars))
    for kind in (usual, ~usual) if not usual.all() else (usual,):
        volatility[kind], average_volume[kind] = _lagged(close[kind], volume[kind], growth[kind], default)
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
        volatility=volatility.tolist(),
        average_volume=average_volume.tolist(),
    )
