"""Alpaca's JSON as our types, and our orders as alpaca-py requests.

The SDK's own models are not used for reading: one enum value it does not know raises, and a fill would be lost with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from alphatrade_pipelines.trading.commands import ReplaceOrder
from alphatrade_pipelines.trading.domain import (
    AccountState,
    AssetState,
    BrokerOrder,
    BrokerPosition,
    Execution,
    OrderClass,
    OrderKind,
    OrderRequest,
    Side,
)
from alphatrade_pipelines.trading.events import OrderUpdated

if TYPE_CHECKING:
    from alpaca.trading.requests import OrderRequest as SdkOrderRequest
    from alpaca.trading.requests import ReplaceOrderRequest

FILL_EVENTS = frozenset({"fill", "partial_fill"})
US_EQUITY = "us_equity"
# no US equity looks like these: an option by the OCC (root, expiry, right, strike), a pair of coins with or without its slash
_OPTION = re.compile(r"[A-Z0-9]{1,6}\d{6}[CP]\d{8}")
_PAIR = re.compile(r".+/.+|[A-Z0-9]{3,}(USD|USDT|USDC|USDG|BTC)")
Raw = Mapping[str, Any]


class WireError(ValueError):
    """The broker sent something that cannot be read as what it should be."""


@dataclass(frozen=True, slots=True)
class BrokerClock:
    """The broker's clock, in UTC."""

    at: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """``split`` new shares for each old one, ``dividend`` cash per old share, from the morning of ``ex_date`` on; ``renamed``: the symbol
    it trades under from then on, if that changes."""

    symbol: str
    ex_date: date
    split: Decimal
    dividend: Decimal
    renamed: str = ""


def instant(value: object) -> datetime:
    """RFC 3339 text (nanoseconds are cut to microseconds) as aware UTC."""
    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise WireError(f"expected an RFC 3339 time stamp, found {value!r}") from error
    if parsed.tzinfo is None:
        raise WireError(f"expected a time stamp with a zone, found {value!r}")
    return parsed.astimezone(UTC)


def number(value: object, name: str) -> Decimal:
    """A decimal that the wire may carry as a string or as a JSON number."""
    try:
        result = Decimal(str(value))
    except InvalidOperation as error:
        raise WireError(f"expected a number for {name}, found {value!r}") from error
    if not result.is_finite():
        raise WireError(f"expected a finite number for {name}, found {value!r}")
    return result


def _maybe(raw: Raw, name: str) -> Decimal | None:
    value = raw.get(name)
    return None if value is None or value == "" else number(value, name)


