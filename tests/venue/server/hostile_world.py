"""A server under attack, and the truth behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
from served_world import KEYS, serving
from venue_world import FLAT, bracket, buy, daily_bars, exchange, until

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.server.app import VenueServer

HEADER = b"APCA-API-KEY-ID: sim\r\nAPCA-API-SECRET-KEY: sim\r\n"


class Target:
    """A server under attack, and the truth behind it."""

    def __init__(self, server: VenueServer, at: str) -> None:
        self.server, self.url, self.port = server, f"http://{at}", int(at.rpartition(":")[2])
        self.exchange: Exchange = server.exchange

    def truth(self) -> dict[str, Any]:
        """What no refused request may change."""
        ex = self.exchange
        return {
            "digest": ex.digest(),
            "account": ex.account(),
            "positions": ex.positions(),
            "orders": {order.id: order.snapshot() for order in ex.book.orders.values()},
            "taken": [receipt for receipt in ex.ledger.receipts if receipt.order_id],
            "now": ex.now,
        }

    async def raw(self, *parts: bytes, seconds: float = 5.0) -> bytes:
        """Whatever comes back on a bare connection until it is closed, or the bytes of a first answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01)
            async with asyncio.timeout(seconds):
                return await reader.read(1 << 16)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def healthy(self) -> None:
        """The server still serves."""
        async with aiohttp.request("GET", f"{self.url}/v2/clock", headers=KEYS) as answer:
            assert answer.status == 200


def shaped(status: int, text: str) -> dict[str, Any]:
    """The body of a refusal in Alpaca's shape."""
    assert 400 <= status < 500, (status, text)
    assert "Traceback" not in text
    body = json.loads(text)
    assert isinstance(body["message"], str)
    assert body["message"]
    return dict(body)


def split(answer: bytes) -> tuple[int, str]:
    """(status, body) of a raw HTTP answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


@asynccontextmanager
async def served() -> AsyncIterator[Target]:
    ex = exchange(daily_bars({"AAA": [FLAT] * 4, "BBB": [FLAT] * 4}))
    ex.submit(bracket(qty=10, client_order_id="entry"))
    until(ex, "session_open")
    ex.submit(buy("BBB", 5, type="limit", limit_price=Decimal(90), client_order_id="resting"))
    async with serving(ex) as (server, at):
        yield Target(server, at)


@asynccontextmanager
async def unmoved() -> AsyncIterator[Target]:
    """A server that must hold the same and serve the same afterwards."""
    async with served() as one:
        before = one.truth()
        yield one
        assert one.truth() == before
        await one.healthy()


def adds_up(ex: Exchange) -> bool:
    """Cash and positions are what the executions say."""
    cash, held = ex.cash_account.initial_cash, dict[str, Decimal]()
    for fill in ex.fills():
        sign = 1 if fill.side == "buy" else -1
        cash -= sign * fill.qty * fill.price + fill.fee
        held[fill.symbol] = held.get(fill.symbol, Decimal(0)) + sign * fill.qty
    return cash == ex.account().cash and {s: q for s, q in held.items() if q} == {p.symbol: p.qty for p in ex.positions()}
