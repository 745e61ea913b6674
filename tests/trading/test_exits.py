"""Leaving: cancel -> the broker's word -> market order; again until flat, whatever the broker says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from alphatrade_pipelines.trading import TradingState
from alphatrade_pipelines.trading.commands import CancelOrder, ClosePosition, ProbeOrder, RaiseAlert, ReadBroker, ReplaceOrder, SubmitOrder
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, Side
from alphatrade_pipelines.trading.events import (
    BrokerSeen,
    CancelEnded,
    CancelIntended,
    CloseEnded,
    OrderIntended,
    OrderUpdated,
    Outcome,
    ReplaceEnded,
    SubmitEnded,
)
from alphatrade_pipelines.trading.ids import exit_reason
from tests.trading.fake_broker import Faults
from tests.trading.shell import T0, Shell


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


def test_questions_never_go_out_before_orders() -> None:
    """Answers may take seconds each: what cancels must not wait for what merely asks."""
    shell = holding()
    shell.price("MSFT", 50)
    shell.signal("MSFT", 600)
    shell.faults(Faults(lost=1.0))
    shell.tick(600)
    commands = shell.engine.handle(replace(shell.clock(), at=T0 + timedelta(seconds=700)))
    kinds = [type(command) for command in commands if not isinstance(command, (ReadBroker, RaiseAlert))]
    assert kinds == [CancelOrder, CancelOrder, ProbeOrder, ProbeOrder]


def test_what_protects_goes_out_before_cancellations() -> None:
    """One position needs its stop back at the very moment at which another one has to leave."""
    shell = holding()
    shell.price("MSFT", 50)
    shell.signal("MSFT")
    shell.broker.cancel_all("MSFT")
    shell.broker.outbox.clear()
    shell.broker.now += timedelta(seconds=600)
    seen = shell.broker.execute(ReadBroker("interval"))
    assert isinstance(seen, BrokerSeen)
    orders = [command for command in shell.engine.handle(seen) if isinstance(command, (SubmitOrder, CancelOrder))]
    assert [type(order) for order in orders] == [SubmitOrder, CancelOrder]


def refuse(shell: Shell, status: int, code: int, reason: str, *, close: bool = False) -> None:
    """From now on the broker refuses every order (and, with ``close``, to close positions by itself)."""
    shell.broker._refusal = lambda request: (status, code, reason)  # type: ignore[method-assign]
    if close:
        shell.broker._close = lambda symbol: CloseEnded(  # type: ignore[method-assign]
            shell.broker.now, symbol, Outcome.REFUSED, None, status, code, reason
        )


HELD = (403, 40310000, "insufficient qty available for order (requested: 150, available: 0)")


def test_refused_exits_go_on_for_ever_and_raise_the_alarm() -> None:
    shell = holding()
    refuse(shell, *HELD, close=True)
    for _ in range(40):
        shell.tick(60)
    tries = [command for command in shell.commands if isinstance(command, SubmitOrder)]
    closes = [command for command in shell.commands if isinstance(command, ClosePosition)]
    assert len(tries) + len(closes) > 30
    assert len(closes) >= 5
    assert len({command.request.client_order_id for command in tries}) == len(tries)
    assert any(isinstance(command, RaiseAlert) and command.code == "EXIT_REFUSED" for command in shell.commands)
    assert any(isinstance(command, ReadBroker) for command in shell.commands)
    del shell.broker._refusal  # the broker comes to its senses
    shell.tick(60)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def leaving(status: int, code: int, reason: str, *, close: bool = False) -> Shell:
    """The time of the position is over, and the broker refuses."""
    shell = holding()
    refuse(shell, status, code, reason, close=close)
    shell.tick(600)
    return shell


def rungs(shell: Shell) -> list[str]:
    steps = [command for command in shell.commands if isinstance(command, SubmitOrder | ClosePosition)]
    return [str(step.request.kind) if isinstance(step, SubmitOrder) else "close" for step in steps]


def test_the_ladder_is_market_then_limit_through_the_market_then_the_brokers_own_close() -> None:
    shell = leaving(*HELD)
    for _ in range(8):
        shell.tick(60)
    assert rungs(shell) == ["market"] * 3 + ["limit"] * 2 + ["close"]
    limits = [c.request.limit_price for c in shell.commands if isinstance(c, SubmitOrder) and c.request.limit_price]
    assert limits == [Decimal("98.00")] * 2  # 2 % through the last price
    assert shell.broker.positions["AAPL"] == 0
    assert shell.state.exits == {}
    assert shell.check() == []


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [(429, 42910000, "rate limit exceeded"), (422, 42210000, "asset is halted"), (403, 40310000, "trading blocked")],
)
def test_what_passes_by_itself_climbs_no_rung(status: int, code: int, reason: str) -> None:
    shell = leaving(status, code, reason, close=True)
    for _ in range(15):
        shell.tick(60)
    assert set(rungs(shell)) == {"market"}
    assert len(rungs(shell)) >= 10
    del shell.broker._refusal
    shell.tick(60)
    assert shell.broker.positions["AAPL"] == 0


def test_refused_because_closed_the_exit_waits_for_the_open() -> None:
    shell = holding()
    shell.close_market()
    refuse(shell, 403, 40310000, "market is closed")
    shell.operator("flatten")
    for _ in range(20):
        shell.tick(600)
    assert rungs(shell) == ["market"]
    del shell.broker._refusal
    shell.broker.market_open = True
    shell.tick(17 * 3600)  # the next open as the clock announced it
    assert shell.broker.positions["AAPL"] == 0


def test_a_request_to_close_whose_answer_is_lost_is_found_by_reading_and_never_asked_twice_at_once() -> None:
    shell = leaving(*HELD)
    for _ in range(30):
        shell.tick(60)
        if "close" in rungs(shell):
            break
        shell.faults(Faults(unanswered=1.0, dropped=1.0) if rungs(shell).count("limit") == 2 else Faults())
    assert rungs(shell).count("close") == 1
    shell.settle(5)
    assert rungs(shell).count("close") == 1
    assert shell.broker.positions["AAPL"] == 0
    assert shell.state.exits == {}
    assert shell.check() == []


def test_a_request_to_close_that_never_arrived_is_followed_by_the_next_rung() -> None:
    shell = leaving(*HELD)
    shell.broker._close = lambda symbol: CloseEnded(shell.broker.now, symbol, Outcome.UNKNOWN, reason="read timeout")  # type: ignore[method-assign]
    for _ in range(6):
        shell.tick(60)
    assert rungs(shell).count("close") == 1
    del shell.broker._refusal
    shell.tick(60)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def resting_limit() -> Shell:
    """An exit on its second rung: a limit at 98 that rests, because the market has fallen to 97."""
    shell = leaving(*HELD)
    while "limit" not in rungs(shell):
        if rungs(shell).count("market") == 3:
            del shell.broker._refusal
            shell.broker.prices["AAPL"] = Decimal("97")
        shell.tick(30)
    return shell


def test_a_limit_exit_that_rests_is_moved_after_the_market_by_replacing_it() -> None:
    shell = resting_limit()
    (order,) = shell.state.live_orders("AAPL")
    assert order.status == "new"
    shell.price("AAPL", 97)
    shell.tick(5)
    assert not [command for command in shell.commands if isinstance(command, ReplaceOrder)]  # it is given its ten seconds
    shell.tick(6)
    (moved,) = [command for command in shell.commands if isinstance(command, ReplaceOrder)]
    assert (moved.limit_price, moved.qty) == (Decimal("95.06"), None)
    shell.price("AAPL", 97)
    assert shell.broker.positions["AAPL"] == 0
    assert len(order.chain) == 2
    assert (order.filled_qty, order.status) == (150, "filled")
    assert shell.check() == []


def test_a_replacement_whose_answer_is_lost_is_asked_for_by_its_own_name() -> None:
    shell = resting_limit()
    shell.price("AAPL", 97)
    shell.faults(Faults(unanswered=1.0, dropped=1.0))
    shell.tick(11)
    (order,) = shell.state.live_orders("AAPL")
    (moved,) = [command for command in shell.commands if isinstance(command, ReplaceOrder)]
    assert ProbeOrder(moved.client_order_id) in shell.commands
    assert order.amendment is None  # the probe has answered
    assert order.broker_id != moved.broker_id
    shell.settle(3)
    shell.price("AAPL", 97)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_a_replacement_that_never_arrived_leaves_the_order_as_it_was() -> None:
    shell = resting_limit()
    shell.price("AAPL", 97)
    shell.faults(Faults(lost=1.0))
    shell.tick(11)
    (order,) = shell.state.live_orders("AAPL")
    assert order.amendment is None
    assert (order.amend_refusals, len(order.chain)) == (1, 1)
    shell.faults(Faults())
    shell.tick(11)
    assert len([command for command in shell.commands if isinstance(command, ReplaceOrder)]) == 2
    shell.price("AAPL", 97)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_a_crash_between_the_intent_to_replace_and_its_answer_asks_by_name() -> None:
    shell = resting_limit()
    shell.price("AAPL", 97)
    shell.broker.now += timedelta(seconds=11)
    (command,) = [command for command in shell.engine.handle(shell.clock()) if isinstance(command, ReplaceOrder)]
    shell.broker.execute(command)  # it arrives, and then the process dies
    shell.restart()
    assert ProbeOrder(command.client_order_id) in shell.commands
    shell.price("AAPL", 97)
    shell.settle(3)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_an_exit_that_rests_in_an_open_market_alarms_once_a_minute() -> None:
    shell = holding()
    shell.broker.work = lambda *_, **__: None  # type: ignore[method-assign] # halted: accepted, nothing trades
    for _ in range(40):
        shell.tick(20)
    alarms = [command for command in shell.commands if isinstance(command, RaiseAlert) and command.code == "EXIT_STALLED"]
    assert len(rungs(shell)) == 1  # no pile of orders
    assert len(alarms) == pytest.approx((40 * 20 - 600) / 60, abs=2)


def test_an_exit_accepted_and_rejected_afterwards_is_tried_again_after_a_pause() -> None:
    shell = holding()
    shell.faults(Faults(late_reject=1.0))
    shell.tick(600)
    assert len(rungs(shell)) == 1  # no loop of orders at one instant
    for _ in range(3):
        shell.tick(30)
    assert len(rungs(shell)) == 4
    shell.faults(Faults())
    shell.settle(3)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_an_exit_never_sells_more_than_is_held() -> None:
    """The exit rests (halted), and somebody else sells part of the position: what is too much is withdrawn."""
    shell = holding()
    work = shell.broker.work
    shell.broker.work = lambda *_, **__: None  # type: ignore[method-assign]
    shell.tick(600)
    shell.by_hand("AAPL", -50)
    shell.broker.work = work  # type: ignore[method-assign]
    shell.settle(3)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_retries_back_off_within_the_minute() -> None:
    shell = holding()
    shell.broker._refusal = lambda request: (429, 42910000, "rate limit exceeded")  # type: ignore[method-assign]
    for _ in range(30):
        shell.tick(600 if not sent(shell) else 1)
    assert 4 <= sent(shell).count("submit") <= 7  # after 0, 1, 3, 7, 15 s


def test_an_exit_follows_within_seconds_when_what_stood_in_the_way_is_gone() -> None:
    """An account that is blocked for minutes, and then no longer: the position has had no stop since the exit began."""
    shell = holding()
    refuse(shell, 403, 40310000, "trading blocked", close=True)
    shell.tick(600)
    for _ in range(300):
        shell.tick(1)
    del shell.broker._refusal
    for _ in range(6):
        shell.tick(1)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []
    alarms = [c.detail.split()[1] for c in shell.commands if isinstance(c, RaiseAlert) and c.code == "EXIT_REFUSED"]
    assert alarms == ["3", "6", "12", "24", "48"]  # not every few seconds


def test_exits_that_wait_together_spare_the_rate_limit() -> None:
    config = CoreConfig()
    assert [config.exit_backoff_s(attempts, 1) for attempts in (1, 2, 3, 4, 50)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert [config.exit_backoff_s(50, waiting) for waiting in (2, 3, 20, 500)] == [5.0, 6.0, 40.0, 60.0]
    assert config.exit_backoff_s(1, 500) == 1.0


def test_an_exit_that_a_trade_by_hand_has_turned_into_an_entry_is_withdrawn_first() -> None:
    """The exit rests (halted) while somebody sells more than was held: selling on would open more, and buying beside it is a wash trade."""
    shell = holding()
    held, work = shell.broker.positions["AAPL"], shell.broker.work
    shell.broker.work = lambda *_, **__: None  # type: ignore[method-assign]
    shell.tick(600)
    shell.commands.clear()
    shell.by_hand("AAPL", -int(3 * held))
    shell.settle(1)
    orders = [command for command in shell.commands if isinstance(command, SubmitOrder)]
    assert sent(shell)[0] == "cancel"
    assert [(order.request.side, order.request.qty) for order in orders[:1]] == [(Side.BUY, 2 * held)]
    shell.broker.work = work
    shell.settle(3)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == ["short position: AAPL by manual-5"]  # that is what was done by hand


def test_an_exit_that_never_left_is_sent_within_seconds_of_the_first_connection() -> None:
    shell = holding()
    shell.faults(Faults(unsent=1.0))
    shell.tick(600)
    for _ in range(300):
        shell.tick(1)
    shell.faults(Faults())
    for _ in range(6):
        shell.tick(1)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


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


def test_an_exit_whose_fill_is_known_before_its_execution_is_not_sent_again() -> None:
    """The answer is lost, and the probe shows the order filled: shares are gone that no execution has told of yet."""
    shell = holding()
    shell.broker.now += timedelta(seconds=601)
    todo = [command for command in shell.handle(shell.clock()) if not isinstance(command, ReadBroker)]
    while todo:
        command = todo.pop(0)
        lost = isinstance(command, SubmitOrder)
        shell.broker.faults = Faults(unanswered=1.0, dropped=1.0) if lost else Faults()  # nor does an update tell the execution
        answer = shell.broker.execute(command)
        todo += shell.handle(answer) if answer is not None and not isinstance(answer, BrokerSeen) else []
        for update in shell.broker.deliver():
            todo += shell.handle(update)
    exits = [event for _, event in shell.log.events() if isinstance(event, OrderIntended) and event.purpose == "exit"]
    assert len(exits) == 1
    assert shell.state.has_uncounted_fills("AAPL")
    shell.settle()
    assert shell.check() == []
    assert not shell.broker.shorted


def test_a_wash_trade_on_the_way_out_cancels_the_opposite_waits_for_the_word_and_goes_on() -> None:
    shell = holding()
    foreign = shell.broker.rest_by_hand("AAPL", 10, Decimal(90))
    real = shell.broker._refusal

    def wash(request: OrderRequest) -> tuple[int, int, str] | None:
        if request.side is Side.SELL and foreign.live:
            return 403, 40310000, 'potential wash trade detected. use complex orders {"reject_reason": "opposite side order exists"}'
        return real(request)

    shell.broker._refusal = wash  # type: ignore[method-assign]
    shell.tick(600)
    shell.tick(5)
    shell.tick(5)
    assert foreign.status == "canceled"
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_a_replacement_promised_and_rejected_because_the_old_order_filled_sells_once() -> None:
    """F19 through the whole core: HTTP 200 for the new order, then the old one fills and the new one is rejected."""
    shell = resting_limit()
    shell.price("AAPL", 97)
    shell.broker.now += timedelta(seconds=11)
    (command,) = [command for command in shell.engine.handle(shell.clock()) if isinstance(command, ReplaceOrder)]
    (old,) = [order for order in shell.broker.orders if order.broker_id == command.broker_id]
    promised = replace(
        old.seen(nested=False), broker_id="b99", client_order_id=command.client_order_id, status="pending_new", replaces="b4"
    )
    shell.send(ReplaceEnded(shell.broker.now, command.client_order_id, command.broker_id, Outcome.CONFIRMED, promised))
    shell.broker.set_price("AAPL", Decimal(99))
    shell.send(*shell.broker.deliver())
    assert shell.state.positions == {}
    shell.send(OrderUpdated(shell.broker.now, "rejected", replace(promised, status="rejected")))
    assert shell.state.live == {}
    assert shell.state.exits == {}
    assert rungs(shell).count("limit") == 1
    assert shell.check() == []


def test_flattening_many_goes_on_for_each_until_all_are_flat() -> None:
    """F30: some are refused, some are not; nothing counts as done because something else worked."""
    shell = holding(86400)
    for symbol in ("IBM", "MSFT"):
        shell.price(symbol, 100)
        shell.signal(symbol)
    real = shell.broker._refusal
    shell.broker._refusal = lambda request: (500, 50010000, "internal") if request.symbol == "IBM" else real(request)  # type: ignore[method-assign]
    shell.operator("flatten")
    assert shell.broker.positions == {"AAPL": 0, "IBM": 150, "MSFT": 0}
    del shell.broker._refusal
    shell.settle(4)
    assert shell.broker.positions == {"AAPL": 0, "IBM": 0, "MSFT": 0}
    assert shell.check() == []


def test_an_exit_the_broker_never_answers_for_alarms_too_and_is_not_doubled() -> None:
    shell = holding()
    shell.tick(590)
    shell.faults(Faults(mute_reads=1.0))
    real = shell.broker._submit

    def silent(request: OrderRequest) -> SubmitEnded:
        real(request)
        return SubmitEnded(shell.broker.now, request.client_order_id, Outcome.UNKNOWN, reason="read timeout")

    shell.broker._submit = silent  # type: ignore[method-assign]
    work = shell.broker.work
    shell.broker.work = lambda *_, **__: None  # type: ignore[method-assign]
    for _ in range(10):
        shell.tick(20)
        shell.broker.outbox.clear()
    assert len(rungs(shell)) <= 1
    shell.broker.work = work  # type: ignore[method-assign]
    shell.settle(5)
    assert len(rungs(shell)) == 1
    assert shell.broker.positions["AAPL"] == 0
    assert "EXIT_STALLED" in [command.code for command in shell.commands if isinstance(command, RaiseAlert)]
    assert shell.check() == []


def test_a_limit_that_cannot_be_moved_or_has_filled_in_part_makes_room_for_a_new_one() -> None:
    shell = resting_limit()
    shell.broker._replace = lambda command: ReplaceEnded(  # type: ignore[method-assign]
        shell.broker.now, command.client_order_id, command.broker_id, Outcome.REFUSED, None, 422, 42210000, "cannot replace order"
    )
    shell.price("AAPL", 97)
    for _ in range(8):
        shell.tick(11)
    assert shell.broker.positions["AAPL"] == 0
    assert len([command for command in shell.commands if isinstance(command, ReplaceOrder)]) == 3
    part = resting_limit()
    (resting,) = [order for order in part.broker.orders if order.live]
    part.broker._fill(resting, Decimal(50), Decimal(98))
    part.price("AAPL", 97)
    part.tick(11)
    part.tick(11)
    assert not [command for command in part.commands if isinstance(command, ReplaceOrder)]
    assert part.broker.positions["AAPL"] == 0
    assert part.check() == []


def test_a_cancellation_that_comes_too_late_is_answered_by_asking_for_the_order() -> None:
    """Reads are slow and queue behind everything; the exit waits for one order only."""
    shell = holding()
    shell.broker.cancel_all("AAPL")  # somebody was faster, and nobody told us
    shell.broker.outbox.clear()
    shell.broker._read = lambda: None  # type: ignore[method-assign]
    shell.tick(600)
    assert shell.broker.positions["AAPL"] == 0
    assert ProbeOrder(next(iter(shell.state.orders))) in shell.commands
