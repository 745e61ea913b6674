"""The embedded sample: five real US stocks, daily, 2000-03-01 to 2013-03-01, from the extra ``sample`` (bokeh_sampledata >= 2026.1).

Raw prices as traded (Quandl WIKI, public domain); splits and dividends are derived from its adjusted closes. Bars are never repaired:
rows on days without an XNYS session are dropped and counted in ``describe()``, anything else unusable is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.market.bars import between, check_bars, check_columns, to_bars
from alphatrade_pipelines.market.corporate_actions import derive_actions
from alphatrade_pipelines.market.errors import BarDataError, check_symbols
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.sources.base import Bound
from alphatrade_pipelines.market.timeframe import Timeframe

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
_DAILY = Timeframe.parse("1Day")


class SampleSource:
    """AAPL, FB, GOOG, IBM, MSFT. Holds the 2:1 splits of AAPL (2000-06-21, 2005-02-28) and MSFT (2003-02-18) and 90 dividends or so."""

    name = "sample"
    synthetic = False
    timeframe = _DAILY
    symbols = SYMBOLS

    def fetch(self, symbols: Sequence[str] | None = None, start: Bound = None, end: Bound = None) -> pd.DataFrame:
        """Raw daily bars with derived splits and dividends; see :class:`BarSource`."""
        bars, _ = _load()
        wanted = sorted(set(symbols if symbols is not None else SYMBOLS))
        check_symbols(wanted, SYMBOLS, where="the sample")
        chosen = bars.loc[bars.index.isin(wanted, level="symbol")]
        return between(chosen, start, end).copy()

    def adjusted_close(self) -> pd.Series:
        """The vendor's own adjusted closes on the same index: the yardstick for our adjustment."""
        return _load()[1].copy()

    def describe(self) -> dict[str, Any]:
        """Facts for people: span, rows, what was dropped, corporate actions found."""
        bars, adjusted = _load()
        stamps = bars.index.get_level_values("timestamp")
        return {
            "source": self.name,
            "synthetic": False,
            "timeframe": str(self.timeframe),
            "symbols": list(SYMBOLS),
            "rows": len(bars),
            "first": stamps.min().isoformat(),
            "last": stamps.max().isoformat(),
            "splits": int((bars["split"] != 1.0).sum()),
            "dividends": int((bars["dividend"] > 0).sum()),
            "rows_off_session_dropped": int(adjusted.attrs["off_session"]),
            "rows_repaired": 0,
            "origin": "bokeh_sampledata (Quandl WIKI, public domain)",
        }


@cache
def _load() -> tuple[pd.DataFrame, pd.Series]:
    """Bars and adjusted closes, both indexed (symbol, timestamp). The caller copies."""
    try:
        from bokeh_sampledata.stocks import data
    except ImportError as error:
        fix = "Install it with: pip install 'alphatrade[sample]'"
        raise BarDataError("the package bokeh_sampledata >= 2026.1", f"{error}", where="the sample", fix=fix) from error
    frame = data.rename(columns={"ticker": "symbol"}).sort_values(["symbol", "date"], ignore_index=True)
    check_columns(frame.columns, ("symbol", "date", "open", "high", "low", "close", "volume", "adj_close"), where="the sample")
    opens, found = SessionCalendar().opens_of(pd.DatetimeIndex(frame["date"]))
    flat = frame.assign(timestamp=opens)[found].reset_index(drop=True)
    actions = [
        derive_actions(part["close"].to_numpy(), part["adj_close"].to_numpy(), where=f"the sample, {symbol}")
        for symbol, part in flat.groupby("symbol", sort=True)
    ]
    flat["split"], flat["dividend"] = (np.concatenate([pair[which] for pair in actions]) for which in (0, 1))
    bars = to_bars(flat)
    check_bars(bars, _DAILY, where="the sample")
    adjusted = pd.Series(flat["adj_close"].to_numpy(), index=bars.index, name="adjusted_close")
    adjusted.attrs["off_session"] = int((~found).sum())
    return bars, adjusted
