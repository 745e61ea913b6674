"""A served venue: in the test's own event loop, or in a thread with unmodified alpaca-py clients and raw HTTP beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer

KEYS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}


@asynccontextmanager
async def serving(ex: Exchange, **config: Any) -> AsyncIterator[tuple[VenueServer, str]]:
    """(server, ``127.0.0.1:PORT``)"""
    server = VenueServer(ex, ServerConfig(**config))
    url = await server.start()
    try:
        yield server, url.removeprefix("http://")
    finally:
        await server.stop()


class ServedVenue:
    """A stepped server in a thread. ``exchange`` may be looked at (and its levers pulled) while no request is under way."""

    def __init__(self, ex: Exchange, **config: Any) -> None:
        self.exchange = ex
        self._config = ServerConfig(**config)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        if self._failure is not None:
            raise self._failure
        self.trading = TradingClient("sim", "sim", url_override=self.url)
        self.trading._retry_wait = 0  # repeats what it repeats, at once
        self._session = requests.Session()

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the venue
            self._failure = error
            self._ready.set()

    async def _run(self) -> None:
        self.server = VenueServer(self.exchange, self._config)
        self._loop = asyncio.get_running_loop()
        self.url = await self.server.start()
        self._ready.set()
        await self.server.closed.wait()
        await self.server.stop()

    def stop(self) -> None:
        """End it, if it has not ended itself; fails when that takes long."""
        if self._thread.is_alive() and not self.server.closed.is_set():
            self._loop.call_soon_threadsafe(self.server.closed.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, method: str, path: str, body: object = None) -> requests.Response:
        """Any answer of /admin."""
        headers = {"X-Admin-Token": self.server.admin_token}
        return self._session.request(method, f"{self.url}/admin/{path}", json=body, headers=headers, timeout=10)

    def admin(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """A good answer of /admin."""
        answer = self.ask(method, path, body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def step(self) -> dict[str, Any]:
        return self.admin("POST", "step")

    def until(self, kind: str) -> dict[str, Any]:
        """Step until one of ``kind`` has been taken."""
        while (step := self.step())["kind"] != kind:
            assert not step["done"], f"the tape ended before {kind}"
        return step

    def raw(self, method: str, path: str, *, keys: dict[str, str] = KEYS, **rest: Any) -> requests.Response:
        """A raw request on a connection of its own."""
        return requests.request(method, self.url + path, headers=keys, **{"timeout": 10, "allow_redirects": False, **rest})


class SdkStreams:
    """alpaca-py's own streams in threads, as a user runs them; what they deliver and what connects."""

    def __init__(self, one: ServedVenue, *, trading: bool = True, data: bool = False, symbol: str = "*") -> None:
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
                subscribe(self._on_bar, symbol)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams:
            if stream._loop is not None and stream._loop.is_running():
                asyncio.run_coroutine_threadsafe(stream.stop_ws(), stream._loop)


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what must happen; fail if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def refused(call: Callable[[], object]) -> tuple[int, int, str]:
    """(HTTP status, code, message) of the APIError."""
    with pytest.raises(APIError) as caught:
        call()
    return caught.value.status_code, caught.value.code, caught.value.message
