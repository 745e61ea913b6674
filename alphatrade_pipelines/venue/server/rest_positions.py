"""/v2/positions: what is held, and the way out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError, malformed, not_found
from alphatrade_pipelines.venue.server import requests, wire
from alphatrade_pipelines.venue.server.rest_orders import cancel_all
from alphatrade_pipelines.venue.server.wire import Json

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the position endpoints."""
    routes = PositionRoutes(server)
    router.add_get("/v2/positions", routes.list)
    router.add_get("/v2/positions/{symbol}", routes.get)
    router.add_delete("/v2/positions", routes.close_all)
    router.add_delete("/v2/positions/{symbol}", routes.close)


class PositionRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server
        self._exchange = server.exchange
        self._symbols = {wire.asset_id(symbol): symbol for symbol in server.exchange.tape.symbols}

    def _symbol(self, request: web.Request) -> str:
        """The symbol a path names, directly or by asset id."""
        asked = request.match_info["symbol"]
        return self._symbols.get(asked, asked)

    async def list(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/positions."""
        return wire.respond([wire.position(position) for position in self._exchange.positions()])

    async def get(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/positions/{symbol or id}."""
        symbol = self._symbol(request)
        for position in self._exchange.positions():
            if position.symbol == symbol:
                return wire.respond(wire.position(position))
        raise not_found("position does not exist")

    async def close(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/positions/{symbol or id}?qty|percentage: the market order that closes it."""
        qty, percentage = requests.decimal_of(request.query, "qty"), requests.decimal_of(request.query, "percentage")
        if qty is not None and percentage is not None:
            raise malformed("only one of qty and percentage may be given")
        if percentage is not None and not 0 < percentage <= 100:
            raise malformed("percentage must be between 0 and 100")
        order = self._exchange.close_position(self._symbol(request), qty, percentage)
        await self._server.publish()
        return wire.respond(wire.order(order))

    async def close_all(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/positions?cancel_orders: one answer a position; a refusal does not stop the others."""
        if requests.bool_of(request.query, "cancel_orders"):
            cancel_all(self._server, request)
        answers: list[Json] = []
        for position in self._exchange.positions():
            try:
                self._server.injector.check_item(request, position.symbol)
                body: Json = wire.order(self._exchange.close_position(position.symbol))
                status = 200
            except VenueError as error:
                body, status = error.body(), error.http_status
            answers.append({"symbol": position.symbol, "status": status, "body": body})
        await self._server.publish()
        return wire.respond(answers, 207)
