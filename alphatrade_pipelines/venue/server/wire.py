"""Alpaca's JSON: decimals as strings, times as RFC 3339 in UTC (the clock in New York time), ``order_class`` empty for simple orders."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from alphatrade_pipelines.venue.exchange.ids import stable_uuid
from alphatrade_pipelines.venue.exchange.levers import OutsideTrade
from alphatrade_pipelines.venue.exchange.orders import Fill, TradeUpdate, VenueOrder
from alphatrade_pipelines.venue.exchange.restrictions import AssetFlags
from alphatrade_pipelines.venue.exchange.tape import CorporateAction, TapeBar
from alphatrade_pipelines.venue.exchange.views import VenueAccount, VenuePosition

NEW_YORK = ZoneInfo("America/New_York")
Json = dict[str, Any]
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
EXCHANGE, TAPE, VENUE = "NASDAQ", "C", "V"  # all assets are listed at Nasdaq (tape C), all prints come from IEX (V)
_CENT, _RATE = Decimal("0.01"), Decimal("0.000001")


def respond(body: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=_encode(body).encode(), status=status, headers={"Content-Type": "application/json; charset=utf-8"})


def text(value: Decimal | None) -> str | None:
    """A decimal as Alpaca writes it: no exponent, no trailing zeros."""
    if value is None:
        return None
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


@lru_cache(maxsize=8192)
def stamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with ``Z``, fractions only where there are any."""
    if at is None:
        return None
    naive = at.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (naive.rstrip("0") if at.microsecond else naive) + "Z"


@lru_cache(maxsize=8192)
def asset_id(symbol: str) -> str:
    """The asset's id: the same in every venue."""
    return stable_uuid("asset", symbol)


def order(o: VenueOrder) -> Json:
    """One order with its legs (``null`` when there are none)."""
    return {
        "id": o.id,
        "client_order_id": o.client_order_id,
        "created_at": stamp(o.created_at),
        "updated_at": stamp(o.updated_at),
        "submitted_at": stamp(o.submitted_at),
        "filled_at": stamp(o.filled_at),
        "expired_at": stamp(o.expired_at),
        "canceled_at": stamp(o.canceled_at),
        "failed_at": stamp(o.failed_at),
        "replaced_at": stamp(o.replaced_at),
        "replaced_by": o.replaced_by,
        "replaces": o.replaces,
        "asset_id": asset_id(o.symbol),
        "symbol": o.symbol,
        "asset_class": "us_equity",
        "notional": text(o.notional),
        "qty": text(o.qty) if o.notional is None else None,
        "filled_qty": text(o.filled_qty),
        "filled_avg_price": text(o.filled_avg_price),
        "order_class": "" if o.order_class == "simple" else o.order_class,
        "order_type": o.type,
        "type": o.type,
        "side": o.side,
        "position_intent": o.position_intent,
        "time_in_force": o.time_in_force,
        "limit_price": text(o.limit_price),
        "stop_price": text(o.stop_price),
        "status": o.status,
        "extended_hours": o.extended_hours,
        "legs": [order(leg) for leg in o.legs] if o.legs else None,
        "trail_percent": text(o.trail_percent),
        "trail_price": text(o.trail_price),
        "hwm": text(o.hwm),
        "subtag": None,
        "source": None,
        "expires_at": stamp(o.expires_at),
    }


def trade_update(u: TradeUpdate) -> Json:
    """The ``data`` of one trade_updates message."""
    body: Json = {"event": u.event, "event_id": u.event_id, "at": stamp(u.at), "timestamp": stamp(u.at), "order": order(u.order)}
    if u.execution_id is not None:
        body |= {"execution_id": u.execution_id, "price": text(u.price), "qty": text(u.qty), "position_qty": text(u.position_qty)}
    return body


