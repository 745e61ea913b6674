"""Faults that really happen at the exchange: they pull its levers or turn its switches, and may be undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.ids import stable_uuid
from alphatrade_pipelines.venue.exchange.orders import BookOrder, VenueOrderRequest
from alphatrade_pipelines.venue.faults import tape_faults
from alphatrade_pipelines.venue.faults.armed import Armed
from alphatrade_pipelines.venue.faults.scenario import Fault, ScenarioError

Chance = dict[str, str]
Undo = Callable[[], None]
Announcement = dict[str, str]
_AT_ONCE = ("armed", "time")  # not a step: counted only by faults that do not count


def check(exchange: Exchange, fault: Fault) -> None:
    """Raise ScenarioError for what this exchange cannot do."""
    if fault.symbol is not None and fault.symbol not in exchange.tape.symbols:
        raise ScenarioError(f"{fault.kind.name}: unknown symbol {fault.symbol!r}; the tape has {', '.join(exchange.tape.symbols)}")
    if fault.kind.name == "early_close":
        tape_faults.check_early_close(fault.text("time"))


def chances(exchange: Exchange, armed: Armed, occasion: str, request: tuple[str, str]) -> list[Chance]:
    """The opportunities ``occasion`` brings (``armed``, ``time``, ``request``, or the kind of a step), in order. What is said of each goes
    to the log; ``order`` is the order it is about."""
    fault = armed.fault
    match fault.kind.counts:
        case "entries filled in part":
            return _new(armed, [o for o in _of(exchange, fault) if o.role == "entry" and o.opening and o.status == "partially_filled"])
        case "accepted orders":
            return _new(armed, [o for o in _of(exchange, fault) if o.parent is None]) if occasion != "armed" else _skip(exchange, armed)
        case "closes of sessions":
            return [{}] if occasion == "session_close" else []
        case "attempts to authenticate":
            return []
    if fault.endpoint is not None:
        return [{"endpoint": " ".join(request)}] if occasion == "request" and fault.matches(*request) else []
    counting = fault.after_count > 1 or fault.every is not None or fault.probability is not None
    return [] if occasion == "request" or (counting and occasion in _AT_ONCE) else [{}]


def _of(exchange: Exchange, fault: Fault) -> list[BookOrder]:
    return [order for order in exchange.book.live() if fault.symbol in (None, order.symbol)]


def _new(armed: Armed, orders: list[BookOrder]) -> list[Chance]:
    found = [order.id for order in orders if order.id not in armed.looked_at]
    armed.looked_at.update(found)
    return [{"order": order_id} for order_id in found]


def _skip(exchange: Exchange, armed: Armed) -> list[Chance]:
    armed.looked_at.update(exchange.book.orders)
    return []


def begin(exchange: Exchange, fault: Fault) -> Undo | None:
    """What has to be so before the first opportunity can come."""
    if fault.kind.name == "partial_then_cancel":
        return _switch(exchange, partial_fill_probability=1.0)
    return None


def strike(exchange: Exchange, fault: Fault, chance: Chance, announce: Callable[[Announcement], None]) -> Undo | None:
    """Let it happen; the way back for what lasts. ``announce`` takes what belongs into the corporate actions."""
    levers, symbol = exchange.levers, fault.symbol or ""
    match fault.kind.name:
        case "partial_then_cancel":
            levers.cancel(chance["order"])
        case "reject_later":
            levers.reject(chance["order"])
        case "legs_gone":
            _cancel_legs(exchange, fault)
        case "both_legs_fill":
            levers.both_legs(symbol)
        case "foreign_order":
            levers.foreign_order(_foreign(fault))
        case "manual_trade":
            levers.manual_trade(symbol, _decimal(fault.number("qty")))
        case "symbol_change":
            announce(_name_change(exchange, symbol, fault.text("new_symbol")))
        case "split":
            tape_faults.split(exchange, symbol, fault.number("ratio"))
        case "early_close":
            tape_faults.early_close(exchange, fault.text("time"))
        case _:
            return _lasting(exchange, fault)
    return None


def _lasting(exchange: Exchange, fault: Fault) -> Undo | None:
    levers, symbol, name = exchange.levers, fault.symbol or "", fault.kind.name
    match name:
        case "halt":
            until = None if fault.for_seconds is None else exchange.now + timedelta(seconds=fault.for_seconds)
            levers.halt(symbol, fault.text("code"), fault.text("reason"), until)
            return lambda: levers.resume(symbol) if symbol in exchange.halts else None
        case "restrict":
            levers.restrict(**{fault.text("what"): True})
            return lambda: levers.restrict(**{fault.text("what"): False})
        case "asset":
            asked = {key: bool(value) for key, value in fault.params.items()}
            levers.asset(symbol, **asked)
            return lambda: levers.asset(symbol, **dict.fromkeys(asked, True))
        case "stop_gets_new_id":
            return _switch(exchange, sl_trigger_replaces_id=True, stream_sibling_cancel=False)
        case "gtc_ages_out":
            return _switch(exchange, gtc_days=int(fault.number("days")))
        case "cancel_lag":
            return _switch(exchange, cancel_lag_seconds=fault.number("seconds"))
        case "replace_lag":
            return _switch(exchange, replace_lag_seconds=fault.number("seconds"))
    raise AssertionError(f"no fault of the exchange: {name}")


def _switch(exchange: Exchange, **switches: object) -> Undo:
    before = {name: getattr(exchange.fidelity, name) for name in switches}
    exchange.fidelity = replace(exchange.fidelity, **switches)  # type: ignore[arg-type]

    def back() -> None:
        exchange.fidelity = replace(exchange.fidelity, **before)

    return back


def _cancel_legs(exchange: Exchange, fault: Fault) -> None:
    for order in _of(exchange, fault):
        if order.is_live and order.is_exit_leg:
            exchange.levers.cancel(order.id)


def _name_change(exchange: Exchange, old: str, new: str) -> Announcement:
    """The symbol stops trading a second before the next open; the entry of ``name_changes`` that says so."""
    opens = exchange.next_open
    exchange.schedule.at(opens - timedelta(seconds=1), lambda: exchange.levers.asset(old, tradable=False))
    cusips = {f"{age}_cusip": stable_uuid("cusip", name)[:8] for age, name in (("old", old), ("new", new))}
    day = opens.date().isoformat()
    return {"id": stable_uuid("name change", old, new, day), "old_symbol": old, "new_symbol": new, **cusips, "process_date": day}


def _foreign(fault: Fault) -> VenueOrderRequest:
    limit = fault.number("limit_price")
    return VenueOrderRequest(
        symbol=fault.symbol or "",
        side=fault.text("side"),
        qty=_decimal(fault.number("qty")),
        type="limit" if limit else "market",
        time_in_force=fault.text("time_in_force"),
        limit_price=_decimal(limit) if limit else None,
    )


def _decimal(value: float) -> Decimal:
    number = Decimal(str(value))
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()
