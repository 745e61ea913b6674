"""``apply``: the only place where the core's state changes. Events in, memory out; no decision is taken here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from alphatrade_pipelines.risk import limits as risk_limits
from alphatrade_pipelines.trading import parent_state, positions
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.coverage import uncovered_qty
from alphatrade_pipelines.trading.domain import StopPolicy
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    AssetSeen,
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
    ParentEnded,
    ParentOpened,
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
from alphatrade_pipelines.trading.exposure import note_exposure, note_tick, note_word
from alphatrade_pipelines.trading.ids import EXIT_REASON, exit_reason
from alphatrade_pipelines.trading.orders import Amendment, LocalOrder, Phase, contradicts, revive
from alphatrade_pipelines.trading.reading import read_broker, see_account
from alphatrade_pipelines.trading.refusals import entry_refused, exit_refused, protection_refused, trim_refused
from alphatrade_pipelines.trading.rejections import Rejection, classify
from alphatrade_pipelines.trading.resending import still_wanted
from alphatrade_pipelines.trading.sighting import adopt_closing, drop_plan, end_exits, index, index_all, see_order
from alphatrade_pipelines.trading.state import CoreState, ExitSaga, Plan, Session

LOST = "the broker no longer knows it"
REVIVED = "the broker has it alive although it had ended"
DUPLICATE = "DECISION_DUPLICATE"
ABSENCES_TO_GIVE_UP = 2


def apply(state: CoreState, event: Event) -> None:
    """Change ``state`` by one event. The same events in the same order always give the same state."""
    if state.now is None or event.at > state.now:
        state.now = event.at
    _HANDLERS[type(event)](state, event)
    end_exits(state)
    note_word(state, event)
    for symbol in _touched(state, event):
        note_exposure(state, symbol)


def _touched(state: CoreState, event: Event) -> Iterable[str]:
    """Symbols whose protection the event may have changed."""
    match event:
        case OrderUpdated():
            return (event.order.symbol,)
        case DiscrepancyFound():
            return (event.symbol, state.renames.get(event.symbol, event.symbol))
        case CorporateActionApplied() | CloseEnded():
            return (event.symbol,)
        case SubmitEnded() | ReplaceEnded() | OrderProbed():
            order = state.orders.get(state.aliases.get(event.client_order_id, event.client_order_id))
            return (order.request.symbol,) if order is not None else ()
        case BrokerSeen() | ClockTicked() | SessionStarted():
            return sorted({*state.positions, *state.exposed})
        case _:
            return ()


def _session_started(state: CoreState, event: SessionStarted) -> None:
    state.config = CoreConfig.from_json(event.config)
    state.session = Session(event.run_id, event.mode, event.model, event.at)
    state.ready, state.stream_lost, state.stopping = False, False, None
    state.leaving = "" if state.leaving == "stop" else state.leaving
    state.fills_from = state.fills_from or event.at
    state.activity.clear()
    state.touched.clear()
    state.excluded.clear()
    for symbol in list(state.live):
        for order in state.live_orders(symbol):
            if order.phase is Phase.INTENDED:  # the last run died between its intent and the broker's answer
                order.phase = Phase.UNKNOWN
            order.cancel_asked_at = None
            if order.amendment is not None:
                order.amendment.unknown = True
    see_account(state, event.account, state.clock)


def _session_ended(state: CoreState, event: SessionEnded) -> None:
    state.ready = False


def _clock_ticked(state: CoreState, event: ClockTicked) -> None:
    parent_state.pass_time(state, event)
    note_tick(state, event)
    if event.market_open and not state.market_open:  # whatever waited for the announced open has waited for this one
        for waiting in state.exits.values():
            waiting.next_try = event.at if waiting.next_try is not None else None
        for retry in state.entry_retries.values():
            retry.not_before = min(retry.not_before, event.at)
    state.market_open, state.next_open, state.next_close = event.market_open, event.next_open, event.next_close
    state.ticked_before, state.ticked_at = state.ticked_at, event.at
    for symbol in [symbol for symbol in state.repairs if not uncovered_qty(state, symbol)]:
        del state.repairs[symbol]  # protection that was only accepted a moment ago has held until this tick
    risk_limits.begin_session(state.limits, event.next_close.date().isoformat())


def _price_seen(state: CoreState, event: PriceSeen) -> None:
    state.marks[event.symbol] = event.price
    state.marked_at[event.symbol] = event.at
    parent_state.see_volume(state, event)


def _corporate_action(state: CoreState, event: CorporateActionApplied) -> None:
    key = f"{event.symbol}|{event.at.date().isoformat()}"
    if key in state.actions:
        return
    state.actions[key] = None
    if event.renamed:
        state.renames[event.symbol] = event.renamed
    if event.split != 1:
        positions.split(state, event.symbol, event.split)
        parent_state.spoil(state, event.symbol, "split")


def _signal_received(state: CoreState, event: SignalReceived) -> None:
    decided = state.decided.get(event.signal.symbol)
    if decided is None or event.signal.decision_time > decided:  # what was acted upon, and may be tried again, stays as it was
        state.signals[event.signal.symbol] = event.signal
    risk_limits.record_volatility(state.limits, event.signal.symbol, event.signal.volatility)


def _account_seen(state: CoreState, event: AccountSeen) -> None:
    see_account(state, event.account, state.clock)


def _before_resending(state: CoreState, order: LocalOrder) -> timedelta:
    """What protects or closes waits as a refused exit does: the position may stand without a stop meanwhile."""
    config = state.config
    opens = order.opens
    return timedelta(seconds=config.backoff_s(order.sends) if opens else config.exit_backoff_s(order.sends, len(state.exposed)))


def _order_intended(state: CoreState, event: OrderIntended) -> None:
    state.touched[event.request.symbol] = event.at
    request, symbol = event.request, event.request.symbol
    known = state.orders.get(request.client_order_id)
    if known is not None:  # the broker provably lacked it: the same order is sent again under the same name
        known.phase, known.sends, known.unsent = Phase.INTENDED, known.sends + 1, False
        known.next_try = event.at + _before_resending(state, known)
        index(state, known)
        return
    parent_state.slice_intended(state, event)
    order = LocalOrder(request, event.purpose, event.decision_id, event.attempt, event.at)
    state.orders[request.client_order_id] = order
    state.intents[symbol] = state.intents.get(symbol, 0) + 1
    if event.purpose == "entry":
        _plan_entry(state, event)
    if event.purpose == "exit":
        saga = state.exits.setdefault(symbol, ExitSaga(exit_reason(event.decision_id), event.at))
        saga.attempts += 1
    index(state, order)


def _plan_entry(state: CoreState, event: OrderIntended) -> None:
    request, signal = event.request, state.signals[event.request.symbol]
    state.entry_retries.pop(request.symbol, None)
    if event.attempt == 0:
        risk_limits.record_entry(state.limits)
    state.decided[request.symbol] = signal.decision_time
    stop, target = request.stop_loss or signal.stop_price, request.take_profit or signal.target_price
    state.plans[request.symbol] = Plan(event.decision_id, request.side, stop, target, signal.hold_until, signal.probability)


def _cancel_intended(state: CoreState, event: CancelIntended) -> None:
    state.touched[event.symbol] = event.at
    cid = state.by_broker.get(event.broker_id)
    if cid is not None:
        order = state.orders[cid]
        order.cancel_asked_at, order.cancel_since = event.at, order.cancel_since or event.at
    for stranger in state.strangers.values():
        if stranger.cancel_target == event.broker_id:
            stranger.cancel_asked_at = event.at
    if event.reason.startswith(EXIT_REASON):
        state.exits.setdefault(event.symbol, ExitSaga(exit_reason(event.reason), event.at))


def _replace_intended(state: CoreState, event: ReplaceIntended) -> None:
    state.touched[event.symbol] = event.at
    order = state.orders[event.root]
    order.amendment = Amendment(event.client_order_id, event.broker_id, event.at, event.qty, event.limit_price, event.stop_price)
    order.amend_after = event.at
    state.aliases[event.client_order_id] = event.root
    state.intents[event.symbol] = state.intents.get(event.symbol, 0) + 1
    index(state, order)


def _close_intended(state: CoreState, event: CloseIntended) -> None:
    state.touched[event.symbol] = event.at
    saga = state.exits.setdefault(event.symbol, ExitSaga(exit_reason(event.decision_id), event.at))
    saga.attempts, saga.closing = saga.attempts + 1, event.at
    state.intents[event.symbol] = state.intents.get(event.symbol, 0) + 1


def _submit_ended(state: CoreState, event: SubmitEnded) -> None:
    state.touched[state.orders[event.client_order_id].request.symbol] = event.at
    order = state.orders[event.client_order_id]
    if event.order is not None:
        see_order(state, event.order, nested=True)
    elif not order.is_unsettled:
        return  # an update was faster than the answer, and it knows more
    elif event.outcome is Outcome.UNKNOWN or event.outcome is Outcome.CONFIRMED:
        order.phase = Phase.UNKNOWN
    elif event.outcome is Outcome.UNSENT:
        order.phase, order.unsent = Phase.UNKNOWN, True
        order.next_try = state.clock + _before_resending(state, order)
    else:
        _refused(state, order, event)
    index(state, order)


def _refused(state: CoreState, order: LocalOrder, event: SubmitEnded) -> None:
    rejection = classify(event.http_status, event.code, event.reason)
    if rejection is Rejection.DUPLICATE_ID:  # it is there already: ask for it
        order.phase = Phase.UNKNOWN
        return
    order.phase, order.reason = Phase.REFUSED, f"{rejection}: {event.reason}"
    if rejection is Rejection.ACCOUNT:
        state.halted = f"the broker refuses this account: {event.reason}"
    if rejection is Rejection.NOT_TRADABLE and order.opens:
        state.excluded[order.request.symbol] = event.reason
    _after_refusal(state, order, rejection, event, denied=event.outcome is Outcome.DENIED)


def _after_refusal(state: CoreState, order: LocalOrder, rejection: Rejection, event: SubmitEnded, *, denied: bool) -> None:
    symbol = order.request.symbol
    if order.purpose in parent_state.SLICES:
        return  # the parent goes on, or gives up, by what it finds in its slices
    if order.purpose == "entry":
        retry = entry_refused(state, order, rejection, event.reason, event.retry_after_s, denied=denied)
        if retry is not None:
            state.entry_retries[symbol] = retry
        else:
            drop_plan(state, order)
    elif order.purpose == "protect":
        protection_refused(state, order, rejection, event.retry_after_s)
    elif order.purpose == "trim":
        trim_refused(state, order, rejection, event.retry_after_s)
    elif order.purpose == "exit":
        exit_refused(state, symbol, rejection, event.retry_after_s)


def _cancel_ended(state: CoreState, event: CancelEnded) -> None:
    """The request's fate alone says nothing about the order; updates and reads do."""


