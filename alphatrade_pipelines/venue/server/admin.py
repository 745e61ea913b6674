"""/admin: time, truth and trouble, for whoever started the venue (header ``X-Admin-Token``). No part of Alpaca."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError, malformed
from alphatrade_pipelines.venue.server import wire
from alphatrade_pipelines.venue.server.requests import read_json
from alphatrade_pipelines.venue.server.rest_account import clock_of
from alphatrade_pipelines.venue.server.wire import Json

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the admin endpoints."""
    routes = AdminRoutes(server)
    router.add_post("/admin/step", routes.step)
    router.add_get("/admin/state", routes.state)
    router.add_get("/admin/ledger", routes.ledger)
    router.add_get("/admin/faults", routes.faults)
    router.add_post("/admin/fault", routes.fault)
    router.add_post("/admin/shutdown", routes.shutdown)


class AdminRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server

    async def step(self, request: web.Request) -> web.StreamResponse:
        """POST /admin/step {"acks": true}: one step; the counts include every message it caused."""
        if request.can_read_body:
            body = await read_json(request)
            if not isinstance(body, dict):
                raise malformed('expected {"acks": true} or no body')
        if self._server.config.mode != "stepped":
            raise VenueError(409, None, "this venue runs by the clock; start it stepped to move time by hand")
        moved = await self._server.step()
        at = {"at": wire.stamp(self._server.exchange.now), "kind": "end"} if moved is None else moved
        return web.json_response({**at, "done": moved is None, **self._counts(), "clock": clock_of(self._server)})

    def _counts(self) -> Json:
        return {"trade_updates_sent": self._server.trade_updates.sent, "data_messages_sent": self._server.market_data.sent}

    async def state(self, _request: web.Request) -> web.StreamResponse:
        """GET /admin/state."""
        server, exchange = self._server, self._server.exchange
        sessions = exchange.tape.sessions
        return web.json_response(
            {
                "mode": server.config.mode,
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

    async def ledger(self, _request: web.Request) -> web.StreamResponse:
        """GET /admin/ledger: what really happened."""
        exchange = self._server.exchange
        ledger = exchange.ledger
        body = {
            "at": exchange.now,
            "orders": [asdict(receipt) for receipt in ledger.receipts],
            "executions": [asdict(fill) for fill in exchange.book.fills],
            "positions": [asdict(position) for position in exchange.positions()],
            "account": asdict(exchange.account()),
            "unprotected_seconds": ledger.unprotected_seconds,
            "duplicate_intents": ledger.duplicate_intents,
            "reused_client_ids": ledger.reused_client_ids,
            "digest": exchange.digest(),
        }
        return web.json_response(_plain(body))

    async def faults(self, _request: web.Request) -> web.StreamResponse:
        """GET /admin/faults: what there is, what is armed, what has happened."""
        return web.json_response(self._server.faults.describe())

    async def fault(self, request: web.Request) -> web.StreamResponse:
        """POST /admin/fault {"kind": ..., "count": 1, "seconds": 30}."""
        body = await read_json(request)
        if not isinstance(body, dict):
            raise malformed('expected {"kind": ..., "count": 1}')
        self._server.faults.arm(body.get("kind"), body.get("count", 1), body.get("seconds"))
        if self._server.faults.take("cut_streams"):
            await self._server.trade_updates.cut_all()
            await self._server.market_data.cut_all()
        return web.json_response(self._server.faults.describe())

    async def shutdown(self, _request: web.Request) -> web.StreamResponse:
        """POST /admin/shutdown."""
        self._server.closed.set()
        return web.json_response({"closing": True})


def _plain(value: Any) -> Any:
    """JSON of nested records: decimals as strings, times in RFC 3339."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return wire.text(value)
    return wire.stamp(value) if isinstance(value, datetime) else value
