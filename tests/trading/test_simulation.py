"""Sessions full of faults and crashes; the invariants hold in all of them, and each is shown able to fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrade_pipelines.trading import CoreConfig, applying, deciding, entries, keeping, positions, protection
from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.domain import OrderClass
from alphatrade_pipelines.trading.orders import LocalOrder, Phase
from alphatrade_pipelines.trading.state import CoreState, EntryRetry
from tests.trading.fake_broker import Faults
from tests.trading.shell import Shell
from tests.trading.simulation import play, random_story, violations

SEEDS = 120


@pytest.mark.parametrize("block", range(4))
def test_sessions_with_every_fault_keep_every_invariant(block: int) -> None:
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        found = play(seed).check()
        assert not found, f"seed {seed}: {found}\nstory: {random_story(seed)}"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9))
def test_any_prefix_of_the_journal_gives_the_state_the_process_had(seed: int) -> None:
    shell = play(seed, fingerprints=True)
    state, marks = CoreState.initial(shell.config), dict(shell.log.marks)
    compared = 0
    for seq, event in shell.log.events():
        apply(state, event)
        if seq in marks:
            assert state.fingerprint() == marks[seq], f"seed {seed}: the state after event {seq} differs"
            compared += 1
    assert compared > 50


def test_the_same_seed_gives_the_same_session() -> None:
    assert list(play(11).log.events()) == list(play(11).log.events())
    assert play(11).state.fingerprint() != play(12).state.fingerprint()


DAY = [
    ("start",),
    ("price", "AAPL", 100),
    ("price", "IBM", 200),
    ("price", "MSFT", 50),
    ("signal", "IBM", 86400.0),  # queued before the open
    ("open_market",),
    ("faults", Faults(partial=1.0)),
    ("signal", "AAPL", 600.0),  # fills in part, the rest never comes
    ("broker_holds_back",),
    ("tick", 5.0),
    ("tick", 6.0),
    ("faults", Faults()),
    ("signal", "MSFT", 86400.0),
    ("price", "MSFT", 45),  # through the stop
    ("tick", 5.0),
    ("split", "IBM", 2),
    ("tick", 5.0),
    ("tick", 700.0),  # AAPL's time is over
    ("tick", 5.0),
    ("signal", "MSFT", 86400.0),
    ("operator", "flatten"),
    ("tick", 5.0),
    ("settle",),
]


class DayShell(Shell):
    """The scripted day needs a partly filled entry whose remainder stays open."""

    holds_back = False

    def broker_holds_back(self) -> None:
        self.holds_back = True

    def tick(self, seconds: float = 5.0) -> None:
        if not self.holds_back:
            return super().tick(seconds)
        self.broker.now += timedelta(seconds=seconds)
        self.send(self.clock())
        return None

    def faults(self, faults: Faults) -> None:
        self.holds_back = False
        super().faults(faults)


def test_the_scripted_day_does_everything_it_is_meant_to() -> None:
    shell = DayShell()
    shell.run(DAY)
    assert shell.check() == []
    purposes = [order.purpose for order in shell.state.orders.values()]
    assert purposes.count("entry") == 4
    assert purposes.count("protect") >= 2  # the partial entry and the split position
    assert purposes.count("exit") >= 2
    assert not shell.state.positions


def test_a_crash_at_any_boundary_of_the_day_breaks_nothing() -> None:
    whole = DayShell()
    whole.run(DAY)
    assert whole.boundaries > 150
    for boundary in range(1, whole.boundaries + 1):
        shell = DayShell(crash_at=boundary)
        shell.run(DAY)
        assert shell.crashes == 1
        assert shell.check() == [], f"crash at boundary {boundary}"
        assert not shell.state.positions, f"crash at boundary {boundary}"
        assert not shell.engine.open_business(), f"crash at boundary {boundary}"


# Deliberate bugs. Each must be caught within 200 seeds, or the invariants above prove nothing.


def _count_everything(state: CoreState, execution: Any) -> bool:
    state.executions.pop(execution.execution_id, None)
    return _real_count(state, execution)


_real_count = positions.count_execution


def _count_both_legs(order: LocalOrder) -> Any:
    factor = 2 if order.request.order_class is OrderClass.OCO else 1
    return factor * LocalOrder_protective(order)


LocalOrder_protective = LocalOrder.protective_qty.fget


def _refusal_ends_the_exit(state: CoreState, order: Any, rejection: Any, *, denied: bool) -> None:
    if order.purpose == "exit":
        state.exits.pop(order.request.symbol, None)
        state.plans.pop(order.request.symbol, None)
        state.leaving = ""
    else:
        _real_after_refusal(state, order, rejection, denied=denied)


_real_after_refusal = applying._after_refusal


def _deaf_to_silence(state: CoreState, event: Any) -> None:
    """Takes a timeout for a refusal and tries again under a new name."""
    order = state.orders[event.client_order_id]
    _real_submit_ended(state, event)
    if order.phase is Phase.UNKNOWN and order.purpose == "entry":
        order.phase = Phase.REFUSED
        state.entry_retries[order.request.symbol] = EntryRetry(order.request.qty, order.attempt + 1, event.at)
        applying._index(state, order)


_real_submit_ended = applying._HANDLERS[applying.SubmitEnded]


_SERIAL = count()


def _unindexed(state: CoreState, event: Any) -> None:
    """State that depends on something outside the journal."""
    _real_clock(state, event)
    state.intents["mutant"] = next(_SERIAL)


_real_clock = applying._HANDLERS[applying.ClockTicked]


def _nothing(*_: Any, **__: Any) -> Any:
    return iter(())


def _no_denial(*_: Any, **__: Any) -> None:
    return None


def _handler(kind: type[Any], function: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setitem(applying._HANDLERS, kind, function)


def _attribute(owner: Any, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(owner, name, value)


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "executions are counted again": _attribute(applying.positions, "count_execution", _count_everything),
    "a partly filled entry may sleep for ever": _attribute(entries, "partial_entry_waited", lambda *_: False),
    "an OCO counts twice": _attribute(LocalOrder, "protective_qty", property(_count_both_legs)),
    "a refused exit is dropped": _attribute(applying, "_after_refusal", _refusal_ends_the_exit),
    "silence is taken for a refusal": _handler(applying.SubmitEnded, _deaf_to_silence),
    "the state depends on more than the journal": _handler(applying.ClockTicked, _unindexed),
    "nobody asks for unanswered orders": _attribute(deciding, "settle_unsettled", _nothing),
    "the protection audit sleeps": _attribute(deciding, "audit_protection", _nothing),
    "a halt is ignored": _attribute(entries, "entry_denial", _no_denial),
    "differences to the broker are ignored": _attribute(deciding, "reconcile", _nothing),
    "a stop moved away stays where it is": _attribute(keeping, "_judge_stop", _nothing),
    "a fraction of a share is left naked": _attribute(protection, "trim_fraction", _nothing),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_deliberate_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    assert any(violations(seed) for seed in range(200)), f"nothing noticed that {name}"


def test_config_of_the_session_is_the_one_in_the_journal() -> None:
    shell = Shell(CoreConfig(partial_entry_wait_s=3.0))
    shell.start()
    replayed = shell.log.replay(CoreConfig(), 10**9)
    assert replayed.config == shell.config
