"""From a signal to a bracket order, or to a coded denial. One decision becomes at most one live order."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from alphatrade_pipelines.risk import Denial, PositionSize, size_position
from alphatrade_pipelines.risk.limits import Book, Claim, check_entry
from alphatrade_pipelines.trading.applying import DUPLICATE
from alphatrade_pipelines.trading.checks import entry_denial, is_broker_stale
from alphatrade_pipelines.trading.commands import Command
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, Side, Signal, StopPolicy, TimeInForce
from alphatrade_pipelines.trading.events import EntryDenied, Event, OrderIntended
from alphatrade_pipelines.trading.exits import cancel_group
from alphatrade_pipelines.trading.ids import client_order_id, decision_id
from alphatrade_pipelines.trading.parent_state import unsent
from alphatrade_pipelines.trading.parents import entry_parent, open_parent
from alphatrade_pipelines.trading.protection import partial_entry_waited
from alphatrade_pipelines.trading.state import CoreState, TradingState

Item = Event | Command


def consider_signal(state: CoreState, signal: Signal) -> Iterator[Item]:
    """The answer to a signal: a write-ahead bracket intent, or the reason why not."""
    decided = state.decided.get(signal.symbol)
    if decided is not None and signal.decision_time <= decided:
        yield _denied(state, signal, Denial(DUPLICATE, f"a decision of {decided} was already acted upon"))
        return
    denial = entry_denial(state, signal)
    if denial is not None:
        yield _denied(state, signal, denial)
        return
    size = _sized(state, signal)
    denial = _size_denial(state, signal, size)
    if denial is not None:
        yield _denied(state, signal, denial)
        return
    decision = decision_id(state.config.strategy, signal.model_version, signal.symbol, signal.decision_time)
    parent = entry_parent(state, signal.symbol, size.qty, decision)
    if parent is None:
        yield _bracket(state, signal, size.qty, 0)
    else:
        yield from open_parent(state, parent)


def retry_entry(state: CoreState, symbol: str) -> Iterator[Item]:
    """Try a refused entry again once its pause is over, if every check still passes."""
    retry = state.entry_retries.get(symbol)
    if retry is None or state.clock < retry.not_before or is_broker_stale(state):
        return  # after a night the read asked for at the same tick is still on its way
    signal = state.signals[symbol]
    denial = entry_denial(state, signal) or _limit_denial(state, signal, retry.qty, counted=True)
    yield _denied(state, signal, denial) if denial else _bracket(state, signal, retry.qty, retry.attempt, retry.stop, retry.target)


def withdraw_entries(state: CoreState, symbol: str) -> Iterator[Item]:
    """Cancel what is left of entries that may not go on: the session stops or is halted, a partial fill waited too long, or a split
    made another order of it (the same number of shares at another price)."""
    halted = state.trading is TradingState.HALTED
    reason = "stop" if state.stopping in (StopPolicy.PROTECT, StopPolicy.FLATTEN) else "halted" if halted else ""
    if not reason and partial_entry_waited(state, symbol):
        reason = "partial_entry"
    for order in state.live_orders(symbol):
        if (reason or order.outdated) and order.remaining_entry and order.parent_live:
            yield from cancel_group(state, order, reason or "split")


def exposure(state: CoreState, symbol: str) -> Book:
    """What is held or on its way at the last known prices; entries count with all that may still fill."""
    equity = state.account.equity if state.account is not None else Decimal(0)
    gross, net, own = Decimal(0), Decimal(0), Decimal(0)
    names = {*state.positions}
    for name, held in state.positions.items():
        value = held.qty * state.marks.get(name, held.avg_price)
        gross, net, own = gross + abs(value), net + value, own + (abs(value) if name == symbol else 0)
    for name in state.entering:
        for order in state.live_orders(name):
            if coming := order.remaining_entry:
                value = coming * _price(state, name)
                names.add(name)
                net += value if order.request.side is Side.BUY else -value
                gross, own = gross + value, own + (value if name == symbol else 0)
    for name, parent in state.parents.items():
        if coming := unsent(state, name):
            value = coming * _price(state, name)
            names.add(name)
            net += value if parent.order.side is Side.BUY else -value
            gross, own = gross + value, own + (value if name == symbol else 0)
    return Book(gross, net, own, len(names), equity)


def _price(state: CoreState, symbol: str) -> Decimal:
    signal = state.signals.get(symbol)
    return state.marks.get(symbol) or (signal.reference_price if signal else Decimal(0))


def _sized(state: CoreState, signal: Signal) -> PositionSize:
    assert state.account is not None  # entry_denial has refused otherwise
    return size_position(
        lower=signal.lower,
        payoff=signal.payoff,
        payoff_error=signal.payoff_error,
        price=state.marks.get(signal.symbol, signal.reference_price),
        stop=signal.stop_price,
        equity=state.account.equity,
        volatility=signal.volatility,
        record=state.record,
        config=state.config.sizing,
    )


def _size_denial(state: CoreState, signal: Signal, size: PositionSize) -> Denial | None:
    if size.qty <= 0:
        used = f"p {size.probability:.4f}, b {size.payoff:.4f}, Kelly {size.kelly:.4f}"
        return Denial(f"SIZE_{size.binding.upper()}", used)
    return _limit_denial(state, signal, size.qty, counted=False)


def _limit_denial(state: CoreState, signal: Signal, qty: Decimal, *, counted: bool) -> Denial | None:
    """The limit or the lack of funds that forbids these shares now; ``counted``: they are tried again."""
    assert state.account is not None
    value = qty * _price(state, signal.symbol)
    claim = Claim(signal.symbol, qty, value, 1 if signal.side is Side.BUY else -1, signal.volatility, counted)
    limited = check_entry(state.limits, state.config.limits, claim, exposure(state, signal.symbol))
    if limited is not None:
        return limited
    free = state.account.buying_power - _value_since_account(state)
    return Denial("FUNDS_BUYING_POWER", f"{value:.2f} needed, {free:.2f} free") if value > free else None


def _value_since_account(state: CoreState) -> Decimal:
    """Entries intended at or after the last look at the account, which it therefore may not have deducted."""
    total = Decimal(0)
    for symbol in state.entering:
        for order in state.live_orders(symbol):
            if state.account_at is not None and order.intended_at >= state.account_at:
                total += order.remaining_entry * _price(state, symbol)
    return total + sum((unsent(state, symbol) * _price(state, symbol) for symbol in state.parents), Decimal(0))


def _bracket(
    state: CoreState, signal: Signal, qty: Decimal, attempt: int, stop: Decimal | None = None, target: Decimal | None = None
) -> OrderIntended:
    decision = decision_id(state.config.strategy, signal.model_version, signal.symbol, signal.decision_time)
    request = OrderRequest(
        client_order_id=client_order_id(decision, signal.symbol, signal.decision_time, "entry", attempt),
        symbol=signal.symbol,
        side=signal.side,
        qty=qty,
        kind=OrderKind.MARKET,
        order_class=OrderClass.BRACKET,
        time_in_force=TimeInForce.GTC,
        take_profit=target or signal.target_price,
        stop_loss=stop or signal.stop_price,
    )
    return OrderIntended(state.clock, request, "entry", decision, attempt)


def _denied(state: CoreState, signal: Signal, denial: Denial) -> EntryDenied:
    decision = decision_id(state.config.strategy, signal.model_version, signal.symbol, signal.decision_time)
    return EntryDenied(state.clock, signal.symbol, decision, denial.code, denial.detail)
