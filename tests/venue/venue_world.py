"""Small worlds the venue tests are played in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import numpy as np
import pandas as pd

from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.venue import OPTIMISTIC, BarTape, Exchange, ExchangeConfig, FillProfile, VenueOrderRequest

D = Decimal
Row = tuple[float, float, float, float, float]  # open high low close volume
FLAT: Row = (100.0, 100.0, 100.0, 100.0, 1e6)

# no cost, no chance, adverse extreme first: what remains is arithmetic one can do by hand
PLAIN: FillProfile = replace(OPTIMISTIC, name="plain", path="adverse_first")


def daily_bars(rows: dict[str, Sequence[Row]], first: str = "2024-03-04", **extra: dict[str, Sequence[float]]) -> pd.DataFrame:
    """Daily bars of consecutive sessions from ``first`` on."""
    count = max(len(series) for series in rows.values())
    table = SessionCalendar().sessions(first, pd.Timestamp(first) + pd.Timedelta(days=2 * count + 10))
    frames = []
    for symbol, series in rows.items():
        index = pd.MultiIndex.from_product([[symbol], pd.DatetimeIndex(table["open"].array)[: len(series)]], names=["symbol", "timestamp"])
        frame = pd.DataFrame(list(series), index=index, columns=["open", "high", "low", "close", "volume"], dtype=float)
        for name, default in (("split", 1.0), ("dividend", 0.0)):
            frame[name] = extra.get(name, {}).get(symbol, [default] * len(series))
        frames.append(frame)
    return pd.concat(frames).sort_index()


def random_bars(symbols: int = 2, sessions: int = 30, seed: int = 1) -> pd.DataFrame:
    """A random walk with gaps, rounded to cents."""
    rng = np.random.default_rng(seed)
    rows: dict[str, Sequence[Row]] = {}
    for number in range(symbols):
        close, made = 50.0 * (number + 1), []
        for _ in range(sessions):
            open_ = close * float(np.exp(rng.normal(0, 0.01)))
            close = open_ * float(np.exp(rng.normal(0, 0.02)))
            high, low = max(open_, close) * (1 + abs(rng.normal(0, 0.01))), min(open_, close) * (1 - abs(rng.normal(0, 0.01)))
            made.append((*(float(np.round(x, 2)) for x in (open_, high, low, close)), float(rng.integers(20_000, 200_000))))
        rows["ABCDE"[number] * 3] = made
    return daily_bars(rows)


def intraday_bars(symbol: str, rows: Sequence[Row], minutes: int = 5, day: str = "2024-03-04") -> pd.DataFrame:
    """Bars from the open of one session on."""
    start = SessionCalendar().sessions(day, day)["open"].iloc[0]
    index = pd.MultiIndex.from_product(
        [[symbol], pd.DatetimeIndex([start + pd.Timedelta(minutes=minutes * number) for number in range(len(rows))])],
        names=["symbol", "timestamp"],
    )
    return pd.DataFrame(list(rows), index=index, columns=["open", "high", "low", "close", "volume"], dtype=float)


def exchange(
    bars: pd.DataFrame, profile: FillProfile | str = PLAIN, timeframe: str = "1Day", *, skip: int = 1, **config: object
) -> Exchange:
    """An exchange whose first ``skip`` sessions already lie behind (so that prices are known)."""
    tape = BarTape(bars, timeframe)
    start = tape.sessions[skip - 1].close if skip else None
    return Exchange(tape, ExchangeConfig(start=start, profile=profile, **config))  # type: ignore[arg-type]


def until(ex: Exchange, kind: str) -> None:
    """Advance to the next step of ``kind``."""
    while (step := ex.advance()) is not None and step.kind != kind:
        pass
    assert step is not None, f"the tape ended before the next {kind}"


def go_to(ex: Exchange, at: datetime) -> None:
    """Let everything up to ``at`` happen, and time pass until then."""
    while ex.next_step_at is not None and ex.next_step_at <= at:
        ex.advance()
    ex.tick(at)
    assert ex.now == at


def play(ex: Exchange) -> None:
    """Advance to the end of the tape."""
    while ex.advance() is not None:
        pass


def buy(symbol: str = "AAA", qty: int | str = 10, **rest: object) -> VenueOrderRequest:
    return VenueOrderRequest(symbol, "buy", D(qty), **rest)  # type: ignore[arg-type]


def sell(symbol: str = "AAA", qty: int | str = 10, **rest: object) -> VenueOrderRequest:
    return VenueOrderRequest(symbol, "sell", D(qty), **rest)  # type: ignore[arg-type]


def bracket(symbol: str = "AAA", qty: int = 10, target: str = "110", stop: str = "95", **rest: object) -> VenueOrderRequest:
    given: dict[str, object] = {"time_in_force": "gtc", "order_class": "bracket", "take_profit": D(target), "stop_loss": D(stop), **rest}
    return buy(symbol, qty, **given)


def trades(ex: Exchange) -> list[tuple[str, str, str]]:
    """(side, qty, price) of every execution."""
    return [(fill.side, str(fill.qty), str(fill.price)) for fill in ex.fills()]


def events(ex: Exchange) -> list[tuple[str, str]]:
    """(event, status) of the drained updates."""
    return [(update.event, update.order.status) for update in ex.drain()]
