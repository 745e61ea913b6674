"""For every position the live stops at the broker cover all of it, or the core is repairing or flattening."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from alphatrade_pipelines.trading import CoreConfig
from alphatrade_pipelines.trading.commands import CancelOrder, RaiseAlert, ReplaceOrder, SubmitOrder
from alphatrade_pipelines.trading.domain import OrderClass, OrderKind, OrderRequest, Side, TimeInForce
from alphatrade_pipelines.trading.events import DiscrepancyFound, GapLossRecorded, Outcome, ProtectionBreached, ReplaceEnded
from tests.trading.fake_broker import Faults
from tests.trading.shell import Shell


def holding(config: CoreConfig | None = None, hold_s: float = 86400.0) -> Shell:
    """150 shares of AAPL at 100 in a bracket (stop 95, target 105.50)."""
    shell = Shell(config)
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.signal("AAPL", hold_s)
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


def test_a_partly_filled_entry_is_given_three_seconds_then_ended_and_protected() -> None:
    shell = partly_filled()
    held = shell.broker.positions["AAPL"]
    shell.tick(2.0)
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


def test_shares_bought_by_hand_beside_an_entry_that_rests_are_not_left_without_a_stop() -> None:
    """The entry is withdrawn after the same three seconds, and what is held gets its OCO (simulate seed 410)."""
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.broker.work = lambda *_, **__: None  # type: ignore[method-assign]  # nobody trades: the entry rests without a fill
    shell.signal("AAPL")
    shell.broker.trade_by_hand("AAPL", 4)
    for _ in range(60):
        shell.tick(1.0)
    assert shell.broker.positions["AAPL"] == 4
    assert shell.broker.stop_qty("AAPL") == 4
    assert not shell.state.entering
    assert not [event for _, event in shell.log.events() if isinstance(event, ProtectionBreached)]


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
    assert found == ([] if told else ["missed_end", "missing_protection"])


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


def breaches(shell: Shell) -> list[ProtectionBreached]:
    return [event for _, event in shell.log.events() if isinstance(event, ProtectionBreached)]


def naked(config: CoreConfig | None = None) -> Shell:
    """150 shares, no stop, and a broker that accepts no protection and no exit."""
    shell = holding(config or CoreConfig(attempts_before_alarm=99))
    shell.broker._refusal = lambda request: (422, 42210000, "computer says no")  # type: ignore[method-assign]
    shell.broker.cancel_all("AAPL")
    shell.send(*shell.broker.deliver())
    return shell


def test_exposure_beyond_the_bound_is_a_breach_reported_once() -> None:
    shell = naked()
    for _ in range(10):
        shell.tick(1)
    assert breaches(shell) == []
    for _ in range(10):
        shell.tick(1)
    (breach,) = breaches(shell)
    assert (breach.symbol, breach.qty, breach.seconds, breach.bound_s) == ("AAPL", 150, 11.0, 10.0)
    assert [c.level for c in shell.commands if isinstance(c, RaiseAlert) and c.code == "PROTECTION_BREACH"] == ["CRITICAL"]
    del shell.broker._refusal
    for _ in range(12):
        shell.tick(10)
    assert shell.state.exposed == {}
    assert len(breaches(shell)) == 1
    assert shell.check() == []


def test_a_broker_that_does_not_answer_is_no_breach_until_it_answers_again() -> None:
    shell = holding(CoreConfig(attempts_before_alarm=99))
    shell.faults(Faults(lost=1.0, mute_reads=1.0))
    shell.broker.cancel_all("AAPL")
    shell.send(*shell.broker.deliver())
    for _ in range(60):
        shell.tick(1)
    assert breaches(shell) == []
    assert shell.state.silent_since is not None
    shell.faults(Faults())
    for _ in range(20):
        shell.tick(1)
    assert breaches(shell) == []
    assert shell.state.silent_since is None
    assert shell.broker.stop_qty("AAPL") == 150


def test_reads_without_an_answer_are_silence_too() -> None:
    shell = naked()
    shell.faults(Faults(mute_reads=1.0))
    shell.broker._refusal = lambda request: None  # type: ignore[method-assign]
    shell.broker.cancel_all("AAPL")
    for _ in range(60):
        shell.tick(1)
    assert shell.state.silent_since is None
    shell.tick(1)
    assert shell.state.silent_since is not None


def test_while_the_market_is_closed_no_time_counts_and_the_open_starts_the_clock() -> None:
    shell = naked()
    shell.close_market()
    for _ in range(20):
        shell.tick(60)
    assert breaches(shell) == []
    shell.open_market()
    shell.tick(9)
    assert breaches(shell) == []
    shell.tick(2)
    assert [breach.seconds for breach in breaches(shell)] == [11.0]


def test_coarse_ticks_count_up_to_the_close_and_no_further() -> None:
    """A simulated day has an opening and a closing tick: a night in between is not exposure."""
    shell = naked()
    shell.broker.market_open = False
    shell.broker.now = shell.broker.now.replace(hour=21, minute=30)
    shell.send(shell.clock())
    (item,) = shell.state.exposed.values()
    assert item.seconds == 6.5 * 3600  # 14:30 to 21:00
    shell.tick(3 * 86400)
    assert item.seconds == 6.5 * 3600


def test_a_fill_beyond_the_stop_is_recorded_with_what_it_was_meant_to_cost() -> None:
    shell = holding()
    shell.price("AAPL", 91)
    (gap,) = [event for _, event in shell.log.events() if isinstance(event, GapLossRecorded)]
    assert (gap.stop, gap.price, gap.qty) == (Decimal("95.00"), 91, 150)
    assert (gap.intended_loss, gap.realized_loss) == (150 * 5, 150 * 9)
    assert gap.decision_id == "alphatrade|3|AAPL|2013-01-02T14:30:00+00:00"
    shell.tick(60)
    assert len([event for _, event in shell.log.events() if isinstance(event, GapLossRecorded)]) == 1


def test_a_fill_at_the_stop_is_no_gap_and_one_found_by_reading_is() -> None:
    shell = holding()
    shell.price("AAPL", 95)
    assert not [event for _, event in shell.log.events() if isinstance(event, GapLossRecorded)]
    shell = holding()
    shell.faults(Faults(dropped=1.0))
    shell.price("AAPL", 90)
    shell.faults(Faults())
    shell.tick(60)
    assert [event.realized_loss for _, event in shell.log.events() if isinstance(event, GapLossRecorded)] == [1500]


def with_fraction(fraction: str = "0.4") -> Shell:
    """A reverse split (or a hand) leaves less than one share beside what the OCO covers."""
    shell = holding()
    shell.by_hand_exactly("AAPL", Decimal(fraction))
    return shell


def trims(shell: Shell) -> list[OrderRequest]:
    return [c.request for c in shell.commands if isinstance(c, SubmitOrder) and c.request.client_order_id.split("-")[2].startswith("t")]


def test_a_fraction_of_a_share_is_sold_and_the_rest_stays_protected() -> None:
    shell = with_fraction()
    (trim,) = trims(shell)
    assert (trim.qty, trim.side, trim.kind, trim.time_in_force) == (Decimal("0.4"), Side.SELL, OrderKind.MARKET, TimeInForce.DAY)
    assert shell.state.positions["AAPL"].qty == 150
    assert ocos(shell) == []
    assert shell.check() == []


def test_a_fraction_waits_for_the_open_and_is_no_open_business_until_then() -> None:
    shell = holding()
    shell.close_market()
    shell.broker.positions["AAPL"] += Decimal("0.4")
    shell.tick(60)
    assert shell.state.positions["AAPL"].qty == Decimal("150.4")
    assert trims(shell) == []
    assert shell.engine.open_business() == []
    shell.open_market()
    assert len(trims(shell)) == 1


def test_dust_the_broker_does_not_take_stays_and_costs_the_position_nothing() -> None:
    shell = holding()
    too_small = (403, 40310000, "cost basis must be >= minimal amount of order 1")
    shell.broker._refusal = lambda request: too_small if request.qty < 1 else None  # type: ignore[method-assign]
    shell.by_hand_exactly("AAPL", Decimal("0.004"))
    for _ in range(30):
        shell.tick(60)
    assert len(trims(shell)) == 1
    assert shell.broker.stop_qty("AAPL") == 150
    assert breaches(shell) == []
    assert shell.engine.open_business() == []
    assert shell.state.exits == {}


def test_whole_shares_get_their_oco_and_the_fraction_its_order() -> None:
    shell = Shell()
    shell.broker.market_open = True
    shell.broker.prices["IBM"] = Decimal(200)
    shell.broker.trade_exactly("IBM", Decimal("40.25"))
    shell.start()
    shell.tick(60)
    assert [oco.qty for oco in ocos(shell)] == [40]
    assert [trim.qty for trim in trims(shell)] == [Decimal("0.25")]
    assert shell.broker.positions["IBM"] == 40
    assert shell.check() == []


def replacements(shell: Shell) -> list[ReplaceOrder]:
    return [command for command in shell.commands if isinstance(command, ReplaceOrder)]


def moved(shell: Shell) -> list[tuple[str, str]]:
    return [(event.kind, event.action) for _, event in shell.log.events() if isinstance(event, DiscrepancyFound)]


def move_by_hand(shell: Shell, *, stop: str = "", limit: str = "") -> None:
    legs = shell.broker.orders[0].legs
    leg = next(leg for leg in legs if (leg.stop_price is not None) == bool(stop))
    prices = {"stop_price": Decimal(stop)} if stop else {"limit_price": Decimal(limit)}
    shell.broker.take_place(leg, ReplaceOrder(leg.broker_id, "AAPL", f"manual-{stop}{limit}", **prices))
    shell.send(*shell.broker.deliver())


def test_a_stop_moved_away_is_moved_back_by_replacing_it_and_the_group_protects_throughout() -> None:
    shell = holding()
    move_by_hand(shell, stop="90")
    (back,) = replacements(shell)
    assert (back.stop_price, back.limit_price, back.qty) == (Decimal("95.00"), None, None)
    assert moved(shell) == [("stop_moved", "restore")]
    (leg,) = [leg for leg in shell.broker.orders[0].legs if leg.stop_price is not None]
    assert leg.stop_price == 95
    assert ocos(shell) == []
    assert not [command for command in shell.commands if isinstance(command, CancelOrder)]
    shell.tick(60)
    assert len(replacements(shell)) == 1
    assert shell.check() == []
    shell.price("AAPL", 94)
    assert shell.broker.positions["AAPL"] == 0


def test_a_refused_restoration_is_tried_again_and_named_once() -> None:
    shell = holding()
    shell.broker._replace = lambda command: ReplaceEnded(  # type: ignore[method-assign]
        shell.broker.now, command.client_order_id, command.broker_id, Outcome.REFUSED, None, 422, 42210000, "cannot replace order"
    )
    move_by_hand(shell, stop="90")
    shell.tick(5)
    assert len(replacements(shell)) == 2
    del shell.broker._replace
    shell.tick(60)
    assert moved(shell) == [("stop_moved", "restore")]
    assert shell.state.plans["AAPL"].stop == 95
    assert shell.check() == []


def test_a_stop_that_cannot_be_moved_back_makes_room_for_an_oco_at_the_planned_price() -> None:
    shell = holding()
    shell.broker._replace = lambda command: ReplaceEnded(  # type: ignore[method-assign]
        shell.broker.now, command.client_order_id, command.broker_id, Outcome.REFUSED, None, 422, 42210000, "cannot replace order"
    )
    move_by_hand(shell, stop="90")
    for _ in range(30):
        shell.tick(5)
    assert len(replacements(shell)) == 3
    assert [(oco.qty, oco.stop_loss) for oco in ocos(shell)] == [(150, Decimal("95.00"))]
    assert shell.check() == []


def test_a_tighter_stop_and_another_target_become_the_plan() -> None:
    shell = holding()
    move_by_hand(shell, stop="97")
    move_by_hand(shell, limit="108")
    assert moved(shell) == [("stop_moved", "accept"), ("target_moved", "accept")]
    assert (shell.state.plans["AAPL"].stop, shell.state.plans["AAPL"].target) == (97, 108)
    shell.tick(60)
    assert replacements(shell) == []
    assert shell.check() == []


def test_protection_is_renewed_before_the_broker_ages_it_out() -> None:
    shell = holding(hold_s=400 * 86400.0)
    shell.tick(79 * 86400)
    assert ocos(shell) == []
    shell.tick(86400)
    (oco,) = ocos(shell)
    assert (oco.qty, oco.stop_loss) == (150, Decimal("95.00"))
    shell.tick(60)
    assert len(ocos(shell)) == 1
    shell.tick(81 * 86400)
    assert len(ocos(shell)) == 2
    assert shell.broker.stop_qty("AAPL") == 150
    assert shell.check() == []


def test_protection_that_aged_out_overnight_is_re_armed_before_the_open() -> None:
    shell = holding(CoreConfig(protection_renew_days=1e6), hold_s=400 * 86400.0)
    shell.close_market()
    shell.tick(90 * 86400)
    shell.broker.cancel_all("AAPL")
    shell.send(*shell.broker.deliver())
    assert len(ocos(shell)) == 1
    assert shell.broker.stop_qty("AAPL") == 150


def test_protection_accepted_and_rejected_again_and_again_ends_in_an_exit() -> None:
    shell = holding()
    real = shell.broker._accept

    def late(request: OrderRequest) -> object:
        order = real(request)
        if request.order_class is OrderClass.OCO:
            shell.broker._end(order, "rejected")
        return order

    shell.broker._accept = late  # type: ignore[method-assign, assignment]
    shell.broker.cancel_all("AAPL")
    shell.send(*shell.broker.deliver())
    for _ in range(20):
        shell.tick(1)
    assert len(ocos(shell)) == 3
    assert shell.broker.positions["AAPL"] == 0


def test_a_foreign_bracket_whose_legs_are_awake_counts_and_is_cancelled_by_its_leg_when_leaving() -> None:
    """After a lost journal our own groups are foreign: their stops protect, and an exit must be able to end them."""
    shell = holding()
    fresh = Shell()
    fresh.broker = shell.broker
    fresh.start()
    assert ocos(fresh) == []
    assert fresh.broker.stop_qty("AAPL") == 150
    fresh.operator("flatten")
    for _ in range(6):
        fresh.tick(10)
    assert fresh.broker.positions["AAPL"] == 0
    assert fresh.broker.stop_qty("AAPL") == 0


@pytest.mark.parametrize("told", ["all", "fill only", "nothing"])
def test_a_stop_that_triggers_under_a_new_id_ends_the_position_once(told: str) -> None:
    """F13: the stop leg is replaced by a new id as it triggers, the profit leg ends replaced, the sibling's end is never streamed."""
    shell = holding()
    take, stop = shell.broker.orders[0].legs
    shell.broker.prices["AAPL"] = Decimal(94)
    new = shell.broker.take_place(stop, ReplaceOrder(stop.broker_id, "AAPL", "made-by-broker-again"))
    take.status, take.replaced_by = "replaced", new.broker_id
    shell.broker._tell("replaced", take)
    shell.broker._fill(new, Decimal(150), Decimal(94))
    updates = shell.broker.deliver()
    if told == "all":
        shell.send(*updates)
    if told == "fill only":
        shell.send(*[update for update in updates if update.execution is not None])
    shell.tick(60)
    shell.tick(60)
    assert shell.state.positions == {}
    assert shell.state.live == {}
    assert ocos(shell) == []
    assert len([event for _, event in shell.log.events() if isinstance(event, GapLossRecorded)]) == 1
    assert shell.check() == []


def test_while_the_new_stop_is_only_named_the_position_counts_as_protected() -> None:
    shell = holding()
    _, stop = shell.broker.orders[0].legs
    shell.broker.take_place(stop, ReplaceOrder(stop.broker_id, "AAPL", "made-by-broker-again"))
    (ended,) = [update for update in shell.broker.deliver() if update.event == "replaced"]
    shell.handle(ended)
    assert shell.state.orders[shell.broker.orders[0].client_order_id].protective_qty == 150
    shell.tick(60)
    assert ocos(shell) == []
    assert shell.check() == []
