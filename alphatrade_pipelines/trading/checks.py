"""Pre-trade checks: every reason not to enter has a code CATEGORY_CONDITION. Cancels, exits and protection are never checked."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

from alphatrade_pipelines.risk import Denial
from alphatrade_pipelines.trading.domain import Side, Signal
from alphatrade_pipelines.trading.resending import signal_is_fresh
from alphatrade_pipelines.trading.state import CoreState, TradingState

CLOCK_SKEW = timedelta(seconds=5)


def entry_denial(state: CoreState, signal: Signal) -> Denial | None:
    """The first reason why this signal must not become an order, or None. Size and exposure are judged after sizing."""
    return (
        _session_denial(state)
        or _signal_denial(state, signal)
        or _symbol_denial(state, signal.symbol, signal.side)
        or _price_denial(state, signal)
    )


def is_broker_stale(state: CoreState) -> bool:
    """No read of the broker has succeeded for too long: what it holds is anybody's guess."""
    config = state.config
    longest = timedelta(seconds=max(config.read_max_age_s, 4 * config.reconcile_interval_s))
    return state.broker_seen_at is None or state.clock - state.broker_seen_at > longest


def _session_denial(state: CoreState) -> Denial | None:
    if state.session is None or state.account is None:
        return Denial("SESSION_NOT_STARTED", "no session has started")
    if state.stopping is not None:
        return Denial("SESSION_STOPPING", f"a stop was requested ({state.stopping})")
    if not state.ready:
        return Denial("SESSION_NOT_RECONCILED", "the broker has not been read since the session or its stream (re)started")
    if is_broker_stale(state):
        return Denial("SESSION_BROKER_STALE", f"the broker last answered a read at {state.broker_seen_at}")
    if state.trading is TradingState.HALTED:
        return Denial("STATE_HALTED", state.halted or "the broker blocks trading in this account")
    if state.reducing:
        return Denial("STATE_REDUCING", state.reducing)
    return _hours_denial(state)


def _hours_denial(state: CoreState) -> Denial | None:
    config = state.config
    if not state.market_open:
        return None if config.entries_when_closed else Denial("SESSION_CLOSED", f"the market opens at {state.next_open}")
    left = timedelta(seconds=config.no_entry_before_close_s)
    if left and state.next_close is not None and state.clock > state.next_close - left:
        return Denial("SESSION_CLOSING", f"the session ends at {state.next_close}, no entries in its last {left}")
    return None


def _signal_denial(state: CoreState, signal: Signal) -> Denial | None:
    numbers = (signal.lower, signal.probability, signal.upper, signal.payoff, signal.payoff_error, signal.volatility)
    if not all(math.isfinite(number) for number in numbers):
        return Denial("SIGNAL_NOT_FINITE", f"expected finite numbers, was {numbers}")
    if not 0.0 <= signal.lower <= signal.probability <= signal.upper <= 1.0:
        bounds = f"{signal.lower}, {signal.probability}, {signal.upper}"
        return Denial("SIGNAL_BOUNDS", f"expected 0 <= lower <= probability <= upper <= 1, was {bounds}")
    if signal.side is Side.SELL and not state.config.allow_short:
        return Denial("SIDE_SHORT_DISABLED", "short entries are switched off")
    ahead = [signal.stop_price, signal.reference_price, signal.target_price]
    if signal.side is Side.SELL:
        ahead.reverse()
    if not Decimal(0) < ahead[0] < ahead[1] < ahead[2]:
        return Denial("SIGNAL_PRICES", f"stop {signal.stop_price}, price {signal.reference_price}, target {signal.target_price}")
    if signal.decision_time > state.clock + CLOCK_SKEW:
        return Denial("SIGNAL_FROM_FUTURE", f"decided at {signal.decision_time}, it is {state.clock}")
    if not signal_is_fresh(state, signal.symbol):
        return Denial("SIGNAL_STALE", f"decided at {signal.decision_time}, older than {state.config.signal_max_age_s} s")
    return None


def _symbol_denial(state: CoreState, symbol: str, side: Side) -> Denial | None:
    live = state.live_orders(symbol)
    if any(order.is_unsettled for order in live):
        return Denial("SYMBOL_ORDER_UNKNOWN", "the broker has not answered for an earlier order")
    if symbol in state.exits:
        return Denial("SYMBOL_EXITING", f"on its way out ({state.exits[symbol].reason})")
    if symbol in state.positions:
        return Denial("SYMBOL_POSITION_OPEN", f"{state.positions[symbol].qty} shares are held")
    if live:
        return Denial("SYMBOL_ORDER_OPEN", f"order {live[0].request.client_order_id} is open")
    asset = state.assets.get(symbol)
    if asset is not None and not asset.tradable:
        return Denial("SYMBOL_NOT_TRADABLE", asset.detail or "the broker says the asset may not be traded")
    if asset is not None and side is Side.SELL and not (asset.shortable and asset.easy_to_borrow):
        return Denial("SYMBOL_NOT_SHORTABLE", "the broker says the asset may not be sold short, or is hard to borrow")
    if symbol in state.excluded:
        return Denial("SYMBOL_EXCLUDED", state.excluded[symbol])
    if symbol in state.parents:
        return Denial("SYMBOL_PARENT_OPEN", f"a parent order of {state.parents[symbol].order.qty} shares is being worked")
    if any(stranger.order.symbol == symbol for stranger in state.strangers.values()):
        return Denial("SYMBOL_FOREIGN_ORDER", "an order this core did not send rests in the symbol")
    return None


def _price_denial(state: CoreState, signal: Signal) -> Denial | None:
    mark = state.marks.get(signal.symbol, signal.reference_price)
    seen = state.marked_at.get(signal.symbol, signal.decision_time)  # without a price of its own the signal's is the last one
    if state.clock - seen > timedelta(seconds=state.config.price_max_age_s):
        return Denial("PRICE_STALE", f"the last price is of {seen}, older than {state.config.price_max_age_s} s")
    moved = abs(float(mark / signal.reference_price) - 1.0)
    if moved > state.config.price_collar:
        return Denial("PRICE_COLLAR", f"last price {mark} is {moved:.1%} away from the signal's {signal.reference_price}")
    beyond = not min(signal.stop_price, signal.target_price) < mark < max(signal.stop_price, signal.target_price)
    return Denial("PRICE_BEYOND_BARRIER", f"last price {mark} is outside stop and target") if beyond else None
