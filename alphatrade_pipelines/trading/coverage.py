"""How many shares of a position live stops at the broker protect. Pure questions to the state; nothing is changed or decided here."""

from __future__ import annotations

from decimal import Decimal

from alphatrade_pipelines.trading.domain import BrokerOrder, Side
from alphatrade_pipelines.trading.state import CoreState

ZERO = Decimal(0)
LEAVING = ("exit", "trim", "unwind")  # purposes of orders that close


def covered_qty(state: CoreState, symbol: str) -> Decimal:
    """Shares of ``symbol`` that a live stop at the broker protects: ours, and those of others in the same account."""
    ours = sum((order.protective_qty for order in state.live_orders(symbol)), ZERO)
    if not state.strangers:
        return ours
    held = state.positions.get(symbol)
    exit_side = Side.SELL if held is None or held.qty > 0 else Side.BUY
    return ours + sum((_foreign_stop(item.order, exit_side) for item in state.strangers.values() if item.order.symbol == symbol), ZERO)


def uncovered_qty(state: CoreState, symbol: str) -> Decimal:
    """Shares held without a live stop (never negative)."""
    held = state.positions.get(symbol)
    return max(abs(held.qty) - covered_qty(state, symbol), ZERO) if held else ZERO


def leaving_qty(state: CoreState, symbol: str) -> Decimal:
    """Shares that orders of ours at the broker are selling (or buying back) right now."""
    held = state.positions.get(symbol)
    way = Side.SELL if held is None or held.qty > 0 else Side.BUY
    leaving = (order for order in state.live_orders(symbol) if order.purpose in LEAVING and (held is None or order.request.side is way))
    return sum((order.open_qty for order in leaving), ZERO)


def exposed_qty(state: CoreState, symbol: str) -> Decimal:
    """Shares that neither a live stop protects nor an order on its way is closing, and that can be protected or sold at all."""
    uncovered = uncovered_qty(state, symbol)
    if not uncovered:
        return ZERO
    exposed = max(uncovered - leaving_qty(state, symbol), ZERO)
    return ZERO if exposed < 1 and is_dust(state, symbol) else exposed


def is_dust(state: CoreState, symbol: str) -> bool:
    """The broker has refused to take a fraction of a share of ``symbol`` often enough."""
    tried = state.dust.get(symbol)
    return tried is not None and tried.attempts >= state.config.attempts_before_alarm


def naked_qty(state: CoreState, symbol: str) -> Decimal:
    """Shares that something remains to be done about now: a fraction waits for an open market, dust for ever."""
    uncovered = uncovered_qty(state, symbol)
    return uncovered if uncovered >= 1 or (uncovered and state.market_open and not is_dust(state, symbol)) else ZERO


def _foreign_stop(order: BrokerOrder, exit_side: Side) -> Decimal:
    """Shares that somebody else's order, or the stop leg of somebody else's group, protects."""
    members = (order, *order.legs)
    asleep = order.order_class == "bracket" and order.status != "filled"
    stops = [item for item in members if item.stop_price is not None and item.is_live and item.side is exit_side]
    return ZERO if asleep else sum((item.qty - item.filled_qty for item in stops), ZERO)
