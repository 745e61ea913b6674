"""``decide``: what follows from an event. Yields facts to journal (intents, findings, denials) and questions to ask.

The engine applies every yielded event before it asks for the next item, so a later decision sees the earlier ones. Orders and
cancellations are never yielded as commands: the engine derives them from their journaled intents. A split is not acted upon by itself:
the broker cancels the symbol's orders on that morning, and the updates saying so, or else the next tick, bring the audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from alphatrade_pipelines.trading.applying import LOST, REVIVED
from alphatrade_pipelines.trading.commands import Command, ProbeOrder, RaiseAlert, ReadBroker
from alphatrade_pipelines.trading.entries import consider_signal, retry_entry, withdraw_entries
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    AssetSeen,
    BrokerSeen,
    CancelEnded,
    ClockTicked,
    CloseEnded,
    Event,
    JournalStateSeen,
    OperatorAsked,
    OrderProbed,
    OrderUpdated,
    Outcome,
    PriceSeen,
    ReplaceEnded,
    SessionStarted,
    SignalReceived,
    StopAsked,
    StreamStateSeen,
    SubmitEnded,
)
from alphatrade_pipelines.trading.exits import advance_exit, time_exit_due
from alphatrade_pipelines.trading.findings import name
from alphatrade_pipelines.trading.keeping import gap_losses
from alphatrade_pipelines.trading.orders import Phase
from alphatrade_pipelines.trading.parents import advance_parent, must_leave_at_once, reserved_qty, work_out
from alphatrade_pipelines.trading.protection import audit_protection, report_exposure
from alphatrade_pipelines.trading.reconciliation import dispute, foreign_fills, reconcile
from alphatrade_pipelines.trading.rejections import Rejection, classify
from alphatrade_pipelines.trading.resending import resend_if_absent, settle_unsettled
from alphatrade_pipelines.trading.state import CoreState

Item = Event | Command
SERIOUS = {
    Rejection.ACCOUNT: "CRITICAL",
    Rejection.INVALID: "WARNING",
    Rejection.OTHER: "WARNING",
    Rejection.NOT_TRADABLE: "WARNING",
    Rejection.DAY_TRADING: "WARNING",
}


def decide(state: CoreState, event: Event) -> Iterator[Item]:
    """What the core does about an event that has just been applied."""
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        yield from handler(state, event)


def audit(state: CoreState, symbol: str, *, after_read: bool = False) -> Iterator[Item]:
    """Everything one symbol needs now: withdraw, leave, protect, or try again."""
    yield from withdraw_entries(state, symbol)
    due = time_exit_due(state, symbol)
    if due:
        yield from work_out(state, symbol)
    if symbol in state.exits or state.leaving or (due and must_leave_at_once(state, symbol)):
        yield from advance_exit(state, symbol, state.leaving or "time")
    else:
        yield from audit_protection(state, symbol, after_read=after_read, reserved=reserved_qty(state, symbol))
    yield from advance_parent(state, symbol)
    yield from retry_entry(state, symbol)


def _session_started(state: CoreState, event: SessionStarted) -> Iterator[Item]:
    yield ReadBroker("session start")
    for symbol in sorted(state.live):
        yield from settle_unsettled(state, symbol)


def _clock_ticked(state: CoreState, event: ClockTicked) -> Iterator[Item]:
    seen = state.broker_seen_at
    seconds = state.config.reconcile_interval_s
    if state.stream_lost:  # reading takes the place of being told
        seconds = min(seconds, state.config.stream_lost_interval_s)
    unread = seen is None or not (state.ready or state.stream_lost)
    differs = state.look_again_at is not None and event.at >= state.look_again_at
    if state.session is not None and (unread or differs or seen is None or event.at - seen >= timedelta(seconds=seconds)):
        yield ReadBroker("a difference was left open" if differs else "interval")
    yield from report_exposure(state)
    for symbol in state.active_symbols():
        yield from settle_unsettled(state, symbol)
        yield from audit(state, symbol)
        if state.has_uncounted_fills(symbol):
            yield ReadBroker(f"{symbol}: fills reported without their executions")
        if symbol in state.exits and state.exits[symbol].closing is not None:
            yield ReadBroker(f"{symbol}: no word on the request to close the position")


def _signal_received(state: CoreState, event: SignalReceived) -> Iterator[Item]:
    yield from consider_signal(state, event.signal)


def _price_seen(state: CoreState, event: PriceSeen) -> Iterator[Item]:
    if event.symbol in state.parents:
        yield from audit(state, event.symbol)


def _submit_ended(state: CoreState, event: SubmitEnded) -> Iterator[Item]:
    order = state.orders[event.client_order_id]
    if order.phase is Phase.UNKNOWN and not order.unsent:
        yield ProbeOrder(event.client_order_id)
    if order.phase is Phase.REFUSED:
        cause = classify(event.http_status, event.code, event.reason)
        if cause in SERIOUS:
            yield RaiseAlert(SERIOUS[cause], "ORDER_REFUSED", f"{event.client_order_id}: {event.http_status} {event.code} {event.reason}")
        if order.purpose != "entry":
            yield ReadBroker(f"{order.purpose} refused: {cause}")
    yield from audit(state, order.request.symbol)


def _cancel_ended(state: CoreState, event: CancelEnded) -> Iterator[Item]:
    """Not taken: most often it has ended already, and an exit may be waiting for that word. One order is sooner asked for than all read."""
    if event.outcome is not Outcome.CONFIRMED:
        if event.broker_id in state.by_broker:
            yield ProbeOrder(state.by_broker[event.broker_id])
        yield ReadBroker(f"cancellation of {event.broker_id}: {event.outcome}")


def _replace_ended(state: CoreState, event: ReplaceEnded) -> Iterator[Item]:
    order = state.orders[state.aliases[event.client_order_id]]
    if order.amendment is not None and order.amendment.unknown:
        yield ProbeOrder(event.client_order_id)
    elif event.outcome is not Outcome.CONFIRMED:
        yield ReadBroker(f"replacement not taken: {event.outcome} {event.reason}")
    yield from audit(state, order.request.symbol)


def _close_ended(state: CoreState, event: CloseEnded) -> Iterator[Item]:
    if event.outcome is not Outcome.CONFIRMED:
        yield ReadBroker(f"{event.symbol}: request to close the position {event.outcome} {event.reason}")
    yield from audit(state, event.symbol)


def _order_probed(state: CoreState, event: OrderProbed) -> Iterator[Item]:
    order = state.orders.get(state.aliases.get(event.client_order_id, event.client_order_id))
    if order is None or event.outcome is Outcome.UNKNOWN:
        return
    if order.reason == LOST and event.order is None:
        yield from name(state, "orphaned_order", order.request.symbol, event.client_order_id, "closed")
    if order.reason == REVIVED:
        yield from name(state, "revived_order", order.request.symbol, event.client_order_id, "adopt")
    yield from resend_if_absent(state, order)
    yield from audit(state, order.request.symbol)


def _order_updated(state: CoreState, event: OrderUpdated) -> Iterator[Item]:
    seen = event.order
    yield from gap_losses(state)
    yield from foreign_fills(state)
    yield from dispute(state, event)
    if event.execution is None and seen.filled_qty > state.executed.get(seen.broker_id, 0):
        yield ReadBroker(f"{seen.symbol}: fills reported without their executions")
    yield from audit(state, seen.symbol)


def _broker_seen(state: CoreState, event: BrokerSeen) -> Iterator[Item]:
    yield from _account_alert(state)
    yield from gap_losses(state)
    yield from reconcile(state, event)
    for symbol in state.active_symbols():
        yield from settle_unsettled(state, symbol)
        yield from audit(state, symbol, after_read=True)


def _account_seen(state: CoreState, event: AccountSeen) -> Iterator[Item]:
    yield from _account_alert(state)


def _account_alert(state: CoreState) -> Iterator[Item]:
    """The broker began to block the account just now: entries are over, exits are attempted all the same."""
    if state.blocked_at is not None and state.blocked_at == state.clock:
        yield RaiseAlert("CRITICAL", "ACCOUNT_BLOCKED", "the broker blocks trading in this account; exits go on")
        for symbol in state.active_symbols():
            yield from audit(state, symbol)


def _asset_seen(state: CoreState, event: AssetSeen) -> Iterator[Item]:
    asset, held = event.asset, state.positions.get(event.asset.symbol)
    if held is not None and not asset.tradable:
        yield RaiseAlert("CRITICAL", "ASSET_NOT_TRADABLE", f"{asset.symbol}: {held.qty} shares are held. {asset.detail}")
    elif held is not None and held.qty < 0 and not (asset.shortable and asset.easy_to_borrow):
        yield RaiseAlert("WARNING", "ASSET_HARD_TO_BORROW", f"{asset.symbol}: {held.qty} shares are short")


def _stream_state(state: CoreState, event: StreamStateSeen) -> Iterator[Item]:
    if event.connected:
        yield ReadBroker(f"{event.name} connected")
    else:
        yield RaiseAlert("WARNING", "STREAM_LOST", f"{event.name}: {event.detail}")


def _audit_all(state: CoreState, event: OperatorAsked | StopAsked) -> Iterator[Item]:
    if state.leaving:
        yield ReadBroker("everything is to be closed")  # also what we do not know of yet
    for symbol in state.active_symbols():
        yield from audit(state, symbol)


def _journal_state(state: CoreState, event: JournalStateSeen) -> Iterator[Item]:
    if event.writable:
        yield RaiseAlert("WARNING", "JOURNAL_RESTORED", f"{event.detail}; {event.late} events were written late; entries wait for a resume")
        yield ReadBroker("the journal can be written again")
        return
    yield RaiseAlert("CRITICAL", "JOURNAL_NOT_WRITABLE", f"{event.detail}; entries are halted, exits and protection go on")
    for symbol in state.active_symbols():
        yield from audit(state, symbol)


_HANDLERS: dict[type[Any], Callable[[CoreState, Any], Iterator[Item]]] = {
    SessionStarted: _session_started,
    ClockTicked: _clock_ticked,
    PriceSeen: _price_seen,
    SignalReceived: _signal_received,
    AccountSeen: _account_seen,
    SubmitEnded: _submit_ended,
    CancelEnded: _cancel_ended,
    ReplaceEnded: _replace_ended,
    CloseEnded: _close_ended,
    OrderProbed: _order_probed,
    OrderUpdated: _order_updated,
    BrokerSeen: _broker_seen,
    AssetSeen: _asset_seen,
    StreamStateSeen: _stream_state,
    OperatorAsked: _audit_all,
    StopAsked: _audit_all,
    JournalStateSeen: _journal_state,
}
