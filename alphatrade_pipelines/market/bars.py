"""What a bar frame is, and the check every frame must pass before anyone else sees it.

Index (symbol, timestamp), sorted, ``timestamp`` = bar START in UTC; a daily bar starts at its session's open. Prices are raw, as
traded. ``split`` = new shares for each old one on the morning of the bar (1.0 = none), ``dividend`` = cash per share held the evening
before (0.0 = none); with intraday bars both stand on the session's first bar.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.errors import BarDataError, nearest
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe

INDEX = ["symbol", "timestamp"]
PRICES = ("open", "high", "low", "close")
REQUIRED = (*PRICES, "volume", "split", "dividend")
OPTIONAL = ("vwap", "trade_count")
BoolArray = npt.NDArray[np.bool_]


def to_bars(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a flat frame (columns symbol, timestamp, prices …) the canonical index, column order and types; values are not changed.

    Adds ``split`` = 1 and ``dividend`` = 0 where absent. Does not sort: unsorted input is an error for :func:`check_bars` to name.
    """
    flat = frame.assign(**{name: default for name, default in (("split", 1.0), ("dividend", 0.0)) if name not in frame})
    stamps = pd.DatetimeIndex(flat["timestamp"])
    index = pd.MultiIndex.from_arrays([flat["symbol"].astype("str").array, stamps.as_unit("ns")], names=INDEX)
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in flat]
    bars = flat[columns].set_axis(index, axis=0)
    numeric = [name for name in columns if pd.api.types.is_numeric_dtype(bars[name])]
    return bars.astype(dict.fromkeys(numeric, "float64"))


def empty_bars() -> pd.DataFrame:
    """A frame without rows in the canonical form."""
    stamps = pd.DatetimeIndex([], tz="UTC").as_unit("ns")
    return to_bars(
        pd.DataFrame({"symbol": pd.Series(dtype="str"), "timestamp": stamps} | {name: pd.Series(dtype="float64") for name in REQUIRED})
    )


def as_utc(moment: date | datetime | str) -> pd.Timestamp:
    """An aware UTC time stamp; a bare date means midnight in New York. A naive time of day is refused."""
    stamp = pd.Timestamp(moment)
    if stamp.tzinfo is None:
        if stamp != stamp.normalize():
            raise BarDataError("an aware time stamp or a bare date", f"the naive {moment}", fix="Attach its time zone.")
        stamp = stamp.tz_localize("America/New_York")
    return stamp.tz_convert("UTC")


def between(bars: pd.DataFrame, start: date | datetime | str | None, end: date | datetime | str | None) -> pd.DataFrame:
    """Bars that start in [start, end)."""
    stamps = bars.index.get_level_values("timestamp")
    keep = np.ones(len(bars), dtype=np.bool_)
    if start is not None:
        keep &= np.asarray(stamps >= as_utc(start))
    if end is not None:
        keep &= np.asarray(stamps < as_utc(end))
    return bars if keep.all() else bars[keep]


def symbols_of(bars: pd.DataFrame) -> list[str]:
    """Symbols present, sorted."""
    return sorted(bars.index.get_level_values("symbol").unique())


def check_columns(present: Iterable[str], required: Iterable[str], *, where: str = "") -> None:
    """Raise :class:`BarDataError` naming the first missing column and the nearest present name."""
    names = [str(name) for name in present]
    for name in required:
        if name not in names:
            shown = ", ".join(names) or "no columns"
            raise BarDataError(f"a column {name!r}", f"only {shown}", where=where, fix=nearest(name, set(names) - set(required)).strip())


