"""Each kind of difference, in both directions, is named, resolved and then silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from alphatrade_pipelines.trading import CoreConfig, TradingState
from alphatrade_pipelines.trading.commands import Command, ProbeOrder, RaiseAlert, ReadBroker, ReplaceOrder, SubmitOrder
from alphatrade_pipelines.trading.domain import BrokerPosition, Execution, Side
from alphatrade_pipelines.trading.events import AccountSeen, BrokerSeen, CorporateActionApplied, DiscrepancyFound, EntryDenied, OrderUpdated
from alphatrade_pipelines.trading.findings import KINDS
from alphatrade_pipelines.trading.orders import Phase
from alphatrade_pipelines.trading.reconciliation import split_ratio
from alphatrade_pipelines.trading.state import Position
from tests.trading.fake_broker import Faults
from tests.trading.shell import Shell


def bought() -> Shell:
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.signal("AAPL")
    return shell


def holding() -> Shell:
    shell = bought()
    shell.tick(60)
    return shell


def read(shell: Shell, **changes: object) -> BrokerSeen:
    seen = shell.broker.execute(ReadBroker("test"))
    assert isinstance(seen, BrokerSeen)
    return replace(seen, **changes)  # type: ignore[arg-type]


def findings(shell: Shell) -> list[str]:
    return [event.kind for _, event in shell.log.events() if isinstance(event, DiscrepancyFound)]


def test_agreement_is_silent() -> None:
    shell = holding()
    assert shell.handle(read(shell)) == []
    assert findings(shell) == []


def test_a_fill_the_stream_never_brought_is_counted_once() -> None:
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.faults(Faults(dropped=1.0))
    shell.signal("AAPL")
    shell.faults(Faults())
    assert shell.state.positions == {}
    shell.tick(60)
    shell.tick(60)
    assert shell.state.positions["AAPL"].qty == 150
    assert findings(shell) == ["missed_fill"]
    assert len(shell.broker.orders) == 1  # and nobody took the sleeping knowledge for a flat position
    assert shell.check() == []


def test_a_phantom_position_vanishes() -> None:
    shell = holding()
    shell.handle(read(shell, positions=()))
    assert findings(shell) == ["phantom_position"]
    assert shell.state.positions == {}


def test_a_quantity_mismatch_is_adopted_and_the_second_pass_is_silent() -> None:
    shell = holding()
    shell.broker.positions["AAPL"] = Decimal(170)
    shell.send(read(shell))
    assert findings(shell) == ["quantity_mismatch", "missing_protection"]
    assert shell.state.positions["AAPL"].qty == 170
    assert shell.broker.stop_qty("AAPL") == 170
    count = len(shell.broker.orders)
    shell.send(read(shell))
    assert findings(shell) == ["quantity_mismatch", "missing_protection"]
    assert len(shell.broker.orders) == count


def test_nothing_is_concluded_around_fresh_activity() -> None:
    """Two reads taken apart are not one state: the position list may predate the fill the stream just brought."""
    shell = bought()
    stale = read(shell, positions=(), executions=())
    shell.handle(stale)
    assert shell.state.positions["AAPL"].qty == 150
    assert findings(shell) == []
    later = replace(stale, began=stale.began + timedelta(seconds=60), at=stale.at + timedelta(seconds=60))
    shell.handle(later)
    assert findings(shell) == ["phantom_position"]


def test_a_difference_left_open_around_activity_is_read_again_soon() -> None:
    """Somebody trades by hand, untold, beside an update of the symbol: the next read must not wait for its interval."""
    shell = holding()
    held = shell.state.positions["AAPL"].qty
    cid = next(iter(shell.state.live["AAPL"]))
    shown = next(order for order in read(shell).orders if order.client_order_id == cid)
    shell.handle(OrderUpdated(shell.broker.now, "order_replace_rejected", shown, None, "e-open"))
    shell.broker.trade_by_hand("AAPL", 7)
    shell.broker.outbox.clear()
    seen = read(shell, executions=())
    assert [type(command) for command in shell.handle(seen)] == [], "nothing is concluded yet"
    asked = []
    for _ in range(4):
        shell.broker.now += timedelta(seconds=1)
        asked.append([command.reason for command in shell.handle(shell.clock()) if isinstance(command, ReadBroker)])
    assert asked == [[], [], ["a difference was left open"], ["a difference was left open"]]
    shell.handle(read(shell, executions=()))
    assert shell.state.positions["AAPL"].qty == held + 7
    assert "quantity_mismatch" in findings(shell)
    shell.broker.now += timedelta(seconds=1)
    assert not [command for command in shell.handle(shell.clock()) if isinstance(command, ReadBroker)], "and then there is peace"


def test_a_foreign_order_is_named_once_and_freezes_entries_in_its_symbol() -> None:
    shell = holding()
    foreign = shell.broker.rest_by_hand("IBM", 10, Decimal(150))
    shell.price("IBM", 200)
    shell.tick(60)
    shell.tick(60)
    shell.signal("IBM")
    assert findings(shell) == ["unknown_order"]
    assert [event.code for _, event in shell.log.events() if isinstance(event, EntryDenied)] == ["SYMBOL_FOREIGN_ORDER"]
    shell.broker._cancel_group(foreign)
    shell.tick(60)
    shell.signal("IBM")
    assert shell.broker.positions["IBM"] == 75


def test_an_order_missing_from_a_read_is_asked_for_by_name_never_assumed_gone() -> None:
    shell = holding()
    (cid,) = shell.state.orders
    asked = shell.handle(read(shell, orders=()))
    assert asked == [ProbeOrder(cid)]
    assert shell.state.live_orders("AAPL")
    answer = shell.broker.execute(ProbeOrder(cid))
    assert answer is not None
    assert shell.handle(answer) == []
    assert findings(shell) == []


def test_an_order_the_broker_denies_to_have_is_orphaned_and_its_position_protected_anew() -> None:
    shell = holding()
    shell.broker.orders.clear()
    shell.send(read(shell))
    assert findings(shell) == ["orphaned_order"]
    assert shell.broker.stop_qty("AAPL") == 150
    shell.send(read(shell))
    assert findings(shell) == ["orphaned_order"]


def test_a_short_reported_by_the_broker_is_bought_back() -> None:
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("IBM", 200)
    shell.broker.positions["IBM"], shell.broker.costs["IBM"] = Decimal(-30), Decimal(200)
    shell.send(read(shell, positions=(BrokerPosition("IBM", Decimal(-30), Decimal(200)),)))
    bought = [command.request for command in shell.commands if isinstance(command, SubmitOrder)]
    assert [(request.side.value, request.qty) for request in bought] == [("buy", 30)]
    assert shell.state.positions == {}


def test_reads_happen_every_interval_and_until_one_is_answered() -> None:
    shell = Shell()
    shell.faults(Faults(mute_reads=1.0))
    shell.start()
    for _ in range(3):
        shell.tick(1)
    assert shell.commands.count(ReadBroker("interval")) == 3
    shell.faults(Faults())
    shell.tick(1)
    for _ in range(29):
        shell.tick(1)
    assert shell.commands.count(ReadBroker("interval")) == 4
    shell.tick(1)
    assert shell.commands.count(ReadBroker("interval")) == 5


def test_a_read_that_is_older_than_an_order_settles_nothing_about_it() -> None:
    """Reads run beside orders: one that began before an exit was sent comes in when a probe has already shown the exit filled."""
    shell = holding()
    stale = read(shell)
    shell.broker.now += timedelta(seconds=86400)
    _work_off(shell, shell.handle(shell.clock()), ReadBroker, ProbeOrder)
    shell.broker.now += timedelta(seconds=10)
    _work_off(shell, shell.handle(shell.clock()), ReadBroker)  # the probe shows the exit filled
    assert shell.state.has_uncounted_fills("AAPL")
    shell.handle(replace(stale, at=shell.broker.now, began=shell.broker.now))
    assert shell.state.has_uncounted_fills("AAPL")
    shell.broker.faults = Faults()
    shell.settle()
    (exit_order,) = [order for order in shell.broker.orders if "-x" in order.client_order_id]
    assert shell.state.executed[exit_order.broker_id] == exit_order.qty
    assert shell.check() == []


def _work_off(shell: Shell, commands: list[Command], *left_out: type[Command]) -> None:
    """Carry out what the core asks but for some kinds; orders are taken, but neither an answer nor an update ever comes."""
    todo = list(commands)
    while todo:
        command = todo.pop(0)
        if isinstance(command, left_out):
            continue
        shell.broker.faults = Faults(unanswered=1.0, dropped=1.0) if isinstance(command, SubmitOrder) else Faults()
        answer = shell.broker.execute(command)
        todo += shell.handle(answer) if answer is not None else []
        for update in shell.broker.deliver():
            todo += shell.handle(update)


# Every kind, planted: named, journaled, told to a person, resolved; the second pass over the same facts says and does nothing.


def _phantom(shell: Shell) -> None:
    shell.broker.positions["AAPL"] = Decimal(0)
    shell.broker.cancel_all("AAPL")
    shell.broker.outbox.clear()


def _missing(shell: Shell) -> None:
    shell.broker.prices["IBM"] = Decimal(200)
    shell.broker.positions["IBM"], shell.broker.costs["IBM"] = Decimal(40), Decimal(200)


def _mismatch(shell: Shell) -> None:
    shell.broker.positions["AAPL"] = Decimal(170)


def _split(shell: Shell) -> None:
    shell.broker.split("AAPL", 3)
    shell.broker.outbox.clear()


def rename(shell: Shell, *, announced: bool = True) -> None:
    """AAPL is called IBM from this morning on: the broker keeps shares and cost, and cancels what rested under the old name."""
    if announced:
        shell.send(CorporateActionApplied(shell.broker.now, "AAPL", Decimal(1), Decimal(0), "IBM"))
    shell.broker.cancel_all("AAPL")
    for book in (shell.broker.positions, shell.broker.costs, shell.broker.prices):
        book["IBM"] = book.pop("AAPL")  # type: ignore[attr-defined]
    shell.broker.outbox.clear()


def _renamed(shell: Shell) -> None:
    rename(shell)


def _missed_fill(shell: Shell) -> None:
    shell.broker.set_price("AAPL", Decimal(106))
    shell.broker.outbox.clear()


def _unconfirmed_fill(shell: Shell) -> None:
    order = shell.broker.orders[0].seen(nested=False)
    ghost = Execution("ghost", order.broker_id, "AAPL", Side.BUY, Decimal(10), Decimal(100), shell.broker.now)
    shell.send(OrderUpdated(shell.broker.now, "fill", order, ghost, "ghost-event"))
    shell.broker.now += timedelta(seconds=90)


def _foreign_fill(shell: Shell) -> None:
    shell.broker.trade_by_hand("AAPL", 10)
    shell.broker.outbox.clear()


def _disputed(shell: Shell) -> None:
    order = shell.broker.orders[0].seen(nested=False)
    shell.send(OrderUpdated(shell.broker.now, "trade_bust", order, None, "bust-1"))
    shell.send(OrderUpdated(shell.broker.now, "trade_bust", order, None, "bust-1"))
    shell.broker.now += timedelta(seconds=60)


def _unknown_order(shell: Shell) -> None:
    shell.broker.prices["IBM"] = Decimal(200)
    shell.broker.rest_by_hand("IBM", 10, Decimal(150))


def _orphaned(shell: Shell) -> None:
    shell.broker.orders.clear()


def _missed_end(shell: Shell) -> None:
    shell.broker.cancel_all("AAPL")
    shell.broker.outbox.clear()


def _revived(shell: Shell) -> None:
    """Two lying answers make us believe that the bracket ended; the broker has it alive."""
    take, stop = shell.broker.orders[0].legs
    for leg in (take, stop):
        alive, leg.status = leg.status, "canceled"
        shell.send(OrderUpdated(shell.broker.now, "canceled", leg.seen(nested=False)))
        leg.status = alive
    shell.broker.now += timedelta(seconds=60)


def _order_changed(shell: Shell) -> None:
    shell.close_market()
    shell.price("IBM", 200)
    shell.signal("IBM")
    queued = shell.broker.orders[-1]
    queued.qty = Decimal(60)
    shell.broker.now += timedelta(seconds=60)


def _missing_protection(shell: Shell) -> None:
    _missed_end(shell)


def _excess(shell: Shell) -> None:
    shell.broker.positions["AAPL"] = Decimal(100)


def _stop_moved(shell: Shell) -> None:
    stop = next(leg for leg in shell.broker.orders[0].legs if leg.stop_price)
    shell.broker.take_place(stop, ReplaceOrder(stop.broker_id, "AAPL", "manual-1", stop_price=Decimal(90)))
    shell.broker.outbox.clear()


def _target_moved(shell: Shell) -> None:
    take = next(leg for leg in shell.broker.orders[0].legs if leg.limit_price)
    shell.broker.take_place(take, ReplaceOrder(take.broker_id, "AAPL", "manual-2", limit_price=Decimal(109)))
    shell.broker.outbox.clear()


PLANTED: dict[str, Callable[[Shell], None]] = {
    "phantom_position": _phantom,
    "missing_position": _missing,
    "quantity_mismatch": _mismatch,
    "split_position": _split,
    "renamed_position": _renamed,
    "missed_fill": _missed_fill,
    "unconfirmed_fill": _unconfirmed_fill,
    "foreign_fill": _foreign_fill,
    "execution_disputed": _disputed,
    "unknown_order": _unknown_order,
    "orphaned_order": _orphaned,
    "revived_order": _revived,
    "missed_end": _missed_end,
    "order_changed": _order_changed,
    "missing_protection": _missing_protection,
    "excess_protection": _excess,
    "stop_moved": _stop_moved,
    "target_moved": _target_moved,
}


def test_every_kind_is_planted() -> None:
    assert set(PLANTED) == set(KINDS)


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_difference_is_named_told_resolved_and_then_silent(kind: str) -> None:
    shell = holding()
    PLANTED[kind](shell)
    shell.broker.now += timedelta(seconds=60)
    for _ in range(3):  # what the first pass repairs (a replaced leg, an OCO) has to be seen once more
        shell.send(read(shell))
        shell.broker.now += timedelta(seconds=60)
    assert findings(shell).count(kind) == 1
    told = [
        command.level for command in shell.commands if isinstance(command, RaiseAlert) and command.code == f"DISCREPANCY_{kind.upper()}"
    ]
    assert told == [KINDS[kind].level]
    named, orders = len(findings(shell)), len(shell.broker.everything())
    shell.commands.clear()
    shell.send(read(shell))
    assert len(findings(shell)) == named
    assert len(shell.broker.everything()) == orders
    assert shell.commands == []
    for symbol in ("AAPL", "IBM"):
        truth = shell.broker.positions.get(symbol, Decimal(0))
        mine = shell.state.positions[symbol].qty if symbol in shell.state.positions else Decimal(0)
        assert mine == truth
        if truth:
            assert shell.broker.stop_qty(symbol) == truth


def test_one_pass_finds_several_differences_at_once() -> None:
    shell = holding()
    for kind in ("quantity_mismatch", "missing_position", "unknown_order"):
        PLANTED[kind](shell)
    shell.broker.now += timedelta(seconds=60)
    shell.send(read(shell))
    assert {"quantity_mismatch", "missing_position", "unknown_order"} <= set(findings(shell))
    assert shell.broker.stop_qty("AAPL") == 170
    assert shell.broker.stop_qty("IBM") == 40


def test_an_unannounced_split_moves_the_plan_instead_of_selling_at_the_old_stop() -> None:
    shell = holding()
    _split(shell)
    shell.price("AAPL", "33.40")
    shell.tick(60)
    assert shell.state.positions["AAPL"].qty == 450
    assert (shell.state.plans["AAPL"].stop, shell.state.plans["AAPL"].target) == (Decimal("31.67"), Decimal("35.17"))
    assert shell.state.marks["AAPL"] == Decimal("33.40")
    assert shell.broker.stop_qty("AAPL") == 450
    shell.tick(60)
    assert shell.check() == []


def test_a_new_name_takes_the_plan_along() -> None:
    shell = holding()
    plan, opened = shell.state.plans["AAPL"], shell.state.positions["AAPL"].opened_at
    rename(shell)
    shell.tick(60)
    shell.tick(60)
    assert set(shell.state.positions) == set(shell.state.plans) == {"IBM"}
    assert shell.state.plans["IBM"] == plan
    assert shell.state.positions["IBM"].opened_at == opened
    oco = shell.broker.orders[-1]
    assert (oco.symbol, oco.legs[0].stop_price, oco.limit_price) == ("IBM", plan.stop, plan.target)
    shell.broker.now = plan.hold_until
    shell.tick(1)
    shell.settle(5)
    assert shell.broker.positions["IBM"] == 0
    assert shell.check() == []


def test_an_exit_goes_on_under_the_new_name() -> None:
    shell = holding()
    shell.close_market()
    shell.operator("flatten")
    shell.broker.cancel_all("AAPL")
    rename(shell)
    for _ in range(20):
        shell.tick(1)
    assert shell.state.exits.keys() == {"IBM"}
    shell.open_market()
    shell.settle(5)
    assert shell.broker.positions["IBM"] == 0


@pytest.mark.parametrize("trouble", ["never announced", "another number"])
def test_what_a_name_alone_does_not_explain_is_adopted_as_ever(trouble: str) -> None:
    shell = holding()
    rename(shell, announced=trouble != "never announced")
    if trouble == "another number":
        shell.broker.positions["IBM"] += 10
    shell.tick(60)
    shell.tick(60)
    assert {"phantom_position", "missing_position"} <= set(findings(shell))
    assert shell.state.positions["IBM"].qty == shell.broker.positions["IBM"] == shell.broker.stop_qty("IBM")


@pytest.mark.parametrize(
    ("qty", "price", "ratio"),
    [
        ("300", "50", "2"),
        ("50", "300", "0.3333333333333333333333333333"),
        ("225", "66.67", "1.5"),
        ("150", "99", None),
        ("170", "100", None),
        ("-150", "100", None),
        ("300", "100", None),
        ("0", "0", None),
    ],
)
def test_a_split_is_told_by_number_and_price_together(qty: str, price: str, ratio: str | None) -> None:
    held = Position("AAPL", Decimal(150), Decimal(100), Decimal(0), holding().broker.now, 1)
    found = split_ratio(held, BrokerPosition("AAPL", Decimal(qty), Decimal(price)))
    assert found == (None if ratio is None else Decimal(ratio))


def test_a_revived_order_is_believed_only_after_being_asked_for_by_name() -> None:
    shell = holding()
    (cid,) = shell.state.orders
    _revived(shell)
    asked = shell.handle(read(shell))
    assert ProbeOrder(cid) in asked
    assert shell.state.orders[cid].protective_qty == 0
    answer = shell.broker.execute(ProbeOrder(cid))
    assert answer is not None
    shell.handle(answer)
    assert shell.state.orders[cid].protective_qty == 150


def test_an_old_view_revives_nothing() -> None:
    """A lagging read still shows the order alive that was cancelled a moment ago."""
    shell = holding()
    stale = read(shell)
    shell.broker.cancel_all("AAPL")
    shell.send(*shell.broker.deliver())
    later = replace(stale, began=shell.broker.now, at=shell.broker.now)
    shell.send(later)
    assert "revived_order" not in findings(shell)
    assert shell.broker.stop_qty("AAPL") == 150
    assert shell.check() == []


def test_a_stream_fill_the_history_lists_later_is_not_in_doubt() -> None:
    shell = holding()
    shell.faults(Faults())
    for _ in range(5):
        shell.tick(60)
    assert shell.state.unread == {}
    assert findings(shell) == []


def test_a_trade_by_hand_seen_on_the_stream_is_named_and_protected() -> None:
    shell = holding()
    shell.by_hand("AAPL", 10)
    assert findings(shell) == ["foreign_fill"]
    shell.tick(60)
    assert findings(shell) == ["foreign_fill"]
    assert shell.broker.stop_qty("AAPL") == 160


def test_a_broker_that_blocks_the_account_stops_entries_and_is_told_once() -> None:
    shell = holding()
    blocked = replace(shell.broker.account(), trading_blocked=True)
    shell.close_market()
    shell.price("IBM", 200)
    shell.signal("IBM")
    shell.broker.account = lambda: blocked  # type: ignore[method-assign]
    for _ in range(3):
        shell.broker.now += timedelta(seconds=60)
        shell.send(AccountSeen(shell.broker.now, blocked))
    assert [c.code for c in shell.commands if isinstance(c, RaiseAlert)].count("ACCOUNT_BLOCKED") == 1
    assert shell.state.trading is TradingState.HALTED
    shell.open_market()
    assert shell.broker.positions.get("IBM", 0) == 0  # the queued entry was withdrawn
    assert shell.broker.stop_qty("AAPL") == 150
    shell.operator("flatten")
    assert shell.broker.positions["AAPL"] == 0  # exits are attempted all the same


def test_a_fill_without_an_id_of_its_own_is_known_by_its_event() -> None:
    shell = Shell(CoreConfig())
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.faults(Faults(dropped=1.0))
    shell.signal("AAPL")
    seen = shell.broker.orders[0].seen(nested=False)
    nameless = replace(shell.broker.executions[0], execution_id="")
    for event_id in ("01ABC", "01ABC"):
        shell.handle(OrderUpdated(shell.broker.now, "fill", seen, nameless, event_id))
    assert shell.state.positions["AAPL"].qty == 150
    assert list(shell.state.executions) == ["event 01ABC"]
    for _ in range(2):
        shell.handle(OrderUpdated(shell.broker.now, "fill", seen, replace(nameless, qty=Decimal(1)), ""))
    assert shell.state.positions["AAPL"].qty == 151  # by order and cumulative quantity, once


def test_without_an_answer_about_a_missing_order_nothing_is_concluded() -> None:
    shell = holding()
    (cid,) = shell.state.orders
    seen = read(shell, orders=())
    shell.faults(Faults(mute_reads=1.0))
    shell.send(seen)
    assert ProbeOrder(cid) in shell.commands
    assert shell.state.orders[cid].phase is Phase.LIVE
    assert shell.state.orders[cid].protective_qty == 150
    assert findings(shell) == []


def test_without_the_history_no_fill_is_in_doubt_and_none_is_forgotten() -> None:
    """No list of fills is not an empty list: nothing is unconfirmed, and the next list is asked for from where the last one ended."""
    shell = bought()
    asked_from = shell.state.fills_from
    assert asked_from is not None
    shell.broker.now += timedelta(minutes=10)
    shell.handle(shell.clock())
    shell.handle(read(shell, executions=(), fills_known=False, fills_since=asked_from))
    assert findings(shell) == []
    assert shell.state.fills_from == asked_from
    shell.handle(read(shell, executions=(), fills_since=asked_from))
    assert findings(shell) == ["unconfirmed_fill"]
    assert shell.state.fills_from is not None
    assert shell.state.fills_from > asked_from


@pytest.mark.parametrize("leaving", [False, True], ids=["protection", "exit"])
def test_neither_protection_nor_an_exit_waits_for_a_history_that_does_not_come(leaving: bool) -> None:
    """The stream lost the entry's fills, the broker lists orders and positions but no fills: within seconds its position is believed."""
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.faults(Faults(dropped=1.0))
    shell.signal("AAPL")
    shell.faults(Faults())
    shell.broker.cancel_all("AAPL")  # nor do the legs live
    shell.broker.outbox.clear()
    execute = shell.broker.execute

    def read_without(command: Command) -> object:
        answer = execute(command)
        return replace(answer, executions=(), fills_known=False) if isinstance(answer, BrokerSeen) else answer

    shell.broker.execute = read_without  # type: ignore[method-assign, assignment]
    shell.tick(30.0)
    if leaving:
        shell.operator("flatten")
    for _ in range(8):
        shell.tick(1.0)
    assert shell.broker.positions.get("AAPL", 0) == (0 if leaving else 150)
    assert shell.broker.stop_qty("AAPL") == (0 if leaving else 150)
    shell.broker.execute = execute  # type: ignore[method-assign]
    for _ in range(3):
        shell.tick(60.0)
    assert shell.check() == []
    assert (shell.state.positions["AAPL"].qty if not leaving else len(shell.state.positions)) == (0 if leaving else 150)


