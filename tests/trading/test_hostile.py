"""Sequences thought up to lose money: each was written before anybody knew whether the core survives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from alphatrade_pipelines.trading import CoreConfig, TradingState
from alphatrade_pipelines.trading.commands import CancelOrder, Command, RaiseAlert, SubmitOrder
from alphatrade_pipelines.trading.domain import BrokerPosition, Execution, OrderClass, OrderRequest, Side
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    BrokerSeen,
    CancelEnded,
    CorporateActionApplied,
    Event,
    OrderUpdated,
    Outcome,
    ProtectionBreached,
    SignalReceived,
    SubmitEnded,
)
from tests.trading.fake_broker import FakeOrder, Faults
from tests.trading.shell import T0, Shell, make_signal

LIMITED = (429, 42910000, "rate limit exceeded")


def ready(config: CoreConfig | None = None) -> Shell:
    shell = Shell(config)
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    return shell


def holding(config: CoreConfig | None = None, hold_s: float = 86400.0) -> Shell:
    shell = ready(config)
    shell.signal("AAPL", hold_s)
    assert shell.broker.positions["AAPL"] == 150
    shell.commands.clear()
    return shell


def submits(shell: Shell) -> list[SubmitOrder]:
    return [command for command in shell.commands if isinstance(command, SubmitOrder)]


def answer(shell: Shell, react: Callable[[Command, Event | None], Event | None]) -> None:
    """Let ``react`` change what the broker answered."""
    execute = shell.broker.execute
    shell.broker.execute = lambda command: react(command, execute(command))  # type: ignore[method-assign]


# -- exits that must end ---------------------------------------------------------------------------------------------------------------


def test_a_flatten_while_an_entry_has_no_answer_is_over_once_the_entry_is_refused() -> None:
    shell = ready()
    (command,) = shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    assert isinstance(command, SubmitOrder)
    shell.operator("flatten")
    status, code, reason = LIMITED
    shell.send(SubmitEnded(T0, command.request.client_order_id, Outcome.REFUSED, None, status, code, reason))
    for _ in range(20):
        shell.tick()
    assert shell.engine.open_business() == []
    shell.operator("resume")
    shell.tick()
    shell.signal("AAPL")
    assert shell.broker.positions == {"AAPL": 150}
    assert shell.check() == []


def test_an_exit_is_over_when_somebody_sold_what_a_partly_filled_entry_had_bought() -> None:
    shell = ready()
    shell.broker.faults = Faults(partial=1.0, stuck=1.0)
    shell.signal("AAPL")
    bought = shell.broker.positions["AAPL"]
    assert 0 < bought < 150
    shell.broker.faults = Faults()
    answer(shell, lambda command, said: None if isinstance(command, CancelOrder) else said)  # its word takes a while
    cancels: list[str] = []
    shell.broker._cancel = lambda broker_id: cancels.append(broker_id)  # type: ignore[method-assign,assignment,return-value]
    shell.operator("flatten")
    assert cancels
    del shell.broker._cancel
    shell.by_hand("AAPL", -int(bought))
    for _ in range(20):
        shell.tick()
    assert shell.state.positions == {}
    assert shell.engine.open_business() == []
    assert shell.state.plans == {}
    shell.operator("resume")
    shell.tick()
    shell.signal("AAPL")
    assert shell.broker.positions == {"AAPL": 150}
    assert shell.check() == []


def test_a_cancellation_of_somebody_elses_order_that_got_lost_is_asked_for_again() -> None:
    shell = holding(hold_s=600)
    shell.broker.cancel_all("AAPL")
    shell.broker.outbox.clear()
    foreign = shell.broker.rest_by_hand("AAPL", -150, Decimal(120))
    lost: list[str] = []
    cancel = shell.broker._cancel

    def lose_one(broker_id: str) -> CancelEnded:
        if broker_id == foreign.broker_id and not lost:
            lost.append(broker_id)
            return CancelEnded(shell.broker.now, broker_id, Outcome.UNSENT, reason="not sent: ConnectTimeout")
        return cancel(broker_id)

    shell.broker._cancel = lose_one  # type: ignore[method-assign]
    shell.tick(600)
    for _ in range(10):
        shell.tick(30)
    assert lost
    assert foreign.status == "canceled"
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_an_exit_the_broker_takes_and_cancels_at_once_is_not_sent_in_a_burst() -> None:
    shell = holding(hold_s=600)
    work = shell.broker.work

    def cancel_exits(symbol: str | None = None, *, allow_partial: bool = True) -> None:
        for order in list(shell.broker.orders):
            if order.live and order.kind in ("market", "limit") and order.order_class == "simple" and order.side is Side.SELL:
                shell.broker._end(order, "canceled")

    shell.broker.work = cancel_exits  # type: ignore[method-assign]
    shell.tick(600)
    assert len(submits(shell)) <= 2
    for _ in range(10):
        shell.tick(1)
    assert 3 <= len(submits(shell)) <= 8  # it goes on all the same
    shell.broker.work = work  # type: ignore[method-assign]
    for _ in range(4):
        shell.tick(30)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_protection_the_broker_takes_and_cancels_at_once_ends_in_an_exit_not_in_a_burst() -> None:
    shell = holding()
    accept = shell.broker._accept

    def cancel_ocos(request: object) -> FakeOrder:
        order = accept(request)  # type: ignore[arg-type]
        if order.order_class == "oco":
            shell.broker._cancel_group(order)
        return order

    shell.broker._accept = cancel_ocos  # type: ignore[method-assign]
    shell.broker.cancel_all("AAPL")
    for _ in range(20):
        shell.tick(1)
    ocos = [command for command in submits(shell) if command.request.order_class is OrderClass.OCO]
    assert 1 <= len(ocos) <= 3
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


# -- entries that must not be ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["daily loss", "funds"])
def test_an_entry_tried_again_passes_the_limits_again(trouble: str) -> None:
    shell = ready()
    (command,) = shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    assert isinstance(command, SubmitOrder)
    status, code, reason = LIMITED
    shell.engine.handle(SubmitEnded(T0, command.request.client_order_id, Outcome.REFUSED, None, status, code, reason))
    account = shell.broker.account()
    poorer = replace(account, equity=account.equity * Decimal("0.5"))
    if trouble == "daily loss":
        shell.broker.account = lambda: poorer  # type: ignore[method-assign]
        shell.send(AccountSeen(T0, poorer))
        assert shell.state.trading is TradingState.REDUCING
    else:
        shell.broker.account = lambda: replace(account, buying_power=Decimal(100))  # type: ignore[method-assign]
        shell.send(AccountSeen(T0, shell.broker.account()))
    for _ in range(5):
        shell.tick(1)
    assert shell.broker.positions == {}


def test_the_last_entry_of_the_day_may_be_tried_again() -> None:
    """Its decision is counted already: the limit on entries a day must not deny its second attempt."""
    config = CoreConfig()
    shell = ready(replace(config, limits=replace(config.limits, max_trades_a_day=1)))
    (command,) = shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    assert isinstance(command, SubmitOrder)
    status, code, reason = LIMITED
    shell.engine.handle(SubmitEnded(T0, command.request.client_order_id, Outcome.REFUSED, None, status, code, reason))
    shell.tick(2)
    assert shell.broker.positions == {"AAPL": 150}


@pytest.mark.parametrize("ratio", ["0.1", "2"])
def test_an_entry_that_waits_for_the_open_does_not_survive_a_split(ratio: str) -> None:
    """A hundred shares at 10 become a hundred at 100: ten times the size, with a stop of another price."""
    shell = ready()
    shell.close_market()
    shell.signal("AAPL")
    (entry,) = shell.broker.orders
    shell.tick(17 * 3600)
    shell.broker.prices["AAPL"] /= Decimal(ratio)  # the broker leaves the order as it is
    shell.send(CorporateActionApplied(shell.broker.now, "AAPL", Decimal(ratio), Decimal(0)))
    for _ in range(3):
        shell.tick(5)
    shell.open_market()
    shell.settle(5)
    assert entry.status == "canceled"
    assert shell.broker.positions.get("AAPL", 0) == 0
    assert shell.state.plans == {}


# -- positions nobody may lose ---------------------------------------------------------------------------------------------------------


def test_a_fill_told_after_an_adoption_it_may_not_be_part_of_is_looked_after_at_once() -> None:
    """A read shows the position, something fills, the read comes in: whether the adopted number contains the fill nobody can say."""
    shell = holding()
    for _ in range(3):
        shell.tick(5)
    began = shell.broker.now
    stale = (BrokerPosition("AAPL", Decimal(160), Decimal(100)),)  # ten more than we know of
    shell.broker.positions["AAPL"] = Decimal(160)
    orders = tuple(order.seen(nested=True) for order in shell.broker.orders)
    shell.broker.now += timedelta(seconds=3)
    fill = Execution("late", "b77", "AAPL", Side.BUY, Decimal(40), Decimal(100), shell.broker.now - timedelta(seconds=1))
    shell.broker.positions["AAPL"] = Decimal(200)
    shell.broker.executions.append(fill)
    seen = BrokerSeen(shell.broker.now, began, stale, orders, (), began - timedelta(hours=1), shell.broker.account())
    shell.send(seen)
    assert shell.state.positions["AAPL"].qty == 160
    hand = FakeOrder("b77", "manual-77", "AAPL", Side.BUY, Decimal(40), "market", "simple", "filled", filled=Decimal(40))
    shell.broker.orders.append(hand)
    shell.send(OrderUpdated(shell.broker.now, "fill", hand.seen(nested=False), fill, "event-77"))
    for _ in range(7):
        shell.tick(1)
    assert shell.state.positions["AAPL"].qty == 200
    assert shell.broker.stop_qty("AAPL") == 200


@pytest.mark.parametrize("planned", [True, False])
def test_a_position_both_legs_of_which_fill_is_bought_back_even_where_shorts_are_allowed(planned: bool) -> None:
    """The first leg leaves it flat and its plan forgotten, so the second one looks like a short somebody wanted."""
    config = CoreConfig(allow_short=True)
    shell = holding(config) if planned else ready(config)
    if not planned:
        shell.by_hand("AAPL", 150)
    assert shell.broker.stop_qty("AAPL") == 150
    (group,) = [order for order in shell.broker.orders if order.order_class != "simple"]
    target, stop = group.legs if planned else (group, group.legs[0])
    shell.broker._fill(target, Decimal(150), Decimal(110))
    shell.broker._fill(stop, Decimal(150), Decimal(95))
    shell.settle(5)
    assert "POSITION_FLIPPED" in [command.code for command in shell.commands if isinstance(command, RaiseAlert)]
    assert shell.broker.positions["AAPL"] == 0


def test_a_cancellation_pending_over_night_is_not_asked_for_every_few_seconds() -> None:
    shell = holding(hold_s=600)
    shell.close_market()

    def pend(broker_id: str) -> CancelEnded:
        for order in shell.broker.everything():
            if order.broker_id == broker_id:
                order.status = "pending_cancel"
                shell.broker._tell("pending_cancel", order)
        return CancelEnded(shell.broker.now, broker_id, Outcome.CONFIRMED)

    cancel = shell.broker._cancel
    shell.broker._cancel = pend  # type: ignore[method-assign]
    shell.operator("flatten")
    for _ in range(120):
        shell.tick(5)
    asked = [command for command in shell.commands if isinstance(command, CancelOrder)]
    assert 1 <= len(asked) <= 15  # ten minutes
    shell.broker._cancel = cancel  # type: ignore[method-assign]
    shell.open_market()
    shell.settle(20)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


# -- an entry that cannot be got rid of -------------------------------------------------------------------------------------------------


def hanging(filled: int = 60) -> tuple[Shell, FakeOrder]:
    """An entry for 150 shares of which so many are bought; the broker takes its cancellation and never ends it."""
    shell = ready()
    shell.broker.work = lambda *_, **__: None  # type: ignore[method-assign]
    shell.signal("AAPL")
    (entry,) = shell.broker.orders
    cancel = shell.broker._cancel

    def pend(broker_id: str) -> CancelEnded:
        if broker_id != entry.broker_id or not entry.live:
            return cancel(broker_id)
        entry.status = "pending_cancel"
        shell.broker._tell("pending_cancel", entry)
        return CancelEnded(shell.broker.now, broker_id, Outcome.CONFIRMED)

    shell.broker._cancel = pend  # type: ignore[method-assign]
    shell.broker._fill(entry, Decimal(filled), Decimal(100))
    return shell, entry


def wait(shell: Shell, seconds: int) -> None:
    for _ in range(seconds):
        shell.tick(1.0)


def breached(shell: Shell) -> bool:
    return any(isinstance(event, ProtectionBreached) for _, event in shell.log.events())


@pytest.mark.parametrize("end", ["canceled", "filled", "filled bit by bit"])
def test_what_a_hanging_entry_has_bought_gets_its_stop_within_the_bound(end: str) -> None:
    """Its own legs sleep until it has filled completely, and its cancellation may be pending for minutes: an OCO does not wait for that."""
    shell, entry = hanging()
    wait(shell, 10)
    assert shell.broker.stop_qty("AAPL") == 60
    wait(shell, 30)
    assert not breached(shell)
    assert len([request for request in submits(shell) if request.request.order_class is OrderClass.OCO]) == 1
    for part in {"filled": (90,), "filled bit by bit": (1, 2, 87)}.get(end, ()):
        shell.broker._fill(entry, Decimal(part), Decimal(100))
        wait(shell, 3)
        assert shell.broker.stop_qty("AAPL") == shell.broker.positions["AAPL"]
    if end == "canceled":
        shell.broker._cancel_group(entry)
    wait(shell, 30)
    assert shell.broker.stop_qty("AAPL") == shell.broker.positions["AAPL"] == (60 if end == "canceled" else 150)
    assert not breached(shell)
    assert shell.check() == []


@pytest.mark.parametrize("end", ["canceled", "filled"])
def test_an_exit_does_not_wait_for_the_end_of_a_hanging_entry(end: str) -> None:
    shell, entry = hanging()
    shell.operator("flatten")
    del shell.broker.work  # type: ignore[method-assign]
    entry.stuck = True
    wait(shell, 8)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.state.exits, "it may still buy"
    if end == "filled":
        shell.broker._fill(entry, Decimal(90), Decimal(100))
    else:
        shell.broker._cancel_group(entry)
    wait(shell, 10)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.state.exits == {}
    assert shell.check() == []


def test_where_no_stop_is_taken_beside_a_hanging_entry_its_shares_are_sold_as_soon_as_that_is() -> None:
    """The broker refuses whatever is opposite to the order at rest (403, wash trade): bounded attempts, alarms, and flat once it ended."""
    shell, entry = hanging()
    refusal = shell.broker._refusal

    def refuse(request: OrderRequest) -> tuple[int, int, str] | None:
        wash = entry.live and request.side is Side.SELL
        return (403, 40310000, "potential wash trade detected. use complex orders") if wash else refusal(request)

    shell.broker._refusal = refuse  # type: ignore[method-assign]
    wait(shell, 60)
    tried = [one.request.order_class for one in submits(shell) if one.request.side is Side.SELL]
    assert tried.count(OrderClass.OCO) == shell.config.attempts_before_alarm
    assert 3 <= tried.count(OrderClass.SIMPLE) <= 20
    codes = [command.code for command in shell.commands if isinstance(command, RaiseAlert)]
    assert {"PROTECTION_FLATTEN", "PROTECTION_BREACH", "EXIT_REFUSED"} <= set(codes)
    del shell.broker.work  # type: ignore[method-assign]
    shell.broker._cancel_group(entry)
    wait(shell, 10)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []
