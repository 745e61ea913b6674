"""The two streams: ``/stream`` (trade updates, JSON in binary frames) and ``/v2/{feed}`` (bars, msgpack or JSON).

Both count the messages they have put on the wire, so that a client in lockstep knows when it has seen everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack
import structlog
from aiohttp import WSMsgType, web

from alphatrade_pipelines.venue.faults.injector import Faults
from alphatrade_pipelines.venue.server.wire import Json, stamp

log = structlog.get_logger(__name__)
_SEND_TIMEOUT = 5.0  # a client that does not read for so long is cut off
_AUTH_TIMEOUT = 10.0
_CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
_CHANNEL_OF = {"b": "bars", "d": "dailyBars"}


@dataclass(eq=False)
class Connection:
    """One client of a stream. ``packed`` = msgpack both ways; ``symbols``: what it listens to, by channel."""

    socket: web.WebSocketResponse
    packed: bool
    binary: bool
    authenticated: bool = False
    symbols: dict[str, set[str]] = field(default_factory=dict)

    async def send(self, message: object) -> bool:
        """Put one frame on the wire; False (and the connection cut) if the client is gone or does not read."""
        try:
            async with asyncio.timeout(_SEND_TIMEOUT):
                if self.packed:
                    await self.socket.send_bytes(msgpack.packb(message, datetime=True))
                elif self.binary:
                    await self.socket.send_bytes(json.dumps(message).encode())
                else:
                    await self.socket.send_str(json.dumps(message))
        except (TimeoutError, ConnectionError, RuntimeError) as error:
            log.warning("stream client cut off", error=repr(error))
            await self.cut()
            return False
        return True

    async def cut(self) -> None:
        """Close without waiting for the other side."""
        with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(0.5):
                await self.socket.close(code=1001)

    def read(self, frame: Any) -> Mapping[str, Any] | None:
        """The object in a frame, or None if there is none."""
        try:
            value = msgpack.unpackb(frame.data) if self.packed and frame.type == WSMsgType.BINARY else json.loads(frame.data)
        except (ValueError, TypeError, msgpack.exceptions.ExtraData, msgpack.exceptions.FormatError, msgpack.exceptions.StackError):
            return None
        return value if isinstance(value, Mapping) else None


class Hub:
    """What both streams share: connections, keys, and the count of messages sent to anybody."""

    def __init__(self, key: str, secret: str) -> None:
        self._keys = (key, secret)
        self.connections: set[Connection] = set()
        self.sent = 0

    def authorized(self, key: object, secret: object) -> bool:
        return (key, secret) == self._keys

    async def cut_all(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(connection.cut() for connection in list(self.connections)))

    async def _open(self, request: web.Request, *, binary: bool) -> Connection:
        socket = web.WebSocketResponse(timeout=0.5, max_msg_size=1 << 20)
        await socket.prepare(request)
        packed = "msgpack" in request.headers.get("Content-Type", "")
        connection = Connection(socket, packed, binary)
        self.connections.add(connection)
        return connection


class TradeUpdates(Hub):
    """``/stream``."""

    def __init__(self, key: str, secret: str, faults: Faults) -> None:
        super().__init__(key, secret)
        self._faults = faults

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one client until it leaves."""
        connection = await self._open(request, binary=True)
        try:
            async for frame in connection.socket:
                if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._answer(connection, connection.read(frame))
        finally:
            self.connections.discard(connection)
        return connection.socket

    async def _answer(self, connection: Connection, message: Mapping[str, Any] | None) -> None:
        action = message.get("action") if message else None
        data = message.get("data") if message else None
        data = data if isinstance(data, Mapping) else {}
        if message is not None and action in ("authenticate", "auth"):
            key, secret = (data.get("key_id"), data.get("secret_key")) if data else (message.get("key"), message.get("secret"))
            connection.authenticated = self.authorized(key, secret)
            status = "authorized" if connection.authenticated else "unauthorized"
            await connection.send({"stream": "authorization", "data": {"status": status, "action": "authenticate"}})
        elif action == "listen" and connection.authenticated:
            streams = data.get("streams")
            known = [name for name in streams if name == "trade_updates"] if isinstance(streams, list) else []
            connection.symbols = {name: {"*"} for name in known}
            await connection.send({"stream": "listening", "data": {"streams": known}})
        elif action == "listen":
            await connection.send({"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}})
        else:
            await connection.send({"action": "error", "data": {"error_message": "invalid message"}})

    async def publish(self, updates: Iterable[Json]) -> None:
        """Send trade updates to everyone who listens; a muted update is lost, as at a broker."""
        for update in updates:
            if self._faults.take("mute_trade_updates"):
                continue
            copies = 2 if self._faults.take("duplicate_trade_updates") else 1
            for _ in range(copies):
                listeners = [connection for connection in self.connections if connection.symbols]
                reached = [await connection.send({"stream": "trade_updates", "data": update}) for connection in listeners]
                self.sent += any(reached)


class MarketData(Hub):
    """``/v2/{feed}``."""

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one client until it leaves; it has ten seconds to authenticate."""
        connection = await self._open(request, binary=False)
        try:
            await connection.send([{"T": "success", "msg": "connected"}])
            await self._serve(connection)
        finally:
            self.connections.discard(connection)
        return connection.socket

    async def _serve(self, connection: Connection) -> None:
        while True:
            try:
                frame = await connection.socket.receive(timeout=None if connection.authenticated else _AUTH_TIMEOUT)
            except TimeoutError:
                await connection.send([_error(404, "auth timeout")])
                await connection.cut()
                return
            if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            await self._answer(connection, connection.read(frame))

    async def _answer(self, connection: Connection, message: Mapping[str, Any] | None) -> None:
        action = message.get("action") if message else None
        if message is None or action not in ("auth", "subscribe", "unsubscribe"):
            await connection.send([_error(400, "invalid syntax")])
        elif action == "auth":
            await self._authenticate(connection, message)
        elif not connection.authenticated:
            await connection.send([_error(401, "not authenticated")])
        else:
            self._subscribe(connection, message, action == "subscribe")
            listening = {channel: sorted(connection.symbols.get(channel, ())) for channel in _CHANNELS}
            await connection.send([{"T": "subscription", **listening}])

    async def _authenticate(self, connection: Connection, message: Mapping[str, Any]) -> None:
        if connection.authenticated:
            await connection.send([_error(403, "already authenticated")])
        elif self.authorized(message.get("key"), message.get("secret")):
            connection.authenticated = True
            await connection.send([{"T": "success", "msg": "authenticated"}])
        else:
            await connection.send([_error(402, "auth failed")])

    def _subscribe(self, connection: Connection, message: Mapping[str, Any], add: bool) -> None:
        for channel in _CHANNELS:
            asked = message.get(channel)
            if isinstance(asked, list):
                current = connection.symbols.setdefault(channel, set())
                wanted = {name for name in asked if isinstance(name, str)}
                connection.symbols[channel] = current | wanted if add else current - wanted

    async def publish(self, messages: list[Json]) -> None:
        """Send bars to whoever subscribed, one frame a client. Each message's ``t`` is an aware datetime."""
        reached: set[int] = set()
        for connection in list(self.connections):
            wanted = [number for number, message in enumerate(messages) if _wants(connection, message)]
            if not wanted:
                continue
            frame = [messages[number] for number in wanted]
            if not connection.packed:
                frame = [{**message, "t": stamp(message["t"])} for message in frame]
            if await connection.send(frame):
                reached.update(wanted)
        self.sent += len(reached)


def _wants(connection: Connection, message: Json) -> bool:
    listening = connection.symbols.get(_CHANNEL_OF[message["T"]], set())
    return message["S"] in listening or "*" in listening


def _error(code: int, text: str) -> Json:
    return {"T": "error", "code": code, "msg": text}
