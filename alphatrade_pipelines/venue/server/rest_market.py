"""/v2/clock, /v2/calendar, /v2/assets and the old /v2/corporate_actions/announcements: the market as the trading API describes it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import pandas as pd
from aiohttp import web

from alphatrade_pipelines.market import SessionCalendar
from alphatrade_pipelines.venue.exchange.errors import malformed, not_found
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.tape import CorporateAction
from alphatrade_pipelines.venue.faults.tape_faults import early_closes
from alphatrade_pipelines.venue.server import requests, wire
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer

_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2029, 12, 31)  # what Alpaca's calendar covers
# sessions from trade to settlement, from each day on (SEC rule 15c6-1)
_SETTLEMENT = ((date(2024, 5, 28), 1), (date(2017, 9, 5), 2), (date(1995, 6, 7), 3), (date.min, 5))
_DATE_TYPES = ("TRADING", "SETTLEMENT")
_ACTION_TYPES = ("dividend", "merger", "spinoff", "split")
_LONGEST_SPAN = timedelta(days=90)


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the endpoints."""
    routes = MarketRoutes(server)
    router.add_get("/v2/clock", routes.clock)
    router.add_get("/v2/calendar", routes.calendar)
    router.add_get("/v2/assets", routes.assets)
    router.add_get("/v2/assets/{symbol}", routes.asset)
    router.add_get("/v2/corporate_actions/announcements", routes.announcements)
    router.add_get("/v2/corporate_actions/announcements/{id}", routes.announcement)


def clock_of(server: VenueServer) -> Json:
    """The venue's clock, in New York time as Alpaca sends it."""
    exchange = server.exchange
    times = {"timestamp": exchange.now, "next_open": exchange.next_open, "next_close": exchange.next_close}
    return {"is_open": exchange.market_open, **{name: at.astimezone(NEW_YORK).isoformat() for name, at in times.items()}}


@lru_cache(maxsize=1)
def _calendar() -> list[Json]:
    """Every session Alpaca's calendar covers, New York wall-clock times."""
    table = SessionCalendar().sessions(_FIRST_DAY, _LAST_DAY + timedelta(days=15))
    opens, closes = (table[name].dt.tz_convert("America/New_York").dt.strftime("%H:%M").tolist() for name in ("open", "close"))
    days = [day.date() for day in pd.DatetimeIndex(table.index)]
    rows = []
    for number, (day, at, to) in enumerate(zip(days, opens, closes, strict=True)):
        if day > _LAST_DAY:
            break
        lag = next(sessions for since, sessions in _SETTLEMENT if day >= since)
        after_hours = "1700" if to < "16:00" else "2000"
        session = {"session_open": "0400", "session_close": after_hours, "settlement_date": days[number + lag].isoformat()}
        rows.append({"date": day.isoformat(), "open": at, "close": to, **session})
    return rows


class MarketRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server
        self._exchange = server.exchange
        self._symbols = {wire.asset_id(symbol): symbol for symbol in server.exchange.tape.symbols}

    async def clock(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/clock."""
        return wire.respond(clock_of(self._server))

    async def calendar(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/calendar?start&end&date_type."""
        start, end = (requests.day(request.query.get(name), name) for name in ("start", "end"))
        kind = requests.choice(request.query.get("date_type"), "date_type", _DATE_TYPES, "TRADING")
        column = "date" if kind == "TRADING" else "settlement_date"
        first, last = (start or _FIRST_DAY).isoformat(), (end or _LAST_DAY).isoformat()
        rows = _calendar()
        low, high = bisect_left(rows, first, key=lambda row: row[column]), bisect_right(rows, last, key=lambda row: row[column])
        early = early_closes(self._exchange.tape.calendar)
        return wire.respond([{**row, **early.get(row["date"], {})} for row in rows[low:high]] if early else rows[low:high])

    async def assets(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/assets?status&asset_class&exchange&attributes."""
        query = request.query
        wanted = {"status": query.get("status"), "class": query.get("asset_class"), "exchange": query.get("exchange")}
        attributes = set(requests.names(query.get("attributes")))
        listed = [self._asset(symbol) for symbol in self._exchange.tape.symbols]
        found = [a for a in listed if all(value in (None, "", a[name]) for name, value in wanted.items())]
        return wire.respond([a for a in found if not attributes or attributes & set(a["attributes"])])

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/assets/{symbol or id}."""
        asked = request.match_info["symbol"]
        symbol = self._symbols.get(asked, asked)
        if symbol not in self._exchange.tape.series:
            raise not_found(f"asset not found for {asked}")
        return wire.respond(self._asset(symbol))

    def _asset(self, symbol: str) -> Json:
        return wire.asset(symbol, self._exchange.assets[symbol], symbol in self._exchange.prices())

    # --- corporate actions as the trading API had them before /v1/corporate-actions -----------------------------------------------------

    async def announcements(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/corporate_actions/announcements?ca_types&since&until&symbol (deprecated at Alpaca, still in the SDK)."""
        query = request.query
        kinds = {kind.lower() for kind in requests.names(query.get("ca_types"))}
        since, until = requests.day(query.get("since"), "since"), requests.day(query.get("until"), "until")
        if not kinds or not kinds <= set(_ACTION_TYPES):
            raise malformed(f"ca_types must be some of {', '.join(_ACTION_TYPES)}")
        if since is None or until is None or until - since > _LONGEST_SPAN:
            raise malformed("since and until are required and at most 90 days apart")
        symbol = query.get("symbol")
        return wire.respond(
            [
                entry
                for action in announced(self._exchange)
                if since <= action.ex_date <= until and symbol in (None, "", action.symbol)
                for entry in wire.announcements(action)
                if entry["ca_type"] in kinds
            ]
        )

    async def announcement(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/corporate_actions/announcements/{id}."""
        asked = request.match_info["id"]
        for action in announced(self._exchange):
            for entry in wire.announcements(action):
                if entry["id"] == asked:
                    return wire.respond(entry)
        raise not_found(f"corporate action announcement not found for {asked}")


def announced(exchange: Exchange) -> list[CorporateAction]:
    """Splits and dividends with an ex-date up to the next session: that is when this venue announces them."""
    tape, horizon = exchange.tape, exchange.next_open
    return [action for session, actions in sorted(tape.actions.items()) if tape.sessions[session].open <= horizon for action in actions]
