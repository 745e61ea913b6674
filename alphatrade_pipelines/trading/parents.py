"""Parent orders: a decision that is too large for one order is worked in slices, one at a time, each through the same saga as any order.

An entry's slice is a bracket of its own: once filled it brings its own stop and target to the broker, so protection grows with the
position and nothing protective is ever cancelled or resized for it; Alpaca's wash-trade rule spares brackets and OCOs. A slice that fills
in part is treated like any entry (its remainder cancelled, the filled part covered by an OCO) and what it left is caught up later.

An exit's slice needs shares that no order holds: one protective group is cancelled, what it covered beyond the slice is covered again
by a new OCO before the slice is sent. All other groups stay where they are; only the very shares being sold are without a stop.

Every step is derived from the state, so the work resumes after a crash anywhere: a slice whose fate is unknown blocks the next one until
the broker has answered, and a parent's fills plus what is on its way never exceed it. Halts pause a parent, leaving ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from alphatrade_pipelines.trading.commands import Command
from alphatrade_pipelines.trading.coverage import covered_qty, leaving_qty
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, ParentOrder, Side, StopPolicy, TimeInForce
from alphatrade_pipelines.trading.events import Event, OrderIntended, ParentEnded, ParentOpened
from alphatrade_pipelines.trading.execution import REGULAR_SESSION_S, Occasion, plan_parent, slice_limit
from alphatrade_pipelines.trading.exits import cancel_group
from alphatrade_pipelines.trading.ids import client_order_id, exit_decision
from alphatrade_pipelines.trading.orders import LocalOrder, Phase
from alphatrade_pipelines.trading.parent_state import SLICES, step_of, traded
from alphatrade_pipelines.trading.rejections import Cure, Rejection, strategy
from alphatrade_pipelines.trading.schedules import ParticipationRule, participation_due, scheduled_due
from alphatrade_pipelines.trading.state import CoreState, Parent, Plan, Position, TradingState

Item = Event | Command
ZERO = Decimal(0)
CENT = Decimal("0.01")
FINAL = (Cure.GIVE_UP, Cure.EXCLUDE, Cure.HALT)
LAST_TRIES = 4  # how often the last step may send what its slice left
UNFINISHED = ("time", "refused", "split")  # a parent that ends so may leave shares behind


# -- opening ---------------------------------------------------------------------------------------------------------------------------


def entry_parent(state: CoreState, symbol: str, qty: Decimal, decision: str) -> ParentOrder | None:
    """How to enter ``qty`` shares for the symbol's latest signal: the parent, or None for a single order."""
    signal = state.signals[symbol]
    collar = Decimal(repr(state.config.price_collar))
    reference = signal.reference_price
    limit = reference * (1 + collar) if signal.side is Side.BUY else reference * (1 - collar)
    limit = min(limit, signal.target_price - CENT) if signal.side is Side.BUY else max(limit, signal.target_price + CENT)
    left, length = _session(state, symbol)
    left -= state.config.no_entry_before_close_s
    occasion = Occasion(
        symbol, signal.side, qty, "entry", decision, signal.decision_time, limit.quantize(CENT), signal.liquidity, left, length
    )
    return plan_parent(occasion, state.config.execution)


def exit_parent(state: CoreState, held: Position, plan: Plan) -> ParentOrder | None:
    """How to work out of a position whose time is over: the parent, or None for the plain exit."""
    mark, symbol = state.marks.get(held.symbol), held.symbol
    signal = state.signals.get(symbol)
    if not state.config.execution.exits or mark is None or signal is None or state.stopping is not None:
        return None
    side = Side.SELL if held.qty > 0 else Side.BUY
    collar = Decimal(repr(state.config.price_collar))
    limit = (mark * (1 - collar if side is Side.SELL else 1 + collar)).quantize(CENT)
    left, length = _session(state, symbol)
    decision = exit_decision("time", plan.decision_id)
    occasion = Occasion(symbol, side, abs(held.qty), "exit", decision, state.clock, limit, signal.liquidity, left, length)
    return plan_parent(occasion, state.config.execution)


