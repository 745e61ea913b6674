"""The engine: journal, then act. Commands leave it only after the intents behind them are durable.

One exception, on purpose. When the log can take no more (a full disk, a lost server), exits, protection and cancellations still leave,
because a position must never wait for a disk. Entries do not: they end Denied. Their events stay in memory, in order, and are written
first as soon as the log takes events again, between two ``JournalStateSeen`` that mark the stretch. A crash in between loses them, which
is a crash like any other: the broker is asked, and client order ids do not depend on the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.commands import (
    CancelOrder,
    ClosePosition,
    Command,
    ProbeOrder,
    RaiseAlert,
    ReadBroker,
    ReplaceOrder,
    SubmitOrder,
)
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.coverage import naked_qty
from alphatrade_pipelines.trading.deciding import decide
from alphatrade_pipelines.trading.events import (
    CancelIntended,
    CloseIntended,
    Event,
    JournalStateSeen,
    OrderIntended,
    Outcome,
    ReplaceEnded,
    ReplaceIntended,
    SessionStarted,
    SubmitEnded,
)
from alphatrade_pipelines.trading.state import CoreState

_COMMANDS = (SubmitOrder, CancelOrder, ReplaceOrder, ClosePosition, ProbeOrder, ReadBroker, RaiseAlert)
# events given to a recovering log at a time: a log that still refuses must refuse quickly
_CHUNK = 256


class EngineError(RuntimeError):
    """The engine was used against its contract, or an earlier failure left it unable to go on."""


class LogWriteError(RuntimeError):
    """The log cannot take events now. The same events are offered again, in the same order; a log must not store them twice."""


class EventLog(Protocol):
    """Where events become durable. ``append_many`` is atomic: all of them, in order, or none.

    It raises ``LogWriteError`` for a trouble that may pass (no space, server gone); any other error ends the engine. A log may also have
    an attribute ``trouble``: one sentence while it still stores but soon may not (it lives on its reserve), empty otherwise.
    """

    def append(self, event: Event) -> int:
        """Store one event durably; its sequence number (from 1, gap-free)."""
        ...

    def append_many(self, events: Sequence[Event]) -> int:
        """Store a batch durably and atomically; the sequence number of the last one."""
        ...

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Stored events with sequence numbers >= ``from_seq``, in order."""
        ...


