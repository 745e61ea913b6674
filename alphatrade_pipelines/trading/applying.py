"""``apply``: the only place where the core's state changes. Events in, memory out; no decision is taken here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from alphatrade_pipelines.risk import limits as risk_limits
from alphatrade_pipelines.trading import positions
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import (
    AccountState,
    BrokerOrder,
    OrderClass,
    OrderKind,
    OrderRequest,
    Side,
    StopPolicy,
    TimeInForce,
)
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    BrokerSeen,
    CancelEnded,
    CancelIntended,
    ClockTicked,
    CloseEnded,
    CloseIntended,
    CorporateActionApplied,
    DiscrepancyFound,
    EntryDenied,
    Event,
    GapLossRecorded,
    JournalStateSeen,
    ModelSwapped,
    OperatorAsked,
    OrderIntended,
    OrderProbed,
    OrderUpdated,
    Outcome,
    PriceSeen,
    ProtectionBreached,
    ReplaceEnded,
    ReplaceIntended,
    SessionEnded,
    SessionStarted,
    SignalReceived,
    StopAsked,
    StreamStateSeen,
    SubmitEnded,
)
from alphatrade_pipelines.trading.ids import EXIT_REASON, exit_decision, exit_reason
from alphatrade_pipelines.trading.orders import Amendment, LocalOrder, Phase, is_leg, observe, observe_leg
from alphatrade_pipelines.trading.rejections import Cure, Rejection, classify, cure
from alphatrade_pipelines.trading.resending import still_wanted
from alphatrade_pipelines.trading.state import FILLS_OVERLAP, CoreState, EntryRetry, ExitSaga, Plan, Repair, Session, Stranger

LOST = "the broker no longer knows it"
ABSENCES_TO_GIVE_UP = 2


def apply(state: CoreState, event: Event) -> None:
    """Change ``state`` by one event. The same events in the same order always give the same state."""
    if state.now is None or event.at > state.now:
        state.now = event.at
    _HANDLERS[type(event)](state, event)


def _session_started(state: CoreState, event: SessionStarted) -> None:
    state.config = CoreConfig.from_json(event.config)
    state.session = Session(event.run_id, event.mode, event.model, event.at)
    state.ready, state.stream_lost, state.stopping = False, False, None
    state.leaving = "" if state.leaving == "stop" else state.leaving
    state.fills_from = state.fills_from or event.at
    state.activity.clear()
    for symbol in list(state.live):
        for order in state.live_orders(symbol):
            if order.phase is Phase.INTENDED:  # the last run died between its intent and the broker's answer
                order.phase = Phase.UNKNOWN
            order.cancel_asked_at = None
            if order.amendment is not None:
                order.amendment.unknown = True
    _see_account(state, event.account)


def _session_ended(state: CoreState, event: SessionEnded) -> None:
    state.ready = False


def _clock_ticked(state: CoreState, event: ClockTicked) -> None:
    state.market_open, state.next_open, state.next_close = event.market_open, event.next_open, event.next_close
    risk_limits.begin_session(state.limits, event.next_close.date().isoformat())


def _price_seen(state: CoreState, event: PriceSeen) -> None:
    state.marks[event.symbol] = event.price


def _corporate_action(state: CoreState, event: CorporateActionApplied) -> None:
    key = f"{event.symbol}|{event.at.date().isoformat()}"
    if key in state.actions:
        return
    state.actions[key] = None
    if event.split != 1:
        positions.split(state, event.symbol, event.split)


def _signal_received(state: CoreState, event: SignalReceived) -> None:
    state.signals[event.signal.symbol] = event.signal
    risk_limits.record_volatility(state.limits, event.signal.symbol, event.signal.volatility)


def _account_seen(state: CoreState, event: AccountSeen) -> None:
    _see_account(state, event.account)


def _order_intended(state: CoreState, event: OrderIntended) -> None:
    request, symbol = event.request, event.request.symbol
    known = state.orders.get(request.client_order_id)
    if known is not None:  # the broker provably lacked it: the same order is sent again under the same name
        known.phase, known.sends, known.unsent = Phase.INTENDED, known.sends + 1, False
        known.next_try = event.at + timedelta(seconds=state.config.backoff_s(known.sends))
        _index(state, known)
        return
    order = LocalOrder(request, event.purpose, event.decision_id, event.attempt, event.at)
    state.orders[request.client_order_id] = order
    state.intents[symbol] = state.intents.get(symbol, 0) + 1
    if event.purpose == "entry":
        _plan_entry(state, event)
    if event.purpose == "exit":
        saga = state.exits.setdefault(symbol, ExitSaga(exit_reason(event.decision_id), event.at))
        saga.attempts += 1
    _index(state, order)


def _plan_entry(state: CoreState, event: OrderIntended) -> None:
    request, signal = event.request, state.signals[event.request.symbol]
    state.entry_retries.pop(request.symbol, None)
    if event.attempt == 0:
        risk_limits.record_entry(state.limits)
    state.decided[request.symbol] = signal.decision_time
    stop, target = request.stop_loss or signal.stop_price, request.take_profit or signal.target_price
    state.plans[request.symbol] = Plan(event.decision_id, request.side, stop, target, signal.hold_until, signal.probability)


def _cancel_intended(state: CoreState, event: CancelIntended) -> None:
    cid = state.by_broker.get(event.broker_id)
    if cid is not None:
        state.orders[cid].cancel_asked_at = event.at
    elif event.broker_id in state.strangers:
        state.strangers[event.broker_id].cancel_asked_at = event.at
    if event.reason.startswith(EXIT_REASON):
        state.exits.setdefault(event.symbol, ExitSaga(exit_reason(event.reason), event.at))


def _replace_intended(state: CoreState, event: ReplaceIntended) -> None:
    order = state.orders[event.root]
    order.amendment = Amendment(event.client_order_id, event.broker_id, event.at, event.qty, event.limit_price, event.stop_price)
    state.aliases[event.client_order_id] = event.root
    state.intents[event.symbol] = state.intents.get(event.symbol, 0) + 1
    _index(state, order)


def _close_intended(state: CoreState, event: CloseIntended) -> None:
    saga = state.exits.setdefault(event.symbol, ExitSaga(exit_reason(event.decision_id), event.at))
    saga.attempts, saga.closing = saga.attempts + 1, event.at
    state.intents[event.symbol] = state.intents.get(event.symbol, 0) + 1


def _submit_ended(state: CoreState, event: SubmitEnded) -> None:
    order = state.orders[event.client_order_id]
    if event.order is not None:
        _see_order(state, event.order, nested=True)
    elif not order.is_unsettled:
        return  # an update was faster than the answer, and it knows more
    elif event.outcome is Outcome.UNKNOWN or event.outcome is Outcome.CONFIRMED:
        order.phase = Phase.UNKNOWN
    elif event.outcome is Outcome.UNSENT:
        order.phase, order.unsent = Phase.UNKNOWN, True
        order.next_try = state.clock + timedelta(seconds=state.config.backoff_s(order.sends))
    else:
        _refused(state, order, event)
    _index(state, order)


def _refused(state: CoreState, order: LocalOrder, event: SubmitEnded) -> None:
    rejection = classify(event.http_status, event.code, event.reason)
    if rejection is Rejection.DUPLICATE_ID:  # it is there already: ask for it
        order.phase = Phase.UNKNOWN
        return
    order.phase, order.reason = Phase.REFUSED, f"{rejection}: {event.reason}"
    if rejection is Rejection.ACCOUNT:
        state.halted = f"the broker refuses this account: {event.reason}"
    _after_refusal(state, order, rejection, denied=event.outcome is Outcome.DENIED)


def _after_refusal(state: CoreState, order: LocalOrder, rejection: Rejection, *, denied: bool) -> None:
    symbol, config, now = order.request.symbol, state.config, state.clock
    if order.purpose == "entry":
        remedy = Cure.GIVE_UP if denied or order.attempt + 1 >= config.max_entry_attempts else cure(rejection)
        qty = (order.request.qty / 2).to_integral_value(rounding="ROUND_FLOOR") if remedy is Cure.HALVE else order.request.qty
        if remedy is not Cure.GIVE_UP and qty >= 1:
            wait = 0.0 if remedy is Cure.HALVE else config.backoff_s(order.attempt + 1)
            state.entry_retries[symbol] = EntryRetry(qty, order.attempt + 1, now + timedelta(seconds=wait))
        else:
            _drop_plan(state, order)
    elif order.purpose == "protect":
        attempts = state.repairs[symbol].attempts + 1 if symbol in state.repairs else 1
        next_try = now + timedelta(seconds=config.backoff_s(attempts))
        state.repairs[symbol] = Repair(attempts, next_try, beyond=rejection is Rejection.PRICE)
    elif symbol in state.exits:
        saga = state.exits[symbol]
        saga.next_try = now + timedelta(seconds=config.backoff_s(saga.attempts))


def _cancel_ended(state: CoreState, event: CancelEnded) -> None:
    """The request's fate alone says nothing about the order; updates and reads do."""