def _session(state: CoreState, symbol: str) -> tuple[float, float]:
    """(seconds left, seconds) of the session; before an open all of a regular one is left."""
    if not state.market_open or state.next_close is None:
        return REGULAR_SESSION_S, REGULAR_SESSION_S
    left = (state.next_close - state.clock).total_seconds()
    opened = state.signals[symbol].session_open if symbol in state.signals else None
    length = (state.next_close - opened).total_seconds() if opened is not None else REGULAR_SESSION_S
    return left, length if left <= length <= REGULAR_SESSION_S else max(REGULAR_SESSION_S, left)


def work_out(state: CoreState, symbol: str) -> Iterator[Item]:
    """The position's time is over: open the parent that works it out, if it is large enough for one; once what has filled is counted."""
    held, plan = state.positions.get(symbol), state.plans.get(symbol)
    if symbol in state.parents or symbol in state.exits or state.leaving or held is None or plan is None:
        return
    if state.has_uncounted_fills(symbol):
        return
    if state.ready and not any(order.is_unsettled or order.remaining_entry for order in state.live_orders(symbol)):
        parent = exit_parent(state, held, plan)
        if parent is not None:
            yield ParentOpened(state.clock, parent)


def must_leave_at_once(state: CoreState, symbol: str) -> bool:
    """The position's time is over and no parent works it out, or the one that did could not finish.

    While fills are reported whose executions have not been counted, nobody can say what is left: a parent that has just sold everything
    would be followed by another one, or by a plain exit, for the very shares it sold. The executions are asked for at every tick.
    """
    parent = state.parents.get(symbol)
    if parent is None and state.config.execution.exits and state.has_uncounted_fills(symbol):
        return False
    return parent is None or parent.order.purpose != "exit" or ending(state, parent) in UNFINISHED


# -- working ---------------------------------------------------------------------------------------------------------------------------


def advance_parent(state: CoreState, symbol: str) -> Iterator[Item]:
    """The next step of the symbol's parent: end it, clear its working slice, or send a slice; nothing while the broker owes an answer."""
    parent = state.parents.get(symbol)
    if parent is None:
        yield from _clear_orphans(state, symbol)
        return
    over = ending(state, parent)
    working = working_slices(state, symbol)
    if over in UNFINISHED and parent.order.purpose == "exit":
        return  # the plain exit takes over, and with it the parent ends
    if over:
        for order in working:
            yield from cancel_group(state, order, f"parent:{over}")
        if not working or over not in UNFINISHED:
            yield ParentEnded(state.clock, symbol, parent.order.decision_id, over, traded(state, parent), parent.order.qty)
        return
    for order in working:
        if _outlived(state, parent, order):
            yield from cancel_group(state, order, "parent:next_slice")
    if working or not _may_send(state, parent):
        return
    due = due_now(state, parent)
    if due <= 0:
        return
    if parent.order.purpose == "entry":
        yield _bracket_slice(state, parent, due)
    else:
        yield from _unwind(state, parent, due)


def ending(state: CoreState, parent: Parent) -> str:
    """Why this parent may send nothing more; empty while it may."""
    order, symbol = parent.order, parent.order.symbol
    done, held = traded(state, parent), state.positions.get(symbol)
    if symbol in state.exits or state.leaving:
        return "leaving"
    if state.stopping in (StopPolicy.PROTECT, StopPolicy.FLATTEN):
        return "stop"
    if done >= order.qty:
        return "complete"
    if parent.spoiled:
        return parent.spoiled
    if order.purpose == "exit" and held is None:
        return "flat"
    if order.purpose == "entry" and _was_sold(state, parent, held):
        return "barrier"
    if order.at_close == "cancel" and parent.was_open and not state.market_open:
        return "market_close"
    if parent.elapsed_s >= order.duration_s:
        return "time"
    return "refused" if _is_hopeless(state, parent) else ""


