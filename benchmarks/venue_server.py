"""Order round trips over loopback: the venue in a process of its own, a raw asyncio client on eight kept-alive connections.

A round trip is one request about an order and its whole answer. The mix of a busy session: of 15 requests 6 submit (four resting limits,
a bracket, a market buy that fills), 4 cancel, 3 replace a price, 2 ask for an order. One resting limit in four stays, so that the book
grows to thousands of live orders while it is measured.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil

CONNECTIONS = 8
SECONDS = 8.0
SYMBOLS = ("ALFA", "BRAV", "CHAR", "DELT", "ECHO", "FOXT", "GOLF", "HOTE")
_KEYS = "APCA-API-KEY-ID: sim\r\nAPCA-API-SECRET-KEY: sim\r\nContent-Type: application/json\r\n"
_START_SECONDS = 60.0


@contextmanager
def stepped_venue() -> Iterator[tuple[int, psutil.Process]]:
    """A venue over synthetic 5-minute bars, stepped into its first session: (port, process)."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "venue.json"
        chosen = ["--bars", "synthetic", "--symbols", ",".join(SYMBOLS), "--cash", "1000000000", "--profile", "optimistic"]
        command = [sys.executable, "-m", "alphatrade_pipelines.venue", "--step", *chosen, "--state-file", str(state)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not state.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the venue did not start (exit code {process.poll()})")
                time.sleep(0.05)
            said = json.loads(state.read_text())
            token = Path(said["admin_token_file"]).read_text()
            while _admin(said["url"], token, "step")["kind"] != "session_open":
                pass
            yield int(said["url"].rsplit(":", 1)[1]), psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(10)


def _admin(url: str, token: str, path: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{url}/admin/{path}", data=b"{}", headers={"X-Admin-Token": token}, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@dataclass
class Client:
    """One connection and what it measured: seconds of every round trip."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seconds: list[float] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One round trip. Raises RuntimeError for an answer that is no success."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: venue\r\n{_KEYS}Content-Length: {len(content)}\r\n\r\n"
        began = time.perf_counter()
        self.writer.write(head.encode() + content)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        at = answer.lower().find(b"content-length:")
        length = int(answer[at + 15 : answer.index(b"\r\n", at)]) if at >= 0 else 0
        text = await self.reader.readexactly(length)
        self.seconds.append(time.perf_counter() - began)
        if answer[9:10] != b"2":
            raise RuntimeError(f"{method} {path}: {answer[:40]!r} {text!r}")
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    async def submit(self, symbol: str, **order: Any) -> str:
        """The id of a new order."""
        return str((await self.ask("POST", "/v2/orders", {"symbol": symbol, "qty": "10", "time_in_force": "day", **order}))["id"])

    async def trade(self, symbol: str, price: float) -> None:
        """Fifteen round trips; see the module."""
        low = round(price * 0.8, 2)
        resting = [await self.submit(symbol, side="buy", type="limit", limit_price=round(low + tick / 100, 2)) for tick in range(4)]
        for order in resting[:3]:
            changed = await self.ask("PATCH", f"/v2/orders/{order}", {"limit_price": round(low - 0.5, 2)})
            await self.ask("DELETE", f"/v2/orders/{changed['id']}")
        legs = {"take_profit": {"limit_price": round(price * 1.2, 2)}, "stop_loss": {"stop_price": round(low * 0.9, 2)}}
        bracket = await self.submit(symbol, side="buy", type="limit", limit_price=low, order_class="bracket", **legs)
        await self.ask("GET", f"/v2/orders/{bracket}")
        await self.ask("DELETE", f"/v2/orders/{bracket}")
        await self.submit(symbol, side="buy", type="market")
        await self.ask("GET", f"/v2/orders/{resting[3]}")


async def measure(port: int, seconds: float = SECONDS, connections: int = CONNECTIONS) -> tuple[float, list[float]]:
    """(round trips a second, seconds of each) over ``seconds`` after a short warm-up."""
    clients = []
    for number in range(connections):
        clients.append(Client(number, *await asyncio.open_connection("127.0.0.1", port)))
    prices = {symbol: await _price(clients[0], symbol) for symbol in SYMBOLS}

    async def work(client: Client, until: float) -> None:
        symbol = SYMBOLS[client.number % len(SYMBOLS)]
        while time.perf_counter() < until:
            await client.trade(symbol, prices[symbol])

    await asyncio.gather(*(work(client, time.perf_counter() + 0.5) for client in clients))
    for client in clients:
        client.seconds.clear()
    began = time.perf_counter()
    await asyncio.gather(*(work(client, began + seconds) for client in clients))
    passed = time.perf_counter() - began
    for client in clients:
        client.writer.close()
    trips = [seconds for client in clients for seconds in client.seconds]
    return len(trips) / passed, trips


async def _price(client: Client, symbol: str) -> float:
    answer = await client.ask("GET", f"/v2/stocks/trades/latest?symbols={symbol}")
    return float(answer["trades"][symbol]["p"])


def rows() -> list[tuple[str, float, str]]:
    """The rows of the benchmark."""
    with stepped_venue() as (port, process):
        before = process.cpu_times()
        rate, trips = asyncio.run(measure(port))
        after = process.cpu_times()
    busy = after.user + after.system - before.user - before.system
    what = f"venue, orders over loopback, {CONNECTIONS} connections"
    return [
        (what, rate, "round trips/s"),
        (f"{what}, p50", median(trips) * 1e3, "ms"),
        (f"{what}, p99", quantiles(trips, n=100)[98] * 1e3, "ms"),
        ("venue, CPU of the server an order round trip", busy / len(trips) * 1e6, "us"),
    ]
