"""Bars that really happened, played to their end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
from venue_world import PLAIN, D, bracket, play

from alphatrade_pipelines.market import SampleSource
from alphatrade_pipelines.venue import PESSIMISTIC, BarTape, Exchange, ExchangeConfig


def test_years_of_brackets_on_real_prices_stay_inside_the_bars_and_survive_the_splits() -> None:
    """Thirteen years of the sample: every fill inside its bar, every split passes without a jump in equity beyond the market's."""
    tape = BarTape(SampleSource().fetch(), "1Day")
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[30].close, profile=replace(PESSIMISTIC, participation=1.0), seed=4))
    sent = 0
    while (step := ex.advance()) is not None:
        if step.kind == "pre_open" and any(action.split != 1.0 for action in step.corporate_actions):
            symbols = {action.symbol for action in step.corporate_actions if action.split != 1.0}
            assert not [order for order in ex.book.live() if order.symbol in symbols]
        if step.kind != "session_close":
            continue
        symbol = tape.symbols[sent % 5]
        price = ex.prices().get(symbol)
        if price is None:
            sent += 1
            continue
        target, stop = (str((price * factor).quantize(D("0.01"))) for factor in (D("1.05"), D("0.95")))
        ex.submit(bracket(symbol, 10, target, stop, client_order_id=f"b{sent}"))
        sent += 1
    assert len(ex.fills()) > 2000
    assert all(fill.low <= fill.price <= fill.high for fill in ex.fills())
    cost = sum(abs(fill.price - fill.reference) / fill.reference for fill in ex.fills()) / len(ex.fills())
    assert D("0.0001") < cost < D("0.002")  # one to twenty basis points a fill, targets included
    rejected = sum(order.status == "rejected" for order in ex.book.orders.values())
    entries = sum(order.role == "entry" for order in ex.book.orders.values())
    assert abs(rejected / entries - 0.08) < 0.02


def test_real_intraday_bars_play(market_data: Path) -> None:
    frame = pd.read_parquet(market_data / "spy_1min_2024" / "spy_1min.parquet").rename(columns={"ts": "timestamp"})
    bars = frame.set_index(["symbol", "timestamp"]).astype(float)
    tape = BarTape(bars.iloc[: 391 * 6], "1Min")
    assert tape.ignored_bars == 6  # the closing prints stamped 16:00
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[0].close, profile=PLAIN))
    price = ex.prices()["SPY"]
    ex.submit(bracket("SPY", 10, str(price * 2), str((price / 2).quantize(D("0.01")))))
    play(ex)
    assert len(ex.fills()) == 1
    assert len(ex.equity_history) == 5
    assert ex.ledger.unprotected_seconds == {}