def beside_a_stranger() -> tuple[Shell, BrokerSeen, str]:
    """Somebody's order rests in IBM; a later read in which the broker no longer has it in any list; its broker id."""
    shell = holding()
    foreign = shell.broker.rest_by_hand("IBM", 10, Decimal(150))
    shell.price("IBM", 200)
    shell.tick(60)
    assert list(shell.state.strangers) == [foreign.broker_id]
    shell.broker.orders.remove(foreign)  # as after a reset of a paper account: no list and no id knows it
    shell.broker.now += timedelta(seconds=60)
    shell.handle(shell.clock())
    return shell, read(shell), foreign.broker_id


def later(seen: BrokerSeen, seconds: float, **changes: object) -> BrokerSeen:
    step = timedelta(seconds=seconds)
    return replace(seen, at=seen.at + step, began=seen.began + step, **changes)  # type: ignore[arg-type]


def test_a_stranger_the_broker_does_not_know_is_forgotten_after_one_more_look_at_all_open_orders() -> None:
    shell, seen, broker_id = beside_a_stranger()
    shell.handle(replace(seen, absent=(broker_id,)))
    assert list(shell.state.strangers) == [broker_id], "the list was taken before the 404"
    shell.handle(replace(seen, absent=(broker_id,)))
    assert list(shell.state.strangers) == [broker_id], "the same list again is no later one"
    shell.handle(later(seen, 1.0))
    assert shell.state.strangers == {}
    shell.signal("IBM")
    assert [event for _, event in shell.log.events() if isinstance(event, EntryDenied)] == []


