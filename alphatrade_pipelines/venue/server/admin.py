"""/admin: time, truth and trouble, for whoever started the venue (header ``X-Admin-Token``). No part of Alpaca."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError, malformed
from alphatrade_pipelines.venue.faults.scenario import ScenarioError, faults_of
from alphatrade_pipelines.venue.server import ledger_view, wire
from alphatrade_pipelines.venue.server.requests import read_json
from alphatrade_pipelines.venue.server.rest_market import clock_of
from alphatrade_pipelines.venue.server.wire import Json

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the admin endpoints."""
    routes = AdminRoutes(server)
    router.add_post("/admin/step", routes.step)
    router.add_post("/admin/pause", routes.pause)
    router.add_post("/admin/resume", routes.resume)
    router.add_get("/admin/state", routes.state)
    router.add_get("/admin/ledger", routes.ledger)
    router.add_get("/admin/faults", routes.faults)
    router.add_post("/admin/faults", routes.arm)
    router.add_post("/admin/faults/release", routes.release)
    router.add_delete("/admin/faults", routes.disarm)
    router.add_delete("/admin/faults/{id}", routes.disarm)
    router.add_post("/admin/fault", routes.fault)
    router.add_post("/admin/shutdown", routes.shutdown)


_STOPS = ("session_open", "session_close", "end")


class AdminRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    async def step(self, request: web.Request) -> web.StreamResponse:
        """POST /admin/step {"until": "session_close"}: one step, or all up to that kind of step (session_open, session_close, end). The
        answer comes when every client has been handed everything; the counts include it."""
        body = await read_json(request) if request.can_read_body else {}
        if not isinstance(body, dict) or body.get("until") not in (None, *_STOPS):
            raise malformed(f'expected no body, or {{"until": ...}} with one of {", ".join(_STOPS)}')
        if not self._server.may_step:
            raise VenueError(409, None, "this venue runs by the clock; pause it, or start it stepped, to move time by hand")
        until = body.get("until")
        moved = await self._server.step() if until is None else await self._server.step_until(until)
        at = {"at": wire.stamp(self._server.exchange.now), "kind": "end"} if moved is None else moved
        return web.json_response({**at, "done": moved is None, **self._counts(), "clock": clock_of(self._server)})

    async def pause(self, _request: web.Request) -> web.StreamResponse:
        """POST /admin/pause: venue time stands still; POST /admin/step moves it meanwhile."""
        self._server.pause()
        return await self.state(_request)

    async def resume(self, _request: web.Request) -> web.StreamResponse:
        """POST /admin/resume: venue time goes on from where it stands."""
        self._server.resume()
        return await self.state(_request)

    def _counts(self) -> Json:
        return {"trade_updates_sent": self._server.trade_updates.sent, "data_messages_sent": self._server.market_data.sent}

    async def state(self, _request: web.Request) -> web.StreamResponse:
        """GET /admin/state."""
        server, exchange = self._server, self._server.exchange
        sessions = exchange.tape.sessions
        return web.json_response(
            {
                "mode": server.config.mode,
                "paused": server.pacer is not None and server.pacer.paused,
                "clock": clock_of(server),
                "at": wire.stamp(exchange.now),
                "done": exchange.next_step_at is None,
                "steps": server.steps,
                "sessions_played": len(exchange.equity_history),
                "sessions_in_tape": len(sessions),
                "last_session": sessions[-1].day.isoformat(),
                "timeframe": str(exchange.tape.timeframe),
                "symbols": list(exchange.tape.symbols),
                "profile": exchange.profile.name,
                "seed": exchange.config.seed,
                "account_number": exchange.cash_account.number,
                "orders": len(exchange.book.orders),
                "executions": len(exchange.book.fills),
                **self._counts(),
                "trade_connections": len(server.trade_updates.connections),
                "data_connections": len(server.market_data.connections),
            }
        )

    async def ledger(self, request: web.Request) -> web.StreamResponse:
        """GET /admin/ledger?parts&after&limit&since: what really happened; see :func:`ledger_view.view`."""
        return web.json_response(_plain(ledger_view.view(self._server.exchange, ledger_view.asked(request.query))))

    # --- faults -----------------------------------------------------------------------------------------------------------------------

    async def faults(self, _request: web.Request) -> web.StreamResponse:
        """GET /admin/faults: every fault armed so far with its counts and the times it struck, and the requests held now."""
        return self._describe()

    def _describe(self, **more: object) -> web.Response:
        return web.json_response(_plain({**more, **self._server.injector.describe()}))

    async def arm(self, request: web.Request) -> web.StreamResponse:
        """POST /admin/faults: one fault ({"kind": ...}), a list of them, or {"seed": 7, "faults": [...]}; all are armed or none."""
        body = await read_json(request)
        seed, tables = body.get("seed", 0) if isinstance(body, dict) else 0, body
        if isinstance(body, dict):
            tables = body.get("faults", [body])
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            raise malformed('expected {"kind": ...}, a list of such, or {"seed": 7, "faults": [...]}')
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise malformed(f"expected seed to be a whole number, found {seed!r}")
        with _scenario_errors():
            ids = self._server.injector.arm(faults_of(tables), seed)
        await self._server.publish()
        return self._describe(armed=ids)

    async def disarm(self, request: web.Request) -> web.StreamResponse:
        """DELETE /admin/faults[/{id}]: disarm one or all; what lasts is undone."""
        ids = self._server.injector.disarm(request.match_info.get("id"))
        await self._server.publish()
        return self._describe(disarmed=ids)

    async def release(self, request: web.Request) -> web.StreamResponse:
        """POST /admin/faults/release {"id": "held-1", "then": "continue" or "drop"}: let one held request go; without an id all."""
        body = await read_json(request) if request.can_read_body else {}
        if not isinstance(body, dict) or not isinstance(body.get("id"), (str, type(None))):
            raise malformed('expected {"id": "held-1", "then": "continue"} or no body')
        return self._describe(released=self._server.injector.release(body.get("id"), body.get("then", "continue")))

    async def fault(self, request: web.Request) -> web.StreamResponse:
        """POST /admin/fault {"kind": ..., "count": 1}: the short way to let a kind happen so many times with its defaults; 0 disarms it."""
        body = await read_json(request)
        if not isinstance(body, dict):
            raise malformed('expected {"kind": ..., "count": 1}')
        kind, count = body.get("kind"), body.get("count", 1)
        if not isinstance(kind, str) or not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise malformed("expected kind to be a text and count a whole number >= 0")
        with _scenario_errors():
            self._server.injector.arm_kind(kind, count)
        await self._server.publish()
        return self._describe()

    async def shutdown(self, _request: web.Request) -> web.StreamResponse:
        """POST /admin/shutdown."""
        self._server.closed.set()
        return web.json_response({"closing": True})


@contextmanager
def _scenario_errors() -> Iterator[None]:
    try:
        yield
    except ScenarioError as error:
        raise malformed(str(error)) from None


def _plain(value: Any) -> Any:
    """JSON of nested records: decimals as strings, times in RFC 3339."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return wire.text(value)
    return wire.stamp(value) if isinstance(value, datetime) else value
