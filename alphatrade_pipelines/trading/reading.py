"""What ``apply`` makes of one read of the broker: executions, orders, account, and what all of it says that we should have known."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from alphatrade_pipelines.risk import limits as risk_limits
from alphatrade_pipelines.trading import positions
from alphatrade_pipelines.trading.domain import AccountState, BrokerOrder
from alphatrade_pipelines.trading.events import BrokerSeen
from alphatrade_pipelines.trading.orders import contradicts
from alphatrade_pipelines.trading.sighting import find_closing, forget_absent, index_all, owner_of, see_order
from alphatrade_pipelines.trading.state import FILLS_OVERLAP, CoreState, Drift

# Alpaca's activity feed may lag the stream; a fill it still does not list after this long is in doubt
HISTORY_LAG = timedelta(seconds=60)


def read_broker(state: CoreState, event: BrokerSeen) -> None:
    """Merge one read. Differences are noted in ``state.drift``; reconciliation.py names them."""
    settled = event.began - timedelta(seconds=state.config.activity_guard_s)
    state.counted, state.drift, state.contradicted = [], [], {}
    _count_history(state, event, settled)
    for order in event.orders:
        _merge_order(state, order, event.began)
    forget_absent(state, event)
    find_closing(state, event)
    held = {item.symbol: item.qty for item in event.positions}
    for symbol in state.live:
        mine = state.positions.get(symbol)
        if (mine.qty if mine else 0) == held.get(symbol, 0) and state.is_quiet(symbol, event.began):
            if not event.fills_known and state.has_uncounted_fills(symbol):
                state.adopted[symbol] = state.clock  # the broker's word stands in for executions that it may list later
            positions.settle_fills(state, symbol)
    state.look_again_at = _look_again(state, event, held)
    index_all(state)
    see_account(state, event.account, event.began)
    state.broker_seen_at = event.at
    if event.fills_known:
        state.fills_from = event.began - FILLS_OVERLAP
    state.ready = not state.stream_lost


def _look_again(state: CoreState, event: BrokerSeen, held: dict[str, Decimal]) -> datetime | None:
    """When to read once more: a position differs from ours, and what moved around this read forbids to conclude anything. An order whose
    fate is open is asked for by name anyway, and its answer moves the symbol again."""
    for symbol in {*held, *state.positions}:
        mine = state.positions.get(symbol)
        if (mine.qty if mine else Decimal(0)) == held.get(symbol, Decimal(0)) or state.is_quiet(symbol, event.began):
            continue
        if not any(order.is_unsettled for order in state.live_orders(symbol)):
            return state.clock + timedelta(seconds=state.config.activity_guard_s + 1.0)
    return None


def see_account(state: CoreState, account: AccountState, at: datetime) -> None:
    """The account as the broker reports it; what was sent from ``at`` on may not be in it."""
    if account.trading_blocked and not (state.account is not None and state.account.trading_blocked):
        state.blocked_at = state.clock
    state.account, state.account_at = account, at
    risk_limits.record_equity(state.limits, account.equity, state.config.limits)


def _count_history(state: CoreState, event: BrokerSeen, settled: datetime) -> None:
    for execution in event.executions:
        key = positions.execution_key(execution)
        state.unread.pop(key, None)
        if positions.count_execution(state, execution) and execution.at < settled and execution.broker_id in state.by_broker:
            state.drift.append(Drift("missed_fill", execution.symbol, execution.execution_id, "counted"))
    for key, execution in list(state.unread.items()) if event.fills_known else ():
        if event.fills_since < execution.at < event.began - HISTORY_LAG:
            del state.unread[key]
            state.drift.append(Drift("unconfirmed_fill", execution.symbol, execution.execution_id, "report"))


def _merge_order(state: CoreState, seen: BrokerOrder, began: datetime) -> None:
    cid = owner_of(state, seen)
    order = state.orders[cid] if cid is not None else None
    was_open = order is not None and order.is_open and not order.is_unsettled
    quiet = state.is_quiet(seen.symbol, began)
    settled = began - timedelta(seconds=state.config.activity_guard_s)
    if cid is not None and order is not None and contradicts(order, seen, settled):
        state.contradicted[cid] = None
    see_order(state, seen, nested=True)
    if order is None or not was_open or not quiet or order.is_open or (order.status == "filled" and not order.legs):
        return
    if not any(drift.kind == "missed_fill" and drift.symbol == seen.symbol for drift in state.drift):
        detail = f"{order.request.client_order_id} is {order.status}"
        state.drift.append(Drift("missed_end", seen.symbol, detail, "closed"))
