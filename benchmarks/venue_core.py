"""The exchange without a server: how fast it looks at orders, plays a session, loads a tape. Each figure includes what a user pays."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from alphatrade_pipelines.market import SessionCalendar, SyntheticConfig, SyntheticSource, Timeframe
from alphatrade_pipelines.venue import BarTape, Exchange, ExchangeConfig, VenueOrderRequest
from alphatrade_pipelines.venue.exchange.screen import LIMIT, STOP, screen
from benchmarks.timing import Row, timed

_ORDERS = 500  # resting in one symbol


def rows() -> list[Row]:
    """Every figure of this file."""
    return [*checks(), *session(), *loading()]


def checks() -> list[Row]:
    """Resting orders that a quiet path does not reach: the kernel alone, and the whole exchange stepping (time, prices, ledger, screen)."""
    rng = np.random.default_rng(7)
    kinds = rng.choice(np.array([LIMIT, STOP]), 10_000)
    sides = rng.choice(np.array([1, -1]), 10_000)
    triggers = np.where((kinds == LIMIT) == (sides > 0), 90.0, 110.0) + rng.random(10_000)
    bests, found = np.full(10_000, np.nan), np.empty(10_000, dtype=np.int64)
    alone = timed(lambda: screen(sides, kinds, triggers, bests, 99.9, 100.1, found))

    bars = _made_up(1, 2)
    config = ExchangeConfig(start=BarTape(bars, "1Min").sessions[0].close, cash=Decimal(10**9), profile="pessimistic")

    def play() -> Exchange:
        exchange = Exchange(BarTape(bars, "1Min"), config)
        price = exchange.prices()["S00"]
        for number in range(_ORDERS):
            limit = (price * Decimal("0.5")).quantize(Decimal("0.01")) - Decimal(number) / 100
            exchange.submit(VenueOrderRequest("S00", "buy", Decimal(1), "limit", "gtc", limit_price=limit))
        while exchange.advance() is not None:
            pass
        return exchange

    empty = timed(lambda: Exchange(BarTape(bars, "1Min"), config), 3)
    return [
        ("venue, screening kernel, order looked at against one stretch", len(sides) / alone, "checks/s"),
        (
            "venue, whole exchange, order against one bar (4 stretches), submission included",
            _ORDERS * 390 / (timed(play, 3) - empty),
            "order-bars/s",
        ),
    ]


def session() -> list[Row]:
    """20 symbols x 390 one-minute bars, a bracket in every symbol every half hour, ten resting limits each: stepped to the close."""
    bars = _made_up(20, 2)
    tape = BarTape(bars, "1Min")
    config = ExchangeConfig(start=tape.sessions[0].close, cash=Decimal(10**8))
    executions = []

    def play() -> None:
        exchange = Exchange(tape, config)
        for symbol in tape.symbols:
            price = exchange.prices()[symbol]
            for step in range(1, 11):
                limit = (price * (1 - Decimal(step) / 500)).quantize(Decimal("0.01"))
                exchange.submit(VenueOrderRequest(symbol, "buy", Decimal(10), "limit", limit_price=limit))
        steps = 0
        while exchange.advance() is not None:
            steps += 1
            if steps % 120 == 0 and exchange.market_open:
                _brackets(exchange)
        executions.append(len(exchange.fills()))

    seconds = timed(play, 3)
    return [(f"venue, session of 20 symbols x 390 1-min bars, {executions[-1]} executions", seconds, "s")]


def loading() -> list[Row]:
    """A tape of 5,000 sessions x 20 symbols of daily bars, and one of a million minutes."""
    days = SessionCalendar().sessions("2000-01-03", "2019-12-31")["open"]
    index = pd.MultiIndex.from_product([[f"S{n:02}" for n in range(20)], pd.DatetimeIndex(days.array)], names=["symbol", "timestamp"])
    rng = np.random.default_rng(3)
    close = np.round(50 * np.exp(0.01 * rng.standard_normal(len(index)).cumsum() % 2), 2)
    daily = pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1e6}, index=index)
    minutes = _made_up(10, 256)
    return [
        (f"venue, tape of {len(daily):,} daily bars", timed(lambda: BarTape(daily, "1Day"), 3), "s"),
        (f"venue, tape of {len(minutes):,} 1-min bars", timed(lambda: BarTape(minutes, "1Min"), 1), "s"),
    ]


def _brackets(exchange: Exchange) -> None:
    for symbol, price in exchange.prices().items():
        if not exchange.cash_account.quantity(symbol):
            target, stop = (price * Decimal(factor) for factor in ("1.01", "0.99"))
            legs = {"take_profit": target.quantize(Decimal("0.01")), "stop_loss": stop.quantize(Decimal("0.01"))}
            exchange.submit(VenueOrderRequest(symbol, "buy", Decimal(20), "market", "day", "bracket", **legs))  # type: ignore[arg-type]


def _made_up(symbols: int, sessions: int) -> pd.DataFrame:
    names = tuple(f"S{number:02}" for number in range(symbols))
    first = date(2024, 1, 2)
    market = SyntheticConfig(seed=7, symbols=names, start=first, end=first + timedelta(days=sessions * 3 // 2), timeframe=Timeframe(1))
    bars = SyntheticSource(market).fetch()
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    days = stamps.normalize().unique()[:sessions]
    return bars.loc[stamps < days[-1] + pd.Timedelta(days=1)]