def _replace_ended(state: CoreState, event: ReplaceEnded) -> None:
    order = state.orders[state.aliases[event.client_order_id]]
    asked = order.amendment
    if event.order is not None:
        _see_order(state, event.order, nested=False)
    elif asked is None or asked.client_order_id != event.client_order_id:
        return  # an update was faster than the answer
    elif event.outcome in (Outcome.UNKNOWN, Outcome.CONFIRMED) or _is_duplicate(event):
        asked.unknown = True
    else:
        _amendment_failed(state, order)
    _index(state, order)


def _amendment_failed(state: CoreState, order: LocalOrder) -> None:
    order.amendment, order.amend_refusals = None, order.amend_refusals + 1
    order.amend_after = state.clock + timedelta(seconds=state.config.backoff_s(order.amend_refusals))


def _is_duplicate(event: SubmitEnded | ReplaceEnded) -> bool:
    return classify(event.http_status, event.code, event.reason) is Rejection.DUPLICATE_ID


def _close_ended(state: CoreState, event: CloseEnded) -> None:
    saga = state.exits.get(event.symbol)
    if event.order is not None:
        _adopt_closing(state, event.order)
    if saga is None or event.outcome is Outcome.UNKNOWN:
        return  # the next read shows the closing order, or that there is none
    saga.closing = None
    if event.order is None:
        saga.next_try = state.clock + timedelta(seconds=state.config.backoff_s(saga.attempts))


