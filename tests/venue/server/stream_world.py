"""The clients of a venue's streams, in the test's own event loop: alpaca-py's own, aiohttp's, and a socket with nothing around it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import msgpack
from alpaca.data.live import StockDataStream
from alpaca.trading.stream import TradingStream

AUTH = {"action": "auth", "key": "sim", "secret": "sim"}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what must happen; fail if it does not."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


class Client:
    """An aiohttp client of one stream."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, packed: bool) -> None:
        self.ws, self.packed = ws, packed

    async def say(self, message: object) -> None:
        if self.packed:
            await self.ws.send_bytes(msgpack.packb(message))
        else:
            await self.ws.send_str(json.dumps(message))

    async def hear(self) -> Any:
        """The next message; fails when the connection is closed instead."""
        frame = await self.ws.receive(timeout=10)
        assert frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), frame
        return msgpack.unpackb(frame.data, timestamp=3) if self.packed else json.loads(frame.data)

    async def ask(self, message: object) -> Any:
        await self.say(message)
        return await self.hear()

    async def closed(self) -> int | None:
        """The code of the close frame that comes next."""
        frame = await self.ws.receive(timeout=10)
        assert frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), frame
        return self.ws.close_code


@asynccontextmanager
async def client(at: str, path: str, *, packed: bool = False) -> AsyncIterator[Client]:
    headers = {"Content-Type": "application/msgpack"} if packed else {}
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://{at}{path}", headers=headers) as ws:
        yield Client(ws, packed)


@asynccontextmanager
async def feed(at: str, path: str = "/v2/iex", *, packed: bool = False, **channels: list[str]) -> AsyncIterator[Client]:
    """A client of market data, authenticated and subscribed."""
    async with client(at, path, packed=packed) as one:
        assert await one.hear() == [{"T": "success", "msg": "connected"}]
        assert await one.ask(AUTH) == [{"T": "success", "msg": "authenticated"}]
        if channels:
            assert (await one.ask({"action": "subscribe", **channels}))[0]["T"] == "subscription"
        yield one


@asynccontextmanager
async def listener(at: str, *, packed: bool = False) -> AsyncIterator[Client]:
    """A client of trade updates that listens."""
    async with client(at, "/stream", packed=packed) as one:
        await one.ask({"action": "authenticate", "data": {"key_id": "sim", "secret_key": "sim"}})
        assert (await one.ask({"action": "listen", "data": {"streams": ["trade_updates"]}}))["data"] == {"streams": ["trade_updates"]}
        yield one


@asynccontextmanager
async def sdk(stream: TradingStream | StockDataStream) -> AsyncIterator[None]:
    """One of alpaca-py's streams running in this loop, unmodified. Cancelled at the end: its own stop takes up to five seconds."""
    running = asyncio.create_task(stream._run_forever())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await stream.close()


def trading_stream(at: str, **rest: Any) -> TradingStream:
    return TradingStream("sim", "sim", url_override=f"ws://{at}/stream", **rest)


def data_stream(at: str, **rest: Any) -> StockDataStream:
    return StockDataStream("sim", "sim", url_override=f"ws://{at}/v2/iex", **rest)


class RawSocket:
    """RFC 6455 by hand, on a plain socket, so that a test can do what no library would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, at: str, path: str, *, receive_buffer: int | None = None, headers: str = "") -> RawSocket:
        host, port = at.split(":")
        plain = socket.socket()
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=plain, limit=1 << 16)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        return cls(reader, writer)

    def send(self, opcode: int, payload: bytes, *, final: bool = True) -> None:
        """One frame, masked as a client must; opcode 0 continues a message."""
        mask = os.urandom(4)
        size = len(payload)
        length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
        masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
        self.writer.write(bytes([(0x80 if final else 0) | opcode]) + length + mask + masked)

    async def frame(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(size)

    async def message(self) -> Any:
        opcode, payload = await self.frame()
        assert opcode in (TEXT, BINARY), (opcode, payload)
        return json.loads(payload)

    def stop_reading(self) -> None:
        """From here on nothing is taken off the wire, as by a process that hangs."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def read_again(self) -> None:
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()