def _replace_ended(state: CoreState, event: ReplaceEnded) -> None:
    state.touched[state.orders[state.aliases[event.client_order_id]].request.symbol] = event.at
    order = state.orders[state.aliases[event.client_order_id]]
    asked = order.amendment
    if event.order is not None:
        see_order(state, event.order, nested=False)
    elif asked is None or asked.client_order_id != event.client_order_id:
        return  # an update was faster than the answer
    elif event.outcome in (Outcome.UNKNOWN, Outcome.CONFIRMED) or _is_duplicate(event):
        asked.unknown = True
    else:
        _amendment_failed(state, order)
    index(state, order)


def _amendment_failed(state: CoreState, order: LocalOrder) -> None:
    order.amendment, order.amend_refusals = None, order.amend_refusals + 1
    order.amend_after = state.clock + timedelta(seconds=state.config.backoff_s(order.amend_refusals))


def _is_duplicate(event: SubmitEnded | ReplaceEnded) -> bool:
    return classify(event.http_status, event.code, event.reason) is Rejection.DUPLICATE_ID


def _close_ended(state: CoreState, event: CloseEnded) -> None:
    state.touched[event.symbol] = event.at
    saga = state.exits.get(event.symbol)
    if event.order is not None:
        adopt_closing(state, event.order)
    if saga is None or event.outcome is Outcome.UNKNOWN:
        return  # the next read shows the closing order, or that there is none
    saga.closing = None
    if event.order is None:
        cause = Rejection.OTHER if event.outcome is Outcome.UNSENT else classify(event.http_status, event.code, event.reason)
        exit_refused(state, event.symbol, cause, event.retry_after_s)


