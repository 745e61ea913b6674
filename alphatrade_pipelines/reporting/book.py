"""Orders, fills and their meaning, put together again from the events of a journal.

One ``OrderBook`` is fed event by event (live) or in one go (afterwards); nothing here asks a broker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from alphatrade_pipelines.trading.domain import BrokerOrder, Execution, ModelRef, Side, Signal
from alphatrade_pipelines.trading.events import (
    BrokerSeen,
    CorporateActionApplied,
    Event,
    ModelSwapped,
    OrderIntended,
    OrderProbed,
    OrderUpdated,
    Outcome,
    PriceSeen,
    SessionStarted,
    SignalReceived,
    SubmitEnded,
)
from alphatrade_pipelines.trading.ids import decision_id


@dataclass(slots=True)
class OrderRecord:
    """One order of ours: what was intended, how the submission ended, what the broker last said of it and its legs."""

    intent: OrderIntended
    mark: Decimal | None  # last price when it was intended
    ended: SubmitEnded | None = None
    broker_id: str = ""
    status: str = ""
    refused: str = ""

    @property
    def client_order_id(self) -> str:
        return self.intent.request.client_order_id


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution with its meaning. ``role`` is entry, stop, target, exit or foreign; ``reference`` the price it is judged against.

    References: an entry by its signal's price, a stop by its stop price, a target by its limit, an exit by the last price when it was
    intended. ``client_order_id`` is ours (the group's), empty for an order we never sent.
    """

    execution: Execution
    client_order_id: str
    role: str
    reference: Decimal | None

    @property
    def signed_qty(self) -> Decimal:
        return self.execution.qty if self.execution.side is Side.BUY else -self.execution.qty

    @property
    def shortfall_bps(self) -> Decimal | None:
        """Implementation shortfall in basis points of the reference: positive is a cost, negative an improvement."""
        if not self.reference:
            return None
        worse = self.execution.price - self.reference
        return (worse if self.execution.side is Side.BUY else -worse) / self.reference * 10_000


@dataclass
class OrderBook:
    """Everything orders did, by client order id; ``executions`` in the order they were first heard of, ``streamed`` the ids of
    those the stream told."""

    orders: dict[str, OrderRecord] = field(default_factory=dict)
    reports: dict[str, BrokerOrder] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    signals: dict[str, Signal] = field(default_factory=dict)
    models: dict[str, ModelRef] = field(default_factory=dict)
    streamed: set[str] = field(default_factory=set)
    started: list[SessionStarted] = field(default_factory=list)
    _root: dict[str, str] = field(default_factory=dict)
    _marks: dict[str, Decimal] = field(default_factory=dict)
    _strategy: str = ""

    @classmethod
    def of(cls, events: Iterable[Event]) -> OrderBook:
        """The book after these events."""
        book = cls()
        for event in events:
            book.add(event)
        return book

    def add(self, event: Event) -> None:
        """Learn from one event."""
        match event:
            case SessionStarted():
                self._start(event)
            case ModelSwapped():
                self.models[event.model.version] = event.model
            case PriceSeen():
                self._marks[event.symbol] = event.price
            case CorporateActionApplied() if event.split != 1 and event.symbol in self._marks:
                self._marks[event.symbol] /= event.split
            case SignalReceived(signal=signal):
                self.signals[decision_id(self._strategy, signal.model_version, signal.symbol, signal.decision_time)] = signal
            case OrderIntended():
                self._intend(event)
            case SubmitEnded():
                self._ended(event)
            case OrderProbed(order=BrokerOrder() as order):
                self._report(order)
            case OrderUpdated():
                self._report(event.order)
                self._execute(event.execution)
                if event.execution is not None:
                    self.streamed.add(event.execution.execution_id)
            case BrokerSeen():
                for order in event.orders:
                    self._report(order)
                for execution in event.executions:
                    self._execute(execution)
            case _:
                pass

    def _start(self, event: SessionStarted) -> None:
        from alphatrade_pipelines.trading.config import CoreConfig

        self.started.append(event)
        self.models[event.model.version] = event.model
        self._strategy = CoreConfig.from_json(event.config).strategy

    def _intend(self, event: OrderIntended) -> None:
        known = self.orders.get(event.request.client_order_id)
        if known is None:  # a resend under the same name is the same order
            self.orders[event.request.client_order_id] = OrderRecord(event, self._marks.get(event.request.symbol))

    def _ended(self, event: SubmitEnded) -> None:
        record = self.orders.get(event.client_order_id)
        if record is not None:
            record.ended = event
            record.refused = event.reason if event.outcome is Outcome.REFUSED else ""
        if event.order is not None:
            self._report(event.order)

    def _report(self, order: BrokerOrder, root: str | None = None) -> None:
        """Note an order and whose group it belongs to: a leg hangs on its parent, a replacement on what it replaced."""
        own = order.client_order_id if order.client_order_id in self.orders else None
        root = root or own or self._root.get(order.broker_id) or self._root.get(order.replaces or "")
        known = self.reports.get(order.broker_id)
        if known is None or known.is_live or order.filled_qty > known.filled_qty:
            self.reports[order.broker_id] = order
        if root is not None:
            self._root[order.broker_id] = root
            if own is not None:
                self.orders[own].broker_id = order.broker_id
                self.orders[own].status = self.reports[order.broker_id].status
        for leg in order.legs:
            self._report(leg, root)

    def _execute(self, execution: Execution | None) -> None:
        if execution is not None:
            self.executions.setdefault(execution.execution_id.rsplit("::", 1)[-1], execution)

    def root_of(self, broker_id: str) -> str:
        """Our client order id behind a broker's order id (its own or its parent's); empty when the order is not ours."""
        return self._root.get(broker_id, "")

    def fills(self) -> list[Fill]:
        """All executions with their meaning, in the order they were first heard of."""
        return [self._fill(execution) for execution in self.executions.values()]

    def _fill(self, execution: Execution) -> Fill:
        cid = self.root_of(execution.broker_id)
        record, report = self.orders.get(cid), self.reports.get(execution.broker_id)
        if record is None:
            return Fill(execution, "", "foreign", None)
        if report is not None and (report.client_order_id != cid or record.intent.request.order_class == "oco"):
            # a leg, or the profit order that heads an OCO: judged by its own price
            is_stop = report.stop_price is not None
            return Fill(execution, cid, "stop" if is_stop else "target", report.stop_price if is_stop else report.limit_price)
        if record.intent.purpose in ("entry", "slice"):
            signal = self.signals.get(record.intent.decision_id)
            return Fill(execution, cid, record.intent.purpose, signal.reference_price if signal else record.mark)
        return Fill(execution, cid, record.intent.purpose, record.mark)

    def signal_of(self, decision: str) -> Signal | None:
        """The signal behind a decision id; protective and closing orders carry the entry's decision as a suffix."""
        while decision:
            if decision in self.signals:
                return self.signals[decision]
            _, _, decision = decision.partition("|")
        return None
