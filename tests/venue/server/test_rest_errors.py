"""Every error of the catalogue (notes on Alpaca, 4), through the SDK's APIError and on the wire; and what no client should ever send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockLatestTradeRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest, ReplaceOrderRequest, StopLossRequest, StopOrderRequest, TakeProfitRequest
from rest_world import NOBODY, Venue, bracket
from served_world import KEYS, refused
from venue_world import FLAT, D, buy, daily_bars, exchange

from alphatrade_pipelines.venue import Fidelity
from alphatrade_pipelines.venue.server.gate import RateLimit

ORDER = {"symbol": "AAA", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
SUB_PENNY = "sub-penny increment does not fulfill minimum pricing criteria"


@pytest.fixture
def venue() -> Iterator[Venue]:
    with Venue(exchange(daily_bars({"AAA": [FLAT] * 4, "BBB": [FLAT] * 4}))) as one:
        yield one


@pytest.fixture(scope="module")
def standing() -> Iterator[Venue]:
    """One venue for questions that change nothing."""
    with Venue(exchange(daily_bars({"AAA": [FLAT] * 4}))) as one:
        yield one


def body_of(call: Callable[[], object]) -> dict[str, Any]:
    """The whole JSON body behind an APIError."""
    with pytest.raises(APIError) as caught:
        call()
    found: dict[str, Any] = json.loads(str(caught.value))
    return found


class TestCatalogue:
    def test_401_and_403_have_no_code(self, venue: Venue) -> None:
        nobody = venue.raw("GET", "/v2/account", keys={})
        assert (nobody.status_code, nobody.json()) == (401, {"message": "unauthorized."})
        stranger = TradingClient("sim", "wrong", url_override=venue.url)
        with pytest.raises(APIError) as caught:
            stranger.get_account()
        assert (caught.value.status_code, json.loads(str(caught.value))) == (403, {"message": "forbidden."})

    def test_other_ways_to_say_who_one_is(self, venue: Venue) -> None:
        assert StockHistoricalDataClient("sim", "sim", use_basic_auth=True, url_override=venue.url).get_stock_latest_trade(
            StockLatestTradeRequest(symbol_or_symbols="AAA")
        )
        token = {"Authorization": "Bearer something"}
        assert venue.raw("GET", "/v2/account", keys=token).json() == {"code": 40110000, "message": "request is not authorized"}
        for basic in ("Basic c2ltOm5v", "Basic ###", "Basic"):
            assert venue.raw("GET", "/v2/account", keys={"Authorization": basic}).status_code == 403
        asked = requests.get(f"{venue.url}/v2/account", headers={"Upgrade": "websocket", "Connection": "Upgrade"}, timeout=5)
        assert asked.status_code == 401  # only the streams themselves authenticate by message
        assert requests.post(f"{venue.url}/admin/step", headers=KEYS, timeout=5).status_code == 401

    def test_insufficient_buying_power(self, venue: Venue) -> None:
        found = body_of(lambda: venue.buy(qty=1e6))
        assert found == {
            "code": 40310000,
            "message": "insufficient buying power",
            "buying_power": "400000.00",
            "cost_basis": "100000000.00",
        }

    def test_insufficient_quantity(self, venue: Venue) -> None:
        venue.until("session_open")
        venue.trading.submit_order(bracket(16))
        found = body_of(lambda: venue.buy(qty=16, side=OrderSide.SELL))
        assert found.pop("related_orders")
        assert found == {
            "code": 40310000,
            "message": "insufficient qty available for order (requested: 16, available: 0)",
            "available": "0",
            "existing_qty": "16",
            "held_for_orders": "16",
            "symbol": "AAA",
        }

    def test_wash_trade(self, venue: Venue) -> None:
        venue.until("session_open")
        venue.buy(qty=5)
        resting = venue.limit(90, qty=1)
        assert body_of(lambda: venue.trading.close_position("AAA")) == {
            "code": 40310000,
            "message": "potential wash trade detected. use complex orders",
            "existing_order_id": str(resting.id),
            "reject_reason": "opposite side market/stop order exists",
        }

    def test_too_small(self, venue: Venue) -> None:
        expected = (403, 40310000, "cost basis must be >= minimal amount of order 1")
        assert refused(lambda: venue.buy(qty=0.001)) == expected
        tiny = MarketOrderRequest(symbol="AAA", notional=0.5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
        assert refused(lambda: venue.trading.submit_order(tiny)) == expected

    def test_no_margin_no_short(self) -> None:
        with Venue(exchange(daily_bars({"AAA": [FLAT] * 3}), cash=D(1500))) as venue:
            assert refused(lambda: venue.buy(qty=1, side=OrderSide.SELL)) == (403, 40310000, "account is not allowed to short")

    def test_directions_and_notional_orders(self, venue: Venue) -> None:
        venue.buy("BBB", 1, side=OrderSide.SELL)
        assert refused(lambda: venue.trading.submit_order(bracket(symbol="BBB", name=None)))[2] == (
            "cannot open a long buy while a short sell order is open"
        )
        venue.until("session_open")
        venue.buy(qty=4)
        venue.limit(105, qty=1, side=OrderSide.SELL)
        dollars = MarketOrderRequest(symbol="AAA", notional=50, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
        assert refused(lambda: venue.trading.submit_order(dollars))[0] == 403

    @pytest.mark.parametrize(
        ("lever", "message"),
        [
            ({"trade_suspended_by_user": True}, "new orders are rejected by user request"),
            ({"closing_only": True}, "account is restricted to liquidation"),
            ({"trading_blocked": True}, "trading blocked for this account"),
            ({"account_blocked": True}, "account is blocked"),
        ],
    )
    def test_restricted_accounts(self, venue: Venue, lever: dict[str, bool], message: str) -> None:
        venue.exchange.levers.restrict(**lever)
        assert refused(lambda: venue.buy()) == (403, 40310000, message)

    def test_the_abolished_day_trade_rule(self) -> None:
        legacy = Fidelity(pattern_day_trader=True)
        with Venue(exchange(daily_bars({"AAA": [FLAT] * 3}), cash=D(20_000), fidelity=legacy)) as venue:
            venue.until("session_open")
            for _ in range(3):
                venue.buy(qty=1)
                venue.trading.close_position("AAA")
            venue.buy(qty=1)
            assert refused(lambda: venue.trading.close_position("AAA")) == (
                403,
                40310100,
                "trade denied due to pattern day trading protection",
            )

    def test_404(self, venue: Venue) -> None:
        assert refused(lambda: venue.trading.get_order_by_id(NOBODY)) == (404, 40410000, f"order not found for {NOBODY}")
        assert refused(lambda: venue.trading.cancel_order_by_id(NOBODY)) == (404, 40410000, f"order not found for {NOBODY}")
        assert refused(lambda: venue.trading.replace_order_by_id(NOBODY, ReplaceOrderRequest(qty=1)))[1] == 40410000
        assert refused(lambda: venue.trading.get_order_by_client_id("none")) == (404, 40410000, "order not found")
        assert refused(lambda: venue.trading.get_open_position("AAA")) == (404, 40410000, "position does not exist")
        assert refused(lambda: venue.trading.close_position("AAA")) == (404, 40410000, "position does not exist")
        assert refused(lambda: venue.trading.get_asset("ZZZZ")) == (404, 40410000, "asset not found for ZZZZ")

    @pytest.mark.parametrize(
        ("change", "status", "code", "message"),
        [
            ({"qty": None}, 422, 40010001, "qty is required"),
            ({"symbol": None}, 422, 40010001, "symbol is required"),
            ({"side": ""}, 422, 40010001, "side is required"),
            ({"notional": "10"}, 400, 40010001, "only one of qty or notional is accepted"),
            ({"order_class": "bracket", "type": "stop", "stop_price": 101}, 422, 40010001, "bracket orders must be market or limit orders"),
            ({"order_class": "bracket"}, 422, 40010001, "bracket orders require take_profit.limit_price"),
            (
                {"order_class": "bracket", "take_profit": {"limit_price": 110}},
                422,
                40010001,
                "bracket orders require stop_loss.stop_price",
            ),
            ({"qty": "1.5", "time_in_force": "gtc"}, 422, 42210000, "fractional orders must be DAY orders"),
            ({"qty": "1.5", "side": "sell"}, 422, 42210000, "fractional orders cannot be sold short"),
            ({"type": "limit", "limit_price": "99.123"}, 422, 42210000, f"invalid limit_price 99.123. {SUB_PENNY}"),
            ({"type": "stop", "stop_price": 101.001}, 422, 42210000, f"invalid stop_price 101.001. {SUB_PENNY}"),
            ({"symbol": "ZZZZ"}, 422, 42210000, 'asset "ZZZZ" not found'),
            ({"type": "limit", "limit_price": 9, "stop_price": 8}, 422, 42210000, "limit orders must not have stop_price"),
            ({"client_order_id": "x" * 129}, 422, 40010001, "client_order_id must be no more than 128 characters"),
            (
                {"position_intent": "buy_to_close"},
                422,
                42210000,
                "position intent mismatch, inferred: buy_to_open, specified: buy_to_close",
            ),
            ({"extended_hours": True}, 422, 42210000, "extended hours order must be DAY limit orders"),
        ],
    )
    def test_422(self, standing: Venue, change: dict[str, object], status: int, code: int, message: str) -> None:
        answer = standing.raw("POST", "/v2/orders", json={**ORDER, **change})
        assert (answer.status_code, answer.json()) == (status, {"code": code, "message": message})
        assert standing.trading.get_orders() == []

    def test_brackets_must_open_and_lie_around_the_base_price(self, venue: Venue) -> None:
        far = body_of(lambda: venue.trading.submit_order(bracket(stop_loss=StopLossRequest(stop_price=100.5))))
        assert far == {"code": 42210000, "message": "stop_loss.stop_price must be <= base_price - 0.01", "base_price": "100.00"}
        low = body_of(lambda: venue.trading.submit_order(bracket(take_profit=TakeProfitRequest(limit_price=99))))
        assert low["message"] == "take_profit.limit_price must be >= base_price + 0.01"
        fraction = refused(lambda: venue.trading.submit_order(bracket(1.5)))
        assert fraction == (422, 42210000, "fractional orders must be simple orders")
        venue.until("session_open")
        venue.buy()
        legs: dict[str, Any] = {"take_profit": TakeProfitRequest(limit_price=90), "stop_loss": StopLossRequest(stop_price=110)}
        assert refused(lambda: venue.trading.submit_order(bracket(side=OrderSide.SELL, **legs)))[2] == "bracket orders must be entry orders"

    def test_assets_that_cannot_be_traded(self, venue: Venue) -> None:
        levers = venue.exchange.levers
        levers.asset("AAA", tradable=False)
        assert refused(lambda: venue.buy()) == (422, 42210000, "asset AAA is not tradable")
        levers.asset("BBB", shortable=False)
        assert refused(lambda: venue.buy("BBB", side=OrderSide.SELL)) == (422, 42210000, 'asset "BBB" cannot be sold short')
        levers.asset("BBB", fractionable=False)
        assert refused(lambda: venue.buy("BBB", 1.5)) == (422, 42210000, "requested asset is not fractionable")

    def test_what_cannot_be_replaced_or_cancelled(self, venue: Venue) -> None:
        order = venue.trading.submit_order(bracket())
        assert refused(lambda: venue.trading.replace_order_by_id(order.id, ReplaceOrderRequest(qty=5))) == (
            422,
            42210000,
            "cannot replace order in accepted status",
        )
        venue.until("session_open")
        assert refused(lambda: venue.trading.cancel_order_by_id(order.id)) == (422, 42210000, 'order is already in "filled" state')

    def test_429_with_its_headers(self) -> None:
        with Venue(exchange(daily_bars({"AAA": [FLAT] * 3})), requests_per_minute=5) as venue:
            answers = [venue.raw("GET", "/v2/clock") for _ in range(7)]
            data = venue.raw("GET", "/v2/stocks/trades/latest?symbols=AAA")
            assert refused(lambda: venue.trading.get_clock()) == (429, 42910000, "rate limit exceeded")
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[-1].json() == {"code": 42910000, "message": "rate limit exceeded"}
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0", "0"]
        assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"5"}
        assert len({answer.headers["X-RateLimit-Reset"] for answer in answers}) == 1
        assert (data.status_code, data.headers["X-RateLimit-Remaining"]) == (200, "4")  # a limit of its own, as on its own host

    def test_the_window_opens_anew(self) -> None:
        now = [1000.5]
        limit = RateLimit(2, "no", lambda: now[0])
        assert [limit.take() is None for _ in range(3)] == [True, True, False]
        assert limit.headers() == {"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1061"}
        now[0] = 1060.6
        assert limit.take() is None
        assert limit.headers()["X-RateLimit-Remaining"] == "1"

    def test_an_internal_error_is_no_traceback(self, venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken() -> None:
            raise ZeroDivisionError("secret")

        monkeypatch.setattr(venue.exchange, "account", broken)
        answer = venue.raw("GET", "/v2/account")
        assert (answer.status_code, answer.json()) == (500, {"code": 50010000, "message": "internal server error"})

    def test_accepted_and_rejected_later(self, venue: Venue) -> None:
        order = venue.buy()
        venue.exchange.levers.reject(str(order.id))
        assert venue.trading.get_order_by_id(order.id).status.value == "rejected"

    def test_every_answer_has_an_id_of_its_own(self, standing: Venue) -> None:
        answers = [standing.raw("GET", path) for path in ("/v2/clock", "/v2/nothing", "/v2/orders?limit=0")]
        assert len({answer.headers["X-Request-ID"] for answer in answers}) == 3
        assert all(len(answer.headers["X-Request-ID"]) == 32 for answer in answers)
        assert "X-RateLimit-Limit" not in answers[0].headers


class TestHostile:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 400),
            (b"{not json", 400),
            (b"[]", 400),
            (b"null", 400),
            (b'"text"', 400),
            (b"\xff\xfe", 400),
            (b"[" * 100_000, 400),
            (b'{"a":' * 50_000, 400),
            (b'{"qty":' + b"9" * 5000 + b"}", 400),
            (b'{"symbol":"AAA","side":"buy","qty":NaN}', 400),
            (b'{"symbol":"AAA","side":"buy","qty":-Infinity}', 400),
            (b'"' + b"x" * 2_000_000 + b'"', 413),
            (b'{"symbol": 5}', 422),
            (b'{"symbol":["AAA"],"side":"buy","qty":1}', 422),
            (b'{"symbol":"AAA","side":{"a":1},"qty":1}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":true}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":"1e999"}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1e400}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1e-400}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":"nan"}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":"sNaN"}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":"-1"}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":0}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":"0x10"}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1,"take_profit":7}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1,"extended_hours":"maybe"}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1,"order_class":"bracket","take_profit":{"limit_price":"x"}}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1,"type":"limit","limit_price":1e-20}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1,"order_class":"mleg","legs":[]}', 422),
        ],
    )
    def test_bodies(self, standing: Venue, body: bytes, status: int) -> None:
        for method, path in (("POST", "/v2/orders"), ("PATCH", f"/v2/orders/{NOBODY}"), ("PATCH", "/v2/account/configurations")):
            answer = standing.raw(method, path, data=body)
            if method == "POST" or status in (400, 413):
                assert answer.status_code == status, answer.text
            assert answer.status_code in (400, 404, 413, 422)
            assert isinstance(answer.json()["code"], int)
            assert answer.json()["message"]
            assert "Traceback" not in answer.text
        assert standing.exchange.book.orders == {}

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v2/nothing", 404),
            ("GET", "/", 200),
            ("GET", "/v3/orders", 404),
            ("GET", "/v2/orders/", 404),
            ("GET", "/v2/watchlists", 404),
            ("GET", "/v2/options/contracts", 404),
            ("PUT", "/v2/orders", 405),
            ("PATCH", "/v2/positions", 405),
            ("POST", "/v2/clock", 405),
            ("DELETE", "/v2/account", 405),
            ("GET", "/v2/orders/%00%ff%2e%2e%2f", 404),
            ("GET", "/v2/orders/" + "x" * 4000, 404),
        ],
    )
    def test_paths_and_methods(self, standing: Venue, method: str, path: str, status: int) -> None:
        answer = standing.raw(method, path)
        assert answer.status_code == status, answer.text
        if status != 200:
            assert set(answer.json()) == {"code", "message"}


def test_a_refusal_leaves_a_receipt_and_nothing_else(venue: Venue) -> None:
    venue.raw("POST", "/v2/orders", json={**ORDER, "qty": "1e9"})
    venue.exchange.submit(buy())
    receipts = venue.exchange.ledger.receipts
    assert [(receipt.order_id is None, receipt.code) for receipt in receipts] == [(True, 40310000), (False, None)]
    assert len(venue.exchange.book.orders) == 1


def test_stop_orders_of_the_sdk_need_their_price(venue: Venue) -> None:
    order = StopOrderRequest(
        symbol="AAA", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, stop_price=101, order_class=OrderClass.SIMPLE
    )
    assert venue.trading.submit_order(order).stop_price == "101"
