"""Alpaca's two WebSocket streams on the SDK's own classes, made safe to depend on.

The SDK connects, authenticates, backs off (with jitter) and re-subscribes for ever. What it lacks is added here: a word when a
stream is really subscribed or lost (events in between are gone and must be read back), and a capture of every single message: one
that cannot be read is reported, not swallowed, and never takes its neighbours with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgpack
import structlog
from alpaca.data.live.stock import StockDataStream
from alpaca.trading.stream import TradingStream

from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
from alphatrade_pipelines.live.inbox import BarArrived, Stimulus, StreamChanged, UpdateArrived
from alphatrade_pipelines.market.sources.secrecy import masked

log = structlog.get_logger(__name__)
Sink = Callable[[Stimulus], None]
# the SDK's defaults notice a dead peer only after 190 s
SOCKET = {"ping_interval": 10, "ping_timeout": 20, "max_queue": 4096}
WAKE_S = 0.5
ACK_TIMEOUT_S = 10.0
# a stream that the broker ended for good is tried again so often
SLOW_RETRY_S = 60.0
BAR_CHANNELS = frozenset({"b", "u", "d"})
BAR_FIELDS = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vw": "vwap", "n": "trade_count"}


class _Watched:
    """What both streams share; mixed in before the SDK class. ``received`` counts business messages."""

    name: str
    sink: Sink
    received: int
    _up: bool

    def _watch(self, name: str, sink: Sink) -> None:
        self.name, self.sink, self.received, self._up = name, sink, 0, False
        self._renew = False

    def renew(self) -> None:
        """Leave this connection for a new one: it is open, but nothing comes."""
        self._renew = True

    def _take(self, frame: bytes | str) -> None:
        raise NotImplementedError

    def _subscribed(self) -> None:
        if not self._up:
            self._up = True
            self.sink(StreamChanged(self.name, connected=True))

    def _lost(self, detail: str) -> None:
        if self._up:
            self._up = False
            self.sink(StreamChanged(self.name, connected=False, detail=detail))

    def _unreadable(self, error: Exception, raw: object) -> None:
        stream: Any = self
        keys = (stream._api_key, stream._secret_key)  # an error message may repeat what it was authenticated with
        said = masked(str(error), keys)
        log.error("unreadable stream message", stream=self.name, error=said, raw=masked(repr(raw), keys)[:500])
        self.sink(StreamChanged(self.name, connected=self._up, detail=f"unreadable message: {said}", garbled=True))

    async def _consume(self) -> bool:
        """Replaces the SDK's read loop: same contract (returns when told to stop, raises when the socket breaks)."""
        stream: Any = self
        waited = 0.0
        while stream._stop_stream_queue.empty():
            try:
                frame = await asyncio.wait_for(stream._ws.recv(), WAKE_S)
            except TimeoutError:
                waited += WAKE_S
                if self._renew:
                    self._renew = False
                    await stream.close()
                    raise ConnectionError(f"{self.name}: the connection is mute, taking another") from None
                if not self._up and waited >= ACK_TIMEOUT_S:
                    # the SDK believes it is subscribed once it has asked; without the answer every event would be missed in silence
                    await stream.close()
                    raise ConnectionError(f"{self.name}: subscription not acknowledged within {ACK_TIMEOUT_S:.0f} s") from None
                continue
            self._take(frame)
        stream._stop_stream_queue.get_nowait()
        await stream.close()
        return False


class UpdateStream(_Watched, TradingStream):  # type: ignore[misc]
    """``trade_updates``: every message goes to the sink as it came."""

    def __init__(self, endpoints: Endpoints, credentials: Credentials, sink: Sink) -> None:
        TradingStream.__init__(
            self,
            credentials.key.get_secret_value(),
            credentials.secret.get_secret_value(),
            raw_data=True,
            url_override=endpoints.trading_stream,
            websocket_params=dict(SOCKET),
        )
        self._watch("trade_updates", sink)
        self.subscribe_trade_updates(_unused)

    def _take(self, frame: bytes | str) -> None:
        try:
            message = json.loads(frame)
            kind, data = message.get("stream"), message.get("data")
            if kind == "listening":
                if "trade_updates" in (data or {}).get("streams", ()):
                    self._subscribed()
            elif kind == "trade_updates":
                self.received += 1
                if not isinstance(data, dict):
                    raise TypeError(f"expected an object under data, found {data!r}")
                self.sink(UpdateArrived(data))
            elif message.get("action") == "error":
                raise ConnectionError(str(data))
        except Exception as error:  # noqa: BLE001 - nothing a broker sends may stop the reading of what it sends next
            self._unreadable(error, frame)

    async def close(self) -> None:
        self._lost("connection closed")
        await TradingStream.close(self)


