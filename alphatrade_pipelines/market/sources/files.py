"""Bars from CSV or Parquet files whose conventions the user states: layout, columns, zone, time-stamp convention, price unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.bars import OPTIONAL, PRICES, between, check_bars, symbols_of, to_bars
from alphatrade_pipelines.market.errors import BarDataError, check_symbols
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.sources.base import Bound
from alphatrade_pipelines.market.sources.read import SUFFIXES, read_table, suffix_of
from alphatrade_pipelines.market.sources.stamps import start_stamps
from alphatrade_pipelines.market.timeframe import Timeframe

Layout = Literal["symbol_column", "file_per_symbol"]


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """How the user's files are to be read. Nothing is guessed.

    Attributes:
        path: one file, or a directory of ``.csv .csv.gz .zip .parquet`` files.
        timeframe: length of a bar.
        layout: ``symbol_column`` (long files with a symbol column) or ``file_per_symbol`` (the file's name is the symbol).
        columns: our name -> the file's name, for those that differ: ``{"timestamp": "Date", "open": "o"}``.
        header: column names of CSV files that have no header line.
        stamp: what an intraday time stamp marks, the ``start`` or the ``end`` of its bar. Of a daily stamp only the date is used.
        timezone: zone of naive time stamps, such as ``America/New_York``. Bare session dates of daily bars need none.
        timestamp_format: ``strptime`` format, or ``s``, ``ms``, ``us``, ``ns`` for Unix time; None reads ISO 8601.
        price_scale: file price units in a dollar: 10000 for the integers of LEAN.
        off_session: ``refuse`` rows outside XNYS sessions, or ``drop`` and count them.
        name: name of this data set in the store, reports and lineage.
    """

    path: Path
    timeframe: Timeframe
    layout: Layout
    columns: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] | None = None
    stamp: Literal["start", "end"] = "start"
    timezone: str | None = None
    timestamp_format: str | None = None
    price_scale: float = 1.0
    off_session: Literal["refuse", "drop"] = "refuse"
    name: str = "files"


class FilesSource:
    """Reads all files once, on first use; every error names the file and the line."""

    synthetic = False

    def __init__(self, config: FilesConfig) -> None:
        known = {"symbol", "timestamp", *PRICES, "volume", "split", "dividend", *OPTIONAL}
        for name in config.columns:
            if name not in known:
                raise BarDataError(f"`columns` to map some of {', '.join(sorted(known))}", repr(name), where="FilesConfig")
        if config.price_scale <= 0:
            raise BarDataError("a positive `price_scale`", str(config.price_scale), where="FilesConfig")
        self.config = config

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def timeframe(self) -> Timeframe:
        return self.config.timeframe

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(symbols_of(self._loaded[0]))

    def fetch(self, symbols: Sequence[str] | None = None, start: Bound = None, end: Bound = None) -> pd.DataFrame:
        """Bars of the files; see :class:`BarSource`."""
        bars, _ = self._loaded
        if symbols is not None:
            check_symbols(symbols, self.symbols, where=str(self.config.path))
            bars = bars.loc[bars.index.isin(list(symbols), level="symbol")]
        return between(bars, start, end).copy()

    def describe(self) -> dict[str, Any]:
        """Facts for people: files, span, rows, rows dropped, and the conventions they were read with."""
        bars, dropped = self._loaded
        stamps = bars.index.get_level_values("timestamp")
        return {
            "source": self.name,
            "synthetic": False,
            "timeframe": str(self.timeframe),
            "symbols": list(self.symbols),
            "rows": len(bars),
            "first": stamps.min().isoformat(),
            "last": stamps.max().isoformat(),
            "files": len(self._files()),
            "path": str(self.config.path),
            "layout": self.config.layout,
            "stamp": self.config.stamp,
            "timezone": self.config.timezone,
            "rows_off_session_dropped": dropped,
            "rows_repaired": 0,
        }

    @cached_property
    def _loaded(self) -> tuple[pd.DataFrame, int]:
        parts = [self._load(path) for path in self._files()]
        bars = pd.concat([part for part, _ in parts])
        where = str(self.config.path)
        if len(parts) > 1:
            # one symbol may continue from file to file; within a file the order has been checked
            bars = bars.sort_index(level="symbol", sort_remaining=False, kind="stable")
            check_bars(bars, self.timeframe, where=where)
        return bars, sum(dropped for _, dropped in parts)

    def _files(self) -> list[Path]:
        path = Path(self.config.path)
        if not path.exists():
            raise BarDataError("a file or directory", "nothing", where=str(path), fix="Check `path`.")
        files = sorted(p for p in path.iterdir() if suffix_of(p)) if path.is_dir() else [path]
        if not files or not all(suffix_of(file) for file in files):
            raise BarDataError(f"files ending in {' '.join(SUFFIXES)}", "none" if path.is_dir() else path.name, where=str(path))
        return files

    def _load(self, path: Path) -> tuple[pd.DataFrame, int]:
        """One file: canonical, checked bars and the number of rows dropped."""
        config, where = self.config, str(path)
        has_symbol = config.layout == "symbol_column"
        flat, first_line = read_table(path, config.columns, config.header, has_symbol=has_symbol)
        if not has_symbol:
            flat["symbol"] = path.name.removesuffix(suffix_of(path)).upper()
        lines = np.arange(len(flat), dtype=np.int64) + first_line
        order = np.argsort(flat["symbol"].to_numpy(dtype=object), kind="stable")  # long files are often sorted by time first
        flat, lines = flat.iloc[order].reset_index(drop=True), lines[order]
        flat["timestamp"] = start_stamps(flat, config.timeframe, config.stamp, config.timezone, config.timestamp_format, lines, where)
        flat, lines, dropped = self._drop_off_session(flat, lines)
        if config.price_scale != 1.0:
            priced = [name for name in (*PRICES, "vwap", "dividend") if name in flat]
            flat[priced] = flat[priced] / config.price_scale
        bars = to_bars(flat)
        check_bars(bars, config.timeframe, where=where, lines=lines)
        return bars, dropped

    def _drop_off_session(self, flat: pd.DataFrame, lines: npt.NDArray[np.int64]) -> tuple[pd.DataFrame, npt.NDArray[np.int64], int]:
        if self.config.off_session == "refuse":
            return flat, lines, 0
        keep = SessionCalendar().in_session(pd.DatetimeIndex(flat["timestamp"]), self.timeframe)
        return flat[keep].reset_index(drop=True), lines[keep], int((~keep).sum())
