"""Garbage on the WebSockets: an error message or a clean close, and the streams go on for everybody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import msgpack
import pytest
from hostile_world import Target, shaped, unmoved


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with unmoved() as one:
        yield one


class TestSockets:
    """Garbage on the WebSockets: an error message or a clean close, and the streams go on for everybody else."""

    @pytest.mark.parametrize("path", ["/stream", "/v2/iex"])
    @pytest.mark.parametrize(
        "frame",
        [
            b"",
            b"\xff\xfe",
            b"null",
            b"[]",
            b"5",
            b"{",
            b'{"action":5}',
            b'{"action":"listen","data":{"streams":5}}',
            b'{"action":"auth","key":{}}',
            b'{"action":"authenticate","data":[]}',
            b'{"action":"subscribe","bars":{"a":1}}',
            b"[" * 60_000,
            msgpack.packb({"action": "auth", "key": b"\x00"}),
            b"\xc1",
            msgpack.packb([[[1]]]),
            b"\xdf\xff\xff\xff\xff",
        ],
        ids=lambda frame: repr(frame[:12]),
    )
    async def test_a_frame_that_makes_no_sense(self, target: Target, path: str, frame: bytes) -> None:
        for packed in ({}, {"Content-Type": "application/msgpack"}):
            async with aiohttp.ClientSession() as session, session.ws_connect(target.url + path, headers=packed) as ws:
                for send in (ws.send_bytes(frame), ws.send_str(frame.decode("latin-1"))):
                    await send
                await read_out(ws)

    @pytest.mark.parametrize("path", ["/stream", "/v2/iex"])
    async def test_an_oversized_frame_closes_that_connection_only(self, target: Target, path: str) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(target.url + path) as ws:
            await ws.send_bytes(b"x" * (3 << 20))
            assert await read_out(ws) in (None, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011)

    @pytest.mark.parametrize("path", ["/stream", "/v2/iex"])
    async def test_broken_framing(self, target: Target, path: str) -> None:
        upgrade = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
        for garbage in (b"\xff" * 200, b"\x81\x05hello", b"\x83\x80" + b"\x00" * 4, b"\x89\xff" + b"\x7f" * 20, b"\x81\xfe\x00"):
            assert b"Traceback" not in await target.raw(upgrade, garbage, seconds=5)

    @pytest.mark.parametrize("path", ["/stream", "/v2/iex"])
    async def test_a_plain_request_to_a_stream(self, target: Target, path: str) -> None:
        for headers in ({}, {"Upgrade": "websocket"}, {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "99"}):
            async with aiohttp.request("GET", target.url + path, headers=headers) as answer:
                shaped(answer.status, await answer.text())


async def read_out(ws: aiohttp.ClientWebSocketResponse) -> int | None:
    """Read what there is for a moment; every text must be a JSON message. The close code, if it was closed."""
    try:
        async with asyncio.timeout(0.03):
            async for message in ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    assert "Traceback" not in message.data
                    json.loads(message.data)
    except TimeoutError:
        return None
    return ws.close_code
