"""An asyncio event loop whose time is a number: it jumps to the next timer, waits for nothing, and knows neither sockets nor threads.

Everything asynchronous in live and in the venue runs on it unchanged. What blocks (the SDK's REST calls) runs inside a callback: when it
has to wait, it drives the loop on until its time has come, which is what a worker thread would see. The same callbacks at the same times
run in the same order, always: timers of one instant fire in the order they were set.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable
from contextvars import Context
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Any

Handles = list[tuple[float, int, asyncio.TimerHandle]]


class StuckError(RuntimeError):
    """Nothing is left to happen, yet something still waits: the simulation itself is broken."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Virtual seconds since ``epoch`` (aware UTC)."""

    def __init__(self, epoch: datetime) -> None:
        super().__init__()
        self.epoch = epoch
        self.faults: list[BaseException] = []
        self._now = 0.0
        self._timers: Handles = []
        self._serial = count()
        self.set_exception_handler(self._note)

    @property
    def now(self) -> datetime:
        """Virtual time as a date."""
        return self.epoch + timedelta(seconds=self._now)

    def seconds_at(self, at: datetime) -> float:
        """The loop's time at ``at``."""
        return (at - self.epoch).total_seconds()

    def time(self) -> float:
        """Virtual seconds since the epoch."""
        return self._now

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        return self.call_at(self._now + max(delay, 0.0), callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio; timers of one instant fire in the order they were set."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._serial), timer))
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run what blocks in a callback of this loop; it may wait by :meth:`sleep` and :meth:`drive`."""
        future: asyncio.Future[Any] = self.create_future()
        self.call_soon(_run_into, future, func, args)
        return future

    # --- driven from inside -----------------------------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass, from code that blocks."""
        self.drive(lambda: False, self._now + seconds)

    def drive(self, done: Callable[[], bool], until: float) -> bool:
        """Run the loop until ``done()``, at the latest until virtual second ``until``; what ``done()`` says then."""
        reached: list[bool] = []
        limit = self.call_at(until, reached.append, True)
        while not done() and not reached:
            self._run_once()
        limit.cancel()
        return done()

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        if not ready:
            self._jump()
        for _ in range(len(ready)):
            if not ready:
                return  # a callback drove the loop itself and has taken them
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not timers:
            if self._stopping:  # type: ignore[attr-defined]
                return
            raise StuckError(f"nothing is left to happen after {self.now.isoformat()}, but somebody still waits")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._ready.append(heappop(timers)[2])  # type: ignore[attr-defined]

    # --- what the base class asks of a loop ---------------------------------------------------------------------------------------------

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(context.get("exception") or RuntimeError(str(context.get("message"))))


def _run_into(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        result = func(*args)
    except BaseException as error:  # noqa: BLE001 - as an executor does: whatever it was, the awaiting side gets it
        if not future.cancelled():
            future.set_exception(error)
    else:
        if not future.cancelled():
            future.set_result(result)


def run(loop: VirtualLoop, main: Any) -> Any:
    """Run a coroutine to its end on ``loop``, then end whatever still runs beside it."""
    before = events._get_running_loop()
    events._set_running_loop(None)
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        _cancel_all(loop)
        asyncio.set_event_loop(None)
        events._set_running_loop(before)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
