"""What crashes, full disks, operators and attackers really do to a journal: a start is never blocked, and nothing is forgotten."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alphatrade_pipelines.journal import (
    JournalDamagedError,
    JournalFencedError,
    JournalReader,
    JournalWriteError,
    RunEnd,
    Snapshotter,
    SqliteJournal,
    Start,
    verify_journal,
)
from alphatrade_pipelines.journal import segment as segments
from alphatrade_pipelines.journal.chain import row_hash
from alphatrade_pipelines.live.memory import remember
from alphatrade_pipelines.trading.codec import encode_event
from tests.journal.stories import Backend, SqliteBackend, price, started
from tests.journal.test_contract import _push
from tests.journal.test_damage import opened, ruin, segmented
from tests.journal.test_full_disk import RESERVE, fill, small_disk  # noqa: F401 - a fixture
from tests.journal.test_kill import folder_in_memory  # noqa: F401 - a fixture
from tests.journal.test_snapshots import EVENTS, marks


def begun(backend: Backend) -> tuple[int, Start]:
    with backend.open() as journal:
        start = remember(journal)
        return len(journal), start


# ---- damage that is found, and a start that then fails


@pytest.mark.parametrize("note", ["kept", "lost"])
def test_damage_is_not_forgotten_when_the_broker_cannot_be_reached_at_first(backend: Backend, tmp_path: Path, note: str) -> None:
    """The start that finds the damage dies before its first event (no broker, no network): the next one must still know."""
    with backend.open() as journal:
        journal.append_many(EVENTS[:30])
    backend.corrupt(21, encode_event(price(999)))
    if note == "lost":
        next(tmp_path.rglob("*.head")).unlink()
    for _ in range(3):
        count, start = begun(backend)
        assert (count, start.previous.end) == (20, RunEnd.DAMAGED)


def test_damage_is_not_forgotten_between_the_first_event_and_the_halt(backend: Backend) -> None:
    """SessionStarted is stored, the halt that must follow a damaged run is not: the next session owes it."""
    with backend.open() as journal:
        journal.append_many(EVENTS[:30])
    backend.corrupt(21, encode_event(price(999)))
    with backend.open() as journal:
        found = remember(journal).previous
        assert found.needs_review
        event = started("run-2")
        journal.append(type(event)(**{**{name: getattr(event, name) for name in event.__dataclass_fields__}, "previous": found.headline}))
    _, start = begun(backend)
    assert start.previous.end is RunEnd.CRASHED
    assert start.previous.needs_review


@pytest.mark.parametrize("note", ["kept", "lost"])
def test_nor_is_a_ruined_file(tmp_path: Path, note: str) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[:30])
    ruin(path)
    if note == "lost":
        (tmp_path / "j.sqlite.head").unlink()
    for _ in range(3):
        assert opened(path)[1].previous.end is RunEnd.DAMAGED


# ---- the newest sealed segment


def test_the_segment_that_holds_the_snapshots_row_may_be_lost_too(tmp_path: Path) -> None:
    """Row 45, after which the snapshot was taken, lay in the ruined segment; row 46 in the next one still proves it."""
    path = tmp_path / "j.sqlite"
    before = segmented(path)
    ruin(segments.name_of(path, 21))
    count, start = opened(path)
    assert (count, start.snapshot_seq) == (len(EVENTS), 45)
    assert marks(start) == before
    assert start.previous.end is RunEnd.CRASHED


def test_so_may_it_right_after_the_rotation(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path, segment_events=15) as journal:
        journal.append_many(EVENTS[:40])
        Snapshotter(journal).take(remember(journal).parts)
        before = marks(remember(journal))
    assert [first for first, _ in segments.find_segments(path)] == [1, 41]
    ruin(path)
    count, start = opened(path)
    assert (count, start.snapshot_seq, start.replayed) == (40, 40, 0)
    assert marks(start) == before


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (0, 2)])
def test_two_segments_swapped_block_nothing_and_nothing_is_deleted(tmp_path: Path, pair: tuple[int, int]) -> None:
    path = tmp_path / "j.sqlite"
    segmented(path)
    found = [file for _, file in segments.find_segments(path)]
    one, other = found[pair[0]], found[pair[1]]
    one.rename(tmp_path / "x")
    other.rename(one)
    (tmp_path / "x").rename(other)
    assert not verify_journal(path).sound
    count, start = opened(path)
    assert start.previous.end is RunEnd.DAMAGED or count == len(EVENTS)
    kept = set[str]()
    for file in (*tmp_path.glob("j.sqlite*.damaged-?"), *(file for _, file in segments.find_segments(path))):
        with sqlite3.connect(file) as connection:
            kept.update(body for (body,) in connection.execute("SELECT body FROM events"))
        connection.close()
    assert kept == {encode_event(event) for event in EVENTS}
    with SqliteJournal(path) as journal:
        assert journal.append(price(1)) == count + 1


@pytest.mark.parametrize("name", ["SQLITE_IOERR_READ", "SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_PERM"])
def test_an_old_segment_that_cannot_be_looked_at_now_blocks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A bad sector, a backup tool that holds it, another owner: it is not needed for a start from a snapshot."""
    path = tmp_path / "j.sqlite"
    before = segmented(path)
    connect = sqlite3.connect

    def refuse(database: Any, *args: Any, **kwargs: Any) -> Any:
        if str(database).partition("?")[0].endswith("j.sqlite"):
            error = sqlite3.OperationalError("no")
            error.sqlite_errorname = name
            raise error
        return connect(database, *args, **kwargs)

    monkeypatch.setattr(sqlite3, "connect", refuse)
    count, start = opened(path)
    assert (count, marks(start)) == (len(EVENTS), before)


