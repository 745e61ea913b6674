"""/v2/stocks and /v1/corporate-actions: only what is known at venue time. Refusals are 400 without a code, as the data API's are."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.exchange.tape import TapeBar
from alphatrade_pipelines.venue.server import requests, wire
from alphatrade_pipelines.venue.server.bars import KnownBars, WireFrame, invalid_query
from alphatrade_pipelines.venue.server.prints import Seen
from alphatrade_pipelines.venue.server.rest_market import announced
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer

Row = TypeVar("Row")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_FEEDS = ("iex", "sip", "otc", "delayed_sip", "boats", "overnight")
_DIRECTIONS = ("asc", "desc")
_DAY = WireFrame(1, "Day")
_SINGULAR = {"forward_splits": "forward_split", "reverse_splits": "reverse_split", "cash_dividends": "cash_dividend"}


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the market-data endpoints."""
    routes = DataRoutes(server)
    for path, handler in (
        ("/v2/stocks/bars", routes.bars),
        ("/v2/stocks/trades", routes.trades),
        ("/v2/stocks/quotes", routes.quotes),
        ("/v2/stocks/bars/latest", routes.latest_bars),
        ("/v2/stocks/trades/latest", routes.latest_trades),
        ("/v2/stocks/quotes/latest", routes.latest_quotes),
        ("/v2/stocks/snapshots", routes.snapshots),
        ("/v1/corporate-actions", routes.corporate_actions),
    ):
        router.add_get(path, _answering(handler))


