"""/v2/orders: everything that moves an order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError, malformed
from alphatrade_pipelines.venue.exchange.orders import VenueOrder
from alphatrade_pipelines.venue.server import requests, wire

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the order endpoints."""
    routes = OrderRoutes(server)
    router.add_post("/v2/orders", routes.submit)
    router.add_get("/v2/orders", routes.list)
    router.add_delete("/v2/orders", routes.cancel_all)
    router.add_get("/v2/orders:by_client_order_id", routes.by_client_id)
    router.add_get("/v2/orders/{id}", routes.get)
    router.add_patch("/v2/orders/{id}", routes.replace)
    router.add_delete("/v2/orders/{id}", routes.cancel)


class OrderRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server
        self._exchange = server.exchange
        self._symbols = {wire.asset_id(symbol): symbol for symbol in server.exchange.tape.symbols}

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """POST /v2/orders. ``symbol`` may be an asset id."""
        asked = requests.order_request(await requests.read_object(request))
        if asked.symbol in self._symbols:
            asked = replace(asked, symbol=self._symbols[asked.symbol])
        order = self._exchange.submit(asked)
        await self._server.publish()
        return _answer(order)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/orders."""
        classes = requests.names(request.query.get("asset_class"))
        if classes and not {"us_equity", "all"} & set(classes):
            return wire.respond([])
        return wire.respond([wire.order(order) for order in self._exchange.orders(requests.order_query(request.query))])

    async def get(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/orders/{id}. Legs are shown whatever ``nested`` says: a client that looks for its stop must find it."""
        requests.bool_of(request.query, "nested")
        return _answer(self._exchange.order(request.match_info["id"]))

    async def by_client_id(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/orders:by_client_order_id."""
        client_id = request.query.get("client_order_id")
        if not client_id:
            raise malformed("client_order_id is required")
        return _answer(self._exchange.order_by_client_id(client_id))

    async def replace(self, request: web.Request) -> web.StreamResponse:
        """PATCH /v2/orders/{id}."""
        body = await requests.read_object(request)
        order = self._exchange.replace(
            request.match_info["id"],
            qty=requests.decimal_of(body, "qty"),
            limit_price=requests.decimal_of(body, "limit_price"),
            stop_price=requests.decimal_of(body, "stop_price"),
            trail=requests.decimal_of(body, "trail"),
            time_in_force=requests.text_of(body, "time_in_force"),
            client_order_id=requests.text_of(body, "client_order_id"),
        )
        await self._server.publish()
        return _answer(order)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/orders/{id}."""
        self._exchange.cancel(request.match_info["id"])
        await self._server.publish()
        return web.Response(status=204)

    async def cancel_all(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/orders."""
        answers = cancel_all(self._server, request)
        await self._server.publish()
        return wire.respond(answers, 207)


def cancel_all(server: VenueServer, request: web.Request) -> list[wire.Json]:
    """Cancel everything open; one answer an order. A member of a group that an earlier answer has cancelled counts as cancelled."""
    answers: list[wire.Json] = []
    for order in server.exchange.book.live():
        status, body = 200, None
        if order.is_live:
            try:
                server.injector.check_item(request, order.symbol)
                server.exchange.cancel(order.id)
            except VenueError as error:
                status, body = 500, error.body()
        answers.append({"id": order.id, "status": status, "body": body})
    return answers


def _answer(order: VenueOrder) -> web.Response:
    return wire.respond(wire.order(order))
