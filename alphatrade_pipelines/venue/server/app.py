"""One port that speaks Alpaca: trading and data REST, both streams, and ``/admin`` for whoever started the venue.

The exchange behind it is pure; this module owns time (stepped or by the clock), the wire and nothing else. Loopback only.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.tape import TapeBar
from alphatrade_pipelines.venue.faults.injector import Faults
from alphatrade_pipelines.venue.server import wire
from alphatrade_pipelines.venue.server.streams import MarketData, TradeUpdates
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json

log = structlog.get_logger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SESSION_SECONDS = 23_400.0
_FEEDS = "iex|sip|test|delayed_sip|boats|overnight|otc"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """``port`` 0 picks a free one. ``mode``: ``stepped`` (time moves by POST /admin/step) or ``accelerated`` (``speed`` venue seconds a
    second while the market is open; the default passes a session in a minute; nights take ``closed_seconds``).
    ``requests_per_minute`` 0 = no rate limit. ``idle_exit_seconds``: end when nobody has asked or been connected for so long."""

    port: int = 0
    key: str = "sim"
    secret: str = "sim"
    mode: str = "stepped"
    speed: float = SESSION_SECONDS / 60
    closed_seconds: float = 3.0
    requests_per_minute: int = 0
    idle_exit_seconds: float | None = None
    admin_token: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("stepped", "accelerated"):
            raise ValueError(f"expected mode stepped or accelerated, found {self.mode!r}")
        if not self.speed > 0:
            raise ValueError(f"expected speed > 0, found {self.speed}")
        if not self.key or not self.secret:
            raise ValueError("expected a key and a secret, found an empty one")


class VenueServer:
    """An exchange on a port. ``start`` and ``stop`` belong to one event loop; ``closed`` is set when it should end."""

    def __init__(self, exchange: Exchange, config: ServerConfig | None = None) -> None:
        self.exchange = exchange
        self.config = config or ServerConfig()
        self.created_at = exchange.now
        self.faults = Faults()
        self.trade_updates = TradeUpdates(self.config.key, self.config.secret, self.faults)
        self.market_data = MarketData(self.config.key, self.config.secret)
        self.admin_token = self.config.admin_token or secrets.token_urlsafe(24)
        self.closed = asyncio.Event()
        self.steps = 0
        self.configurations: Json = {
            "dtbp_check": None,
            "fractional_trading": True,
            "max_margin_multiplier": wire.text(exchange.config.multiplier),
            "no_shorting": False,
            "pdt_check": None,
            "suspend_trade": False,
            "trade_confirm_email": "none",
            "ptp_no_exception_entry": False,
            "max_options_trading_level": None,
        }
        self._publishing = asyncio.Lock()
        self._stepping = asyncio.Lock()
        self._last_request = time.monotonic()
        self._window: list[float] = []
        self._since: tuple[float, float] | None = None  # accelerated: when the wait for the next step began, how long it lasts
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None

    # --- life -----------------------------------------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Open the port; returns ``http://127.0.0.1:PORT``. Raises OSError when the port is taken."""
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.config.port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        if self.config.mode == "accelerated":
            self._tasks.append(asyncio.create_task(self._run_clock()))
        if self.config.idle_exit_seconds is not None:
            self._tasks.append(asyncio.create_task(self._watch_idle(self.config.idle_exit_seconds)))
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close streams and port at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self.trade_updates.cut_all(), self.market_data.cut_all())
        if self._runner is not None:
            await self._runner.cleanup()
        self.closed.set()

    def _application(self) -> web.Application:
        from alphatrade_pipelines.venue.server import admin, rest_account, rest_data, rest_orders

        app = web.Application(middlewares=[self._errors, self._gate], client_max_size=1 << 20)
        for module in (admin, rest_orders, rest_account, rest_data):
            module.add_routes(app.router, self)
        app.router.add_get("/stream", self.trade_updates.handle)
        app.router.add_get(f"/v2/{{feed:{_FEEDS}}}", self.market_data.handle)
        return app

    async def _watch_idle(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(min(1.0, seconds / 4))
            connected = self.trade_updates.connections or self.market_data.connections
            if connected:
                self._last_request = time.monotonic()
            elif time.monotonic() - self._last_request > seconds:
                log.info("venue abandoned, ending", idle_seconds=seconds)
                self.closed.set()
                return

    # --- time -----------------------------------------------------------------------------------------------------------------------

    async def step(self) -> Json | None:
        """Advance the exchange once and publish what came of it; None at the end of the tape."""
        async with self._stepping:
            step = self.exchange.advance()
            if step is None:
                return None
            self.steps += 1
            await self.publish()
            await self.market_data.publish([self._bar_message(bar) for bar in step.bars])
            return {"at": wire.stamp(step.at), "kind": step.kind}

    def _bar_message(self, bar: TapeBar) -> Json:
        daily = self.exchange.tape.timeframe.is_daily
        at = bar.start.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0) if daily else bar.start
        return {"T": "d" if daily else "b", "S": bar.symbol, **wire.bar(bar, at), "t": at}

    async def publish(self) -> None:
        """Send the trade updates the exchange has produced, in order."""
        async with self._publishing:
            await self.trade_updates.publish([wire.trade_update(update) for update in self.exchange.drain()])

    async def _run_clock(self) -> None:
        while (at := self.exchange.next_step_at) is not None:
            wait = (at - self.exchange.now).total_seconds() / self.config.speed
            if not self.exchange.market_open:
                wait = min(wait, self.config.closed_seconds)
            self._since = (time.monotonic(), wait)
            await asyncio.sleep(wait)
            self._since = None
            await self.step()
        log.info("end of the tape", at=self.exchange.now.isoformat())

    def let_time_pass(self) -> None:
        """By the clock, venue time flows between two steps as well."""
        if self._since is None or self.exchange.next_step_at is None or not self._since[1]:
            return
        began, wait = self._since
        remaining = wait - (time.monotonic() - began)
        span = self.exchange.next_step_at - self.exchange.now
        if 0 < remaining < wait:
            self.exchange.tick(self.exchange.now + span * (1 - remaining / wait))
            self._since = (time.monotonic(), remaining)

    # --- the gate -------------------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every failure leaves in Alpaca's shape, never as a traceback."""
        try:
            return await handler(request)
        except VenueError as error:
            return web.json_response(error.body(), status=error.http_status)
        except web.HTTPRequestEntityTooLarge:
            return web.json_response({"code": 41310000, "message": "request body too large"}, status=413)
        except web.HTTPException as error:
            message = {404: "endpoint not found", 405: "method not allowed"}.get(error.status, error.reason)
            return web.json_response({"code": error.status * 100_000 + 10_000, "message": message}, status=error.status)
        except Exception:
            log.exception("internal error of the venue", path=request.path, method=request.method)
            return web.json_response({"code": 50010000, "message": "internal server error"}, status=500)

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._last_request = time.monotonic()
        self.let_time_pass()
        if request.path.startswith("/admin"):
            given = request.headers.get("X-Admin-Token", "")
            if not hmac.compare_digest(given.encode(), self.admin_token.encode()):
                raise VenueError(401, 40110000, "request is not authorized")
        elif "Upgrade" not in request.headers:
            self._check_keys(request)
            self._check_rate()
        return await handler(request)

    def _check_keys(self, request: web.Request) -> None:
        key, secret = request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        if key is None or secret is None:
            raise VenueError(401, None, "unauthorized.")
        if (key, secret) != (self.config.key, self.config.secret):
            raise VenueError(403, None, "forbidden.")

    def _check_rate(self) -> None:
        limit = self.config.requests_per_minute
        if not limit:
            return
        now = time.monotonic()
        self._window = [at for at in self._window if at > now - 60]
        if len(self._window) >= limit:
            raise VenueError(429, 42910000, "rate limit exceeded")
        self._window.append(now)


async def read_json(request: web.Request) -> Any:
    """The JSON body; VenueError 400 when it is none."""
    try:
        return await request.json(loads=_loads)
    except (ValueError, RecursionError):
        raise VenueError(400, 40010000, "request body format is invalid") from None


def _loads(body: str) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(word)

    return json.loads(body, parse_constant=refuse)


def cut(request: web.Request) -> None:
    """Drop the TCP connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