def _adopt_closing(state: CoreState, seen: BrokerOrder) -> None:
    """The broker made this order at our request: from now on it is an exit order of ours, under the broker's name for it."""
    if _ours(state, seen) is None:
        plan = state.plans.get(seen.symbol)
        request = OrderRequest(seen.client_order_id, seen.symbol, seen.side, seen.qty, OrderKind.MARKET, OrderClass.SIMPLE, TimeInForce.DAY)
        saga = state.exits.get(seen.symbol)
        decision = exit_decision(saga.reason if saga else "close", plan.decision_id if plan else seen.symbol)
        state.orders[seen.client_order_id] = LocalOrder(request, "exit", decision, saga.attempts if saga else 0, state.clock)
        stranger = state.strangers.pop(seen.broker_id, None)
        if stranger is not None:
            _see_order(state, stranger.order, nested=True)
    _see_order(state, seen, nested=True)


def _find_closing(state: CoreState, event: BrokerSeen) -> None:
    """A request to close that was never answered: an exit at market that nobody knows is it; otherwise it never arrived."""
    for symbol, saga in state.exits.items():
        if saga.closing is None or event.began <= saga.closing:
            continue
        held = state.positions.get(symbol)
        side = Side.BUY if held is not None and held.qty < 0 else Side.SELL
        for stranger in [item.order for item in state.strangers.values() if item.order.symbol == symbol]:
            if stranger.side is side and stranger.kind == OrderKind.MARKET.value:
                _adopt_closing(state, stranger)
        saga.closing = None


def _order_probed(state: CoreState, event: OrderProbed) -> None:
    root = state.aliases.get(event.client_order_id)
    order = state.orders.get(root or event.client_order_id)
    if event.order is not None:
        _see_order(state, event.order, nested=True)
    elif order is not None and root is not None:
        asked = order.amendment
        if event.outcome is Outcome.REFUSED and asked is not None and asked.client_order_id == event.client_order_id:
            _amendment_failed(state, order)
    elif order is not None and event.outcome is Outcome.REFUSED and order.is_unsettled:
        order.phase, order.absences = Phase.UNKNOWN, order.absences + 1
        enough = 1 if order.unsent else ABSENCES_TO_GIVE_UP
        if order.absences >= enough and not still_wanted(state, order):
            order.phase, order.reason = Phase.ABSENT, "the broker never received it"
            _drop_plan(state, order)
    elif order is not None and event.outcome is Outcome.REFUSED and order.is_open:
        _close_as_lost(order)
    if order is not None:
        _index(state, order)


