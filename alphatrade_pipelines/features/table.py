"""Bars as arrays: checked, forward adjusted, derived series attached, rows grouped by time stamp."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.features.base import FloatArray, IntArray, Series
from alphatrade_pipelines.features.errors import FeatureInputError, nearest
from alphatrade_pipelines.features.kernels import group_means, logs
from alphatrade_pipelines.market import adjust_forward

PRICES = ("open", "high", "low", "close")
ObjectArray = npt.NDArray[np.object_]
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_NEW_YORK = ZoneInfo("America/New_York")
_MINUTE_NS = 60_000_000_000
_DAY_NS = 1440 * _MINUTE_NS
COLUMNS = (*PRICES, "volume", "split", "dividend")


@dataclass(frozen=True)
class Table:
    """All rows of a bar frame, sorted by (symbol, time).

    ``bounds`` (symbols + 1) delimits each symbol's rows; ``order`` and ``groups`` list the rows of each of ``group_times``, symbols
    ascending; ``market`` is the equal-weighted mean log return of the symbols present at each group time.
    """

    symbols: tuple[str, ...]
    bounds: IntArray
    times: IntArray
    order: IntArray
    groups: IntArray
    group_times: IntArray
    group_of_row: IntArray
    market: FloatArray
    series: tuple[Series, ...]

    @classmethod
    def of(cls, bars: pd.DataFrame) -> Table:
        """Check, adjust and lay out ``bars`` (raw prices, as traded).

        Raises:
            FeatureInputError: wrong index or columns, naive, unsorted or repeated time stamps, text, NaN or a price that is not positive.
        """
        index, raw = check_frame(bars)
        names, times = index_arrays(index)
        check_values(raw, times, names)
        starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
        bounds = np.append(starts, len(names)).astype(np.int64)
        order = np.argsort(times, kind="stable").astype(np.int64)  # stable: within a time stamp, symbols stay ascending
        ordered = times[order]
        edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        groups = np.append(edges, len(ordered)).astype(np.int64)
        group_of_row = np.empty(len(times), dtype=np.int64)
        group_of_row[order] = np.repeat(np.arange(len(edges)), np.diff(groups))
        day, minute = (part[group_of_row] for part in new_york(ordered[edges]))
        flat, market = _derive(adjust_forward(bars), starts, order, groups, group_of_row, day, minute)
        series = tuple(Series(*(column[low:high] for column in flat)) for low, high in pairwise(bounds.tolist()))
        return cls(tuple(str(name) for name in names[starts]), bounds, times, order, groups, ordered[edges], group_of_row, market, series)

    def items(self) -> Iterator[tuple[str, Series]]:
        """(symbol, its series), symbols ascending."""
        return iter(zip(self.symbols, self.series, strict=True))

    def split(self, values: FloatArray) -> dict[str, FloatArray]:
        """A flat column by symbol."""
        return {name: values[low:high] for name, low, high in zip(self.symbols, self.bounds[:-1], self.bounds[1:], strict=True)}

    @property
    def ages(self) -> IntArray:
        """How many bars of its symbol each row has behind it, itself included."""
        lengths = np.diff(self.bounds)
        return np.arange(1, len(self.times) + 1, dtype=np.int64) - np.repeat(self.bounds[:-1], lengths)


def new_york(times: IntArray) -> tuple[FloatArray, FloatArray]:
    """(date as days since 1970, minutes after midnight) in New York of instants in ns since 1970 UTC."""
    if len(times) == 1:  # a stream: pandas would cost as much as twenty features
        local = times + _offset(int(times[0]) // 1_000_000_000)
    else:
        local = pd.DatetimeIndex(times, tz="UTC").tz_convert(_NEW_YORK).tz_localize(None).as_unit("ns").asi8
    return (local // _DAY_NS).astype(np.float64), (local % _DAY_NS) / _MINUTE_NS


@lru_cache(maxsize=8)  # several features ask at one time stamp
def _offset(seconds: int) -> int:
    offset = datetime.fromtimestamp(seconds, _NEW_YORK).utcoffset() or timedelta(0)
    return int(offset.total_seconds()) * 1_000_000_000


def _derive(
    adjusted: pd.DataFrame,
    starts: IntArray,
    order: IntArray,
    groups: IntArray,
    group_of_row: IntArray,
    day: FloatArray,
    minute: FloatArray,
) -> tuple[Series, FloatArray]:
    opened, high, low, close, volume = (np.array(adjusted[name], dtype=np.float64) for name in (*PRICES, "volume"))
    log_close = logs(close)
    ret = np.empty_like(log_close)
    ret[1:] = log_close[1:] - log_close[:-1]
    ret[starts] = np.nan
    market = group_means(ret, order, groups)
    return Series(logs(opened), logs(high), logs(low), log_close, close, volume, ret, market[group_of_row], day, minute), market


def index_arrays(index: pd.MultiIndex) -> tuple[ObjectArray, IntArray]:
    """(symbols, time stamps in ns since 1970 UTC) of each row of a checked index.

    Read from levels and codes: building index objects would cost a stream more than the features do.
    """
    symbols, stamps = (index.levels[position] for position in (0, 1))
    assert isinstance(stamps, pd.DatetimeIndex)
    scale = _NANOSECONDS[stamps.unit]
    names = symbols.to_numpy(dtype=object)[index.codes[0]]
    return names, np.asarray(stamps.asi8, dtype=np.int64)[index.codes[1]] * scale


def check_frame(bars: pd.DataFrame) -> tuple[pd.MultiIndex, FloatArray]:
    """(index, values of COLUMNS as (rows, COLUMNS)); raise FeatureInputError unless index and columns have the canonical form."""
    index = bars.index
    if not isinstance(index, pd.MultiIndex) or list(index.names) != ["symbol", "timestamp"]:
        raise FeatureInputError("bars indexed by (symbol, timestamp)", f"index {list(index.names)}")
    if len(bars) == 0:
        raise FeatureInputError("at least one bar", "none")
    stamps = index.levels[1]
    if not isinstance(stamps, pd.DatetimeIndex) or stamps.tz is None:
        raise FeatureInputError("aware time stamps", f"{stamps.dtype}", fix="Attach their time zone.")
    place = {name: at for at, name in enumerate(bars.columns.tolist())}
    types = bars.dtypes.tolist()
    for name in COLUMNS:
        if name not in place:
            fix = (
                nearest(name, {str(column) for column in bars.columns} - set(COLUMNS))
                if name in PRICES
                else "1 and 0 mean no split, no dividend."
            )
            raise FeatureInputError(f"a column {name!r}", f"only {', '.join(map(str, bars.columns))}", fix=fix)
        if not pd.api.types.is_numeric_dtype(types[place[name]]):
            raise FeatureInputError(f"numbers in {name!r}", f"type {types[place[name]]}")
    wanted = [place[name] for name in COLUMNS]
    if all(map(pd.api.types.is_numeric_dtype, types)):  # in one piece: column by column would cost a stream as much as forty features
        values = bars.to_numpy(dtype=np.float64)[:, wanted]
    else:
        values = np.column_stack([bars.iloc[:, at].to_numpy(dtype=np.float64) for at in wanted])
    if (index.codes[0] < 0).any() or (index.codes[1] < 0).any():
        raise FeatureInputError("a symbol and a time stamp in each row", "an empty one")
    return index, values


def check_values(raw: FloatArray, times: IntArray, names: ObjectArray) -> None:
    """Raise FeatureInputError for the first row that is out of order or holds an impossible value; ``raw`` is (rows, COLUMNS)."""
    same = names[1:] == names[:-1]
    bad = np.where(same, times[1:] <= times[:-1], names[1:] < names[:-1])
    if bad.any():
        at = int(np.argmax(bad)) + 1
        raise FeatureInputError("rows sorted by symbol and time, each once", f"{_place(names, times, at)} out of order or repeated")
    sane = np.isfinite(raw).all(axis=1) & (raw[:, :4] > 0).all(axis=1) & (raw[:, 4] >= 0) & (raw[:, 5] > 0) & (raw[:, 6] >= 0)
    if not sane.all():
        at = int(np.argmin(sane))
        shown = ", ".join(f"{name}={value:g}" for name, value in zip(COLUMNS, raw[at], strict=True))
        raise FeatureInputError("positive prices and splits, volume and dividend of zero or more", f"{_place(names, times, at)}: {shown}")


def _place(names: ObjectArray, times: IntArray, at: int) -> str:
    return f"{names[at]} at {pd.Timestamp(int(times[at]), tz='UTC').isoformat()}"
