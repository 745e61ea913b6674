"""The journal can take no more: entries halt, exits and protection go on, and afterwards the journal holds everything, in order."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from alphatrade_pipelines.trading import Engine, EngineError, LogWriteError, MemoryLog, TradingState
from alphatrade_pipelines.trading.commands import RaiseAlert, SubmitOrder
from alphatrade_pipelines.trading.events import Event, JournalStateSeen, OperatorAsked, OrderIntended, SubmitEnded
from tests.trading.shell import RecordingLog, Shell


class SickLog(RecordingLog):
    """Takes nothing while ``full``; ``trouble`` says that it soon may not."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.trouble = False, ""
        self.refused_at_once: int | None = None

    def append_many(self, events: Sequence[Event]) -> int:
        if self.full or (self.refused_at_once is not None and len(events) > self.refused_at_once):
            raise LogWriteError("database or disk is full")
        return super().append_many(events)


def ready(held: bool = False) -> tuple[Shell, SickLog]:
    """A session at an open market; with ``held``, 150 AAPL in a bracket."""
    shell, log = Shell(), SickLog()
    shell.log = log
    shell.engine = Engine(shell.config, log)
    shell.broker.set_price("AAPL", Decimal(100))
    shell.broker.set_price("IBM", Decimal(200))
    shell.start()
    shell.open_market()
    shell.price("AAPL", 100)
    shell.price("IBM", 200)
    if held:
        shell.signal("AAPL")
        shell.tick()
        assert shell.state.positions["AAPL"].qty == 150
    return shell, log


def alerts(shell: Shell) -> list[tuple[str, str]]:
    return [(command.level, command.code) for command in shell.commands if isinstance(command, RaiseAlert)]


def stored(log: MemoryLog) -> list[Event]:
    return [event for _, event in log.events()]


def test_an_entry_is_not_sent_while_the_journal_is_full_and_the_core_halts() -> None:
    shell, log = ready()
    log.full = True
    shell.signal("AAPL")
    assert shell.broker.orders == []
    assert shell.state.trading is TradingState.HALTED
    assert "journal cannot be written" in shell.state.halted
    assert alerts(shell).count(("CRITICAL", "JOURNAL_NOT_WRITABLE")) == 1
    (order,) = shell.state.orders.values()
    assert order.phase == "refused", "denied by ourselves: nothing of it is at the broker"
    shell.tick()
    shell.signal("IBM")
    assert shell.broker.orders == []
    assert alerts(shell).count(("CRITICAL", "JOURNAL_NOT_WRITABLE")) == 1, "said once, not at every event"


@pytest.mark.parametrize("how", ["flatten", "time", "stop"])
def test_exits_go_out_while_the_journal_is_full(how: str) -> None:
    shell, log = ready(held=True)
    log.full = True
    if how == "flatten":
        shell.operator("flatten")
    elif how == "stop":
        shell.stop("flatten")
    else:
        shell.tick(86400 + 60)
    for _ in range(6):
        shell.tick()
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    assert shell.engine.backlog > 0
    assert not any(isinstance(event, OrderIntended) and event.purpose == "exit" for event in stored(log))


def test_protection_is_repaired_while_the_journal_is_full() -> None:
    shell, log = ready(held=True)
    log.full = True
    shell.broker.cancel_all("AAPL")  # somebody cancelled the stop by hand
    assert shell.broker.stop_qty("AAPL") == 0
    for _ in range(8):
        shell.tick(10.0)
    assert shell.broker.stop_qty("AAPL") == 150


def test_a_resting_entry_is_withdrawn_when_the_journal_fills_up() -> None:
    shell, log = ready()
    shell.broker.market_open = False
    shell.send(shell.clock())
    shell.signal("AAPL")
    assert [order.status for order in shell.broker.orders if order.client_order_id in shell.state.orders] != []
    log.full = True
    shell.tick()
    shell.tick()
    shell.broker.market_open = True
    shell.broker.work()
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0


def test_what_waited_is_written_first_in_order_and_marked_once_there_is_room() -> None:
    shell, log = ready(held=True)
    before = len(stored(log))
    log.full = True
    shell.operator("flatten")
    for _ in range(5):
        shell.tick()
    waiting = shell.engine.backlog
    assert waiting > 5
    log.full = False
    shell.tick()
    assert shell.engine.backlog == 0
    events = stored(log)[before:]
    marks = [event for event in events if isinstance(event, JournalStateSeen)]
    assert [mark.writable for mark in marks] == [False, True]
    assert marks[1].late == waiting == sum(1 for _ in events[: events.index(marks[1])]) - 1, "all but the event that found room"
    assert isinstance(events[0], OperatorAsked)
    replayed = log.replay(shell.config, 10**9)
    assert replayed.fingerprint() == shell.state.fingerprint(), "the journal is the state again"
    assert ("WARNING", "JOURNAL_RESTORED") in alerts(shell)
    assert shell.check() == []


def test_a_person_resumes_and_only_once_the_journal_is_well() -> None:
    shell, log = ready()
    log.full = True
    shell.tick()
    shell.operator("resume")
    assert shell.state.trading is TradingState.HALTED, "resumed into a full disk: halted again at once"
    shell.signal("AAPL")
    assert shell.broker.orders == []
    log.full = False
    shell.tick()
    assert shell.state.trading is TradingState.HALTED, "a halt never lifts itself"
    shell.operator("resume")
    shell.tick()
    shell.signal("IBM")
    shell.tick()
    assert [order.symbol for order in shell.broker.orders] == ["IBM"]
    assert shell.check() == []


