"""The faults of requests as an aiohttp middleware, innermost: keys and limits have been checked, the handler comes next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from alphatrade_pipelines.venue.faults.injector import Injector

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def middleware(injector: Injector, publish: Callable[[], Awaitable[None]], streams: frozenset[str]) -> Middleware:
    """A middleware that asks ``injector`` before and after every request outside ``/admin``, the page and the ``streams`` (their
    handshakes are asked about too). ``publish`` sends what a fault has caused to the streams."""

    @web.middleware
    async def faults(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        if path.startswith(("/admin", "/page/")) or path == "/":
            return await handler(request)
        if not injector.faults:
            return await injector.view(request, handler)
        if path in streams:
            status = injector.handshake("trade_updates" if path == "/stream" else "data")
            return await handler(request) if status is None else web.Response(status=status, text="too many requests")
        if injector.on_step():
            await publish()
        answer = await injector.before(request)
        if answer is not None:
            return answer
        answer = await injector.view(request, handler)
        if injector.on_request(request.method, path):
            await publish()
        return await injector.after(request, answer) if answer.status < 400 else answer

    return faults
