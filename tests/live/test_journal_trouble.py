"""Whole sessions whose journal fails: a full disk, a Redis that dies and comes back, a writer that was taken over."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alphatrade_pipelines.journal import JournalFencedError, JournalWriteError, RunEnd, SqliteJournal
from alphatrade_pipelines.journal.redis import RedisConfig, RedisJournal
from alphatrade_pipelines.live.control import ControlInbox
from alphatrade_pipelines.live.launch import open_session
from alphatrade_pipelines.live.lockstep import Lockstep
from alphatrade_pipelines.live.memory import remember
from alphatrade_pipelines.live.session import WallClock
from alphatrade_pipelines.live.status import SessionStatus, StopSwitch
from alphatrade_pipelines.live.transport import BrokerUnavailableError
from alphatrade_pipelines.trading.domain import StopPolicy
from alphatrade_pipelines.trading.events import Event, JournalStateSeen, OperatorAsked, OrderIntended, SessionEnded, SessionStarted
from tests.journal.stories import SqliteBackend
from tests.journal.test_full_disk import RESERVE, fill, small_disk  # noqa: F401 - a fixture
from tests.live.world import journal_of, play, venue, world
from tests.tools.redis_server import RedisServer

SMALL = ("2012-11-01", "2012-11-14")


class SickJournal(SqliteJournal):
    """SQLite on a disk that is full whenever ``full`` says so, and taken over by somebody once ``taken_over``."""

    full = taken_over = False

    def append_many(self, events: Sequence[Event]) -> int:
        if self.taken_over:
            raise JournalFencedError("another writer took over; this process must end")
        if self.full:
            raise JournalWriteError("database or disk is full")
        return super().append_many(events)


class Bench:
    """A set-up whose journal can be made to fail from an observer."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal = folder, None
        self.seen: list[SessionStatus] = []

    def open(self, folder: Path) -> SickJournal:
        self.journal = SickJournal(folder / "journal.sqlite")  # type: ignore[assignment]
        return self.journal  # type: ignore[return-value]


async def test_on_a_full_disk_a_session_halts_flattens_and_catches_up(tmp_path: Path) -> None:
    small, bench = world(*SMALL), Bench(tmp_path)
    sent_while_full: list[int] = []

    def watch(status: SessionStatus) -> None:
        bench.seen.append(status)
        journal: Any = bench.journal
        if len(status.positions) >= 2 and not journal.full and not sent_while_full:
            journal.full = True
            ControlInbox(tmp_path / "control").ask("flatten", "tester")
        elif journal.full and not status.positions:
            sent_while_full.append(status.orders)
            journal.full = False

    async with venue(small) as (server, url, admin):
        setup = small.setup(url, tmp_path, observers=(watch,), journal=bench.open)
        with open_session(setup) as session:
            result = await session.run(Lockstep(admin, small.sessions, 0.2))
            mark = session.shell.engine.state.fingerprint()
        assert server.exchange.positions() == []
        assert server.exchange.ledger.duplicate_intents == []
        assert server.exchange.ledger.unprotected_seconds == {}
    assert sent_while_full, "the position was left while nothing could be journaled"
    assert any("events wait in memory" in status.journal for status in bench.seen)
    assert bench.seen[0].journal == result.status.journal == "sound"
    assert result.clean
    assert result.status.state == "halted"
    events = journal_of(tmp_path)
    marks = [event for event in events if isinstance(event, JournalStateSeen)]
    assert [event.writable for event in marks] == [False, True]
    assert marks[1].late > 0
    between = events[events.index(marks[0]) : events.index(marks[1])]
    assert any(isinstance(event, OrderIntended) and event.purpose == "exit" for event in events)
    assert not any(isinstance(event, OrderIntended) and event.purpose == "entry" for event in between)
    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        assert remember(journal).parts["core"].fingerprint() == mark
        for path in tmp_path.glob("*.snapshot-*"):
            path.unlink()
        assert remember(journal).parts["core"].fingerprint() == mark


async def test_a_session_that_ends_on_a_full_disk_says_what_is_lost_and_the_next_one_makes_it_good(tmp_path: Path) -> None:
    small, bench, switch = world(*SMALL), Bench(tmp_path), StopSwitch()

    def fill_and_flatten(status: SessionStatus) -> None:
        if len(status.positions) >= 2:
            bench.journal.full = True  # type: ignore[attr-defined]
            switch.request(StopPolicy.FLATTEN, "flatten")

    async with venue(small) as (server, url, admin):
        setup = small.setup(url, tmp_path, observers=(fill_and_flatten,), journal=bench.open)
        first = await play(setup, admin, small.sessions, switch)
        assert server.exchange.positions() == [], "left although not one of the exits could be journaled"
        assert not first.clean
        assert any("events could not be stored" in item for item in first.open_business)
        with open_session(small.setup(url, tmp_path)) as session:
            assert session.tools.start is not None
            assert session.tools.start.previous.end is RunEnd.CRASHED
            assert session.shell.engine.state.positions, "the journal still believes in them"
            second = await session.run(Lockstep(admin, small.sessions))
        assert dict(second.status.positions) == {p.symbol: p.qty for p in server.exchange.positions()}
        assert server.exchange.ledger.duplicate_intents == []
        assert server.exchange.ledger.unprotected_seconds == {}


