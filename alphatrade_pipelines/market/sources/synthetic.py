"""A seeded artificial market for tests, soak runs and demonstrations. Labelled synthetic wherever its bars go.

Minute by minute, a common factor and one idiosyncratic part a symbol follow geometric diffusions with stochastic log-variance (Taylor
1986), a U-shaped day, Merton (1976) jumps and an overnight gap. A crisis multiplies volatility and the factor's share of it, so that
correlations rise as they do in one. Highs and lows within a minute are exact draws of a Brownian bridge's extremes. Longer bars
aggregate the same minutes: the 5Min market of a seed is the 1Min market of that seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.bars import between, check_bars, to_bars
from alphatrade_pipelines.market.errors import BarDataError, check_symbols
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.sources.base import Bound
from alphatrade_pipelines.market.timeframe import Timeframe

FloatArray = npt.NDArray[np.float64]
_MINUTES_A_YEAR = 252 * 390
_MINUTE_NS = 60_000_000_000
_FACTOR = "the common factor"


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """A market to invent. Volatilities are annual fractions, ``start`` and ``end`` session dates, both included.

    Attributes:
        crises: (first, last) dates of crises.
        factor_volatility, own_volatility: of the common factor and of each symbol's own part, in calm times.
        overnight_share: variance of the night as a share of the session's.
        variance_spread: standard deviation of log-variance; 0 gives constant volatility.
        variance_halflife_minutes: how long its swings last.
        jumps_a_year, jump_volatility: expected own jumps of a symbol and their standard deviation.
        crisis_volatility: multiplier of all volatility in a crisis.
        crisis_factor: further multiplier of the factor alone: what raises correlation.
        daily_volume: mean shares a day.
    """

    seed: int
    symbols: tuple[str, ...]
    start: date
    end: date
    timeframe: Timeframe
    crises: tuple[tuple[date, date], ...] = ()
    factor_volatility: float = 0.12
    own_volatility: float = 0.20
    overnight_share: float = 0.25
    variance_spread: float = 0.6
    variance_halflife_minutes: float = 390.0 * 5
    jumps_a_year: float = 4.0
    jump_volatility: float = 0.03
    crisis_volatility: float = 2.0
    crisis_factor: float = 2.0
    daily_volume: float = 2_000_000.0


@dataclass(frozen=True, slots=True)
class _Clock:
    """All minutes of the market: start (UTC ns), position in the day in [0, 1), whether first of its session, whether in a crisis."""

    starts: npt.NDArray[np.int64]
    time_of_day: FloatArray
    first: npt.NDArray[np.bool_]
    session: npt.NDArray[np.int64]
    crisis: npt.NDArray[np.bool_]


class SyntheticSource:
    """The market of a :class:`SyntheticConfig`; equal configs give equal bars. A symbol's path does not depend on the other symbols."""

    synthetic = True

    def __init__(self, config: SyntheticConfig) -> None:
        if config.start > config.end or not config.symbols or len(set(config.symbols)) != len(config.symbols):
            raise BarDataError(
                "start <= end and distinct symbols", f"{config.start} to {config.end}, {config.symbols}", where="SyntheticConfig"
            )
        self.config = config

    @property
    def name(self) -> str:
        return f"synthetic-{self.config.seed}"

    @property
    def timeframe(self) -> Timeframe:
        return self.config.timeframe

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self.config.symbols))

    def fetch(self, symbols: Sequence[str] | None = None, start: Bound = None, end: Bound = None) -> pd.DataFrame:
        """Bars of the invented market; see :class:`BarSource`."""
        wanted = sorted(set(symbols if symbols is not None else self.symbols))
        check_symbols(wanted, self.symbols, where="SyntheticConfig.symbols")
        return between(pd.concat([self._bars[symbol] for symbol in wanted]), start, end).copy()

    def describe(self) -> dict[str, Any]:
        """Facts for people, the label ``synthetic`` first, and every parameter."""
        parameters = {
            name: value for name, value in asdict(self.config).items() if name not in ("symbols", "timeframe", "crises", "start", "end")
        }
        return {
            "source": self.name,
            "synthetic": True,
            "timeframe": str(self.timeframe),
            "symbols": list(self.symbols),
            "start": self.config.start.isoformat(),
            "end": self.config.end.isoformat(),
            "crises": [f"{first} to {last}" for first, last in self.config.crises],
            **parameters,
        }

    @cached_property
    def _bars(self) -> dict[str, pd.DataFrame]:
        clock = _clock(self.config)
        factor = _returns(clock, self.config, _FACTOR, self.config.factor_volatility, crisis=self.config.crisis_factor, jumps=0.0)
        bars = {symbol: self._symbol_bars(symbol, clock, factor) for symbol in self.symbols}
        check_bars(pd.concat(bars.values()), self.timeframe, where=self.name)
        return bars

    def _symbol_bars(self, symbol: str, clock: _Clock, factor: tuple[FloatArray, FloatArray, FloatArray]) -> pd.DataFrame:
        config = self.config
        rng = _rng(config.seed, symbol, "shape")
        beta, price = rng.uniform(0.7, 1.3), rng.uniform(20.0, 200.0)
        own = _returns(clock, config, symbol, config.own_volatility, crisis=1.0, jumps=config.jumps_a_year)
        inside, night = (beta * common + alone for common, alone in zip(factor[:2], own[:2], strict=True))
        deviation = np.sqrt((beta * factor[2]) ** 2 + own[2] ** 2)
        close = np.log(price) + np.cumsum(inside + night)
        opened = close - inside
        high, low = _extremes(opened, close, deviation, rng)
        volume = _volume(clock, inside, deviation, config.daily_volume, rng)
        prices = {"open": opened, "high": high, "low": low, "close": close}
        minutes = pd.DataFrame({name: np.maximum(np.round(np.exp(values), 2), 0.01) for name, values in prices.items()})
        flat = _aggregate(minutes.assign(volume=volume), clock, self.timeframe)
        return to_bars(flat.assign(symbol=symbol))


