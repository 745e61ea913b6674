"""The live form of a fitted pipeline: one time stamp in, its features out, to the same bits as batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from alphatrade_pipelines.features.base import (
    ClockFeature,
    ColumnFeature,
    CrossSectionFeature,
    Feature,
    FloatArray,
    IntArray,
    MarketFeature,
    Series,
    State,
    SymbolFeature,
)
from alphatrade_pipelines.features.errors import FeatureInputError, FeatureStateError
from alphatrade_pipelines.features.kernels import group_means, logs
from alphatrade_pipelines.features.pipeline import FittedPipeline
from alphatrade_pipelines.features.sealed import decode, encode, seal, unseal
from alphatrade_pipelines.features.table import COLUMNS, Table, check_frame, check_values, index_arrays, new_york
from alphatrade_pipelines.market import ForwardAdjuster

_FIELDS = Series._fields
_RET, _MARKET, _LOG_CLOSE = _FIELDS.index("ret"), _FIELDS.index("market"), _FIELDS.index("log_close")
STREAM_FORMAT = 1
_PART = 64


class SeriesBuffer:
    """The last bars of a symbol in contiguous arrays: at least ``memory`` of them, or all there were. ``age`` counts all."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._data = np.full((len(_FIELDS), 2 * memory + 1), np.nan)
        self._length = 0
        self.age = 0

    def append(self, row: FloatArray) -> None:
        """Add one bar: the fields of :class:`Series`, ``ret`` being worked out here."""
        if self._length == self._data.shape[1]:
            self._data[:, : self._memory] = self._data[:, self._length - self._memory : self._length].copy()
            self._length = self._memory
        at = self._length
        self._data[:, at] = row
        self._data[_RET, at] = row[_LOG_CLOSE] - self._data[_LOG_CLOSE, at - 1] if at else np.nan
        self._length += 1
        self.age += 1

    def load(self, series: Series) -> None:
        """Take over the end of a batch series."""
        kept = min(self._memory, len(series.close))
        self._data[:, :kept] = [column[len(column) - kept :] for column in series]
        self._length, self.age = kept, len(series.close)

    @property
    def last_return(self) -> float:
        """Log return of the last bar; NaN on a symbol's first."""
        return float(self._data[_RET, self._length - 1])

    def set_market(self, value: float) -> None:
        """Attach the market's return to the last bar."""
        self._data[_MARKET, self._length - 1] = value

    def last(self, count: int) -> Series:
        """Views of the last ``count`` bars, or of all that are kept if fewer."""
        part = self._data[:, max(0, self._length - count) : self._length]
        return Series(*part)

    def save(self) -> State:
        """The bars a value can depend on, and the age, as JSON."""
        return {"age": self.age, "bars": encode(np.ascontiguousarray(self._data[:, max(0, self._length - self._memory) : self._length]))}

    def restore(self, saved: State) -> None:
        """Go on from what :meth:`save` gave."""
        bars = decode(saved["bars"]).reshape(len(_FIELDS), -1)
        self._length, self.age = bars.shape[1], int(saved["age"])
        self._data[:, : self._length] = bars


