"""Both streams without a socket: the venue's own hubs speak to the client's own readers, in virtual time.

The words are those of the wire (handshake, authentication, subscription, frames); frames travel for a while, in order, and are lost
with the connection. The client comes back as the SDK does: after a pause that doubles, up to half a minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
from alphatrade_pipelines.live.session import Sink
from alphatrade_pipelines.live.streams import BarStream, UpdateStream
from alphatrade_pipelines.simulation.virtual import VirtualLoop
from alphatrade_pipelines.venue.server.app import VenueServer
from alphatrade_pipelines.venue.server.connection import Connection, Encoding, Frame, encode
from alphatrade_pipelines.venue.server.streams import Hub

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
DEAD_AFTER = 30.0  # an aborted connection is noticed by the ping that gets no answer
Reader = UpdateStream | BarStream


class Pipe:
    """The venue's end of one connection: what :class:`Hub` uses of a ``Connection``."""

    def __init__(self, loop: VirtualLoop, endpoint: str, encoding: Encoding, delay: Callable[[], float], client: Client) -> None:
        self.endpoint, self.encoding, self.capacity = endpoint, encoding, 65_536
        self.authenticated = self.leaving = False
        self.symbols: dict[str, set[str]] = {}
        self.waiting = 0
        self._loop, self._delay, self._client = loop, delay, client
        self._frames: deque[Frame] = deque()
        self._last = 0.0
        self.open = True

    def put(self, frame: Frame) -> bool:
        """Send a frame; frames arrive in order."""
        if self.leaving:
            return False
        self._send(frame)
        return True

    def _send(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._last = max(self._last, self._loop.time() + self._delay())
        self._loop.call_at(self._last, self._arrive)

    def _arrive(self) -> None:
        if self.open and self._frames:
            self._client.take(self._frames.popleft())

    def say(self, message: object) -> bool:
        """Send a message in this client's encoding."""
        return self.put(encode(message, self.encoding))

    async def handed_over(self) -> None:
        """Frames leave at once."""

    async def leave(self, code: int, last_word: object | None = None, *, slow: bool = False) -> None:
        """Close in good order: what is on its way still arrives."""
        self.leaving = True
        if last_word is not None:
            self._send(encode(last_word, self.encoding))
        self._loop.call_at(max(self._last, self._loop.time()), self._client.closed, self, f"closed by the venue ({code})")

    def drop(self) -> None:
        """Abort: what is on its way is lost, and nobody is told."""
        self.leaving, self.open = True, False
        self._loop.call_later(DEAD_AFTER, self._client.closed, self, "no answer to a ping")

    def shut(self) -> None:
        """The client is gone."""
        self.leaving, self.open = True, False


class Client:
    """One stream of the trader: connects, authenticates, subscribes, reads, and comes back when it is lost."""

    def __init__(self, loop: VirtualLoop, server: VenueServer, hub: Hub, reader: Reader, hello: Hello, delay: Callable[[], float]) -> None:
        self.reader = reader
        self._loop, self._server, self._hub, self._hello, self._delay = loop, server, hub, hello, delay
        self._pipe: Pipe | None = None
        self._failures = 0
        self._stopped = False

    def connect(self) -> None:
        """Ask for a connection."""
        if self._stopped:
            return
        if self._server.injector.handshake(self._hub.name) is not None:
            self._again()
            return
        self._pipe = Pipe(self._loop, self._hello.endpoint, self._hello.encoding, self._delay, self)
        connection = cast(Connection, self._pipe)
        self._hub.connections.add(connection)
        self._hub.welcome(connection)
        for message in self._hello.messages:
            if not self._pipe.leaving:
                self._hub.received += 1
                self._hub.answer(connection, message)
        self._loop.call_later(ACK_PATIENCE, self._check, self._pipe)

    def _check(self, pipe: Pipe) -> None:
        if pipe is self._pipe and not self.reader._up:
            self.closed(pipe, "subscription not acknowledged")

    def take(self, frame: Frame) -> None:
        """A frame has arrived."""
        if not self._stopped:
            self.reader._take(frame)
            if self.reader._up:
                self._failures = 0

    def closed(self, pipe: Pipe, detail: str) -> None:
        """The connection is gone: say so, come back later."""
        if pipe is not self._pipe:
            return
        self._let_go(pipe)
        if not self._stopped:
            self.reader._lost(detail)
            self._again()

    def _let_go(self, pipe: Pipe) -> None:
        pipe.shut()
        self._hub.connections.discard(cast(Connection, pipe))
        self._pipe = None

    def _again(self) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self._loop.call_later(pause * (0.5 + min(self._delay(), 0.5)), self.connect)

    def stop(self) -> None:
        """The process ends: its sockets close without a word."""
        self._stopped = True
        if self._pipe is not None:
            self._let_go(self._pipe)


ACK_PATIENCE = 10.0


class Hello:
    """What a client says first."""

    def __init__(self, endpoint: str, encoding: Encoding, messages: Iterable[dict[str, Any]]) -> None:
        self.endpoint, self.encoding, self.messages = endpoint, encoding, tuple(messages)


class InProcessStreams:
    """Both streams of one session (a ``StreamPair``)."""

    def __init__(
        self,
        loop: VirtualLoop,
        server: VenueServer,
        where: tuple[Endpoints, Credentials],
        symbols: tuple[str, ...],
        delay: Callable[[str], float],
        sink: Sink,
    ) -> None:
        endpoints, keys = where
        key, secret = keys.key.get_secret_value(), keys.secret.get_secret_value()
        daily = server.exchange.tape.timeframe.is_daily
        updates = Hello(
            "/stream",
            "binary",
            (
                {"action": "authenticate", "data": {"key_id": key, "secret_key": secret}},
                {"action": "listen", "data": {"streams": ["trade_updates"]}},
            ),
        )
        channels: dict[str, Any] = {"dailyBars": list(symbols)} if daily else {"bars": list(symbols), "updatedBars": list(symbols)}
        data = Hello("/v2/iex", "packed", ({"action": "auth", "key": key, "secret": secret}, {"action": "subscribe", **channels}))
        self.clients = (
            Client(loop, server, server.trade_updates, UpdateStream(endpoints, keys, sink), updates, lambda: delay("trade_updates")),
            Client(loop, server, server.market_data, BarStream(endpoints, keys, symbols, daily, sink), data, lambda: delay("data")),
        )

    @property
    def is_up(self) -> bool:
        """Both are subscribed."""
        return all(client.reader._up for client in self.clients)

    @property
    def received(self) -> tuple[int, int]:
        """Messages received so far: trade updates, bars."""
        return self.clients[0].reader.received, self.clients[1].reader.received

    def start(self) -> None:
        """Connect both."""
        for client in self.clients:
            client.connect()

    def reconnect_data(self) -> None:
        """Leave the market-data connection for a new one."""
        client = self.clients[1]
        if client._pipe is not None:
            client.closed(client._pipe, "the connection is mute, taking another")

    async def stop(self) -> None:
        """Close both."""
        for client in self.clients:
            client.stop()