async def test_a_session_that_was_taken_over_ends_and_sends_nothing_more(tmp_path: Path) -> None:
    small, bench = world(*SMALL), Bench(tmp_path)

    def take_over(status: SessionStatus) -> None:
        if status.positions:
            bench.journal.taken_over = True  # type: ignore[attr-defined]

    async with venue(small) as (server, url, admin):
        with pytest.raises(JournalFencedError, match="another writer took over"):
            await play(small.setup(url, tmp_path, observers=(take_over,), journal=bench.open), admin, small.sessions)
        assert server.exchange.ledger.unprotected_seconds == {}, "the stops at the broker protect what is held"
        sent = {order.client_order_id for order in server.exchange.orders(status="all") if "-2012" in order.client_order_id}
    intents = {event.request.client_order_id for event in journal_of(tmp_path) if isinstance(event, OrderIntended)}
    assert sent
    assert sent <= intents, "no order left without its intent in the journal"


async def test_the_next_session_starts_from_the_snapshot_and_says_how_the_last_one_ended(tmp_path: Path) -> None:
    switch, small = StopSwitch(), world(*SMALL)

    def stop_when_invested(status: SessionStatus) -> None:
        if status.positions:
            switch.request(StopPolicy.PROTECT, "enough")

    async with venue(small) as (server, url, admin):
        first = await play(small.setup(url, tmp_path, observers=(stop_when_invested,)), admin, small.sessions, switch)
        assert first.status.previous_run == "none: the journal is empty"
        setup = small.setup(url, tmp_path)
        with open_session(replace(setup, session=replace(setup.session, run_id="run-2"))) as session:
            start = session.tools.start
            assert start is not None
            assert (start.previous.end, start.replayed) == (RunEnd.ENDED, 0), "nothing had to be read again"
            assert start.snapshot_seq == len(journal_of(tmp_path))
            second = await session.run(Lockstep(admin, small.sessions))
        assert second.status.previous_run == "ended: run run-1 ended: enough"
        assert second.status.fills == len(server.exchange.fills()), "counters go on where they were"
        assert server.exchange.ledger.duplicate_intents == []
    told = [event.previous for event in journal_of(tmp_path) if isinstance(event, SessionStarted)]
    assert told == ["none: the journal is empty", "ended: run run-1 ended: enough"]


async def test_a_session_on_redis_survives_the_servers_death(tmp_path: Path) -> None:
    """The server is killed once the session is invested and started again once it has halted; nothing acknowledged is lost."""
    small = world(*SMALL)
    server = RedisServer(tmp_path / "redis").start()
    config = RedisConfig(server.url, "live")
    killed: list[str] = []

    def interfere(status: SessionStatus) -> None:
        if status.positions and not killed:
            server.kill()
            killed.append("down")
        elif killed == ["down"] and status.state == "halted":
            server.start()
            killed.append("up")

    try:
        async with venue(small) as (exchange, url, admin):
            setup = small.setup(url, tmp_path, observers=(interfere,), journal=lambda folder: RedisJournal(config, folder))
            with open_session(setup) as session:
                result = await session.run(Lockstep(admin, small.sessions, 0.4))
                mark = session.shell.engine.state.fingerprint()
            assert exchange.exchange.ledger.duplicate_intents == []
            assert exchange.exchange.ledger.unprotected_seconds == {}
            assert dict(result.status.positions) == {p.symbol: p.qty for p in exchange.exchange.positions()}
        assert killed == ["down", "up"]
        assert result.status.journal == "sound"
        with RedisJournal(config, tmp_path) as journal:
            assert journal.verify().sound
            assert remember(journal).parts["core"].fingerprint() == mark
            marks = [event for _, event in journal.events() if isinstance(event, JournalStateSeen)]
            assert [event.writable for event in marks] == [False, True]
    finally:
        server.kill()


