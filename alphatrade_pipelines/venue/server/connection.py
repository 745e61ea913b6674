"""One client of a stream: a bounded queue of frames and the task that writes them, so that nobody ever waits for a slow reader."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import msgpack
import structlog
from aiohttp import WSMsgType, web

log = structlog.get_logger(__name__)
Encoding = Literal["text", "binary", "packed"]
Frame = bytes | str
FAREWELL_SECONDS = 5.0  # how long a client that does not read may take to hear why it is cut
CLOSE_SECONDS = 0.5  # how long the other side may take to answer a close
_LARGEST_MESSAGE = 1 << 20
_UNPACKABLE = (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException)


def encode(message: object, encoding: Encoding) -> Frame:
    """A message as a frame: JSON in a text frame, JSON in a binary frame, or msgpack (aware datetimes become Timestamps)."""
    if encoding == "packed":
        packed: bytes = msgpack.packb(message, datetime=True)
        return packed
    text = json.dumps(message, separators=(",", ":"))
    return text if encoding == "text" else text.encode()


class Connection:
    """One WebSocket. ``symbols``: what it listens to, by channel. ``capacity``: frames that may wait for it; one more: too slow."""

    def __init__(self, request: web.Request, encoding: Encoding, capacity: int, heartbeat: float | None) -> None:
        """``heartbeat``: seconds between pings (None = none); a peer that does not answer in half of it is gone."""
        # no compression: the wire is a loopback, and deflating every frame costs more than carrying it
        self.socket = web.WebSocketResponse(timeout=CLOSE_SECONDS, heartbeat=heartbeat, max_msg_size=_LARGEST_MESSAGE, compress=False)
        self.endpoint = request.path
        self.encoding = encoding
        self.capacity = capacity
        self.authenticated = False
        self.symbols: dict[str, set[str]] = {}
        self._request = request
        self._frames: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer: asyncio.Task[None] | None = None
        self.leaving = False

    async def open(self) -> None:
        """Answer the handshake and begin to write. Raises aiohttp's HTTPException when the request asks for no WebSocket."""
        await self.socket.prepare(self._request)
        self._writer = asyncio.create_task(self._write())

    @property
    def waiting(self) -> int:
        """Frames not yet written."""
        return len(self._frames)

    def put(self, frame: Frame) -> bool:
        """Queue a frame; False when the client is leaving or so slow that there is no room."""
        if self.leaving or len(self._frames) >= self.capacity:
            return False
        self._queue(frame)
        return True

    def _queue(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._idle.clear()
        self._wake.set()

    def say(self, message: object) -> bool:
        """Queue a message in this client's encoding; see :meth:`put`."""
        return self.put(encode(message, self.encoding))

    async def handed_over(self) -> None:
        """Wait until everything queued so far is on the wire, or the client is leaving."""
        await self._idle.wait()

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                while self._frames:
                    await self._send(self._frames.popleft())
                self._wake.clear()
                self._idle.set()
        except (ConnectionError, RuntimeError) as error:
            log.debug("stream client gone", error=repr(error))
        finally:
            self.leaving = True
            self._frames.clear()
            self._idle.set()

    async def _send(self, frame: Frame) -> None:
        if isinstance(frame, str):
            await self.socket.send_str(frame)
        else:
            await self.socket.send_bytes(frame)

    def read(self, frame: Any) -> Mapping[str, Any] | None:
        """The object in a received frame, or None if there is none."""
        try:
            packed = self.encoding == "packed" and frame.type == WSMsgType.BINARY
            value = msgpack.unpackb(frame.data) if packed else json.loads(frame.data)
        except _UNPACKABLE:
            return None
        return value if isinstance(value, Mapping) else None

    async def leave(self, code: int, last_word: object | None = None, *, slow: bool = False) -> None:
        """Close with ``code``, after what waits and ``last_word``. Of a ``slow`` client what waits is dropped, and it has longer to take
        the rest; whoever has not taken it by then loses the TCP connection."""
        self.leaving = True
        transport = self._request.transport
        if slow:
            self._frames.clear()
        if last_word is not None:
            self._queue(encode(last_word, self.encoding))
        with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(FAREWELL_SECONDS if slow else CLOSE_SECONDS):
                # the writer says the last word too: aiohttp lets only one task wait for a full transport
                await self.handed_over()
                await self.socket.close(code=code, drain=False)
                while _unwritten(transport):
                    await asyncio.sleep(0.02)
        if transport is not None and (not self.socket.closed or _unwritten(transport)):
            transport.abort()

    def drop(self) -> None:
        """Cut the TCP connection without a word."""
        self.leaving = True
        if self._request.transport is not None:
            self._request.transport.abort()

    async def end(self) -> None:
        """Stop writing; what waits is lost."""
        self.leaving = True
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)


def _unwritten(transport: asyncio.BaseTransport | None) -> bool:
    return isinstance(transport, asyncio.WriteTransport) and transport.get_write_buffer_size() > 0
