"""alpaca-py's own two streams side by side, and their wire in JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from alpaca.trading.enums import TradeEvent
from rest_world import Venue, bracket
from served_world import SdkStreams, wait_for
from venue_world import FLAT, daily_bars, exchange


@pytest.fixture
def venue() -> Iterator[Venue]:
    rows = [FLAT, (100.0, 102.0, 99.0, 101.0, 1e6), (101.0, 112.0, 100.0, 111.0, 1e6), (111.0, 112.0, 108.0, 110.0, 1e6)]
    with Venue(exchange(daily_bars({"AAA": rows, "BBB": [FLAT] * 4}))) as one:
        yield one


async def _collect(venue: Venue, path: str, hello: Callable[[aiohttp.ClientWebSocketResponse], Any], **rest: Any) -> Any:
    async with aiohttp.ClientSession() as session, session.ws_connect(venue.url + path, **rest) as socket:
        return await hello(socket)


class TestStreams:
    def test_the_sdks_streams_receive_everything_in_order(self, venue: Venue) -> None:
        with SdkStreams(venue, data=True, symbol="AAA") as streams:
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
            venue.stop()  # with both streams open

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
