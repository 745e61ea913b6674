"""From signal to bracket: one decision, one order, or one coded reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from alphatrade_pipelines.risk import LimitsConfig
from alphatrade_pipelines.trading import CoreConfig, Engine, EngineError, MemoryLog, TradingState
from alphatrade_pipelines.trading.commands import Command, ProbeOrder, RaiseAlert, ReadBroker, SubmitOrder
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, Side, Signal, TimeInForce
from alphatrade_pipelines.trading.events import (
    AccountSeen,
    BrokerSeen,
    EntryDenied,
    OrderIntended,
    OrderProbed,
    Outcome,
    SignalReceived,
    StreamStateSeen,
    SubmitEnded,
)
from alphatrade_pipelines.trading.orders import Phase
from tests.trading.fake_broker import Faults
from tests.trading.shell import T0, Shell, make_signal


def ready(**prices: object) -> Shell:
    shell = Shell()
    shell.start()
    shell.open_market()
    for symbol, price in (prices or {"AAPL": 100}).items():
        shell.price(symbol, price)
    return shell


def denials(shell: Shell) -> list[str]:
    return [event.code for _, event in shell.log.events() if isinstance(event, EntryDenied)]


def give(shell: Shell, signal: Signal) -> None:
    shell.send(SignalReceived(shell.broker.now, signal))


def test_a_signal_becomes_one_protected_bracket() -> None:
    shell = ready()
    shell.signal("AAPL")
    (command,) = [c for c in shell.commands if isinstance(c, SubmitOrder)]
    request = command.request
    assert (request.side, request.kind, request.order_class) == (Side.BUY, OrderKind.MARKET, OrderClass.BRACKET)
    assert (request.time_in_force, request.stop_loss, request.take_profit) == (TimeInForce.GTC, Decimal("95.00"), Decimal("105.50"))
    assert request.qty == 150  # 15 % of equity: the symbol cap binds before 1 % lost at a stop 5 % away (20 %)
    assert shell.broker.stop_qty("AAPL") == 150
    assert shell.check() == []


def test_the_intent_is_durable_before_the_order_can_be_sent() -> None:
    class Failing(MemoryLog):
        def append_many(self, events: object) -> int:
            if any(isinstance(event, OrderIntended) for event in events):  # type: ignore[attr-defined]
                raise OSError("disk full")
            return super().append_many(events)  # type: ignore[arg-type]

    shell = ready()
    engine = Engine(shell.config, Failing())
    shell.engine = engine
    shell.start()
    with pytest.raises(OSError, match="disk full"):
        shell.signal("AAPL")
    assert shell.broker.orders == []
    with pytest.raises(EngineError, match="build a new Engine"):
        engine.handle(shell.clock())


def test_the_same_decision_twice_is_one_order() -> None:
    shell = ready()
    shell.signal("AAPL")
    shell.signal("AAPL")
    shell.crashes += 1
    shell.restart()
    shell.signal("AAPL")
    assert len(shell.broker.orders) == 1
    assert denials(shell) == ["DECISION_DUPLICATE", "DECISION_DUPLICATE"]


def limited(shell: Shell, command: Command) -> None:
    """The broker refuses an order because too many came: it is tried again in a moment."""
    assert isinstance(command, SubmitOrder)
    name = command.request.client_order_id
    shell.handle(SubmitEnded(shell.broker.now, name, Outcome.REFUSED, None, 429, 42910000, "rate limit exceeded"))
    assert "AAPL" in shell.state.entry_retries


@pytest.mark.parametrize("age_s", [0, 60], ids=["the same", "an older one"])
def test_a_decision_said_again_is_denied_and_takes_nothing_from_the_order_that_waits(age_s: int) -> None:
    shell = ready()
    first = make_signal("AAPL", Decimal(100), shell.broker.now)
    (command,) = shell.handle(SignalReceived(shell.broker.now, first))
    limited(shell, command)
    again = make_signal("AAPL", Decimal(90), shell.broker.now - timedelta(seconds=age_s))
    shell.send(SignalReceived(shell.broker.now, again))
    assert denials(shell) == ["DECISION_DUPLICATE"]
    assert shell.state.signals["AAPL"] == first
    shell.tick(5)
    assert shell.broker.positions == {"AAPL": 150}
    assert shell.state.plans["AAPL"].stop == first.stop_price


def test_an_entry_sent_while_the_account_was_read_is_not_in_that_buying_power() -> None:
    """A read runs beside orders. What is sent after it began is taken off what it found, whenever its answer is worked off."""
    shell = ready(AAPL=100, IBM=100)
    account = replace(shell.broker.account(), buying_power=Decimal(16_000))
    shell.send(AccountSeen(shell.broker.now, account))
    seen = shell.broker.execute(ReadBroker("test"))
    assert isinstance(seen, BrokerSeen)
    shell.broker.now += timedelta(seconds=1)
    (entry,) = shell.handle(SignalReceived(shell.broker.now, make_signal("AAPL", Decimal(100), shell.broker.now)))
    assert isinstance(entry, SubmitOrder)
    assert entry.request.qty == 150
    shell.broker.now += timedelta(seconds=1)
    shell.handle(shell.clock())
    shell.handle(replace(seen, account=account))
    assert shell.handle(SignalReceived(shell.broker.now, make_signal("IBM", Decimal(100), shell.broker.now))) == []
    assert denials(shell) == ["FUNDS_BUYING_POWER"]


CHANGES = {
    "SIDE_SHORT_DISABLED": {"side": Side.SELL},
    "SIGNAL_STALE": {"decision_time": T0 - timedelta(hours=2)},
    "SIGNAL_FROM_FUTURE": {"decision_time": T0 + timedelta(minutes=1)},
    "SIGNAL_PRICES": {"stop_price": Decimal("101")},
    "SIGNAL_BOUNDS": {"lower": 0.61},
    "SIGNAL_NOT_FINITE": {"payoff": float("nan")},
    "SIZE_NO_EDGE": {"lower": 0.40},
    "LIMIT_VOLATILITY_UNKNOWN": {"volatility": 0.0},
    "PRICE_COLLAR": {"reference_price": Decimal("120"), "stop_price": Decimal("90"), "target_price": Decimal("130")},
    "PRICE_BEYOND_BARRIER": {"reference_price": Decimal("104"), "stop_price": Decimal("100.5"), "target_price": Decimal("110")},
}


@pytest.mark.parametrize("code", CHANGES)
def test_each_reason_has_its_code(code: str) -> None:
    shell = ready()
    give(shell, make_signal("AAPL", Decimal(100), T0, **CHANGES[code]))
    assert denials(shell) == [code]
    assert shell.broker.orders == []


def test_state_has_its_codes_too() -> None:
    shell = Shell()
    shell.broker.prices["AAPL"] = Decimal(100)
    with pytest.raises(EngineError, match="Expected SessionStarted"):
        shell.signal("AAPL")
    shell.faults(Faults(mute_reads=1.0))
    shell.start()
    shell.signal("AAPL")
    shell.faults(Faults())
    shell.tick()  # not ready: every tick asks again
    shell.signal("AAPL")
    shell.open_market()
    shell.tick()
    shell.signal("AAPL")
    shell.operator("halt")
    shell.signal("AAPL")
    shell.operator("resume")
    shell.stop("protect")
    shell.tick()
    shell.signal("AAPL")
    assert denials(shell) == ["SESSION_NOT_RECONCILED", "SYMBOL_POSITION_OPEN", "STATE_HALTED", "SESSION_STOPPING"]


def test_the_session_and_the_age_of_prices_have_their_codes() -> None:
    shell = Shell(CoreConfig(entries_when_closed=False, no_entry_before_close_s=900.0, price_max_age_s=600.0))
    shell.start()
    shell.price("AAPL", 100)
    shell.signal("AAPL")
    shell.open_market()
    shell.tick(660)
    shell.signal("AAPL")
    shell.price("AAPL", 100)
    shell.operator("reduce")
    shell.signal("AAPL")
    shell.operator("resume")
    shell.broker.now = T0.replace(hour=20, minute=50)
    shell.send(shell.clock())
    shell.price("AAPL", 100)
    shell.signal("AAPL")
    assert denials(shell) == ["SESSION_CLOSED", "PRICE_STALE", "STATE_REDUCING", "SESSION_CLOSING"]
    assert shell.state.trading is TradingState.ACTIVE
    assert shell.broker.orders == []


def test_size_limits_deny_and_exits_never_ask_them() -> None:
    shell = Shell(CoreConfig(limits=LimitsConfig(max_order_qty=200)))
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.price("IBM", 10)
    shell.signal("IBM")
    shell.signal("AAPL")
    assert denials(shell) == ["LIMIT_ORDER_QTY"]
    shell.by_hand("AAPL", 150)
    shell.operator("reduce")
    shell.operator("flatten")
    assert shell.broker.positions == {"AAPL": 0}  # 300 shares in one order: leaving is not limited


def test_funds_and_exposure_count_what_is_on_its_way() -> None:
    """Closed market: nothing fills, so the second entry must see the first one's claim on buying power and exposure."""
    shell = Shell()
    shell.start()
    for n, symbol in enumerate("ABCDEFG"):
        shell.price(symbol, 100 + n)
    for symbol in "ABCDEFG":
        shell.signal(symbol)
    assert denials(shell) == ["LIMIT_GROSS_EXPOSURE"]  # 6 x 15 % fit under 100 %, the seventh does not
    assert len(shell.broker.orders) == 6