def _answering(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except VenueError as error:
            raise invalid_query(error.message) if error.http_status == 422 else error from None

    return answer


class DataRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._exchange = server.exchange
        self._injector = server.injector
        self._prints = server.prints
        self._bars = KnownBars(server.exchange)
        self._intraday = not server.exchange.tape.timeframe.is_daily

    # --- history ----------------------------------------------------------------------------------------------------------------------

    async def bars(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/bars."""
        frame, adjustment = WireFrame.parse(request.query.get("timeframe")), request.query.get("adjustment") or "raw"

        def rows(symbol: str, start: datetime, end: datetime) -> list[tuple[datetime, TapeBar]]:
            return self._bars.rows(symbol, frame, adjustment, start, end)

        return self._history(request, "bars", rows, lambda bar, at: wire.bar(bar, at))

    async def trades(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/trades."""
        return self._history(request, "trades", self._seen, lambda one, _: one.trade())

    async def quotes(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/quotes."""
        return self._history(request, "quotes", self._seen, lambda one, _: one.quote())

    def _seen(self, symbol: str, start: datetime, end: datetime) -> list[tuple[datetime, Seen]]:
        return [(one.at, one) for one in self._prints.between(symbol, start, end)]

    def _history(
        self,
        request: web.Request,
        name: str,
        rows: Callable[[str, datetime, datetime], list[tuple[datetime, Row]]],
        write: Callable[[Row, datetime], Json],
    ) -> web.Response:
        """A page: symbols in alphabetical order, each in time order; ``limit`` counts across symbols."""
        query = request.query
        symbols = self._symbols(query)
        limit = requests.whole(query.get("limit"), "limit", 1000, 10_000)
        now = self._exchange.now
        midnight = now.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
        start, end = requests.instant(query.get("start"), "start") or midnight, requests.instant(query.get("end"), "end") or now
        backwards = requests.choice(query.get("sort"), "sort", _DIRECTIONS, "asc") == "desc"
        requests.day(query.get("asof") if query.get("asof") != "-" else None, "asof")
        page = Page(limit, query.get("page_token"), backwards)
        for symbol in symbols:
            if symbol >= page.resumes_at and not page.add(symbol, rows(symbol, start, end), write):
                break
        return wire.respond({name: page.found, "next_page_token": page.next_token})

    def _symbols(self, query: Mapping[str, str]) -> list[str]:
        """The known ones of the symbols asked for, sorted. Checks what every data endpoint takes besides."""
        requests.choice(query.get("feed"), "feed", _FEEDS, "iex")
        requests.choice(query.get("currency"), "currency", ("USD",), "USD")
        symbols = requests.names(query.get("symbols"))
        if not symbols:
            raise invalid_query("symbols is required")
        return sorted({symbol for symbol in symbols if symbol in self._exchange.tape.series})

    # --- the present --------------------------------------------------------------------------------------------------------------------

    async def latest_bars(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/bars/latest."""
        latest = {symbol: self._bars.latest(symbol, self._bars.finest, 1) for symbol in self._symbols(request.query)}
        return wire.respond({"bars": {symbol: wire.bar(bars[0][1], bars[0][0]) for symbol, bars in latest.items() if bars}})

    async def latest_trades(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/trades/latest."""
        latest = {symbol: self._prints.latest(symbol) for symbol in self._symbols(request.query)}
        return wire.respond({"trades": {symbol: one.trade() for symbol, one in latest.items() if one}})

    async def latest_quotes(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/quotes/latest."""
        latest = {symbol: self._prints.latest(symbol) for symbol in self._symbols(request.query)}
        return wire.respond({"quotes": {symbol: one.quote() for symbol, one in latest.items() if one}})

    async def snapshots(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/snapshots (no wrapper key). ``minuteBar`` is the last bar of an intraday tape, ``dailyBar`` the day so far."""
        found: Json = {}
        for symbol in self._symbols(request.query):
            if (latest := self._prints.latest(symbol)) is None:
                continue
            found[symbol] = {"latestTrade": latest.trade(), "latestQuote": latest.quote()}
            if self._intraday and (minute := self._bars.latest(symbol, self._bars.finest, 1)):
                found[symbol]["minuteBar"] = wire.bar(minute[0][1], minute[0][0])
            for name, (at, bar) in zip(("dailyBar", "prevDailyBar"), self._bars.latest(symbol, _DAY, 2), strict=False):
                found[symbol][name] = wire.bar(bar, at)
        return wire.respond(found)

    # --- corporate actions ------------------------------------------------------------------------------------------------------------

    async def corporate_actions(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/corporate-actions: ex-dates up to the next session, which is when this venue announces them."""
        query = request.query
        today = self._exchange.now.astimezone(NEW_YORK).date()
        first, last = ((requests.day(query.get(name), name) or today).isoformat() for name in ("start", "end"))
        symbols, cusips, kinds, ids = (requests.names(query.get(name)) for name in ("symbols", "cusips", "types", "ids"))
        limit = requests.whole(query.get("limit"), "limit", 100, 1000)
        offset = _read_token(query.get("page_token"))[1] if query.get("page_token") else 0
        found = [
            (kind, entry)
            for action in announced(self._exchange)
            for kind, entry in wire.corporate_actions(action)
            if (not symbols or entry["symbol"] in symbols) and (not kinds or _SINGULAR[kind] in kinds)
            if not cusips or (entry.get("cusip") or entry["old_cusip"]) in cusips
            if (entry["id"] in ids if ids else first <= entry["ex_date"] <= last)
        ]
        found += [
            ("name_changes", entry)
            for entry in self._injector.name_changes
            if (not symbols or {entry["old_symbol"], entry["new_symbol"]} & set(symbols)) and (not kinds or "name_change" in kinds)
            if not cusips or {entry["old_cusip"], entry["new_cusip"]} & set(cusips)
            if (entry["id"] in ids if ids else first <= entry["process_date"] <= last)
        ]
        if requests.choice(query.get("sort"), "sort", _DIRECTIONS, "asc") == "desc":
            found.reverse()
        page: dict[str, list[Json]] = {}
        for kind, entry in found[offset : offset + limit]:
            page.setdefault(kind, []).append(entry)
        token = _token("", offset + limit, 0) if offset + limit < len(found) else None
        return wire.respond({"corporate_actions": page, "next_page_token": token})


class Page:
    """Rows of several symbols up to a limit. The token names the first row not given: symbol, time, and how many of the symbol's rows of
    that very time came before, so that what becomes known between two pages moves nothing."""

    def __init__(self, limit: int, token: str | None, backwards: bool) -> None:
        self.found: dict[str, list[Json]] = {}
        self.next_token: str | None = None
        self._left = limit
        self._resume = _read_token(token)
        self._backwards = backwards

    @property
    def resumes_at(self) -> str:
        """Symbols before this one were given on earlier pages."""
        return self._resume[0]

    def add(self, symbol: str, rows: list[tuple[datetime, Row]], write: Callable[[Row, datetime], Json]) -> bool:
        """Take what fits of a symbol's rows (oldest first); False when the page is full."""
        resumed, since, skip = self._resume
        before, same = None, 0
        for at, row in reversed(rows) if self._backwards else rows:
            micros = int(at.timestamp() * 1_000_000)
            same = same + 1 if micros == before else 0
            before = micros
            if symbol == resumed and ((micros > since) == self._backwards if micros != since else same < skip):
                continue
            if not self._left:
                self.next_token = _token(symbol, micros, same)
                return False
            self.found.setdefault(symbol, []).append(write(row, at))
            self._left -= 1
        return True


def _token(symbol: str, number: int, skip: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{number}|{skip}".encode()).decode()


def _read_token(token: str | None) -> tuple[str, int, int]:
    """What a page token says; ("", 0, 0) when absent."""
    if not token:
        return "", 0, 0
    try:
        symbol, number, skip = base64.urlsafe_b64decode(token.encode()).decode().split("|")
        return symbol, int(number), int(skip)
    except (ValueError, binascii.Error):
        raise invalid_query("invalid page_token") from None
