"""/v2/account: the account, its settings, its activities and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from alphatrade_pipelines.venue.server import portfolio, requests, wire
from alphatrade_pipelines.venue.server.activities import activities
from alphatrade_pipelines.venue.server.configurations import Configurations

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the account endpoints."""
    routes = AccountRoutes(server)
    router.add_get("/v2/account", routes.account)
    router.add_get("/v2/account/configurations", routes.configurations)
    router.add_patch("/v2/account/configurations", routes.configure)
    router.add_get("/v2/account/activities", routes.activities)
    router.add_get("/v2/account/activities/{type}", routes.activities)
    router.add_get("/v2/account/portfolio/history", routes.history)


class AccountRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server
        self._exchange = server.exchange
        self._configurations = Configurations(server.exchange)

    async def account(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/account."""
        legacy = self._exchange.fidelity.pattern_day_trader
        return wire.respond(wire.account(self._exchange.account(), self._server.created_at, self._exchange.now, legacy))

    async def configurations(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/account/configurations."""
        return wire.respond(self._configurations.body())

    async def configure(self, request: web.Request) -> web.StreamResponse:
        """PATCH /v2/account/configurations."""
        return wire.respond(self._configurations.patch(await requests.read_object(request)))

    async def activities(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/account/activities[/{type}]."""
        return wire.respond(activities(request.query, request.match_info.get("type"), self._exchange))

    async def history(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/account/portfolio/history."""
        return wire.respond(portfolio.history(request.query, self._server.equity, self._exchange, self._server.created_at))