def test_insufficient_buying_power_halves_a_few_times_then_gives_up() -> None:
    shell = ready()
    refuse = {"http_status": 403, "code": 40310000, "reason": "insufficient buying power"}
    todo = shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    sent = []
    while todo:
        command = todo.pop(0)
        if isinstance(command, SubmitOrder):
            sent.append(command.request)
            todo += shell.engine.handle(SubmitEnded(T0, command.request.client_order_id, Outcome.REFUSED, **refuse))  # type: ignore[arg-type]
    assert [request.qty for request in sent] == [150, 75, 37, 18]
    assert len({request.client_order_id for request in sent}) == 4
    assert shell.state.plans == {}
    assert shell.state.live == {}


def test_a_rate_limit_is_waited_out() -> None:
    shell = ready()
    (command,) = shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    assert isinstance(command, SubmitOrder)
    refused = SubmitEnded(
        T0, command.request.client_order_id, Outcome.REFUSED, http_status=429, code=42910000, reason="rate limit exceeded"
    )
    assert not [c for c in shell.engine.handle(refused) if isinstance(c, SubmitOrder)]
    shell.tick(1.0)
    assert shell.broker.positions == {"AAPL": 150}


def test_a_forbidden_account_halts_and_alarms() -> None:
    shell = ready()
    (command,) = shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    assert isinstance(command, SubmitOrder)
    asked = shell.engine.handle(
        SubmitEnded(T0, command.request.client_order_id, Outcome.REFUSED, http_status=401, reason="request is not authorized")
    )
    assert [c.level for c in asked if isinstance(c, RaiseAlert)] == ["CRITICAL"]
    shell.price("IBM", 200)
    shell.signal("IBM")
    assert denials(shell) == ["STATE_HALTED"]