class MemoryLog:
    """A log that lasts as long as the process."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def append(self, event: Event) -> int:
        self._events.append(event)
        return len(self._events)

    def append_many(self, events: Sequence[Event]) -> int:
        self._events.extend(events)
        return len(self._events)

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        start = max(from_seq, 1)
        yield from enumerate(self._events[start - 1 :], start)


class Engine:
    """One account's core over one log; the first event ever must be ``SessionStarted``.

    Building it replays the log, unless ``state`` is given: what that very log comes to.
    """

    def __init__(self, config: CoreConfig, log: EventLog, state: CoreState | None = None) -> None:
        self.state = CoreState.initial(config) if state is None else state
        self._log = log
        self._failure = ""
        self._backlog: deque[list[Event]] = deque()  # batches that are not durable yet, oldest first
        self._refused = 0  # batches at the front of the backlog that the log has refused before
        self._impaired = False
        self._late = 0
        if state is None:
            for _, event in log.events():
                apply(self.state, event)

    @property
    def backlog(self) -> int:
        """Events acted upon that are not durable yet: 0 unless the log cannot be written."""
        return sum(map(len, self._backlog))

    @property
    def impaired(self) -> bool:
        """The log cannot be written, or lives on its reserve."""
        return self._impaired

    def handle(self, event: Event) -> list[Command]:
        """Apply one event, decide, make event and intents durable together, and return the commands to execute.

        Nothing is returned, and so nothing is sent, unless the log took everything; while it cannot (``LogWriteError``), what reduces
        risk is returned all the same and entries are denied. What protects or closes comes first, questions for single orders last: each
        answer may take seconds. Raises EngineError when used before ``SessionStarted`` or after a failure: then the log is the truth,
        build a new Engine from it.
        """
        self._check_usable(event)
        self._failure = f"handling {type(event).__name__} of {event.at} failed"
        commands = self._step(event)
        trouble = self._store()
        if trouble:
            commands = self._go_on_without(trouble, commands)
        elif self._impaired:
            commands += self._restored()
        self._failure = ""
        return sorted(commands, key=self._rank)

    def _rank(self, command: Command) -> int:
        """Smaller is more urgent."""
        if isinstance(command, SubmitOrder):
            return 1 if self.state.orders[command.request.client_order_id].opens else 0
        return 0 if isinstance(command, ClosePosition) else 2 if isinstance(command, ProbeOrder) else 1

    def _step(self, event: Event) -> list[Command]:
        """Apply an event and what is decided on it; the batch waits to be stored, the commands to be sent."""
        apply(self.state, event)
        batch, commands = [event], list[Command]()
        for item in decide(self.state, event):
            if isinstance(item, _COMMANDS):
                command: Command | None = item
            else:
                apply(self.state, item)
                batch.append(item)
                command = _command_of(item)
            if command is not None and command not in commands:
                commands.append(command)
        self._backlog.append(batch)
        return commands

    def _store(self) -> str:
        """Make everything that waits durable, oldest first. Why it is not, or soon may not be, in one sentence; empty when all is well."""
        try:
            while self._backlog:
                chunk = self._chunk()
                self._log.append_many([event for batch in chunk for event in batch])
                for batch in chunk:
                    self._late += len(batch) if self._refused else 0
                    self._refused -= 1 if self._refused else 0
                    self._backlog.popleft()
        except LogWriteError as error:
            self._refused = len(self._backlog)
            return str(error)
        return str(getattr(self._log, "trouble", ""))

    def _chunk(self) -> list[list[Event]]:
        """The next batches to store together: whole ones, at least one."""
        chunk, size = list[list[Event]](), 0
        for batch in self._backlog:
            size += len(batch)
            if chunk and size > _CHUNK:
                break
            chunk.append(batch)
        return chunk

    def _go_on_without(self, trouble: str, commands: list[Command]) -> list[Command]:
        """What may be sent although the log is in trouble: everything but entries, which end Denied. Halts, again if somebody resumed."""
        at, todo, allowed = self.state.clock, deque(commands), list[Command]()
        while True:
            while todo:
                command = todo.popleft()
                denial = self._denial(command)
                if denial is not None:
                    todo += self._step(denial)
                elif command not in allowed:
                    allowed.append(command)
            if self._impaired and self.state.halted:
                break
            self._impaired = True
            todo += self._step(JournalStateSeen(at, False, trouble))
        self._store()
        return allowed

    def _denial(self, command: Command) -> Event | None:
        """The end of a command that could add risk; None for one that may be sent."""
        at, state, why = self.state.clock, self.state, "journal cannot be written"
        if isinstance(command, SubmitOrder) and state.orders[command.request.client_order_id].opens:
            return SubmitEnded(at, command.request.client_order_id, Outcome.DENIED, reason=why)
        if isinstance(command, ReplaceOrder) and state.orders[state.aliases[command.client_order_id]].opens:
            return ReplaceEnded(at, command.client_order_id, command.broker_id, Outcome.DENIED, reason=why)
        return None

    def _restored(self) -> list[Command]:
        late, self._late, self._impaired = self._late, 0, False
        commands = self._step(JournalStateSeen(self.state.clock, True, "the journal can be written again", late))
        trouble = self._store()
        return self._go_on_without(trouble, commands) if trouble else commands

    def open_business(self) -> list[str]:
        """What still needs the broker before the process may end; empty = settled (positions protected, or flat if so asked)."""
        state = self.state
        open_items = [f"{symbol}: leaving ({saga.reason})" for symbol, saga in sorted(state.exits.items())]
        for symbol in sorted(state.live):
            for order in state.live_orders(symbol):
                if order.is_unsettled or order.remaining_entry or order.purpose == "exit":
                    open_items.append(
                        f"{symbol}: order {order.request.client_order_id} is {order.phase} ({order.status or 'no answer yet'})"
                    )
        for symbol in sorted(state.positions):
            if naked_qty(state, symbol) and symbol not in state.exits:
                open_items.append(f"{symbol}: {naked_qty(state, symbol)} shares unprotected")
        return open_items

    def _check_usable(self, event: Event) -> None:
        if self._failure:
            raise EngineError(f"{self._failure}; build a new Engine from the log")
        if self.state.session is None and not isinstance(event, SessionStarted):
            raise EngineError(f"Expected SessionStarted as the first event, was {type(event).__name__}")
        if event.at.tzinfo is None or event.at.utcoffset():
            raise EngineError(f"Expected an aware UTC time in {type(event).__name__}.at, was {event.at!r}")


def _command_of(event: Event) -> Command | None:
    match event:
        case OrderIntended():
            return SubmitOrder(event.request)
        case CancelIntended():
            return CancelOrder(event.broker_id, event.symbol)
        case ReplaceIntended():
            return ReplaceOrder(event.broker_id, event.symbol, event.client_order_id, event.qty, event.limit_price, event.stop_price)
        case CloseIntended():
            return ClosePosition(event.symbol)
        case _:
            return None