def test_on_the_reserve_events_are_stored_but_entries_halt() -> None:
    shell, log = ready(held=True)
    log.trouble = "the journal lives on its reserve"
    shell.signal("IBM")
    assert shell.state.trading is TradingState.HALTED
    assert all(order.symbol == "AAPL" for order in shell.broker.orders)
    assert shell.engine.backlog == 0
    assert shell.engine.impaired
    shell.operator("flatten")
    for _ in range(5):
        shell.tick()
    assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
    log.trouble = ""
    shell.tick()
    assert not shell.engine.impaired
    last = [event for event in stored(log) if isinstance(event, JournalStateSeen)][-1]
    assert (last.writable, last.late) == (True, 0)
    assert log.replay(shell.config, 10**9).fingerprint() == shell.state.fingerprint()


@pytest.mark.parametrize("ticks", [0, 1, 3, 8])
def test_a_crash_while_events_wait_is_a_crash_like_any_other(ticks: int) -> None:
    """Memory is gone, the exit of the lost stretch is at the broker or done: nothing is doubled, nothing is left open or naked."""
    shell, log = ready(held=True)
    log.full = True
    shell.operator("flatten")
    for _ in range(ticks):
        shell.tick()
    log.full = False
    shell.restart()
    shell.settle()
    assert shell.broker.shorted == []
    for symbol in ("AAPL", "IBM"):
        held = shell.broker.positions.get(symbol, Decimal(0))
        assert shell.broker.stop_qty(symbol) + shell.broker.queued_exit_qty(symbol) >= held
        mine = shell.state.positions.get(symbol)
        assert (mine.qty if mine else 0) == held
    assert log.replay(shell.config, 10**9).fingerprint() == shell.state.fingerprint()


def test_a_log_that_comes_back_with_little_room_gets_whole_batches_in_order() -> None:
    """The backlog is offered in bounded pieces, each a run of whole batches; what was taken is not offered again."""
    shell, log = ready()
    log.full = True
    for _ in range(300):
        shell.tick()
    log.full = False
    log.refused_at_once = 256
    shell.tick()
    assert shell.engine.backlog == 0
    assert log.replay(shell.config, 10**9).fingerprint() == shell.state.fingerprint()
    assert len([event for event in stored(log) if isinstance(event, JournalStateSeen)]) == 2


def test_another_failure_of_the_log_still_ends_the_engine() -> None:
    """Fenced by another writer, or a programming error: this process must not act any more."""
    shell, log = ready(held=True)

    def taken_over(events: Sequence[Event]) -> int:
        raise RuntimeError("another writer took over")

    log.append_many = taken_over  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="another writer"):
        shell.operator("flatten")
    with pytest.raises(EngineError, match="build a new Engine"):
        shell.engine.handle(shell.clock())
    exits = [c for c in shell.commands if isinstance(c, SubmitOrder) and shell.state.orders[c.request.client_order_id].purpose == "exit"]
    assert exits == []


def test_an_entry_denied_by_us_is_in_the_journal_as_denied() -> None:
    shell, log = ready()
    log.full = True
    shell.signal("AAPL")
    log.full = False
    shell.tick()
    ends = [event for event in stored(log) if isinstance(event, SubmitEnded)]
    assert [(end.outcome, end.reason) for end in ends] == [("denied", "journal cannot be written")]


class Outage(RecordingLog):
    """Takes ``good`` batches, refuses the ``bad`` offers after that, and takes everything again."""

    def __init__(self, good: int, bad: int) -> None:
        super().__init__()
        self.offers, self.refused, self._from, self._until = 0, 0, good, good + bad

    def append_many(self, events: Sequence[Event]) -> int:
        self.offers += 1
        if self._from < self.offers <= self._until:
            self.refused += 1
            raise LogWriteError("database or disk is full")
        return super().append_many(events)


def eventful(log: Outage) -> Shell:
    """Entries, fills in part and in full, a stop that is hit, a lost stream, an exit, an end."""
    shell = Shell(seed=3)
    shell.log = log
    shell.engine = Engine(shell.config, log)
    shell.start()
    shell.open_market()
    for symbol, price in (("AAPL", 100), ("IBM", 200), ("MSFT", 40)):
        shell.price(symbol, price)
        shell.signal(symbol)
    shell.tick()
    shell.price("AAPL", 94)
    shell.reconnect()
    shell.tick(60.0)
    shell.signal("AAPL")
    shell.operator("flatten")
    for _ in range(8):
        shell.tick()
    shell.stop("protect")
    shell.settle()
    return shell


OFFERS = eventful(Outage(10**9, 0)).log.offers  # type: ignore[attr-defined]


@pytest.mark.parametrize("bad", [1, 25])
def test_a_log_that_fails_at_any_event_loses_none_of_them(bad: int) -> None:
    """Full precisely at a fill, at an intent, at an exit, at the halt itself: afterwards all is there, in order, and is the state."""
    for good in range(1, OFFERS):
        log = Outage(good, bad)
        shell = eventful(log)
        for _ in range(bad + 1):  # one that failed at the very end
            shell.tick()
        assert log.refused == bad, good
        assert shell.engine.backlog == 0, good
        assert log.replay(shell.config, 10**9).fingerprint() == shell.state.fingerprint(), good
        assert shell.broker.positions == {symbol: Decimal(0) for symbol in shell.broker.positions}, good
        assert shell.broker.shorted == [], good
        assert shell.check() == [], good
        seen = [event for event in stored(log) if isinstance(event, JournalStateSeen)]
        assert [event.writable for event in seen] == [False, True] * (len(seen) // 2), good
        assert seen, good