def test_accepted_then_rejected_is_released_and_not_tried_again() -> None:
    shell = ready()
    shell.faults(Faults(late_reject=1.0))
    shell.signal("AAPL")
    shell.faults(Faults())
    shell.tick()
    assert len(shell.broker.orders) == 1
    assert (shell.state.plans, shell.state.live) == ({}, {})
    shell.signal("AAPL")
    assert shell.broker.positions == {"AAPL": 150}


def test_silence_after_acceptance_is_asked_about_and_adopted() -> None:
    shell = ready()
    shell.faults(Faults(unanswered=1.0, dropped=1.0))
    shell.signal("AAPL")
    assert any(isinstance(command, ProbeOrder) for command in shell.commands)
    assert len(shell.broker.orders) == 1
    shell.settle(8)
    assert shell.state.positions["AAPL"].qty == 150
    assert shell.check() == []


def test_a_lost_request_is_sent_again_under_the_same_name() -> None:
    shell = ready()
    shell.faults(Faults(lost=1.0))
    shell.signal("AAPL")
    assert shell.broker.orders == []
    shell.settle(3)
    sent = [command.request for command in shell.commands if isinstance(command, SubmitOrder)]
    assert len(sent) >= 2
    assert all(request == sent[0] for request in sent)
    assert len(shell.broker.orders) == 1


