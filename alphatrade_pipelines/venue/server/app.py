"""One port that speaks Alpaca: trading and data REST, both streams, and ``/admin`` for whoever started the venue.

The exchange behind it is pure; this module owns time (stepped or by the clock), the wire and nothing else. Loopback only.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass

import structlog
from aiohttp import web

from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.tape import TapeBar
from alphatrade_pipelines.venue.faults.injector import Faults
from alphatrade_pipelines.venue.server import page, wire
from alphatrade_pipelines.venue.server.feeds import MarketData
from alphatrade_pipelines.venue.server.gate import Gate
from alphatrade_pipelines.venue.server.streams import StreamRules, TradeUpdates
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json

log = structlog.get_logger(__name__)
SESSION_SECONDS = 23_400.0
FEEDS = ("iex", "sip", "test", "delayed_sip", "boats", "overnight", "otc")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """``port`` 0 picks a free one. ``mode``: ``stepped`` (time moves by POST /admin/step) or ``accelerated`` (``speed`` venue seconds a
    second while the market is open; the default passes a session in a minute; nights take ``closed_seconds``).
    ``requests_per_minute`` 0 = no rate limit. ``connection_limit`` (clients of a data feed) and ``symbol_limit`` (trades and quotes of a
    client): 0 = none, see StreamRules. ``idle_exit_seconds``: end when nobody has asked or been connected for so long."""

    port: int = 0
    key: str = "sim"
    secret: str = "sim"
    mode: str = "stepped"
    speed: float = SESSION_SECONDS / 60
    closed_seconds: float = 3.0
    requests_per_minute: int = 0
    connection_limit: int = 1
    symbol_limit: int = 0
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
        rules = self._stream_rules()
        self.trade_updates = TradeUpdates(rules, self.faults)
        self.market_data = MarketData(rules)
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
        self._stepping = asyncio.Lock()
        self._last_request = time.monotonic()
        streams = frozenset({"/stream", *(f"/v2/{feed}" for feed in FEEDS)})
        keyless = streams | page.PATHS
        self.gate = Gate(
            self.config.key, self.config.secret, self.admin_token, self.config.requests_per_minute, self._arrived, open_paths=keyless
        )
        self._since: tuple[float, float] | None = None  # accelerated: when the wait for the next step began, how long it lasts
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None

    def _stream_rules(self) -> StreamRules:
        config = self.config
        by_the_clock = config.mode != "stepped"
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

        app = web.Application(middlewares=[self.gate.middleware], client_max_size=1 << 20)
        for module in (page, admin, rest_orders, rest_account, rest_data):
            module.add_routes(app.router, self)
        app.router.add_get("/stream", self.trade_updates.handle)
        app.router.add_get(f"/v2/{{feed:{'|'.join(FEEDS)}}}", self.market_data.handle)
        return app

    def _arrived(self) -> None:
        self._last_request = time.monotonic()
        self.let_time_pass()

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
            self.market_data.publish([self._bar_message(bar) for bar in step.bars])
            if self.config.mode == "stepped":
                await asyncio.gather(self.trade_updates.flush(), self.market_data.flush())
            return {"at": wire.stamp(step.at), "kind": step.kind}

    def _bar_message(self, bar: TapeBar) -> Json:
        daily = self.exchange.tape.timeframe.is_daily
        at = bar.start.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0) if daily else bar.start
        return {"T": "d" if daily else "b", "S": bar.symbol, **wire.bar(bar, at), "t": at}

    async def publish(self) -> None:
        """Queue the trade updates the exchange has produced, in order; waits for nobody."""
        self.trade_updates.publish([wire.trade_update(update) for update in self.exchange.drain()])

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
