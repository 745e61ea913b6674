"""How each symbol trades, known at each session's open: what pre-trade impact and schedules need, from intraday bars.

Everything is taken from the ``sessions`` complete sessions before, never from the session itself, so one estimate holds for a whole day and
the live session and the backtest get the same to the bit, however much older history either of them has. Prices and volumes before a
split are restated to the shares of today.

- daily volume: the mean, each session stretched to a regular day, then cut to the length of the session ahead (half days trade less);
- volatility: root mean square of close-to-close log returns, dividends included;
- spread: EDGE (Ardia, Guidotti and Kroencke 2024) over all bars of the window, at least one tick;
- volume curve: the mean share of its session's volume in each of ``parts`` equal parts of the session, half days stretched to whole ones.

The closing print, which some vendors stamp at the close, lies outside the session and does not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.features.catalogue.spreads import edge_spread
from alphatrade_pipelines.market import SessionCalendar, Timeframe
from alphatrade_pipelines.market.timeframe import REGULAR_SESSION_MINUTES
from alphatrade_pipelines.risk import Liquidity

FloatArray = npt.NDArray[np.float64]
SessionLiquidity = Mapping[tuple[str, pd.Timestamp], Liquidity]
_MINUTE_NS = 60_000_000_000
_DIGITS = 9  # what enters an event is written out; more digits would be noise


@dataclass(frozen=True, slots=True)
class LiquidityConfig:
    """``least_sessions``: with fewer there is no estimate. ``tick`` in currency."""

    sessions: int = 20
    least_sessions: int = 5
    parts: int = 26
    tick: float = 0.01


@dataclass(frozen=True, slots=True)
class _Session:
    """One symbol's session: bars as logs (rows open, high, low, close), and what was traded in each part of the day."""

    opened: int
    minutes: float
    prices: FloatArray
    traded: FloatArray
    split: float
    dividend: float


def session_liquidity(
    bars: pd.DataFrame, timeframe: Timeframe, calendar: SessionCalendar, config: LiquidityConfig | None = None
) -> dict[tuple[str, pd.Timestamp], Liquidity]:
    """The estimate for every (symbol, session open in UTC) of ``bars`` that has enough sessions before it.

    ``bars``: raw, canonical form. Daily bars give none: their time moves in steps of a day, so there is nothing to schedule within one.
    """
    rules = config or LiquidityConfig()
    found: dict[tuple[str, pd.Timestamp], Liquidity] = {}
    if timeframe.is_daily or bars.empty:
        return found
    for symbol, own in bars.groupby(level="symbol", sort=True):
        days = _sessions_of(own.droplevel("symbol"), timeframe, calendar, rules)
        for place in range(rules.least_sessions, len(days)):
            window = days[max(0, place - rules.sessions) : place]
            estimate = _estimate(window, days[place], rules)
            if estimate is not None:
                found[str(symbol), pd.Timestamp(days[place].opened, tz="UTC")] = estimate
    return found


def _sessions_of(own: pd.DataFrame, timeframe: Timeframe, calendar: SessionCalendar, config: LiquidityConfig) -> list[_Session]:
    starts = pd.DatetimeIndex(own.index)
    inside = calendar.in_session(starts, timeframe)
    own, starts = own[inside], starts[inside]
    if own.empty:
        return []
    opens, closes = calendar.bounds_of(starts)
    begin = np.maximum(starts.as_unit("ns").asi8, opens)
    length = closes - opens
    part = np.minimum((begin - opens) * config.parts // length, config.parts - 1)
    logs = np.log(own[["open", "high", "low", "close"]].to_numpy(np.float64)).T
    volume = own["volume"].to_numpy(np.float64)
    splits, dividends = own["split"].to_numpy(np.float64), own["dividend"].to_numpy(np.float64)
    edges = np.flatnonzero(np.diff(opens)) + 1
    days = []
    for rows in np.split(np.arange(len(own)), edges):
        day = slice(int(rows[0]), int(rows[-1]) + 1)
        traded = np.bincount(part[day], weights=volume[day], minlength=config.parts).astype(np.float64)
        minutes = float(length[rows[0]]) / _MINUTE_NS
        days.append(_Session(int(opens[rows[0]]), minutes, logs[:, day], traded, float(np.prod(splits[day])), float(dividends[day].sum())))
    return days


def _estimate(window: list[_Session], ahead: _Session, config: LiquidityConfig) -> Liquidity | None:
    """``None`` where nothing traded or no price moved: there is no impact to tell from that."""
    ratios = _shares_today_per_share(window, ahead)
    volumes = [float(day.traded.sum()) * ratio for day, ratio in zip(window, ratios, strict=True)]
    regular = [volume * REGULAR_SESSION_MINUTES / day.minutes for volume, day in zip(volumes, window, strict=True)]
    daily_volume = math.fsum(regular) / len(window) * ahead.minutes / REGULAR_SESSION_MINUTES
    volatility = _volatility(window)
    if not (daily_volume > 0.0 and volatility > 0.0):
        return None
    shares = [day.traded / day.traded.sum() for day in window if day.traded.sum() > 0.0]
    curve = np.array([math.fsum(column) / len(shares) for column in np.array(shares).T])
    return Liquidity(
        daily_volume=round(daily_volume, 3),
        volatility=round(volatility, _DIGITS),
        spread=round(_spread(window, ratios, config), _DIGITS),
        volume_curve=tuple(round(share, _DIGITS) for share in curve.tolist()),
    )


def _shares_today_per_share(window: list[_Session], ahead: _Session) -> list[float]:
    """For each session of the window: how many shares of the session ahead one of its shares became."""
    ratios, ratio = list[float](), ahead.split
    for day in reversed(window):
        ratios.append(ratio)
        ratio *= day.split
    return ratios[::-1]


def _volatility(window: list[_Session]) -> float:
    """Root mean square of the returns between the closes of the window."""
    squares = []
    for before, day in pairwise(window):
        worth = day.split * math.exp(day.prices[3, -1]) + day.dividend
        squares.append((math.log(worth) - float(before.prices[3, -1])) ** 2)
    return math.sqrt(math.fsum(squares) / len(squares)) if squares else 0.0


def _spread(window: list[_Session], ratios: list[float], config: LiquidityConfig) -> float:
    logs = np.hstack([day.prices - math.log(ratio) for day, ratio in zip(window, ratios, strict=True)])
    logs = np.ascontiguousarray(logs)
    pairs = logs.shape[1] - 1
    spread = float(edge_spread(logs[0], logs[1], logs[2], logs[3], pairs, pairs)[-1]) if pairs >= 2 else math.nan
    least = config.tick / math.exp(float(logs[3, -1]))
    return max(spread, least) if math.isfinite(spread) else least
