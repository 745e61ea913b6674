"""``/stream``: trade updates through the unmodified SDK and through raw sockets."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, TimeInForce, TradeEvent
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import MarketOrderRequest, StopLossRequest, TakeProfitRequest
from served_world import serving
from stream_world import BINARY, TEXT, RawSocket, client, listener, sdk, trading_stream, until
from venue_world import FLAT, bracket, daily_bars, exchange

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.server.streams import StreamRules

LOGIN = {"action": "authenticate", "data": {"key_id": "sim", "secret_key": "sim"}}
AUTHORIZED = {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


def world() -> Exchange:
    rows = [FLAT, (100.0, 102.0, 99.0, 101.0, 1e6), (101.0, 112.0, 100.0, 111.0, 1e6), (111.0, 112.0, 108.0, 110.0, 1e6)]
    return exchange(daily_bars({"AAA": rows, "BBB": [FLAT] * 4}))


async def test_the_sdk_receives_a_brackets_whole_life_in_order() -> None:
    heard: list[TradeUpdate] = []

    async def keep(update: TradeUpdate) -> None:
        heard.append(update)

    order = MarketOrderRequest(
        symbol="AAA",
        qty=10,
        side=OrderSide.BUY,
        time_in_force=TimeInForce.GTC,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=110),
        stop_loss=StopLossRequest(stop_price=95),
    )
    async with serving(world()) as (server, at):
        stream = trading_stream(at)
        stream.subscribe_trade_updates(keep)
        async with sdk(stream):
            await until(lambda: any(connection.symbols for connection in server.trade_updates.connections))
            trading = TradingClient("sim", "sim", url_override=f"http://{at}")
            await asyncio.to_thread(trading.submit_order, order)
            while await server.step() is not None:
                pass
            await until(lambda: len(heard) == server.trade_updates.sent)
    assert [(update.event, update.order.status.value) for update in heard] == [
        (TradeEvent.ACCEPTED, "accepted"),
        (TradeEvent.NEW, "new"),
        (TradeEvent.FILL, "filled"),
        (TradeEvent.NEW, "new"),
        (TradeEvent.FILL, "filled"),
        (TradeEvent.CANCELED, "canceled"),
    ]
    fill = heard[2]
    assert (fill.price, fill.qty, fill.position_qty, fill.execution_id is not None) == (100.0, 10.0, 10.0, True)
    assert fill.timestamp == datetime(2024, 3, 5, 14, 30, tzinfo=UTC)


async def test_the_sdk_reconnects_after_a_cut_and_after_a_dropped_connection() -> None:
    heard: list[TradeUpdate] = []

    async def keep(update: TradeUpdate) -> None:
        heard.append(update)

    async with serving(world()) as (server, at):
        stream = trading_stream(at)
        stream._reconnect_min_backoff = 0.05
        stream.subscribe_trade_updates(keep)
        async with sdk(stream):
            for abort in (False, True):
                await until(lambda: any(connection.symbols for connection in server.trade_updates.connections))
                before = set(server.trade_updates.connections)
                server.trade_updates.cut(abort=abort)
                await until(lambda: any(c.symbols and c not in before for c in server.trade_updates.connections))  # noqa: B023
            server.exchange.submit(bracket())
            await server.publish()
            await until(lambda: len(heard) == 1)


async def test_json_in_binary_frames_both_spellings_and_who_may_listen() -> None:
    async with serving(world()) as (server, at), client(at, "/stream") as one:

        async def ask(message: object) -> Any:
            await one.say(message)
            frame = await one.ws.receive(timeout=5)
            assert frame.type is aiohttp.WSMsgType.BINARY
            return json.loads(frame.data)

        assert await ask(LISTEN) == {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
        assert (await ask({"action": "authenticate", "data": {"key_id": "sim", "secret_key": "no"}}))["data"]["status"] == "unauthorized"
        assert (await ask({"action": "authenticate"}))["data"]["status"] == "unauthorized"
        assert await ask({"action": "auth", "key": "sim", "secret": "sim"}) == AUTHORIZED
        assert await ask(LOGIN) == AUTHORIZED
        for odd in ("nonsense", 7, [], {}, {"action": "dance"}):
            assert await ask(odd) == {"action": "error", "data": {"error_message": "invalid message"}}
        both = {"action": "listen", "data": {"streams": ["trade_updates", "account_updates", 7]}}
        assert await ask(both) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        server.exchange.submit(bracket())
        await server.publish()
        update = json.loads((await one.ws.receive(timeout=5)).data)
        assert (update["stream"], update["data"]["event"], update["data"]["order"]["symbol"]) == ("trade_updates", "accepted", "AAA")
        assert await ask({"action": "unlisten", "data": {"streams": ["trade_updates"]}}) == {"stream": "listening", "data": {"streams": []}}
        await server.step()
        assert server.trade_updates.sent == 1  # what nobody listens to is not counted
        assert await ask({"action": "listen", "data": {}}) == {"stream": "listening", "data": {"streams": []}}


async def test_msgpack_for_those_who_say_so() -> None:
    async with serving(world()) as (server, at), listener(at, packed=True) as one:
        server.exchange.submit(bracket())
        await server.publish()
        update = await one.hear()
        assert update["data"]["order"]["qty"] == "10"
        assert update["data"]["timestamp"] == "2024-03-04T21:00:00Z"


async def test_text_and_binary_frames_are_understood_in_pieces_too() -> None:
    async with serving(world()) as (_, at):
        for opcode in (TEXT, BINARY):
            raw = await RawSocket.connect(at, "/stream")
            body = json.dumps(LOGIN).encode()
            raw.send(opcode, body[:9], final=False)
            raw.send(0, body[9:])
            assert await raw.frame() == (BINARY, json.dumps(AUTHORIZED, separators=(",", ":")).encode())
            await raw.close()


async def test_several_clients_hear_the_same_and_it_counts_once() -> None:
    async with serving(world()) as (server, at), listener(at) as one, listener(at) as other, listener(at, packed=True) as third:
        server.exchange.submit(bracket())
        await server.publish()
        assert await one.hear() == await other.hear() == await third.hear()
        assert server.trade_updates.sent == 1


async def test_a_connection_limit_can_be_set() -> None:
    async with serving(world()) as (server, at):
        server.trade_updates.rules = StreamRules(trading_connection_limit=1)
        async with listener(at), client(at, "/stream") as second:
            assert await second.ask(LOGIN) == {"action": "error", "data": {"error_message": "connection limit exceeded"}}
            assert await second.closed() == 1008


async def test_silence_instead_of_authentication_ends_the_connection() -> None:
    async with serving(world()) as (server, at):
        server.trade_updates.rules = StreamRules(auth_seconds=0.5)
        async with client(at, "/stream") as one:
            assert await one.hear() == {"action": "error", "data": {"error_message": "auth timeout"}}
            assert await one.closed() == 1008
        async with listener(at) as other:  # in time: it stays
            await asyncio.sleep(0.7)
            assert await other.ask(LISTEN)


async def test_an_internal_error_is_said_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(world()) as (server, at):
        monkeypatch.setattr(server.trade_updates, "_listen", lambda *_: 1 / 0)
        async with client(at, "/stream") as one:
            await one.ask(LOGIN)
            assert await one.ask(LISTEN) == {"action": "error", "data": {"error_message": "internal server error"}}
            assert await one.closed() == 1011
        async with client(at, "/stream") as other:
            assert await other.ask(LOGIN) == AUTHORIZED


async def test_the_end_of_the_venue_is_a_going_away_after_the_last_update() -> None:
    async with serving(world()) as (server, at), listener(at) as one:
        server.exchange.submit(bracket())
        await server.publish()
        stopping = asyncio.create_task(server.stop())
        assert (await one.hear())["data"]["event"] == "accepted"
        assert await one.closed() == 1001
        await stopping
