"""/v2/account, positions, assets, clock, calendar, activities and portfolio history."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd
from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError, malformed, not_found
from alphatrade_pipelines.venue.server import requests, wire
from alphatrade_pipelines.venue.server.rest_orders import cancel_all
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.server.app import VenueServer

_PERIOD_DAYS = {"D": 1, "W": 7, "M": 31, "A": 366}


def add_routes(router: web.UrlDispatcher, server: VenueServer) -> None:
    """Register the account endpoints."""
    routes = AccountRoutes(server)
    router.add_get("/v2/account", routes.account)
    router.add_get("/v2/account/configurations", routes.configurations)
    router.add_patch("/v2/account/configurations", routes.configure)
    router.add_get("/v2/account/activities", routes.activities)
    router.add_get("/v2/account/activities/{type}", routes.activities)
    router.add_get("/v2/account/portfolio/history", routes.history)
    router.add_get("/v2/clock", routes.clock)
    router.add_get("/v2/calendar", routes.calendar)
    router.add_get("/v2/assets", routes.assets)
    router.add_get("/v2/assets/{symbol}", routes.asset)
    router.add_get("/v2/positions", routes.positions)
    router.add_get("/v2/positions/{symbol}", routes.position)
    router.add_delete("/v2/positions", routes.close_all)
    router.add_delete("/v2/positions/{symbol}", routes.close)


def clock_of(server: VenueServer) -> Json:
    """The venue's clock, in New York time as Alpaca sends it."""
    exchange = server.exchange
    times = {"timestamp": exchange.now, "next_open": exchange.next_open, "next_close": exchange.next_close}
    return {"is_open": exchange.market_open, **{name: at.astimezone(NEW_YORK).isoformat() for name, at in times.items()}}