def account(a: VenueAccount, created_at: datetime, now: datetime, legacy: bool = False) -> Json:
    """GET /v2/account. ``legacy``: with the fields of the pattern-day-trader rule, which Alpaca dropped on 2026-07-06."""
    power, restrictions = text(a.buying_power), a.restrictions
    body: Json = {
        "id": stable_uuid("account", a.account_number),
        "account_number": a.account_number,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "buying_power": power,
        "regt_buying_power": text(a.regt_buying_power),
        "effective_buying_power": power,
        "non_marginable_buying_power": text(a.non_marginable_buying_power),
        "options_buying_power": "0",
        "cash": text(a.cash),
        "accrued_fees": "0",
        "portfolio_value": text(a.equity),
        "equity": text(a.equity),
        "last_equity": text(a.last_equity),
        "multiplier": text(a.multiplier),
        "shorting_enabled": a.shorting_enabled,
        "trading_blocked": restrictions.trading_blocked,
        "transfers_blocked": False,
        "account_blocked": restrictions.account_blocked,
        "trade_suspended_by_user": restrictions.trade_suspended_by_user,
        "long_market_value": text(a.long_market_value),
        "short_market_value": text(a.short_market_value),
        "position_market_value": text(a.long_market_value + a.short_market_value),
        "initial_margin": text(a.initial_margin),
        "maintenance_margin": text(a.maintenance_margin),
        "last_maintenance_margin": text(a.last_maintenance_margin),
        "sma": text(a.sma),
        "balance_asof": f"{now.astimezone(NEW_YORK):%Y-%m-%d}",
        "intraday_adjustments": "0",
        "pending_reg_taf_fees": "0",
        "created_at": stamp(created_at),
    }
    if legacy:
        body |= {"pattern_day_trader": a.day_trades > 3, "daytrade_count": a.day_trades, "daytrading_buying_power": power}
    return body


def position(p: VenuePosition) -> Json:
    """One open position; a short has a negative qty."""
    value = p.qty * p.price
    gain, today = value - p.cost_basis, p.qty * (p.price - p.previous_close)
    return {
        "asset_id": asset_id(p.symbol),
        "symbol": p.symbol,
        "exchange": EXCHANGE,
        "asset_class": "us_equity",
        "asset_marginable": True,
        "avg_entry_price": text(p.avg_entry_price.quantize(_RATE)),
        "qty": text(p.qty),
        "side": "long" if p.qty > 0 else "short",
        "market_value": text(value.quantize(_CENT)),
        "cost_basis": text(p.cost_basis.quantize(_CENT)),
        "unrealized_pl": text(gain.quantize(_CENT)),
        "unrealized_plpc": text((gain / abs(p.cost_basis)).quantize(_RATE)),
        "unrealized_intraday_pl": text(today.quantize(_CENT)),
        "unrealized_intraday_plpc": text((today / abs(p.qty * p.previous_close)).quantize(_RATE)),
        "current_price": text(p.price),
        "lastday_price": text(p.previous_close),
        "change_today": text((p.price / p.previous_close - 1).quantize(_RATE)),
        "qty_available": text(p.available if p.qty > 0 else -p.available),
    }


def asset(symbol: str, flags: AssetFlags, listed: bool) -> Json:
    """One asset of the tape; one that is not ``listed`` yet has no price."""
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": EXCHANGE,
        "symbol": symbol,
        "name": f"{symbol} Common Stock",
        "status": "active",
        "tradable": flags.tradable and listed,
        "marginable": flags.marginable,
        "maintenance_margin_requirement": 30,
        "margin_requirement_long": "30",
        "margin_requirement_short": "30",
        "shortable": flags.shortable,
        "easy_to_borrow": flags.easy_to_borrow,
        "fractionable": flags.fractionable,
        "attributes": [],
    }


def fill_activity(f: Fill) -> Json:
    """A FILL of GET /v2/account/activities."""
    return {
        "id": activity_id(f.at, f.execution_id),
        "activity_type": "FILL",
        "transaction_time": stamp(f.at),
        "type": "fill" if f.leaves_qty == 0 else "partial_fill",
        "price": text(f.price),
        "qty": text(f.qty),
        "side": f.side,
        "symbol": f.symbol,
        "leaves_qty": text(f.leaves_qty),
        "order_id": f.order_id,
        "cum_qty": text(f.cum_qty),
        "order_status": f.order_status,
    }


def fee_activity(f: Fill) -> Json:
    """The regulatory FEE of a sale."""
    return {
        "id": activity_id(f.at, stable_uuid("fee", f.execution_id)),
        "activity_type": "FEE",
        "activity_sub_type": "REG",
        "date": f"{f.at.astimezone(NEW_YORK):%Y-%m-%d}",
        "net_amount": text(-f.fee),
        "description": f"SEC and TAF fees for the sale of {text(f.qty)} {f.symbol}",
        "symbol": f.symbol,
        "status": "executed",
    }


