"""Split and dividend adjustment: as of a date (backward) and from the first bar on (forward).

Both come from one per-bar step. On an ex-date bar, one share of the evening before becomes ``split`` shares, and its ``dividend`` is
reinvested at the previous close (known before the open, so nothing of the bar itself is used): step = split * c / (c - dividend), c =
previous close. The forward factor is the running product of the steps since the first bar; the backward factor as of a date divides it by
its value on that date. Data vendors (Quandl WIKI, Alpha Vantage) reinvest at the ex-date's close instead, step = split + dividend /
close; ``reinvest="ex_close"`` reproduces them, for checking against their adjusted closes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.bars import PRICES
from alphatrade_pipelines.market.errors import BarDataError

Reinvest = Literal["previous_close", "ex_close"]
FloatArray = npt.NDArray[np.float64]


def adjust(bars: pd.DataFrame, as_of: date | datetime | str, dividends: bool = True, reinvest: Reinvest = "previous_close") -> pd.DataFrame:
    """Backward-adjusted bars as somebody saw them at ``as_of``: the last prices are raw, earlier ones are scaled to compare with them.

    Only splits and dividends up to ``as_of`` are used, and later bars are left out. A bare date includes that New York day. In the result
    ``split`` is 1 and ``dividend`` 0 (they are in the prices); volume is scaled by splits only. With ``dividends=False`` prices are
    scaled by splits only and ``dividend`` is restated per share as of ``as_of``.
    """
    stamps = bars.index.get_level_values("timestamp")
    known = bars[np.asarray(stamps <= _inclusive(as_of))]
    total, splits = _factors(known, reinvest)
    factor = total if dividends else splits
    last = known.index.get_level_values("symbol").duplicated(keep="last")
    by_symbol = known.index.get_level_values("symbol")[~last]
    position = pd.Index(by_symbol).get_indexer(known.index.get_level_values("symbol"))
    result = _scaled(known, factor / factor[~last][position], splits / splits[~last][position])
    if not dividends:
        # a dividend is per share of the evening before: the splits up to then, the day's own not included
        first = ~np.asarray(known.index.get_level_values("symbol").duplicated())
        evening = splits / np.where(first, 1.0, known["split"].to_numpy())
        result["dividend"] = known["dividend"].to_numpy() * evening / splits[~last][position]
    return result


def adjust_forward(bars: pd.DataFrame) -> pd.DataFrame:
    """Total-return bars from the first bar of each symbol on: adjusted = raw * forward factor, volume divided by the splits.

    Uses the past only: bars cut at t give the same rows up to t, to the last bit. This is what features and labels are computed on.
    """
    return _scaled(bars, *_factors(bars, "previous_close"))


def forward_factors(bars: pd.DataFrame) -> pd.Series:
    """The factor of :func:`adjust_forward` for each bar (1.0 until a symbol's first split or dividend)."""
    return pd.Series(_factors(bars, "previous_close")[0], index=bars.index, name="factor")


class ForwardAdjuster:
    """:func:`adjust_forward` one bar at a time, to the same bits. Feed it every bar of a symbol, oldest first."""

    def __init__(self) -> None:
        self._previous: dict[str, float] = {}
        self._total: dict[str, float] = {}
        self._splits: dict[str, float] = {}

    def save(self) -> dict[str, dict[str, float]]:
        """What it remembers, as JSON: previous raw close, total factor and split factor by symbol."""
        return {"previous": dict(self._previous), "total": dict(self._total), "splits": dict(self._splits)}

    @classmethod
    def restored(cls, saved: Mapping[str, Mapping[str, float]]) -> ForwardAdjuster:
        """Inverse of :meth:`save`."""
        adjuster = cls()
        adjuster._previous, adjuster._total, adjuster._splits = (dict(saved[name]) for name in ("previous", "total", "splits"))
        return adjuster

    def update(self, symbol: str, bar: Mapping[str, float]) -> tuple[dict[str, float], float]:
        """The adjusted bar and its factor. ``bar`` needs open, high, low, close, volume, split, dividend (raw)."""
        previous = self._previous.get(symbol)
        if previous is None:
            total = splits = 1.0
        else:
            split, dividend = float(bar["split"]), float(bar["dividend"])
            _check_dividend(dividend, previous, symbol)
            total = self._total[symbol] * (split * (previous / (previous - dividend)))
            splits = self._splits[symbol] * split
        self._previous[symbol], self._total[symbol], self._splits[symbol] = float(bar["close"]), total, splits
        adjusted = {name: float(bar[name]) for name in bar.keys()}  # noqa: SIM118 - a pandas row iterates over values
        for name in (*PRICES, "vwap"):
            if name in adjusted:
                adjusted[name] = adjusted[name] * total
        adjusted["volume"] = adjusted["volume"] / splits
        return adjusted | {"split": 1.0, "dividend": 0.0}, total


def _check_dividend(dividend: float, previous: float, symbol: str) -> None:
    if dividend >= previous:
        raise BarDataError(
            "a dividend below the previous close", f"dividend {dividend:g} on a close of {previous:g}", where=symbol, fix="Check its unit."
        )


def _factors(bars: pd.DataFrame, reinvest: Reinvest) -> tuple[FloatArray, FloatArray]:
    """Running products (total, splits only) per symbol; the first bar of a symbol is 1 whatever stands on it."""
    symbols = bars.index.get_level_values("symbol")
    close, split, dividend = (bars[name].to_numpy(dtype=np.float64) for name in ("close", "split", "dividend"))
    first = ~np.asarray(symbols.duplicated())
    previous = np.where(first, np.nan, np.roll(close, 1))
    too_big = ~first & (dividend >= previous)
    if too_big.any():
        at = int(np.argmax(too_big))
        _check_dividend(float(dividend[at]), float(previous[at]), f"{symbols[at]} at {bars.index[at][1].isoformat()}")
    step = split * (previous / (previous - dividend)) if reinvest == "previous_close" else split + dividend / close
    step, only = np.where(first, 1.0, step), np.where(first, 1.0, split)
    starts = np.append(np.flatnonzero(first), len(bars))
    total, splits = np.ones(len(bars)), np.ones(len(bars))
    for low, high in pairwise(starts):
        # cumprod multiplies strictly from left to right, as the stream does: hence equal bits
        total[low:high], splits[low:high] = np.cumprod(step[low:high]), np.cumprod(only[low:high])
    return total, splits


def _scaled(bars: pd.DataFrame, factor: FloatArray, splits: FloatArray) -> pd.DataFrame:
    result = bars.copy()
    for name in (*PRICES, "vwap"):
        if name in result:
            result[name] = result[name].to_numpy() * factor
    result["volume"] = result["volume"].to_numpy() / splits
    result["split"], result["dividend"] = 1.0, 0.0
    return result


def _inclusive(as_of: date | datetime | str) -> pd.Timestamp:
    stamp = pd.Timestamp(as_of)
    if stamp.tzinfo is not None:
        return stamp.tz_convert("UTC")
    if stamp != stamp.normalize():
        raise BarDataError("an aware time stamp or a bare date", f"the naive {as_of}", fix="Attach its time zone.")
    return (stamp + pd.Timedelta(hours=23, minutes=59)).tz_localize("America/New_York").tz_convert("UTC")
