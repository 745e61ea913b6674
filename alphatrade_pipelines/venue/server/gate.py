"""What every request passes on its way in and every answer on its way out: keys, rate limit, request id, errors in Alpaca's shape."""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from itertools import count

import structlog
from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.server.wire import respond

log = structlog.get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WINDOW_SECONDS = 60.0
_DATA_PATHS = ("/v2/stocks", "/v1/", "/v1beta")
_WORDS = {404: "endpoint not found", 405: "method not allowed", 413: "request body too large"}


class RateLimit:
    """So many requests in each window of sixty WALL seconds (a limit protects a server, it knows nothing of venue time). The window opens
    with the first request after the last one has ended; ``X-RateLimit-Reset`` is its end in epoch seconds."""

    def __init__(self, per_minute: int, refusal: str, clock: Callable[[], float] = time.time) -> None:
        self.per_minute = per_minute
        self._refusal = refusal
        self._clock = clock
        self._ends = 0.0
        self._taken = 0

    def take(self) -> VenueError | None:
        """Count one request; the refusal when there is none left."""
        now = self._clock()
        if now >= self._ends:
            self._ends, self._taken = now + WINDOW_SECONDS, 0
        if self._taken >= self.per_minute:
            return VenueError(429, 42910000, self._refusal)
        self._taken += 1
        return None

    def headers(self) -> dict[str, str]:
        """What Alpaca tells its clients about the limit."""
        return {
            "X-RateLimit-Limit": str(self.per_minute),
            "X-RateLimit-Remaining": str(self.per_minute - self._taken),
            "X-RateLimit-Reset": str(math.ceil(self._ends)),
        }


class Gate:
    """The outermost middleware. ``open_paths`` need no key in a header (streams authenticate by message); ``/admin`` needs its token
    instead; ``arrived`` is called before anything else. ``requests_per_minute`` 0 = no limit; trading and data count apart, as Alpaca's
    two hosts do."""

    def __init__(
        self,
        key: str,
        secret: str,
        admin_token: str,
        requests_per_minute: int,
        arrived: Callable[[], None],
        open_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._keys = (key.encode(), secret.encode())
        self._basic = base64.b64encode(f"{key}:{secret}".encode())
        self._admin_token = admin_token.encode()
        self._arrived = arrived
        self._open_paths = open_paths
        self._limits: dict[bool, RateLimit] = {}
        if requests_per_minute:
            self._limits[False] = RateLimit(requests_per_minute, "rate limit exceeded")
            self._limits[True] = RateLimit(requests_per_minute, "too many requests.")
        self._run = secrets.token_hex(8)
        self._numbers = count(1)
        self.requests = 0  # of clients with the keys: neither the admin's nor the page's own

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request in, or refuse it; every failure leaves in Alpaca's shape, never as a traceback."""
        path = request.path
        limit = None
        try:
            self._arrived()
            if path.startswith("/admin"):
                self._check_token(request)
            elif path not in self._open_paths:
                self._check_keys(request)
                self.requests += 1
                limit = self._limits.get(path.startswith(_DATA_PATHS))
                if limit and (refusal := limit.take()):
                    raise refusal
            response = await handler(request)
        except VenueError as error:
            response = respond(error.body(), error.http_status)
        except web.HTTPException as error:
            words = _WORDS.get(error.status, error.reason)
            response = respond({"code": error.status * 100_000 + 10_000, "message": words}, error.status)
        except ConnectionError:
            raise  # nobody left to answer
        except Exception:
            log.exception("internal error of the venue", path=path, method=request.method)
            response = respond({"code": 50010000, "message": "internal server error"}, 500)
        if not response.prepared:
            response.headers["X-Request-ID"] = f"{self._run}{next(self._numbers):016x}"
            if limit:
                response.headers.update(limit.headers())
        return response

    def _check_token(self, request: web.Request) -> None:
        if not hmac.compare_digest(_bytes(request.headers.get("X-Admin-Token", "")), self._admin_token):
            raise _not_authorized()

    def _check_keys(self, request: web.Request) -> None:
        headers = request.headers
        key, secret = headers.get("APCA-API-KEY-ID"), headers.get("APCA-API-SECRET-KEY")
        if key is None or secret is None:
            self._check_authorization(headers.get("Authorization"))
        elif (_bytes(key), _bytes(secret)) != self._keys:
            raise VenueError(403, None, "forbidden.")

    def _check_authorization(self, given: str | None) -> None:
        if given is None:
            raise VenueError(401, None, "unauthorized.")
        scheme, _, content = given.partition(" ")
        if scheme.lower() != "basic":  # OAuth tokens are issued by Alpaca only
            raise _not_authorized()
        try:
            matches = hmac.compare_digest(base64.b64encode(base64.b64decode(content, validate=True)), self._basic)
        except (binascii.Error, ValueError):
            matches = False
        if not matches:
            raise VenueError(403, None, "forbidden.")


def _bytes(header: str) -> bytes:
    """The bytes a header arrived as: they need not be UTF-8."""
    return header.encode(errors="surrogateescape")


def _not_authorized() -> VenueError:
    return VenueError(401, 40110000, "request is not authorized")