def test_a_lost_request_of_a_stale_signal_is_given_up() -> None:
    shell = ready()
    shell.faults(Faults(lost=1.0, mute_reads=1.0))
    shell.signal("AAPL")
    shell.signal("AAPL")
    shell.faults(Faults())
    shell.tick(7200)
    shell.tick()
    (order,) = shell.state.orders.values()
    assert order.phase is Phase.ABSENT
    assert shell.broker.orders == []
    assert shell.state.live == {}
    assert shell.engine.open_business() == []


def test_unknown_blocks_entries_in_its_symbol_only() -> None:
    shell = ready(AAPL=100, IBM=200)
    shell.faults(Faults(lost=1.0, mute_reads=1.0))
    shell.signal("AAPL")
    shell.broker.now += timedelta(seconds=1)
    shell.signal("AAPL")
    shell.faults(Faults())
    shell.signal("IBM")
    assert denials(shell) == ["SYMBOL_ORDER_UNKNOWN"]
    assert shell.broker.positions == {"IBM": 75}


def test_a_duplicate_id_means_it_is_there_already() -> None:
    """The SDK's own retry after a 504 answers 422 although the order is live."""
    shell = ready()
    (command,) = shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    assert isinstance(command, SubmitOrder)
    shell.broker.execute(command)
    shell.broker.outbox.clear()
    answer = shell.broker.execute(command)
    assert isinstance(answer, SubmitEnded)
    assert answer.code == 40010001
    shell.send(answer)
    shell.settle(4)
    assert shell.state.positions["AAPL"].qty == 150
    assert shell.check() == []


def test_an_answer_slower_than_the_update_changes_nothing() -> None:
    shell = ready()
    (command,) = shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    answer = shell.broker.execute(command)
    assert isinstance(answer, SubmitEnded)
    for update in shell.broker.deliver():
        shell.handle(update)
    late = replace(answer, outcome=Outcome.UNKNOWN, order=None)
    assert shell.handle(late) == []
    assert shell.handle(answer) == []
    assert shell.check() == []


def test_a_mute_stream_blocks_entries_until_the_broker_was_read_again() -> None:
    shell = ready()
    commands = []
    for connected in (False, True):
        commands += shell.engine.handle(StreamStateSeen(T0, "trade_updates", connected))
        commands += shell.engine.handle(SignalReceived(T0, make_signal("AAPL", Decimal(100), T0)))
    assert denials(shell) == ["SESSION_NOT_RECONCILED", "SESSION_NOT_RECONCILED"]
    assert any(isinstance(command, ReadBroker) for command in commands)
    shell.reconnect()
    shell.signal("AAPL")
    assert shell.broker.positions == {"AAPL": 150}


def test_a_probe_for_an_order_nobody_knows_is_harmless() -> None:
    shell = ready()
    assert shell.engine.handle(OrderProbed(T0, "never-heard-of", Outcome.REFUSED)) == []