class _Tick:
    """One time stamp: its symbols (ascending) and what is known of each."""

    def __init__(self, time: int, market: float, symbols: list[str], buffers: list[SeriesBuffer]) -> None:
        self.time, self.market, self.symbols = time, market, symbols
        self.buffers = buffers
        self._parts: dict[int, list[Series]] = {}

    def series(self, memory: int) -> list[Series]:
        """At least the last ``memory`` bars of each symbol (or all there were), and few more: a feature works on what it is given."""
        size = -(-memory // _PART) * _PART  # few different sizes, so that features share the slices
        if size not in self._parts:
            self._parts[size] = [buffer.last(size) for buffer in self.buffers]
        return self._parts[size]


# fills its rows of an array (columns, symbols) at a time stamp
Evaluate = Callable[[FloatArray, slice, _Tick], None]


def _symbol_values(feature: SymbolFeature, state: State) -> Evaluate:
    warmup, memory, compute = feature.warmup, feature.memory, feature.compute

    def evaluate(columns: FloatArray, rows: slice, tick: _Tick) -> None:
        for at, (symbol, buffer, series) in enumerate(zip(tick.symbols, tick.buffers, tick.series(memory), strict=True)):
            if buffer.age >= warmup:
                columns[rows, at] = compute(series, len(series.close) - 1, symbol, state)[0]

    return evaluate


def _column_values(feature: ColumnFeature, source: int, state: State) -> Evaluate:
    def evaluate(columns: FloatArray, rows: slice, tick: _Tick) -> None:
        for at, symbol in enumerate(tick.symbols):
            columns[rows, at] = feature.compute(columns[source, at : at + 1], symbol, state)[0]

    return evaluate


def _rows(values: Callable[[FloatArray, _Tick], FloatArray]) -> Evaluate:
    """Fill with ``values``, spread over the symbols."""

    def evaluate(columns: FloatArray, rows: slice, tick: _Tick) -> None:
        columns[rows] = values(columns, tick)

    return evaluate


def _blank(columns: FloatArray) -> None:
    """What is not finite is NaN, before another feature reads it and before it is given out."""
    columns[~np.isfinite(columns)] = np.nan


class FeatureStream:
    """Feed every time stamp once, oldest first, all its symbols together: ranks and the market return need them.

    ``history`` brings the stream to the state it would have after streaming those bars. After an error while a bar was taken in, the
    stream refuses to go on (its state is not that of any bar): build a new one from history. :meth:`to_json` saves it between two bars
    and ``FittedPipeline.resume`` goes on from there, to the same bits.
    """

    def __init__(self, fitted: FittedPipeline, history: pd.DataFrame | None = None) -> None:
        self._fitted = fitted
        self._adjuster = ForwardAdjuster()
        self._buffers: dict[str, SeriesBuffer] = {}
        features = fitted.pipeline.features
        self._cursors = {name: one.cursor(fitted.states[name]) for name, one in features.items() if isinstance(one, MarketFeature)}
        self._time = np.iinfo(np.int64).min
        self._failed = False
        self._columns = pd.Index(fitted.feature_names)
        self._row = {column: at for at, column in enumerate(fitted.feature_names)}
        self._plan = [
            (slice(self._row[one.columns(name)[0]], self._row[one.columns(name)[-1]] + 1), self._evaluator(name, one), bool(one.inputs))
            for name, one in features.items()
        ]
        if history is not None:
            self._replay(history)

    def update(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Features of one time stamp.

        Args:
            bars: raw bars, index (symbol, timestamp) with a single time stamp later than all before; columns as for ``transform``.

        Returns:
            One row for each symbol, same index, columns ``feature_names``.

        Raises:
            FeatureInputError: malformed bars, several time stamps, or one that is not later than the last. Nothing is changed then.
        """
        time, symbols, position, raw = self._check(bars)
        self._failed = True
        market = self._take(time, symbols, raw)
        columns = self._evaluate(time, symbols, market)
        self._failed, self._time = False, time
        values = np.empty((len(symbols), len(columns)))
        values[position] = columns.T
        return pd.DataFrame(values, index=bars.index, columns=self._columns)

    def _check(self, bars: pd.DataFrame) -> tuple[int, list[str], IntArray, FloatArray]:
        if self._failed:
            raise FeatureInputError("a stream whose last update succeeded", "one that failed", fix="Build a new stream from history.")
        index, raw = check_frame(bars)
        names, times = index_arrays(index)
        if (times != times[0]).any():
            raise FeatureInputError("bars of one time stamp", f"{len(np.unique(times))} time stamps", fix="Call update once for each.")
        position = np.argsort(names, kind="stable").astype(np.int64)
        raw = raw[position]
        check_values(raw, times, names[position])
        time = int(times[0])
        if time <= self._time:
            last, found = (pd.Timestamp(value, tz="UTC").isoformat() for value in (self._time, time))
            raise FeatureInputError(f"a time stamp after {last}", found, fix="Each time stamp is streamed once, oldest first.")
        return time, [str(name) for name in names[position]], position, raw

    def to_json(self) -> str:
        """All it remembers, with a content hash and the hash of the fitted pipeline it belongs to.

        Raises:
            FeatureInputError: the last update failed, so that the state is not that of any bar.
        """
        if self._failed:
            raise FeatureInputError("a stream whose last update succeeded", "one that failed", fix="Build a new stream from history.")
        content = {
            "format": STREAM_FORMAT,
            "pipeline": self._fitted.content_hash,
            "time": self._time,
            "buffers": {symbol: buffer.save() for symbol, buffer in self._buffers.items()},
            "cursors": {name: cursor.save() for name, cursor in self._cursors.items()},
            "adjuster": self._adjuster.save(),
        }
        return seal(content)

    def restore(self, text: str) -> None:
        """Replace what it remembers by what :meth:`to_json` gave.

        Raises:
            FeatureStateError: not JSON, damaged, of another format, or of a stream of another fitted pipeline.
        """
        saved = unseal(text, STREAM_FORMAT, "stream")
        if saved["pipeline"] != self._fitted.content_hash:
            fix = "Resume with the pipeline it was saved from, or build a new stream from history."
            raise FeatureStateError(f"a stream of the pipeline {self._fitted.content_hash}", f"one of {saved['pipeline']}", fix=fix)
        self._buffers = {symbol: SeriesBuffer(self._fitted.memory_bars) for symbol in saved["buffers"]}
        for symbol, state in saved["buffers"].items():
            self._buffers[symbol].restore(state)
        for name, state in saved["cursors"].items():
            self._cursors[name].restore(state)
        self._adjuster = ForwardAdjuster.restored(saved["adjuster"])
        self._time = int(saved["time"])

    def _take(self, time: int, symbols: list[str], raw: FloatArray) -> float:
        """Adjust and append the bars; the market's return."""
        adjusted = np.empty((len(symbols), 5))
        for row, symbol in enumerate(symbols):
            bar, _ = self._adjuster.update(symbol, dict(zip(COLUMNS, raw[row].tolist(), strict=True)))
            adjusted[row] = [bar[name] for name in COLUMNS[:5]]
        day, minute = (float(part[0]) for part in new_york(np.array([time], dtype=np.int64)))
        log_prices = logs(np.ascontiguousarray(adjusted[:, :4]).ravel()).reshape(-1, 4)
        for row, symbol in enumerate(symbols):
            if symbol not in self._buffers:
                self._buffers[symbol] = SeriesBuffer(self._fitted.memory_bars)
            self._buffers[symbol].append(np.array([*log_prices[row], adjusted[row, 3], adjusted[row, 4], np.nan, np.nan, day, minute]))
        returns = np.array([self._buffers[symbol].last_return for symbol in symbols])
        market = float(group_means(returns, *_one_group(len(symbols)))[0])
        for symbol in symbols:
            self._buffers[symbol].set_market(market)
        return market

    def _evaluate(self, time: int, symbols: list[str], market: float) -> FloatArray:
        """Array (columns, symbols)."""
        columns = np.full((len(self._columns), len(symbols)), np.nan)
        tick = _Tick(time, market, symbols, [self._buffers[symbol] for symbol in symbols])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for at, evaluate, reads in self._plan:
                if reads:
                    _blank(columns)
                evaluate(columns, at, tick)
        _blank(columns)
        return columns

    def _evaluator(self, name: str, feature: Feature) -> Evaluate:
        """How to get the feature's values at a time stamp; settled once, not at every bar."""
        state = self._fitted.states.get(name)
        if isinstance(feature, SymbolFeature):
            return _symbol_values(feature, state)
        if isinstance(feature, ColumnFeature):
            source = self._row[feature.inputs[0]]
            return _column_values(feature, source, state)
        if isinstance(feature, CrossSectionFeature):
            source = self._row[feature.inputs[0]]
            return _rows(lambda columns, tick: feature.compute(columns[source], *_one_group(len(tick.symbols))))
        if isinstance(feature, MarketFeature):
            return _rows(lambda columns, tick: self._cursors[name].update(tick.time, tick.market)[:, None])
        if isinstance(feature, ClockFeature):
            return _rows(lambda columns, tick: feature.compute(np.array([tick.time], dtype=np.int64)))
        raise TypeError(f"{type(feature).__name__} has none of the five feature shapes of features.base")

    def _replay(self, history: pd.DataFrame) -> None:
        table = Table.of(history)
        raw = check_frame(history)[1]
        for at, (symbol, series) in enumerate(table.items()):
            self._buffers[symbol] = SeriesBuffer(self._fitted.memory_bars)
            self._buffers[symbol].load(series)
            rows = raw[table.bounds[at] : table.bounds[at + 1]]
            for row in _telling_rows(rows):
                self._adjuster.update(symbol, dict(zip(COLUMNS, rows[row].tolist(), strict=True)))
        for time, value in zip(table.group_times.tolist(), table.market.tolist(), strict=True):
            for cursor in self._cursors.values():
                cursor.update(time, value)
        self._time = int(table.group_times[-1])


def _telling_rows(rows: FloatArray) -> list[int]:
    """Rows that leave a trace in the adjuster: the first, the last, each with an action and the one before it (its close is used)."""
    acts = np.flatnonzero((rows[:, COLUMNS.index("split")] != 1.0) | (rows[:, COLUMNS.index("dividend")] != 0.0))
    told = np.unique(np.concatenate([[0, len(rows) - 1], acts, np.maximum(acts - 1, 0)]))
    return [int(row) for row in told]


def _one_group(size: int) -> tuple[IntArray, IntArray]:
    return np.arange(size, dtype=np.int64), np.array([0, size], dtype=np.int64)
