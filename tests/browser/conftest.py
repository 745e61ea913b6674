"""`alphatrade ui` as a person starts it, on free ports and a home of its own, and a Chromium to look at it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alphatrade_pipelines.live.health import read_heartbeat
from alphatrade_pipelines.settings import Settings, load_settings
from alphatrade_pipelines.trader import heartbeat_path, running_session
from tests.conftest import lacking
from tests.tools.homes import ROOT, copy_home, end_venue, house_environment

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Chromium must not call home either
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
]
READY_WITHIN_S = 240.0


@dataclass(frozen=True)
class Ui:
    """Addresses of the running pages and the home they show."""

    dagster: str
    mlflow: str
    settings: Settings

    def shoot(self, page: Page, name: str) -> None:
        """Save a picture for the README when asked to by ALPHATRADE_SCREENSHOTS; a plain test run leaves the tree alone."""
        if SCREENSHOTS:
            folder = ROOT / "docs" / "images"
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(folder / name))


# taken away at import: the settings of the house refuse a name they do not know
SCREENSHOTS = os.environ.pop("ALPHATRADE_SCREENSHOTS", "") == "1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def ui(sealed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """Dagster (webserver and daemon) and MLflow over a copy of the trained home."""
    home = copy_home(sealed_home, tmp_path_factory.mktemp("ui") / "home")
    ports = free_port(), free_port()
    environment = house_environment(home, SERVERS__DAGSTER_PORT=str(ports[0]), SERVERS__MLFLOW_PORT=str(ports[1]))
    output = home.parent / "ui.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "alphatrade_pipelines.cli", "ui"], cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    shown = Ui(f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", load_settings(home=home))
    try:
        wait_until_announced(process, output, (shown.dagster, shown.mlflow))
        yield shown
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)
        end_trader(shown.settings)
        end_venue(home)


def wait_until_announced(process: subprocess.Popen[bytes], output: Path, addresses: tuple[str, ...]) -> None:
    """Both addresses are printed once their servers answer; nothing else counts as ready."""
    until = time.monotonic() + READY_WITHIN_S
    while not all(address in output.read_text() for address in addresses):
        assert process.poll() is None, f"alphatrade ui ended by itself:\n{output.read_text()}"
        assert time.monotonic() < until, f"alphatrade ui did not announce its addresses:\n{output.read_text()}"
        time.sleep(0.5)


def end_trader(settings: Settings) -> None:
    """A failed test may leave its session trading: end that process by its id."""
    beat = read_heartbeat(heartbeat_path(settings, "sim"))
    if beat is not None and f"process {beat.pid}," in running_session(settings, "sim"):
        os.kill(beat.pid, signal.SIGKILL)


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A fresh browser page of README size."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        opened = browser.new_page(viewport={"width": 1400, "height": 900})
        opened.set_default_timeout(60_000)
        yield opened
        browser.close()
