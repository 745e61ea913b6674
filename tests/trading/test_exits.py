"""Leaving: cancel -> the broker's word -> market order; again until flat, whatever the broker says."""

from __future__ import annotations

from decimal import Decimal

import pytest

from alphatrade_pipelines.trading import TradingState
from alphatrade_pipelines.trading.commands import CancelOrder, RaiseAlert, ReadBroker, SubmitOrder
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, Side
from alphatrade_pipelines.trading.events import CancelEnded, CancelIntended, OrderIntended
from alphatrade_pipelines.trading.ids import exit_reason
from tests.trading.fake_broker import Faults
from tests.trading.shell import Shell


def holding(hold_s: float = 600.0) -> Shell:
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.signal("AAPL", hold_s)
    shell.commands.clear()
    return shell


def sent(shell: Shell) -> list[str]:
    names = {SubmitOrder: "submit", CancelOrder: "cancel"}
    return [names[type(command)] for command in shell.commands if type(command) in names]


def test_a_time_exit_cancels_waits_and_closes() -> None:
    shell = holding()
    shell.tick(599)
    assert sent(shell) == []
    shell.broker.now = shell.broker.now.replace(second=0, minute=shell.broker.now.minute + 1)
    (cancel,) = [command for command in shell.handle(shell.clock()) if isinstance(command, CancelOrder)]
    answer = shell.broker.execute(cancel)
    assert isinstance(answer, CancelEnded)
    assert shell.handle(answer) == []  # an accepted request is not yet a cancelled order
    assert shell.handle(shell.clock()) == []
    shell.send(*shell.broker.deliver())
    assert sent(shell) == ["cancel", "submit"]
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []
    (intent,) = [event for _, event in shell.log.events() if isinstance(event, OrderIntended) and event.purpose == "exit"]
    assert (intent.request.side, intent.request.kind, intent.request.order_class) == (Side.SELL, OrderKind.MARKET, OrderClass.SIMPLE)
    assert exit_reason(intent.decision_id) == "time"
    assert intent.decision_id.endswith("alphatrade|3|AAPL|2013-01-02T14:30:00+00:00")


def test_time_exits_wait_for_an_open_market() -> None:
    shell = holding()
    shell.close_market()
    shell.tick(3600)
    assert sent(shell) == []
    shell.open_market()
    assert shell.broker.positions["AAPL"] == 0


def test_a_stop_that_fires_during_the_saga_ends_it() -> None:
    shell = holding()
    shell.broker.now = shell.broker.now.replace(hour=15)
    (cancel,) = [command for command in shell.handle(shell.clock()) if isinstance(command, CancelOrder)]
    shell.broker.set_price("AAPL", Decimal(90))  # faster than our cancellation
    answer = shell.broker.execute(cancel)
    assert answer is not None
    shell.send(answer)
    assert sent(shell) == ["cancel"]
    assert shell.state.exits == {}
    assert shell.check() == []


def test_a_cancellation_never_streamed_is_found_by_reading() -> None:
    shell = holding()
    shell.faults(Faults(dropped=1.0))
    shell.tick(600)
    assert shell.state.positions["AAPL"].qty == 150
    shell.settle(4)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_refused_exits_go_on_for_ever_and_raise_the_alarm() -> None:
    shell = holding()
    shell.broker._refusal = lambda request: (403, 40310000, "insufficient qty available for order (requested: 150, available: 0)")  # type: ignore[method-assign]
    for _ in range(40):
        shell.tick(60)
    tries = [command for command in shell.commands if isinstance(command, SubmitOrder)]
    assert len(tries) > 30
    assert len({command.request.client_order_id for command in tries}) == len(tries)
    assert any(isinstance(command, RaiseAlert) and command.code == "EXIT_REFUSED" for command in shell.commands)
    assert any(isinstance(command, ReadBroker) for command in shell.commands)
    del shell.broker._refusal  # the broker comes to its senses
    shell.tick(60)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_retries_back_off_within_the_minute() -> None:
    shell = holding()
    shell.broker._refusal = lambda request: (429, 42910000, "rate limit exceeded")  # type: ignore[method-assign]
    for _ in range(30):
        shell.tick(600 if not sent(shell) else 1)
    assert 4 <= sent(shell).count("submit") <= 7  # after 0, 1, 3, 7, 15 s


def test_an_order_of_somebody_else_that_holds_the_shares_is_cancelled_after_a_refusal() -> None:
    shell = holding()
    shell.broker.cancel_all("AAPL")
    shell.broker.outbox.clear()
    foreign = shell.broker.rest_by_hand("AAPL", -150, Decimal(120))
    shell.tick(600)
    for _ in range(5):
        shell.tick(30)
    assert foreign.status == "canceled"
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_flatten_closes_everything_and_halts_until_resumed() -> None:
    shell = holding(86400)
    shell.price("IBM", 200)
    shell.signal("IBM")
    shell.operator("flatten")
    assert shell.broker.positions == {"AAPL": 0, "IBM": 0}
    assert shell.state.trading is TradingState.HALTED
    shell.by_hand("IBM", 5)  # whatever turns up meanwhile is closed as well
    shell.tick(60)
    assert shell.broker.positions["IBM"] == 0
    shell.operator("resume")
    shell.tick()
    shell.signal("AAPL")
    assert shell.broker.positions["AAPL"] == 150
    assert shell.check() == []


def test_halt_withdraws_entries_but_leaves_positions_protected() -> None:
    shell = holding(86400)
    shell.close_market()
    shell.price("IBM", 200)
    shell.signal("IBM")
    shell.operator("halt")
    shell.open_market()
    assert shell.broker.positions.get("IBM", 0) == 0
    assert shell.broker.stop_qty("AAPL") == 150
    assert shell.engine.open_business() == []
    assert shell.check() == []


@pytest.mark.parametrize(("policy", "left"), [("protect", 150), ("flatten", 0)])
def test_a_stop_leaves_what_its_policy_says(policy: str, left: int) -> None:
    shell = holding(86400)
    shell.close_market()
    shell.price("IBM", 200)
    shell.signal("IBM")  # queued: must not fill after we are gone
    shell.stop(policy)
    shell.open_market()
    assert shell.broker.positions["AAPL"] == left
    assert shell.broker.positions.get("IBM", 0) == 0
    assert shell.broker.stop_qty("AAPL") == left
    assert shell.engine.open_business() == []
    assert shell.check() == []


def test_a_stop_is_over_with_the_next_session() -> None:
    shell = holding(86400)
    shell.stop("flatten")
    shell.restart()
    shell.tick()
    shell.signal("AAPL")
    assert shell.broker.positions["AAPL"] == 150


def test_every_cancellation_is_journaled_with_its_reason() -> None:
    shell = holding()
    shell.tick(600)
    reasons = [event.reason for _, event in shell.log.events() if isinstance(event, CancelIntended)]
    assert reasons == ["exit:time"]
