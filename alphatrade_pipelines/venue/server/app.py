"""One port that speaks Alpaca: trading and data REST, both streams, and ``/admin`` for whoever started the venue.

The exchange behind it is pure; this module owns time (stepped or by the clock), the wire and nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.faults.injector import Injector
from alphatrade_pipelines.venue.faults.middleware import middleware as fault_middleware
from alphatrade_pipelines.venue.faults.scenario import Scenario
from alphatrade_pipelines.venue.server import page, wire
from alphatrade_pipelines.venue.server.feeds import MarketData
from alphatrade_pipelines.venue.server.gate import Gate
from alphatrade_pipelines.venue.server.market_messages import MarketMessages
from alphatrade_pipelines.venue.server.pacing import Pace, Pacer
from alphatrade_pipelines.venue.server.portfolio import EquityCurve
from alphatrade_pipelines.venue.server.prints import PrintLog
from alphatrade_pipelines.venue.server.protocol import VenueRunner
from alphatrade_pipelines.venue.server.streams import StreamRules, TradeUpdates
from alphatrade_pipelines.venue.server.wire import Json

log = structlog.get_logger(__name__)
SESSION_SECONDS = 23_400.0
MODES = ("stepped", "accelerated", "real_time")
FEEDS = ("iex", "sip", "test", "delayed_sip", "boats", "overnight", "otc")
_STREAMS = frozenset({"/stream", *(f"/v2/{feed}" for feed in FEEDS)})


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How an exchange is served.

    Attributes:
        host, port: where it listens; port 0 picks a free one.
        mode: ``stepped`` (time moves by POST /admin/step), ``accelerated`` or ``real_time``.
        speed: venue seconds a wall second while the market is open (accelerated); the default passes a session in a minute.
        closed_seconds: wall seconds of a night or a weekend; None = as long as they last at that speed.
        requests_per_minute: of a key, 0 = any number.
        connection_limit, symbol_limit: clients of a data feed, trade and quote subscriptions of a client; 0 = any number (StreamRules).
        idle_exit_seconds: end when nobody has asked or been connected for so long.
        scenario: faults armed from the start.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str = "sim"
    secret: str = "sim"
    mode: str = "stepped"
    speed: float = SESSION_SECONDS / 60
    closed_seconds: float | None = 3.0
    requests_per_minute: int = 0
    connection_limit: int = 1
    symbol_limit: int = 0
    idle_exit_seconds: float | None = None
    scenario: Scenario | None = None
    admin_token: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"expected mode {' or '.join(MODES)}, found {self.mode!r}")
        Pace(self.speed, self.closed_seconds)
        if not self.key or not self.secret:
            raise ValueError("expected a key and a secret, found an empty one")
        for name in ("requests_per_minute", "connection_limit", "symbol_limit", "idle_exit_seconds"):
            if (limit := getattr(self, name)) is not None and not limit >= 0:
                raise ValueError(f"expected {name} >= 0, found {limit}")

    @property
    def is_reachable_from_outside(self) -> bool:
        """Does it listen beyond the loopback interface?"""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def shown_host(self) -> str:
        """The host as it stands in a URL that works on this machine."""
        if self.host in ("0.0.0.0", "::"):
            return "127.0.0.1" if self.host == "0.0.0.0" else "[::1]"
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def pace(self) -> Pace | None:
        """How time runs; None when it is moved by hand."""
        if self.mode == "stepped":
            return None
        return Pace(1.0 if self.mode == "real_time" else self.speed, self.closed_seconds)


class VenueServer:
    """An exchange on a port. ``start`` and ``stop`` belong to one event loop; ``closed`` is set when it should end."""

    def __init__(self, exchange: Exchange, config: ServerConfig | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: wall seconds, by which faults of requests and connections count; a simulation has another one."""
        self.exchange = exchange
        self.config = config or ServerConfig()
        self.created_at = exchange.now
        self._clock = clock
        self.injector = Injector(exchange, self.config.scenario, clock)
        self.injector.streams = self
        rules = self._stream_rules()
        self.trade_updates = TradeUpdates(rules, self.injector)
        self.market_data = MarketData(rules, self.injector)
        self._messages = MarketMessages(exchange)
        pace = self.config.pace
        self.pacer = None if pace is None else Pacer(exchange, pace, self.step, self._flowed, self._trades_until_next_step)
        self.admin_token = self.config.admin_token or secrets.token_urlsafe(24)
        self.closed = asyncio.Event()
        self.steps = 0
        self.equity = EquityCurve(exchange)
        self.prints = PrintLog(exchange)
        self._stepping = asyncio.Lock()
        self._last_request = self._clock()
        keyless = _STREAMS | page.PATHS
        self.gate = Gate(
            self.config.key, self.config.secret, self.admin_token, self.config.requests_per_minute, self._arrived, open_paths=keyless
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None

    def _stream_rules(self) -> StreamRules:
        config = self.config
        by_the_clock = config.pace is not None
        return StreamRules(
            key=config.key,
            secret=config.secret,
            # stepped, nobody is cut for being busy: a step waits instead, and a debugger may hold a client for as long as it likes
            capacity=1024 if by_the_clock else 65_536,
            heartbeat=30.0 if by_the_clock else None,
            connection_limit=config.connection_limit,
            symbol_limit=config.symbol_limit,
        )

    # --- life -----------------------------------------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Open the port; returns ``http://HOST:PORT``. Raises OSError when the port is taken."""
        self._runner = VenueRunner(self._application(), access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.config.host, self.config.port)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        if self.pacer is not None:
            self._tasks.append(asyncio.create_task(self._keep_pace(self.pacer)))
        if self.config.idle_exit_seconds is not None:
            self._tasks.append(asyncio.create_task(self._watch_idle(self.config.idle_exit_seconds)))
        return f"http://{self.config.shown_host}:{self._runner.addresses[0][1]}"

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
        from alphatrade_pipelines.venue.server import admin

        app = web.Application(middlewares=self.middlewares, client_max_size=1 << 20)
        for module in (page, admin):
            module.add_routes(app.router, self)
        self.add_rest(app.router)
        app.router.add_get("/stream", self.trade_updates.handle)
        app.router.add_get(f"/v2/{{feed:{'|'.join(FEEDS)}}}", self.market_data.handle)
        return app

    @property
    def middlewares(self) -> list[Middleware]:
        """What every request passes, outermost first: keys, then faults."""
        return [self.gate.middleware, fault_middleware(self.injector, self.publish, _STREAMS)]

    def add_rest(self, router: web.UrlDispatcher) -> None:
        """Register Alpaca's REST endpoints, trading and data."""
        from alphatrade_pipelines.venue.server import rest_account, rest_data, rest_market, rest_orders, rest_positions

        for module in (rest_orders, rest_positions, rest_account, rest_market, rest_data):
            module.add_routes(router, self)

    def _arrived(self) -> None:
        self._last_request = self._clock()
        if self.pacer is not None:
            self.pacer.flow()
        self.injector.remember()

    async def _watch_idle(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(min(1.0, seconds / 4))
            connected = self.trade_updates.connections or self.market_data.connections
            if connected:
                self._last_request = self._clock()
            elif self._clock() - self._last_request > seconds:
                log.info("venue abandoned, ending", idle_seconds=seconds)
                self.closed.set()
                return

    # --- time -----------------------------------------------------------------------------------------------------------------------

    async def step(self) -> Json | None:
        """Advance the exchange once and publish what came of it; None at the end of the tape."""
        async with self._stepping:
            if self.injector.before_step():
                await self.publish()
            step = self.exchange.advance()
            if step is None:
                return None
            self.steps += 1
            self.injector.on_step(step.kind)
            self.equity.record()
            printed = self.prints.record()
            await self.publish()
            self.market_data.publish(self._messages.of_step(step, printed, self.market_data.listened()))
            if self.may_step:
                await asyncio.gather(self.trade_updates.flush(), self.market_data.flush())
            return {"at": wire.stamp(step.at), "kind": step.kind}

    async def step_until(self, kind: str) -> Json | None:
        """Step until one of ``kind`` has been taken; None if the tape ended before."""
        while (moved := await self.step()) is not None and moved["kind"] != kind:
            await asyncio.sleep(0)  # the others are served in between
        return moved

    async def publish(self) -> None:
        """Queue what the exchange has to say, in order: trade updates, halts and price bands. Waits for nobody."""
        updates = self.exchange.drain()
        if self.trade_updates.connections or self.injector.faults:  # else nobody can hear them, and no fault counts them
            self.trade_updates.publish([wire.trade_update(update) for update in updates])
        self.market_data.publish(self._messages.of_notices())
        self.injector.remember()

    def cut(self, stream: str, *, abort: bool) -> None:
        """End every connection of ``trade_updates``, ``data`` or ``both``: with a close frame (1001), or by aborting the TCP connection."""
        for hub in (self.trade_updates, self.market_data):
            if stream in (hub.name, "both"):
                hub.cut(abort=abort)

    def _trades_until_next_step(self) -> bool:
        """Is the market open, or are there prints to come in the extended hours that run?"""
        exchange = self.exchange
        if exchange.market_open or not exchange.tape.extended_hours or exchange.next_step_at is None:
            return exchange.market_open
        phases = {exchange.hours.phase(at) for at in (exchange.now, exchange.next_step_at)}
        return phases in ({"pre_market"}, {"pre_market", "regular"}, {"regular"}, {"after_hours"})

    async def _flowed(self) -> None:
        self.injector.on_step()
        await self.publish()

    async def _keep_pace(self, pacer: Pacer) -> None:
        await pacer.run()
        log.info("end of the tape: the market stays closed, requests are still answered", at=self.exchange.now.isoformat())

    def pause(self) -> None:
        """Let venue time stand still. Raises VenueError 409 when it is moved by hand anyway."""
        self._running_pacer().pause()

    def resume(self) -> None:
        """Let venue time go on. Raises VenueError 409 when it is moved by hand."""
        self._running_pacer().resume()

    @property
    def may_step(self) -> bool:
        """Does time move by hand now: stepped, or paused?"""
        return self.pacer is None or self.pacer.paused

    def _running_pacer(self) -> Pacer:
        if self.pacer is None:
            raise VenueError(409, None, "this venue is stepped: time moves by POST /admin/step only")
        return self.pacer