def _clock(config: SyntheticConfig) -> _Clock:
    sessions = SessionCalendar().sessions(config.start, config.end)
    if sessions.empty:
        raise BarDataError("a span with XNYS sessions", f"{config.start} to {config.end}", where="SyntheticConfig")
    opens, closes = (pd.DatetimeIndex(sessions[name]).as_unit("ns").asi8 for name in ("open", "close"))
    lengths = (closes - opens) // _MINUTE_NS
    session = np.repeat(np.arange(len(sessions)), lengths)
    within = np.arange(len(session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    crisis = np.zeros(len(sessions), dtype=np.bool_)
    for first, last in config.crises:
        crisis |= np.asarray((sessions.index >= pd.Timestamp(first)) & (sessions.index <= pd.Timestamp(last)))
    return _Clock(opens[session] + within * _MINUTE_NS, within / lengths[session], within == 0, session, crisis[session])


def _rng(seed: int, *names: str) -> np.random.Generator:
    """An independent stream for each name (crc32: Python's own hash changes from run to run)."""
    return np.random.default_rng(np.random.SeedSequence([seed, *(zlib.crc32(name.encode()) for name in names)]))


def _returns(
    clock: _Clock, config: SyntheticConfig, name: str, volatility: float, crisis: float, jumps: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log returns within each minute, over the night before it (0 but for a session's first), and the minute's standard deviation."""
    rng, n = _rng(config.seed, name, "returns"), len(clock.starts)
    stress = np.where(clock.crisis, config.crisis_volatility * crisis, 1.0)
    deviation = volatility * np.sqrt(1.0 / _MINUTES_A_YEAR) * np.exp(0.5 * _log_variance(n, config, rng)) * stress
    inside = deviation * _day_shape(clock.time_of_day) * rng.standard_normal(n)
    hit = rng.random(n) < jumps / _MINUTES_A_YEAR * stress
    inside = inside + np.where(hit, config.jump_volatility * rng.standard_normal(n), 0.0)
    night = np.where(clock.first, deviation * np.sqrt(390.0 * config.overnight_share) * rng.standard_normal(n), 0.0)
    night[0] = 0.0
    return inside, night, deviation * _day_shape(clock.time_of_day)


def _log_variance(n: int, config: SyntheticConfig, rng: np.random.Generator) -> FloatArray:
    """Stationary AR(1) with mean such that the mean variance is 1."""
    from scipy.signal import lfilter

    keep = 0.5 ** (1.0 / config.variance_halflife_minutes)
    shocks = rng.standard_normal(n) * np.sqrt(1.0 - keep**2)
    shocks[0] = rng.standard_normal()
    path = np.asarray(lfilter([1.0], [1.0, -keep], shocks), dtype=np.float64)
    return config.variance_spread * path - 0.5 * config.variance_spread**2


def _day_shape(time_of_day: FloatArray) -> FloatArray:
    """The U of the trading day, mean square 1: busiest at the open, quietest after noon."""
    raw = 0.75 + 3.0 * (time_of_day - 0.55) ** 2
    grid = 0.75 + 3.0 * ((np.arange(390) / 390.0) - 0.55) ** 2
    return np.asarray(raw / np.sqrt(np.mean(grid**2)), dtype=np.float64)


def _extremes(opened: FloatArray, close: FloatArray, deviation: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """High and low of Brownian bridges from ``opened`` to ``close``: inverse transform of P(max > m) = exp(-2 (m-o)(m-c) / s^2)."""
    move = close - opened
    up, down = (np.sqrt(move**2 - 2.0 * deviation**2 * np.log1p(-rng.random(len(move)))) for _ in range(2))
    return 0.5 * (opened + close + up), 0.5 * (opened + close - down)


def _volume(clock: _Clock, inside: FloatArray, deviation: FloatArray, daily: float, rng: np.random.Generator) -> FloatArray:
    """Shares a minute: U-shaped, log-normal, larger when prices move."""
    activity = 0.5 + 0.5 * np.abs(inside) / deviation
    noise = np.exp(0.4 * rng.standard_normal(len(inside)) - 0.08)
    stress = np.where(clock.crisis, 1.8, 1.0)
    return np.maximum(np.round(daily / 390.0 * _day_shape(clock.time_of_day) ** 2 * activity * noise * stress), 1.0)


def _aggregate(minutes: pd.DataFrame, clock: _Clock, timeframe: Timeframe) -> pd.DataFrame:
    """Bars counted from each session's open; the last of a session may be shorter."""
    first = np.flatnonzero(clock.first)
    within = np.arange(len(clock.starts)) - first[clock.session]
    per_bar = len(within) if timeframe.is_daily else timeframe.minutes
    begin = np.flatnonzero(within % per_bar == 0)
    end = np.append(begin[1:], len(within)) - 1
    return pd.DataFrame(
        {
            "timestamp": pd.to_datetime(clock.starts[begin], unit="ns", utc=True),
            "open": minutes["open"].to_numpy()[begin],
            "high": np.maximum.reduceat(minutes["high"].to_numpy(), begin),
            "low": np.minimum.reduceat(minutes["low"].to_numpy(), begin),
            "close": minutes["close"].to_numpy()[end],
            "volume": np.add.reduceat(minutes["volume"].to_numpy(), begin),
        }
    )
