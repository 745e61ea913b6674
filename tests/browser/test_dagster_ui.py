"""A person's way through Dagster: look at the graph, launch the live job with its default config, watch it trade, stop it."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from alphatrade_pipelines import trader
from alphatrade_pipelines.journal import verify_journal
from alphatrade_pipelines.live.sim import RunningVenue, attach
from tests.browser.conftest import Ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

ASSETS = (
    *("raw_bars", "bars", "feature_state", "features", "primary_model", "labels", "model_candidate", "model_evaluation"),
    *("backtest_report", "promotion", "live_session", "execution_quality", "pnl_attribution"),
)


def test_launch_watch_and_terminate_the_live_job(ui: Ui, page: Page) -> None:
    look_at_the_graph(ui, page)
    run_id = launch(ui, page)
    watch_it_trade(ui, page)
    terminate(page)
    judge_the_run(ui, run_id)
    venue = attach(ui.settings.folders.journals)
    assert venue is not None, "after a stop the exchange stays, with the positions on it"
    judge_the_venue(venue)


def look_at_the_graph(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.dagster}/asset-groups/")
    page.get_by_text("registry").first.wait_for()
    page.get_by_text("Hide navigation").click()
    page.get_by_placeholder("Jump to").locator("xpath=following::button[1]").click()
    page.wait_for_timeout(2_000)
    page.mouse.click(900, 750, button="right")
    page.get_by_text("Expand all groups").last.click()
    for asset in ASSETS:
        page.get_by_text(asset, exact=True).first.wait_for()
    page.wait_for_timeout(2_000)
    ui.shoot(page, "dagster-graph.png")


def launch(ui: Ui, page: Page) -> str:
    """Launch with what the launchpad holds by itself; returns the run id."""
    page.goto(f"{ui.dagster}/locations/alphatrade/jobs/live_execution/playground")
    button = page.get_by_role("button", name="Launch Run")
    page.get_by_text("No errors").first.wait_for()
    button.click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"), timeout=120_000)
    return page.url.rpartition("/runs/")[2][:36]


def watch_it_trade(ui: Ui, page: Page) -> None:
    """Observations with fills appear on the page of the run while it is running."""
    page.get_by_text("ASSET_OBSERVATION").first.wait_for(timeout=180_000)
    page.get_by_placeholder("Filter…").fill("sessions,")
    until, fills = time.monotonic() + 120, 0
    while fills < 10 and time.monotonic() < until:
        page.wait_for_timeout(1_000)
        lines = re.findall(r"(\d+) sessions, (\d+) orders, (\d+) fills", page.inner_text("body"))
        fills = max((int(line[2]) for line in lines), default=0)
    assert fills >= 10, page.inner_text("body")[-3000:]
    assert "Started" in page.inner_text("body")
    ui.shoot(page, "dagster-live-run.png")


def terminate(page: Page) -> None:
    page.get_by_role("button", name="Terminate").first.click()
    page.get_by_role("button", name="Terminate 1 run").click()
    page.get_by_text("Canceled", exact=True).first.wait_for(timeout=120_000)


def judge_the_run(ui: Ui, run_id: str) -> None:
    with dg.DagsterInstance.from_config(str(ui.settings.folders.dagster)) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.CANCELED
        observed = instance.fetch_observations(dg.AssetKey("live_session"), limit=1_000).records
        last = observed[0].asset_observation
        assert last is not None
        assert last.metadata["seconds_unprotected"].value == 0
        assert last.metadata["unprotected_now"].value == "none"
        assert last.metadata["model_version"].value == "1"
    assert trader.running_session(ui.settings, "sim") == "", "the process is gone and with it the lock"


def judge_the_venue(venue: RunningVenue) -> None:
    """Ground truth, from the exchange itself and through the unmodified SDK."""
    from alpaca.trading.client import TradingClient
    from alpaca.trading.enums import QueryOrderStatus
    from alpaca.trading.requests import GetOrdersRequest

    ledger = venue.ledger()
    assert len(ledger["executions"]) >= 10
    assert ledger["duplicate_intents"] == []
    assert ledger["reused_client_ids"] == 0
    assert ledger["unprotected_seconds"] == {}
    client = TradingClient("sim", "sim", url_override=venue.url)
    orders = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=500))
    for position in client.get_all_positions():
        stops = [order for order in orders if order.symbol == position.symbol and order.side == "sell" and order.stop_price is not None]
        covered = sum((Decimal(str(order.qty)) - Decimal(str(order.filled_qty)) for order in stops), Decimal(0))
        assert covered == Decimal(str(position.qty)), f"{position.symbol}: {position.qty} held, {covered} covered"
    assert verify_journal(venue.journal).sound
