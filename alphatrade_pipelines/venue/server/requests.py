"""JSON and query strings of a client become typed requests, or a refusal in Alpaca's shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import pandas as pd
from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError, malformed
from alphatrade_pipelines.venue.exchange.order_entry import OrderQuery
from alphatrade_pipelines.venue.exchange.orders import VenueOrderRequest

_UNSUPPORTED = ("notional", "trail_price", "trail_percent")
_LARGEST = Decimal("1e12")


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_plain = json.JSONDecoder(parse_constant=_refuse).decode
_exact = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse).decode


async def read_json(request: web.Request, decode: Callable[[str], Any] = _plain) -> Any:
    """The JSON body; VenueError 400 when it is none."""
    try:
        return decode((await request.read()).decode())
    except (ValueError, RecursionError):
        raise VenueError(400, 40010000, "request body format is invalid") from None


async def read_object(request: web.Request) -> dict[str, Any]:
    """A JSON object, its numbers with a point as exact ``Decimal``; VenueError 400 when the body is anything else."""
    body = await read_json(request, _exact)
    if not isinstance(body, dict):
        raise VenueError(400, 40010000, "request body format is invalid")
    return body


def decimal_of(body: Mapping[str, Any], name: str) -> Decimal | None:
    """A number or numeric string under ``name``; None when absent. Raises VenueError 422 for anything else."""
    value = body.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise malformed(f"{name} must be a number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise malformed(f"{name} must be a number") from None
    if not number.is_finite() or abs(number) > _LARGEST:
        raise malformed(f"{name} is out of range")
    whole = number == number.to_integral_value()
    return number.quantize(Decimal(1)) if whole else number.normalize()


def text_of(body: Mapping[str, Any], name: str, default: str | None = None) -> str | None:
    """A string under ``name``; the default when absent or empty."""
    value = body.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise malformed(f"{name} must be a string")
    return value


def _leg(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    leg = body.get(name)
    if leg is None:
        return {}
    if not isinstance(leg, Mapping):
        raise malformed(f"{name} must be an object")
    return leg


def order_request(body: object) -> VenueOrderRequest:
    """The body of POST /v2/orders."""
    if not isinstance(body, Mapping):
        raise VenueError(400, 40010000, "request body format is invalid")
    for name in _UNSUPPORTED:
        if body.get(name) not in (None, ""):
            raise malformed(f"{name} is not supported by this venue")
    if flag(body.get("extended_hours")):
        raise malformed("extended_hours is not supported by this venue")
    qty, symbol, side = decimal_of(body, "qty"), text_of(body, "symbol"), text_of(body, "side")
    for name, value in (("symbol", symbol), ("side", side), ("qty", qty)):
        if value is None:
            raise malformed(f"{name} is required")
    assert symbol is not None
    assert side is not None
    assert qty is not None
    profit, loss = _leg(body, "take_profit"), _leg(body, "stop_loss")
    return VenueOrderRequest(
        symbol=symbol,
        side=side,
        qty=qty,
        type=text_of(body, "type", "market") or "market",
        time_in_force=text_of(body, "time_in_force", "day") or "day",
        order_class=text_of(body, "order_class", "simple") or "simple",
        limit_price=decimal_of(body, "limit_price"),
        stop_price=decimal_of(body, "stop_price"),
        take_profit=decimal_of(profit, "limit_price"),
        stop_loss=decimal_of(loss, "stop_price"),
        stop_loss_limit=decimal_of(loss, "limit_price"),
        client_order_id=text_of(body, "client_order_id"),
    )


def flag(value: object) -> bool:
    """Python's ``True`` on the wire counts, in any casing."""
    return str(value).lower() == "true"


def instant(value: str | None, name: str) -> datetime | None:
    """An RFC 3339 time or a date, UTC unless it says otherwise; None when absent."""
    if not value:
        return None
    try:
        at = pd.Timestamp(value.replace(" ", "+"))  # an unescaped + arrives as a blank
    except ValueError:
        raise malformed(f"{name} must be an RFC 3339 time or a date, found {value!r}") from None
    return (at.tz_localize(UTC) if at.tzinfo is None else at.tz_convert(UTC)).to_pydatetime()


def whole(value: str | None, name: str, default: int, most: int) -> int:
    """A whole number from 1 to ``most``."""
    if not value:
        return default
    if not value.isdecimal() or not 1 <= int(value) <= most:
        raise malformed(f"{name} must be between 1 and {most}")
    return int(value)


def names(value: str | None) -> list[str]:
    """A comma-separated list."""
    return [name.strip() for name in (value or "").split(",") if name.strip()]


def order_query(query: Mapping[str, str]) -> OrderQuery:
    """The query of GET /v2/orders."""
    symbols = names(query.get("symbols"))
    return OrderQuery(
        status=query.get("status") or "open",
        limit=whole(query.get("limit"), "limit", 50, 500),
        after=instant(query.get("after"), "after"),
        until=instant(query.get("until"), "until"),
        direction=query.get("direction") or "desc",
        nested=flag(query.get("nested")),
        symbols=frozenset(symbols) if symbols else None,
        side=query.get("side") or None,
    )
