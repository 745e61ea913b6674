"""/v2/orders: everything that moves an order."""

from __future__ import annotations

import asyncio
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

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """POST /v2/orders."""
        faults = self._server.faults
        asked = requests.order_request(await requests.read_object(request))
        if faults.take("reject_503"):
            raise VenueError(503, 50310000, "service unavailable")
        order = self._exchange.submit(asked)
        await self._server.publish()
        if faults.take("drop_after_accept"):
            _cut(request)
        if faults.take("hang_after_accept"):
            await asyncio.sleep(faults.hang_seconds)
        if faults.take("error_504_after_accept"):
            raise VenueError(504, 50410000, "backend request timeout")
        return _answer(order)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/orders."""
        return wire.respond([wire.order(order) for order in self._exchange.orders(requests.order_query(request.query))])

    async def get(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/orders/{id}."""
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
        if body.get("trail") not in (None, ""):
            raise malformed("trail is not supported by this venue")
        order = self._exchange.replace(
            request.match_info["id"],
            qty=requests.decimal_of(body, "qty"),
            limit_price=requests.decimal_of(body, "limit_price"),
            stop_price=requests.decimal_of(body, "stop_price"),
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

    async def cancel_all(self, _request: web.Request) -> web.StreamResponse:
        """DELETE /v2/orders."""
        answers = cancel_all(self._server)
        await self._server.publish()
        return wire.respond(answers, status=207)


def cancel_all(server: VenueServer) -> list[wire.Json]:
    """Cancel everything open; one answer an order."""
    answers: list[wire.Json] = []
    for order in server.exchange.book.live():
        if order.is_live:
            server.exchange.cancel(order.id)
        answers.append({"id": order.id, "status": 200, "body": None})
    return answers


def _answer(order: VenueOrder) -> web.Response:
    return wire.respond(wire.order(order))


def _cut(request: web.Request) -> None:
    """Drop the TCP connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