@pytest.mark.parametrize("gone", ["heartbeat", "everything"])
async def test_a_disk_that_takes_nothing_at_all_halts_entries_and_an_exit_goes_out(tmp_path: Path, gone: str) -> None:
    """Heartbeat, control folder, snapshots and journal lie on the same disk: none of them may end the session."""
    small, switch = world(*SMALL), StopSwitch()
    folder = tmp_path / "account"
    taken_at: list[float] = []

    def take_away(status: SessionStatus) -> None:
        if len(status.positions) >= 2 and not taken_at:
            taken_at.append(time.monotonic())
            if gone == "everything":
                shutil.rmtree(folder)
                folder.write_text("somebody's file")
            else:
                (folder / "heartbeat.json").unlink()
                (folder / "heartbeat.json").mkdir()
        elif taken_at and time.monotonic() > taken_at[0] + 0.5:  # several beats later
            switch.request(StopPolicy.FLATTEN, "flatten")

    async with venue(small) as (server, url, admin):
        setup = small.setup(url, folder, observers=(take_away,))
        with open_session(replace(setup, session=replace(setup.session, status_every_s=0.1))) as session:
            result = await session.run(Lockstep(admin, small.sessions, 0.4), switch)
        assert taken_at
        assert server.exchange.positions() == []
        assert server.exchange.ledger.duplicate_intents == []
        assert server.exchange.ledger.unprotected_seconds == {}
    assert result.reason == "flatten"
    assert result.clean == (gone == "heartbeat")


async def test_a_start_that_found_damage_and_no_broker_leaves_the_next_one_halted(tmp_path: Path) -> None:
    """Damage, then hours without a broker, then a relaunch: what was lost may have been a halt."""
    small = world(*SMALL)
    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        journal.append_many([SessionEnded(datetime(2012, 10, 1, tzinfo=UTC), "x")] * 3)
    SqliteBackend(tmp_path).corrupt(2, "{}")
    setup = small.setup("http://127.0.0.1:9", tmp_path)
    setup = replace(setup, session=replace(setup.session, connect_patience_s=0.2))
    with open_session(setup) as session, pytest.raises(BrokerUnavailableError):
        await session.run(WallClock())
    async with venue(small) as (server, url, admin):
        result = await play(small.setup(url, tmp_path), admin, small.sessions)
        assert result.status.state == "halted"
        assert result.status.previous_run.startswith("damaged")
        assert server.exchange.positions() == []


async def test_a_session_killed_between_its_first_event_and_the_halt_leaves_the_next_one_halted(tmp_path: Path) -> None:
    small = world(*SMALL)
    with SqliteJournal(tmp_path / "journal.sqlite") as journal:
        journal.append_many([SessionEnded(datetime(2012, 10, 1, tzinfo=UTC), "x")] * 3)
    SqliteBackend(tmp_path).corrupt(2, "{}")

    class Dies(SqliteJournal):
        def append_many(self, events: Sequence[Event]) -> int:
            if any(isinstance(event, OperatorAsked) for event in events):
                raise JournalFencedError("kill -9 came first")
            return super().append_many(events)

    async with venue(small) as (server, url, admin):
        setup = small.setup(url, tmp_path, journal=lambda folder: Dies(folder / "journal.sqlite"))
        with pytest.raises(JournalFencedError):
            await play(setup, admin, small.sessions)
        assert [type(event).__name__ for event in journal_of(tmp_path)] == ["SessionEnded", "SessionStarted"]
    async with venue(small) as (server, url, admin):
        result = await play(small.setup(url, tmp_path), admin, small.sessions)
        assert result.status.state == "halted"
        assert result.status.previous_run.startswith("crashed")
        assert server.exchange.positions() == []


async def test_a_relaunch_on_a_full_disk_leaves_its_positions(small_disk: Path) -> None:  # noqa: F811
    """The session died because of the disk, perhaps; nobody has made room; the positions are to be left now."""
    small, switch, folder = world(*SMALL), StopSwitch(), small_disk / "account"

    def stop_when_invested(status: SessionStatus) -> None:
        if len(status.positions) >= 2:
            switch.request(StopPolicy.PROTECT, "enough")

    def open_journal(folder: Path) -> SqliteJournal:
        return SqliteJournal(folder / "journal.sqlite", reserve_bytes=RESERVE)

    async with venue(small) as (server, url, admin):
        setup = small.setup(url, folder, journal=open_journal)
        await play(replace(setup, observers=(stop_when_invested,)), admin, small.sessions, switch)
        assert len(server.exchange.positions()) >= 2
        fill(small_disk)
        ControlInbox(folder / "control").ask("flatten", "a person")
        result = await play(setup, admin, small.sessions)
        assert server.exchange.positions() == []
        assert result.status.state == "halted"
        assert server.exchange.ledger.duplicate_intents == []
        assert server.exchange.ledger.unprotected_seconds == {}
