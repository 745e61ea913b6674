"""A person's way through MLflow: the registered version says where it came from and what the gate thought of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import tracking
from tests.browser.conftest import Ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


def test_the_model_version_shows_its_lineage(ui: Ui, page: Page) -> None:
    version = tracking.registry(ui.settings).version("1")
    page.goto(f"{ui.mlflow}/#/models/{version.name}")
    page.get_by_text("champion").first.wait_for()
    page.goto(f"{ui.mlflow}/#/models/{version.name}/versions/1")
    page.get_by_text("bundle_hash").first.wait_for()
    close_the_assistant(page)
    page.get_by_text("Loading source model").wait_for(state="hidden")
    page.locator(f'a[href*="{version.run_id}"]').first.wait_for()
    shown = page.inner_text("body")
    aliases = re.search(r"Aliases\s*:\s*@\s(\w+)\s*@\s(\w+)", shown)
    assert aliases is not None, shown[:2000]
    assert set(aliases.groups()) == {"champion", "challenger"}
    told = {name: version.tags[name] for name in ("dagster.run_id", "dagster.asset_key", "data_hash", "git_commit", "bundle_hash")}
    assert told["data_hash"] == bootstrap.bar_store(ui.settings).data_hash()
    for name, value in told.items():
        assert re.search(rf"{re.escape(name)}\s+{re.escape(value)}", shown), name
    assert re.search(r"gate\.profile\s+paper", shown)
    assert '"name": "log_loss_gain"' in shown, "the gate report is readable on the page"
    assert re.search(r"Inputs \(\d{2}\)", shown)
    page.wait_for_timeout(1_000)
    ui.shoot(page, "mlflow-model.png")
    run_behind_it(page, version.run_id)


def close_the_assistant(page: Page) -> None:
    """MLflow may open a chat beside the page, a moment late."""
    page.wait_for_timeout(3_000)
    close = page.locator("[data-component-id='mlflow.assistant.chat_panel.close']")
    if close.count():
        close.click()
        close.wait_for(state="hidden")


def run_behind_it(page: Page, run_id: str) -> None:
    """The link of the version leads to the run with its parameters and metrics."""
    link = page.locator(f'a[href*="{run_id}"]').first
    link.click()
    page.wait_for_url(re.compile(run_id))
    for name in ("log_loss", "base_log_loss", "ece", "dagster.run_id"):
        page.get_by_text(name, exact=True).first.wait_for()
