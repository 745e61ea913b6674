"""A venue that loads a shipped scenario, served in a thread, with alpaca-py's own clients and raw ones."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import requests
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest, StopLossRequest, TakeProfitRequest
from alpaca.trading.stream import TradingStream

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.faults.scenario import Scenario, load
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer

KEYS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}


class Venue:
    """A stepped server in a thread."""

    def __init__(self, ex: Exchange, scenario: Scenario | None = None, **config: Any) -> None:
        self.exchange = ex
        self._config = ServerConfig(scenario=scenario, **config)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        if self._failure is not None:
            raise self._failure
        self.trading = TradingClient("sim", "sim", url_override=self.url)
        self.trading._retry_wait = 0

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the venue
            self._failure = error
            self._ready.set()

    async def _run(self) -> None:
        self.server = VenueServer(self.exchange, self._config)
        self.loop = asyncio.get_running_loop()
        self.url = await self.server.start()
        self._ready.set()
        await self.server.closed.wait()
        await self.server.stop()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.server.closed.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    # --- admin ---

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        headers = {"X-Admin-Token": self.server.admin_token}
        return requests.request(method, f"{self.url}/admin/{path}", json=body, headers=headers, timeout=10)

    def admin(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self.ask(method, path, body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def step(self) -> dict[str, Any]:
        return self.admin("POST", "step")

    def until(self, kind: str) -> dict[str, Any]:
        while (step := self.step())["kind"] != kind:
            assert not step["done"], f"the tape ended before {kind}"
        return step

    def done(self, kind: str) -> int:
        """How often faults of a kind have struck."""
        return sum(fault["done"] for fault in self.admin("GET", "faults")["faults"] if fault["kind"] == kind)

    def ledger(self, query: str = "") -> dict[str, Any]:
        return self.admin("GET", f"ledger{query}")

    # --- clients ---

    def raw(self, method: str, path: str, **rest: Any) -> requests.Response:
        return requests.request(method, self.url + path, headers=KEYS, **{"timeout": 10, "allow_redirects": False, **rest})

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


@contextmanager
def venue(ex: Exchange, scenario: str | None = None, **config: Any) -> Iterator[Venue]:
    """A served exchange with the shipped scenario of that name."""
    one = Venue(ex, load(scenario) if scenario else None, **config)
    try:
        yield one
    finally:
        one.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class SdkStreams:
    """alpaca-py's own streams in threads, as a user runs them; what they deliver and what connects."""

    def __init__(self, one: Venue, *, trading: bool = True, data: bool = False) -> None:
        socket = one.url.replace("http", "ws")
        self.venue = one
        self.updates: list[Any] = []
        self.bars: list[Any] = []
        self._streams: list[Any] = []
        if trading:
            stream = TradingStream("sim", "sim", url_override=f"{socket}/stream")
            stream.subscribe_trade_updates(self._on_update)
            self._streams.append(stream)
        if data:
            market = StockDataStream("sim", "sim", url_override=f"{socket}/v2/iex")
            for subscribe in (market.subscribe_bars, market.subscribe_daily_bars, market.subscribe_updated_bars):
                subscribe(self._on_bar, "*")
            self._streams.append(market)
        for one_stream in self._streams:
            threading.Thread(target=one_stream.run, daemon=True).start()
        if trading:
            wait_for(lambda: self.listening(one.server.trade_updates))
        if data:
            wait_for(lambda: self.listening(one.server.market_data))

    @staticmethod
    def listening(hub: Any) -> bool:
        return any(connection.symbols and not connection.leaving for connection in list(hub.connections))

    async def _on_update(self, update: Any) -> None:
        self.updates.append(update)

    async def _on_bar(self, bar: Any) -> None:
        self.bars.append(bar)

    @property
    def events(self) -> list[str]:
        return [getattr(update.event, "value", update.event) for update in self.updates]

    def __enter__(self) -> SdkStreams:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams:
            if stream._loop is not None and stream._loop.is_running():
                asyncio.run_coroutine_threadsafe(stream.stop_ws(), stream._loop)


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

    def __enter__(self) -> RawStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(5)
