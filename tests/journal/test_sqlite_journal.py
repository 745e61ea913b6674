"""The journal keeps what it was given, in order, for ever, and says so when somebody touched it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from alphatrade_pipelines.journal import (
    JournalError,
    JournalLockedError,
    JournalReader,
    RunEnd,
    SqliteJournal,
    open_journal,
    show_journal,
    verify_journal,
)
from alphatrade_pipelines.trading.codec import encode_event
from alphatrade_pipelines.trading.events import Event, PriceSeen, SessionEnded
from tests.journal.stories import T0, price, started


def filled(path: Path, count: int = 5) -> list[Event]:
    events: list[Event] = [started(), *(price(n) for n in range(1, count))]
    with SqliteJournal(path) as journal:
        journal.append_many(events)
    return events


def tamper(path: Path, sql: str, *args: object) -> None:
    """Change rows the way someone with the file and no scruples would."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute("DROP TRIGGER events_no_delete")
        connection.execute(sql, args)


def test_events_come_back_equal_and_numbered_without_gaps(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.db"
    with SqliteJournal(path) as journal:
        assert journal.append(started()) == 1
        assert journal.append_many([price(1), price(2)]) == 3
        head = journal.head
    with SqliteJournal(path) as journal:
        assert journal.head == head
        assert journal.append(price(3)) == 4
        assert list(journal.events()) == [(1, started()), (2, price(1)), (3, price(2)), (4, price(3))]
        assert list(journal.events(from_seq=3)) == [(3, price(2)), (4, price(3))]
        assert journal.verify().sound


def test_durability_settings_are_in_force(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "j.db") as journal:
        assert journal._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert journal._connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("UPDATE events SET body = '{}' WHERE seq = 1", "append-only"),
        ("DELETE FROM events WHERE seq = 1", "append-only"),
        ("INSERT INTO events VALUES (9, '{}', 'x')", "no gaps"),
        ("INSERT INTO events VALUES (1, '{}', 'x')", "no gaps"),
    ],
)
def test_the_file_itself_refuses_anything_but_the_next_row(tmp_path: Path, sql: str, message: str) -> None:
    path = tmp_path / "j.db"
    filled(path)
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match=message):
        connection.execute(sql)


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    filled(path, 3)
    with SqliteJournal(path) as journal:
        with pytest.raises(ValueError, match="aware UTC"):
            journal.append_many([price(7), PriceSeen(datetime(2013, 1, 2), "AAPL", Decimal(1))])
        assert len(list(journal.events())) == 3
        assert journal.append(price(8)) == 4


def test_a_full_disk_is_an_error_and_leaves_the_journal_sound(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "j.db") as journal:
        journal.append(started())
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalError, match="full"):
            journal.append_many([price(n) for n in range(1000)])
        journal._connection.execute("PRAGMA max_page_count = 100000")
        assert journal.append(price(1)) == 2
        assert journal.verify().sound


@pytest.mark.parametrize("bad", [1, 3, 5])
def test_verify_names_the_changed_row(tmp_path: Path, bad: int) -> None:
    path = tmp_path / "j.db"
    filled(path)
    tamper(path, "UPDATE events SET body = ? WHERE seq = ?", encode_event(price(999)), bad)
    result = verify_journal(path)
    assert not result.sound
    assert result.bad_seq == bad
    assert f"row {bad}" in result.problem


def test_verify_sees_a_removed_row_and_a_reordered_pair(tmp_path: Path) -> None:
    removed, swapped = tmp_path / "removed.db", tmp_path / "swapped.db"
    filled(removed)
    tamper(removed, "DELETE FROM events WHERE seq = 3")
    assert verify_journal(removed).bad_seq == 4
    filled(swapped)
    tamper(swapped, "UPDATE events SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3)")
    with sqlite3.connect(swapped) as connection:
        connection.execute("UPDATE events SET seq = -seq WHERE seq < 0")
    assert verify_journal(swapped).bad_seq == 2


