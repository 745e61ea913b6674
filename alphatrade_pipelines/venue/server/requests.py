"""JSON and query strings of a client become typed requests, or a refusal in Alpaca's shape."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from alphatrade_pipelines.venue.exchange.errors import VenueError, malformed
from alphatrade_pipelines.venue.exchange.order_entry import OrderQuery
from alphatrade_pipelines.venue.exchange.orders import VenueOrderRequest
from alphatrade_pipelines.venue.server.wire import NEW_YORK

_TIME = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)(?:[Tt](?P<clock>\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(?P<zone>[Zz]|[+ -]\d\d:\d\d)?)?", re.ASCII)
_LARGEST = Decimal("1e12")
BODY_SECONDS = 30.0  # wall time a body may take to arrive
_FINEST = 20  # decimal places beyond which a number is noise


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


_plain = json.JSONDecoder(parse_constant=_refuse).decode
_exact = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse).decode


async def read_json(request: web.Request, decode: Callable[[str], Any] = _plain) -> Any:
    """The JSON body; VenueError 400 when it is none, 408 when it does not arrive."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        return decode(body.decode())
    except TimeoutError:
        raise VenueError(408, 40810000, "request timeout") from None
    except (ValueError, RecursionError, web.RequestPayloadError):
        raise VenueError(400, 40010000, "request body format is invalid") from None


async def read_object(request: web.Request) -> dict[str, Any]:
    """A JSON object, its numbers with a point as exact ``Decimal``; VenueError 400 when the body is anything else."""
    body = await read_json(request, _exact)
    if not isinstance(body, dict):
        raise VenueError(400, 40010000, "request body format is invalid")
    return body


def decimal_of(body: Mapping[str, Any], name: str, within: str = "") -> Decimal | None:
    """A number or numeric string under ``name``; None when absent. Raises VenueError 422 for anything else, naming ``within`` + name."""
    value = body.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise malformed(f"{within}{name} must be a number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise malformed(f"{within}{name} must be a number") from None
    if not number.is_finite() or abs(number) > _LARGEST or number.adjusted() < -_FINEST:
        raise malformed(f"{within}{name} is out of range")
    whole = number == number.to_integral_value()
    return number.quantize(Decimal(1)) if whole else number.normalize()


def bool_of(body: Mapping[str, Any], name: str) -> bool | None:
    """True or false under ``name`` (or the words, in any casing, as Python clients send them in queries); None when absent."""
    value = body.get(name)
    if value is None or value == "":
        return None
    if str(value).lower() not in ("true", "false"):
        raise malformed(f"{name} must be true or false")
    return str(value).lower() == "true"


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


def order_request(body: Mapping[str, Any]) -> VenueOrderRequest:
    """The body of POST /v2/orders. Raises VenueError for a missing or unreadable field; what the fields mean is the exchange's business."""
    symbol, side = text_of(body, "symbol"), text_of(body, "side")
    if symbol is None:
        raise malformed("symbol is required")
    if side is None:
        raise malformed("side is required")
    profit, loss = _leg(body, "take_profit"), _leg(body, "stop_loss")
    return VenueOrderRequest(
        symbol=symbol,
        side=side,
        qty=decimal_of(body, "qty"),
        type=text_of(body, "type", "market") or "market",
        time_in_force=text_of(body, "time_in_force", "day") or "day",
        order_class=text_of(body, "order_class", "simple") or "simple",
        limit_price=decimal_of(body, "limit_price"),
        stop_price=decimal_of(body, "stop_price"),
        take_profit=decimal_of(profit, "limit_price", "take_profit."),
        stop_loss=decimal_of(loss, "stop_price", "stop_loss."),
        stop_loss_limit=decimal_of(loss, "limit_price", "stop_loss."),
        client_order_id=text_of(body, "client_order_id"),
        notional=decimal_of(body, "notional"),
        trail_price=decimal_of(body, "trail_price"),
        trail_percent=decimal_of(body, "trail_percent"),
        extended_hours=bool_of(body, "extended_hours") or False,
        position_intent=text_of(body, "position_intent"),
        leg_time_in_force=text_of(profit, "time_in_force") or text_of(loss, "time_in_force"),
    )


def instant(value: str | None, name: str) -> datetime | None:
    """An RFC 3339 time or a date, UTC unless it says otherwise; None when absent."""
    if not value:
        return None
    given = _TIME.fullmatch(value)
    try:
        if given is None:
            raise ValueError
        # an unescaped + arrives as a blank
        zone = (given["zone"] or "Z").replace(" ", "+")
        return datetime.fromisoformat(f"{given['day']}T{given['clock'] or '00:00'}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise malformed(f"{name} must be an RFC 3339 time or a date, found {value[:40]!r}") from None


def day(value: str | None, name: str) -> date | None:
    """A New York date: a plain date is one, a time is brought there."""
    if value and len(value) == len("2024-01-31"):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise malformed(f"{name} must be a date, found {value!r}") from None
    at = instant(value, name)
    return at.astimezone(NEW_YORK).date() if at else None


def whole(value: str | None, name: str, default: int, most: int) -> int:
    """A whole number from 1 to ``most``."""
    if not value:
        return default
    if not value.isdecimal() or len(value) > 9 or not 1 <= int(value) <= most:
        raise malformed(f"{name} must be between 1 and {most}")
    return int(value)


def choice(value: str | None, name: str, allowed: tuple[str, ...], default: str) -> str:
    """One of a few words."""
    if not value:
        return default
    if value not in allowed:
        raise malformed(f"invalid {name} {value[:40]!r}: {', '.join(allowed)}")
    return value


def names(value: str | None) -> list[str]:
    """A comma-separated list."""
    return [name.strip() for name in (value or "").split(",") if name.strip()]


def order_query(query: Mapping[str, str]) -> OrderQuery:
    """The query of GET /v2/orders."""
    symbols, before, after = names(query.get("symbols")), query.get("before_order_id") or None, query.get("after_order_id") or None
    if (before and after) or ((before or after) and (query.get("after") or query.get("until"))):
        raise malformed("only one of before_order_id and after_order_id is accepted, and neither together with after or until")
    return OrderQuery(
        status=query.get("status") or "open",
        limit=whole(query.get("limit"), "limit", 50, 500),
        after=instant(query.get("after"), "after"),
        until=instant(query.get("until"), "until"),
        direction=query.get("direction") or "desc",
        nested=bool_of(query, "nested") or False,
        symbols=frozenset(symbols) if symbols else None,
        side=choice(query.get("side"), "side", ("buy", "sell"), "") or None,
        before_order_id=before,
        after_order_id=after,
    )
