"""Clients that do not read, are gone without a word, or do nothing at all: told and cut, and never in anybody's way."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from served_world import serving
from stream_world import AUTH, CLOSE, PING, TEXT, RawSocket, client, feed, listener, until
from venue_world import FLAT, bracket, daily_bars, exchange

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.server import connection as connections
from alphatrade_pipelines.venue.server.app import VenueServer
from alphatrade_pipelines.venue.server.streams import StreamRules

IDLE = 1000


def world(days: int = 4) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT] * days}))


def big(number: int) -> dict[str, Any]:
    """A bar of 100 kB."""
    return {"T": "b", "S": "AAA", "n": number, "padding": "x" * 100_000, "t": None}


async def deaf(at: str) -> RawSocket:
    """A subscribed client that has stopped to read, with a small window."""
    raw = await RawSocket.connect(at, "/v2/sip", receive_buffer=4096)
    await raw.message()
    for message in (AUTH, {"action": "subscribe", "bars": ["*"]}):
        raw.send(TEXT, json.dumps(message).encode())
        await raw.message()
    raw.stop_reading()
    return raw


async def fill_up(server: VenueServer, count: int) -> None:
    for number in range(count):
        server.market_data.publish([big(number)])
        await asyncio.sleep(0)


class TestSlow:
    async def test_by_the_clock_a_client_that_does_not_read_is_told_and_cut_while_the_others_hear_everything(self) -> None:
        async with serving(world(), mode="real_time") as (server, at), feed(at, bars=["*"]) as other:
            server.market_data.rules = StreamRules(capacity=50)
            slow = await deaf(at)
            heard = asyncio.create_task(asyncio.wait_for(_numbers(other, 200), 20))
            await until(lambda: len(server.market_data.connections) == 2)
            for number in range(200):
                server.market_data.publish([big(number)])
                await asyncio.sleep(0.001)
            assert await heard == list(range(200))
            assert server.market_data.sent == 200
            slow.read_again()
            frames = []
            while not frames or frames[-1][0] != CLOSE:
                frames.append(await asyncio.wait_for(slow.frame(), 10))
            assert json.loads(frames[-2][1]) == [{"T": "error", "code": 407, "msg": "slow client"}]
            assert 0 < len(frames) < 150  # what had waited beyond the limit was not sent
            await until(lambda: len(server.market_data.connections) == 1)
            await slow.close()

    async def test_one_that_never_reads_again_loses_its_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "FAREWELL_SECONDS", 0.2)
        async with serving(world(), mode="real_time") as (server, at):
            server.market_data.rules = StreamRules(capacity=10)
            slow = await deaf(at)
            await fill_up(server, 150)
            await until(lambda: not server.market_data.connections)
            await slow.close()

    async def test_orders_are_taken_at_once_while_a_client_does_not_read(self) -> None:
        async with serving(world(), mode="real_time") as (server, at):
            slow = await deaf(at)
            await fill_up(server, 200)
            (stuck,) = server.market_data.connections
            assert stuck.waiting > 50
            async with listener(at) as one:
                server.exchange.submit(bracket())
                await asyncio.wait_for(server.publish(), 5)
                assert (await one.hear())["data"]["event"] == "accepted"
            await slow.close()

    async def test_a_step_waits_for_a_busy_client_and_loses_nothing(self) -> None:
        async with serving(world()) as (server, at):
            slow = await deaf(at)
            for number in range(200):
                server.market_data.publish([big(number)])
            step = asyncio.create_task(server.step())
            await asyncio.sleep(0.3)
            assert not step.done()  # 20 MB do not fit on the way
            slow.read_again()
            numbers = [(await asyncio.wait_for(slow.message(), 10))[0]["n"] for _ in range(200)]
            assert numbers == list(range(200))
            assert (await asyncio.wait_for(step, 10) or {})["kind"] == "session_open"
            await slow.close()

    async def test_a_step_does_not_wait_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "FAREWELL_SECONDS", 0.2)
        async with serving(world()) as (server, at):
            server.market_data.rules = StreamRules(capacity=65_536, patience=0.2)
            slow = await deaf(at)
            for number in range(200):
                server.market_data.publish([big(number)])
            assert (await asyncio.wait_for(server.step(), 10) or {})["kind"] == "session_open"
            await until(lambda: not server.market_data.connections)
            await slow.close()


async def _numbers(one: Any, count: int) -> list[int]:
    return [(await one.hear())[0]["n"] for _ in range(count)]


class TestGone:
    async def test_a_half_open_socket_is_found_out_by_its_silence(self) -> None:
        async with serving(world(), mode="real_time") as (server, at):
            server.market_data.rules = StreamRules(heartbeat=0.2)
            raw = await RawSocket.connect(at, "/v2/iex")
            await raw.message()
            assert (await asyncio.wait_for(raw.frame(), 5))[0] == PING  # and no pong ever
            await until(lambda: not server.market_data.connections)
            await raw.close()

    async def test_an_answered_ping_keeps_a_quiet_client(self) -> None:
        async with serving(world(), mode="real_time") as (server, at):
            server.market_data.rules = StreamRules(heartbeat=0.5)
            async with feed(at) as one:
                waiting = asyncio.create_task(one.hear())  # aiohttp answers pings while it reads
                await asyncio.sleep(1.3)
                assert len(server.market_data.connections) == 1
                waiting.cancel()

    async def test_vanished_without_a_close_frame(self) -> None:
        async with serving(world()) as (server, at):
            raw = await deaf(at)
            raw.writer.transport.abort()
            await until(lambda: not server.market_data.connections)
            server.market_data.publish([big(1)])
            assert server.market_data.sent == 0

    async def test_a_handshake_cut_short_leaves_nothing_behind(self) -> None:
        async with serving(world()) as (server, at):
            host, port = at.split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConn")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            async with listener(at):
                assert len(server.trade_updates.connections) == 1


@pytest.mark.usefixtures("many_files")
async def test_a_thousand_idle_connections_do_not_disturb_a_working_one() -> None:
    async with serving(world()) as (server, at):
        server.market_data.rules = server.trade_updates.rules = StreamRules(connection_limit=0)
        idle = [await RawSocket.connect(at, "/stream" if number % 2 else "/v2/iex") for number in range(IDLE)]
        assert len(server.trade_updates.connections) + len(server.market_data.connections) == IDLE
        async with listener(at) as one, feed(at, "/v2/sip", dailyBars=["*"]) as other, client(at, "/stream") as third:
            server.exchange.submit(bracket())
            await server.publish()
            while (await server.step() or {})["kind"] != "session_close":
                pass
            assert (await one.hear())["data"]["event"] == "accepted"
            assert (await other.hear())[0]["T"] == "d"
            assert await third.ask(AUTH)
        await asyncio.wait_for(server.stop(), 30)  # it takes a second or so
        codes = {(await _last_frame(raw)) for raw in idle}
        assert codes == {(CLOSE, (1001).to_bytes(2, "big"))}
        for raw in idle:
            await raw.close()


async def _last_frame(raw: RawSocket) -> tuple[int, bytes]:
    opcode, payload = await raw.frame()
    while opcode != CLOSE:
        opcode, payload = await raw.frame()
    return opcode, payload[:2]
