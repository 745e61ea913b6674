"""Deliberate bugs in the core, the gateway, the wire and the journal. The simulation must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from alphatrade_pipelines.live import gateway, memory
from alphatrade_pipelines.live.gateway import AlpacaGateway
from alphatrade_pipelines.live.wire import sdk_request
from alphatrade_pipelines.simulation import journals
from alphatrade_pipelines.trading import applying, deciding, entries, orders, positions, sighting
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import OrderRequest
from alphatrade_pipelines.trading.events import BrokerSeen, ClockTicked, Event
from alphatrade_pipelines.trading.orders import LocalOrder
from alphatrade_pipelines.trading.state import CoreState

Plant = Callable[[pytest.MonkeyPatch], None]


def _attribute(owner: Any, name: str, value: Any) -> Plant:
    return lambda patch: patch.setattr(owner, name, value)


def _nothing(*_: Any, **__: Any) -> Any:
    return iter(())


# --- the core -------------------------------------------------------------------------------------------------------------------------


_count_execution = positions.count_execution


def _count_again(state: CoreState, execution: Any) -> bool:
    state.executions.pop(positions.execution_key(execution), None)
    return _count_execution(state, execution)


_SERIAL = count()
_clock_ticked = applying._HANDLERS[ClockTicked]


def _remember_more(state: CoreState, event: ClockTicked) -> None:
    _clock_ticked(state, event)
    state.intents["mutant"] = next(_SERIAL)


def _forget_legs(order: LocalOrder, seen: Any, **_: Any) -> None:
    """Legs are somebody else's business."""


def _be_deaf_to_legs(patch: pytest.MonkeyPatch) -> None:
    for room in (orders, sighting):
        patch.setattr(room, "observe_leg", _forget_legs)


# --- the gateway and the wire ---------------------------------------------------------------------------------------------------------


_read_broker = AlpacaGateway.read_broker


def _take_failure_for_flat(self: AlpacaGateway, at: Any, began: Any) -> BrokerSeen:
    """Every second answer about positions is lost, and a lost one is an empty one."""
    seen = _read_broker(self, at, began)
    return replace(seen, positions=()) if next(_SERIAL) % 2 else seen


def _under_another_name(request: OrderRequest) -> Any:
    """The name of an order is drawn when it is sent."""
    return sdk_request(replace(request, client_order_id=f"{request.client_order_id[:30]}-{next(_SERIAL)}"))


# --- the journal ----------------------------------------------------------------------------------------------------------------------


_append_many = journals.MemoryStore.append_many


def _late(self: journals.MemoryStore, events: Sequence[Event]) -> int:
    """Says "durable" one append before it is: what is waiting dies with the process."""
    waiting: list[Event] = self.__dict__.setdefault("waiting", [])
    ready, self.__dict__["waiting"] = list(waiting), list(events)
    if ready:
        _append_many(self, ready)
    return len(self._rows) + len(events)


def _lose_what_waits(self: journals.MemoryStore, torn: float | None) -> None:
    self.__dict__["waiting"] = []


def _lie_about_durability(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journals.MemoryStore, "append_many", _late)
    patch.setattr(journals.MemoryStore, "reopen", _lose_what_waits)


def _forget_the_last_row(self: journals.MemoryStore, torn: float | None) -> None:
    self._rows.pop()
    del self._read[len(self._rows) :]
    self.head = journals.GENESIS
    for number, body in enumerate(self._rows, 1):
        self.head = journals.row_hash(self.head, number, body)


MUTANTS: dict[str, Plant] = {
    "executions are counted again": _attribute(positions, "count_execution", _count_again),
    "a partly filled entry may sleep for ever": _attribute(entries, "partial_entry_waited", lambda *_: False),
    "the state depends on more than the journal": lambda patch: patch.setitem(applying._HANDLERS, ClockTicked, _remember_more),
    "the protection audit sleeps": _attribute(deciding, "audit_protection", _nothing),
    "a halt is ignored": _attribute(entries, "entry_denial", lambda *_, **__: None),
    "differences to the broker are ignored": _attribute(deciding, "reconcile", _nothing),
    "nobody looks at legs": _be_deaf_to_legs,
    "an empty answer is taken for flat": _attribute(AlpacaGateway, "read_broker", _take_failure_for_flat),
    "orders are named when they are sent": _attribute(gateway.wire, "sdk_request", _under_another_name),
    "the journal says durable too early": _lie_about_durability,
    "executions are not counted": _attribute(positions, "count_execution", lambda *_: False),
    "nothing is ever cancelled": _attribute(LocalOrder, "cancel_target", property(lambda _: None)),
    "a refused exit waits for up to a minute": _attribute(CoreConfig, "exit_backoff_s", lambda self, attempts, _: self.backoff_s(attempts)),
    "a start takes a snapshot for the whole journal": _attribute(memory, "_fold_quickly", lambda *_: None),
    "a restart forgets the last row": _attribute(journals.MemoryStore, "reopen", _forget_the_last_row),
}
