"""How long positions stand without a stop, while anything could be done about it: part of ``apply``.

Counted is open-market time during which the broker answers. A share that an order of ours is selling right now does not count, nor does
a fraction that the broker does not take (dust). The clock of a symbol starts with the event that exposed it (at the open, if that came
while the market was closed), stands still while the broker is silent, and ends with the event that covered it.
"""

from __future__ import annotations

from datetime import datetime

from alphatrade_pipelines.trading.coverage import exposed_qty
from alphatrade_pipelines.trading.events import (
    BrokerSeen,
    CancelEnded,
    ClockTicked,
    CloseEnded,
    Event,
    OrderProbed,
    OrderUpdated,
    Outcome,
    ReplaceEnded,
    SubmitEnded,
)
from alphatrade_pipelines.trading.state import CoreState, Exposed

SILENT_TICKS = 3
_ANSWERS = (SubmitEnded, CancelEnded, ReplaceEnded, CloseEnded, OrderProbed)


def note_tick(state: CoreState, event: ClockTicked) -> None:
    """Count the time since the last tick; call before the clock's own fields change."""
    _note_reads(state, event)
    until = min(event.at, state.next_close) if state.next_close is not None else event.at
    for item in state.exposed.values():
        if state.market_open and state.silent_since is None:
            item.seconds = max(item.seconds, (until - item.since).total_seconds())
        if event.market_open and not state.market_open:
            item.since, item.seconds = event.at, 0.0


def _note_reads(state: CoreState, event: ClockTicked) -> None:
    """Reads that bring nothing leave no event: several ticks and twice the interval without one are silence."""
    state.ticks_unread += 1
    seen, limit = state.broker_seen_at, 2 * state.config.reconcile_interval_s
    if state.ticks_unread >= SILENT_TICKS and seen is not None and (event.at - seen).total_seconds() > limit:
        _fell_silent(state, event.at)


def note_word(state: CoreState, event: Event) -> None:
    """Did the broker answer, or leave us without an answer?"""
    if isinstance(event, _ANSWERS):
        if event.outcome in (Outcome.UNKNOWN, Outcome.UNSENT):
            _fell_silent(state, event.at)
        elif event.outcome is not Outcome.DENIED:
            _spoke(state, event.at)
    elif isinstance(event, BrokerSeen):
        state.ticks_unread = 0
        _spoke(state, event.at)
    elif isinstance(event, OrderUpdated):
        _spoke(state, event.at)


def note_exposure(state: CoreState, symbol: str) -> None:
    """Start or end the clock of one symbol."""
    if not exposed_qty(state, symbol):
        state.exposed.pop(symbol, None)
    elif symbol not in state.exposed:
        state.exposed[symbol] = Exposed(state.clock)


def _fell_silent(state: CoreState, at: datetime) -> None:
    if state.silent_since is None:
        state.silent_since = at


def _spoke(state: CoreState, at: datetime) -> None:
    if state.silent_since is None:
        return
    for item in state.exposed.values():  # the time of silence does not count
        item.since += max(at - max(state.silent_since, item.since), at - at)
    state.silent_since = None