def due_now(state: CoreState, parent: Parent) -> Decimal:
    """Shares the plan wants sent now; a step already served wants no more, but the last one is tried again while its time lasts."""
    order, done, step = parent.order, traded(state, parent), step_of(parent)
    last = step >= _steps(parent)
    if step <= parent.begun and not (last and _last_may_repeat(state, parent)):
        return ZERO
    if order.path:
        return min(scheduled_due(order.path, step, done, order.catch_up), order.qty - done)
    rule = ParticipationRule(order.rate, order.cap, order.catch_up)
    smallest = Decimal(state.config.execution.smallest)
    return participation_due(order.qty, done, parent.volume, parent.volume - parent.followed, rule, smallest=smallest)


def working_slices(state: CoreState, symbol: str) -> list[LocalOrder]:
    """Slices that may still fill, or of which the broker has not said so."""
    return [order for order in state.live_orders(symbol) if order.purpose in SLICES and order.open_qty]


def reserved_qty(state: CoreState, symbol: str) -> Decimal:
    """Shares freed for an exit's next slice, which is about to sell them: they need no stop any more."""
    parent, held = state.parents.get(symbol), state.positions.get(symbol)
    if parent is None or held is None or parent.order.purpose != "exit" or ending(state, parent) or not _may_send(state, parent):
        return ZERO
    free = abs(held.qty) - covered_qty(state, symbol) - leaving_qty(state, symbol)
    return max(min(due_now(state, parent), free), ZERO)