def _drop_plan(state: CoreState, order: LocalOrder) -> None:
    """An entry ended: without a position there is nothing left to plan or to leave."""
    if order.purpose == "entry" and order.request.symbol not in state.positions and not order.filled_qty:
        state.plans.pop(order.request.symbol, None)
        state.exits.pop(order.request.symbol, None)


def _close_as_lost(order: LocalOrder) -> None:
    order.phase, order.reason = Phase.ABSENT, LOST
    for leg in order.legs.values():
        leg.status = "canceled" if leg.is_live else leg.status


def _order_updated(state: CoreState, event: OrderUpdated) -> None:
    state.activity[event.order.symbol] = event.at
    if event.execution is not None:
        positions.count_execution(state, event.execution)
    _see_order(state, event.order, nested=False)


def _broker_seen(state: CoreState, event: BrokerSeen) -> None:
    settled = event.began - timedelta(seconds=state.config.activity_guard_s)
    state.missed = []
    for execution in event.executions:
        if positions.count_execution(state, execution) and execution.at < settled:
            state.missed.append(f"{execution.symbol} {execution.execution_id}")
    for order in event.orders:
        _see_order(state, order, nested=True)
    _find_closing(state, event)
    held = {item.symbol: item.qty for item in event.positions}
    for symbol in state.live:
        mine = state.positions.get(symbol)
        if (mine.qty if mine else 0) == held.get(symbol, 0) and state.activity.get(symbol, settled) <= settled:
            positions.settle_fills(state, symbol)
    _see_account(state, event.account)
    state.broker_seen_at, state.fills_from = event.at, event.began - FILLS_OVERLAP
    state.ready = not state.stream_lost


def _discrepancy(state: CoreState, event: DiscrepancyFound) -> None:
    if event.action == "adopt" and event.qty is not None:
        positions.adopt(state, event.symbol, event.qty, event.price or Decimal(0), event.at)
    if event.kind == "unknown_order" and event.detail in state.strangers:
        state.strangers[event.detail].reported = True


def _entry_denied(state: CoreState, event: EntryDenied) -> None:
    if state.entry_retries.pop(event.symbol, None) and event.symbol not in state.positions:
        state.plans.pop(event.symbol, None)


def _recorded(state: CoreState, event: ProtectionBreached | GapLossRecorded) -> None:
    """A fact for people and reports; the core's memory has it already."""


def _stream_state(state: CoreState, event: StreamStateSeen) -> None:
    if event.name == "trade_updates":
        state.ready, state.stream_lost = False, not event.connected


def _model_swapped(state: CoreState, event: ModelSwapped) -> None:
    if state.session is not None:
        state.session.model = event.model


def _operator_asked(state: CoreState, event: OperatorAsked) -> None:
    if event.request in ("halt", "flatten"):
        state.halted = f"{event.who} asked to {event.request}"
    if event.request == "flatten":
        _leave_everything(state, "operator")
    if event.request == "resume":
        state.halted = state.leaving = ""
    if event.request == "reset_breakers":
        risk_limits.reset(state.limits)


def _stop_asked(state: CoreState, event: StopAsked) -> None:
    state.stopping = event.policy
    if event.policy is StopPolicy.FLATTEN:
        _leave_everything(state, "stop")


def _journal_state(state: CoreState, event: JournalStateSeen) -> None:
    """A journal that failed once is looked at by a person: the halt stays when it can be written again."""
    if not event.writable:
        state.halted = state.halted or f"journal cannot be written: {event.detail}"


def _leave_everything(state: CoreState, reason: str) -> None:
    state.leaving = reason
    for symbol in state.active_symbols():
        if symbol in state.positions or state.live_orders(symbol):
            state.exits.setdefault(symbol, ExitSaga(reason, state.clock))


