"""Why was this traded? From any id of an order, a leg or a fill back to the bars that caused it, from the journal alone:
fill -> order -> decision -> features -> model version -> MLflow run -> Dagster run -> data hash."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from alphatrade_pipelines.reporting.book import Fill, OrderBook, OrderRecord
from alphatrade_pipelines.trading.domain import ModelRef, Signal
from alphatrade_pipelines.trading.events import BrokerSeen, Event, OrderIntended, OrderProbed, OrderUpdated, SessionStarted, SubmitEnded

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.tree import Tree

NEAREST = 5


class UnknownOrderError(LookupError):
    """No order, leg or fill of this journal has the id."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened to the order."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The chain behind one order. ``signal`` is None for an order that no signal caused (protection of a position found at the start);
    ``model`` is the version the signal names. ``family``: the other orders of the same decision."""

    asked: str
    order: OrderIntended
    broker_id: str
    status: str
    submission: str
    fills: tuple[Fill, ...]
    story: tuple[Moment, ...]
    family: tuple[OrderIntended, ...]
    signal: Signal | None
    model: ModelRef | None
    session: SessionStarted | None
    journal_seq: int

    @property
    def filled_qty(self) -> Decimal:
        """Shares filled under this order and its legs."""
        return sum((fill.execution.qty for fill in self.fills), Decimal(0))


def explain(events: Iterable[Event], asked: str) -> Explanation:
    """The chain behind ``asked``: a client order id, a broker's order or leg id, or an execution id.

    Raises: UnknownOrderError naming the nearest ids of the journal.
    """
    history = list(events)
    book = OrderBook.of(history)
    cid = _resolve(book, asked)
    record = book.orders[cid]
    signal = book.signal_of(record.intent.decision_id)
    session = _session_of(history, record.intent)
    model = book.models.get(signal.model_version) if signal else (session.model if session else None)
    return Explanation(
        asked=asked,
        order=record.intent,
        broker_id=record.broker_id,
        status=record.status,
        submission=_submission(record),
        fills=tuple(fill for fill in book.fills() if fill.client_order_id == cid),
        story=tuple(_story(history, book, cid)),
        family=_family(book, record, signal),
        signal=signal,
        model=model,
        session=session,
        journal_seq=next(seq for seq, event in enumerate(history, 1) if event is record.intent),
    )


def _resolve(book: OrderBook, asked: str) -> str:
    """Our client order id behind any id of the journal."""
    if asked in book.orders:
        return asked
    by_execution = book.executions.get(asked.rsplit("::", 1)[-1])
    root = book.root_of(by_execution.broker_id if by_execution else asked)
    by_leg_name = next((broker_id for broker_id, order in book.reports.items() if order.client_order_id == asked), "")
    root = root or book.root_of(by_leg_name)
    if root:
        return root
    known = [*book.orders, *book.reports, *book.executions]
    prefixed = [name for name in known if asked and name.startswith(asked)]
    nearest = [*prefixed, *(name for name in difflib.get_close_matches(asked, known, NEAREST, 0.3) if name not in prefixed)]
    hint = f"nearest: {', '.join(nearest[:NEAREST])}" if nearest else "the journal holds no orders" if not known else "nothing like it"
    raise UnknownOrderError(f"no order, leg or fill {asked!r} in this journal; {hint}")


def _submission(record: OrderRecord) -> str:
    if record.ended is None:
        return "no answer recorded"
    reason = f": {record.ended.reason}" if record.ended.reason else ""
    return f"{record.ended.outcome}{reason}"


def _session_of(history: Sequence[Event], intent: OrderIntended) -> SessionStarted | None:
    """The run in which the order was intended."""
    current = None
    for event in history:
        if isinstance(event, SessionStarted):
            current = event
        if event is intent:
            return current
    return None


def _story(history: Sequence[Event], book: OrderBook, cid: str) -> list[Moment]:
    """What the journal heard about the order and its legs, in the order it heard it."""
    told: list[Moment] = []
    for event in history:
        text = _telling(event, book, cid)
        if text and not (told and told[-1].what == text):
            told.append(Moment(event.at, text))
    return told


def _telling(event: Event, book: OrderBook, cid: str) -> str:
    match event:
        case OrderIntended() if event.request.client_order_id == cid:
            return f"intended ({event.purpose}, attempt {event.attempt})"
        case SubmitEnded() if event.client_order_id == cid:
            return f"submission {event.outcome}" + (f": {event.reason}" if event.reason else "")
        case OrderProbed() if event.client_order_id == cid:
            return f"asked the broker for it: {event.outcome}"
        case OrderUpdated() if book.root_of(event.order.broker_id) == cid:
            leg = "" if event.order.client_order_id == cid else f" of the {_leg_name(event.order.stop_price)} leg"
            done = f", {event.execution.qty} at {event.execution.price}" if event.execution else ""
            return f"{event.event}{leg}{done}"
        case BrokerSeen():
            found = [fill for fill in event.executions if book.root_of(fill.broker_id) == cid]
            fresh = [fill for fill in found if fill.execution_id not in book.streamed]
            return f"read from the broker: {', '.join(f'{f.qty} at {f.price}' for f in fresh)}" if fresh else ""
        case _:
            return ""


def _leg_name(stop_price: Decimal | None) -> str:
    return "target" if stop_price is None else "stop"


def _family(book: OrderBook, record: OrderRecord, signal: Signal | None) -> tuple[OrderIntended, ...]:
    if signal is None:
        return ()
    others = (other.intent for other in book.orders.values() if other is not record)
    return tuple(intent for intent in others if book.signal_of(intent.decision_id) is signal)


def render(explanation: Explanation) -> RenderableType:
    """The chain as a tree for a terminal."""
    from rich.markup import escape
    from rich.tree import Tree

    found, request = explanation, explanation.order.request
    tree = Tree(f"[bold]{escape(request.client_order_id)}[/]  {found.order.purpose} {request.side} {request.qty} {request.symbol}")
    _add_fills(tree, found)
    order = tree.add(
        f"[cyan]order[/] {request.kind} {request.order_class} {request.time_in_force}, {found.status or 'never at the broker'}"
    )
    prices = (("limit", request.limit_price), ("stop", request.stop_loss or request.stop_price), ("target", request.take_profit))
    order.add(", ".join(f"{name} {price}" for name, price in prices if price is not None) or "no price condition")
    order.add(f"broker id {found.broker_id or 'none'}, submission {escape(found.submission)}, journal entry {found.journal_seq}")
    story = order.add("story")
    for moment in found.story:
        story.add(f"{moment.at:%Y-%m-%d %H:%M:%S}  {escape(moment.what)}")
    for other in found.family:
        order.add(f"same decision: {other.purpose} {escape(other.request.client_order_id)}")
    _add_decision(tree, found)
    _add_lineage(tree, found)
    return tree


def _add_fills(tree: Tree, found: Explanation) -> None:
    branch = tree.add(f"[cyan]fills[/] {found.filled_qty} shares in {len(found.fills)} executions")
    for fill in found.fills:
        done, bps = fill.execution, fill.shortfall_bps
        cost = "" if bps is None else f", {bps:+.1f} bps against {fill.reference}"
        branch.add(f"{done.at:%Y-%m-%d %H:%M:%S}  {fill.role} {done.side} {done.qty} at {done.price}{cost}  [dim]{done.execution_id}[/]")


def _add_decision(tree: Tree, found: Explanation) -> None:
    signal = found.signal
    if signal is None:
        tree.add(f"[cyan]decision[/] {found.order.decision_id} (no signal: the core acted on the position itself)")
        return
    decision = tree.add(f"[cyan]decision[/] {signal.side} {signal.symbol} at {signal.decision_time:%Y-%m-%d %H:%M:%S} UTC")
    decision.add(f"probability {signal.probability:.4f} [{signal.lower:.4f}, {signal.upper:.4f}], payoff {signal.payoff:.3f}")
    decision.add(f"reference {signal.reference_price}, stop {signal.stop_price}, target {signal.target_price}, until {signal.hold_until}")
    features = decision.add(f"[cyan]features[/] pipeline {signal.feature_hash[:16]}")
    for name, value in signal.features:
        features.add(f"{name} = {value:.6g}")


def _add_lineage(tree: Tree, found: Explanation) -> None:
    model = found.model
    if model is None:
        tree.add("[cyan]model[/] not recorded in this journal")
        return
    branch = tree.add(f"[cyan]model[/] {model.name} version {model.version} (gate {model.profile}), bundle {model.bundle_hash[:16]}")
    run = branch.add(f"[cyan]MLflow run[/] {model.mlflow_run_id}")
    dagster = run.add(
        f"[cyan]Dagster run[/] {model.dagster_run_id or 'trained outside Dagster'}, git commit {model.git_commit or 'unknown'}"
    )
    dagster.add(f"[cyan]data[/] {model.data_hash}")
    if found.session is not None:
        tree.add(f"[cyan]session[/] {found.session.mode} run {found.session.run_id}, account {found.session.account.account_number}")
