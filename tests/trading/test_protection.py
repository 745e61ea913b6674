"""For every position the live stops at the broker cover all of it, or the core is repairing or flattening."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from alphatrade_pipelines.trading import CoreConfig
from alphatrade_pipelines.trading.commands import CancelOrder, RaiseAlert, SubmitOrder
from alphatrade_pipelines.trading.domain import OrderClass, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import DiscrepancyFound
from tests.trading.fake_broker import Faults
from tests.trading.shell import Shell


def holding(config: CoreConfig | None = None) -> Shell:
    """150 shares of AAPL at 100 in a bracket (stop 95, target 105.50)."""
    shell = Shell(config)
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.signal("AAPL")
    assert shell.broker.stop_qty("AAPL") == 150
    return shell


def ocos(shell: Shell) -> list[OrderRequest]:
    sent = [command.request for command in shell.commands if isinstance(command, SubmitOrder)]
    return [request for request in sent if request.order_class is OrderClass.OCO]


def partly_filled(config: CoreConfig | None = None) -> Shell:
    shell = Shell(config, seed=3)
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.faults(Faults(partial=1.0, stuck=1.0))
    shell.signal("AAPL")
    shell.faults(Faults())
    assert 0 < shell.broker.positions["AAPL"] < 150
    return shell


def test_a_partly_filled_entry_is_given_ten_seconds_then_ended_and_protected() -> None:
    shell = partly_filled()
    held = shell.broker.positions["AAPL"]
    shell.tick(9.0)
    assert shell.broker.stop_qty("AAPL") == 0
    assert not [command for command in shell.commands if isinstance(command, CancelOrder)]
    shell.tick(1.0)
    (oco,) = ocos(shell)
    assert (oco.qty, oco.side, oco.stop_loss, oco.take_profit) == (held, Side.SELL, Decimal("95.00"), Decimal("105.50"))
    assert oco.time_in_force is TimeInForce.GTC
    assert shell.broker.stop_qty("AAPL") == held
    assert shell.check() == []


def test_with_no_patience_a_partial_fill_is_protected_at_once() -> None:
    shell = partly_filled(CoreConfig(partial_entry_wait_s=0.0))
    assert shell.broker.stop_qty("AAPL") == shell.broker.positions["AAPL"]
    assert shell.check() == []


def test_a_fill_that_races_the_cancellation_is_accepted_and_protected() -> None:
    shell = partly_filled()
    shell.broker.now = shell.broker.now.replace(minute=shell.broker.now.minute + 1)
    (cancel,) = [command for command in shell.handle(shell.clock()) if isinstance(command, CancelOrder)]
    for order in shell.broker.orders:
        order.stuck = False
    shell.broker.work(allow_partial=False)  # fills completely before the cancellation arrives
    answer = shell.broker.execute(cancel)
    assert answer is not None
    shell.send(answer)
    assert shell.state.positions["AAPL"].qty == 150
    assert shell.broker.stop_qty("AAPL") == 150
    assert ocos(shell) == []
    assert shell.check() == []


@pytest.mark.parametrize("told", [True, False])
def test_expired_legs_are_replaced_by_one_oco(told: bool) -> None:
    shell = holding()
    shell.broker.cancel_all("AAPL")
    if not told:
        shell.broker.outbox.clear()  # only the next read can show it
    shell.send(*shell.broker.deliver())
    shell.tick(60)
    (oco,) = ocos(shell)
    assert oco.qty == 150
    assert shell.check() == []
    shell.tick(60)
    assert len(ocos(shell)) == 1
    found = [event.kind for _, event in shell.log.events() if isinstance(event, DiscrepancyFound)]
    assert found == ([] if told else ["missing_protection"])


def test_a_split_moves_stop_and_target_with_the_shares() -> None:
    shell = holding()
    shell.tick(60)
    shell.split("AAPL", 3)
    assert not [command for command in shell.commands if isinstance(command, CancelOrder)]  # the broker does it by itself
    (oco,) = ocos(shell)
    assert (oco.qty, oco.stop_loss, oco.take_profit) == (450, Decimal("31.67"), Decimal("35.17"))
    assert shell.broker.stop_qty("AAPL") == 450
    shell.tick()
    assert shell.check() == []


def test_a_split_told_twice_or_after_a_restart_counts_once() -> None:
    shell = holding()
    shell.split("AAPL", 2)
    before = shell.state.positions["AAPL"].qty
    events = [event for _, event in shell.log.events() if type(event).__name__ == "CorporateActionApplied"]
    shell.restart()
    shell.send(*events)
    assert shell.state.positions["AAPL"].qty == before == 300


def test_a_position_found_at_start_gets_the_default_stop() -> None:
    shell = Shell()
    shell.broker.market_open = True
    shell.broker.prices["IBM"] = Decimal(200)
    shell.broker.trade_by_hand("IBM", 40)
    shell.broker.executions.clear()  # bought long ago: not in the history that is read
    shell.broker.outbox.clear()
    shell.start()
    (oco,) = ocos(shell)
    assert (oco.qty, oco.stop_loss, oco.take_profit) == (40, Decimal("190.00"), Decimal("220.00"))
    found = [(event.kind, event.action) for _, event in shell.log.events() if isinstance(event, DiscrepancyFound)]
    assert found == [("missing_position", "adopt"), ("missing_protection", "repair")]


def test_shares_added_by_hand_get_their_own_oco() -> None:
    shell = holding()
    shell.by_hand("AAPL", 10)
    assert [oco.qty for oco in ocos(shell)] == [10]
    assert shell.broker.stop_qty("AAPL") == 160
    assert shell.check() == []


def test_shares_removed_behind_our_back_shrink_the_protection() -> None:
    """More shares offered than held would flip the position when the stop fires."""
    shell = holding()
    shell.broker.positions["AAPL"] = Decimal(100)  # journalled away by the broker, without an execution
    shell.tick(60)
    shell.tick(60)
    assert shell.state.positions["AAPL"].qty == 100
    assert shell.broker.held("AAPL") == shell.broker.stop_qty("AAPL") == 100


def test_beyond_the_stop_there_is_nothing_to_protect_with_so_it_is_sold() -> None:
    shell = holding()
    shell.broker.cancel_all("AAPL")
    shell.broker.outbox.clear()
    shell.broker.market_open = False
    shell.price("AAPL", 90)
    shell.open_market()
    shell.settle(8)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.check() == []


def test_a_broker_that_refuses_protection_gets_a_market_order_instead() -> None:
    shell = holding()
    shell.broker._refusal = lambda request: (422, 42210000, "computer says no") if request.order_class is OrderClass.OCO else None  # type: ignore[method-assign]
    shell.broker.cancel_all("AAPL")
    for _ in range(6):
        shell.tick(5)
    assert len(ocos(shell)) == 3
    assert shell.broker.positions["AAPL"] == 0
    assert "PROTECTION_FLATTEN" in [command.code for command in shell.commands if isinstance(command, RaiseAlert)]


def test_both_legs_filled_is_seen_as_a_flip_and_closed() -> None:
    shell = holding()
    take, stop = shell.broker.orders[0].legs
    for leg in (take, stop):
        leg.status = "new"
        shell.broker._fill(leg, Decimal(150), Decimal(95))
        leg.status = "filled"
    assert shell.broker.positions["AAPL"] == -150
    shell.broker._refusal = lambda request: None  # type: ignore[method-assign]
    shell.tick(5)
    shell.tick(5)
    assert shell.broker.positions["AAPL"] == 0
    assert shell.state.positions == {}
    assert "POSITION_FLIPPED" in [command.code for command in shell.commands if isinstance(command, RaiseAlert)]


def test_a_partly_filled_target_keeps_the_rest_protected_without_repair() -> None:
    shell = holding()
    take, stop = shell.broker.orders[0].legs
    shell.broker._fill(take, Decimal(60), Decimal("105.50"))
    stop.qty = Decimal(90)
    shell.tick(5)
    assert shell.state.positions["AAPL"].qty == 90
    assert ocos(shell) == []
    assert not [command for command in shell.commands if isinstance(command, CancelOrder)]


def test_a_stop_somebody_else_placed_counts() -> None:
    shell = Shell()
    shell.broker.market_open = True
    shell.broker.prices["IBM"] = Decimal(200)
    shell.broker.trade_by_hand("IBM", 40)
    order = shell.broker.rest_by_hand("IBM", -40, Decimal(180))
    order.kind, order.stop_price, order.limit_price = "stop", Decimal(180), None
    shell.start()
    shell.tick(60)
    assert ocos(shell) == []
    assert shell.broker.stop_qty("IBM") == 40


def test_one_live_oco_does_not_hide_that_another_is_refused() -> None:
    """Found by a loop without end: seeing the first OCO again made the core forget the refusals of the second."""
    shell = holding()
    shell.broker.cancel_all("AAPL")
    shell.tick(5)
    shell.broker._refusal = lambda request: (403, 40310000, "insufficient qty available") if request.order_class is OrderClass.OCO else None  # type: ignore[method-assign]
    shell.by_hand("AAPL", 10)
    for _ in range(6):
        shell.tick(5)
    assert [oco.qty for oco in ocos(shell)] == [150, 10, 10, 10]
    assert shell.broker.positions["AAPL"] == 0


def test_an_execution_older_than_an_adopted_position_is_contained_in_it() -> None:
    shell = Shell()
    shell.broker.market_open = True
    shell.broker.prices["IBM"] = Decimal(200)
    shell.broker.trade_by_hand("IBM", 40)
    late = shell.broker.deliver()
    shell.broker.executions.clear()
    shell.broker.now += timedelta(seconds=60)
    shell.start()
    shell.send(*late)
    assert shell.state.positions["IBM"].qty == 40


def test_orders_that_outlive_a_split_are_cancelled_by_us() -> None:
    shell = holding()
    shell.broker.cancel_all = lambda symbol: None  # type: ignore[method-assign]
    shell.tick(60)
    shell.split("AAPL", 2)
    shell.tick(60)
    shell.tick(60)
    assert [(oco.qty, oco.stop_loss) for oco in ocos(shell)] == [(300, Decimal("47.50"))]
    assert shell.check() == []


def test_a_target_that_fills_needs_no_cancellation_from_us() -> None:
    shell = holding()
    shell.price("AAPL", 106)
    shell.tick(60)
    assert not [command for command in shell.commands if isinstance(command, CancelOrder)]
    assert shell.state.live == {}


def test_a_sibling_whose_end_is_never_told_is_cancelled_by_us() -> None:
    shell = holding()
    shell.faults(Faults(silent_sibling=True, mute_reads=1.0))
    shell.price("AAPL", 106)
    shell.tick(60)
    assert len([command for command in shell.commands if isinstance(command, CancelOrder)]) == 1
    shell.settle(4)
    assert shell.state.live == {}
    assert shell.check() == []
