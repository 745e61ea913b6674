"""A few invented days of a few symbols: fat-tailed bars, gaps overnight and inside the day, silent bars, splits, dividends, half days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe
from alphatrade_pipelines.venue.exchange.tape import BarTape

TIMEFRAME = Timeframe.parse("30Min")
SYMBOLS = ("AAA", "BBB", "CCC")
# the second session of each is worth playing: half days (13:00), the two changes of daylight saving, a long weekend, plain weeks
FIRST_DAYS = tuple(
    date.fromisoformat(day)
    for day in (
        "2024-07-01",
        "2024-07-02",
        "2024-11-27",
        "2024-12-20",
        "2024-03-07",
        "2024-10-31",
        "2024-05-23",
        "2024-02-05",
        "2024-09-10",
    )
)


@dataclass(frozen=True, slots=True)
class TapePlan:
    """What the tape of a session holds. ``splits``: (symbol, played day from 0, new shares for each old one); the first session of the
    tape is history, ``days`` are played."""

    seed: int
    first: date
    days: int
    wildness: float
    silence: float
    splits: tuple[tuple[str, int, float], ...] = ()
    dividends: tuple[tuple[str, int, float], ...] = ()


def sessions_of(plan: TapePlan, calendar: SessionCalendar) -> pd.DataFrame:
    """History and played sessions: columns open and close."""
    return calendar.sessions(plan.first, plan.first + timedelta(days=14)).iloc[: plan.days + 1]


def build(plan: TapePlan, calendar: SessionCalendar) -> BarTape:
    """The tape of a plan; equal plans give equal tapes."""
    rng = np.random.default_rng([plan.seed, 1])
    spans = sessions_of(plan, calendar)
    frames = [_bars(plan, symbol, spans, rng) for symbol in SYMBOLS]
    return BarTape(pd.concat(frames), TIMEFRAME, calendar)


def _bars(plan: TapePlan, symbol: str, spans: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    price = float(rng.uniform(20, 200))
    volume = float(10 ** rng.uniform(4.3, 6.0))
    rows: list[dict[str, float]] = []
    starts: list[pd.Timestamp] = []
    for number, (opens, closes) in enumerate(zip(spans["open"], spans["close"], strict=True)):
        split = _event(plan.splits, symbol, number - 1, 1.0)
        dividend = _event(plan.dividends, symbol, number - 1, 0.0)
        price = price / split * float(np.exp(rng.standard_t(4) * 0.01 * plan.wildness))
        first = True
        for start in pd.date_range(opens, closes, freq="30min", inclusive="left"):
            bar, price = _bar(price, volume * split, plan.wildness, rng)
            if not first and rng.random() < plan.silence:
                continue  # nobody traded
            rows.append({**bar, "split": split if first else 1.0, "dividend": dividend if first else 0.0})
            starts.append(start)
            first = False
    index = pd.MultiIndex.from_product([[symbol], pd.DatetimeIndex(starts).as_unit("ns")], names=["symbol", "timestamp"])
    return pd.DataFrame(rows, index=index)


def _event(events: tuple[tuple[str, int, float], ...], symbol: str, day: int, default: float) -> float:
    return next((value for name, on, value in events if (name, on) == (symbol, day)), default)


def _bar(price: float, volume: float, wildness: float, rng: np.random.Generator) -> tuple[dict[str, float], float]:
    path = price * np.exp(np.cumsum(rng.standard_t(4, 4)) * 0.0025 * wildness)
    if rng.random() < 0.02 * wildness:
        path[-1] *= float(np.exp(rng.normal() * 0.03))  # news
    prices = np.round(np.maximum(path, 1.0), 2)
    bar = {
        "open": prices[0],
        "high": prices.max(),
        "low": prices.min(),
        "close": prices[-1],
        "volume": float(round(volume * rng.lognormal(0, 0.5) / 13)),
    }
    return {name: float(value) for name, value in bar.items()}, float(prices[-1])


def start_of(plan: TapePlan, calendar: SessionCalendar) -> datetime:
    """When the venue begins: an hour and a half before the first played open."""
    opens: datetime = sessions_of(plan, calendar)["open"].iloc[1].to_pydatetime()
    return opens - timedelta(minutes=90)
