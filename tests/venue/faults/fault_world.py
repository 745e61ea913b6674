"""A venue that loads a shipped scenario, served in a thread, with alpaca-py's own clients and raw ones."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, Self

import aiohttp
import requests
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest, StopLossRequest, TakeProfitRequest
from served_world import ServedVenue, wait_for

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.faults.scenario import load


class Venue(ServedVenue):
    """A stepped server in a thread: what its faults have done, what its ledger says, and orders in few words."""

    def done(self, kind: str) -> int:
        """How often faults of a kind have struck."""
        return sum(fault["done"] for fault in self.admin("GET", "faults")["faults"] if fault["kind"] == kind)

    def ledger(self, query: str = "") -> dict[str, Any]:
        return self.admin("GET", f"ledger{query}")

    def send(self, timeout: float = 10, **body: Any) -> requests.Response:
        """POST /v2/orders: a raw market order for ten AAA unless told otherwise."""
        return self.raw("POST", "/v2/orders", json={"symbol": "AAA", "side": "buy", "qty": "10", **body}, timeout=timeout)

    def buy(self, name: str, symbol: str = "AAA", qty: int = 10, limit: float | None = None) -> Order:
        """An entry through the SDK: a DAY market order, or a limit."""
        common: dict[str, Any] = {
            "symbol": symbol,
            "qty": qty,
            "side": OrderSide.BUY,
            "time_in_force": TimeInForce.DAY,
            "client_order_id": name,
        }
        order = self.trading.submit_order(MarketOrderRequest(**common) if limit is None else LimitOrderRequest(**common, limit_price=limit))
        assert isinstance(order, Order)
        return order

    def bracket(self, name: str, symbol: str = "AAA", qty: int = 10, target: float = 110, stop: float = 95, **rest: Any) -> Order:
        """A GTC bracket through the SDK."""
        order = self.trading.submit_order(
            MarketOrderRequest(
                symbol=symbol,
                qty=qty,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.GTC,
                order_class=OrderClass.BRACKET,
                take_profit=TakeProfitRequest(limit_price=target),
                stop_loss=StopLossRequest(stop_price=stop),
                client_order_id=name,
                **rest,
            )
        )
        assert isinstance(order, Order)
        return order

    def order(self, name: str) -> Order:
        found = self.trading.get_order_by_client_id(name)
        assert isinstance(found, Order)
        return found

    def positions(self) -> dict[str, str]:
        return {position.symbol: position.qty for position in self.trading.get_all_positions()}


def venue(ex: Exchange, scenario: str | None = None, **config: Any) -> Venue:
    """A served exchange with the shipped scenario of that name."""
    return Venue(ex, scenario=load(scenario) if scenario else None, **config)


class RawStream:
    """A raw WebSocket on ``/stream`` or a data feed: every frame as it came. ``closed`` is how it ended: the close code, or ``abort``."""

    def __init__(self, one: Venue, path: str = "/stream", **subscribe: list[str]) -> None:
        self.frames: list[str] = []
        self.closed: int | str | None = None
        self._url, self._subscribe = one.url + path, subscribe
        self._path = path
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        answers = ("listening", "unauthorized") if path == "/stream" else ("subscription", "error")
        wait_for(lambda: any(answer in frame for frame in self.frames for answer in answers) or self.closed is not None)

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.ws_connect(self._url) as socket:
                    await socket.send_str(json.dumps({"action": "auth", "key": "sim", "secret": "sim"}))
                    listen = {"action": "listen", "data": {"streams": ["trade_updates"]}}
                    await socket.send_str(json.dumps(listen if self._path == "/stream" else {"action": "subscribe", **self._subscribe}))
                    await self._read(socket)
            except aiohttp.WSServerHandshakeError as refused:
                self.closed = refused.status

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while not self._stopped.is_set():
            try:
                frame = await socket.receive(timeout=0.2)
            except TimeoutError:
                continue
            if frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                self.frames.append(frame.data if isinstance(frame.data, str) else frame.data.decode("latin-1"))
            else:
                self.closed = socket.close_code if socket.close_code not in (None, 1006) else "abort"
                return

    @property
    def messages(self) -> list[Any]:
        """The business messages that can be read: trade updates' data, or market data, in order."""
        found: list[Any] = []
        for frame in self.frames:
            try:
                content = json.loads(frame)
            except ValueError:
                continue
            if isinstance(content, dict):
                found += [content["data"]] if content.get("stream") == "trade_updates" else []
            else:
                found += [message for message in content if message["T"] not in ("success", "subscription", "error")]
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(5)
