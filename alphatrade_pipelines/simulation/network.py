"""The network between the SDK and the venue: an HTTP adapter that hands requests over in process and in virtual time.

The venue's own gate, faults and handlers answer; the SDK and the gateway meet exactly the exceptions a socket would give them: nothing
was sent, no answer came, the connection broke. Latency and outages are drawn from the session's seed.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from aiohttp import web
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from alphatrade_pipelines.simulation.life import Life
from alphatrade_pipelines.simulation.virtual import VirtualLoop
from alphatrade_pipelines.venue.server.app import VenueServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Wire:
    """One connection. The venue aborts it where it would cut the TCP connection."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        """Cut it."""
        self.aborted = True


class CarriedRequest:
    """What the venue's handlers and faults read of an ``aiohttp`` request."""

    def __init__(self, request: requests.PreparedRequest) -> None:
        parts = urlsplit(str(request.url))
        body = request.body or b""
        self.method = str(request.method)
        self.path = unquote(parts.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = request.headers
        self.match_info: dict[str, str] = {}
        self.transport = Wire()
        self._body = body.encode() if isinstance(body, str) else bytes(body)

    async def read(self) -> bytes:
        """The body."""
        return self._body


class Routes:
    """Where the venue's rooms register their endpoints; the part of aiohttp's router they use."""

    def __init__(self) -> None:
        self._fixed: dict[tuple[str, str], Handler] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Handler]] = []

    def _add(self, method: str, path: str, handler: Handler) -> None:
        if "{" not in path:
            self._fixed[method, path] = handler
            return
        parts = [f"(?P<{part[1:-1]}>[^/]+)" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", path)]
        self._patterns.append((method, re.compile("".join(parts)), handler))

    def add_get(self, path: str, handler: Handler) -> None:
        """Register a GET."""
        self._add("GET", path, handler)

    def add_post(self, path: str, handler: Handler) -> None:
        """Register a POST."""
        self._add("POST", path, handler)

    def add_patch(self, path: str, handler: Handler) -> None:
        """Register a PATCH."""
        self._add("PATCH", path, handler)

    def add_delete(self, path: str, handler: Handler) -> None:
        """Register a DELETE."""
        self._add("DELETE", path, handler)

    def find(self, request: CarriedRequest) -> Handler:
        """The handler of a request; one that raises 404 when there is none."""
        handler = self._fixed.get((request.method, request.path))
        if handler is not None:
            return handler
        for method, pattern, candidate in self._patterns:
            if method == request.method and (found := pattern.fullmatch(request.path)):
                request.match_info = found.groupdict()
                return candidate
        return _nowhere


async def _nowhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


@dataclass
class Traffic:
    """What the client has seen of the broker: when it last failed to reach it, and what became of all requests."""

    requests: int = 0
    failures: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    down_since: float | None = None  # the first failing request after the last good one began then
    in_flight: dict[int, float] = field(default_factory=dict)  # requests without an answer so far, and when they began

    def count(self, outcome: str) -> None:
        """One more request that ended so."""
        self.requests += 1
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Line:
    """Carries requests to one venue. ``latency(n)`` gives the seconds out and back of the n-th request; ``cut`` says whether the network
    is down. A request of a process that dies ends there: nobody hears its answer, and it says nothing about the broker."""

    def __init__(
        self,
        loop: VirtualLoop,
        server: VenueServer,
        latency: Callable[[int], tuple[float, float]],
        cut: Callable[[], bool],
    ) -> None:
        self.traffic = Traffic()
        self._loop, self._latency, self._cut = loop, latency, cut
        self._routes, self._server = Routes(), server
        self._numbers = count()
        server.add_rest(cast(web.UrlDispatcher, self._routes))
        self._gate, self._faults = server.middlewares

    def exchange(self, request: requests.PreparedRequest, timeout: tuple[float, float], life: Life) -> requests.Response:
        """One request and its answer, or the exception of ``requests`` that says how far it got. Raises: Killed when its process dies."""
        began, what = self._loop.time(), "read" if request.method == "GET" else "write"
        number = next(self._numbers)
        self.traffic.in_flight[number] = began
        try:
            response = self._carry(request, timeout, what, life)
        except requests.ConnectionError as error:
            self._failed(began, type(error).__name__)
            raise
        except requests.Timeout as error:
            self._failed(began, type(error).__name__)
            raise
        finally:
            self.traffic.in_flight.pop(number, None)  # a death has forgotten them all
        if response.status_code >= 500 or response.status_code in (302, 401, 429) or (response.status_code == 403 and what == "read"):
            self._failed(began, str(response.status_code))
        else:
            self.traffic.count(str(response.status_code))
            self.traffic.down_since = None
        return response

    def _failed(self, began: float, outcome: str) -> None:
        self.traffic.count(outcome)
        self.traffic.failures += 1
        if self.traffic.down_since is None:
            self.traffic.down_since = began

    def _carry(self, request: requests.PreparedRequest, timeout: tuple[float, float], what: str, life: Life) -> requests.Response:
        life.boundary(f"before {what}")
        there, back = self._latency(self.traffic.requests)
        if self._cut():
            life.sleep(min(there, timeout[0]))
            raise requests.ConnectionError(MaxRetryError(None, request.url, NewConnectionError(None, "connection refused")))  # type: ignore[arg-type]
        life.sleep(there)
        carried = CarriedRequest(request)
        answer = self._loop.create_task(self._serve(carried))
        self._loop.drive(lambda: answer.done() or life.death is not None, self._loop.time() + timeout[1])
        life.check()
        if not answer.done():
            raise requests.ReadTimeout(f"read timed out (read timeout={timeout[1]})", request=request)
        life.boundary(f"during {what}")
        if carried.transport.aborted or answer.cancelled() or answer.exception() is not None:
            gone = ProtocolError("Connection aborted.", ConnectionResetError("Remote end closed connection without response"))
            raise requests.ConnectionError(gone, request=request)
        life.sleep(back)
        response = _received(answer.result(), request)
        life.boundary(f"after {what}")
        return response

    async def by_person(self, request: requests.PreparedRequest) -> list[str]:
        """A request of somebody else than the trader: at once, and whatever comes of it. The ids of the orders it made."""
        receipts = self._server.exchange.ledger.receipts
        before = len(receipts)
        await self._serve(CarriedRequest(request))
        return [receipt.order_id for receipt in receipts[before:] if receipt.order_id and not receipt.request.client_order_id]

    async def _serve(self, carried: CarriedRequest) -> web.StreamResponse:
        handler, faults = self._routes.find(carried), self._faults
        request = cast(web.Request, carried)

        async def inner(asked: web.Request) -> web.StreamResponse:
            return await faults(asked, handler=handler)

        return await self._gate(request, handler=inner)


def _received(answer: web.StreamResponse, request: requests.PreparedRequest) -> requests.Response:
    response = requests.Response()
    body = answer.body if isinstance(answer, web.Response) else None
    response.status_code, response.reason = answer.status, answer.reason
    response._content = bytes(body) if isinstance(body, bytes | bytearray) else b""
    response._content_consumed = True  # type: ignore[attr-defined]
    response.headers = requests.structures.CaseInsensitiveDict(answer.headers)
    response.encoding, response.url, response.request = "utf-8", str(request.url), request
    return response


class InProcessAdapter(HTTPAdapter):
    """In place of ``TimeoutAdapter``: same bounds, no socket."""

    def __init__(self, line: Line, timeout: tuple[float, float], life: Life) -> None:
        self._line, self._timeout, self._life = line, timeout, life  # no pool of sockets: the base class is not set up

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Carry one request."""
        return self._line.exchange(request, self._timeout, self._life)

    def close(self) -> None:
        """There is nothing to close."""
