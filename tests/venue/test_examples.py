"""The examples as a stranger runs them: each a process of its own, against the command as it is typed. Only the environment tells them
that this is not Alpaca."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


class Served:
    """A venue process, and the truth of its ledger."""

    def __init__(self, address: dict[str, Any]) -> None:
        self.url: str = address["url"]
        self._token = Path(address["admin_token_file"]).read_text()

    def ledger(self) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/admin/ledger", headers={"X-Admin-Token": self._token}, timeout=10)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    def run(self, name: str, *arguments: str) -> str:
        """What an example prints; it must end well."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("APCA", "ALPACA"))}
        environment |= {"ALPACA_URL": self.url, "APCA_API_KEY_ID": "sim", "APCA_API_SECRET_KEY": "sim", "NO_PROXY": "127.0.0.1"}
        command = [sys.executable, "-W", "ignore::DeprecationWarning", str(EXAMPLES / name), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One venue for all examples: they build on each other, as a user's afternoon does. A minute of the market passes each second."""
    folder = tmp_path_factory.mktemp("venue")
    command = [sys.executable, "-m", "alphatrade_pipelines.venue", "--bars", "synthetic", "--symbols", "AAPL,MSFT", "--timeframe", "1Min"]
    command += ["--speed", "60", "--cash", "50000", "--profile", "optimistic", "--state-file", str(folder / "venue.json")]
    with (folder / "venue.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 90
        while not (folder / "venue.json").is_file():
            assert process.poll() is None, (folder / "venue.log").read_text()
            assert time.monotonic() < until, "the venue did not announce its address"
            time.sleep(0.1)
        yield Served(json.loads((folder / "venue.json").read_text()))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, (folder / "venue.log").read_text()


def test_account_and_assets(venue: Served) -> None:
    told = venue.run("account_and_assets.py")
    assert "equity $50000, cash $50000, buying power $200000" in told
    assert "AAPL: tradable True" in told
    assert "2 stocks, 2 of them tradable" in told
    assert len(re.findall(r"^session \d{4}-\d\d-\d\d from 09:30 to 16:00$", told, re.MULTILINE)) >= 4


def test_place_bracket(venue: Served) -> None:
    told = venue.run("place_bracket.py", "AAPL", "7")
    assert re.search(r"^filled: 7(\.0)? of 7(\.0)? AAPL at [\d.]+$", told, re.MULTILINE), told
    assert re.search(r"sell 7 limit [\d.]+: new", told)
    assert re.search(r"sell 7 stop [\d.]+: held", told)
    assert held(venue) == {"AAPL": Decimal(7)}


def test_replace_leg(venue: Served) -> None:
    told = venue.run("replace_leg.py", "AAPL")
    old, new = (Decimal(found) for found in re.findall(r"^\S+: stop ([\d.]+)", told, re.MULTILINE))
    assert new == (old * Decimal("1.02")).quantize(Decimal("0.01"))
    assert "now replaced" in told
    assert re.search(r"held, replaces \S+-", told)


def test_stream_bars_and_updates(venue: Served) -> None:
    told = venue.run("stream_bars_and_updates.py", "MSFT", "2")
    assert len(re.findall(r"^bar .* MSFT close [\d.]+ volume", told, re.MULTILINE)) >= 2
    assert re.search(r"^order filled: 1 of 1 MSFT$", told, re.MULTILINE), told
    assert held(venue) == {"AAPL": Decimal(7), "MSFT": Decimal(1)}


def test_close_position(venue: Served) -> None:
    told = venue.run("close_position.py", "AAPL")
    assert "filled at" in told
    assert "AAPL: position does not exist" in told
    assert held(venue) == {"MSFT": Decimal(1)}


def test_page_history(venue: Served) -> None:
    ledger = venue.ledger()
    told = venue.run("page_history.py", "AAPL", "MSFT")
    assert [int(count) > 10_000 for count in re.findall(r"(\d+) minute bars from", told)] == [True, True]
    fills = re.findall(r"^\S+Z (buy|sell) (\S+) (\S+) at (\S+)$", told, re.MULTILINE)
    truth = [(fill["side"], fill["qty"], fill["symbol"], fill["price"]) for fill in ledger["executions"]]
    assert fills == truth
    assert re.search(r"^[5-9] orders: .*canceled.*filled.*replaced", told, re.MULTILINE), told


def test_the_code_in_the_documentation(venue: Served) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "venue.md").read_text(), re.DOTALL)
    code = code.replace("127.0.0.1:8900", venue.url.removeprefix("http://"))
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    equity, day, _ = told.split()
    assert Decimal(equity) > 0
    assert day.startswith("2024-")


def held(venue: Served) -> dict[str, Decimal]:
    """Positions by the exchange's own ledger."""
    return {position["symbol"]: Decimal(position["qty"]) for position in venue.ledger()["positions"]}
