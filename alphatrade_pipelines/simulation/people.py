"""A person at the broker's own page: trades, orders and cancellations nobody told the trader of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import requests

from alphatrade_pipelines.simulation.network import Line
from alphatrade_pipelines.simulation.story import Step
from alphatrade_pipelines.simulation.virtual import VirtualLoop
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.orders import VenueOrderRequest

CENT = Decimal("0.01")
_HEADERS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}


class BrokersPage:
    """``made``: the orders that came into being here, by the venue's id."""

    def __init__(self, loop: VirtualLoop, exchange: Exchange, line: Line, url: str) -> None:
        self._loop, self._exchange, self._line, self._url = loop, exchange, line, url
        self.made: set[str] = set()

    def act(self, step: Step) -> bool:
        """Do what a step of the story says. False when there was nothing to do it with. Raises: VenueError where the venue says no."""
        symbol = step.get("symbol", "")
        match step["do"]:
            case "trade":
                self._exchange.levers.manual_trade(symbol, Decimal(step["qty"]))
            case "order":
                self._order(symbol, step)
            case "replace leg":
                return self._replace_leg(symbol, step["by"])
            case "cancel order":
                found = self._live(symbol)
                if not found:
                    return False
                self._exchange.cancel(found[0].id)
            case "close all":
                self._close_all(cancel=step["cancel"])
        return True

    def _order(self, symbol: str, step: Step) -> None:
        price = (self._exchange.prices()[symbol] * Decimal(repr(step["at_price"]))).quantize(CENT)
        limit = None if step["at_price"] == 1.0 else price
        kind = "market" if limit is None else "limit"
        asked = VenueOrderRequest(symbol, step["side"], Decimal(step["qty"]), type=kind, limit_price=limit)
        self.made.add(self._exchange.submit(asked).id)

    def _replace_leg(self, symbol: str, by: float) -> bool:
        for order in self._live(symbol):
            if order.stop_price is not None and order.is_exit_leg:
                self._exchange.replace(order.id, stop_price=(order.stop_price * Decimal(repr(by))).quantize(CENT))
                return True
        return False

    def _live(self, symbol: str) -> list[Any]:
        return [order for order in self._exchange.book.live() if order.symbol == symbol and order.status != "pending_cancel"]

    def _close_all(self, *, cancel: bool) -> None:
        """The button "close all": the venue's own handler, faults of single items included."""
        query = f"?cancel_orders={'true' if cancel else 'false'}"
        prepared = requests.Request("DELETE", f"{self._url}/v2/positions{query}", headers=_HEADERS).prepare()
        self._loop.create_task(self._closed(prepared))

    async def _closed(self, prepared: requests.PreparedRequest) -> None:
        self.made.update(await self._line.by_person(prepared))
