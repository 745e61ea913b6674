"""From any id of an order back to the data, on the journal of a real run."""

from __future__ import annotations

from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from alphatrade_pipelines.backtest.driver import run_backtest
from alphatrade_pipelines.backtest.result import BacktestResult
from alphatrade_pipelines.market import SampleSource, SessionCalendar
from alphatrade_pipelines.reporting.explain import UnknownOrderError, explain, render
from alphatrade_pipelines.reporting.tables import fill_table, quality_by_role, trade_table
from alphatrade_pipelines.reporting.trades import trade_ledger
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import OrderClass
from alphatrade_pipelines.trading.events import OrderIntended, OrderUpdated
from alphatrade_pipelines.venue import ExchangeConfig
from tests.backtest.helpers import DAY, MODEL, rule_signals

CALENDAR = SessionCalendar()


@pytest.fixture(scope="module")
def run() -> BacktestResult:
    bars = SampleSource().fetch(["AAPL", "IBM", "MSFT"], "2012-01-03", "2012-05-01")
    start = CALENDAR.previous_close(pd.Timestamp("2012-02-15 12:00", tz="UTC"))
    exchange = ExchangeConfig(start=start, seed=3, profile="pessimistic")
    return run_backtest(bars, rule_signals(bars, CALENDAR), exchange, CoreConfig(), MODEL, DAY, CALENDAR)


def shown(run: BacktestResult, asked: str) -> str:
    console = Console(file=StringIO(), width=200, color_system=None)
    console.print(render(explain(run.events, asked)))
    output = console.file
    assert isinstance(output, StringIO)
    return output.getvalue()


def test_the_chain_of_every_fill_reaches_the_data(run: BacktestResult) -> None:
    assert len(run.fills) > 20
    for fill in run.fills:
        found = explain(run.events, fill.execution.execution_id)
        assert found.order.request.client_order_id == fill.client_order_id
        assert fill in found.fills
        assert found.signal is not None
        assert found.signal.symbol == fill.execution.symbol
        assert found.signal.decision_time < fill.execution.at
        assert found.model == MODEL
        assert found.signal.features


def test_leg_names_and_leg_ids_lead_to_the_order(run: BacktestResult) -> None:
    leg_update = next(e for e in run.events if isinstance(e, OrderUpdated) and e.execution and e.order.kind == "stop")
    stop = next(fill for fill in run.fills if fill.execution == leg_update.execution)
    for asked in (leg_update.order.client_order_id, leg_update.order.broker_id, stop.client_order_id):
        assert explain(run.events, asked).order.request.client_order_id == stop.client_order_id
    assert any("fill of the stop leg" in moment.what for moment in explain(run.events, stop.client_order_id).story)


def test_an_exit_knows_the_entry_it_ends(run: BacktestResult) -> None:
    ending = next(e for e in run.events if isinstance(e, OrderIntended) and e.purpose == "exit")
    found = explain(run.events, ending.request.client_order_id)
    entries = [other for other in found.family if other.purpose == "entry"]
    assert len(entries) == 1
    assert entries[0].request.symbol == ending.request.symbol
    assert entries[0].request.order_class is OrderClass.BRACKET


def test_rendering_shows_the_whole_chain(run: BacktestResult) -> None:
    text = shown(run, run.fills[0].client_order_id)
    for part in ("fills", "order", "decision", "features", "momentum = 0.25", "version 7", "mlflow-run", "dagster-run", "data-hash", "bps"):
        assert part in text


def test_unknown_ids_name_their_neighbours(run: BacktestResult) -> None:
    real = run.fills[0].client_order_id
    with pytest.raises(UnknownOrderError, match=real):
        explain(run.events, real[:-2] + "zz")
    with pytest.raises(UnknownOrderError, match=real):
        explain(run.events, real[:12])
    with pytest.raises(UnknownOrderError, match="the journal holds no orders"):
        explain(run.events[:1], "x")


def test_tables_agree_with_the_ledger(run: BacktestResult) -> None:
    fills, trades = fill_table(run.events), trade_table(trade_ledger(run.events))
    assert len(fills) == len(run.fills)
    assert trades["pnl"].sum() == pytest.approx(float(run.attribution.realised))
    assert quality_by_role(fills)["fills"].sum() == len(fills)
