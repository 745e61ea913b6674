"""A venue served in a thread, with one unmodified alpaca-py client of each kind and raw HTTP beside them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest, StopLossRequest, TakeProfitRequest

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer

FLAT = (100.0, 100.0, 100.0, 100.0, 1e6)
KEYS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}
NOBODY = "00000000-0000-4000-8000-000000000000"


class Venue:
    """A stepped server in a thread. ``exchange`` may be looked at (and its levers pulled) while no request is under way."""

    def __init__(self, ex: Exchange, **config: Any) -> None:
        self.exchange = ex
        self._config = ServerConfig(**config)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        self.trading = TradingClient("sim", "sim", url_override=self.url)
        self.data = StockHistoricalDataClient("sim", "sim", url_override=self.url)
        self.actions = CorporateActionsClient("sim", "sim", url_override=self.url)
        self._session = requests.Session()

    async def _run(self) -> None:
        self.server = VenueServer(self.exchange, self._config)
        self._loop = asyncio.get_running_loop()
        self.url = await self.server.start()
        self._ready.set()
        await self.server.closed.wait()
        await self.server.stop()

    def stop(self) -> float:
        """Ends it; returns the seconds it took."""
        began = time.monotonic()
        if self._thread.is_alive() and not self.server.closed.is_set():
            self._loop.call_soon_threadsafe(self.server.closed.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        return time.monotonic() - began

    def admin(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._session.request(
            method, f"{self.url}/admin/{path}", json=body, headers={"X-Admin-Token": self.server.admin_token}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def step(self) -> dict[str, Any]:
        return self.admin("POST", "step", {"acks": True})

    def until(self, kind: str) -> dict[str, Any]:
        while (step := self.step())["kind"] != kind:
            assert not step["done"], f"the tape ended before {kind}"
        return step

    def raw(self, method: str, path: str, *, keys: dict[str, str] = KEYS, **rest: Any) -> requests.Response:
        return self._session.request(method, self.url + path, headers=keys, timeout=10, **rest)

    def get(self, path: str) -> Any:
        """The JSON of a successful raw GET."""
        answer = self.raw("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def buy(self, symbol: str = "AAA", qty: float = 10, **rest: Any) -> Order:
        """A market order for today through the SDK."""
        asked: dict[str, Any] = {"side": OrderSide.BUY, "time_in_force": TimeInForce.DAY, **rest}
        order = self.trading.submit_order(MarketOrderRequest(symbol=symbol, qty=qty, **asked))
        assert isinstance(order, Order)
        return order

    def limit(self, price: float, qty: float = 10, side: OrderSide = OrderSide.BUY, **rest: Any) -> Order:
        """A limit order for AAA through the SDK."""
        asked: dict[str, Any] = {"symbol": "AAA", "time_in_force": TimeInForce.DAY, **rest}
        order = self.trading.submit_order(LimitOrderRequest(qty=qty, side=side, limit_price=price, **asked))
        assert isinstance(order, Order)
        return order


@contextmanager
def running(ex: Exchange, **config: Any) -> Iterator[Venue]:
    venue = Venue(ex, **config)
    try:
        yield venue
    finally:
        venue.stop()


def bracket(qty: float = 10, name: str | None = "entry-1", **rest: Any) -> MarketOrderRequest:
    given: dict[str, Any] = {
        "symbol": "AAA",
        "side": OrderSide.BUY,
        "time_in_force": TimeInForce.GTC,
        "order_class": OrderClass.BRACKET,
        "take_profit": TakeProfitRequest(limit_price=110),
        "stop_loss": StopLossRequest(stop_price=95),
        **rest,
    }
    return MarketOrderRequest(qty=qty, client_order_id=name, **given)


def refused(call: Callable[[], object]) -> tuple[int, int, str]:
    """(HTTP status, code, message) of the APIError."""
    with pytest.raises(APIError) as caught:
        call()
    return caught.value.status_code, caught.value.code, caught.value.message