def dividend_activity(at: datetime, action: CorporateAction, held: Decimal, amount: Decimal) -> Json:
    """A DIV: cash credited (or charged to a short) on the ex-date."""
    return {
        "id": activity_id(at, stable_uuid("dividend", action.symbol, action.ex_date)),
        "activity_type": "DIV",
        "activity_sub_type": "CDIV",
        "date": action.ex_date.isoformat(),
        "net_amount": text(amount),
        "description": f"cash dividend of {action.symbol}",
        "symbol": action.symbol,
        "qty": text(held),
        "per_share_amount": text(Decimal(str(action.dividend))),
        "status": "executed",
    }


def outside_activity(trade: OutsideTrade, number: int) -> Json:
    """A JNLS: shares that came or went by no order of this account."""
    return {
        "id": activity_id(trade.at, stable_uuid("outside", trade.symbol, trade.at, number)),
        "activity_type": "JNLS",
        "date": f"{trade.at.astimezone(NEW_YORK):%Y-%m-%d}",
        "net_amount": text(-trade.qty * trade.price - trade.fee),
        "symbol": trade.symbol,
        "qty": text(trade.qty),
        "price": text(trade.price),
        "status": "executed",
    }


def activity_stamp(at: datetime) -> str:
    """The first part of an activity's id."""
    return f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03d}"


def activity_id(at: datetime, unique: str) -> str:
    """Sorts by time, as Alpaca's."""
    return f"{activity_stamp(at)}::{unique}"


def shares(size: float) -> float | int:
    """A number of shares: whole where it is."""
    return int(size) if size == int(size) else size


def bar(b: TapeBar, at: datetime) -> Json:
    """A bar of the data API, stamped ``at`` (daily bars: midnight New York)."""
    return {
        "t": stamp(at),
        "o": b.open,
        "h": b.high,
        "l": b.low,
        "c": b.close,
        "v": shares(b.volume),
        "n": b.trade_count,
        "vw": round(b.vwap, 6),
    }


def corporate_actions(action: CorporateAction) -> list[tuple[str, Json]]:
    """(kind, entry) pairs of GET /v1/corporate-actions for one ex-date."""
    day = action.ex_date.isoformat()
    common = {"symbol": action.symbol, "process_date": day, "ex_date": day, "record_date": day, "payable_date": day}
    found: list[tuple[str, Json]] = []
    if action.split != 1.0:
        ratio = Fraction(action.split).limit_denominator(10_000)
        rates = {"new_rate": ratio.numerator, "old_rate": ratio.denominator}
        cusip = stable_uuid("cusip", action.symbol)[:8]
        if action.split > 1.0:
            found.append(("forward_splits", {"id": stable_uuid("split", action.symbol, day), "cusip": cusip, **rates, **common}))
        else:
            cusips = {"old_cusip": cusip, "new_cusip": cusip}
            found.append(("reverse_splits", {"id": stable_uuid("split", action.symbol, day), **cusips, **rates, **common}))
    if action.dividend != 0.0:
        cash = {"rate": action.dividend, "special": False, "foreign": False, "cusip": stable_uuid("cusip", action.symbol)[:8]}
        found.append(("cash_dividends", {"id": stable_uuid("dividend", action.symbol, day), **cash, **common}))
    return found


def announcements(action: CorporateAction) -> list[Json]:
    """One ex-date as the announcements of the trading API: a dividend, a split, or both."""
    found: list[Json] = []
    for kind, entry in corporate_actions(action):
        split = kind != "cash_dividends"
        cusip = entry.get("cusip") or entry["old_cusip"]
        day = entry["ex_date"]
        found.append(
            {
                "id": entry["id"],
                "corporate_action_id": f"{cusip}_{day}",
                "ca_type": "split" if split else "dividend",
                "ca_sub_type": {"forward_splits": "stock_split", "reverse_splits": "reverse_split"}.get(kind, "cash"),
                "initiating_symbol": action.symbol,
                "initiating_original_cusip": cusip,
                "target_symbol": action.symbol,
                "target_original_cusip": cusip,
                **dict.fromkeys(("declaration_date", "ex_date", "record_date", "payable_date"), day),
                "cash": "0" if split else str(entry["rate"]),
                "old_rate": str(entry.get("old_rate", 1)),
                "new_rate": str(entry.get("new_rate", 1)),
            }
        )
    return found
