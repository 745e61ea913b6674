"""Each kind of difference, in both directions, is named, resolved and then silent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from alphatrade_pipelines.trading.commands import Command, ProbeOrder, ReadBroker, SubmitOrder
from alphatrade_pipelines.trading.domain import BrokerPosition
from alphatrade_pipelines.trading.events import BrokerSeen, DiscrepancyFound, EntryDenied
from tests.trading.fake_broker import Faults
from tests.trading.shell import Shell


def holding() -> Shell:
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.signal("AAPL")
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
    shell = Shell()
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.signal("AAPL")
    stale = read(shell, positions=(), executions=())
    shell.handle(stale)
    assert shell.state.positions["AAPL"].qty == 150
    assert findings(shell) == []
    later = replace(stale, began=stale.began + timedelta(seconds=60), at=stale.at + timedelta(seconds=60))
    shell.handle(later)
    assert findings(shell) == ["phantom_position"]


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
