"""The harness may not move the venue while a message is on its way: not even one that came of what was just dealt with."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from alphatrade_pipelines.live.inbox import Inbox, Tick
from alphatrade_pipelines.live.lockstep import Lockstep


class Wire:
    """A venue that counts what it sends, and a session that answers each message with an order until ``chain`` of them have come.

    Each order's message takes ``delay`` seconds to arrive, as behind a writer task of its own.
    """

    def __init__(self, chain: int, delay: float) -> None:
        self.inbox = Inbox()
        self.sent, self.arrived, self.asked = 1, 0, 0
        self._chain, self._delay = chain, delay
        self.shell = SimpleNamespace(is_reading=False, finish_reading=self._finish_reading)
        self.streams = SimpleNamespace(is_up=True, received=(0, 0))

    async def _finish_reading(self) -> None:
        """No read of the broker is under way here."""

    async def ask(self, _method: str, _path: str) -> dict[str, Any]:
        counts = {"trade_updates_sent": self.sent, "data_messages_sent": 0, "trade_connections": 1, "data_connections": 1}
        self.asked += 1
        if self.asked == 1:  # the first message was sent before, and arrives while the harness is still asking
            self.deliver()
        await asyncio.sleep(0)
        return counts

    def deliver(self) -> None:
        self.arrived += 1
        self.streams.received = (self.arrived, 0)
        self.inbox.put(Tick())

    async def work(self) -> None:
        while True:
            await self.inbox.get()
            if self.sent < self._chain:
                self.sent += 1
                asyncio.get_running_loop().call_later(self._delay, self.deliver)


async def settle(wire: Wire) -> None:
    working = asyncio.create_task(wire.work())
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await Lockstep(wire, 1)._settle(wire)  # type: ignore[arg-type]
    finally:
        working.cancel()


async def test_settling_waits_for_what_an_answer_caused() -> None:
    for delay in (0.0, 0.005, 0.05):
        wire = Wire(chain=5, delay=delay)
        await settle(wire)
        assert (wire.sent, wire.arrived) == (5, 5), delay


async def test_a_quiet_session_is_asked_no_more_than_needed() -> None:
    wire = Wire(chain=1, delay=0.0)
    await settle(wire)
    assert wire.asked == 2  # the message that arrived during the first look makes a second one necessary
