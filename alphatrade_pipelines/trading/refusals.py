"""What a refusal leaves in memory: when an entry may be tried again and how, when an exit takes its next step, how often protection failed.

Part of ``apply``: nothing is decided here, the strategies of rejections.py are only looked up and written down.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from alphatrade_pipelines.trading.orders import LocalOrder
from alphatrade_pipelines.trading.rejections import (
    PASSING,
    Cure,
    Rejection,
    base_price,
    price_increment,
    rounded_to_lot,
    strategy,
)
from alphatrade_pipelines.trading.state import CoreState, EntryRetry, Repair

CENT = Decimal("0.01")


def entry_refused(
    state: CoreState, order: LocalOrder, rejection: Rejection, reason: str, retry_after_s: float | None, *, denied: bool
) -> EntryRetry | None:
    """The next attempt of a refused entry; None when it is given up."""
    plan = strategy(rejection)
    limit = plan.attempts if plan.attempts is not None else state.config.max_entry_attempts
    build = _CURES.get(plan.cure)
    if denied or build is None or order.attempt + 1 >= limit:
        return None
    retry = build(state, order, reason, retry_after_s)
    return retry if retry is not None and retry.qty >= max(state.config.min_entry_qty, 1) else None


def protection_refused(state: CoreState, order: LocalOrder, rejection: Rejection, retry_after_s: float | None = None) -> None:
    """One more failed attempt to protect; ``beyond`` when the broker says the market is past the stop or the target."""
    symbol = order.request.symbol
    attempts = state.repairs[symbol].attempts + 1 if symbol in state.repairs else 1
    state.repairs[symbol] = Repair(attempts, _later(state, attempts, retry_after_s), beyond=rejection is Rejection.PRICE)


def trim_refused(state: CoreState, order: LocalOrder, rejection: Rejection, retry_after_s: float | None = None) -> None:
    """A fraction the broker does not take: after some attempts, at once when it is too small, it is left where it is (dust)."""
    symbol = order.request.symbol
    attempts = state.dust[symbol].attempts + 1 if symbol in state.dust else 1
    if rejection is Rejection.TOO_SMALL:
        attempts = max(attempts, state.config.attempts_before_alarm)
    state.dust[symbol] = Repair(attempts, _later(state, attempts, retry_after_s))


def exit_refused(state: CoreState, symbol: str, rejection: Rejection, retry_after_s: float | None) -> None:
    """When the exit takes its next step. Refusals that will pass by themselves climb no rung of the ladder."""
    saga = state.exits.get(symbol)
    if saga is None:
        return
    if rejection not in PASSING:
        saga.refusals += 1
    saga.next_try = _exit_pause(state, saga.attempts, rejection, retry_after_s)


def _exit_pause(state: CoreState, attempts: int, rejection: Rejection, retry_after_s: float | None) -> datetime:
    if rejection is Rejection.MARKET_CLOSED and not state.market_open and state.next_open is not None:
        return state.next_open
    if rejection is Rejection.RATE_LIMITED:
        return _later(state, attempts, retry_after_s)
    return state.clock + timedelta(seconds=state.config.exit_backoff_s(attempts, len(state.exits)))


def _later(state: CoreState, attempts: int, retry_after_s: float | None) -> datetime:
    wait = state.config.backoff_s(attempts) if retry_after_s is None else min(retry_after_s, state.config.retry_after_longest_s)
    return state.clock + timedelta(seconds=wait)


def _again(state: CoreState, order: LocalOrder, qty: Decimal | None = None, wait_s: float | None = None) -> EntryRetry:
    attempt = order.attempt + 1
    pause = state.config.backoff_s(attempt) if wait_s is None else wait_s
    request = order.request
    return EntryRetry(
        request.qty if qty is None else qty, attempt, state.clock + timedelta(seconds=pause), request.stop_loss, request.take_profit
    )


def _halve(state: CoreState, order: LocalOrder, reason: str, retry_after_s: float | None) -> EntryRetry:
    return _again(state, order, (order.request.qty / 2).to_integral_value(ROUND_FLOOR), 0.0)


def _wait(state: CoreState, order: LocalOrder, reason: str, retry_after_s: float | None) -> EntryRetry:
    halted = "halt" in reason.lower()
    return _again(state, order, wait_s=state.config.halt_retry_s if halted else None)


def _back_off(state: CoreState, order: LocalOrder, reason: str, retry_after_s: float | None) -> EntryRetry:
    retry = _again(state, order)
    retry.not_before = _later(state, order.attempt + 1, retry_after_s)
    return retry


def _queue(state: CoreState, order: LocalOrder, reason: str, retry_after_s: float | None) -> EntryRetry:
    """For the next open; whether the signal is still fresh then, the checks will say."""
    retry = _again(state, order)
    if not state.market_open and state.next_open is not None:
        retry.not_before = state.next_open
    return retry


def _round_lot(state: CoreState, order: LocalOrder, reason: str, retry_after_s: float | None) -> EntryRetry:
    return _again(state, order, rounded_to_lot(order.request.qty), 0.0)


def _round_price(state: CoreState, order: LocalOrder, reason: str, retry_after_s: float | None) -> EntryRetry | None:
    """Stop and target on the grid, which for prices of a dollar and more is whole cents."""
    retry = _again(state, order, wait_s=0.0)
    if retry.stop is None or retry.target is None:
        return None
    stop, target = (price.quantize(price_increment(price)) for price in (retry.stop, retry.target))
    if (stop, target) == (retry.stop, retry.target):
        return None
    retry.stop, retry.target = stop, target
    return retry


def _requote(state: CoreState, order: LocalOrder, reason: str, retry_after_s: float | None) -> EntryRetry | None:
    """The market moved: stop and target keep their distances, in fractions, from the price the broker measured against. A base beyond
    stop or target, or further off than the collar, ends the idea instead."""
    signal, base = state.signals[order.request.symbol], base_price(reason) or state.marks.get(order.request.symbol)
    retry = _again(state, order, wait_s=0.0)
    if base is None or retry.stop is None or retry.target is None:
        return None
    inside = min(retry.stop, retry.target) < base < max(retry.stop, retry.target)
    if not inside or abs(base / signal.reference_price - 1) > Decimal(repr(state.config.price_collar)):
        return None
    stop, target = ((price * base / signal.reference_price).quantize(CENT) for price in (signal.stop_price, signal.target_price))
    if (stop, target) == (retry.stop, retry.target):
        return None
    retry.stop, retry.target = stop, target
    return retry


_Build = Callable[[CoreState, LocalOrder, str, "float | None"], "EntryRetry | None"]
_CURES: dict[Cure, _Build] = {
    Cure.HALVE: _halve,
    Cure.QUEUE: _queue,
    Cure.ROUND_LOT: _round_lot,
    Cure.ROUND_PRICE: _round_price,
    Cure.REQUOTE: _requote,
    Cure.WAIT: _wait,
    Cure.BACK_OFF: _back_off,
}