def test_silence_alone_never_ends_a_stranger_and_a_sighting_takes_the_404_back() -> None:
    shell, seen, broker_id = beside_a_stranger()
    for count in range(5):
        shell.handle(later(seen, 30.0 * count))
    assert list(shell.state.strangers) == [broker_id]
    order = shell.state.strangers[broker_id].order
    shell.handle(later(seen, 200.0, absent=(broker_id,)))
    shell.handle(later(seen, 230.0, orders=(*seen.orders, order)))
    shell.handle(later(seen, 260.0))
    assert list(shell.state.strangers) == [broker_id]
    shell.handle(later(seen, 290.0, absent=(broker_id,)))
    shell.handle(later(seen, 320.0))
    assert shell.state.strangers == {}


def test_a_foreign_group_is_gone_only_when_no_part_of_it_is_known() -> None:
    shell, seen, broker_id = beside_a_stranger()
    order = replace(shell.state.strangers[broker_id].order, order_class="bracket", status="filled")
    legs = tuple(replace(order, broker_id=f"leg-{n}", client_order_id=f"leg-{n}", status="new") for n in (1, 2))
    shell.handle(later(seen, 1.0, orders=(*seen.orders, replace(order, legs=legs))))
    shell.handle(later(seen, 2.0, absent=("leg-1",)))
    shell.handle(later(seen, 3.0))
    assert list(shell.state.strangers) == [broker_id]
    shell.handle(later(seen, 4.0, absent=("leg-1", "leg-2")))
    shell.handle(later(seen, 5.0))
    assert shell.state.strangers == {}
