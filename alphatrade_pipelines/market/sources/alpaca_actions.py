"""Alpaca's corporate actions, joined onto bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.market.errors import BarDataError
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe

_KINDS = ("forward_splits", "reverse_splits", "stock_dividends", "cash_dividends")


def actions_by_symbol(raw: Mapping[str, Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """One row a symbol and ex-date: ``split`` (product of the day's splits and stock dividends) and ``dividend`` (sum of cash)."""
    rows = []
    for kind in _KINDS:
        for item in raw.get(kind) or []:
            try:
                split, dividend = _terms(kind, item)
                rows.append((str(item["symbol"]), pd.Timestamp(str(item["ex_date"])), split, dividend))
            except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
                raise BarDataError(f"a complete entry of {kind}", f"{dict(item)} ({error!r})", where="alpaca corporate actions") from error
    frame = pd.DataFrame(rows, columns=["symbol", "ex_date", "split", "dividend"])
    return frame.groupby(["symbol", "ex_date"]).agg({"split": "prod", "dividend": "sum"})


def put_on_bars(
    bars: pd.DataFrame, actions: pd.DataFrame, begin: pd.Timestamp, timeframe: Timeframe, calendar: SessionCalendar
) -> pd.DataFrame:
    """Bars with the actions on the first bar of the ex-date, or the next bar there is (a halted ex-date loses nothing).

    An action whose own bar starts before ``begin``, the start of the fetch, stands on a bar fetched earlier and is left out.
    """
    if actions.empty or bars.empty:
        return bars
    split, dividend = (bars[name].to_numpy(copy=True) for name in ("split", "dividend"))
    symbols = np.asarray(bars.index.get_level_values("symbol"))
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    for symbol, ex_date, new_shares, cash in actions.reset_index().itertuples(index=False):
        midnight = pd.Timestamp(ex_date).tz_localize("America/New_York")
        if _first_bar(midnight, timeframe, calendar) < begin:
            continue
        rows = np.flatnonzero(symbols == symbol)
        place = int(stamps[rows].searchsorted(midnight.tz_convert("UTC")))
        if place < len(rows):
            split[rows[place]] *= new_shares
            dividend[rows[place]] += cash
    return bars.assign(split=split, dividend=dividend)


def _first_bar(midnight: pd.Timestamp, timeframe: Timeframe, calendar: SessionCalendar) -> pd.Timestamp:
    """Start of the first bar of the session at or after a New York midnight; intraday bars lie on the clock's grid."""
    opens = pd.Timestamp(calendar.next_open(midnight))
    if timeframe.is_daily:
        return opens
    since = opens - opens.tz_convert("America/New_York").normalize()
    return opens - since % timeframe.duration


def _terms(kind: str, item: Mapping[str, Any]) -> tuple[float, float]:
    if kind == "cash_dividends":
        return 1.0, float(item["rate"])
    if kind == "stock_dividends":  # rate = new shares for each share held
        return 1.0 + float(item["rate"]), 0.0
    return float(item["new_rate"]) / float(item["old_rate"]), 0.0
