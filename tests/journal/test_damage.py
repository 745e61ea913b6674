"""Whatever happens to the files, the journal opens, keeps what is sound, names what is not, and never blocks the next session."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from alphatrade_pipelines.journal import JournalReader, JournalWriteError, RunEnd, Snapshotter, SqliteJournal, Start, verify_journal
from alphatrade_pipelines.journal import segment as segments
from alphatrade_pipelines.journal.chain import Link
from alphatrade_pipelines.live.memory import remember
from tests.journal.stories import price, started
from tests.journal.test_snapshots import EVENTS, marks


def segmented(path: Path, at: tuple[int, ...] = (20, 45)) -> dict[str, str]:
    """A journal in three segments; the fingerprints of what it comes to."""
    with SqliteJournal(path, segment_events=15) as journal:
        for number, event in enumerate(EVENTS, 1):
            journal.append(event)
            if number in at:
                Snapshotter(journal).take(remember(journal).parts)
        return marks(remember(journal))


def opened(path: Path) -> tuple[int, Start]:
    with SqliteJournal(path) as journal:
        start = remember(journal)
        return len(journal), start


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def ruin(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def test_segments_are_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    before = segmented(path)
    assert [first for first, _ in segments.find_segments(path)] == [1, 21, 46]
    with JournalReader(path) as reader:
        assert [event for _, event in reader.events()] == EVENTS
        assert [row.seq for row in reader.rows(19, 47)] == list(range(19, 48))
        assert reader.verify().sound
        assert len(reader) == len(EVENTS)
    count, start = opened(path)
    assert (count, start.snapshot_seq, start.replayed) == (len(EVENTS), 45, len(EVENTS) - 45)
    assert marks(start) == before


def test_a_segmented_journal_has_the_head_of_an_undivided_one(tmp_path: Path) -> None:
    segmented(tmp_path / "many.sqlite")
    with SqliteJournal(tmp_path / "one.sqlite") as journal:
        journal.append_many(EVENTS)
        head = journal.head
    assert verify_journal(tmp_path / "many.sqlite").head == head


@pytest.mark.parametrize("how", ["ruined", "empty", "text", "gone", "cut short"])
def test_a_damaged_old_segment_is_set_aside_by_name_and_blocks_nothing(tmp_path: Path, how: str) -> None:
    path = tmp_path / "j.sqlite"
    before = segmented(path)
    if how == "ruined":
        ruin(path)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("somebody saved his notes here")
    elif how == "gone":
        path.unlink()
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TRIGGER events_no_delete")
            connection.execute("DELETE FROM events WHERE seq > 12")
    count, start = opened(path)
    assert count == len(EVENTS)
    assert marks(start) == before, "the snapshot and the later segments are all that is needed"
    assert start.previous.end is RunEnd.CRASHED, "nothing of the state was lost"
    if how != "gone":
        assert start.previous.quarantined == "j.sqlite.damaged-1"
        assert "old segment j.sqlite was damaged" in start.previous.detail
        assert (tmp_path / "j.sqlite.damaged-1").exists()
    assert verify_journal(path).problem == "expected row 1, found 21: rows are missing"
    with SqliteJournal(path) as journal:
        assert journal.append(price(1)) == len(EVENTS) + 1


def test_without_a_usable_snapshot_a_lost_old_segment_means_starting_anew(tmp_path: Path) -> None:
    """Another release, and the first segment is gone: the later rows alone come to nothing; the broker is asked instead."""
    path = tmp_path / "j.sqlite"
    segmented(path)
    ruin(path)
    for snapshot in tmp_path.glob("*.snapshot-*"):
        record = json.loads(snapshot.read_text())
        snapshot.write_text(json.dumps(record | {"code": "another release"}))
    count, start = opened(path)
    assert count == 0
    assert start.previous.end is RunEnd.DAMAGED
    assert start.parts["core"].positions == {}
    kept = {name for name in names(tmp_path) if "damaged" in name}
    assert {"j.sqlite.damaged-1", "j.sqlite.000000000021.damaged-1", "j.sqlite.000000000046.damaged-1"} <= kept
    with SqliteJournal(path) as journal:
        assert journal.append(started()) == 1


@pytest.mark.parametrize("how", ["ruined", "half", "empty", "header"])
def test_a_damaged_newest_segment_goes_on_from_what_is_sound(tmp_path: Path, how: str) -> None:
    path = tmp_path / "j.sqlite"
    segmented(path)
    newest = segments.find_segments(path)[-1][1]
    content = newest.read_bytes()
    if how == "ruined":
        ruin(newest)
    elif how == "half":
        newest.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        newest.write_bytes(b"")
    else:
        newest.write_bytes(b"\0" * 100 + content[100:])
    count, start = opened(path)
    assert start.previous.end is RunEnd.DAMAGED
    assert newest.name in start.previous.quarantined
    assert 45 <= count < len(EVENTS)
    assert start.snapshot_seq == 45
    with SqliteJournal(path) as journal:
        assert journal.append(price(1)) == count + 1
        assert journal.verify().sound


def test_a_torn_last_write_is_cut_at_the_last_sound_row(tmp_path: Path) -> None:
    """The write-ahead log ends in the middle of a commit, as a power cut leaves it: what was acknowledged before is all there."""
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    for n in range(30):
        journal.append(price(n))
    wal = path.with_name(path.name + "-wal").read_bytes()
    main = path.read_bytes()
    journal.append(price(30))
    torn = path.with_name(path.name + "-wal").read_bytes()
    journal.close()
    assert len(torn) > len(wal)
    for cut in (len(wal) + 1, len(wal) + 24, len(wal) + (len(torn) - len(wal)) // 2, len(torn) - 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "j.sqlite").write_bytes(main)
        (folder / "j.sqlite-wal").write_bytes(torn[:cut])
        count, start = opened(folder / "j.sqlite")
        assert (count, start.previous.end) == (30, RunEnd.CRASHED)
        assert verify_journal(folder / "j.sqlite").sound


def test_every_moment_of_a_rotation_and_of_a_salvage_survives_a_kill(tmp_path: Path) -> None:
    """What a kill between two renames leaves behind is finished or undone at the next start."""
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[:30])
        head = journal.link
    # killed while the next segment was being written: a half-made file nobody believes
    (tmp_path / "j.sqlite.000000000031.new").write_bytes(b"half a file")
    count, start = opened(path)
    assert (count, start.previous.end) == (30, RunEnd.CRASHED)
    # killed right after it came to life: an empty segment that follows row 30
    segments.create_segment(segments.name_of(path, 31), head)
    with SqliteJournal(path) as journal:
        assert (len(journal), journal.head) == (30, head.hash)
        assert journal.append(EVENTS[30]) == 31
        assert journal.verify().sound
    # killed in a salvage, before the damaged file was renamed: the copy is dropped
    newest = segments.name_of(path, 31)
    segments.create_segment(newest.with_name(newest.name + ".salvaged"), head)
    assert opened(path)[0] == 31
    assert not list(tmp_path.glob("*.salvaged"))
    # and after it was renamed, before the copy took its place: the copy is put there
    segments.set_aside(newest)
    segments.create_segment(newest.with_name(newest.name + ".salvaged"), head)
    count, start = opened(path)
    assert count == 30
    assert start.previous.end is RunEnd.DAMAGED, "row 31 had been acknowledged"
    assert not list(tmp_path.glob("*.salvaged"))


def test_a_file_of_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    from alphatrade_pipelines.journal import JournalNewerError

    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append(started())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '3' WHERE key = 'format'")
    for door in (SqliteJournal, JournalReader, verify_journal):
        with pytest.raises(JournalNewerError, match="expected journal format 2 or older, was 3"):
            door(path)
    assert not list(tmp_path.glob("*damaged*"))


def test_a_journal_of_the_first_format_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append_many([started(), price(1)])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'format'")
        connection.execute("DELETE FROM meta WHERE key IN ('base_seq', 'base_hash')")
    with SqliteJournal(path) as journal:
        assert journal.append(price(2)) == 3
        assert journal.verify().sound


def test_a_journal_deleted_under_the_session_takes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append(started())
        path.unlink()
        with pytest.raises(JournalWriteError, match="is gone"):
            journal.append(price(1))


def test_rows_written_beside_us_are_noticed_not_overwritten(tmp_path: Path) -> None:
    from alphatrade_pipelines.journal import JournalFencedError

    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append(started())
        with sqlite3.connect(path) as connection:
            connection.execute("INSERT INTO events VALUES (2, '{}', 'x')")
        with pytest.raises(JournalFencedError, match="another process wrote"):
            journal.append(price(1))
    assert isinstance(opened(path)[1].previous.end, RunEnd)


def test_a_database_somebody_holds_is_a_trouble_that_passes(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append(started())
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalWriteError, match="locked"):
            journal.append(price(1))
        other.execute("ROLLBACK")
        other.close()
        assert journal.append(price(1)) == 2
        assert journal.link == Link(2, journal.head)
