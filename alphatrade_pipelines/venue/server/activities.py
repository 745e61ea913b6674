"""GET /v2/account/activities: executions, fees, dividends, splits and what moved shares from outside, in one order with page tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta

from alphatrade_pipelines.venue.exchange.errors import malformed
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.server import requests, wire
from alphatrade_pipelines.venue.server.wire import NEW_YORK, Json

_CATEGORIES = {"trade_activity": lambda kind: kind == "FILL", "non_trade_activity": lambda kind: kind != "FILL"}
_Entry = tuple[datetime, Callable[[], Json]]


def activities(query: Mapping[str, str], path_type: str | None, exchange: Exchange) -> list[Json]:
    """A page. ``page_token`` is the id of the last activity seen; ``path_type``: the one of /activities/{type}."""
    kinds = requests.names(path_type or query.get("activity_types") or query.get("activity_type"))
    category = requests.choice(query.get("category"), "category", ("", *_CATEGORIES), "")
    if category and kinds:
        raise malformed("category cannot be used with activity_types")
    first, last = _bounds(query)
    size = requests.whole(query.get("page_size"), "page_size", 100, 100)
    backwards = requests.choice(query.get("direction"), "direction", ("asc", "desc"), "desc") == "desc"

    def wanted(kind: str) -> bool:
        return kind in kinds if kinds else not category or _CATEGORIES[category](kind)

    found = [
        (at, number, make)
        for number, (kind, at, make) in enumerate(_all(exchange))
        if wanted(kind) and (first is None or at > first) and (last is None or at < last)
    ]
    found.sort(key=lambda entry: entry[:2], reverse=backwards)
    return _page([(at, make) for at, _, make in found], query.get("page_token"), size)


def _bounds(query: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    """Exclusive bounds in time; ``date`` is a New York day."""
    after, until = requests.instant(query.get("after"), "after"), requests.instant(query.get("until"), "until")
    day = requests.day(query.get("date"), "date")
    if day is None:
        return after, until
    if after or until:
        raise malformed("date cannot be used with after or until")
    begin, end = (datetime.combine(d, time(0), NEW_YORK).astimezone(UTC) for d in (day, day + timedelta(days=1)))
    return begin - timedelta(microseconds=1), end


def _page(entries: list[_Entry], token: str | None, size: int) -> list[Json]:
    begin = 0
    if token:
        stamp = token.partition("::")[0]
        # the id begins with its time: only entries of that moment have to be written out to find it
        places = (number for number, (at, make) in enumerate(entries) if wire.activity_stamp(at) == stamp and make()["id"] == token)
        place = next(places, None)
        if place is None:
            raise malformed("invalid page_token")
        begin = place + 1
    return [make() for _, make in entries[begin : begin + size]]


def _all(exchange: Exchange) -> Iterator[tuple[str, datetime, Callable[[], Json]]]:
    """(type, time, how to write it) of everything that has happened to the account."""
    for fill in exchange.book.fills:
        yield "FILL", fill.at, lambda fill=fill: wire.fill_activity(fill)  # type: ignore[misc]
        if fill.fee:
            yield "FEE", fill.at, lambda fill=fill: wire.fee_activity(fill)  # type: ignore[misc]
    for paid in exchange.dividends:
        yield "DIV", paid[0], lambda paid=paid: wire.dividend_activity(*paid)  # type: ignore[misc]
    for number, trade in enumerate(exchange.outside_trades):
        yield "JNLS", trade.at, lambda trade=trade, number=number: wire.outside_activity(trade, number)  # type: ignore[misc]