class AccountRoutes:
    """Handlers over one server."""

    def __init__(self, server: VenueServer) -> None:
        self._server = server
        self._exchange = server.exchange

    async def account(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/account."""
        return wire.respond(wire.account(self._exchange.account(), self._server.created_at))

    async def configurations(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/account/configurations."""
        return wire.respond(self._server.configurations)

    async def configure(self, request: web.Request) -> web.StreamResponse:
        """PATCH /v2/account/configurations: what was sent comes back; trading rules that this venue has no switch for are refused."""
        body = await requests.read_json(request)
        if not isinstance(body, dict) or not set(body) <= set(self._server.configurations):
            raise malformed(f"expected some of {', '.join(self._server.configurations)}")
        fixed = ("fractional_trading", "max_margin_multiplier", "no_shorting", "suspend_trade", "ptp_no_exception_entry")
        for name in fixed:
            if body.get(name) is not None and body[name] != self._server.configurations[name]:
                raise malformed(f"{name} cannot be changed at this venue")
        self._server.configurations |= body
        return wire.respond(self._server.configurations)

    async def clock(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/clock."""
        return wire.respond(clock_of(self._server))

    async def calendar(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/calendar: New York wall-clock times."""
        start, end = (_day(request.query.get(name), name) for name in ("start", "end"))
        table = self._exchange.tape.calendar.sessions(start or date(1970, 1, 1), end or date(2029, 12, 31))
        opens, closes = (table[name].dt.tz_convert("America/New_York").dt.strftime("%H:%M") for name in ("open", "close"))
        fixed = {"session_open": "0400", "session_close": "2000"}
        days = [day.isoformat() for day in pd.DatetimeIndex(table.index).date]
        return wire.respond([{"date": day, "open": at, "close": to, **fixed} for day, at, to in zip(days, opens, closes, strict=True)])

    async def assets(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/assets."""
        prices = self._exchange.prices()
        listed = [wire.asset(symbol, symbol in prices) for symbol in self._exchange.tape.symbols]
        wanted = {
            "status": request.query.get("status"),
            "class": request.query.get("asset_class"),
            "exchange": request.query.get("exchange"),
        }
        return wire.respond([a for a in listed if all(value in (None, "", a[name]) for name, value in wanted.items())])

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/assets/{symbol or id}."""
        asked = request.match_info["symbol"]
        for symbol in self._exchange.tape.symbols:
            if asked in (symbol, wire.asset_id(symbol)):
                return wire.respond(wire.asset(symbol, symbol in self._exchange.prices()))
        raise not_found(f"asset not found for {asked}")

    async def positions(self, _request: web.Request) -> web.StreamResponse:
        """GET /v2/positions."""
        return wire.respond([wire.position(position) for position in self._exchange.positions()])

    async def position(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/positions/{symbol or id}."""
        symbol = self._symbol(request.match_info["symbol"])
        for position in self._exchange.positions():
            if position.symbol == symbol:
                return wire.respond(wire.position(position))
        raise not_found("position does not exist")

    def _symbol(self, asked: str) -> str:
        return next((symbol for symbol in self._exchange.tape.symbols if wire.asset_id(symbol) == asked), asked)

    async def close(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/positions/{symbol}?qty|percentage."""
        qty, percentage = requests.decimal_of(request.query, "qty"), requests.decimal_of(request.query, "percentage")
        if qty is not None and percentage is not None:
            raise malformed("only one of qty and percentage may be given")
        if percentage is not None and not 0 < percentage <= 100:
            raise malformed("percentage must be between 0 and 100")
        order = self._exchange.close_position(self._symbol(request.match_info["symbol"]), qty, percentage)
        await self._server.publish()
        return wire.respond(wire.order(order))

    async def close_all(self, request: web.Request) -> web.StreamResponse:
        """DELETE /v2/positions: one answer a position; a refusal does not stop the others."""
        if requests.flag(request.query.get("cancel_orders")):
            cancel_all(self._server)
        answers: list[Json] = []
        for position in self._exchange.positions():
            try:
                body: Json = wire.order(self._exchange.close_position(position.symbol))
                status = 200
            except VenueError as error:
                body, status = error.body(), error.http_status
            answers.append({"symbol": position.symbol, "status": status, "body": body})
        await self._server.publish()
        return wire.respond(answers, status=207)

    async def activities(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/account/activities[/{type}]: FILL, FEE and DIV; ``page_token`` is the last id seen."""
        query = request.query
        kinds = requests.names(request.match_info.get("type") or query.get("activity_types") or query.get("activity_type"))
        after, until = requests.instant(query.get("after"), "after"), requests.instant(query.get("until"), "until")
        size = requests.whole(query.get("page_size"), "page_size", 100, 100)
        found = [
            (at, number, activity)
            for number, (at, activity) in enumerate(self._all_activities())
            if (not kinds or activity["activity_type"] in kinds) and (after is None or at > after) and (until is None or at < until)
        ]
        found.sort(key=lambda item: item[:2], reverse=query.get("direction", "desc") != "asc")
        listed = [activity for _, _, activity in found]
        if token := query.get("page_token"):
            places = [number for number, activity in enumerate(listed) if activity["id"] == token]
            if not places:
                raise malformed("invalid page_token")
            listed = listed[places[0] + 1 :]
        return wire.respond(listed[:size])

    def _all_activities(self) -> list[tuple[datetime, Json]]:
        fills = self._exchange.fills()
        found = [(fill.at, wire.fill_activity(fill)) for fill in fills]
        found += [(fill.at, wire.fee_activity(fill)) for fill in fills if fill.fee]
        return found + [(paid[0], wire.dividend_activity(*paid)) for paid in self._exchange.dividends]

    async def history(self, request: web.Request) -> web.StreamResponse:
        """GET /v2/account/portfolio/history, by session; left-labelled, epoch seconds."""
        if request.query.get("timeframe") not in (None, "", "1D"):
            raise malformed("this venue keeps portfolio history by session only: timeframe must be 1D")
        first = self._first_day(request)
        last = _day(request.query.get("end") or request.query.get("date_end"), "end")
        sessions = {session.day: session.open for session in self._exchange.tape.sessions}
        rows = [
            (int(sessions[day].timestamp()), equity)
            for day, _, equity in self._exchange.equity_history
            if (first is None or day >= first) and (last is None or day <= last)
        ]
        base = self._exchange.cash_account.initial_cash
        return wire.respond(
            {
                "timestamp": [at for at, _ in rows],
                "equity": [float(equity) for _, equity in rows],
                "profit_loss": [float(equity - base) for _, equity in rows],
                "profit_loss_pct": [float((equity / base - 1).quantize(Decimal("1e-9"))) for _, equity in rows],
                "base_value": float(base),
                "timeframe": "1D",
            }
        )

    def _first_day(self, request: web.Request) -> date | None:
        if start := _day(request.query.get("start"), "start"):
            return start
        period = request.query.get("period") or "1M"
        if period == "all":
            return None
        amount, unit = period[:-1], period[-1:]
        if not amount.isdecimal() or unit not in _PERIOD_DAYS:
            raise malformed("period must be a number and one of D, W, M, A, or all")
        return (self._exchange.now - timedelta(days=int(amount) * _PERIOD_DAYS[unit])).astimezone(NEW_YORK).date()


def _day(value: str | None, name: str) -> date | None:
    """A New York date: a plain date is one, a time is brought there."""
    if value and len(value) == 10:
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise malformed(f"{name} must be a date, found {value!r}") from None
    at = requests.instant(value, name)
    return at.astimezone(NEW_YORK).date() if at else None
