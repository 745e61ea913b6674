"""A venue served in a thread, with one unmodified alpaca-py client of each kind and raw HTTP beside them."""

from __future__ import annotations

from typing import Any

from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest, StopLossRequest, TakeProfitRequest
from served_world import ServedVenue

from alphatrade_pipelines.venue import Exchange

NOBODY = "00000000-0000-4000-8000-000000000000"


class Venue(ServedVenue):
    """What a user does with the SDK, in few words."""

    def __init__(self, ex: Exchange, **config: Any) -> None:
        super().__init__(ex, **config)
        self.data = StockHistoricalDataClient("sim", "sim", url_override=self.url)
        self.actions = CorporateActionsClient("sim", "sim", url_override=self.url)

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
