"""The server through the unmodified alpaca-py, and through raw HTTP where alpaca-py would hide what is on the wire."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import aiohttp
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import (
    CorporateActionsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce, TradeEvent
from alpaca.trading.models import AccountConfiguration, Order, TradeUpdate
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)
from alpaca.trading.stream import TradingStream
from venue_world import PLAIN, D, daily_bars, exchange, intraday_bars, random_bars

from alphatrade_pipelines.market import SessionCalendar
from alphatrade_pipelines.venue import BarTape, Exchange, ExchangeConfig
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer

FLAT = (100.0, 100.0, 100.0, 100.0, 1e6)
KEYS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}


class Venue:
    """A server in a thread, with one client of each kind."""

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

    async def _run(self) -> None:
        self.server = VenueServer(self.exchange, self._config)
        self.loop = asyncio.get_running_loop()
        self.url = await self.server.start()
        self._ready.set()
        await self.server.closed.wait()
        await self.server.stop()

    def stop(self) -> float:
        """Ends it; returns the seconds it took."""
        began = time.monotonic()
        if self._thread.is_alive() and not self.server.closed.is_set():
            self.loop.call_soon_threadsafe(self.server.closed.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        return time.monotonic() - began

    def admin(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = requests.request(
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
        return requests.request(method, self.url + path, headers=keys, timeout=10, **rest)


@contextmanager
def running(ex: Exchange, **config: Any) -> Iterator[Venue]:
    venue = Venue(ex, **config)
    try:
        yield venue
    finally:
        venue.stop()


@pytest.fixture
def venue() -> Iterator[Venue]:
    rows = [FLAT, (100.0, 102.0, 99.0, 101.0, 1e6), (101.0, 112.0, 100.0, 111.0, 1e6), (111.0, 112.0, 108.0, 110.0, 1e6)]
    with running(exchange(daily_bars({"AAA": rows, "BBB": [FLAT] * 4}))) as one:
        yield one


def bracket(qty: int = 10, name: str = "entry-1") -> MarketOrderRequest:
    return MarketOrderRequest(
        symbol="AAA",
        qty=qty,
        side=OrderSide.BUY,
        time_in_force=TimeInForce.GTC,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=110),
        stop_loss=StopLossRequest(stop_price=95),
        client_order_id=name,
    )


def refused(call: Callable[[], object]) -> tuple[int, int, str]:
    """(HTTP status, code, message) of the APIError."""
    with pytest.raises(APIError) as caught:
        call()
    return caught.value.status_code, caught.value.code, caught.value.message


class TestTradingClient:
    def test_account_clock_calendar_and_assets(self, venue: Venue) -> None:
        account = venue.trading.get_account()
        assert (account.status.value, account.equity, account.buying_power, account.multiplier) == ("ACTIVE", "100000", "400000", "4")
        clock = venue.trading.get_clock()
        assert not clock.is_open
        assert clock.timestamp.utcoffset() is not None
        assert clock.next_open.isoformat() == "2024-03-05T09:30:00-05:00"
        half_day = venue.trading.get_calendar(GetCalendarRequest(start=date(2024, 11, 29), end=date(2024, 11, 30)))
        assert [(day.date, day.open, day.close) for day in half_day] == [
            (date(2024, 11, 29), datetime(2024, 11, 29, 9, 30), datetime(2024, 11, 29, 13, 0))
        ]
        assert [asset.symbol for asset in venue.trading.get_all_assets()] == ["AAA", "BBB"]
        asset = venue.trading.get_asset("AAA")
        assert venue.trading.get_asset(asset.id) == asset
        assert refused(lambda: venue.trading.get_asset("NONE"))[:2] == (404, 40410000)

    def test_account_configurations_round_trip(self, venue: Venue) -> None:
        found = venue.trading.get_account_configurations()
        assert isinstance(found, AccountConfiguration)
        assert venue.trading.set_account_configurations(found) == found
        assert refused(lambda: venue.trading.set_account_configurations(found.model_copy(update={"no_shorting": True})))[0] == 422

    def test_a_bracket_lives_its_life(self, venue: Venue) -> None:
        order = venue.trading.submit_order(bracket())
        assert isinstance(order, Order)
        assert order.status is OrderStatus.ACCEPTED
        assert [(leg.type.value, leg.status.value) for leg in order.legs or []] == [("limit", "held"), ("stop", "held")]
        assert venue.until("session_open")["clock"]["is_open"] is True
        assert venue.trading.get_order_by_client_id("entry-1").status is OrderStatus.FILLED
        position = venue.trading.get_open_position("AAA")
        assert (position.qty, position.avg_entry_price, position.qty_available, position.side.value) == ("10", "100", "0", "long")
        assert [p.symbol for p in venue.trading.get_all_positions()] == ["AAA"]
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
        assert refused(lambda: venue.trading.get_open_position("AAA")) == (404, 40410000, "position does not exist")

    def test_cancel_one_and_all(self, venue: Venue) -> None:
        first = venue.trading.submit_order(bracket())
        venue.trading.cancel_order_by_id(first.id)
        assert [leg.status.value for leg in venue.trading.get_order_by_id(first.id).legs] == ["canceled", "canceled"]
        assert refused(lambda: venue.trading.cancel_order_by_id(first.id)) == (422, 42210000, 'order is already in "canceled" state')
        venue.trading.submit_order(bracket(name="entry-2"))
        assert {answer.status for answer in venue.trading.cancel_orders()} == {200}
        assert venue.trading.get_orders() == []

    def test_close_position_and_all_positions(self, venue: Venue) -> None:
        venue.trading.submit_order(bracket())
        venue.trading.submit_order(MarketOrderRequest(symbol="BBB", qty=8, side=OrderSide.BUY, time_in_force=TimeInForce.DAY))
        venue.until("session_open")
        half = venue.trading.close_position("BBB", ClosePositionRequest(percentage="50"))
        assert (half.qty, half.side.value) == ("4", "sell")
        status, code, message = refused(lambda: venue.trading.close_position("AAA"))
        assert (status, code) == (403, 40310000)
        assert message == "insufficient qty available for order (requested: 10, available: 0)"
        mixed = venue.trading.close_all_positions()
        assert [(answer.symbol, answer.status) for answer in mixed] == [("AAA", 403), ("BBB", 200)]
        assert mixed[0].body.held_for_orders == 10
        assert [answer.status for answer in venue.trading.close_all_positions(cancel_orders=True)] == [200]
        assert venue.trading.get_all_positions() == []

    def test_oco_as_the_sdk_sends_it(self, venue: Venue) -> None:
        venue.trading.submit_order(MarketOrderRequest(symbol="AAA", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.DAY))
        venue.until("session_open")
        oco = venue.trading.submit_order(
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

    def test_activities_page_through_every_execution(self, venue: Venue) -> None:
        for number in range(5):
            venue.trading.submit_order(
                MarketOrderRequest(symbol="BBB", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, client_order_id=f"b{number}")
            )
        venue.until("session_open")
        seen: list[str] = []
        token = None
        while page := venue.trading.get(
            "/account/activities",
            {"activity_types": "FILL", "page_size": 2, "direction": "asc", **({"page_token": token} if token else {})},
        ):
            assert len(page) <= 2
            seen += [activity["order_id"] for activity in page]
            token = page[-1]["id"]
        orders = {str(order.id) for order in venue.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED))}
        assert len(seen) == 5
        assert set(seen) == orders

    def test_portfolio_history(self, venue: Venue) -> None:
        venue.trading.submit_order(bracket())
        for _ in range(3):
            venue.until("session_close")
        history = venue.trading.get_portfolio_history(GetPortfolioHistoryRequest(period="1M", timeframe="1D"))
        assert history.equity == [100010.0, 100100.0, 100100.0]
        assert history.profit_loss == [10.0, 100.0, 100.0]
        assert datetime.fromtimestamp(history.timestamp[0], UTC) == datetime(2024, 3, 5, 14, 30, tzinfo=UTC)


class TestErrors:
    """Codes and words of the catalogue, as the SDK reports them."""

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"symbol": "ZZZZ"}, (422, 42210000, 'asset "ZZZZ" not found')),
            ({"qty": 1e9}, (403, 40310000, "insufficient buying power")),
            ({"qty": 1.5}, (422, 42210000, "fractional orders must be simple orders")),
            ({"stop_loss": StopLossRequest(stop_price=100.5)}, (422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01")),
            ({"take_profit": TakeProfitRequest(limit_price=99)}, (422, 42210000, "take_profit.limit_price must be >= base_price + 0.01")),
            (
                {"stop_loss": StopLossRequest(stop_price=95.123)},
                (422, 42210000, "invalid stop_loss.stop_price 95.123. sub-penny increment does not fulfill minimum pricing criteria"),
            ),
            ({"take_profit": None}, (422, 40010001, "bracket orders require take_profit.limit_price")),
            ({"client_order_id": "x" * 129}, (422, 40010001, "client_order_id must be no more than 128 characters")),
            ({"time_in_force": TimeInForce.OPG}, (422, 40010001, "invalid time_in_force 'opg': this venue takes day, gtc, ioc")),
        ],
    )
    def test_bracket(self, venue: Venue, change: dict[str, Any], expected: tuple[int, int, str]) -> None:
        assert refused(lambda: venue.trading.submit_order(bracket().model_copy(update=change))) == expected
        assert venue.trading.get_orders() == []

    def test_client_order_id_is_unique_for_ever(self, venue: Venue) -> None:
        order = venue.trading.submit_order(bracket())
        venue.trading.cancel_order_by_id(order.id)
        assert refused(lambda: venue.trading.submit_order(bracket())) == (422, 40010001, "client_order_id must be unique")

    def test_wash_trade(self, venue: Venue) -> None:
        venue.trading.submit_order(MarketOrderRequest(symbol="AAA", qty=5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY))
        venue.until("session_open")
        limit = LimitOrderRequest(symbol="AAA", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=90)
        resting = venue.trading.submit_order(limit)
        with pytest.raises(APIError) as caught:
            venue.trading.close_position("AAA")
        body = json.loads(str(caught.value))
        assert body["code"] == 40310000
        assert body["existing_order_id"] == str(resting.id)
        assert body["message"] == "potential wash trade detected. use complex orders"

    def test_orders_that_are_not_there(self, venue: Venue) -> None:
        nobody = "00000000-0000-4000-8000-000000000000"
        assert refused(lambda: venue.trading.get_order_by_id(nobody)) == (404, 40410000, f"order not found for {nobody}")
        assert refused(lambda: venue.trading.get_order_by_client_id("none")) == (404, 40410000, "order not found")

    def test_an_accepted_order_cannot_be_replaced(self, venue: Venue) -> None:
        order = venue.trading.submit_order(bracket())
        assert refused(lambda: venue.trading.replace_order_by_id(order.id, ReplaceOrderRequest(qty=5)))[2] == (
            "cannot replace order in accepted status"
        )

    def test_keys(self, venue: Venue) -> None:
        assert venue.raw("GET", "/v2/account", keys={}).json() == {"message": "unauthorized."}
        wrong = venue.raw("GET", "/v2/account", keys={**KEYS, "APCA-API-SECRET-KEY": "wrong"})
        assert (wrong.status_code, wrong.json()) == (403, {"message": "forbidden."})
        assert requests.post(f"{venue.url}/admin/step", timeout=5).status_code == 401

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"{not json", 400),
            (b"[]", 400),
            (b"null", 400),
            (b'{"symbol": 5}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":true}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":"1e999"}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":NaN}', 400),
            (b'{"symbol":"AAA","side":"buy","qty":"-1"}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1,"take_profit":7}', 422),
            (b'{"symbol":"AAA","side":"buy","notional":100}', 422),
            (b'{"symbol":"AAA","side":"buy","qty":1,"order_class":"bracket","take_profit":{"limit_price":"x"}}', 422),
            (b"\xff\xfe", 400),
            (b"[" * 100_000, 400),
            (b'"' + b"x" * 2_000_000 + b'"', 413),
        ],
    )
    def test_hostile_bodies_get_an_error_in_alpacas_shape(self, venue: Venue, body: bytes, status: int) -> None:
        answer = venue.raw("POST", "/v2/orders", data=body)
        assert answer.status_code == status, answer.text
        assert isinstance(answer.json()["code"], int)
        assert "Traceback" not in answer.text

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/v2/nothing", 404),
            ("/v2/orders?limit=0", 422),
            ("/v2/orders?limit=x", 422),
            ("/v2/orders?status=maybe", 422),
            ("/v2/orders?after=yesterday-ish", 422),
            ("/v2/calendar?start=2024-13-01", 422),
            ("/v2/account/activities?page_token=none", 422),
            ("/v2/account/portfolio/history?period=1Y", 422),
            ("/v2/stocks/bars?symbols=AAA", 400),
            ("/v2/stocks/bars?symbols=AAA&timeframe=7Sec", 400),
            ("/v2/stocks/bars?timeframe=1Day", 400),
            ("/v2/stocks/bars?symbols=AAA&timeframe=1Day&page_token=@@", 400),
            ("/v2/stocks/bars?symbols=AAA&timeframe=1Day&adjustment=other", 400),
        ],
    )
    def test_bad_queries(self, venue: Venue, path: str, status: int) -> None:
        answer = venue.raw("GET", path)
        assert answer.status_code == status, answer.text
        assert answer.json()["message"]

    def test_rate_limit(self) -> None:
        with running(exchange(daily_bars({"AAA": [FLAT] * 3})), requests_per_minute=5) as venue:
            statuses = [venue.raw("GET", "/v2/clock") for _ in range(7)]
        assert [answer.status_code for answer in statuses] == [200] * 5 + [429] * 2
        assert statuses[-1].json() == {"code": 42910000, "message": "rate limit exceeded"}


class TestData:
    def test_bars_page_across_symbols_and_know_only_the_past(self) -> None:
        bars = random_bars(symbols=2, sessions=30)
        with running(exchange(bars, skip=20)) as venue:
            request = StockBarsRequest(symbol_or_symbols=["AAA", "BBB", "ZZZZ"], timeframe=TimeFrame.Day, start=datetime(2024, 1, 1))
            found = venue.data.get_stock_bars(request)
            assert {symbol: len(rows) for symbol, rows in found.data.items()} == {"AAA": 20, "BBB": 20}
            first = found["AAA"][0]
            assert (first.open, first.close) == (bars["open"].iloc[0], bars["close"].iloc[0])
            assert first.timestamp.isoformat() == "2024-03-04T05:00:00+00:00"  # midnight in New York, as Alpaca stamps its days
            url = "/v2/stocks/bars?symbols=BBB,AAA&timeframe=1Day&start=2024-01-01&limit=7"
            pages, token = [], ""
            while True:
                page = venue.raw("GET", url + (f"&page_token={token}" if token else "")).json()
                pages.append(sum(len(rows) for rows in page["bars"].values()))
                token = page["next_page_token"]
                if token is None:
                    break
            assert pages == [7, 7, 7, 7, 7, 5]
            venue.until("session_close")
            assert len(venue.data.get_stock_bars(request)["AAA"]) == 21
            latest = venue.data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAA"))
            assert latest["AAA"].close == bars.loc["AAA", "close"].iloc[20]

    def test_adjusted_bars(self) -> None:
        bars = daily_bars(
            {"AAA": [FLAT, FLAT, (50.0, 50.0, 50.0, 50.0, 2e6), (50.0, 50.0, 50.0, 50.0, 2e6)]}, split={"AAA": [1.0, 1.0, 2.0, 1.0]}
        )
        with running(exchange(bars, skip=3)) as venue:
            closes = {}
            for adjustment in (Adjustment.RAW, Adjustment.SPLIT, Adjustment.ALL):
                request = StockBarsRequest(
                    symbol_or_symbols="AAA", timeframe=TimeFrame.Day, start=datetime(2024, 1, 1), adjustment=adjustment
                )
                closes[adjustment] = [bar.close for bar in venue.data.get_stock_bars(request)["AAA"]]
        assert closes == {Adjustment.RAW: [100, 100, 50], Adjustment.SPLIT: [50, 50, 50], Adjustment.ALL: [50, 50, 50]}

    def test_days_out_of_intraday_bars(self) -> None:
        rows = [(100.0, 103.0, 99.0, 101.0, 100.0), (101.0, 105.0, 98.0, 104.0, 300.0)]
        tape = BarTape(intraday_bars("AAA", rows), "5Min")
        ex = Exchange(tape, ExchangeConfig(profile=PLAIN))
        with running(ex) as venue:
            request = StockBarsRequest(symbol_or_symbols="AAA", timeframe=TimeFrame.Day, start=datetime(2024, 1, 1))
            venue.until("session_open")
            assert venue.data.get_stock_bars(request).data == {}
            venue.until("session_close")
            day = venue.data.get_stock_bars(request)["AAA"][0]
            assert (day.open, day.high, day.low, day.close, day.volume) == (100.0, 105.0, 98.0, 104.0, 400.0)

    def test_quotes_and_snapshots(self, venue: Venue) -> None:
        quote = venue.data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAA"))["AAA"]
        assert (quote.bid_price, quote.ask_price) == (100.0, 100.0)  # no spread in this profile
        snapshot = venue.data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAA"))["AAA"]
        assert snapshot.latest_trade.price == 100.0
        assert snapshot.daily_bar.close == 100.0

    def test_corporate_actions_are_announced_one_session_ahead(self) -> None:
        bars = daily_bars(
            {"AAA": [FLAT, FLAT, FLAT, (50.0, 50.0, 50.0, 50.0, 2e6), (50.0, 50.0, 50.0, 50.0, 2e6)]},
            split={"AAA": [1.0, 1.0, 1.0, 2.0, 1.0]},
            dividend={"AAA": [0.0, 0.0, 0.5, 0.0, 0.0]},
        )
        with running(exchange(bars)) as venue:
            request = CorporateActionsRequest(symbols=["AAA"], start=date(2024, 1, 1), end=date(2024, 12, 31))

            def announced() -> dict[str, list[str]]:
                found = venue.actions.get_corporate_actions(request)
                return {kind: [str(entry.ex_date) for entry in entries] for kind, entries in found.data.items()}

            assert announced() == {}
            venue.until("session_close")
            assert announced() == {"cash_dividends": ["2024-03-06"]}
            venue.until("session_close")
            found = venue.actions.get_corporate_actions(request).data
            assert (found["forward_splits"][0].new_rate, found["forward_splits"][0].old_rate) == (2.0, 1.0)
            assert venue.step()["kind"] == "pre_open"


async def _collect(venue: Venue, path: str, hello: Callable[[aiohttp.ClientWebSocketResponse], Any], **rest: Any) -> Any:
    async with aiohttp.ClientSession() as session, session.ws_connect(venue.url + path, **rest) as socket:
        return await hello(socket)


class Streams:
    """alpaca-py's own two streams in threads, as a user runs them."""

    def __init__(self, venue: Venue) -> None:
        socket = venue.url.replace("http", "ws")
        self.updates: list[TradeUpdate] = []
        self.bars: list[Any] = []
        self.trading = TradingStream("sim", "sim", url_override=f"{socket}/stream")
        self.market = StockDataStream("sim", "sim", url_override=f"{socket}/v2/iex")

        async def on_update(update: TradeUpdate) -> None:
            self.updates.append(update)

        async def on_bar(bar: Any) -> None:
            self.bars.append(bar)

        self.trading.subscribe_trade_updates(on_update)
        self.market.subscribe_daily_bars(on_bar, "AAA")
        self.market.subscribe_bars(on_bar, "AAA")
        self._threads = [threading.Thread(target=stream.run, daemon=True) for stream in (self.trading, self.market)]
        for thread in self._threads:
            thread.start()
        wait_for(lambda: any(c.symbols for c in venue.server.trade_updates.connections))
        wait_for(lambda: any(c.symbols for c in venue.server.market_data.connections))

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.trading, self.market):
            asyncio.run_coroutine_threadsafe(stream.stop_ws(), stream._loop)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class TestStreams:
    def test_the_sdks_streams_receive_everything_in_order(self, venue: Venue) -> None:
        with Streams(venue) as streams:
            venue.trading.submit_order(bracket())
            last: dict[str, Any] = {}
            for _ in range(3):
                last = venue.until("session_close")
            wait_for(lambda: len(streams.updates) == last["trade_updates_sent"] and len(streams.bars) == last["data_messages_sent"])
            assert [(update.event, update.order.status.value) for update in streams.updates] == [
                (TradeEvent.ACCEPTED, "accepted"),
                (TradeEvent.NEW, "new"),
                (TradeEvent.FILL, "filled"),
                (TradeEvent.NEW, "new"),
                (TradeEvent.FILL, "filled"),
                (TradeEvent.CANCELED, "canceled"),
            ]
            fill = streams.updates[2]
            assert (fill.price, fill.qty, fill.position_qty, fill.execution_id is not None) == (100.0, 10.0, 10.0, True)
            assert fill.timestamp == datetime(2024, 3, 5, 14, 30, tzinfo=UTC)
            first = streams.bars[0]
            assert (first.symbol, first.timestamp.isoformat()) == ("AAA", "2024-03-05T05:00:00+00:00")
            assert [bar.close for bar in streams.bars] == [101.0, 111.0, 110.0]
            assert venue.stop() < 2.0  # with both streams open; generous, it takes well under a second

    async def test_trade_updates_are_json_in_binary_frames_and_need_keys(self, venue: Venue) -> None:
        async def hello(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
            await socket.send_str('{"action":"listen","data":{"streams":["trade_updates"]}}')
            early = await socket.receive()
            await socket.send_str('{"action":"authenticate","data":{"key_id":"sim","secret_key":"bad"}}')
            bad = await socket.receive()
            await socket.send_str('{"action":"auth","key":"sim","secret":"sim"}')
            good = await socket.receive()
            await socket.send_str("nonsense")
            odd = await socket.receive()
            await socket.send_str('{"action":"listen","data":{"streams":["trade_updates","other"]}}')
            return [early, bad, good, odd, await socket.receive()]

        frames = await _collect(venue, "/stream", hello)
        assert {frame.type for frame in frames} == {aiohttp.WSMsgType.BINARY}
        early, bad, good, odd, listening = [json.loads(frame.data) for frame in frames]
        assert early["data"]["status"] == "unauthorized"
        assert bad["data"]["status"] == "unauthorized"
        assert good == {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
        assert odd["action"] == "error"
        assert listening == {"stream": "listening", "data": {"streams": ["trade_updates"]}}

    async def test_market_data_in_json_for_those_who_do_not_ask_for_msgpack(self, venue: Venue) -> None:
        async def hello(socket: aiohttp.ClientWebSocketResponse) -> list[Any]:
            frames = [await socket.receive_json()]
            for message in (
                {"action": "subscribe", "bars": ["AAA"]},
                {"action": "auth", "key": "sim", "secret": "no"},
                {"action": "auth", "key": "sim", "secret": "sim"},
                {"action": "auth", "key": "sim", "secret": "sim"},
                {"action": "dance"},
                {"action": "subscribe", "dailyBars": ["*"]},
            ):
                await socket.send_json(message)
                frames.append(await socket.receive_json())
            await asyncio.to_thread(venue.until, "session_close")
            frames.append(await socket.receive_json())
            return frames

        frames = await _collect(venue, "/v2/sip", hello)
        assert [frame[0].get("msg") for frame in frames[:6]] == [
            "connected",
            "not authenticated",
            "auth failed",
            "authenticated",
            "already authenticated",
            "invalid syntax",
        ]
        assert frames[6][0]["dailyBars"] == ["*"]
        assert [(bar["T"], bar["S"], bar["t"], bar["c"]) for bar in frames[7]] == [
            ("d", "AAA", "2024-03-05T05:00:00Z", 101.0),
            ("d", "BBB", "2024-03-05T05:00:00Z", 100.0),
        ]


class TestFaults:
    def test_504_after_accept_meets_the_retry_of_the_sdk(self, venue: Venue) -> None:
        """The SDK retries a 504 by itself: the order exists, and what the caller sees is that its id is taken."""
        venue.admin("POST", "fault", {"kind": "error_504_after_accept", "count": 1})
        venue.trading._retry_wait = 0
        assert refused(lambda: venue.trading.submit_order(bracket())) == (422, 40010001, "client_order_id must be unique")
        assert venue.trading.get_order_by_client_id("entry-1").status is OrderStatus.ACCEPTED
        assert venue.admin("GET", "ledger")["reused_client_ids"] == 1

    def test_connection_dropped_after_accept(self, venue: Venue) -> None:
        venue.admin("POST", "fault", {"kind": "drop_after_accept"})
        with pytest.raises(requests.exceptions.ConnectionError):
            venue.trading.submit_order(bracket())
        assert venue.trading.get_order_by_client_id("entry-1").qty == "10"

    def test_a_hang_does_not_stop_the_venue(self, venue: Venue) -> None:
        venue.admin("POST", "fault", {"kind": "hang_after_accept", "seconds": 60})
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.post(f"{venue.url}/v2/orders", json={"symbol": "AAA", "side": "buy", "qty": "1"}, headers=KEYS, timeout=0.3)
        assert len(venue.trading.get_orders()) == 1

    def test_503_takes_nothing(self, venue: Venue) -> None:
        venue.admin("POST", "fault", {"kind": "reject_503"})
        assert refused(lambda: venue.trading.submit_order(bracket()))[0] == 503
        assert venue.trading.get_orders() == []

    def test_muted_and_doubled_updates(self, venue: Venue) -> None:
        with Streams(venue) as streams:
            venue.admin("POST", "fault", {"kind": "mute_trade_updates", "count": 1})
            venue.admin("POST", "fault", {"kind": "duplicate_trade_updates", "count": 2})
            venue.trading.submit_order(bracket())
            sent = venue.until("session_open")["trade_updates_sent"]
            wait_for(lambda: len(streams.updates) == sent)
            assert [update.event for update in streams.updates[:4]] == [TradeEvent.NEW, TradeEvent.NEW, TradeEvent.FILL, TradeEvent.FILL]
            assert streams.updates[2].execution_id == streams.updates[3].execution_id

    def test_cut_streams_are_reconnected_by_the_sdk(self, venue: Venue) -> None:
        with Streams(venue) as streams:
            before = set(venue.server.trade_updates.connections)
            venue.admin("POST", "fault", {"kind": "cut_streams"})
            wait_for(lambda: any(c.symbols for c in venue.server.trade_updates.connections - before))
            venue.trading.submit_order(bracket())
            wait_for(lambda: len(streams.updates) == 1)

    def test_unknown_faults_are_refused(self, venue: Venue) -> None:
        answer = requests.post(
            f"{venue.url}/admin/fault", json={"kind": "earthquake"}, headers={"X-Admin-Token": venue.server.admin_token}, timeout=5
        )
        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


class TestTime:
    def test_state_and_the_end_of_the_tape(self, venue: Venue) -> None:
        state = venue.admin("GET", "state")
        assert (state["mode"], state["sessions_in_tape"], state["sessions_played"], state["done"]) == ("stepped", 4, 0, False)
        while not (step := venue.step())["done"]:
            pass
        assert step["kind"] == "end"
        assert venue.admin("GET", "state")["sessions_played"] == 3

    def test_by_the_clock_time_flows_and_orders_fill(self) -> None:
        ex = exchange(daily_bars({"AAA": [FLAT] * 4}))
        with running(ex, mode="accelerated", speed=46_800.0, closed_seconds=0.1) as venue:
            wait_for(lambda: venue.trading.get_clock().is_open)
            first = venue.trading.get_clock().timestamp
            wait_for(lambda: venue.trading.get_clock().timestamp > first)
            venue.trading.submit_order(bracket())
            wait_for(lambda: venue.exchange.next_step_at is None)
            assert len(ex.equity_history) == 3
            answer = requests.post(f"{venue.url}/admin/step", headers={"X-Admin-Token": venue.server.admin_token}, timeout=5)
            assert answer.status_code == 409
        assert [fill.price for fill in ex.fills()] == [D("100.00")]

    def test_an_abandoned_venue_ends_itself(self) -> None:
        venue = Venue(exchange(daily_bars({"AAA": [FLAT] * 3})), idle_exit_seconds=0.2)
        wait_for(lambda: venue.server.closed.is_set())
        venue.stop()

    def test_shutdown_by_the_admin(self) -> None:
        venue = Venue(exchange(daily_bars({"AAA": [FLAT] * 3})))
        assert venue.admin("POST", "shutdown") == {"closing": True}
        wait_for(lambda: venue.server.closed.is_set())
        venue.stop()
        with pytest.raises(requests.exceptions.ConnectionError):
            venue.raw("GET", "/v2/clock")

    def test_a_taken_port_is_an_error(self, venue: Venue) -> None:
        async def second() -> None:
            await VenueServer(venue.exchange, ServerConfig(port=int(venue.url.rsplit(":", 1)[1]))).start()

        with pytest.raises(OSError, match="address already in use"):
            asyncio.run(second())

    @pytest.mark.parametrize("change", [{"mode": "warp"}, {"speed": 0.0}, {"key": ""}])
    def test_bad_settings(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="expected"):
            ServerConfig(**change)


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

    from alphatrade_pipelines.venue import VenueError
    from alphatrade_pipelines.venue.server.requests import order_request

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
    with running(exchange(bars, account_number="PA-OTHER", **config)) as venue:
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
    assert any(order.status == "rejected" for order in inside.orders(replace_query("closed")))
    assert ledger["digest"] == inside.digest()
    assert ledger["executions"][0]["order_id"] != inside.fills()[0].order_id
    assert ledger["account"]["equity"] == str(inside.account().equity.normalize())


def replace_query(status: str) -> Any:
    from alphatrade_pipelines.venue import OrderQuery

    return replace(OrderQuery(), status=status, limit=500)


def test_the_calendar_of_the_wire_is_the_calendar_of_the_house(venue: Venue) -> None:
    days = venue.trading.get_calendar(GetCalendarRequest(start=date(2024, 1, 1), end=date(2024, 12, 31)))
    assert len(days) == len(SessionCalendar().sessions("2024-01-01", "2024-12-31")) == 252