# ---- an end that is cut: what does a person see?


@pytest.mark.parametrize("left", [0, 2])
def test_verify_notices_a_cut_end(backend: Backend, left: int) -> None:
    with backend.open() as journal:
        journal.append_many([started(), price(1), price(2)])
    backend.cut(left)
    if left:
        with backend.read() as reader:
            checked = reader.verify()
            assert not checked.sound
            assert "row 3 had been acknowledged" in checked.problem
    with backend.open() as journal:
        assert "row 3 had been acknowledged" in journal.verify().problem
        journal.append(started("next"))
        assert journal.verify().sound, "said until something new is stored"


# ---- caches and notes that cannot be read


def as_folder(path: Path) -> None:
    path.mkdir()


def as_nest(path: Path) -> None:
    path.write_text("[" * 200_000)


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_device(path: Path) -> None:
    path.symlink_to("/proc/self/mem")  # opens, and gives an I/O error when it is read


def as_number(path: Path) -> None:
    path.write_text(f'{{"format": {"9" * 5000}}}')


@pytest.mark.parametrize("make", [as_folder, as_nest, as_loop, as_device, as_number])
def test_a_snapshot_that_cannot_be_read_is_passed_over(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[:40])
        Snapshotter(journal).take(remember(journal).parts)
    make(tmp_path / "j.sqlite.snapshot-99")
    count, start = opened(path)
    assert (count, start.snapshot_seq) == (40, 40)
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[40:])
        Snapshotter(journal).take(remember(journal).parts)
    assert opened(path)[0] == len(EVENTS)


@pytest.mark.parametrize(
    "text", [f"{'9' * 20} {'a' * 64}\n", f"{-5:20d} {'a' * 64}\n", "", "\0" * 86, "x" * 86, f"{2:20d} {'ü' * 64}\n", "9" * 5000]
)
def test_a_note_of_nonsense_blocks_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append_many([started(), price(1)])
    (tmp_path / "j.sqlite.head").write_text(text)
    count, start = opened(path)
    assert count == 2
    assert start.previous.end in (RunEnd.CRASHED, RunEnd.DAMAGED)
    with SqliteJournal(path) as journal:
        assert journal.append(price(2)) == 3
    assert opened(path)[1].previous.end is RunEnd.CRASHED


