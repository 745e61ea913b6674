"""From whatever a file calls a time to the UTC start of the bar."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.errors import BarDataError
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe

_UNIX_UNITS: dict[str, Literal["s", "ms", "us", "ns"]] = {"s": "s", "ms": "ms", "us": "us", "ns": "ns"}


def start_stamps(
    flat: pd.DataFrame,
    timeframe: Timeframe,
    stamp: Literal["start", "end"],
    timezone: str | None,
    time_format: str | None,
    lines: npt.NDArray[np.int64],
    where: str,
) -> pd.DatetimeIndex:
    """UTC bar starts of ``flat`` (columns symbol, timestamp; grouped by symbol), shape (len(flat),).

    Daily: the date names the session (the date as written for bare dates and for midnight UTC, else the New York date) and becomes its
    open; a date without a session becomes midnight UTC of that date, which the session check then refuses or drops. Intraday end
    stamps: start = end - timeframe, but not before the previous bar's end, so that a short last bar starts where it should.

    Raises:
        BarDataError: unreadable stamps; naive ones without ``timezone``; local times that daylight saving skips or repeats.
    """
    parsed = _parse(flat["timestamp"], time_format, lines, where)
    if timeframe.is_daily:
        return _session_opens(parsed, timezone, where)
    aware = _localize(parsed, timezone, where)
    if stamp == "start":
        return aware
    starts = (aware - timeframe.duration).as_unit("ns")
    same_symbol = np.r_[False, (flat["symbol"].to_numpy()[1:] == flat["symbol"].to_numpy()[:-1])]
    previous_end = pd.DatetimeIndex(aware[:1].append(aware[:-1]))
    late = same_symbol & np.asarray(previous_end > starts) & np.asarray(previous_end < aware)
    return pd.DatetimeIndex(np.where(late, previous_end.asi8, starts.asi8)).tz_localize("UTC")


def _parse(values: pd.Series, time_format: str | None, lines: npt.NDArray[np.int64], where: str) -> pd.DatetimeIndex:
    if values.isna().any():
        raise BarDataError("a time stamp in each row", "an empty one", where=f"{where}, line {lines[int(np.argmax(values.isna()))]}")
    if time_format is not None and time_format in _UNIX_UNITS:
        return pd.DatetimeIndex(pd.to_datetime(pd.to_numeric(values), unit=_UNIX_UNITS[time_format], utc=True)).as_unit("ns")
    if pd.api.types.is_datetime64_any_dtype(values):
        return pd.DatetimeIndex(values).as_unit("ns")
    if pd.api.types.is_numeric_dtype(values) and time_format is None:
        fix = "Set `timestamp_format` to a strptime format such as %Y%m%d, or to s, ms, us or ns for Unix time."
        raise BarDataError("time stamps", f"the number {values.iloc[0]}", where=f"{where}, line {lines[0]}", fix=fix)
    text = values.astype("str").str.strip()
    how = time_format or "ISO8601"
    offsets = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True) if time_format is None else pd.Series([time_format.endswith("%z")])
    parsed = pd.to_datetime(text, format=how, errors="coerce", utc=bool(offsets.any()))
    bad = parsed.isna()
    if bad.any() or (time_format is None and offsets.any() and not offsets.all()):
        at = int(np.argmax(bad if bad.any() else ~offsets))
        found = repr(text.iloc[at])
        fix = "Set `timestamp_format`, or map the right column." if bad.any() else "Some rows have a zone and this one has none."
        raise BarDataError(f"a time stamp ({time_format or 'ISO 8601'})", found, where=f"{where}, line {lines[at]}", fix=fix)
    return pd.DatetimeIndex(parsed).as_unit("ns")


def _localize(stamps: pd.DatetimeIndex, timezone: str | None, where: str) -> pd.DatetimeIndex:
    if stamps.tz is not None:
        return stamps.tz_convert("UTC")
    if timezone is None:
        fix = "Set `timezone`, for example America/New_York."
        raise BarDataError("a zone for naive time stamps", f"{stamps[0]} and no `timezone` configured", where=where, fix=fix)
    try:
        return stamps.tz_localize(timezone).tz_convert("UTC")
    except (ValueError, KeyError, TypeError) as error:  # skipped or repeated hour, or an unknown zone
        raise BarDataError(f"time stamps that exist once in {timezone}", str(error), where=where) from error


def _session_opens(stamps: pd.DatetimeIndex, timezone: str | None, where: str) -> pd.DatetimeIndex:
    midnight = bool((stamps == stamps.normalize()).all())
    if stamps.tz is None and midnight:
        dates = stamps
    elif stamps.tz is not None and midnight and str(stamps.tz) == "UTC":
        dates = stamps.tz_localize(None)
    else:
        dates = _localize(stamps, timezone, where).tz_convert("America/New_York").tz_localize(None).normalize()
    opens, found = SessionCalendar().opens_of(dates)
    return pd.DatetimeIndex(np.where(found, opens.asi8, dates.as_unit("ns").asi8)).tz_localize("UTC")
