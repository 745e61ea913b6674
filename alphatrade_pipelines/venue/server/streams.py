"""What both streams share, and ``/stream``: trade updates, JSON in binary frames (msgpack for clients that ask for it).

Publishing only queues: no client can hold up the exchange. By the clock a client whose queue is full is told so and cut (407). Stepped,
a step waits until everything is handed over instead, so that nothing is lost because a client was busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from aiohttp import WSMsgType, web

from alphatrade_pipelines.venue.faults.stream_faults import Outgoing, Stream
from alphatrade_pipelines.venue.server.connection import Connection, Encoding, Frame, encode
from alphatrade_pipelines.venue.server.wire import Json

log = structlog.get_logger(__name__)
GOING_AWAY, POLICY, INTERNAL = 1001, 1008, 1011  # WebSocket close codes (RFC 6455, 7.4.1)


@dataclass(frozen=True, slots=True)
class StreamRules:
    """Who may listen, and how patiently they are served.

    Attributes:
        capacity: frames that may wait for one client.
        heartbeat: seconds between pings, None for none; who does not answer in half of it is gone.
        patience: seconds a step waits for clients that do not read (stepped mode); then they are slow (407).
        auth_seconds: wall-clock time to authenticate.
        connection_limit: authenticated connections a key may hold on one data feed, 0 = any number (Alpaca: 1).
        trading_connection_limit: the same for ``/stream`` (Alpaca documents none).
        symbol_limit: trade and quote subscriptions of a connection, 0 = any number (Alpaca's free plan: 30).
        feeds: data feeds the account is entitled to, empty = all (Alpaca's free plan: iex).
    """

    key: str = "sim"
    secret: str = "sim"
    capacity: int = 1024
    heartbeat: float | None = 30.0
    patience: float = 20.0
    auth_seconds: float = 10.0
    connection_limit: int = 1
    trading_connection_limit: int = 0
    symbol_limit: int = 0
    feeds: frozenset[str] = frozenset()


class StreamFaults(Protocol):
    """What a stream asks before it speaks; answered by the fault injector."""

    def outgoing(self, stream: Stream, messages: Sequence[Json]) -> list[Outgoing]:
        """What goes out in place of ``messages``."""

    def refuses_keys(self, stream: str) -> bool:
        """Whether good keys are refused now."""

    def slot_taken(self, stream: str) -> bool:
        """Whether a newcomer finds the connection limit used up."""


class Hub:
    """The connections of one stream. ``sent`` counts messages that at least one listening client can receive, ``received`` what came in."""

    name: Stream
    json_encoding: Encoding

    def __init__(self, rules: StreamRules, faults: StreamFaults) -> None:
        self.rules = rules
        self.faults = faults
        self.connections: set[Connection] = set()
        self.sent = 0
        self.received = 0
        self._farewells: set[asyncio.Task[None]] = set()

    # --- a client's life ------------------------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one client until it leaves."""
        packed = "msgpack" in request.headers.get("Content-Type", "")
        connection = Connection(request, "packed" if packed else self.json_encoding, self.rules.capacity, self.rules.heartbeat)
        await connection.open()
        self.connections.add(connection)
        deadline = asyncio.get_running_loop().call_later(self.rules.auth_seconds, self._auth_is_due, connection)
        try:
            self.welcome(connection)
            async for frame in connection.socket:
                if frame.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._take(connection, frame)
        finally:
            deadline.cancel()
            self.connections.discard(connection)
            await connection.end()
        return connection.socket

    def _take(self, connection: Connection, frame: Any) -> None:
        self.received += 1
        try:
            self.answer(connection, connection.read(frame))
        except Exception:
            log.exception("internal error of the venue", stream=connection.endpoint)
            self.dismiss(connection, INTERNAL, self.error(500, "internal server error"))

    def _auth_is_due(self, connection: Connection) -> None:
        if not connection.authenticated:
            self.dismiss(connection, POLICY, self.error(404, "auth timeout"))

    def authorized(self, key: object, secret: object) -> bool:
        """Are these the venue's keys?"""
        return (key, secret) == (self.rules.key, self.rules.secret) and not self.faults.refuses_keys(self.name)

    def full(self, connection: Connection, limit: int) -> bool:
        """Do other authenticated clients of this endpoint use up the ``limit``?"""
        if self.faults.slot_taken(self.name):
            return True
        others = [c for c in self.connections if c.authenticated and not c.leaving and c.endpoint == connection.endpoint]
        return bool(limit) and len(others) >= limit

    # --- what each stream says its own way --------------------------------------------------------------------------------------------

    def welcome(self, connection: Connection) -> None:
        """Greet a client that has just connected."""

    def answer(self, connection: Connection, message: Mapping[str, Any] | None) -> None:
        """React to what a client says (None: it could not be read)."""
        raise NotImplementedError

    def error(self, code: int, text: str) -> object:
        """An error message of this stream."""
        raise NotImplementedError

    # --- delivery ---------------------------------------------------------------------------------------------------------------------

    def say(self, connection: Connection, message: object) -> bool:
        """Queue a message; see :meth:`put`."""
        return self.put(connection, encode(message, connection.encoding))

    def put(self, connection: Connection, frame: Frame) -> bool:
        """Queue a frame without waiting; a client without room for it is told (407) and cut."""
        if connection.put(frame):
            return True
        if not connection.leaving:
            self.dismiss(connection, POLICY, self.error(407, "slow client"), slow=True)
        return False

    async def flush(self) -> None:
        """Wait until every client has been handed everything; who does not read for ``patience`` seconds is slow (407)."""
        busy = [connection for connection in self.connections if connection.waiting and not connection.leaving]
        if not busy:
            return
        waits = {asyncio.create_task(connection.handed_over()): connection for connection in busy}
        _, late = await asyncio.wait(waits, timeout=self.rules.patience)
        for wait in late:
            wait.cancel()
            self.dismiss(waits[wait], POLICY, self.error(407, "slow client"), slow=True)

    def dismiss(self, connection: Connection, code: int, last_word: object | None = None, *, slow: bool = False) -> None:
        """Close a connection in the background; see :meth:`Connection.leave`."""
        log.info("stream client dismissed", stream=connection.endpoint, code=code, last_word=last_word)
        connection.leaving = True
        farewell = asyncio.create_task(connection.leave(code, last_word, slow=slow))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    async def cut_all(self) -> None:
        """Close every connection with 1001."""
        for farewell in list(self._farewells):
            farewell.cancel()
        await asyncio.gather(*(connection.leave(GOING_AWAY) for connection in list(self.connections)))

    def cut(self, *, abort: bool) -> None:
        """End every connection in the background: with a close frame (1001), or by dropping the TCP connection."""
        for connection in list(self.connections):
            if abort:
                connection.drop()
            else:
                self.dismiss(connection, GOING_AWAY)


class TradeUpdates(Hub):
    """``/stream``."""

    name: Stream = "trade_updates"
    json_encoding: Encoding = "binary"

    def error(self, code: int, text: str) -> object:
        """Alpaca's error frame of this stream carries no code."""
        return {"action": "error", "data": {"error_message": text}}

    def answer(self, connection: Connection, message: Mapping[str, Any] | None) -> None:
        """authenticate (or auth), listen, unlisten."""
        action = message.get("action") if message else None
        data = message.get("data") if message else None
        data = data if isinstance(data, Mapping) else {}
        if message is not None and action in ("authenticate", "auth"):
            key, secret = (data.get("key_id"), data.get("secret_key")) if data else (message.get("key"), message.get("secret"))
            self._authenticate(connection, key, secret)
        elif action in ("listen", "unlisten") and not connection.authenticated:
            self.say(connection, {"stream": "authorization", "data": {"status": "unauthorized", "action": action}})
        elif action in ("listen", "unlisten"):
            self._listen(connection, data.get("streams"), action == "listen")
        else:
            self.say(connection, self.error(400, "invalid message"))

    def _authenticate(self, connection: Connection, key: object, secret: object) -> None:
        known = self.authorized(key, secret)
        if known and not connection.authenticated and self.full(connection, self.rules.trading_connection_limit):
            self.dismiss(connection, POLICY, self.error(406, "connection limit exceeded"))
            return
        connection.authenticated = known
        status = "authorized" if known else "unauthorized"
        self.say(connection, {"stream": "authorization", "data": {"status": status, "action": "authenticate"}})

    def _listen(self, connection: Connection, asked: object, add: bool) -> None:
        """``listen`` names all the streams wanted from now on; ``unlisten`` those no longer wanted. Unknown streams are left out."""
        named = {name for name in asked if name == "trade_updates"} if isinstance(asked, list) else set()
        wanted = named if add else set(connection.symbols) - named
        connection.symbols = {name: {"*"} for name in wanted}
        self.say(connection, {"stream": "listening", "data": {"streams": sorted(wanted)}})

    def publish(self, updates: Sequence[Json]) -> None:
        """Queue trade updates for everyone who listens."""
        for outgoing in self.faults.outgoing(self.name, updates):
            self._publish(outgoing)

    def _publish(self, outgoing: Outgoing) -> None:
        shown = outgoing.shown or {"stream": "trade_updates", "data": outgoing.message}
        frames: dict[Encoding, Frame] = {}
        reached = False
        for connection in [connection for connection in self.connections if connection.symbols]:
            if connection.encoding not in frames:
                frames[connection.encoding] = outgoing.raw or encode(shown, connection.encoding)
            reached |= self.put(connection, frames[connection.encoding])
        self.sent += reached and outgoing.counted
