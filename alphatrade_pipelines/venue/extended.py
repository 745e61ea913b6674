"""Invented bars for the hours before and after the sessions of any intraday bars, where nothing recorded them: thin and quiet.

After-hours bars wander away from the close. The first pre-market price jumps from the last one (restated for a split), and from there
bars lead to the open on a Brownian bridge. The jump is what is left of an overnight move of usual size when the bridge has had its share:
if the whole move were walked, whoever follows it would know the open. Synthetic, also around real sessions: say so wherever they are shown.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market import SessionCalendar, Timeframe

FloatArray = npt.NDArray[np.float64]
_PRE_MARKET, _AFTER_HOURS = pd.Timedelta(minutes=330), pd.Timedelta(hours=4)
_DAILY_VOLATILITY, _CALM, _THIN = 0.02, 0.3, 0.01  # out of hours: 0.3 of the session's volatility, 1 % of its volume


def with_extended_hours(bars: pd.DataFrame, timeframe: Timeframe | str, seed: int = 0) -> pd.DataFrame:
    """``bars`` (regular intraday bars of ``market``) and between them bars from 4:00 to the open and in the four hours after the close.

    Raises:
        ValueError: daily bars.
    """
    frame = Timeframe.parse(timeframe)
    if frame.is_daily:
        raise ValueError("expected intraday bars, found daily ones: a day has no hours before its open")
    parts = [bars]
    for symbol, own in bars.groupby(level=0):
        rng = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(str(symbol).encode())]))
        parts.append(_nights(str(symbol), own.droplevel(0).sort_index(), frame, rng))
    made = pd.concat(parts).sort_index()
    for name, value in (("split", 1.0), ("dividend", 0.0)):
        if name in made.columns:
            made[name] = made[name].fillna(value)
    return made


def _nights(symbol: str, bars: pd.DataFrame, frame: Timeframe, rng: np.random.Generator) -> pd.DataFrame:
    starts = pd.DatetimeIndex(bars.index)
    sessions = SessionCalendar().sessions(starts[0], starts[-1])
    deviation = _CALM * _DAILY_VOLATILITY / np.sqrt(frame.bars_per_session)
    volume = _THIN * float(bars["volume"].mean())
    walked = deviation**2 * (_PRE_MARKET.total_seconds() / frame.duration.total_seconds())  # variance of the bridge
    night = max(_overnight_variance(bars, starts), walked)
    found, last = [], np.nan
    for open_, close in zip(sessions["open"], sessions["close"], strict=True):
        inside = bars[(starts + frame.duration > open_) & (starts < close)]
        if inside.empty:
            continue
        first, final = float(inside["open"].iloc[0]), float(inside["close"].iloc[-1])
        split = float(inside["split"].iloc[0]) if "split" in inside.columns else 1.0
        before = pd.date_range(open_ - _PRE_MARKET, open_ - frame.duration, freq=frame.duration)
        begin = first if np.isnan(last) else _first_price(last / split, first, walked, night, rng)
        found.append(_made(symbol, before, _bridge(begin, first, len(before), deviation, rng), volume, rng))
        after = pd.date_range(close, close + _AFTER_HOURS - frame.duration, freq=frame.duration)
        path = final * np.exp(np.concatenate([[0.0], np.cumsum(deviation * rng.standard_normal(len(after)))]))
        found.append(_made(symbol, after, path, volume, rng))
        last = float(path[-1])
    return pd.concat(found)


def _overnight_variance(bars: pd.DataFrame, starts: pd.DatetimeIndex) -> float:
    """Mean square of the log moves from one session's close to the next one's open, across splits."""
    new_day = np.r_[False, starts.normalize()[1:] != starts.normalize()[:-1]]
    split = bars["split"] if "split" in bars.columns else 1.0
    moves = np.log(bars["open"] * split / bars["close"].shift())[new_day]
    return float((moves**2).mean()) if len(moves) else 0.0


def _first_price(last: float, open_: float, walked: float, night: float, rng: np.random.Generator) -> float:
    """Where a Brownian motion of variance ``night`` from ``last`` to ``open_`` is when only ``walked`` of its variance is left."""
    left = walked / night
    return last * float(np.exp((1.0 - left) * np.log(open_ / last) + np.sqrt(walked * (1.0 - left)) * rng.standard_normal()))


def _bridge(begin: float, end: float, steps: int, deviation: float, rng: np.random.Generator) -> FloatArray:
    """``steps`` + 1 prices from ``begin`` to ``end``."""
    walk = np.concatenate([[0.0], np.cumsum(deviation * rng.standard_normal(steps))])
    part = np.arange(steps + 1) / max(steps, 1)
    return np.asarray(np.exp(np.log(begin) + walk + part * (np.log(end) - np.log(begin) - walk[-1])), dtype=np.float64)


def _made(symbol: str, starts: pd.DatetimeIndex, path: FloatArray, volume: float, rng: np.random.Generator) -> pd.DataFrame:
    """One bar a start, from point to point of ``path``."""
    path = np.maximum(np.round(path, 2), 0.01)
    index = pd.MultiIndex.from_product([[symbol], starts], names=["symbol", "timestamp"])
    sizes = np.maximum(np.round(volume * np.exp(0.4 * rng.standard_normal(len(starts)) - 0.08)), 1.0)
    low, high = np.minimum(path[:-1], path[1:]), np.maximum(path[:-1], path[1:])
    return pd.DataFrame({"open": path[:-1], "high": high, "low": low, "close": path[1:], "volume": sizes}, index=index)