def _order_probed(state: CoreState, event: OrderProbed) -> None:
    root = state.aliases.get(event.client_order_id)
    order = state.orders.get(root or event.client_order_id)
    contradicted = state.contradicted.pop(event.client_order_id, 0) is None
    if event.order is not None:
        state.touched[event.order.symbol] = event.at
        if contradicted and order is not None and contradicts(order, event.order, event.at):
            revive(order, event.order)
            order.reason = REVIVED
        elif order is not None and order.reason == REVIVED:
            order.reason = ""
        see_order(state, event.order, nested=True)
    elif order is not None and root is not None:
        asked = order.amendment
        if event.outcome is Outcome.REFUSED and asked is not None and asked.client_order_id == event.client_order_id:
            _amendment_failed(state, order)
    elif order is not None and event.outcome is Outcome.REFUSED and order.is_unsettled:
        order.phase, order.absences = Phase.UNKNOWN, order.absences + 1
        enough = 1 if order.unsent else ABSENCES_TO_GIVE_UP
        if order.absences >= enough and not still_wanted(state, order):
            order.phase, order.reason = Phase.ABSENT, "the broker never received it"
            drop_plan(state, order)
    elif order is not None and event.outcome is Outcome.REFUSED and order.is_open:
        _close_as_lost(order)
    if order is not None:
        index(state, order)


