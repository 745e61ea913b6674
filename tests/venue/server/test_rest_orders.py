"""/v2/orders through the unmodified SDK and through raw HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from alpaca.common.enums import Sort
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)
from rest_world import NOBODY, Venue, bracket
from served_world import refused
from venue_world import FLAT, daily_bars, exchange, intraday_bars

ROWS = [FLAT, (100.0, 102.0, 99.0, 101.0, 1e6), (101.0, 112.0, 100.0, 111.0, 1e6), (111.0, 112.0, 108.0, 110.0, 1e6)]


@pytest.fixture
def venue() -> Iterator[Venue]:
    with Venue(exchange(daily_bars({"AAA": ROWS, "BBB": [FLAT] * 4}))) as one:
        yield one


@pytest.fixture
def trading(venue: Venue) -> Venue:
    """In the first session, prices printing."""
    venue.until("session_open")
    return venue


def test_a_bracket_lives_its_life(venue: Venue) -> None:
    order = venue.trading.submit_order(bracket())
    assert isinstance(order, Order)
    assert order.status is OrderStatus.ACCEPTED
    assert [(leg.type.value, leg.status.value) for leg in order.legs or []] == [("limit", "held"), ("stop", "held")]
    assert venue.until("session_open")["clock"]["is_open"] is True
    assert venue.trading.get_order_by_client_id("entry-1").status is OrderStatus.FILLED
    nested = venue.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, nested=True))
    assert [(o.status.value, [leg.status.value for leg in o.legs]) for o in nested] == [("filled", ["new", "held"])]
    flat = venue.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, symbols=["AAA"], side=OrderSide.SELL))
    assert {o.status.value for o in flat} == {"new", "held"}
    assert all(o.legs is None for o in flat)
    stop = nested[0].legs[1]
    moved = venue.trading.replace_order_by_id(stop.id, ReplaceOrderRequest(stop_price=97, client_order_id="tighter"))
    assert (moved.replaces, moved.stop_price) == (stop.id, "97")
    venue.until("session_close")
    venue.until("session_close")
    ended = venue.trading.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
    assert [(leg.status.value, leg.filled_avg_price) for leg in ended.legs] == [("filled", "110"), ("canceled", None)]
    assert venue.trading.get_account().equity == "100100"


def test_an_oco_as_the_sdk_sends_it(trading: Venue) -> None:
    trading.buy()
    oco = trading.trading.submit_order(
        LimitOrderRequest(
            symbol="AAA",
            qty=10,
            side=OrderSide.SELL,
            time_in_force=TimeInForce.GTC,
            order_class=OrderClass.OCO,
            take_profit=TakeProfitRequest(limit_price=110),
            stop_loss=StopLossRequest(stop_price=95),
        )
    )
    assert (oco.limit_price, oco.order_class) == ("110", OrderClass.OCO)
    assert [leg.status.value for leg in oco.legs] == ["held"]


def test_an_oto_as_the_sdk_sends_it(trading: Venue) -> None:
    oto = trading.trading.submit_order(
        MarketOrderRequest(
            symbol="AAA",
            qty=3,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.DAY,
            order_class=OrderClass.OTO,
            stop_loss=StopLossRequest(stop_price=90, limit_price=89.5),
        )
    )
    assert [(leg.type.value, leg.stop_price, leg.limit_price) for leg in oto.legs] == [("stop_limit", "90", "89.5")]


@pytest.mark.parametrize("trail", [{"trail_price": 2.5}, {"trail_percent": 3.0}])
def test_trailing_stops(trading: Venue, trail: dict[str, float]) -> None:
    trading.buy()
    asked = TrailingStopOrderRequest(symbol="AAA", qty=10, side=OrderSide.SELL, time_in_force=TimeInForce.GTC, **trail)
    order = trading.trading.submit_order(asked)
    name, value = next(iter(trail.items()))
    assert order.type.value == "trailing_stop"
    assert {key: getattr(order, key) for key in ("trail_price", "trail_percent")} == {
        "trail_price": None,
        "trail_percent": None,
        name: f"{value:g}",
    }
    seen = trading.trading.get_order_by_id(order.id)
    assert (seen.hwm, seen.stop_price) == ("100", "97.5" if name == "trail_price" else "97")
    closer = trading.trading.replace_order_by_id(order.id, ReplaceOrderRequest(trail=1))
    assert (getattr(closer, name), closer.stop_price, closer.replaces) == ("1", "99", order.id)


def test_notional_and_fractional_orders(trading: Venue) -> None:
    dollars = trading.trading.submit_order(
        MarketOrderRequest(symbol="AAA", notional=250.5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    )
    assert (dollars.notional, dollars.qty) == ("250.5", None)
    assert trading.trading.get_order_by_id(dollars.id).filled_qty == "2.505"
    part = trading.limit(100, qty=0.25)
    assert (part.qty, part.notional) == ("0.25", None)
    assert trading.trading.get_open_position("AAA").qty == "2.755"


@pytest.mark.parametrize("tif", [TimeInForce.IOC, TimeInForce.FOK])
def test_orders_that_do_not_wait(trading: Venue, tif: TimeInForce) -> None:
    filled, missed = trading.limit(101, time_in_force=tif), trading.limit(90, time_in_force=tif)
    statuses = [trading.trading.get_order_by_id(order.id).status.value for order in (filled, missed)]
    assert statuses == ["filled", "canceled"]


def test_orders_for_the_auctions(trading: Venue) -> None:
    closing = trading.limit(102, time_in_force=TimeInForce.CLS)
    assert (closing.time_in_force, closing.status) == (TimeInForce.CLS, OrderStatus.PENDING_NEW)
    code = refused(lambda: trading.limit(100, time_in_force=TimeInForce.OPG))[:2]
    assert code == (422, 42210000)  # Alpaca takes them from 19:00 to 9:28
    trading.until("session_close")
    assert trading.trading.get_order_by_id(closing.id).filled_avg_price == "101"


def test_extended_hours_on_the_wire(venue: Venue) -> None:
    order = venue.limit(99, extended_hours=True)
    assert order.extended_hours
    refusal = refused(lambda: venue.buy(extended_hours=True))
    assert refusal == (422, 42210000, "extended hours order must be DAY limit orders")


def test_every_type_as_alpaca_spells_it(trading: Venue) -> None:
    trading.buy()
    common: dict[str, Any] = {"symbol": "AAA", "side": OrderSide.SELL, "time_in_force": TimeInForce.DAY}
    stop = trading.trading.submit_order(StopOrderRequest(qty=4, stop_price=95, **common))
    stop_limit = trading.trading.submit_order(StopLimitOrderRequest(qty=4, stop_price=94, limit_price=93.5, **common))
    raw = {order["id"]: order for order in trading.get("/v2/orders")}
    first, second = raw[str(stop.id)], raw[str(stop_limit.id)]
    assert (first["type"], first["order_type"], first["stop_price"], first["limit_price"]) == ("stop", "stop", "95", None)
    assert (second["type"], second["stop_price"], second["limit_price"]) == ("stop_limit", "94", "93.5")
    assert first | {"id": 0, "client_order_id": 0} == {
        "id": 0,
        "client_order_id": 0,
        "created_at": "2024-03-05T14:30:00Z",
        "updated_at": "2024-03-05T14:30:00Z",
        "submitted_at": "2024-03-05T14:30:00Z",
        "filled_at": None,
        "expired_at": None,
        "canceled_at": None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": str(trading.trading.get_asset("AAA").id),
        "symbol": "AAA",
        "asset_class": "us_equity",
        "notional": None,
        "qty": "4",
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": "",
        "order_type": "stop",
        "type": "stop",
        "side": "sell",
        "position_intent": "sell_to_close",
        "time_in_force": "day",
        "limit_price": None,
        "stop_price": "95",
        "status": "new",
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
        "expires_at": "2024-03-05T21:00:00Z",
    }


def test_numbers_come_as_numbers_or_as_strings_to_the_last_digit(trading: Venue) -> None:
    body = b'{"symbol":"AAA","side":"buy","type":"limit","time_in_force":"day","qty":0.100000001,"limit_price":99.90}'
    found = trading.raw("POST", "/v2/orders", data=body).json()
    assert (found["qty"], found["limit_price"]) == ("0.100000001", "99.9")
    as_text = {"symbol": "AAA", "side": "buy", "type": "limit", "time_in_force": "day", "qty": "3", "limit_price": "99.91"}
    assert trading.raw("POST", "/v2/orders", json=as_text).json()["limit_price"] == "99.91"
    by_asset_id = as_text | {"symbol": found["asset_id"]}
    assert trading.raw("POST", "/v2/orders", json=by_asset_id).json()["symbol"] == "AAA"
    noise = {**as_text, "limit_price": 0.1 + 0.2}  # 0.30000000000000004 goes out verbatim
    assert trading.raw("POST", "/v2/orders", json=noise).json()["message"].startswith("invalid limit_price 0.30000000000000004")


def test_cancel_one_and_all(venue: Venue) -> None:
    first = venue.trading.submit_order(bracket())
    assert venue.raw("DELETE", f"/v2/orders/{first.id}").status_code == 204
    assert [leg.status.value for leg in venue.trading.get_order_by_id(first.id).legs] == ["canceled", "canceled"]
    assert refused(lambda: venue.trading.cancel_order_by_id(first.id)) == (422, 42210000, 'order is already in "canceled" state')
    venue.trading.submit_order(bracket(name="entry-2"))
    venue.limit(90)
    answers = venue.trading.cancel_orders()
    assert [answer.status for answer in answers] == [200] * 4
    assert venue.trading.get_orders() == []
    assert venue.raw("DELETE", "/v2/orders").json() == []
    venue.limit(90)
    assert venue.raw("DELETE", "/v2/orders").status_code == 207


def test_replacing_changes_ids_and_tells_both_ways(trading: Venue) -> None:
    old = trading.limit(90)
    new = trading.trading.replace_order_by_id(
        old.id, ReplaceOrderRequest(qty=7, limit_price=91, time_in_force=TimeInForce.GTC, client_order_id="second")
    )
    assert (new.qty, new.limit_price, new.time_in_force, new.replaces, new.client_order_id) == (
        "7",
        "91",
        TimeInForce.GTC,
        old.id,
        "second",
    )
    before = trading.trading.get_order_by_id(old.id)
    assert (before.status, before.replaced_by) == (OrderStatus.REPLACED, new.id)
    assert before.replaced_at is not None
    assert refused(lambda: trading.trading.cancel_order_by_id(old.id))[0] == 422


class TestListing:
    """Filters of GET /v2/orders. Orders of one moment share their ``submitted_at``: venue time stands still between two steps."""

    @pytest.fixture
    def many(self) -> Iterator[Venue]:
        rows = [(100.0, 100.0, 100.0, 100.0, 1e6)] * 6
        with Venue(exchange(intraday_bars("AAA", rows), timeframe="5Min", skip=0)) as one:
            one.until("session_open")
            for _ in range(3):
                for number in range(4):
                    one.limit(90 + number)
                one.until("path")
            yield one

    def test_defaults(self, many: Venue) -> None:
        found = many.trading.get_orders()
        assert len(found) == 12
        stamps = [order.submitted_at for order in found]
        assert stamps == sorted(stamps, reverse=True)

    def test_after_and_until_are_exclusive(self, many: Venue) -> None:
        stamps = sorted({order.submitted_at for order in many.trading.get_orders()})
        between = many.trading.get_orders(GetOrdersRequest(after=stamps[0], until=stamps[2], direction=Sort.ASC))
        assert {order.submitted_at for order in between} == {stamps[1]}
        later = many.trading.get_orders(GetOrdersRequest(after=stamps[0] - timedelta(microseconds=1), limit=3, direction=Sort.ASC))
        assert [order.submitted_at for order in later] == [stamps[0]] * 3

    def test_paging_by_time_loses_ties_and_by_id_does_not(self, many: Venue) -> None:
        everything = [order["id"] for order in many.get("/v2/orders?direction=asc&limit=500")]
        first = many.get("/v2/orders?direction=asc&limit=3")
        by_time = many.get(f"/v2/orders?direction=asc&limit=500&after={first[-1]['submitted_at']}")
        assert [order["id"] for order in by_time] == everything[4:]  # the fourth of the first moment is skipped
        seen = [order["id"] for order in first]
        while page := many.get(f"/v2/orders?direction=asc&limit=3&after_order_id={seen[-1]}"):
            seen += [order["id"] for order in page]
        assert seen == everything
        backwards = many.get(f"/v2/orders?limit=2&before_order_id={everything[2]}")
        assert [order["id"] for order in backwards] == everything[1::-1]

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("limit=0", 422),
            ("limit=501", 422),
            ("limit=x", 422),
            (f"limit={'9' * 5000}", 422),
            ("status=maybe", 422),
            ("direction=up", 422),
            ("side=both", 422),
            ("nested=perhaps", 422),
            ("after=yesterday-ish", 422),
            ("after=now", 422),
            (f"before_order_id={NOBODY}", 404),
            (f"before_order_id={NOBODY}&after_order_id={NOBODY}", 422),
            (f"before_order_id={NOBODY}&after=2024-01-01", 422),
        ],
    )
    def test_bad_queries(self, many: Venue, query: str, status: int) -> None:
        answer = many.raw("GET", f"/v2/orders?{query}")
        assert answer.status_code == status, answer.text
        assert set(answer.json()) == {"code", "message"}

    def test_symbols_sides_classes_and_casing(self, many: Venue) -> None:
        assert many.trading.get_orders(GetOrdersRequest(symbols=["BBB"])) == []
        assert len(many.trading.get_orders(GetOrdersRequest(symbols=["AAA", "BBB"], side=OrderSide.BUY))) == 12
        assert many.trading.get_orders(GetOrdersRequest(side=OrderSide.SELL)) == []
        assert len(many.get("/v2/orders?asset_class=us_equity,us_option")) == 12
        assert many.get("/v2/orders?asset_class=crypto") == []
        for word in ("true", "True", "TRUE"):
            assert len(many.get(f"/v2/orders?nested={word}&status=all")) == 12

    def test_a_list_holds_fifty_unless_told_and_five_hundred_at_most(self) -> None:
        with Venue(exchange(daily_bars({"AAA": ROWS}))) as one:
            for _ in range(51):
                assert one.raw("POST", "/v2/orders", json={"symbol": "AAA", "qty": 1, "side": "buy"}).status_code == 200
            assert len(one.get("/v2/orders")) == 50
            assert len(one.trading.get_orders(GetOrdersRequest(limit=500))) == 51


def test_the_same_id_is_never_taken_twice(venue: Venue) -> None:
    order = venue.trading.submit_order(bracket())
    venue.trading.cancel_order_by_id(order.id)
    assert refused(lambda: venue.trading.submit_order(bracket())) == (422, 40010001, "client_order_id must be unique")


def test_one_may_ask_by_the_clients_id(venue: Venue) -> None:
    odd = "a/b:c d?e&f=g%"
    order = venue.limit(90, client_order_id=odd)
    assert venue.trading.get_order_by_client_id(odd).id == order.id
    assert refused(lambda: venue.trading.get_order_by_client_id("none")) == (404, 40410000, "order not found")
    assert venue.raw("GET", "/v2/orders:by_client_order_id").status_code == 422