def _text(raw: Raw, name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise WireError(f"expected text under {name!r}, found {value!r}")
    return value


def _side(value: object) -> Side:
    """``sell_short`` (activities) is a sale."""
    text = str(value)
    if text == "sell_short":
        return Side.SELL
    try:
        return Side(text)
    except ValueError as error:
        raise WireError(f"expected side buy or sell, found {value!r}") from error


def asset_class(raw: Raw) -> str:
    """What a position, an order or an activity is about: what it says itself, else what its legs say (a multi-leg order has neither class
    nor symbol of its own), else what its symbol looks like."""
    said = raw.get("asset_class")
    if said:
        return str(said)
    for leg in raw.get("legs") or ():
        if (kind := asset_class(leg)) != US_EQUITY:
            return kind
    if raw.get("order_class") == "mleg":
        return "mleg"
    symbol = str(raw.get("symbol") or "")
    return "us_option" if _OPTION.fullmatch(symbol) else "crypto" if _PAIR.fullmatch(symbol) else US_EQUITY


def broker_order(raw: Raw) -> BrokerOrder:
    """One order, with its legs. Unknown statuses and types stay as they came."""
    return BrokerOrder(
        broker_id=_text(raw, "id"),
        client_order_id=_text(raw, "client_order_id"),
        symbol=_text(raw, "symbol"),
        side=_side(raw.get("side")),
        qty=_maybe(raw, "qty") or Decimal(0),
        filled_qty=_maybe(raw, "filled_qty") or Decimal(0),
        filled_avg_price=_maybe(raw, "filled_avg_price"),
        kind=str(raw.get("type") or raw.get("order_type") or ""),
        order_class=str(raw.get("order_class") or "simple"),
        time_in_force=str(raw.get("time_in_force") or ""),
        status=_text(raw, "status"),
        limit_price=_maybe(raw, "limit_price"),
        stop_price=_maybe(raw, "stop_price"),
        replaces=raw.get("replaces") or None,
        replaced_by=raw.get("replaced_by") or None,
        submitted_at=instant(raw["submitted_at"]) if raw.get("submitted_at") else None,
        legs=tuple(broker_order(leg) for leg in raw.get("legs") or ()),
    )


def broker_position(raw: Raw) -> BrokerPosition:
    """One open position; a short has a negative quantity whatever sign the broker used."""
    qty = number(raw.get("qty"), "qty")
    if raw.get("side") == "short":
        qty = -abs(qty)
    return BrokerPosition(_text(raw, "symbol"), qty, number(raw.get("avg_entry_price"), "avg_entry_price"))


def account_state(raw: Raw) -> AccountState:
    """The account; any of Alpaca's three ways to block it counts."""
    return AccountState(
        account_number=_text(raw, "account_number"),
        equity=number(raw.get("equity"), "equity"),
        cash=number(raw.get("cash"), "cash"),
        buying_power=number(raw.get("buying_power"), "buying_power"),
        trading_blocked=any(bool(raw.get(flag)) for flag in ("trading_blocked", "account_blocked", "trade_suspended_by_user")),
    )


def broker_clock(raw: Raw) -> BrokerClock:
    """The broker's clock; Alpaca sends New York offsets."""
    opened = raw.get("is_open")
    if not isinstance(opened, bool):
        raise WireError(f"expected true or false under 'is_open', found {opened!r}")
    return BrokerClock(instant(raw.get("timestamp")), opened, instant(raw.get("next_open")), instant(raw.get("next_close")))


def execution_of_activity(raw: Raw) -> Execution:
    """A FILL activity. Its id ends with the execution id that the stream gave to the same fill: one key for both."""
    return Execution(
        execution_id=_text(raw, "id").rsplit("::", 1)[-1],
        broker_id=_text(raw, "order_id"),
        symbol=_text(raw, "symbol"),
        side=_side(raw.get("side")),
        qty=number(raw.get("qty"), "qty"),
        price=number(raw.get("price"), "price"),
        at=instant(raw.get("transaction_time")),
    )


def trade_update(data: Raw, at: datetime) -> OrderUpdated | None:
    """One message of the trade_updates stream, None when it is not about a US equity; ``at`` is when it was taken in."""
    if asset_class(_mapping(data, "order")) != US_EQUITY:
        return None
    event, order = _text(data, "event"), broker_order(_mapping(data, "order"))
    execution = None
    if event in FILL_EVENTS:
        price, qty = number(data.get("price"), "price"), number(data.get("qty"), "qty")
        # an execution without an id still needs a stable key: cumulative quantity names it within its order
        key = str(data.get("execution_id") or f"{order.broker_id}:{order.filled_qty}")
        happened = instant(data.get("timestamp") or data.get("at"))
        execution = Execution(key, order.broker_id, order.symbol, order.side, qty, price, happened)
    return OrderUpdated(at=at, event=event, order=order, execution=execution, event_id=str(data.get("event_id") or ""))


def _mapping(raw: Raw, name: str) -> Raw:
    value = raw.get(name)
    if not isinstance(value, Mapping):
        raise WireError(f"expected an object under {name!r}, found {value!r}")
    return value


def corporate_actions(raw: Raw) -> list[CorporateAction]:
    """Splits and cash dividends of the corporate actions answer, one entry a symbol and ex-date."""
    merged: dict[tuple[str, date], CorporateAction] = {}
    for kind in ("forward_splits", "reverse_splits"):
        for item in raw.get(kind) or ():
            ratio = number(item.get("new_rate"), "new_rate") / number(item.get("old_rate"), "old_rate")
            _merge(merged, item, split=ratio)
    for item in raw.get("stock_dividends") or ():
        _merge(merged, item, split=1 + number(item.get("rate"), "rate"))
    for item in raw.get("cash_dividends") or ():
        _merge(merged, item, dividend=number(item.get("rate"), "rate"))
    for item in raw.get("name_changes") or ():
        key = (_text(item, "old_symbol"), date.fromisoformat(_text(item, "process_date")[:10]))
        old = merged.get(key, CorporateAction(*key, split=Decimal(1), dividend=Decimal(0)))
        merged[key] = replace(old, renamed=_text(item, "new_symbol"))
    return [merged[key] for key in sorted(merged)]


def asset_state(raw: Raw) -> AssetState:
    """What may be done with an asset. A flag that is missing or no truth value counts as a no."""
    flags = {name: raw.get(name) is True for name in ("tradable", "shortable", "easy_to_borrow")}
    status = raw.get("status")
    if status != "active":
        flags["tradable"] = False
    return AssetState(_text(raw, "symbol"), **flags, detail="" if status == "active" else f"the asset is {status}")


def _merge(merged: dict[tuple[str, date], CorporateAction], item: Raw, split: Decimal = Decimal(1), dividend: Decimal = Decimal(0)) -> None:
    key = (_text(item, "symbol"), date.fromisoformat(_text(item, "ex_date")[:10]))
    old = merged.get(key, CorporateAction(*key, split=Decimal(1), dividend=Decimal(0)))
    merged[key] = CorporateAction(*key, split=old.split * split, dividend=old.dividend + dividend)


def flatten(orders: Iterable[BrokerOrder]) -> list[BrokerOrder]:
    """Every order and, after it, its legs."""
    found: list[BrokerOrder] = []
    for order in orders:
        found.append(order)
        found.extend(flatten(order.legs))
    return found


def sdk_request(request: OrderRequest) -> SdkOrderRequest:
    """Our order as the request object alpaca-py submits. Prices are whole cents already, so their floats print exactly."""
    from alpaca.trading import enums, requests

    common: dict[str, Any] = {
        "symbol": request.symbol,
        "qty": float(request.qty),
        "side": enums.OrderSide(request.side.value),
        "time_in_force": enums.TimeInForce(request.time_in_force.value),
        "client_order_id": request.client_order_id,
    }
    if request.order_class is not OrderClass.SIMPLE:
        common["order_class"] = enums.OrderClass(request.order_class.value)
    if request.take_profit is not None:
        common["take_profit"] = requests.TakeProfitRequest(limit_price=float(request.take_profit))
    if request.stop_loss is not None:
        common["stop_loss"] = requests.StopLossRequest(stop_price=float(request.stop_loss))
    limit = {} if request.limit_price is None else {"limit_price": float(request.limit_price)}
    stop = {} if request.stop_price is None else {"stop_price": float(request.stop_price)}
    if request.kind is OrderKind.MARKET:
        return requests.MarketOrderRequest(**common)
    if request.kind is OrderKind.LIMIT:
        return requests.LimitOrderRequest(**common, **limit)
    if request.kind is OrderKind.STOP:
        return requests.StopOrderRequest(**common, **stop)
    return requests.StopLimitOrderRequest(**common, **limit, **stop)


def sdk_replacement(command: ReplaceOrder) -> ReplaceOrderRequest:
    """A replacement as alpaca-py sends it; what is None is left as it is."""
    from alpaca.trading.requests import ReplaceOrderRequest

    prices = {"limit_price": command.limit_price, "stop_price": command.stop_price}
    changes: dict[str, Any] = {name: float(price) for name, price in prices.items() if price is not None}
    if command.qty is not None:
        changes["qty"] = int(command.qty)
    return ReplaceOrderRequest(client_order_id=command.client_order_id, **changes)