def test_verify_catches_a_rewritten_hash(tmp_path: Path) -> None:
    """Recomputing one row's own hash is not enough: the next row's link gives it away."""
    from alphatrade_pipelines.journal.chain import row_hash

    path = tmp_path / "j.db"
    filled(path)
    with JournalReader(path) as reader:
        first = next(reader.rows(1, 1)).hash
    body = encode_event(price(999))
    tamper(path, "UPDATE events SET body = ?, hash = ? WHERE seq = 2", body, row_hash(first, 2, body))
    assert verify_journal(path).bad_seq == 3


def test_one_writer_but_many_readers(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with SqliteJournal(path) as journal:
        journal.append(started())
        with pytest.raises(JournalLockedError, match=f"process {os.getpid()}"):
            SqliteJournal(path)
        with JournalReader(path) as reader:
            assert len(reader) == 1
            journal.append(price(1))
            assert len(list(reader.events())) == 2
    SqliteJournal(path).close()


def _append_until_killed(path: Path, ready: object) -> None:
    journal = SqliteJournal(path)
    journal.append(started("killed"))
    n = 0
    while True:
        n += 1
        journal.append(price(n))
        if n == 20:
            ready.set()  # type: ignore[attr-defined]


def test_a_killed_writer_loses_nothing_it_was_told_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_append_until_killed, args=(path, ready))
    writer.start()
    assert ready.wait(60), "the writer never got going"
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    journal, previous = open_journal(path)
    with journal:
        assert previous.end is RunEnd.CRASHED
        assert previous.run_id == "killed"
        assert previous.events >= 21
        assert [seq for seq, _ in journal.events()] == list(range(1, previous.events + 1))


def test_previous_run_is_classified(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal, previous = open_journal(path)
    assert previous.end is RunEnd.NONE
    journal.append_many([started("a"), price(1)])
    journal.close()
    journal, previous = open_journal(path)
    assert (previous.end, previous.run_id) == (RunEnd.CRASHED, "a")
    assert "PriceSeen" in previous.detail
    journal.append_many([started("b"), SessionEnded(T0, "asked to stop")])
    journal.close()
    journal, previous = open_journal(path)
    journal.close()
    assert (previous.end, previous.run_id, previous.events) == (RunEnd.ENDED, "b", 4)


def test_a_damaged_journal_goes_on_from_its_last_sound_row_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    filled(path)
    tamper(path, "UPDATE events SET body = '{}' WHERE seq = 2")
    journal, previous = open_journal(path)
    with journal:
        assert previous.end is RunEnd.DAMAGED
        assert "row 2" in previous.detail
        assert len(journal) == 1
        assert journal.append(price(77)) == 2
        assert journal.verify().sound
    assert verify_journal(tmp_path / previous.quarantined).bad_seq == 2


def test_a_file_that_is_no_database_is_set_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    path.write_bytes(b"not a database at all, just text that somebody left here" * 40)
    assert not verify_journal(path).sound
    journal, previous = open_journal(path)
    journal.close()
    assert previous.end is RunEnd.DAMAGED
    assert (tmp_path / previous.quarantined).read_bytes().startswith(b"not a database")


def test_half_a_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    filled(path, 400)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert not verify_journal(path).sound


def test_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="Expected a journal at"):
        JournalReader(tmp_path / "nothing.db")
    with pytest.raises(JournalError, match="Expected a journal at"):
        verify_journal(tmp_path / "nothing.db")


def test_show_filters_by_type_and_symbol(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    events = filled(path, 10)
    with SqliteJournal(path) as journal:
        journal.append(PriceSeen(T0, "IBM", Decimal(200)))
    assert [shown.event for shown in show_journal(path, last=3, symbol="AAPL")] == events[-3:]
    assert [shown.seq for shown in show_journal(path, kind="SessionStarted")] == [1]
    assert len(show_journal(path, last=None)) == 11
    assert show_journal(path, last=0) == []
