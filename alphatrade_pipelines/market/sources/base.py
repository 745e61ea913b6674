"""The port every bar source implements, and ingestion into a store through it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from alphatrade_pipelines.market.bars import as_utc
from alphatrade_pipelines.market.errors import BarDataError
from alphatrade_pipelines.market.store import BarStore, WriteResult
from alphatrade_pipelines.market.timeframe import Timeframe

Bound = date | datetime | str | None


@runtime_checkable
class BarSource(Protocol):
    """Supplies checked, raw, canonical bars.

    ``fetch`` returns bars starting in [start, end) (a bare date is midnight in New York, None is unbounded) and raises
    ``BarDataError`` for an unknown symbol or unusable bars. ``synthetic`` sources are labelled as such everywhere.
    """

    @property
    def name(self) -> str: ...

    @property
    def synthetic(self) -> bool: ...

    @property
    def timeframe(self) -> Timeframe: ...

    @property
    def symbols(self) -> tuple[str, ...]: ...

    def fetch(self, symbols: Sequence[str] | None = None, start: Bound = None, end: Bound = None) -> pd.DataFrame: ...

    def describe(self) -> dict[str, Any]: ...


def ingest(store: BarStore, source: BarSource, symbols: Sequence[str] | None = None, start: Bound = None, end: Bound = None) -> WriteResult:
    """Bring ``store`` up to date: ask ``source`` only for what lies after each symbol's last stored bar.

    Symbols not stored yet are fetched from ``start``. Idempotent. Nothing is written unless everything arrived.

    Raises:
        BarDataError: a symbol that is neither stored nor supplied; bars that conflict with stored ones or fail the check.
    """
    wanted = tuple(symbols) if symbols is not None else source.symbols
    last = store.last_bars()
    by_start: dict[pd.Timestamp | None, list[str]] = {}
    for symbol in wanted:
        begin = as_utc(last[symbol]) + timedelta(microseconds=1) if symbol in last else (None if start is None else as_utc(start))
        by_start.setdefault(begin, []).append(symbol)
    frames = [source.fetch(group, begin, end) for begin, group in by_start.items() if begin is None or end is None or begin < as_utc(end)]
    fresh = [frame for frame in frames if not frame.empty]
    arrived = {symbol for frame in fresh for symbol in frame.index.get_level_values("symbol").unique()}
    for symbol in wanted:
        if symbol not in last and symbol not in arrived:
            raise BarDataError(
                f"bars of {symbol} between {start} and {end}", "none", where=source.name, fix="Check the symbol and the dates."
            )
    if not fresh:
        return WriteResult(0, 0, 0, store.data_hash())
    return store.append(pd.concat(fresh).sort_index(), source.timeframe, source.name, source.synthetic)
