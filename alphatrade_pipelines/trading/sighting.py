"""What ``apply`` makes of one order as the broker shows it: whose it is, what it says about ours, what it says about others'.

Part of ``apply``: reports come as answers, updates, probes and reads, in any order and any number of times.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from alphatrade_pipelines.trading.domain import TERMINAL_STATUSES, BrokerOrder, OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import BrokerSeen
from alphatrade_pipelines.trading.ids import exit_decision
from alphatrade_pipelines.trading.orders import LocalOrder, Phase, is_leg, observe, observe_leg
from alphatrade_pipelines.trading.parent_state import forget_plan
from alphatrade_pipelines.trading.refusals import exit_refused, protection_refused, trim_refused
from alphatrade_pipelines.trading.rejections import Rejection
from alphatrade_pipelines.trading.state import CoreState, Stranger


def see_order(state: CoreState, seen: BrokerOrder, *, nested: bool) -> None:
    """Merge one report. ``nested``: it shows the legs, so having none is a fact."""
    cid = owner_of(state, seen)
    if cid is None:
        _see_stranger(state, seen)
        return
    order = state.orders[cid]
    before, refusals = order.status, order.amend_refusals
    if is_leg(order, seen):
        observe_leg(order, seen, at=state.clock)
    else:
        observe(order, seen, nested=nested, at=state.clock)
    for broker_id in (seen.broker_id, seen.replaced_by, *(leg.broker_id for leg in seen.legs)):
        if broker_id:
            state.by_broker[broker_id] = cid
    _adopt_strangers(state, order)
    if order.amend_refusals > refusals:  # the replacement was promised (HTTP 200) and then rejected
        order.amend_after = state.clock + timedelta(seconds=state.config.backoff_s(order.amend_refusals))
    _note_consequences(state, order, before)
    index(state, order)


def _note_consequences(state: CoreState, order: LocalOrder, before: str) -> None:
    if order.opens and order.filled_qty and order.part_filled_at is None:
        order.part_filled_at = state.clock
    if order.phase is Phase.CLOSED:
        drop_plan(state, order)
    if order.status == "rejected" and before != "rejected":  # accepted first (HTTP 200), rejected afterwards, without a word why
        _taken_back(state, order, "accepted, then rejected")
    elif order.status in ("canceled", "expired") and before not in TERMINAL_STATUSES and _ended_young(state, order):
        _taken_back(state, order, f"accepted, then {order.status}")


def _ended_young(state: CoreState, order: LocalOrder) -> bool:
    """Nobody of us asked for its end, nothing of it has filled, and it was sent a moment ago: sent again at once it would end at once."""
    if order.cancel_asked_at is not None or any(filled for _, filled in order.fills()):
        return False
    held = order.request.symbol in state.positions and not order.outdated
    return held and state.clock - order.intended_at < timedelta(seconds=state.config.retry_longest_s)


def _taken_back(state: CoreState, order: LocalOrder, reason: str) -> None:
    order.reason = reason
    if order.purpose == "exit":
        exit_refused(state, order.request.symbol, Rejection.OTHER, None)
    elif order.purpose == "protect":
        protection_refused(state, order, Rejection.OTHER)
    elif order.purpose == "trim":
        trim_refused(state, order, Rejection.OTHER)


def owner_of(state: CoreState, seen: BrokerOrder) -> str | None:
    """Client order id of the order of ours that a report belongs to; None when it is somebody else's (or not yet known to be ours)."""
    if seen.client_order_id in state.orders:
        return seen.client_order_id
    if seen.client_order_id in state.aliases:
        return state.aliases[seen.client_order_id]
    return state.by_broker.get(seen.broker_id) or (state.by_broker.get(seen.replaces) if seen.replaces else None)


def index(state: CoreState, order: LocalOrder) -> None:
    """Keep the list of orders that may still act, so that nobody ever has to look through the closed ones.

    An order also stays while fills of it are reported whose executions have not been counted: until then the position is not what it is
    about to be, and whoever looked at it alone would send the same exit twice.
    """
    symbol, cid = order.request.symbol, order.request.client_order_id
    if order.is_open or state.owes_executions(order):
        state.live.setdefault(symbol, {})[cid] = None
    elif symbol in state.live:
        state.live[symbol].pop(cid, None)
        if not state.live[symbol]:
            del state.live[symbol]
    if any(listed.remaining_entry for listed in state.live_orders(symbol)):
        state.entering[symbol] = None
    else:
        state.entering.pop(symbol, None)


def index_all(state: CoreState) -> None:
    """Look again at every listed order: executions have been counted."""
    for symbol in list(state.live):
        for order in state.live_orders(symbol):
            index(state, order)