@pytest.mark.parametrize("make", [as_folder, as_loop])
def test_a_note_that_cannot_be_written_blocks_nothing(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "j.sqlite"
    make(tmp_path / "j.sqlite.head")
    with SqliteJournal(path) as journal:
        assert journal.append(started()) == 1
    assert opened(path)[0] == 1


@pytest.mark.parametrize(
    ("key", "value"), [("base_seq", "none"), ("base_seq", "²"), ("base_seq", "9" * 30), ("format", "²"), ("format", ""), ("base_hash", "")]
)
def test_meta_of_nonsense_is_damage(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[:10])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
    connection.close()
    assert not verify_journal(path).sound
    _, start = opened(path)
    assert start.previous.end is RunEnd.DAMAGED
    with SqliteJournal(path) as journal:
        journal.append(price(1))


# ---- rows with a valid hash and a hostile content

HOSTILE = {
    "type is a list": '{"v":2,"type":[],"data":{}}',
    "type is an object": '{"v":2,"type":{},"data":{}}',
    "unknown kind": '{"v":2,"type":"OrderWished","data":{}}',
    "a list": "[1,2]",
    "a number": "7",
    "deep": '{"v":2,"type":"PriceSeen","data":' + "[" * 100_000 + "]" * 100_000 + "}",
    "long number": '{"v":' + "9" * 5000 + ',"type":"PriceSeen","data":{}}',
    "year 1": encode_event(price(1)).replace("2013-01-02T14:30:01+00:00", "0001-01-01T00:00:00+14:00"),
    "NaN": encode_event(price(1)).replace('"1.10"', "NaN"),
    "nan as text": encode_event(price(1)).replace('"1.10"', '"NaN"'),
    "naive time": encode_event(price(1)).replace("+00:00", ""),
    "version true": '{"v":true,"type":"PriceSeen","data":{}}',
    "config of another house": encode_event(started()).replace('"config":"{}"', '"config":"{\\"colour\\":1}"'),
    "config deep": encode_event(started()).replace('"config":"{}"', '"config":"' + "[" * 100_000 + '"'),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_row_is_damage_not_a_traceback(backend: Backend, body: str) -> None:
    with backend.open() as journal:
        journal.append_many(EVENTS[:10])
        mark = marks(remember(journal))
        _push(journal, 11, body, row_hash(journal.head, 11, body))
    with backend.read() as reader:
        if not reader.verify().sound:
            with pytest.raises(JournalDamagedError):
                list(reader.events())
    count, start = begun(backend)
    with backend.open() as journal:
        assert journal.append(price(50)) == count + 1
        assert remember(journal).parts
    if count == 10:
        assert start.previous.end is RunEnd.DAMAGED
        assert "row 11" in start.previous.detail
        assert {name: text for name, text in marks(start).items() if name != "run"} == {k: v for k, v in mark.items() if k != "run"}


# ---- bytes


def wal_story(folder: Path) -> tuple[bytes, bytes, list[int]]:
    """A journal as kill -9 leaves it: main file, log, and the log's length after each acknowledged row."""
    path = folder / "j.sqlite"
    journal, lengths = SqliteJournal(path, reserve_bytes=0), []
    log = path.with_name("j.sqlite-wal")
    for event in EVENTS[:12]:
        journal.append(event)
        lengths.append(log.stat().st_size)
    main, wal = path.read_bytes(), log.read_bytes()
    journal.close()
    return main, wal, lengths


def test_the_log_cut_at_any_byte_gives_a_prefix_and_says_what_is_missing(folder_in_memory: Path) -> None:  # noqa: F811
    (folder_in_memory / "whole").mkdir()
    main, wal, lengths = wal_story(folder_in_memory / "whole")
    note = (folder_in_memory / "whole" / "j.sqlite.head").read_bytes()
    cuts = sorted({*range(0, 40), *range(len(wal) - 4200, len(wal), 37), *range(0, len(wal), 501), *lengths, *(n - 1 for n in lengths)})
    for cut in cuts:
        path = folder_in_memory / str(cut) / "j.sqlite"
        path.parent.mkdir()
        path.write_bytes(main)
        path.with_name("j.sqlite-wal").write_bytes(wal[:cut])
        path.with_name("j.sqlite.head").write_bytes(note)
        count, start = opened(path)
        assert count == sum(length <= cut for length in lengths), f"cut at {cut}"
        assert start.previous.end is (RunEnd.CRASHED if count == 12 else RunEnd.DAMAGED), f"cut at {cut}"
        with SqliteJournal(path) as journal:
            assert journal.append(price(1)) == count + 1
            assert journal.verify().sound
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("which", ["main", "wal"])
def test_no_flipped_byte_blocks_a_start(folder_in_memory: Path, which: str) -> None:  # noqa: F811
    (folder_in_memory / "whole").mkdir()
    main, wal, _ = wal_story(folder_in_memory / "whole")
    if which == "main":
        main = (folder_in_memory / "whole" / "j.sqlite").read_bytes()
    target, draw = (main, random.Random(5)) if which == "main" else (wal, random.Random(6))
    everything = os.environ.get("EVERY_BYTE")
    used = [n for n, byte in enumerate(target) if byte] if which == "main" else list(range(len(target)))
    chosen = used if everything else sorted({*range(100 if which == "main" else 56), *draw.sample(used, 250)})
    bad: dict[int, str] = {}
    for place in chosen:
        path = folder_in_memory / str(place) / "j.sqlite"
        path.parent.mkdir()
        content = bytearray(target)
        content[place] ^= 1 << draw.randrange(8)
        path.write_bytes(content if which == "main" else main)
        if which == "wal":
            path.with_name("j.sqlite-wal").write_bytes(content)
        try:
            count, _ = opened(path)
            with SqliteJournal(path, reserve_bytes=0) as journal:
                assert journal.append(price(1)) == count + 1
                assert journal.verify().sound
                assert [event for _, event in journal.events()][:count] == EVENTS[:count]
        except Exception as error:  # noqa: BLE001 - all of them are told at the end
            bad[place] = repr(error)
        shutil.rmtree(path.parent)
    assert not bad


def test_a_lost_log_is_noticed_and_a_stale_index_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    path = tmp_path / "whole" / "j.sqlite"
    journal = SqliteJournal(path, reserve_bytes=0)
    journal.append_many(EVENTS[:12])
    for name in ("lost", "foreign"):
        shutil.copytree(path.parent, tmp_path / name)
    other = SqliteJournal(tmp_path / "o" / "j.sqlite", reserve_bytes=0)
    other.append_many([price(n) for n in range(12)])
    shutil.copy(tmp_path / "o" / "j.sqlite-wal", tmp_path / "foreign")
    other.close()
    journal.close()
    (tmp_path / "lost" / "j.sqlite-wal").unlink()
    for name in ("lost", "foreign"):
        count, start = opened(tmp_path / name / "j.sqlite")
        assert start.previous.end is RunEnd.DAMAGED, name
        with SqliteJournal(tmp_path / name / "j.sqlite") as again:
            assert again.append(price(1)) == count + 1
            assert again.verify().sound


# ---- an operator, while a session runs


@pytest.mark.parametrize("side", ["-wal", "-shm"])
def test_a_side_file_deleted_under_the_session_loses_nothing_acknowledged(tmp_path: Path, side: str) -> None:
    """What is this temporary file? Whatever was told to be durable must be there for a process that starts from the files."""
    path = tmp_path / "j.sqlite"
    journal = SqliteJournal(path)
    journal.append_many(EVENTS[:10])
    path.with_name(path.name + side).unlink()
    told = 10
    for event in EVENTS[10:20]:
        with contextlib.suppress(JournalWriteError):
            journal.append(event)
        if len(journal) == told:  # offered again, as the engine does
            journal.append(event)
        told = len(journal)
    copied = tmp_path / "as kill -9 leaves it"
    copied.mkdir()
    for item in tmp_path.glob("j.sqlite*"):
        shutil.copy(item, copied)
    journal.close()
    with SqliteJournal(copied / "j.sqlite") as again:
        assert [event for _, event in again.events()] == EVENTS[:told]
    assert told == 20


def test_a_deleted_log_that_somebody_reads_is_waited_for(tmp_path: Path) -> None:
    """A report holds an old view while the log is deleted: it cannot be written back yet, and closing it would lose it."""
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[:10])
        held = journal._connection
        report = sqlite3.connect(path, isolation_level=None)
        report.execute("BEGIN")
        report.execute("SELECT count(*) FROM events").fetchall()
        journal.append(EVENTS[10])
        (tmp_path / "j.sqlite-wal").unlink()
        for _ in range(3):
            with pytest.raises(JournalWriteError):
                journal.append(EVENTS[11])
        assert journal._connection is held, "only this connection still has the log"
        assert journal.trouble == "", "the disk is not full"
        report.close()
        assert journal.append(EVENTS[11]) == 12
        with JournalReader(path) as reader:
            assert [event for _, event in reader.events()] == EVENTS[:12]


def test_with_the_locks_deleted_two_writers_cannot_both_go_on(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as first:
        first.append(started("first"))
        (tmp_path / "j.sqlite.lock").unlink()
        with SqliteJournal(path) as second:
            second.append(started("second"))
            with pytest.raises(JournalFencedError):
                first.append(price(1))
            assert second.append(price(2)) == 3
            assert second.verify().sound


def test_a_folder_deleted_and_made_anew_by_another_session_ends_the_first(tmp_path: Path) -> None:
    path = tmp_path / "account" / "j.sqlite"
    with SqliteJournal(path) as first:
        first.append(started("first"))
        shutil.rmtree(path.parent)
        with pytest.raises(JournalWriteError):
            first.append(price(1))
        assert first.trouble is not None
        with SqliteJournal(path) as second:
            second.append(started("second"))
            with pytest.raises(JournalFencedError):
                first.append(price(1))
            assert second.verify().sound


def test_a_symlinked_journal_is_a_journal(tmp_path: Path) -> None:
    (tmp_path / "other disk").mkdir()
    (tmp_path / "account").mkdir()
    path = tmp_path / "account" / "j.sqlite"
    with SqliteJournal(tmp_path / "other disk" / "j.sqlite") as journal:
        journal.append_many(EVENTS[:10])
    path.symlink_to(tmp_path / "other disk" / "j.sqlite")
    journal = SqliteJournal(path)
    journal.append_many(EVENTS[10:20])
    with JournalReader(path) as reader:
        assert reader.verify().events == 20
    copied = tmp_path / "killed"
    shutil.copytree(tmp_path / "other disk", copied)
    journal.close()
    with SqliteJournal(copied / "j.sqlite") as again:
        assert len(again) == 20
    ruin(path)
    assert opened(path)[1].previous.end is RunEnd.DAMAGED
    assert (tmp_path / "other disk" / "j.sqlite").exists()


def test_somebody_who_holds_the_file_costs_no_seconds_and_not_the_reserve(tmp_path: Path) -> None:
    """A database browser, a backup: an exit must not wait for it."""
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path, reserve_bytes=RESERVE) as journal:
        journal.append(started())
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(JournalWriteError, match="locked"):
            journal.append(price(1))
        assert time.monotonic() - began < 0.5
        assert journal.trouble == "", "the disk is not full"
        other.execute("ROLLBACK")
        other.close()
        assert journal.append(price(1)) == 2


# ---- disks


def test_a_disk_that_turns_read_only_is_a_trouble_that_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ext4 after an I/O error: neither can rows be written nor the reserve be given back. The engine must hear a LogWriteError."""
    with SqliteJournal(tmp_path / "j.sqlite", reserve_bytes=RESERVE) as journal:
        journal.append(started())
        assert journal._connection is not None
        journal._connection.execute("PRAGMA query_only = 1")
        unlink = Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        monkeypatch.setattr(Path, "unlink", refuse)
        with pytest.raises(JournalWriteError):
            journal.append(price(1))
        monkeypatch.setattr(Path, "unlink", unlink)
        journal._connection.execute("PRAGMA query_only = 0")
        assert journal.append(price(1)) == 2


def test_a_page_that_turns_bad_under_a_session_halts_entries_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start repairs it; this session must be able to leave its positions first."""
    with SqliteJournal(tmp_path / "j.sqlite") as journal:
        journal.append(started())
        insert = segments.insert_rows

        def refuse(*_: Any) -> None:
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorname = "SQLITE_CORRUPT"
            raise error

        monkeypatch.setattr(segments, "insert_rows", refuse)
        with pytest.raises(JournalWriteError, match="malformed"):
            journal.append(price(1))
        monkeypatch.setattr(segments, "insert_rows", insert)
        assert journal.append(price(1)) == 2


def test_the_first_journal_of_an_account_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a folder is durable only once the folder above it is."""
    synced = list[Path]()
    sync = segments.sync_folder
    monkeypatch.setattr(segments, "sync_folder", lambda folder: (synced.append(folder), sync(folder)))
    (tmp_path / "account").mkdir()
    with SqliteJournal(tmp_path / "account" / "j.sqlite") as journal:
        journal.append(started())
    assert {tmp_path, tmp_path / "account"} <= set(synced)


def test_a_reserve_that_cannot_be_looked_at_is_a_reserve_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteJournal(tmp_path / "j.sqlite", reserve_bytes=RESERVE) as journal:
        journal.append(started())
        stat = Path.stat

        def refuse(path: Path, **kwargs: Any) -> Any:
            if path.name.endswith(".reserve"):
                raise OSError(errno.EIO, "Input/output error", str(path))
            return stat(path, **kwargs)

        monkeypatch.setattr(Path, "stat", refuse)
        assert journal.append(price(1)) == 2
        assert "reserve" in journal.trouble


def test_a_disk_that_fills_up_at_a_rotation_ends_nothing(small_disk: Path) -> None:  # noqa: F811
    """For every amount of room left, in steps of a page: no snapshot and no rotation raises, and what waited is stored afterwards."""
    rotated = 0
    for pages in range(0, 70):
        path = small_disk / "j.sqlite"
        with SqliteJournal(path, segment_events=15, reserve_bytes=0) as journal:
            journal.append_many(EVENTS[:20])
            parts = remember(journal).parts
            ballast = fill(small_disk)
            os.truncate(ballast, ballast.stat().st_size - 4096 * pages)
            Snapshotter(journal).take(parts)
            told = 20
            with contextlib.suppress(JournalWriteError):
                told = journal.append_many(EVENTS[20:40])
            ballast.unlink()
            if told == 20:
                assert journal.append_many(EVENTS[20:40]) == 40, pages
            assert journal.verify().sound, pages
            rotated += len(segments.find_segments(path)) > 1
        count, start = opened(path)
        assert (count, start.previous.end) == (40, RunEnd.CRASHED), pages
        for item in small_disk.iterdir():
            item.unlink()
    assert 0 < rotated < 70, "some of them had room, others had not"


@pytest.mark.parametrize("how", ["row", "file"])
def test_damage_on_a_full_disk_is_repaired_on_the_reserve(small_disk: Path, how: str) -> None:  # noqa: F811
    """They come together: the disk ran full, something was torn. Every sound row must be taken over all the same."""
    path = small_disk / "j.sqlite"
    with SqliteJournal(path, reserve_bytes=RESERVE) as journal:
        journal.append_many(EVENTS[:40])
    if how == "row":
        backend = SqliteBackend(small_disk)
        backend.path = path
        backend.corrupt(31, "{}")
    else:
        content = bytearray(path.read_bytes())
        content[-4096:] = b"\xff" * 4096
        content[24] ^= 0xFF
        path.write_bytes(content)
    sound = verify_journal(path).events
    fill(small_disk)
    count, start = opened_with_reserve(path)
    assert (count, start.previous.end) == (sound, RunEnd.DAMAGED)
    with SqliteJournal(path, reserve_bytes=RESERVE) as journal:
        assert journal.append(EVENTS[count]) == count + 1
        assert journal.verify().sound


def opened_with_reserve(path: Path) -> tuple[int, Start]:
    with SqliteJournal(path, reserve_bytes=RESERVE) as journal:
        start = remember(journal)
        return len(journal), start