def _steps(parent: Parent) -> int:
    order = parent.order
    return len(order.path) or max(int(order.duration_s // order.interval_s), 1)


def _last_may_repeat(state: CoreState, parent: Parent) -> bool:
    """The last step finishes: what its slice left is sent again, a few times, not in a burst."""
    ages = [(state.clock - state.orders[cid].intended_at).total_seconds() for cid in parent.slices]
    recent = [age for age in ages if age < parent.order.interval_s]
    return len(recent) < LAST_TRIES and all(age >= parent.order.interval_s / LAST_TRIES for age in recent)


def _outlived(state: CoreState, parent: Parent, order: LocalOrder) -> bool:
    """The next step has begun, or the market closed: what the slice left is the next one's business."""
    return order.parent_live and (step_of(parent) > parent.begun or not state.market_open)


def _may_send(state: CoreState, parent: Parent) -> bool:
    symbol, entry = parent.order.symbol, parent.order.purpose == "entry"
    if not (state.ready and state.market_open) or (entry and state.trading is not TradingState.ACTIVE):
        return False
    left = (state.next_close - state.clock).total_seconds() if state.next_close is not None else 0.0
    if entry and left < state.config.no_entry_before_close_s:
        return False
    if any(order.is_unsettled or order.remaining_entry or order.outdated for order in state.live_orders(symbol)):
        return False
    if state.has_uncounted_fills(symbol) or any(item.order.symbol == symbol for item in state.strangers.values()):
        return False
    return _price_allows(state, parent)


def _price_allows(state: CoreState, parent: Parent) -> bool:
    """The market is within the parent's limit and, for an entry, between its stop and its target."""
    order, mark = parent.order, state.marks.get(parent.order.symbol)
    seen = state.marked_at.get(order.symbol)
    if seen is None or (state.clock - seen).total_seconds() > state.config.price_max_age_s:
        return False
    if mark is None or (mark > order.limit_price if order.side is Side.BUY else mark < order.limit_price):
        return False
    if order.purpose != "entry":
        return True
    plan = state.plans.get(order.symbol)
    return plan is not None and min(plan.stop, plan.target) + CENT <= mark <= max(plan.stop, plan.target) - CENT


def _was_sold(state: CoreState, parent: Parent, held: Position | None) -> bool:
    """Less is held than was bought: a stop, a target or a person ended the idea."""
    if state.has_uncounted_fills(parent.order.symbol):
        return False
    mine = sum((state.executed.get(link, ZERO) for cid in parent.slices for link in state.orders[cid].chain), ZERO)
    direction = 1 if parent.order.side is Side.BUY else -1
    return mine > 0 and (held.qty * direction if held else ZERO) < mine


def _is_hopeless(state: CoreState, parent: Parent) -> bool:
    """The broker refuses slice after slice, or refused one for a reason that does not pass."""
    for refused, cid in enumerate(reversed(parent.slices), 1):
        order = state.orders[cid]
        if order.filled_qty or not (order.phase is Phase.REFUSED or order.status == "rejected"):
            return False
        cause = order.reason.split(":", 1)[0]
        if order.phase is Phase.REFUSED and cause in set(Rejection) and strategy(Rejection(cause)).cure in FINAL:
            return True
        if refused >= state.config.max_entry_attempts:
            return True
    return False


# -- slices ----------------------------------------------------------------------------------------------------------------------------


def _bracket_slice(state: CoreState, parent: Parent, qty: Decimal) -> OrderIntended:
    order, plan = parent.order, state.plans[parent.order.symbol]
    last = step_of(parent) >= _steps(parent)
    limit = slice_limit(order.side, state.marks[order.symbol], order.limit_price, state.config.execution, last=last)
    return _intent(state, parent, "slice", qty, OrderClass.BRACKET, TimeInForce.GTC, limit, plan)


def _unwind(state: CoreState, parent: Parent, due: Decimal) -> Iterator[Item]:
    """Sell what no order holds; free one protective group first where that is too little."""
    order, symbol = parent.order, parent.order.symbol
    held = state.positions[symbol]
    free = abs(held.qty) - covered_qty(state, symbol)
    if free <= 0:
        group = _group_to_free(state, symbol, due)
        if group is not None:
            yield from cancel_group(state, group, "parent:free")
        return
    last = step_of(parent) >= _steps(parent)
    limit = slice_limit(order.side, state.marks[symbol], order.limit_price, state.config.execution, last=last)
    yield _intent(state, parent, "unwind", min(due, free), OrderClass.SIMPLE, TimeInForce.DAY, limit, None)


def _group_to_free(state: CoreState, symbol: str, due: Decimal) -> LocalOrder | None:
    """The smallest protective group that covers the slice, else the largest."""
    groups = [order for order in state.live_orders(symbol) if order.protective_qty > 0]
    enough = [order for order in groups if order.protective_qty >= due]
    if enough:
        return min(enough, key=lambda order: (order.protective_qty, order.request.client_order_id))
    return max(groups, key=lambda order: (order.protective_qty, order.request.client_order_id), default=None)


def _intent(
    state: CoreState, parent: Parent, purpose: str, qty: Decimal, kind: OrderClass, lives: TimeInForce, limit: Decimal, plan: Plan | None
) -> OrderIntended:
    order, number = parent.order, len(parent.slices)
    request = OrderRequest(
        client_order_id=client_order_id(order.decision_id, order.symbol, order.decision_time, purpose, number),
        symbol=order.symbol,
        side=order.side,
        qty=qty,
        kind=OrderKind.LIMIT,
        order_class=kind,
        time_in_force=lives,
        limit_price=limit,
        take_profit=plan.target if plan else None,
        stop_loss=plan.stop if plan else None,
    )
    return OrderIntended(state.clock, request, purpose, order.decision_id, number)


def _clear_orphans(state: CoreState, symbol: str) -> Iterator[Item]:
    """Slices whose parent has ended: nobody else would end them."""
    if symbol not in state.exits:
        for order in working_slices(state, symbol):
            yield from cancel_group(state, order, "parent:ended")


def open_parent(state: CoreState, parent: ParentOrder) -> Iterator[Item]:
    """Journal the plan, then begin with it."""
    yield ParentOpened(state.clock, parent)
    yield from advance_parent(state, parent.symbol)
