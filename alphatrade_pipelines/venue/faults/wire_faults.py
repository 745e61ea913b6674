"""What happens to a request on its way to the exchange, and to the answer on its way back."""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import formatdate
from itertools import count
from typing import Any

from aiohttp import web

from alphatrade_pipelines.venue.faults.armed import Armed
from alphatrade_pipelines.venue.server.wire import NEW_YORK, respond

_REASONS = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}
_MESSAGES = {
    429: (42910000, "rate limit exceeded"),
    500: (50010000, "internal server error"),
    503: (50310000, "service unavailable"),
    504: (50410000, "backend request timeout"),
}
_VIEWS = {"account": "/v2/account", "positions": "/v2/positions", "orders": "/v2/orders"}
_NEVER_HEARD_OF = "pending_review_by_compliance"


def view_of(request: web.Request) -> str | None:
    """Which view that may lag behind a request asks for: ``account``, ``positions`` or ``orders``; None when it is another one."""
    if request.method != "GET":
        return None
    for name, path in _VIEWS.items():
        if request.path == path or (name != "account" and request.path.startswith((f"{path}/", f"{path}:"))):
            return name
    return None


def cut(request: web.Request) -> web.Response:
    """Drop the TCP connection without an answer; the response returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def error(status: int, body: str) -> web.Response:
    """An error of the venue (JSON) or of something in front of it (an HTML page)."""
    if body == "html":
        title = f"{status} {_REASONS.get(status, 'Error')}"
        page = f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
        return web.Response(status=status, text=page, content_type="text/html")
    code, message = _MESSAGES.get(status, (status * 100_000 + 10_000, "request failed"))
    return respond({"code": code, "message": message}, status)


@dataclass(eq=False)
class Held:
    """A request that waits. ``then``: what it does when it is let go, ``continue`` or ``drop``."""

    id: str
    fault: str
    method: str
    path: str
    client_order_id: str | None
    stage: str
    since: datetime
    then: str = "continue"
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self) -> dict[str, object]:
        """As plain values."""
        names = ("id", "fault", "method", "path", "client_order_id", "stage", "since")
        return {name: getattr(self, name) for name in names}


class Wire:
    """The faults of requests and answers. ``held`` are the requests waiting to be released."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self._numbers = count(1)

    async def before(self, armed: Armed, request: web.Request, now: datetime) -> web.StreamResponse | None:
        """Strike a request that the exchange has not seen; None lets it pass."""
        fault = armed.fault
        match fault.kind.name:
            case "http_error":
                return error(int(fault.number("status")), fault.text("body"))
            case "rate_limited":
                return _rate_limited(fault.number("reset_seconds"))
            case "redirect":
                page = "<html><head><title>302 Found</title></head><body>Please sign in.</body></html>"
                return web.Response(status=302, text=page, content_type="text/html", headers={"Location": fault.text("location")})
            case "keys_refused":
                return respond({"message": "forbidden."}, 403)
            case "drop":
                return cut(request)
            case "hang":
                await asyncio.sleep(fault.number("seconds"))
                return cut(request)
            case "hold":
                return await self._hold(armed, request, now)
        return None

    async def after(self, armed: Armed, request: web.Request, response: web.StreamResponse, now: datetime) -> web.StreamResponse:
        """Strike the answer to a request on which the exchange has acted."""
        fault = armed.fault
        match fault.kind.name:
            case "error_after_accept":
                return error(int(fault.number("status")), fault.text("body"))
            case "delay_answer":
                await asyncio.sleep(fault.number("seconds"))
            case "drop":
                return cut(request)
            case "hang":
                await asyncio.sleep(fault.number("seconds"))
                return cut(request)
            case "hold":
                return await self._hold(armed, request, now) or response
            case "clock_skew":
                return _skewed(response, fault.number("seconds"))
            case "garble_answer":
                return _garbled(response, fault.text("how"))
        return response

    async def _hold(self, armed: Armed, request: web.Request, now: datetime) -> web.StreamResponse | None:
        body = await json_of(request)
        client_id = body.get("client_order_id")
        stage = armed.fault.text("stage")
        held = Held(f"held-{next(self._numbers)}", armed.id, request.method, request.path, client_id, stage, now)
        self.held[held.id] = held
        try:
            async with asyncio.timeout(armed.fault.number("seconds")):
                await held.released.wait()
        except TimeoutError:
            pass  # nobody released it: it goes on by itself
        finally:
            del self.held[held.id]
        return cut(request) if held.then == "drop" else None

    def release(self, held_id: str | None, then: str) -> list[str]:
        """Let one held request go, or all; their ids."""
        found = [held for held in self.held.values() if held_id in (None, held.id)]
        for held in found:
            held.then = then
            held.released.set()
        return [held.id for held in found]


async def json_of(request: web.Request) -> dict[str, Any]:
    """The JSON object a request carries; empty when it carries none (then the handler says so, not a fault)."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _rate_limited(seconds: float) -> web.Response:
    answer = error(429, "json")
    answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"] = "200", "0"
    sent = int(time.time())  # both of one clock: what a client makes of them does not depend on when it looks
    answer.headers["Date"] = formatdate(sent, usegmt=True)
    answer.headers["X-RateLimit-Reset"] = str(sent + math.ceil(seconds))
    return answer


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) else b""


def _skewed(response: web.StreamResponse, seconds: float) -> web.StreamResponse:
    clock = json.loads(_body(response))
    at = datetime.fromisoformat(clock["timestamp"]) + timedelta(seconds=seconds)
    return respond({**clock, "timestamp": at.astimezone(NEW_YORK).isoformat()}, response.status)


def _garbled(response: web.StreamResponse, how: str) -> web.StreamResponse:
    body = _body(response)
    match how:
        case "malformed":
            body = body[: len(body) // 2]
        case "empty":
            body = b""
        case "null":
            body = b"null"
        case "unknown_status":
            answer = json.loads(body)
            for item in answer if isinstance(answer, list) else [answer]:
                item["status"] = _NEVER_HEARD_OF
            return respond(answer, response.status)
    return web.Response(status=response.status, body=body, content_type="application/json")
