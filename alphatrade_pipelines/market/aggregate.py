"""Longer time bars out of finer ones: a whole history at once, or one live bar at a time, to the same bits.

A bucket starts on the grid of New York's clock, as Alpaca's bars do (15-minute buckets at 09:30, 09:45, …; the hour of 09:00 holds its
second half), and ends with it or at the session's close; a daily bucket is the whole session and stamped at its open. Within a bucket:
first open, greatest high, least low, last close, volumes and trades added in time order, average price weighted by volume. A bucket
without any bar has none: nothing is filled in.

Live, a bucket is complete with the bar that reaches its end, with the first bar of a later bucket, or, when its last minutes did not
trade, once no bar that the gate would still accept can belong to it (:meth:`BarAggregator.close_until`). So what the gate accepted and
nothing else decides: the stream equals :func:`aggregate_bars` of the accepted bars, and of the historical download whenever the gate
refused none of its bars (a repeated bar changes nothing, one that came after the gate's patience is in the gate's quarantine).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.bars import INDEX, OPTIONAL, PRICES, REQUIRED, check_bars
from alphatrade_pipelines.market.errors import BarDataError
from alphatrade_pipelines.market.gate import GateConfig, LiveBar
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
NEW_YORK = "America/New_York"
_ZONE = ZoneInfo(NEW_YORK)
_MINUTE_NS = 60_000_000_000


def aggregate_bars(bars: pd.DataFrame, source: Timeframe, target: Timeframe, calendar: SessionCalendar | None = None) -> pd.DataFrame:
    """Bars of ``target`` from bars of ``source``.

    Args:
        bars: canonical frame (index symbol, timestamp = bar start, UTC), rows (n,).
        source: its bar length, intraday.
        target: a multiple of it, or one day.

    Returns:
        Canonical frame with the columns of ``bars``; ``split`` and ``dividend`` are those of a bucket's first bar.

    Raises:
        BarDataError: bars that fail ``check_bars``; a target that ``source`` does not divide; a bar across two buckets; a split or
            dividend inside a bucket, where its prices could not be compared.
    """
    calendar = calendar or SessionCalendar()
    check_lengths(source, target)
    check_bars(bars, source, calendar=calendar)
    symbols, stamps = (bars.index.get_level_values(level) for level in INDEX)
    starts, ends = _buckets(pd.DatetimeIndex(stamps), target, calendar)
    _check_inside(bars, source, ends, calendar)
    codes = pd.factorize(symbols)[0]
    begin = np.flatnonzero(np.concatenate([[True], (starts[1:] != starts[:-1]) | (codes[1:] != codes[:-1])]))
    _check_actions(bars, begin)
    columns = _fold(bars, begin)
    index = pd.MultiIndex.from_arrays([symbols[begin], pd.to_datetime(starts[begin], unit="ns", utc=True)], names=INDEX)
    return pd.DataFrame(columns, index=index)


def check_lengths(source: Timeframe, target: Timeframe) -> None:
    """Raise :class:`BarDataError` unless bars of ``source`` can make up bars of ``target``."""
    if source.is_daily:
        raise BarDataError("intraday bars to aggregate", f"{source} bars")
    if not target.is_daily and (target.minutes % source.minutes or target.minutes <= source.minutes):
        raise BarDataError(f"a target that {source} bars divide", str(target), fix="Take a multiple of the source, or 1Day.")


def _buckets(stamps: pd.DatetimeIndex, target: Timeframe, calendar: SessionCalendar) -> tuple[IntArray, IntArray]:
    """Start and end (UTC, ns) of the bucket of each bar start."""
    opens, closes = calendar.bounds_of(stamps)
    if target.is_daily:
        return opens, closes
    local = stamps.tz_convert(NEW_YORK)
    into = (np.asarray(local.hour * 60 + local.minute, dtype=np.int64) % target.minutes) * _MINUTE_NS
    starts = np.asarray(stamps.as_unit("ns").asi8, dtype=np.int64) - into
    return starts, np.minimum(starts + target.minutes * _MINUTE_NS, closes)


def _check_inside(bars: pd.DataFrame, source: Timeframe, ends: IntArray, calendar: SessionCalendar) -> None:
    """No bar may reach beyond its bucket, and none may start between whole minutes."""
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    bad = np.asarray(calendar.known_at(stamps, source).asi8 > ends) | np.asarray(stamps.as_unit("ns").asi8 % _MINUTE_NS != 0)
    if bad.any():
        symbol, stamp = bars.index[int(np.argmax(bad))]
        fix = "Check the time stamps: bars start on whole minutes of New York's clock."
        raise BarDataError("each bar inside one bucket", "one that reaches beyond", where=f"{symbol} at {stamp.isoformat()}", fix=fix)


def _check_actions(bars: pd.DataFrame, begin: IntArray) -> None:
    acts = ((bars["split"] != 1.0) | (bars["dividend"] != 0.0)).to_numpy() & ~np.isin(np.arange(len(bars)), begin)
    if acts.any():
        symbol, stamp = bars.index[int(np.argmax(acts))]
        fix = "Put splits and dividends on the first bar of their session."
        raise BarDataError("no split or dividend inside a bucket", "one", where=f"{symbol} at {stamp.isoformat()}", fix=fix)


def _fold(bars: pd.DataFrame, begin: IntArray) -> dict[str, FloatArray]:
    from alphatrade_pipelines.market.aggregate_kernels import fold_prices, fold_sums, fold_vwap

    bounds = np.append(begin, len(bars)).astype(np.int64)
    values = {name: bars[name].to_numpy(dtype=np.float64) for name in (*REQUIRED, *OPTIONAL) if name in bars}
    opened, high, low, close = (values[name] for name in PRICES)
    folded = fold_prices(opened, high, low, close, bounds)
    columns = {name: folded[at] for at, name in enumerate(PRICES)}
    columns["volume"] = fold_sums(values["volume"], bounds)
    columns |= {name: values[name][begin] for name in ("split", "dividend")}
    if "vwap" in values:
        columns["vwap"] = fold_vwap(values["vwap"], values["volume"], bounds)
    if "trade_count" in values:
        columns["trade_count"] = fold_sums(values["trade_count"], bounds)
    return columns


@dataclass(slots=True)
class _Bucket:
    """A bar under construction."""

    start: datetime
    end: datetime
    bar: LiveBar

    def add(self, bar: LiveBar) -> None:
        if bar.split != 1.0 or bar.dividend != 0.0:
            raise BarDataError("no split or dividend inside a bucket", "one", where=f"{bar.symbol} at {bar.timestamp.isoformat()}")
        whole = self.bar
        high, low = max(whole.high, bar.high), min(whole.low, bar.low)
        self.bar = dataclasses.replace(whole, high=high, low=low, close=bar.close, volume=whole.volume + bar.volume)


class BarAggregator:
    """:func:`aggregate_bars` for a live stream; feed it the bars the gate accepted, each symbol's oldest first.

    ``patience``: how long after its end a bar may still be accepted, the gate's ``max_delay_seconds``; an unfinished bucket is not closed
    before. State is plain JSON (:meth:`to_state`).
    """

    def __init__(
        self, source: Timeframe, target: Timeframe, *, calendar: SessionCalendar | None = None, patience: timedelta | None = None
    ) -> None:
        check_lengths(source, target)
        self.source, self.target, self.calendar = source, target, calendar or SessionCalendar()
        self.patience = timedelta(seconds=GateConfig().max_delay_seconds) if patience is None else patience
        self._open: dict[str, _Bucket] = {}
        self._known_until: dict[str, datetime] = {}  # end of the last bar taken in, or of the last bucket closed
        self._placed: tuple[datetime, tuple[datetime, datetime, datetime]] | None = None  # all symbols of a minute share it

    def update(self, bar: LiveBar) -> list[LiveBar]:
        """Take one bar in; the buckets it completes, oldest first (none, one or two).

        Raises:
            BarDataError: the bar is outside sessions, reaches beyond its bucket, or is not later than what the symbol already has.
        """
        start, end, until = self._place(bar)
        done: list[LiveBar] = []
        known = self._known_until.get(bar.symbol)
        if known is not None and bar.timestamp < known:
            raise BarDataError(
                f"a bar of {bar.symbol} from {known.isoformat()} on", bar.timestamp.isoformat(), fix="Pass bars through a BarGate first."
            )
        bucket = self._open.get(bar.symbol)
        if bucket is not None and bucket.start != start:
            done.append(self._open.pop(bar.symbol).bar)
            bucket = None
        if bucket is None:
            self._open[bar.symbol] = _Bucket(start, end, dataclasses.replace(bar, timestamp=start))
        else:
            bucket.add(bar)
        self._known_until[bar.symbol] = until
        if until >= end:
            done.append(self._open.pop(bar.symbol).bar)
        return done

    def close_until(self, now: datetime) -> list[LiveBar]:
        """Buckets that no acceptable bar can reach any more at ``now`` (aware), by start and symbol."""
        ready = [(bucket.start, symbol) for symbol, bucket in self._open.items() if bucket.end + self.patience < now]
        return [self._close(symbol) for _, symbol in sorted(ready)]

    def _close(self, symbol: str) -> LiveBar:
        bucket = self._open.pop(symbol)
        self._known_until[symbol] = bucket.end
        return bucket.bar

    def _place(self, bar: LiveBar) -> tuple[datetime, datetime, datetime]:
        """Start and end of the bar's bucket, and its own end; as :func:`_buckets`, for one bar and without pandas."""
        if self._placed is None or self._placed[0] != bar.timestamp:
            self._placed = bar.timestamp, self._find_place(bar)
        return self._placed[1]

    def _find_place(self, bar: LiveBar) -> tuple[datetime, datetime, datetime]:
        stamp, where = bar.timestamp, f"{bar.symbol} at {bar.timestamp.isoformat()}"
        expected, fix = f"a {self.source} bar inside an XNYS session", "Pass bars through a BarGate first."
        if stamp.tzinfo is None:
            raise BarDataError(expected, "a naive time stamp", where=where, fix=fix)
        opened, closed = self.calendar.session_bounds(stamp)
        until = min(stamp + self.source.duration, closed)
        if stamp >= closed or until <= opened:
            raise BarDataError(expected, "one outside", where=where, fix=fix)
        start, end = opened, closed
        if not self.target.is_daily:
            local = stamp.astimezone(_ZONE)
            start = (stamp - timedelta(minutes=(local.hour * 60 + local.minute) % self.target.minutes)).astimezone(UTC)
            end = min(start + self.target.duration, closed)
        if until > end or stamp.second or stamp.microsecond:
            raise BarDataError("each bar inside one bucket", "one that reaches beyond", where=where)
        return start, end, until

    def to_state(self) -> dict[str, Any]:
        """Buckets under construction and how far each symbol is known: JSON."""
        buckets = {
            symbol: {"start": one.start.isoformat(), "end": one.end.isoformat()} | {name: getattr(one.bar, name) for name in REQUIRED}
            for symbol, one in self._open.items()
        }
        known = {symbol: until.isoformat() for symbol, until in self._known_until.items()}
        return {"source": str(self.source), "target": str(self.target), "buckets": buckets, "known_until": known}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`to_state` was taken; :class:`BarDataError` when it is of other bar lengths."""
        if (state["source"], state["target"]) != (str(self.source), str(self.target)):
            raise BarDataError(f"a state of {self.source} to {self.target}", f"{state['source']} to {state['target']}")
        self._known_until = {symbol: datetime.fromisoformat(until) for symbol, until in state["known_until"].items()}
        self._open = {}
        for symbol, one in state["buckets"].items():
            start = datetime.fromisoformat(one["start"])
            bar = LiveBar(symbol, start, **{name: float(one[name]) for name in REQUIRED})
            self._open[symbol] = _Bucket(start, datetime.fromisoformat(one["end"]), bar)
