"""The pace of the simulation: the venue takes its next step only when the session has dealt with everything the last one caused.

A step is worked off in the order of a backtest: corporate actions and order updates, then the clock, then bars and decisions, each
until nothing follows. "Nothing follows" is known, not guessed: the venue counts the messages it has sent, the streams those received.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import structlog

from alphatrade_pipelines.live.inbox import Decide, Kind, Morning, StreamChanged, Tick
from alphatrade_pipelines.live.session import LiveSession
from alphatrade_pipelines.trading.domain import StopPolicy

log = structlog.get_logger(__name__)
Json = dict[str, Any]
END_OF_TAPE = "end of the tape"
LOST_AFTER_S = 5.0


class VenueAdmin:
    """The venue's ``/admin``: time and truth, for whoever started it."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._headers = url, {"X-Admin-Token": token}
        self._http: aiohttp.ClientSession | None = None

    async def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """One admin call. Raises aiohttp.ClientError when the venue is gone or refuses."""
        session = await self._client()
        async with session.request(method, f"{self._url}/admin/{path}", json=body, headers=self._headers) as answer:
            answer.raise_for_status()
            content: Json = await answer.json()
            return content

    async def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        return self._http

    async def close(self) -> None:
        """Give the sockets back."""
        if self._http is not None:
            await self._http.close()
            self._http = None


class Lockstep:
    """Moves the venue. ``total``: sessions to play, for progress; ``pace_s``: pause after each session, so that a person can watch."""

    def __init__(self, admin: VenueAdmin, total: int, pace_s: float = 0.0) -> None:
        self._admin, self._total, self._pace_s = admin, total, pace_s
        self._base = (0, 0)
        self._played = 0

    @property
    def progress(self) -> float | None:
        """Share of the sessions played."""
        return min(1.0, self._played / self._total) if self._total else None

    async def begin(self, session: LiveSession) -> None:
        """Count from here: whatever was sent before went to another process."""
        state = await self._admin.ask("GET", "state")
        received = session.streams.received
        self._base = (state["trade_updates_sent"] - received[0], state["data_messages_sent"] - received[1])
        self._played = state["sessions_played"]

    async def run(self, session: LiveSession) -> str:
        """Step until the tape ends, or until the session is asked to stop and may leave protected positions behind."""
        await self._settle(session)
        while True:
            if session.stopping is not None and session.stopping.policy is StopPolicy.PROTECT:
                await asyncio.sleep(0.05)  # the session settles on its own and then ends this task
                continue
            kind = await self._step(session)
            if kind == END_OF_TAPE:
                return END_OF_TAPE
            if kind == "session_close":
                self._played += 1
                await self._pause(session)

    async def _pause(self, session: LiveSession) -> None:
        until = asyncio.get_running_loop().time() + self._pace_s
        while session.stopping is None and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(min(0.1, self._pace_s))

    async def _step(self, session: LiveSession) -> str:
        inbox = session.inbox
        inbox.hold(Kind.UPDATE, Kind.BAR)
        bars_before = session.streams.received[1]
        try:
            step = await self._admin.ask("POST", "step", {"acks": True})
            await self._arrival(session, step)
            inbox.put(Morning())
        finally:
            inbox.release(Kind.UPDATE)
        if step["done"]:
            inbox.release(Kind.BAR)
            return END_OF_TAPE
        await self._settle(session)
        inbox.put(Tick())
        await self._settle(session)
        inbox.release(Kind.BAR)
        if session.streams.received[1] > bars_before:
            inbox.put(Decide())
            await self._settle(session)
        return str(step["kind"])

    async def _settle(self, session: LiveSession) -> None:
        """Until the streams stand, the session is idle, and it has received everything the venue has sent.

        Venue time waits for a reconnect: here a second of wall clock would be hours of market in which nobody watches.
        """
        while True:
            await session.shell.finish_reading()
            await session.inbox.idle()
            quiet_since = session.inbox.handed_out
            state = await self._admin.ask("GET", "state")
            if not (session.streams.is_up and state["trade_connections"] and state["data_connections"]):
                await asyncio.sleep(0.02)
                continue
            await self._arrival(session, state)
            # whatever was dealt with since the counts were taken may have sent an order, and so caused messages they do not hold
            if session.inbox.is_idle and session.inbox.handed_out == quiet_since and not session.shell.is_reading:
                return

    async def _arrival(self, session: LiveSession, counts: Json) -> None:
        """Wait for the messages the venue says it has sent; what does not come is lost, and the broker is read instead."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LOST_AFTER_S
        while (missing := self._missing(session, counts)) != (0, 0):
            if loop.time() > until:
                log.warning("stream messages lost", trade_updates=missing[0], bars=missing[1])
                self._base = (self._base[0] + missing[0], self._base[1] + missing[1])
                session.inbox.put(StreamChanged("trade_updates", session.streams.is_up, f"{missing} messages lost", garbled=True))
                return
            await asyncio.sleep(0.001)

    def _missing(self, session: LiveSession, counts: Json) -> tuple[int, int]:
        """Messages sent but not yet received: trade updates, bars. The counts may be older than what has arrived since."""
        received = session.streams.received
        return (
            max(0, counts["trade_updates_sent"] - self._base[0] - received[0]),
            max(0, counts["data_messages_sent"] - self._base[1] - received[1]),
        )