class BarStream(_Watched, StockDataStream):  # type: ignore[misc]
    """Minute bars with their corrections, or daily bars, of the given symbols."""

    def __init__(self, endpoints: Endpoints, credentials: Credentials, symbols: Iterable[str], daily: bool, sink: Sink) -> None:
        StockDataStream.__init__(
            self,
            credentials.key.get_secret_value(),
            credentials.secret.get_secret_value(),
            raw_data=True,
            url_override=endpoints.data_stream,
            websocket_params=dict(SOCKET),
        )
        self._watch("market_data", sink)
        names = sorted(symbols)
        if daily:
            self.subscribe_daily_bars(_unused, *names)
        else:
            self.subscribe_bars(_unused, *names)
            self.subscribe_updated_bars(_unused, *names)

    def _take(self, frame: bytes | str) -> None:
        try:
            messages = msgpack.unpackb(frame)
        except Exception as error:  # noqa: BLE001 - see UpdateStream
            self._unreadable(error, frame)
            return
        for message in messages:
            try:
                self._take_one(message)
            except Exception as error:  # noqa: BLE001 - one bad bar must not take the rest of its frame with it
                self._unreadable(error, message)

    def _take_one(self, message: dict[str, Any]) -> None:
        kind = message["T"]
        if kind == "subscription":
            self._subscribed()
        elif kind == "error":
            raise ConnectionError(f"{message.get('msg')} ({message.get('code')})")
        elif kind in BAR_CHANNELS:
            self.received += 1
            start: datetime = message["t"].to_datetime()
            values = {name: float(message[key]) for key, name in BAR_FIELDS.items() if message.get(key) is not None}
            self.sink(BarArrived(kind, message["S"], start, values))

    async def close(self) -> None:
        self._lost("connection closed")
        await StockDataStream.close(self)


async def _unused(_message: object) -> None:
    """The SDK wants a handler before it connects; messages are taken before they would reach it."""


class Streams:
    """Both streams as tasks of the running loop."""

    def __init__(self, updates: UpdateStream, bars: BarStream) -> None:
        self.updates, self.bars = updates, bars
        self.slow_retry_s = SLOW_RETRY_S
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin connecting; the sink hears when each is subscribed."""
        self._tasks = [asyncio.create_task(self._keep_running(stream), name=stream.name) for stream in (self.updates, self.bars)]

    async def _keep_running(self, stream: Any) -> None:
        """The SDK comes back by itself from all but a subscription the plan does not allow: that too may pass, so it is tried again slowly.
        A session outlives its streams: positions are protected at the broker, and reads take the place of being told."""
        while not self._stopping:
            await stream._run_forever()
            if not self._stopping:
                log.error("stream ended, trying again", stream=stream.name, after_s=self.slow_retry_s)
                stream._lost("the subscription was refused")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self.slow_retry_s)

    @property
    def _stopping(self) -> bool:
        return self._stop.is_set()

    def reconnect_data(self) -> None:
        """Leave the market-data connection for a new one."""
        self.bars.renew()

    @property
    def is_up(self) -> bool:
        """Both are subscribed."""
        return self.updates._up and self.bars._up

    @property
    def received(self) -> tuple[int, int]:
        """Messages received so far: trade updates, bars."""
        return self.updates.received, self.bars.received

    async def stop(self, patience_s: float = 3.0) -> None:
        """Close both sockets; a task that does not end within ``patience_s`` is cancelled."""
        self._stop.set()
        for stream in (self.updates, self.bars):
            await stream.stop_ws()
        _, late = await asyncio.wait(self._tasks, timeout=patience_s) if self._tasks else (set(), set())
        for task in late:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
