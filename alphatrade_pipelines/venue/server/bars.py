"""The bars the data API serves: of any timeframe the tape can be added up to, adjusted as of venue time, and never one of the future."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.tape import Series, TapeBar, to_datetime, to_ns
from alphatrade_pipelines.venue.server.wire import NEW_YORK

ADJUSTMENTS = ("raw", "split", "dividend", "all")
_FRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)", re.ASCII)
_LONG_UNITS = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_AMOUNTS = {"Min": range(1, 60), "Hour": range(1, 24), "Day": (1,), "Week": (1,), "Month": (1, 2, 3, 4, 6, 12)}
_ACTIONS_BEFORE_OPEN = {False: timedelta(hours=1), True: timedelta(hours=6)}  # with extended hours: before the first pre-market print
_EARLIEST, _LATEST = datetime(1971, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def invalid_query(message: str) -> VenueError:
    """400 without a code: how the data API refuses a query."""
    return VenueError(400, None, message)


@dataclass(frozen=True, slots=True)
class WireFrame:
    """A timeframe as Alpaca's data API knows them: ``5Min``, ``1Hour``, ``1Day``, ``1Week``, ``3Month`` (or ``5T``, ``1H`` ...)."""

    amount: int
    unit: str

    @classmethod
    def parse(cls, text: str | None) -> WireFrame:
        """Raises VenueError 400 for anything Alpaca does not take."""
        if not text:
            raise invalid_query("timeframe is required")
        match = _FRAME.fullmatch(text)
        if match is None:
            raise invalid_query(f"invalid timeframe: {text[:40]}")
        unit = _LONG_UNITS.get(match[2], match[2])
        if int(match[1]) not in _AMOUNTS[unit]:
            raise invalid_query(f"invalid timeframe: {text}")
        return cls(int(match[1]), unit)

    @property
    def minutes(self) -> int | None:
        """Length of an intraday frame; None for days and longer."""
        return {"Min": self.amount, "Hour": self.amount * 60}.get(self.unit)

    @property
    def longest(self) -> timedelta:
        """No window lasts longer."""
        if self.minutes is not None:
            return timedelta(minutes=self.minutes)
        return timedelta(days={"Day": 1, "Week": 7}.get(self.unit, 31 * self.amount))

    def label(self, at: datetime) -> datetime:
        """The beginning of the window ``at`` lies in: intraday counted from midnight in New York, longer ones at such a midnight."""
        local = at.astimezone(NEW_YORK)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if (minutes := self.minutes) is not None:
            passed = (local.hour * 60 + local.minute) // minutes * minutes
            return (midnight + timedelta(minutes=passed)).astimezone(UTC)
        if self.unit == "Week":
            midnight = midnight - timedelta(days=midnight.weekday())
        elif self.unit == "Month":
            midnight = midnight.replace(month=(midnight.month - 1) // self.amount * self.amount + 1, day=1)
        return midnight.astimezone(UTC)


class KnownBars:
    """What is known of the tape at venue time. A window that is not over yet holds the bars that are (as at Alpaca)."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._tape = exchange.tape
        self._daily = exchange.tape.timeframe.is_daily
        self._factors: dict[str, tuple[Series, list[float], list[float]]] = {}

    def rows(self, symbol: str, frame: WireFrame, adjustment: str, start: datetime, end: datetime) -> list[tuple[datetime, TapeBar]]:
        """(label, bar) with ``start`` <= label <= ``end``, oldest first. Raises VenueError 400 for a frame or adjustment not served."""
        self._check(frame, adjustment)
        series = self._tape.series[symbol]
        start, end = max(start, _EARLIEST), min(end, _LATEST)
        first = bisect_left(series.starts, to_ns(frame.label(start)))
        known = min(series.known(self._exchange.now), bisect_right(series.starts, to_ns(end + frame.longest)))
        bars: Iterable[TapeBar] = self._adjusted(series, range(first, known), adjustment)
        if frame.minutes is None:
            bars = self._regular(bars)
        labelled = groupby(bars, key=lambda bar: frame.label(bar.start))
        return [(label, merged(list(group))) for label, group in labelled if start <= label <= end]

    def latest(self, symbol: str, frame: WireFrame, count: int) -> list[tuple[datetime, TapeBar]]:
        """The last ``count`` windows, newest first."""
        series = self._tape.series[symbol]
        found: list[tuple[datetime, TapeBar]] = []
        position = series.known(self._exchange.now)
        while position and len(found) < count:
            label = frame.label(to_datetime(series.starts[position - 1]))
            first = bisect_left(series.starts, to_ns(label))
            bars: Iterable[TapeBar] = (series.bar(number) for number in range(first, position))
            group = list(self._regular(bars) if frame.minutes is None else bars)
            if group:
                found.append((label, merged(group)))
            position = first
        return found

    @property
    def finest(self) -> WireFrame:
        """The timeframe of the tape itself."""
        minutes = self._tape.timeframe.minutes
        if self._daily:
            return WireFrame(1, "Day")
        return WireFrame(minutes // 60, "Hour") if minutes % 60 == 0 else WireFrame(minutes, "Min")

    def _check(self, frame: WireFrame, adjustment: str) -> None:
        if adjustment not in ADJUSTMENTS:
            raise invalid_query(f"invalid adjustment {adjustment[:40]!r}: {', '.join(ADJUSTMENTS)}")
        if frame.minutes is not None and (self._daily or frame.minutes % self._tape.timeframe.minutes):
            raise invalid_query(f"this venue plays {self._tape.timeframe} bars and cannot make {frame.amount}{frame.unit} bars of them")

    def _regular(self, bars: Iterable[TapeBar]) -> Iterable[TapeBar]:
        """Days are made of regular sessions only."""
        if self._daily or not self._tape.extended_hours:
            return bars
        sessions = self._tape.sessions
        return (bar for bar in bars if (p := self._tape.session_at(bar.start)) < len(sessions) and bar.end > sessions[p].open)

    # --- adjustment -----------------------------------------------------------------------------------------------------------------

    def _adjusted(self, series: Series, positions: range, adjustment: str) -> list[TapeBar]:
        bars = [series.bar(position) for position in positions]
        if adjustment == "raw" or not bars:
            return bars
        splits, dividends = self._growth(series)
        now = self._as_of(series)
        result = []
        for position, bar in zip(positions, bars, strict=True):
            split = splits[position] / splits[now] if adjustment != "dividend" else 1.0
            factor = split * (dividends[position] / dividends[now] if adjustment != "split" else 1.0)
            result.append(bar if factor == 1.0 and split == 1.0 else _scaled(bar, factor, split))
        return result

    def _growth(self, series: Series) -> tuple[list[float], list[float]]:
        """Shares, and shares by reinvested dividends, that one share of the first bar has become by each bar. Each value looks at its own
        morning and the past only: a split takes effect before the open, a dividend is reinvested at the close before."""
        kept = self._factors.get(series.symbol)
        if kept is None or kept[0] is not series:  # a fault may rewrite the days to come
            splits, dividends = [1.0], [1.0]
            for position in range(1, len(series.starts)):
                before, paid = series.close[position - 1], series.dividend[position]
                splits.append(splits[-1] * series.split[position])
                dividends.append(dividends[-1] * before / (before - paid))
            kept = self._factors[series.symbol] = series, splits, dividends
        return kept[1:]

    def _as_of(self, series: Series) -> int:
        """The bar whose morning venue time has reached: the last known one, or the next on the morning of its ex-date."""
        known = series.known(self._exchange.now)
        if known < len(series.starts):
            session = self._tape.sessions[self._tape.session_at(to_datetime(series.starts[known]))]
            if self._exchange.now >= session.open - _ACTIONS_BEFORE_OPEN[self._tape.extended_hours]:
                return known
        return known - 1


def _scaled(bar: TapeBar, factor: float, split: float) -> TapeBar:
    return replace(
        bar,
        open=bar.open * factor,
        high=bar.high * factor,
        low=bar.low * factor,
        close=bar.close * factor,
        vwap=bar.vwap * factor,
        volume=bar.volume / split,
    )


def merged(bars: list[TapeBar]) -> TapeBar:
    """One bar over consecutive ``bars``."""
    if len(bars) == 1:
        return bars[0]
    volume = sum(bar.volume for bar in bars)
    return replace(
        bars[0],
        end=bars[-1].end,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=volume,
        vwap=sum(bar.vwap * bar.volume for bar in bars) / volume if volume else bars[-1].close,
        trade_count=sum(bar.trade_count for bar in bars),
    )