def drop_plan(state: CoreState, order: LocalOrder) -> None:
    """An entry ended: without a position there is nothing left to plan or to leave."""
    if order.purpose == "slice":
        forget_plan(state, order.request.symbol, [order])
    if order.purpose == "entry" and order.request.symbol not in state.positions and not state.owes_executions(order):
        state.plans.pop(order.request.symbol, None)
        state.exits.pop(order.request.symbol, None)


def end_exits(state: CoreState) -> None:
    """An exit is over once nothing of its symbol is held, at the broker or still to come, whatever took it away."""
    for symbol in [symbol for symbol in state.exits if symbol not in state.positions]:
        if symbol not in state.live and symbol not in state.entry_retries and symbol not in state.parents:
            state.exits.pop(symbol)
            state.plans.pop(symbol, None)


def adopt_closing(state: CoreState, seen: BrokerOrder) -> None:
    """The broker made this order at our request: from now on it is an exit order of ours, under the broker's name for it."""
    if owner_of(state, seen) is None:
        plan, saga = state.plans.get(seen.symbol), state.exits.get(seen.symbol)
        request = OrderRequest(seen.client_order_id, seen.symbol, seen.side, seen.qty, OrderKind.MARKET, OrderClass.SIMPLE, TimeInForce.DAY)
        decision = exit_decision(saga.reason if saga else "close", plan.decision_id if plan else seen.symbol)
        state.orders[seen.client_order_id] = LocalOrder(request, "exit", decision, saga.attempts if saga else 0, state.clock)
        stranger = state.strangers.pop(seen.broker_id, None)
        if stranger is not None:
            see_order(state, stranger.order, nested=True)
    see_order(state, seen, nested=True)


def find_closing(state: CoreState, event: BrokerSeen) -> None:
    """A request to close that was never answered: an exit at market that nobody knows is it; otherwise it never arrived."""
    for symbol, saga in list(state.exits.items()):
        if saga.closing is None or event.began <= saga.closing:
            continue
        held = state.positions.get(symbol)
        side = Side.BUY if held is not None and held.qty < 0 else Side.SELL
        saga.closing = None
        resting = [item.order for item in state.strangers.values() if item.order.symbol == symbol and item.order.side is side]
        found = [order for order in resting if order.kind == OrderKind.MARKET.value]
        for order in found:
            adopt_closing(state, order)
        if not found:
            exit_refused(state, symbol, Rejection.OTHER, None)


def _see_stranger(state: CoreState, seen: BrokerOrder) -> None:
    parent = next((item for item in state.strangers.values() if any(leg.broker_id == seen.broker_id for leg in item.order.legs)), None)
    if parent is not None:  # a leg of a group of somebody else's
        legs = tuple(seen if leg.broker_id == seen.broker_id else leg for leg in parent.order.legs)
        _keep_stranger(state, replace(parent.order, legs=legs))
        return
    for leg in seen.legs:
        state.strangers.pop(leg.broker_id, None)
    known = state.strangers.get(seen.broker_id)
    if known is not None and not seen.legs and known.order.legs:
        seen = replace(seen, legs=known.order.legs)
    _keep_stranger(state, seen)


def _keep_stranger(state: CoreState, seen: BrokerOrder) -> None:
    known = state.strangers.get(seen.broker_id)
    if not seen.is_live and (seen.status != "filled" or not any(leg.is_live for leg in seen.legs)):
        state.strangers.pop(seen.broker_id, None)
    elif known is None:
        state.strangers[seen.broker_id] = Stranger(seen)
    else:
        known.order, known.absent_at = seen, None


def forget_absent(state: CoreState, event: BrokerSeen) -> None:
    """Somebody else's order is gone once the broker, asked for it, did not know it, and a list of all open orders taken after that lacks it
    too. Call it after the orders of the read were merged."""
    for broker_id, stranger in list(state.strangers.items()):
        if stranger.absent_at is not None and event.began > stranger.absent_at:
            del state.strangers[broker_id]
        elif stranger.live_ids <= set(event.absent):
            stranger.absent_at = event.at


def _adopt_strangers(state: CoreState, order: LocalOrder) -> None:
    """Updates of a leg, or of what replaced something of ours, may come before anybody told whose they are."""
    if not state.strangers:
        return
    successors = [link.replaced_by for group in (order.chain, order.legs) for link in group.values() if link.replaced_by]
    for broker_id in (*order.legs, *successors):
        stranger = state.strangers.pop(broker_id, None)
        if stranger is None:
            continue
        if is_leg(order, stranger.order):
            observe_leg(order, stranger.order, at=state.clock)
        else:
            observe(order, stranger.order, nested=False, at=state.clock)
