"""Backtest and paper venue: one order, one fate, whether it is submitted in process or over HTTP."""

from __future__ import annotations

from typing import Any

from rest_world import Venue
from venue_world import exchange, random_bars

from alphatrade_pipelines.venue import OrderQuery, VenueError
from alphatrade_pipelines.venue.server.requests import order_request


def test_the_same_orders_in_the_same_steps_fill_alike_behind_the_server_and_in_process() -> None:
    """Backtest and paper venue: equal executions, whatever the account number and the broker's ids."""
    bars = random_bars(symbols=3, sessions=40, seed=5)
    config: dict[str, Any] = {"profile": "pessimistic", "seed": 11, "skip": 5}
    names = ["AAA", "BBB", "CCC"]

    def wanted(number: int, close: float) -> dict[str, Any]:
        return {
            "symbol": names[number % 3],
            "qty": 7 + number,
            "side": "buy",
            "type": "market",
            "time_in_force": "gtc",
            "order_class": "bracket",
            "take_profit": {"limit_price": round(close * 1.02, 2)},
            "stop_loss": {"stop_price": round(close * 0.98, 2)},
            "client_order_id": f"decision-{number}",
        }

    inside = exchange(bars, **config)
    number = 0
    while (step := inside.advance()) is not None:
        if step.kind == "session_close":
            symbol = names[number % 3]
            try:
                inside.submit(order_request(wanted(number, float(inside.prices()[symbol]))))
            except VenueError:
                assert inside.cash_account.quantity(symbol)
            number += 1
    with Venue(exchange(bars, account_number="PA-OTHER", **config)) as venue:
        number = 0
        while not (answer := venue.step())["done"]:
            if answer["kind"] == "session_close":
                close = float(
                    venue.raw("GET", f"/v2/stocks/trades/latest?symbols={names[number % 3]}").json()["trades"][names[number % 3]]["p"]
                )
                venue.raw("POST", "/v2/orders", json=wanted(number, close))
                number += 1
        ledger = venue.admin("GET", "ledger")
    assert len(inside.fills()) > 20
    assert any(order.status == "rejected" for order in inside.orders(OrderQuery(status="closed", limit=500)))
    assert ledger["digest"] == inside.digest()
    assert ledger["executions"][0]["order_id"] != inside.fills()[0].order_id
    assert ledger["account"]["equity"] == str(inside.account().equity.normalize())
