"""The engine: journal, then act. Commands leave it only after the intents behind them are durable."""

from __future__ import annotations

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
from alphatrade_pipelines.trading.deciding import decide
from alphatrade_pipelines.trading.events import CancelIntended, CloseIntended, Event, OrderIntended, ReplaceIntended, SessionStarted
from alphatrade_pipelines.trading.protection import uncovered_qty
from alphatrade_pipelines.trading.state import CoreState

_COMMANDS = (SubmitOrder, CancelOrder, ReplaceOrder, ClosePosition, ProbeOrder, ReadBroker, RaiseAlert)


class EngineError(RuntimeError):
    """The engine was used against its contract, or an earlier failure left it unable to go on."""


class EventLog(Protocol):
    """Where events become durable. ``append_many`` is atomic: all of them, in order, or none."""

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
    """A log that lasts as long as the process: for backtests."""

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
    """One account's core over one log. Building it replays the log; the first event ever must be ``SessionStarted``."""

    def __init__(self, config: CoreConfig, log: EventLog) -> None:
        self.state = CoreState.initial(config)
        self._log = log
        self._failure = ""
        for _, event in log.events():
            apply(self.state, event)

    def handle(self, event: Event) -> list[Command]:
        """Apply one event, decide, make event and intents durable together, and return the commands to execute.

        Nothing is returned, and so nothing is sent, unless the log took everything. Raises EngineError when used before
        ``SessionStarted`` or after a failure: then the log is the truth, build a new Engine from it.
        """
        self._check_usable(event)
        self._failure = f"handling {type(event).__name__} of {event.at} failed"
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
        self._log.append_many(batch)
        self._failure = ""
        return commands

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
            if uncovered_qty(state, symbol) and symbol not in state.exits:
                open_items.append(f"{symbol}: {uncovered_qty(state, symbol)} shares unprotected")
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
