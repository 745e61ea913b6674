"""Deliberate bugs in the core, the gateway, the wire and the journal. The simulation must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from alphatrade_pipelines.live import gateway
from alphatrade_pipelines.live.gateway import AlpacaGateway
from alphatrade_pipelines.live.transport import Failure, Reach
from alphatrade_pipelines.live.wire import sdk_request
from alphatrade_pipelines.simulation import journals
from alphatrade_pipelines.trading import applying, entries, orders, positions, refusals, sighting
from alphatrade_pipelines.trading.domain import OrderClass, OrderRequest
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


_protective_qty: Any = LocalOrder.protective_qty.fget


def _count_both_legs(order: LocalOrder) -> Any:
    return (2 if order.request.order_class is OrderClass.OCO else 1) * _protective_qty(order)


def _drop_the_exit(state: CoreState, symbol: str, *_: Any) -> None:
    state.exits.pop(symbol, None)
    state.plans.pop(symbol, None)
    state.leaving = ""


def _let_exits_drop(patch: pytest.MonkeyPatch) -> None:
    for room in (refusals, applying, sighting):
        patch.setattr(room, "exit_refused", _drop_the_exit)


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


_failure_of = gateway.failure_of


def _take_silence_for_a_refusal(error: Exception) -> Failure:
    failure = _failure_of(error)
    return replace(failure, reach=Reach.ANSWERED, status=400) if failure.reach is Reach.UNKNOWN else failure


_read_broker = AlpacaGateway.read_broker


def _take_failure_for_flat(self: AlpacaGateway, at: Any, began: Any) -> BrokerSeen:
    """Every second answer about positions is lost, and a lost one is an empty one."""
    seen = _read_broker(self, at, began)
    return replace(seen, positions=()) if next(_SERIAL) % 2 else seen


def _without_stop(request: OrderRequest) -> Any:
    """A bracket whose stop is forgotten on its way to the SDK."""
    if request.order_class is OrderClass.BRACKET:
        request = replace(request, order_class=OrderClass.OTO, stop_loss=None)
    return sdk_request(request)


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


MUTANTS: dict[str, Plant] = {
    "executions are counted again": _attribute(positions, "count_execution", _count_again),
    "a partly filled entry may sleep for ever": _attribute(entries, "partial_entry_waited", lambda *_: False),
    "nobody looks at legs": _be_deaf_to_legs,
    "silence is taken for a refusal": _attribute(gateway, "failure_of", _take_silence_for_a_refusal),
    "an empty answer is taken for flat": _attribute(AlpacaGateway, "read_broker", _take_failure_for_flat),
}
