"""The backtest on real bars with a mechanical rule: reproducible, balanced to the cent, blind to the future, protected throughout."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.backtest.driver import run_backtest
from alphatrade_pipelines.backtest.result import BacktestResult
from alphatrade_pipelines.market import SampleSource, SessionCalendar
from alphatrade_pipelines.reporting.protection import measure_protection
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import Signal
from alphatrade_pipelines.trading.events import AccountSeen, EntryDenied, PriceSeen, SignalReceived
from alphatrade_pipelines.venue import ExchangeConfig
from tests.backtest.helpers import DAY, MODEL, rule_signals

CALENDAR = SessionCalendar()
START = CALENDAR.previous_close(pd.Timestamp("2012-03-01 12:00", tz="UTC"))


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return SampleSource().fetch(["AAPL", "GOOG", "IBM", "MSFT", "FB"], "2011-01-01", "2013-03-02")


@pytest.fixture(scope="module")
def signals(bars: pd.DataFrame) -> list[Signal]:
    return rule_signals(bars, CALENDAR)


@pytest.fixture(scope="module")
def result(bars: pd.DataFrame, signals: list[Signal]) -> BacktestResult:
    return run(bars, signals)


def run(bars: pd.DataFrame, signals: list[Signal], seed: int = 7, profile: str = "pessimistic") -> BacktestResult:
    exchange = ExchangeConfig(start=START, seed=seed, profile=profile)
    return run_backtest(bars, signals, exchange, CoreConfig(), MODEL, DAY, CALENDAR)


def test_the_same_run_gives_the_same_fills_and_another_seed_does_not(
    bars: pd.DataFrame, signals: list[Signal], result: BacktestResult
) -> None:
    assert run(bars, signals).digest == result.digest
    assert run(bars, signals, seed=8).digest != result.digest


def test_letting_go_of_prices_and_refused_signals_changes_no_figure(
    bars: pd.DataFrame, signals: list[Signal], result: BacktestResult
) -> None:
    exchange = ExchangeConfig(start=START, seed=7)
    lean = run_backtest(bars, signals, exchange, CoreConfig(), MODEL, DAY, CALENDAR, every_event=False)
    noise = (PriceSeen, AccountSeen)
    assert sum(isinstance(event, EntryDenied) for event in result.events) > 50
    assert not any(isinstance(event, noise) for event in lean.events)
    assert sum(isinstance(event, SignalReceived) for event in lean.events) <= len(lean.summary.orders)
    assert (lean.digest, lean.fills, lean.trades, lean.summary) == (result.digest, result.fills, result.trades, result.summary)
    assert (lean.attribution, lean.costs) == (result.attribution, result.costs)
    assert measure_protection(result.events).total == result.seconds_unprotected == lean.seconds_unprotected


def test_every_cent_is_accounted_for(bars: pd.DataFrame, result: BacktestResult) -> None:
    """Equity moved by exactly: realised and unrealised P&L, dividends, fees."""
    last = bars["close"].groupby(level="symbol").last()
    held: dict[str, tuple[Decimal, Decimal]] = {}
    for fill in result.fills:
        qty, cost = held.get(fill.execution.symbol, (Decimal(0), Decimal(0)))
        held[fill.execution.symbol] = (qty + fill.signed_qty, cost + fill.signed_qty * fill.execution.price)
    open_value = sum((qty * Decimal(repr(float(last[symbol]))) for symbol, (qty, _) in held.items()), Decimal(0))
    cash_flow = sum((cost for _, cost in held.values()), Decimal(0))
    expected = Decimal(100_000) - cash_flow - result.costs.fees + result.costs.dividends + open_value
    assert Decimal(repr(float(result.equity.iloc[-1]))).quantize(Decimal("0.01")) == expected.quantize(Decimal("0.01"))
    assert result.costs.dividends > 0
    assert result.costs.fees > 0


def test_attribution_sums_to_the_realised_profit(result: BacktestResult) -> None:
    attribution = result.attribution
    assert attribution.residual == 0
    assert attribution.realised == sum((trade.pnl for trade in result.trades), Decimal(0))
    assert result.costs.market > 0


def test_the_future_changes_nothing_before_it(bars: pd.DataFrame, signals: list[Signal], result: BacktestResult) -> None:
    """Cut the tape: every fill before the cut is the same to the last digit."""
    cut = pd.Timestamp("2012-09-14 12:00", tz="UTC")
    known = bars[bars.index.get_level_values("timestamp") < cut]
    early = run(known, signals)
    before = [fill.execution for fill in result.fills if fill.execution.at < cut]
    assert [fill.execution for fill in early.fills] == before
    assert len(before) > 50


def test_no_fill_precedes_its_decision_and_entries_wait_for_the_open(result: BacktestResult) -> None:
    opens = set(CALENDAR.sessions("2012-02-28", "2013-03-05")["open"].tolist())
    entries = [fill for fill in result.fills if fill.role == "entry"]
    assert entries
    first_fills = {fill.client_order_id: fill.execution.at for fill in reversed(entries)}
    assert all(pd.Timestamp(at) in opens for at in first_fills.values())


def test_positions_are_protected_all_the_time(result: BacktestResult) -> None:
    assert result.seconds_unprotected == 0
    assert result.venue_seconds_unprotected == 0
    assert result.summary.discrepancies.total() == 0


def test_without_signals_nothing_happens(bars: pd.DataFrame) -> None:
    idle = run(bars, [])
    assert idle.equity.nunique() == 1
    assert not idle.fills
    assert np.isnan(idle.performance().sharpe)


def test_harsher_fills_cost_money(bars: pd.DataFrame, signals: list[Signal], result: BacktestResult) -> None:
    assert run(bars, signals, profile="optimistic").costs.market < result.costs.market


def test_buy_and_hold_against_pandas(bars: pd.DataFrame, result: BacktestResult) -> None:
    """Oracle: dividend and split adjusted growth of each symbol that traded at the start, averaged. FB listed later and is left out."""
    growth = []
    for symbol in ("AAPL", "GOOG", "IBM", "MSFT"):
        one = bars.loc[symbol]
        step = one["split"] * one["close"].shift(1) / (one["close"].shift(1) - one["dividend"])
        total = one["close"] * step.fillna(1.0).cumprod()
        before = total[total.index < pd.Timestamp(START)].iloc[-1]
        growth.append(total.iloc[-1] / before)
    assert result.benchmark.iloc[-1] == pytest.approx(100_000 * float(np.mean(growth)), rel=1e-12)
    assert result.benchmark.iloc[0] == 100_000
    assert len(result.benchmark) == len(result.equity)
