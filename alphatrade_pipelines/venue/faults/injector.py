"""What the server asks at its hook points: does a fault strike here, now? With nothing armed every answer is "no" at once.

Deterministic: the same requests and steps are struck alike. Only ``for_seconds`` of requests and connections, and the seconds a request
is held, hang on the wall clock, because the clients' own timers do.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any, Protocol

import structlog
from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError, not_found
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.past import Past
from alphatrade_pipelines.venue.faults import exchange_faults
from alphatrade_pipelines.venue.faults.armed import Armed
from alphatrade_pipelines.venue.faults.catalogue import KINDS
from alphatrade_pipelines.venue.faults.scenario import FIRST_SYMBOL, Fault, Scenario, ScenarioError, faults_of, moment
from alphatrade_pipelines.venue.faults.stream_faults import Distortion, Json, Outgoing, Stream
from alphatrade_pipelines.venue.faults.wire_faults import Wire, json_of, view_of

log = structlog.get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_RELEASE = ("continue", "drop")
_LATER = ("close_all_fails", "clock_skew", "stale_views")  # kinds that strike a request elsewhere than on its way in


class Streams(Protocol):
    """What ``cut_streams`` needs of the server."""

    def cut(self, stream: str, *, abort: bool) -> None:
        """End every connection of ``trade_updates``, ``data`` or ``both``."""


class Injector:
    """The armed faults of one venue. ``streams`` is set by the server once its streams exist; ``names`` are the scenarios loaded,
    ``name_changes`` what the corporate actions announce on their behalf."""

    def __init__(self, exchange: Exchange, scenario: Scenario | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ScenarioError when ``scenario`` asks for what this tape does not have."""
        self._exchange = exchange
        self._clock = clock
        self._first = exchange.tape.first_session_after(exchange.now)
        self._numbers = count(1)
        self._wire = Wire()
        self._past = Past(exchange)
        bar = "d" if exchange.tape.timeframe.is_daily else "b"
        self._distortions = {name: Distortion(bar, self._struck_message) for name in ("trade_updates", "data")}
        self._undo: dict[str, Callable[[], None]] = {}
        self._zombies: dict[str, float] = {}
        self.streams: Streams | None = None
        self.faults: dict[str, Armed] = {}
        self.names: tuple[str, ...] = ()
        self.name_changes: list[dict[str, str]] = []
        if scenario is not None:
            self.load(scenario)

    # --- arming -----------------------------------------------------------------------------------------------------------------------

    def load(self, scenario: Scenario) -> list[str]:
        """Arm all of a scenario, or nothing of it; the ids of its faults. Raises ScenarioError."""
        ids = self.arm(scenario.faults, scenario.seed)
        self.names = (*self.names, scenario.name) if scenario.name else self.names
        return ids

    def arm(self, faults: Iterable[Fault], seed: int = 0) -> list[str]:
        """Arm faults, all or none; their ids. Those due now strike at once.

        Raises:
            ScenarioError: a time or a symbol this tape does not have.
        """
        exchange = self._exchange
        faults = [replace(f, symbol=exchange.tape.symbols[0]) if f.symbol == FIRST_SYMBOL else f for f in faults]
        moments = [self._moment(fault) for fault in faults]
        for fault in faults:
            exchange_faults.check(exchange, fault)
        new = [Armed(f"fault-{next(self._numbers)}", fault, seed, at) for fault, at in zip(faults, moments, strict=True)]
        self.faults |= {armed.id: armed for armed in new}
        self._act(new)
        self.remember()
        return [armed.id for armed in new]

    def _moment(self, fault: Fault) -> datetime | None:
        tape = self._exchange.tape
        return None if fault.at is None else moment(fault.at, self._exchange.now, tape.sessions, self._first)

    def disarm(self, fault_id: str | None = None) -> list[str]:
        """Disarm one fault or all, undo what lasts and give taken slots back; their ids. Raises VenueError 404 for an unknown one."""
        if fault_id is not None and fault_id not in self.faults:
            raise not_found(f"fault not found for {fault_id}")
        ids = [fault_id] if fault_id is not None else list(self.faults)
        for name in ids:
            self.faults.pop(name)
            self._end(name)
        self._zombies.clear()
        if fault_id is None:
            self.names = ()
        return ids

    def arm_kind(self, kind: str, times: int) -> None:
        """Let ``kind`` happen ``times`` more times with its defaults, to the first symbol if it needs one; 0 disarms it.

        Raises:
            ScenarioError: unknown kind, or one that needs more than that.
        """
        asked: dict[str, object] = {"kind": kind, "times": max(times, 1)}
        if kind in KINDS and "symbol" in KINDS[kind].params:
            asked["symbol"] = FIRST_SYMBOL
        faults = faults_of([asked])
        if times:
            self.arm(faults)
            return
        for armed in [armed for armed in self.faults.values() if armed.fault.kind.name == kind]:
            self.disarm(armed.id)

    def release(self, held_id: str | None = None, then: str = "continue") -> list[str]:
        """Let one held request go, or all: ``continue`` as if nothing had been, or ``drop`` the connection. Raises VenueError."""
        if then not in _RELEASE:
            raise VenueError(422, 40010001, f"expected then out of {', '.join(_RELEASE)}, found {then!r}")
        ids = self._wire.release(held_id, then)
        if held_id is not None and not ids:
            raise not_found(f"held request not found for {held_id}")
        return ids

    def describe(self) -> dict[str, Any]:
        """The scenarios loaded, every fault with its counts, and the requests held now."""
        return {
            "scenarios": list(self.names),
            "faults": [armed.describe() for armed in self.faults.values()],
            "held": [held.describe() for held in self._wire.held.values()],
        }

    # --- striking ---------------------------------------------------------------------------------------------------------------------

    def _live(self, *where: str) -> list[Armed]:
        return [armed for armed in self.faults.values() if not armed.over and armed.fault.kind.where in where]

    def _strike(self, armed: Armed, **what: object) -> bool:
        now = self._exchange.now
        if not armed.strike(now, self._clock()):
            return False
        log.info("fault", id=armed.id, kind=armed.fault.kind.name, number=armed.done, at=now.isoformat(), **what)
        return True

    def _struck_message(self, armed: Armed, message: Json) -> bool:
        return self._strike(armed, message=message.get("event") or message.get("T"))

    # --- requests -----------------------------------------------------------------------------------------------------------------

    async def before(self, request: web.Request) -> web.StreamResponse | None:
        """A request has come in: an answer in place of the exchange's, or None to let it pass."""
        for armed in self._live("request"):
            fault = armed.fault
            if fault.kind.name in _LATER or fault.params.get("stage") == "after" or not fault.matches(request.method, request.path):
                continue
            if await self._of_symbol(fault, request) and self._strike(armed, endpoint=f"{request.method} {request.path}"):
                response = await self._wire.before(armed, request, self._exchange.now)
                if response is not None:
                    return response
        return None

    async def view(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of ``handler``, or what it would have been a while ago where views lag, by the switch or by a fault."""
        name = view_of(request)
        if name is None:
            return await handler(request)
        lag = 0.0 if name == "orders" else self._exchange.fidelity.rest_lag_seconds
        for armed in self._live("request"):
            fault = armed.fault
            if (
                fault.kind.name != "stale_views"
                or fault.text("view") not in ("all", name)
                or not fault.matches(request.method, request.path)
            ):
                continue
            if self._strike(armed, endpoint=f"{request.method} {request.path}"):
                lag = max(lag, fault.number("lag_seconds"))
        if not lag:
            return await handler(request)
        with self._past.as_it_was(lag):
            return await handler(request)

    def remember(self) -> None:
        """Keep the present for views that lag; to be called before and after all that may change them. Costs nothing without a lag."""
        faults = [armed.fault for armed in self._live("request") if armed.fault.kind.name == "stale_views"]
        lags = [fault.number("lag_seconds") for fault in faults]
        self._past.remember(max([self._exchange.fidelity.rest_lag_seconds, *lags]))

    async def after(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """The exchange has acted on a request (not refused it): the answer that goes out."""
        for armed in self._live("request", "answer"):
            fault = armed.fault
            late = fault.kind.where == "answer" or fault.params.get("stage") == "after" or fault.kind.name == "clock_skew"
            if not late or not fault.matches(request.method, request.path) or not await self._of_symbol(fault, request):
                continue
            if self._strike(armed, endpoint=f"{request.method} {request.path}"):
                response = await self._wire.after(armed, request, response, self._exchange.now)
        return response

    async def _of_symbol(self, fault: Fault, request: web.Request) -> bool:
        if fault.symbol is None:
            return True
        named = request.match_info.get("symbol") or (await json_of(request)).get("symbol")
        order = self._exchange.book.orders.get(request.match_info.get("id", ""))
        listed = request.query.get("symbols", "").split(",")
        return fault.symbol in (named, order.symbol if order else None, *listed)

    def check_item(self, request: web.Request, symbol: str) -> None:
        """One item of a close-all or cancel-all. Raises VenueError when it is to fail."""
        for armed in self._live("request"):
            fault = armed.fault
            if fault.kind.name != "close_all_fails" or not fault.matches(request.method, request.path):
                continue
            if fault.symbol in (None, symbol) and self._strike(armed, symbol=symbol):
                raise VenueError(int(fault.number("status")), 50010000, "internal server error")

    # --- streams --------------------------------------------------------------------------------------------------------------------

    def outgoing(self, stream: Stream, messages: Iterable[Json]) -> list[Outgoing]:
        """What goes out in place of ``messages``."""
        distortion, armed = self._distortions[stream], self._live(stream)
        if not armed and distortion.idle:
            return [Outgoing(message) for message in messages]
        return distortion.apply(messages, armed)

    def handshake(self, stream: str) -> int | None:
        """The HTTP status a WebSocket is refused with, or None."""
        for armed in self._live("request"):
            if armed.fault.kind.name == "rate_limited" and armed.fault.params["handshakes"] and self._strike(armed, handshake=stream):
                return 429
        return None

    def refuses_keys(self, stream: str) -> bool:
        """Whether good keys are refused on a stream."""
        return any(armed.fault.kind.name == "keys_refused" and self._strike(armed, stream=stream) for armed in self._live("request"))

    def slot_taken(self, stream: str) -> bool:
        """Whether a newcomer on a stream finds its only slot taken (406)."""
        if self._clock() < self._zombies.get(stream, 0.0):
            return True
        return any(
            armed.fault.kind.name == "slot_taken" and armed.fault.text("stream") in ("both", stream) and self._strike(armed, stream=stream)
            for armed in self._live("connection")
        )

    # --- time and the exchange ------------------------------------------------------------------------------------------------------

    def before_step(self) -> bool:
        """Let what is due up to the next step happen at its own time; True if anything did (there may be updates to publish)."""
        exchange, acted = self._exchange, False
        while (due := self._next_due()) is not None and exchange.next_step_at is not None and due <= exchange.next_step_at:
            exchange.tick(due)
            acted |= self.on_step()
        return acted

    def _next_due(self) -> datetime | None:
        now = self._exchange.now
        waiting = [armed.at for armed in self._live("exchange", "connection") if armed.at is not None and armed.at > now and not armed.done]
        ends = [end for armed in self.faults.values() if armed.id in self._undo and (end := armed.ends_at()) is not None and end > now]
        return min([*waiting, *ends], default=None)

    def on_step(self, kind: str = "") -> bool:
        """Time has passed, by a step of ``kind`` or a tick: schedules act, what has lasted long enough is undone. True if anything did."""
        if not self.faults:
            return False
        return self._act(list(self.faults.values()), kind or "time")

    def on_request(self, method: str, path: str) -> bool:
        """A request has been dealt with: watchers look at what it left, schedules by endpoint count it. True if anything happened."""
        return self._act(list(self.faults.values()), "request", method, path)

    def _act(self, candidates: list[Armed], occasion: str = "armed", method: str = "", path: str = "") -> bool:
        acted = False
        now, wall = self._exchange.now, self._clock()
        for armed in candidates:
            if armed.id in self._undo and armed.expired(now, wall):
                self._end(armed.id)
                acted = True
            if armed.fault.kind.where in ("exchange", "connection") and armed.look(now, wall):
                acted |= self._act_one(armed, occasion, method, path)
        return acted

    def _act_one(self, armed: Armed, occasion: str, method: str, path: str) -> bool:
        acted = False
        if armed.id not in self._undo and (undo := exchange_faults.begin(self._exchange, armed.fault)):
            self._undo[armed.id] = undo
        for chance in exchange_faults.chances(self._exchange, armed, occasion, (method, path)):
            if armed.over or not self._strike(armed, **chance):
                continue
            acted = True
            self._happen(armed, chance)
        if armed.over and not armed.fault.kind.lasting:
            self._end(armed.id)
        return acted

    def _happen(self, armed: Armed, chance: exchange_faults.Chance) -> None:
        """Let it happen; what the exchange cannot do when the time has come is said of the fault and ends it, not the step or request."""
        try:
            if armed.fault.kind.name == "cut_streams":
                self._cut(armed.fault)
            elif (undo := exchange_faults.strike(self._exchange, armed.fault, chance, self.name_changes.append)) is not None:
                self._undo.setdefault(armed.id, undo)  # of several strikes the first knows how it was before
        except (VenueError, ScenarioError) as error:
            armed.failed, armed.over = str(error), True
            log.warning("fault could not happen", id=armed.id, kind=armed.fault.kind.name, reason=armed.failed)

    def _cut(self, fault: Fault) -> None:
        stream = fault.text("stream")
        until = self._clock() + fault.number("zombie_seconds")
        self._zombies |= dict.fromkeys(("trade_updates", "data") if stream == "both" else (stream,), until)
        if self.streams is not None:
            self.streams.cut(stream, abort=fault.text("how") == "abort")

    def _end(self, fault_id: str) -> None:
        undo = self._undo.pop(fault_id, None)
        if undo is not None:
            undo()
