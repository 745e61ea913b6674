"""What every journal store must do, run over SQLite and over a real Redis server alike."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from alphatrade_pipelines.journal import JournalLockedError, JournalNewerError, RunEnd, Snapshotter, SqliteJournal, start_from
from alphatrade_pipelines.journal.chain import START, Link, row_hash, verify_rows
from alphatrade_pipelines.live.memory import remember
from alphatrade_pipelines.trading import CoreConfig, Engine
from alphatrade_pipelines.trading.codec import encode_event
from alphatrade_pipelines.trading.events import PriceSeen, SessionEnded
from tests.journal.stories import T0, Backend, price, started
from tests.journal.test_snapshots import EVENTS


def previous(backend: Backend) -> RunEnd:
    with backend.open() as journal:
        return start_from(journal, dict, lambda _p, _e: None).previous.end


def test_events_come_back_equal_and_numbered_without_gaps(backend: Backend) -> None:
    with backend.open() as journal:
        assert (len(journal), journal.head, journal.link) == (0, START.hash, START)
        assert journal.append(started()) == 1
        assert journal.append_many([price(1), price(2)]) == 3
        assert journal.append_many([]) == 3
        head = journal.head
    with backend.open() as journal:
        assert (journal.head, len(journal)) == (head, 3)
        assert journal.append(price(3)) == 4
        assert list(journal.events()) == [(1, started()), (2, price(1)), (3, price(2)), (4, price(3))]
        assert list(journal.events(from_seq=3)) == [(3, price(2)), (4, price(3))]
        assert list(journal.events(from_seq=5)) == []
        assert [row.seq for row in journal.rows(2, 3)] == [2, 3]
        assert journal.trouble == ""
        assert journal.verify().sound
        assert journal.verify().head == journal.head


def test_the_same_events_give_the_same_head_whatever_the_store(backend: Backend) -> None:
    with backend.open() as journal:
        for event in EVENTS[:20]:
            journal.append(event)
        journal.append_many(EVENTS[20:])
        head = START.hash
        for seq, event in enumerate(EVENTS, 1):
            head = row_hash(head, seq, encode_event(event))
        assert journal.head == head


def test_a_batch_is_stored_whole_or_not_at_all(backend: Backend) -> None:
    with backend.open() as journal:
        journal.append_many([started(), price(1)])
        with pytest.raises(ValueError, match="aware UTC"):
            journal.append_many([price(7), PriceSeen(datetime(2013, 1, 2), "AAPL", Decimal(1))])
        assert len(list(journal.events())) == 2
        assert journal.append(price(8)) == 3


def test_more_rows_than_a_page(backend: Backend) -> None:
    with backend.open() as journal:
        journal.append_many([price(n) for n in range(2500)])
        assert [seq for seq, _ in journal.events()] == list(range(1, 2501))
        assert [row.seq for row in journal.rows(999, 2001)] == list(range(999, 2002))
        assert journal.verify().events == 2500


def test_one_writer_but_many_readers(backend: Backend) -> None:
    with backend.open() as journal:
        journal.append(started())
        with backend.read() as reader:
            assert len(reader) == 1
            journal.append(price(1))
            assert [event for _, event in reader.events()] == [started(), price(1)]
            assert reader.verify().sound
    with backend.open() as journal, backend.read() as reader:
        assert len(journal) == len(reader) == 2


def test_a_second_writer_is_refused_while_the_first_goes_on(backend: Backend) -> None:
    import threading

    with backend.open() as journal:
        refused: list[Exception] = []

        def second() -> None:
            try:
                backend.open().close()
            except JournalLockedError as error:
                refused.append(error)

        other = threading.Thread(target=second)
        other.start()
        n = 0
        while other.is_alive():
            n += 1
            journal.append(price(n))
            other.join(0.02)
        assert "process" in str(refused[0])
        assert journal.append(price(n + 1)) == n + 1
    backend.open().close()


@pytest.mark.parametrize("bad", [1, 3, 5])
def test_a_changed_row_is_named_and_the_journal_goes_on_before_it(backend: Backend, bad: int) -> None:
    with backend.open() as journal:
        journal.append_many([started(), *(price(n) for n in range(1, 6))])
    backend.corrupt(bad, encode_event(price(999)))
    with backend.read() as reader:
        checked = reader.verify()
        assert (checked.bad_seq, checked.events) == (bad, bad - 1)
        assert f"row {bad}" in checked.problem
    with backend.open() as journal:
        start = start_from(journal, dict, lambda _p, _e: None)
        assert start.previous.end is RunEnd.DAMAGED
        assert f"row {bad}" in start.previous.detail
        assert start.previous.quarantined
        assert len(journal) == bad - 1
        assert journal.append(price(50)) == bad
        assert journal.verify().sound
    assert previous(backend) is RunEnd.CRASHED, "said once"


@pytest.mark.parametrize("left", [0, 2])
def test_a_journal_that_lost_its_end_is_found_out(backend: Backend, left: int) -> None:
    """The chain of what is left is sound; the note beside it remembers that there was more (an empty replica, a restored old file)."""
    with backend.open() as journal:
        journal.append_many([started(), price(1), price(2)])
    backend.cut(left)
    with backend.open() as journal:
        assert verify_rows("", journal.rows()).sound
        found = start_from(journal, dict, lambda _p, _e: None).previous
        assert found.end is RunEnd.DAMAGED
        assert "row 3 had been acknowledged" in found.detail
        journal.append(started("next"))
    assert previous(backend) is RunEnd.CRASHED


def test_another_journal_of_the_same_length_is_found_out(backend: Backend) -> None:
    with backend.open() as journal:
        journal.append_many([started(), price(1)])
    backend.cut(0)
    note = next(iter(getattr(backend, "folder", getattr(backend, "path", None) and backend.path.parent).glob("*.head")))  # type: ignore
    noted = note.read_bytes()
    with backend.open() as journal:
        journal.append_many([started("other"), price(5)])
    note.write_bytes(noted)
    assert previous(backend) is RunEnd.DAMAGED


def test_the_previous_run_is_classified(backend: Backend) -> None:
    assert previous(backend) is RunEnd.NONE
    with backend.open() as journal:
        journal.append_many([started("a"), price(1)])
    assert previous(backend) is RunEnd.CRASHED
    with backend.open() as journal:
        journal.append_many([started("b"), SessionEnded(T0, "asked to stop")])
    assert previous(backend) is RunEnd.ENDED


def test_the_engine_lives_on_it_and_starts_from_its_snapshot(backend: Backend) -> None:
    with backend.open() as journal:
        engine = Engine(CoreConfig(), journal)
        for event in EVENTS:
            if type(event).__name__ not in ("OrderIntended", "CancelIntended", "DiscrepancyFound", "EntryDenied"):
                engine.handle(event)
        mark, count = engine.state.fingerprint(), len(journal)
        Snapshotter(journal).take(remember(journal).parts)
        journal.append(SessionEnded(engine.state.clock, "over"))
    with backend.open() as journal:
        start = remember(journal)
        assert (start.snapshot_seq, start.replayed) == (count, 1)
        assert start.previous.end is RunEnd.ENDED
        again = Engine(CoreConfig(), journal)
        assert again.state.fingerprint() == start.parts["core"].fingerprint() != mark


def test_a_row_of_a_newer_release_is_refused_not_set_aside(backend: Backend) -> None:
    with backend.open() as journal:
        journal.append_many([started(), price(1)])
        head, body = journal.head, encode_event(price(2)).replace('{"v":2,', '{"v":3,')
        _push(journal, 3, body, row_hash(head, 3, body))
    with backend.open() as journal:
        with pytest.raises(JournalNewerError, match="written by a newer release"):
            start_from(journal, dict, lambda _p, _e: None)
        assert len(journal) == 3, "nothing was touched"
    with backend.read() as reader, pytest.raises(JournalNewerError):
        reader.verify()


def _push(journal: object, seq: int, body: str, link: str) -> None:
    if isinstance(journal, SqliteJournal):
        assert journal._connection is not None
        journal._connection.execute("INSERT INTO events VALUES (?, ?, ?)", (seq, body, link))
    else:
        journal._client.rpush(journal._key + "rows", link + body)  # type: ignore[attr-defined]


def test_a_row_of_the_release_before_is_lifted(backend: Backend) -> None:
    body = encode_event(started()).replace('{"v":2,', '{"v":1,').replace(',"previous":""', "")
    with backend.open() as journal:
        _push(journal, 1, body, row_hash(START.hash, 1, body))
    with backend.open() as journal:
        assert list(journal.events()) == [(1, started())]
        assert journal.append(price(1)) == 2
        assert journal.verify().sound


def test_set_aside_everything(backend: Backend) -> None:
    with backend.open() as journal:
        journal.append_many([started(), price(1)])
        assert journal.set_aside(START)
        assert len(journal) == 0
        assert journal.append(started("anew")) == 1
        assert journal.link == Link(1, journal.head)
        assert journal.verify().sound