def _see_account(state: CoreState, account: AccountState) -> None:
    state.account, state.account_at = account, state.clock
    risk_limits.record_equity(state.limits, account.equity, state.config.limits)


def _see_order(state: CoreState, seen: BrokerOrder, *, nested: bool) -> None:
    cid = _ours(state, seen)
    if cid is None:
        _see_stranger(state, seen)
        return
    order = state.orders[cid]
    was_waiting = not order.parent_live
    if is_leg(order, seen):
        observe_leg(order, seen, at=state.clock)
    else:
        observe(order, seen, nested=nested, at=state.clock)
    for broker_id in (seen.broker_id, seen.replaced_by, *(leg.broker_id for leg in seen.legs)):
        if broker_id:
            state.by_broker[broker_id] = cid
    if order.amend_refusals and order.amendment is None and order.amend_after is None:  # accepted first, rejected afterwards
        order.amend_after = state.clock + timedelta(seconds=state.config.backoff_s(order.amend_refusals))
    _adopt_strangers(state, order)
    if order.purpose == "entry" and order.filled_qty and order.part_filled_at is None:
        order.part_filled_at = state.clock
    if order.phase is Phase.CLOSED:
        _drop_plan(state, order)
    if order.purpose == "protect" and was_waiting and order.parent_live:  # accepted just now, not merely seen again
        state.repairs.pop(order.request.symbol, None)
    _index(state, order)


def _ours(state: CoreState, seen: BrokerOrder) -> str | None:
    if seen.client_order_id in state.orders:
        return seen.client_order_id
    if seen.client_order_id in state.aliases:
        return state.aliases[seen.client_order_id]
    return state.by_broker.get(seen.broker_id) or (state.by_broker.get(seen.replaces) if seen.replaces else None)


def _see_stranger(state: CoreState, seen: BrokerOrder) -> None:
    known = state.strangers.get(seen.broker_id)
    if not seen.is_live:
        state.strangers.pop(seen.broker_id, None)
    elif known is None:
        state.strangers[seen.broker_id] = Stranger(seen)
    else:
        known.order = seen


def _adopt_strangers(state: CoreState, order: LocalOrder) -> None:
    """Updates of a leg, or of what replaced something of ours, may come before anybody told whose they are."""
    successors = [link.replaced_by for group in (order.chain, order.legs) for link in group.values() if link.replaced_by]
    for broker_id in (*order.legs, *successors):
        stranger = state.strangers.pop(broker_id, None)
        if stranger is None:
            continue
        if is_leg(order, stranger.order):
            observe_leg(order, stranger.order, at=state.clock)
        else:
            observe(order, stranger.order, nested=False, at=state.clock)


def _index(state: CoreState, order: LocalOrder) -> None:
    symbol, cid = order.request.symbol, order.request.client_order_id
    if order.is_open:
        state.live.setdefault(symbol, {})[cid] = None
    elif symbol in state.live:
        state.live[symbol].pop(cid, None)
        if not state.live[symbol]:
            del state.live[symbol]


_HANDLERS: dict[type[Any], Callable[[CoreState, Any], None]] = {
    SessionStarted: _session_started,
    SessionEnded: _session_ended,
    ClockTicked: _clock_ticked,
    PriceSeen: _price_seen,
    CorporateActionApplied: _corporate_action,
    SignalReceived: _signal_received,
    AccountSeen: _account_seen,
    OrderIntended: _order_intended,
    CancelIntended: _cancel_intended,
    ReplaceIntended: _replace_intended,
    CloseIntended: _close_intended,
    SubmitEnded: _submit_ended,
    CancelEnded: _cancel_ended,
    ReplaceEnded: _replace_ended,
    CloseEnded: _close_ended,
    OrderProbed: _order_probed,
    OrderUpdated: _order_updated,
    BrokerSeen: _broker_seen,
    DiscrepancyFound: _discrepancy,
    EntryDenied: _entry_denied,
    ProtectionBreached: _recorded,
    GapLossRecorded: _recorded,
    StreamStateSeen: _stream_state,
    ModelSwapped: _model_swapped,
    OperatorAsked: _operator_asked,
    StopAsked: _stop_asked,
    JournalStateSeen: _journal_state,
}