def _close_as_lost(order: LocalOrder) -> None:
    order.phase, order.reason = Phase.ABSENT, LOST
    for leg in order.legs.values():
        leg.status = "canceled" if leg.is_live else leg.status


def _order_updated(state: CoreState, event: OrderUpdated) -> None:
    state.activity[event.order.symbol], state.counted = event.at, []
    execution = event.execution
    if execution is not None:
        execution = positions.named_execution(execution, event)
        if positions.count_execution(state, execution):
            state.unread[positions.execution_key(execution)] = execution
    see_order(state, event.order, nested=False)


def _discrepancy(state: CoreState, event: DiscrepancyFound) -> None:
    if event.action == "adopt" and event.qty is not None:
        positions.adopt(state, event.symbol, event.qty, event.price or Decimal(0), event.at)
        index_all(state)
    plan = state.plans.get(event.symbol)
    if event.kind == "stop_moved" and event.action == "accept" and event.price is not None and plan is not None:
        plan.stop = event.price
    if event.kind == "target_moved" and event.price is not None and plan is not None:
        plan.target = event.price
    if event.action == "split" and event.qty is not None and event.price is not None:
        positions.split_unannounced(state, event.symbol, event.qty, event.price, event.at)
    if event.action == "rename":
        positions.rename(state, event.symbol, state.renames[event.symbol], event.at)
    if event.kind == "execution_disputed":
        state.disputes[event.detail] = None
    if event.kind == "order_changed":
        for order in state.live_orders(event.symbol):
            order.asked_qty = order.total_qty if order.parent_live else order.asked_qty
    if event.kind == "unknown_order" and event.detail in state.strangers:
        state.strangers[event.detail].reported = True


def _entry_denied(state: CoreState, event: EntryDenied) -> None:
    if event.code == DUPLICATE:  # the order that its decision led to may still be waiting to be tried again
        return
    if state.entry_retries.pop(event.symbol, None) and event.symbol not in state.positions:
        state.plans.pop(event.symbol, None)


def _breached(state: CoreState, event: ProtectionBreached) -> None:
    if event.symbol in state.exposed:
        state.exposed[event.symbol].reported = True


def _recorded(state: CoreState, event: GapLossRecorded) -> None:
    """A fact for people and reports; the core's memory has it already."""


def _stream_state(state: CoreState, event: StreamStateSeen) -> None:
    if event.name == "trade_updates":
        state.ready, state.stream_lost = False, not event.connected


def _asset_seen(state: CoreState, event: AssetSeen) -> None:
    asset = event.asset
    if asset.tradable and asset.shortable and asset.easy_to_borrow:
        state.assets.pop(asset.symbol, None)
    else:
        state.assets[asset.symbol] = asset


def _model_swapped(state: CoreState, event: ModelSwapped) -> None:
    if state.session is not None:
        state.session.model = event.model


def _operator_asked(state: CoreState, event: OperatorAsked) -> None:
    if event.request in ("halt", "flatten"):
        state.halted = f"{event.who} asked to {event.request}"
    if event.request == "flatten":
        _leave_everything(state, "operator")
    if event.request == "reduce":
        state.reducing = f"{event.who} asked to reduce only"
    if event.request == "resume":
        state.halted = state.leaving = state.reducing = ""
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
    BrokerSeen: read_broker,
    DiscrepancyFound: _discrepancy,
    ParentOpened: parent_state.parent_opened,
    ParentEnded: parent_state.parent_ended,
    EntryDenied: _entry_denied,
    ProtectionBreached: _breached,
    GapLossRecorded: _recorded,
    StreamStateSeen: _stream_state,
    AssetSeen: _asset_seen,
    ModelSwapped: _model_swapped,
    OperatorAsked: _operator_asked,
    StopAsked: _stop_asked,
    JournalStateSeen: _journal_state,
}
