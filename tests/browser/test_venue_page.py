"""The venue's page in a real browser, opened by the address the command prints in a terminal: seen, pressed, and out of reach for a
foreign page on the same machine."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.browser.conftest import SCREENSHOTS
from tests.tools.homes import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
KEYS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}
EVIL = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>'


@dataclass(frozen=True)
class Venue:
    """A venue started in a terminal: its address and the page address it printed."""

    url: str
    page: str
    token: str

    def send(self, **order: Any) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/v2/orders", json=order, headers=KEYS, timeout=10)
        assert answer.status_code == 200, answer.text
        taken: dict[str, Any] = answer.json()
        return taken

    def admin(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = requests.request(method, f"{self.url}/admin/{path}", json=body, headers={"X-Admin-Token": self.token}, timeout=30)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def price(self, symbol: str) -> float:
        answer = requests.get(f"{self.url}/v2/stocks/trades/latest", params={"symbols": symbol}, headers=KEYS, timeout=10)
        return float(answer.json()["trades"][symbol]["p"])


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    """``alphatrade venue`` as a person types it, in a terminal."""
    state = tmp_path_factory.mktemp("venue") / "venue.json"
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "alphatrade_pipelines.cli", "venue", "--bars", "synthetic", "--step", "--profile", "optimistic"]
    process = subprocess.Popen([*command, "--state-file", str(state)], cwd=ROOT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        told = ""
        while (found := re.search(r"(http://\S+)/\?token=\S+\s", told)) is None:
            told += os.read(terminal, 4096).decode()  # OSError when the command ends instead
        token = Path(json.loads(state.read_text())["admin_token_file"]).read_text()
        yield Venue(found[1], found[0].strip(), token)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        os.close(terminal)


def test_positions_orders_and_faults_are_seen_and_time_moves(venue: Venue, page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(venue.page)
    page.wait_for_url(f"{venue.url}/")
    page.get_by_role("button", name="session open").click()
    page.get_by_text("market open").wait_for()
    trade(venue)
    page.locator("#positions tr.gap", has_text="DELT").wait_for()
    assert page.locator("#positions tr", has_text="ALFA").locator("td").nth(6).inner_text().strip() == "40"
    assert "gap 25" in page.locator("#positions tr", has_text="DELT").inner_text()
    assert page.locator("#orders .held").count() == 3
    assert page.title().startswith("AlphaTrade venue")
    assert page.locator("img").count() == 0
    assert EVIL in page.locator("#orders .id").all_inner_texts()

    page.locator("summary", has_text="halt").click()
    form = page.locator("details[open] form")
    form.locator("select[name=symbol]").select_option("BRAV")
    form.locator("input[name=at]").fill("+10m")
    form.get_by_role("button", name="Inject").click()
    page.locator("#faults tr", has_text="halt").get_by_text("armed", exact=True).wait_for()
    before = page.locator(".time").inner_text()
    page.get_by_role("button", name="next point").click()
    page.wait_for_function("before => document.querySelector('.time').innerText !== before", arg=before)
    if SCREENSHOTS:
        picture(venue, page)
    page.locator("#faults tr", has_text="halt").get_by_role("button", name="cancel").click()
    page.locator("#faults").get_by_text("None active.").wait_for()
    assert venue.admin("GET", "faults")["faults"] == []
    assert errors == []


def trade(venue: Venue) -> None:
    """Three protected positions, a naked one, a resting order with a hostile name."""
    for number, (symbol, qty) in enumerate((("ALFA", 40), ("BRAV", 120), ("CHAR", 75))):
        price = venue.price(symbol)
        venue.send(
            symbol=symbol,
            side="buy",
            qty=qty,
            type="market",
            time_in_force="gtc",
            order_class="bracket",
            take_profit={"limit_price": round(price * 1.2, 2)},
            stop_loss={"stop_price": round(price * 0.8, 2)},
            client_order_id=f"swing-7-{symbol}-{number}-entry",
        )
    venue.send(symbol="DELT", side="buy", qty=25, type="market", time_in_force="day", client_order_id="by-hand-1")
    resting = {"symbol": "ECHO", "side": "buy", "qty": 5, "type": "limit", "limit_price": 1, "time_in_force": "gtc"}
    venue.send(**resting, client_order_id=EVIL)
    venue.admin("POST", "step")


def picture(venue: Venue, page: Page) -> None:
    """docs/images/venue.png."""
    for _ in range(3):
        venue.admin("POST", "step", {"until": "session_close"})
    for _ in range(90):
        venue.admin("POST", "step")
    page.wait_for_timeout(9_000)
    page.screenshot(path=str(ROOT / "docs" / "images" / "venue.png"))


def test_without_javascript_every_button_still_works(venue: Venue, chromium: str) -> None:
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM_ARGS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(venue.page)
        page.wait_for_url(f"{venue.url}/")
        page.get_by_role("button", name="session open").click()
        page.get_by_text("market open").wait_for()
        page.locator("summary", has_text="mute_data").click()
        page.locator("details[open]").get_by_role("button", name="Inject").click()
        page.locator("#faults tr", has_text="mute_data").get_by_role("button", name="cancel").click()
        page.get_by_text("None active.").wait_for()
        browser.close()


def test_a_foreign_page_on_this_machine_cannot_press_or_read(venue: Venue, page: Page) -> None:
    """Another server on another port of 127.0.0.1: to cookies the same site, to the venue a stranger."""
    page.goto(venue.page)
    page.wait_for_url(f"{venue.url}/")
    before = venue.admin("GET", "state")["at"]
    with foreign_site(venue.url) as site:
        page.goto(f"{site}/form")
        page.locator("button").click()
        page.get_by_text("works only on the venue's own page").wait_for()
        page.goto(f"{site}/fetch")
        page.wait_for_function("document.title === 'done'")
        assert page.inner_text("body") == "blocked blocked blocked"
        page.goto(f"{site}/frame")
        page.wait_for_timeout(500)
        assert not any(frame.url.startswith(venue.url) and "market" in frame.content() for frame in page.frames)
    assert venue.admin("GET", "state")["at"] == before


class foreign_site:  # noqa: N801 - reads as a function
    """A page of somebody else that knows the venue's address."""

    def __init__(self, target: str) -> None:
        press = f"{target}/page/step"
        pages = {
            "/form": f'<form method="post" action="{press}"><input name="until" value="open"><button>win a prize</button></form>',
            "/frame": f'<iframe src="{target}/"></iframe>',
            "/fetch": f"""<body></body><script>
                const tries = [fetch("{press}", {{method: "POST", credentials: "include", body: new URLSearchParams({{until: "open"}})}}),
                  fetch("{target}/", {{credentials: "include"}}), fetch("{target}/page/live", {{credentials: "include"}})];
                Promise.allSettled(tries).then((all) => {{
                  document.body.innerText = all.map((one) => one.status === "rejected" ? "blocked" : "read").join(" ");
                  document.title = "done"; }});
                </script>""",
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pages.get(self.path, "").encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
