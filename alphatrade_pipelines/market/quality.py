"""Plain figures about bars, one row a symbol, for an asset's metadata or a person's eye. Nothing is judged here."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alphatrade_pipelines.market.adjustment import adjust_forward
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe


def quality_report(bars: pd.DataFrame, timeframe: Timeframe, calendar: SessionCalendar | None = None) -> pd.DataFrame:
    """Quality figures of checked bars, index symbol.

    Columns: ``rows``; ``first`` and ``last`` bar start; ``missing_sessions`` (XNYS sessions between them without any bar);
    ``missing_bars`` (bars those with one lack; always 0 for daily bars; thinly traded minutes have none); ``zero_volume``; ``flat`` (open =
    high = low = close); ``unchanged`` (close equal to the previous one); ``max_abs_return`` and ``max_return_at`` (adjusted for splits and
    dividends, fraction); ``median_abs_return``; ``splits``; ``dividends``.
    """
    returns = adjust_forward(bars)["close"].groupby(level="symbol").pct_change()
    rows = {
        str(symbol): _figures(group, returns.loc[group.index], timeframe, calendar or SessionCalendar())
        for symbol, group in bars.groupby(level="symbol", sort=True)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("symbol")


def _figures(group: pd.DataFrame, returns: pd.Series, timeframe: Timeframe, calendar: SessionCalendar) -> dict[str, object]:
    stamps = pd.DatetimeIndex(group.index.get_level_values("timestamp"))
    sessions = calendar.sessions(stamps[0], stamps[-1])
    days = stamps.tz_convert("America/New_York").tz_localize(None).normalize()
    present = sessions[sessions.index.isin(days.unique())]
    expected = (
        1.0 if timeframe.is_daily else np.ceil((present["close"] - present["open"]).dt.total_seconds() / timeframe.duration.total_seconds())
    )
    per_day = days.value_counts().reindex(present.index, fill_value=0)
    size = returns.abs()
    biggest = stamps[int(np.nanargmax(size.to_numpy()))] if size.notna().any() else pd.NaT
    return {
        "rows": len(group),
        "first": stamps[0],
        "last": stamps[-1],
        "missing_sessions": len(sessions) - len(present),
        "missing_bars": int(np.clip(expected - per_day, 0, None).sum()),
        "zero_volume": int((group["volume"] == 0).sum()),
        "flat": int((group["high"] == group["low"]).sum()),
        "unchanged": int((returns == 0).sum()),
        "max_abs_return": float(size.max()),
        "max_return_at": biggest,
        "median_abs_return": float(size.median()),
        "splits": int((group["split"] != 1.0).sum()),
        "dividends": int((group["dividend"] > 0).sum()),
    }
