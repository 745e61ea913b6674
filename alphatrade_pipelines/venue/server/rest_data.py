"""/v2/stocks and /v1/corporate-actions: only what is known at venue time."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
from aiohttp import web

from alphatrade_pipelines.market import BarDataError, Timeframe, adjust
from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.exchange.tape import TapeBar
from alphatrade_pipelines.venue.server import requests, wire
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer

_ADJUSTMENTS = ("raw", "split", "dividend", "all")
_SINGULAR = {"forward_splits": "forward_split", "reverse_splits": "reverse_split", "cash_dividends": "cash_dividend"}


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the market-data endpoints."""
    routes = DataRoutes(server)
    router.add_get("/v2/stocks/bars", routes.bars)
    router.add_get("/v2/stocks/bars/latest", routes.latest_bars)
    router.add_get("/v2/stocks/trades/latest", routes.latest_trades)
    router.add_get("/v2/stocks/quotes/latest", routes.latest_quotes)
    router.add_get("/v2/stocks/snapshots", routes.snapshots)
    router.add_get("/v1/corporate-actions", routes.corporate_actions)


def _invalid(message: str) -> VenueError:
    return VenueError(400, None, message)


class DataRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._exchange = server.exchange
        self._tape = server.exchange.tape
        self._daily = self._tape.timeframe.is_daily

    # --- bars -------------------------------------------------------------------------------------------------------------------------

    async def bars(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/bars: symbols in alphabetical order, each in time order; ``limit`` counts across symbols."""
        query = request.query
        symbols = self._symbols(request)
        timeframe = self._timeframe(query.get("timeframe"))
        limit = requests.whole(query.get("limit"), "limit", 1000, 10_000)
        start = requests.instant(query.get("start"), "start") or self._midnight(self._exchange.now)
        end = requests.instant(query.get("end"), "end") or self._exchange.now
        token = _read_token(query.get("page_token"))
        backwards = query.get("sort") == "desc"
        found: dict[str, list[Json]] = {}
        count = 0
        for symbol in symbols:
            if token and symbol < token[0]:
                continue
            rows = [(at, bar) for at, bar in self._rows(symbol, timeframe, query.get("adjustment") or "raw") if start <= at <= end]
            rows = rows[::-1] if backwards else rows
            for at, bar in rows:
                seconds = int(at.timestamp())
                if token and symbol == token[0] and (seconds > token[1] if backwards else seconds < token[1]):
                    continue
                if count == limit:
                    return wire.respond({"bars": found, "next_page_token": _token(symbol, seconds)})
                found.setdefault(symbol, []).append(wire.bar(bar, at))
                count += 1
        return wire.respond({"bars": found, "next_page_token": None})

    def _symbols(self, request: web.Request) -> list[str]:
        symbols = requests.names(request.query.get("symbols"))
        if not symbols:
            raise _invalid("symbols is required")
        return sorted({symbol for symbol in symbols if symbol in self._tape.series})

    def _timeframe(self, text: str | None) -> Timeframe:
        if not text:
            raise _invalid("timeframe is required")
        try:
            asked = Timeframe.parse(text)
        except BarDataError as error:
            raise _invalid(f"invalid timeframe: {error}") from None
        if asked != self._tape.timeframe and not (asked.is_daily and not self._daily):
            raise _invalid(f"this venue plays {self._tape.timeframe} bars and serves those{'' if self._daily else ' and 1Day'}")
        return asked

    def _midnight(self, at: datetime) -> datetime:
        return at.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)

    def _rows(self, symbol: str, timeframe: Timeframe, adjustment: str) -> list[tuple[datetime, TapeBar]]:
        """(stamp on the wire, bar) of all known bars, oldest first; daily bars are stamped midnight New York."""
        series = self._tape.series[symbol]
        bars = [series.bar(position) for position in range(series.known(self._exchange.now))]
        if adjustment != "raw":
            bars = self._adjusted(bars, adjustment)
        if timeframe != self._tape.timeframe:
            bars = self._by_session(bars)
        return [(self._midnight(bar.start) if timeframe.is_daily else bar.start, bar) for bar in bars]

    def _adjusted(self, bars: list[TapeBar], adjustment: str) -> list[TapeBar]:
        if adjustment not in _ADJUSTMENTS:
            raise _invalid(f"invalid adjustment {adjustment!r}: {', '.join(_ADJUSTMENTS)}")
        if adjustment == "dividend":
            raise _invalid("this venue adjusts for splits, or for splits and dividends (all), not for dividends alone")
        if not bars:
            return bars
        columns = ("open", "high", "low", "close", "volume", "split", "dividend", "vwap")
        index = pd.MultiIndex.from_tuples([(bar.symbol, pd.Timestamp(bar.start)) for bar in bars], names=["symbol", "timestamp"])
        frame = pd.DataFrame([[getattr(bar, name) for name in columns] for bar in bars], index=index, columns=list(columns))
        scaled = adjust(frame, bars[-1].start, dividends=adjustment == "all")
        return [
            TapeBar(bar.symbol, bar.start, bar.end, **{name: float(row[name]) for name in columns}, trade_count=bar.trade_count)
            for bar, row in zip(bars, scaled.to_dict("records"), strict=True)
        ]

    def _by_session(self, bars: list[TapeBar]) -> list[TapeBar]:
        days: dict[int, list[TapeBar]] = {}
        for bar in bars:
            days.setdefault(self._tape.session_at(max(bar.start, bar.end - timedelta(seconds=1))), []).append(bar)
        complete = [group for session, group in days.items() if self._tape.sessions[session].close <= self._exchange.now]
        return [_merge(group) for group in complete]

    # --- the present --------------------------------------------------------------------------------------------------------------------

    def _known(self, symbol: str) -> list[TapeBar]:
        """The last two known bars, newest first."""
        series = self._tape.series[symbol]
        known = series.known(self._exchange.now)
        return [series.bar(position) for position in range(known - 1, max(-1, known - 3), -1)]

    def _wire_bar(self, bar: TapeBar) -> Json:
        return wire.bar(bar, self._midnight(bar.start) if self._daily else bar.start)

    async def latest_bars(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/bars/latest."""
        known = {symbol: self._known(symbol) for symbol in self._symbols(request)}
        return wire.respond({"bars": {symbol: self._wire_bar(bars[0]) for symbol, bars in known.items() if bars}})

    def _trade(self, symbol: str) -> Json:
        price = float(self._exchange.prices()[symbol])
        return {"t": wire.stamp(self._exchange.now), "x": "V", "p": price, "s": 100, "c": ["@"], "i": 1, "z": "C"}

    def _quote(self, symbol: str) -> Json:
        price = self._exchange.prices()[symbol]
        half = self._exchange.half_spread(price)
        sides = {"ap": float(price + half), "as": 1, "ax": "V", "bp": float(price - half), "bs": 1, "bx": "V"}
        return {"t": wire.stamp(self._exchange.now), **sides, "c": ["R"], "z": "C"}

    def _priced(self, request: web.Request) -> list[str]:
        prices = self._exchange.prices()
        return [symbol for symbol in self._symbols(request) if symbol in prices]

    async def latest_trades(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/trades/latest: the last price as a trade."""
        return wire.respond({"trades": {symbol: self._trade(symbol) for symbol in self._priced(request)}})

    async def latest_quotes(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/quotes/latest: the last price plus and minus the profile's half spread."""
        return wire.respond({"quotes": {symbol: self._quote(symbol) for symbol in self._priced(request)}})

    async def snapshots(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/stocks/snapshots (no wrapper key)."""
        found: Json = {}
        for symbol in self._priced(request):
            known = [self._wire_bar(bar) for bar in self._known(symbol)] + [None, None]
            days = {"dailyBar": known[0], "prevDailyBar": known[1]} if self._daily else {"minuteBar": known[0]}
            found[symbol] = {"latestTrade": self._trade(symbol), "latestQuote": self._quote(symbol), **days}
        return wire.respond(found)

    # --- corporate actions ------------------------------------------------------------------------------------------------------------

    async def corporate_actions(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/corporate-actions: ex-dates up to the next session, which is when this venue announces them."""
        query = request.query
        today = self._exchange.now.astimezone(NEW_YORK).date().isoformat()
        first, last = (query.get("start") or today)[:10], (query.get("end") or today)[:10]
        symbols, kinds, ids = (requests.names(query.get(name)) for name in ("symbols", "types", "ids"))
        limit = requests.whole(query.get("limit"), "limit", 100, 1000)
        offset = _read_token(query.get("page_token"))[1] if query.get("page_token") else 0
        found = [
            (kind, entry)
            for kind, entry in self._announced()
            if (not symbols or entry["symbol"] in symbols) and (not kinds or _SINGULAR[kind] in kinds)
            if (entry["id"] in ids if ids else first <= entry["ex_date"] <= last)
        ]
        if query.get("sort") == "desc":
            found.reverse()
        page: dict[str, list[Json]] = {}
        for kind, entry in found[offset : offset + limit]:
            page.setdefault(kind, []).append(entry)
        token = _token("", offset + limit) if offset + limit < len(found) else None
        return wire.respond({"corporate_actions": page, "next_page_token": token})

    def _announced(self) -> list[tuple[str, Json]]:
        horizon = self._exchange.next_open
        return [
            pair
            for session, actions in sorted(self._tape.actions.items())
            if self._tape.sessions[session].open <= horizon
            for action in actions
            for pair in wire.corporate_actions(action)
        ]


def _merge(bars: list[TapeBar]) -> TapeBar:
    volume = sum(bar.volume for bar in bars)
    return TapeBar(
        symbol=bars[0].symbol,
        start=bars[0].start,
        end=bars[-1].end,
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=volume,
        split=bars[0].split,
        dividend=bars[0].dividend,
        vwap=sum(bar.vwap * bar.volume for bar in bars) / volume if volume else bars[-1].close,
        trade_count=sum(bar.trade_count for bar in bars),
    )


def _token(symbol: str, number: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{number}".encode()).decode()


def _read_token(token: str | None) -> tuple[str, int]:
    """(symbol, number) of a page token; ("", 0) when absent."""
    if not token:
        return "", 0
    try:
        symbol, number = base64.urlsafe_b64decode(token.encode()).decode().split("|")
        return symbol, int(number)
    except (ValueError, binascii.Error):
        raise _invalid("invalid page_token") from None
