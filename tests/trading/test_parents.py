"""Parents: worked in slices that are protected one by one, never more than the parent, through every interruption."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrade_pipelines.risk import Liquidity
from alphatrade_pipelines.trading import CoreConfig, parents
from alphatrade_pipelines.trading.commands import SubmitOrder
from alphatrade_pipelines.trading.domain import OrderClass, OrderRequest
from alphatrade_pipelines.trading.entries import exposure
from alphatrade_pipelines.trading.events import EntryDenied, Event, ParentEnded, ParentOpened, PriceSeen, SignalReceived
from alphatrade_pipelines.trading.execution import Algo, ExecutionConfig
from alphatrade_pipelines.trading.orders import Phase
from tests.trading.fake_broker import Faults
from tests.trading.shell import Shell, make_signal
from tests.trading.simulation import random_faults

E = TypeVar("E", bound=Event)
TWAP = ExecutionConfig(algo=Algo.TWAP, slice_s=60.0, horizon_s=600.0, max_slices=10)
THIN = Liquidity(daily_volume=40_000.0, volatility=0.02, spread=0.0008, volume_curve=(3.0, 2.0, 1.0, 1.0, 1.0, 2.0, 4.0))


def config(execution: ExecutionConfig = TWAP, **changes: object) -> CoreConfig:
    return CoreConfig(execution=execution, **changes)  # type: ignore[arg-type]


def opened(execution: ExecutionConfig = TWAP, *, liquidity: Liquidity | None = None, hold_s: float = 86400.0, seed: int = 0) -> Shell:
    """A shell whose market is open and whose first signal has just been given; 150 shares at 100 dollars."""
    shell = Shell(config(execution), seed)
    shell.run([("start",), ("price", "AAPL", 100), ("open_market",)])
    signal = make_signal("AAPL", Decimal(100), shell.broker.now, hold_s, liquidity=liquidity, session_open=shell.broker.now)
    shell.send(SignalReceived(shell.broker.now, signal))
    return shell


def events(shell: Shell, kind: type[E]) -> list[E]:
    return [event for _, event in shell.log.events() if isinstance(event, kind)]


def sent(shell: Shell, purpose: str) -> list[OrderRequest]:
    requests = [command.request for command in shell.commands if isinstance(command, SubmitOrder)]
    return [request for request in requests if shell.state.orders[request.client_order_id].purpose == purpose]


def bought(shell: Shell) -> Decimal:
    return sum((order.filled for order in shell.broker.orders if order.order_class == "bracket"), Decimal(0))


def minutes(shell: Shell, count: int, price: float = 100.0) -> None:
    """Minutes of market with a price and a tick each; protection is looked at after every one."""
    for _ in range(count):
        shell.price("AAPL", price)
        shell.tick(60.0)
        held = shell.broker.positions.get("AAPL", Decimal(0))
        assert shell.broker.stop_qty("AAPL") + shell.broker.queued_exit_qty("AAPL") >= held


# -- entries ---------------------------------------------------------------------------------------------------------------------------


def test_a_twap_buys_in_equal_brackets_and_each_brings_its_own_stop() -> None:
    shell = opened()
    (parent,) = events(shell, ParentOpened)
    assert (parent.parent.algo, parent.parent.qty, len(parent.parent.path)) == ("twap", Decimal(150), 10)
    for minute in range(10):
        held = shell.broker.positions["AAPL"]
        assert held == parent.parent.path[minute]
        assert shell.broker.stop_qty("AAPL") == held
        minutes(shell, 1)
    slices = sent(shell, "slice")
    assert [request.qty for request in slices] == [15] * 10
    assert all(request.order_class is OrderClass.BRACKET and request.limit_price == Decimal("100.50") for request in slices)
    assert len({request.client_order_id for request in slices}) == 10
    (ended,) = events(shell, ParentEnded)
    assert (ended.reason, ended.filled) == ("complete", Decimal(150))
    assert sent(shell, "protect") == [], "nothing protective had to be repaired"
    assert shell.check() == []


def test_without_liquidity_the_default_sends_one_order() -> None:
    shell = opened(ExecutionConfig())
    assert events(shell, ParentOpened) == []
    assert len(sent(shell, "entry")) == 1


@pytest.mark.parametrize(
    ("volume", "algo"),
    [(1e8, None), (2e5, "shortfall"), (2_000.0, "pov")],
)
def test_impact_decides_how_an_order_is_traded(volume: float, algo: str | None) -> None:
    shell = opened(ExecutionConfig(), liquidity=replace(THIN, daily_volume=volume))
    parents = events(shell, ParentOpened)
    if algo is None:
        assert (parents, len(sent(shell, "entry"))) == ([], 1)
    else:
        assert parents[0].parent.algo == algo
        assert parents[0].parent.planned_bps < parents[0].parent.single_bps


def test_when_the_session_ends_first_the_volume_curve_leads() -> None:
    shell = Shell(config(ExecutionConfig(slice_s=60.0)))
    shell.run([("start",), ("price", "AAPL", 100), ("open_market",)])
    shell.tick(6.5 * 3600 - 900.0)  # a quarter of an hour before the close
    shell.price("AAPL", 100)
    now = shell.broker.now
    opened_at = now - timedelta(hours=6.25)
    signal = make_signal("AAPL", Decimal(100), now, liquidity=replace(THIN, daily_volume=2e5), session_open=opened_at)
    shell.send(SignalReceived(now, signal))
    (parent,) = events(shell, ParentOpened)
    assert parent.parent.algo == "vwap"
    assert parent.parent.duration_s == pytest.approx(900.0)


def test_no_slice_buys_in_the_last_minutes() -> None:
    shell = Shell(config(replace(TWAP, horizon_s=7200.0), no_entry_before_close_s=1800.0))
    shell.run([("start",), ("price", "AAPL", 100), ("open_market",)])
    shell.tick(5.5 * 3600)  # an hour before the close
    shell.price("AAPL", 100)
    shell.signal("AAPL")
    (parent,) = events(shell, ParentOpened)
    assert parent.parent.duration_s == pytest.approx(1800.0)
    minutes(shell, 29)
    before = bought(shell)
    minutes(shell, 25)
    assert bought(shell) <= 150
    late = [order for order in shell.state.orders.values() if order.purpose == "slice"]
    assert all((shell.state.next_close - order.intended_at).total_seconds() >= 1800.0 for order in late if shell.state.next_close)
    assert before > 100


def test_pov_waits_for_volume_and_stays_below_its_cap() -> None:
    shell = opened(replace(TWAP, algo=Algo.POV, horizon_s=3000.0))
    assert sent(shell, "slice") == [], "no volume yet"
    volume = Decimal(0)
    for minute in range(40):
        fresh = Decimal(1000 if minute % 3 else 0)
        volume += fresh
        shell.send(PriceSeen(shell.broker.now, "AAPL", Decimal(100), fresh))
        shell.tick(60.0)
        assert bought(shell) <= Decimal("0.10") * volume
    assert events(shell, ParentEnded)[0].reason == "complete"
    assert bought(shell) == 150
    assert shell.check() == []


def test_a_second_signal_waits_for_the_parent() -> None:
    shell = opened()
    minutes(shell, 1)
    shell.broker.positions.clear()
    shell.signal("AAPL")
    codes = [event.code for event in events(shell, EntryDenied)]
    assert codes
    assert all(code.startswith("SYMBOL_") for code in codes)


def test_unsent_slices_count_as_exposure() -> None:
    shell = opened()
    assert exposure(shell.state, "AAPL").gross == pytest.approx(Decimal(15000), abs=1)


def test_a_slice_nobody_answered_blocks_the_next_one() -> None:
    shell = opened()
    shell.faults(Faults(unanswered=1.0, mute_reads=1.0))
    minutes_without_look = 3
    for _ in range(minutes_without_look):
        shell.tick(60.0)
    unknown = [order for order in shell.state.orders.values() if order.phase is Phase.UNKNOWN]
    assert len(unknown) <= 1
    assert len(sent(shell, "slice")) == 2
    shell.settle()
    minutes(shell, 12)
    assert bought(shell) <= 150
    assert shell.check() == []


def test_partly_filled_slices_are_protected_and_caught_up() -> None:
    shell = opened(seed=5)
    shell.faults(Faults(partial=0.8, stuck=1.0))
    for _ in range(10):
        shell.tick(15.0)
        shell.tick(15.0)
        shell.tick(30.0)
    shell.faults(Faults())
    shell.settle()
    assert bought(shell) <= 150
    assert sent(shell, "protect"), "filled parts of cancelled brackets got an OCO"
    assert shell.check() == []


def test_refusals_end_a_parent_after_bounded_attempts() -> None:
    shell = opened()
    shell.faults(Faults(refused=1.0))
    for _ in range(9):
        shell.tick(60.0)
    (ended,) = events(shell, ParentEnded)
    assert ended.reason == "refused"
    assert ended.filled == shell.broker.positions["AAPL"]
    shell.settle()
    assert shell.check() == []


def test_beyond_its_limit_a_parent_waits() -> None:
    shell = opened()
    before = bought(shell)
    minutes(shell, 2, price=106.0)  # above the target: the slice that was bought has taken its profit
    assert bought(shell) == before
    assert events(shell, ParentEnded)[0].reason == "barrier"
    assert shell.check() == []


def test_a_stop_that_fills_ends_the_parent() -> None:
    shell = opened()
    minutes(shell, 3)
    shell.price("AAPL", 94)
    shell.tick(60.0)
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    assert events(shell, ParentEnded)[0].reason == "barrier"
    shell.price("AAPL", 100)
    minutes(shell, 5)
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    assert shell.state.plans == {}
    assert shell.check() == []


@pytest.mark.parametrize(
    ("word", "argument", "reason"), [("operator", "flatten", "leaving"), ("stop", "protect", "stop"), ("stop", "flatten", "leaving")]
)
def test_leaving_and_stopping_end_a_parent(word: str, argument: str, reason: str) -> None:
    shell = opened()
    minutes(shell, 3)
    held = shell.broker.positions["AAPL"]
    shell.run([(word, argument), ("tick", 60.0), ("tick", 60.0)])
    assert events(shell, ParentEnded)[0].reason == reason
    assert shell.broker.positions.get("AAPL", Decimal(0)) == (held if argument == "protect" else 0)
    assert shell.check() == []
    assert shell.engine.open_business() == []


def test_a_halt_pauses_and_a_resume_catches_up() -> None:
    shell = opened()
    minutes(shell, 2)
    held = shell.broker.positions["AAPL"]
    shell.operator("halt")
    minutes(shell, 3)
    assert shell.broker.positions["AAPL"] == held
    shell.operator("resume")
    minutes(shell, 6)
    assert events(shell, ParentEnded)[0].reason == "complete"
    assert shell.broker.positions["AAPL"] == 150
    assert shell.check() == []


@pytest.mark.parametrize(("policy", "reason", "held"), [("cancel", "market_close", 45), ("resume", "complete", 150)])
def test_the_close_cancels_or_defers(policy: str, reason: str, held: int) -> None:
    shell = opened(replace(TWAP, at_close=policy))
    minutes(shell, 2)
    shell.close_market()
    for _ in range(3):
        shell.tick(3600.0)
    shell.open_market()
    minutes(shell, 10)
    assert events(shell, ParentEnded)[0].reason == reason
    assert shell.broker.positions["AAPL"] == held
    assert shell.check() == []


def test_a_split_ends_a_parent_and_the_rest_is_protected() -> None:
    shell = opened(replace(TWAP, at_close="resume"))
    minutes(shell, 2)
    shell.close_market()
    shell.split("AAPL", 2)
    shell.open_market()
    shell.settle(10)
    assert events(shell, ParentEnded)[0].reason == "split"
    assert shell.broker.positions["AAPL"] == 90
    assert shell.check() == []


def test_passive_slices_rest_and_are_replaced_by_the_next_ones() -> None:
    shell = opened(replace(TWAP, passive=True))
    shell.broker.set_price("AAPL", Decimal("100.20"))  # the market runs away from the resting slice
    for _ in range(9):
        shell.tick(60.0)
    assert [request.limit_price for request in sent(shell, "slice")][1] == Decimal("100.00")
    shell.price("AAPL", 100.2)
    minutes(shell, 2, price=100.2)
    assert bought(shell) == 150, "the last slice is marketable and finishes"
    assert shell.check() == []


# -- exits -----------------------------------------------------------------------------------------------------------------------------


def test_a_time_exit_is_worked_and_what_remains_stays_protected() -> None:
    shell = opened(hold_s=1500.0)
    minutes(shell, 11)
    assert shell.broker.positions["AAPL"] == 150
    groups = len([order for order in shell.broker.orders if order.order_class == "bracket"])
    for _ in range(26):
        minutes(shell, 1)
        assert shell.broker.held("AAPL") <= shell.broker.positions.get("AAPL", Decimal(0))
    opened_parents = events(shell, ParentOpened)
    assert [event.parent.purpose for event in opened_parents] == ["entry", "exit"]
    assert events(shell, ParentEnded)[-1].reason in ("complete", "flat")
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    assert len(sent(shell, "unwind")) > 5
    assert groups == 10
    assert shell.state.plans == {}
    assert shell.check() == []


def test_shares_sold_but_not_counted_are_not_worked_out_again() -> None:
    """The broker's answers get lost, its probes say "filled", the executions come later: until then the position only looks as if shares
    were left when the parent has sold the last of them."""
    shell = opened(hold_s=1500.0)
    minutes(shell, 25)
    shell.faults(Faults(unanswered=1.0, dropped=1.0))
    for _ in range(14):
        shell.price("AAPL", 100)
        shell.tick(60.0)
    assert [event.parent.purpose for event in events(shell, ParentOpened)] == ["entry", "exit"]
    assert (events(shell, ParentEnded)[-1].reason, sent(shell, "exit")) == ("complete", [])
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    shell.settle()
    assert shell.check() == []


def test_a_single_bracket_is_worked_out_too() -> None:
    """One group covers everything: what is freed beyond the slice is covered again before the slice is sent."""
    shell = opened(ExecutionConfig(), hold_s=300.0)
    minutes(shell, 4)
    shell.state.config = config(TWAP)  # from now on exits are worked
    for _ in range(14):
        shell.price("AAPL", 100)
        shell.tick(60.0)
        held = shell.broker.positions.get("AAPL", Decimal(0))
        assert shell.broker.stop_qty("AAPL") >= held
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    assert len(sent(shell, "unwind")) >= 9


def test_a_flatten_overtakes_a_worked_exit() -> None:
    shell = opened(hold_s=700.0)
    minutes(shell, 14)
    assert "AAPL" in shell.state.parents
    shell.run([("operator", "flatten"), ("tick", 5.0), ("tick", 5.0)])
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    assert shell.state.parents == {}
    assert shell.check() == []


def test_a_worked_exit_that_cannot_finish_becomes_a_plain_one() -> None:
    shell = opened(hold_s=700.0)
    minutes(shell, 13)
    for _ in range(12):  # far below its limit no slice may be sold
        shell.send(PriceSeen(shell.broker.now, "AAPL", Decimal(80)))
        shell.broker.prices["AAPL"] = Decimal(100)
        shell.tick(60.0)
    shell.settle(10)
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    assert shell.check() == []


# -- crashes and chance ----------------------------------------------------------------------------------------------------------------

DAY = [
    ("start",),
    ("price", "AAPL", 100),
    ("open_market",),
    ("signal", "AAPL", 1000.0),
    *([("tick", 60.0), ("price", "AAPL", 100.1)] * 5),
    *([("tick", 60.0), ("price", "AAPL", 99.9)] * 28),
    ("settle", 5),
]


def test_a_crash_anywhere_in_a_worked_day_doubles_and_loses_nothing() -> None:
    whole = Shell(config())
    whole.run(DAY)
    assert whole.check() == []
    for boundary in range(1, whole.boundaries + 1, 7):
        shell = Shell(config(), crash_at=boundary)
        shell.run(DAY)
        assert shell.check() == [], f"crashed at boundary {boundary}"
        for event in events(shell, ParentEnded):
            assert event.filled <= event.qty
        assert shell.broker.positions.get("AAPL", Decimal(0)) == 0, f"crashed at boundary {boundary}"


algos = st.sampled_from([Algo.TWAP, Algo.VWAP, Algo.POV, Algo.SHORTFALL])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), algo=algos, passive=st.booleans(), policy=st.sampled_from(["cancel", "resume"]))
def test_slices_never_exceed_their_parent(seed: int, algo: Algo, passive: bool, policy: str) -> None:
    """Whatever the wire does: fills of a parent's slices stay within it, and everything is right once the faults are over."""
    rng = random.Random(seed)
    shell = Shell(config(replace(TWAP, algo=algo, passive=passive, at_close=policy)), seed)
    story: list[tuple[object, ...]] = [("start",), ("price", "AAPL", 100), ("open_market",), ("faults", random_faults(rng))]
    price = 100.0
    for step in range(30):
        price = round(price * rng.uniform(0.995, 1.005), 2)
        story += [("price", "AAPL", price), ("volume", "AAPL", rng.randint(0, 3000)), ("tick", rng.choice((5.0, 30.0, 60.0, 90.0)))]
        if step % 7 == 0:
            story.append(("signal", "AAPL", rng.choice((300.0, 900.0, 86400.0))))
        if rng.random() < 0.1:
            story.append(
                rng.choice([("crash",), ("reconnect",), ("close_market",), ("open_market",), ("operator", "halt"), ("operator", "resume")])
            )
    shell.run([*story, ("open_market",), ("operator", "resume"), ("settle", 60)])
    assert shell.check() == []
    for ended in events(shell, ParentEnded):
        assert ended.filled <= ended.qty
    for parent in [event.parent for event in events(shell, ParentOpened) if event.parent.purpose == "entry"]:
        names = {cid for cid, order in shell.state.orders.items() if order.decision_id == parent.decision_id and order.purpose == "slice"}
        assert sum(order.filled for order in shell.broker.orders if order.client_order_id in names) <= parent.qty


def _worked(seed: int) -> list[str]:
    """A faulty morning of passive slices, judged on the broker's ledger."""
    shell = Shell(config(replace(TWAP, passive=True)), seed)
    story: list[tuple[object, ...]] = [("start",), ("price", "AAPL", 100), ("open_market",), ("signal", "AAPL", 86400.0)]
    story += [("faults", Faults(unanswered=0.3, mute_reads=0.3, partial=0.5))]
    story += [step for _ in range(25) for step in (("tick", 20.0), ("tick", 40.0))]
    shell.run([*story, ("settle", 20)])
    found = shell.check()
    asked = [event.parent.qty for event in events(shell, ParentOpened) if event.parent.purpose == "entry"]
    return found + ([f"bought {bought(shell)} of {asked}"] if bought(shell) > sum(asked) else [])


def test_a_parent_that_does_not_wait_for_its_slices_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariant can fail: a deliberate bug sends the next slice while the fate of the last one is open."""
    assert all(_worked(seed) == [] for seed in range(5))
    monkeypatch.setattr(parents, "working_slices", lambda state, symbol: [])
    monkeypatch.setattr(parents, "_may_send", lambda state, parent: state.market_open)
    assert any(_worked(seed) for seed in range(40))