def check_numeric(values: pd.Series, name: str, *, where: str = "", first_line: int | None = None) -> None:
    """Raise :class:`BarDataError` for the first value that is no number; ``first_line`` = line of row 0, if the column is from a file."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return
    bad = pd.to_numeric(values, errors="coerce").isna() & values.notna()
    position = int(np.argmax(bad.to_numpy())) if bad.any() else 0
    row = f"row {values.index[position]}" if first_line is None else f"line {first_line + position}"
    found = f"the text {values.iloc[position]!r}" if bad.any() else f"type {values.dtype}"
    raise BarDataError(
        f"numbers in {name!r}",
        found,
        where=_join(where, row),
        fix="Remove thousands separators and place holders, or map the right column.",
    )


def check_bars(
    bars: pd.DataFrame,
    timeframe: Timeframe,
    *,
    where: str = "",
    lines: npt.NDArray[np.int64] | None = None,
    calendar: SessionCalendar | None = None,
) -> None:
    """Accept a canonical bar frame or say exactly what is wrong with it.

    Args:
        bars: frame to check; it is not changed and nothing is repaired.
        timeframe: bar length; decides where time stamps may lie.
        where: file or source, for the message.
        lines: for each row its line in that file, shape (len(bars),), for the message.
        calendar: trading sessions, XNYS by default.

    Raises:
        BarDataError: empty frame; missing or misspelt column; text; NaN, zero or negative price; high < low; open or close outside
            [low, high]; negative volume; bad split or dividend; naive, duplicate or unsorted time stamps; bars outside XNYS sessions.
    """
    if bars.empty:
        raise BarDataError("at least one bar", "none", where=where, fix="Check the symbols, the dates and the source.")
    _check_index(bars, where)
    check_columns(bars.columns, REQUIRED, where=where)
    for name in (*REQUIRED, *(name for name in OPTIONAL if name in bars)):
        check_numeric(bars[name], name, where=where)
    inspector = _Inspector(bars, where, lines)
    _check_values(inspector)
    _check_order(inspector)
    _check_sessions(inspector, timeframe, calendar or SessionCalendar())


def require_history(bars: pd.DataFrame, minimum: int, *, purpose: str = "this step") -> None:
    """Raise :class:`BarDataError` naming every symbol with fewer than ``minimum`` bars and its count."""
    counts = bars.groupby(level="symbol", sort=True).size()
    short = counts[counts < minimum]
    if len(short) or counts.empty:
        found = ", ".join(f"{symbol} has {count}" for symbol, count in short.items()) or "no bars at all"
        raise BarDataError(
            f"at least {minimum} bars a symbol for {purpose}", found, fix="Load a longer history or leave these symbols out."
        )


@dataclass(frozen=True, slots=True)
class _Inspector:
    """A frame under inspection, and how to name its rows."""

    bars: pd.DataFrame
    where: str
    lines: npt.NDArray[np.int64] | None

    def refuse(self, bad: BoolArray, expected: str, columns: tuple[str, ...] = (), fix: str = "") -> None:
        """Raise for the first row that is ``bad``, showing its values in ``columns``."""
        if not bad.any():
            return
        position, count = int(np.argmax(bad)), int(bad.sum())
        values = ", ".join(f"{name}={self.bars[name].iloc[position]:g}" for name in columns)
        found = f"{values or 'this row'}" + (f" (and {count - 1} more such rows)" if count > 1 else "")
        fix = fix or "Correct or remove the row; bars are never repaired silently."
        raise BarDataError(expected, found, where=self.place(position), fix=fix)

    def place(self, position: int) -> str:
        symbol, stamp = self.bars.index[position]
        row = f"row {position}" if self.lines is None else f"line {self.lines[position]}"
        return _join(self.where, f"{symbol} at {stamp.isoformat()} ({row})")


def _check_index(bars: pd.DataFrame, where: str) -> None:
    index = bars.index
    if not isinstance(index, pd.MultiIndex) or list(index.names) != INDEX:
        raise BarDataError("a MultiIndex (symbol, timestamp)", f"index {list(index.names)}", where=where)
    stamps = index.levels[1]
    if not isinstance(stamps, pd.DatetimeIndex):
        raise BarDataError("time stamps in the index", f"{stamps.dtype}", where=where)
    if stamps.tz is None:
        raise BarDataError("aware UTC time stamps", "naive ones", where=where, fix="Say which zone they are in (the source's `timezone`).")
    if str(stamps.tz) != "UTC":
        raise BarDataError("time stamps in UTC", f"zone {stamps.tz}", where=where, fix="Convert them with tz_convert('UTC').")
    missing = index.get_level_values("timestamp").isna()
    if missing.any():
        raise BarDataError("a time stamp in each row", "an empty one", where=_join(where, f"row {int(np.argmax(missing))}"))


def _check_values(inspector: _Inspector) -> None:
    bars = inspector.bars
    for name in PRICES:
        values = bars[name].to_numpy(dtype=np.float64)
        inspector.refuse(~(np.isfinite(values) & (values > 0)), f"a positive price in {name!r}", (name,))
    inspector.refuse((bars["high"] < bars["low"]).to_numpy(), "high >= low", ("high", "low"))
    for name in ("open", "close"):
        outside = (bars[name] > bars["high"]) | (bars[name] < bars["low"])
        inspector.refuse(outside.to_numpy(), f"{name} within [low, high]", (name, "low", "high"))
    volume, split, dividend = (bars[name].to_numpy(dtype=np.float64) for name in ("volume", "split", "dividend"))
    inspector.refuse(~(np.isfinite(volume) & (volume >= 0)), "a volume of zero or more", ("volume",))
    inspector.refuse(~(np.isfinite(split) & (split > 0)), "a positive split factor (1 = none)", ("split",))
    inspector.refuse(~(np.isfinite(dividend) & (dividend >= 0)), "a dividend of zero or more", ("dividend",))


def _check_order(inspector: _Inspector) -> None:
    index = inspector.bars.index
    inspector.refuse(index.duplicated(), "one bar for each symbol and time, not a duplicate", fix="Remove the repeated rows.")
    if index.is_monotonic_increasing:
        return
    symbols, stamps = (index.get_level_values(level) for level in (0, 1))
    backwards = np.zeros(len(index), dtype=np.bool_)
    earlier = np.asarray(stamps[1:] < stamps[:-1]) & np.asarray(symbols[1:] == symbols[:-1])
    backwards[1:] = np.asarray(symbols[1:] < symbols[:-1]) | earlier
    fix = "It is unsorted: sort it; if it came from a file, check that it is one series."
    inspector.refuse(backwards, "rows sorted by symbol and time", fix=fix)


def _check_sessions(inspector: _Inspector, timeframe: Timeframe, calendar: SessionCalendar) -> None:
    outside = ~calendar.in_session(pd.DatetimeIndex(inspector.bars.index.get_level_values("timestamp")), timeframe)
    expected = "daily bars stamped at the open of an XNYS session" if timeframe.is_daily else f"{timeframe} bars inside XNYS sessions"
    inspector.refuse(outside, expected, fix="Check the time zone and the start/end convention, or drop rows outside sessions.")


def _join(where: str, row: object) -> str:
    return f"{where}, {row}" if where else str(row)
