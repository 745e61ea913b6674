"""alpaca-py's own two streams against the venue, their wire in JSON, and venue time by the clock and by hand."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import requests
from alpaca.data.live import StockDataStream
from alpaca.trading.enums import TradeEvent
from alpaca.trading.models import TradeUpdate
from alpaca.trading.stream import TradingStream
from rest_world import FLAT, Venue, bracket, running
from venue_world import D, daily_bars, exchange

from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer


@pytest.fixture
def venue() -> Iterator[Venue]:
    rows = [FLAT, (100.0, 102.0, 99.0, 101.0, 1e6), (101.0, 112.0, 100.0, 111.0, 1e6), (111.0, 112.0, 108.0, 110.0, 1e6)]
    with running(exchange(daily_bars({"AAA": rows, "BBB": [FLAT] * 4}))) as one:
        yield one


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
