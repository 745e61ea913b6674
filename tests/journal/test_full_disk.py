"""A really full disk (a small tmpfs where the machine lets us mount one), a read-only one, and a reserve for the worst."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from alphatrade_pipelines.journal import JournalError, JournalReader, JournalWriteError, RunEnd, SqliteJournal
from alphatrade_pipelines.live.memory import remember
from alphatrade_pipelines.trading import Engine, TradingState
from alphatrade_pipelines.trading.events import JournalStateSeen
from tests.journal.stories import price, started
from tests.trading.shell import Shell


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


RESERVE = 512 << 10


def fill(folder: Path) -> Path:
    """Somebody else's data takes every free block."""
    ballast = folder / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError:
        return ballast
    finally:
        os.close(descriptor)


def test_on_a_full_disk_the_reserve_is_freed_and_entries_are_told_to_halt(small_disk: Path) -> None:
    with SqliteJournal(small_disk / "j.sqlite", reserve_bytes=RESERVE) as journal:
        journal.append(started())
        assert journal.trouble == ""
        ballast = fill(small_disk)
        n = 0
        while not journal.trouble:
            n += 1
            journal.append(price(n))
        assert "lives on its reserve" in journal.trouble
        for _ in range(100):  # exits still find room
            n += 1
            journal.append(price(n))
        assert len(journal) == n + 1
        refusal = ""
        while not refusal:
            n += 1
            try:
                journal.append(price(n))
            except JournalWriteError as error:
                refusal = str(error)
        assert "full" in refusal
        stored = len(journal)
        assert journal.verify().events == stored, "what was acknowledged is there, what was not is not"
        ballast.unlink()
        for k in range(150):
            journal.append(price(k))
        assert len(journal) == stored + 150
        assert journal.trouble == "", "the reserve is taken back once there is room for it"
        assert journal.verify().sound


def test_a_journal_is_opened_on_a_disk_that_is_already_full(small_disk: Path) -> None:
    path = small_disk / "j.sqlite"
    with SqliteJournal(path, reserve_bytes=RESERVE) as journal:
        journal.append_many([started(), *(price(n) for n in range(50))])
    fill(small_disk)
    with SqliteJournal(path, reserve_bytes=RESERVE) as journal:
        assert remember(journal).previous.end is RunEnd.CRASHED
        journal.append(price(51))
        assert len(journal) == 52
    assert not list(small_disk.glob("*damaged*")), "a full disk is no damage"
    with JournalReader(path) as reader:
        assert reader.verify().sound


def test_without_room_for_even_a_reserve_entries_halt_from_the_start(small_disk: Path) -> None:
    ballast = fill(small_disk)
    os.truncate(ballast, ballast.stat().st_size - (256 << 10))
    with SqliteJournal(small_disk / "j.sqlite", reserve_bytes=RESERVE) as journal:
        assert "lives on its reserve" in journal.trouble
        assert journal.append(started()) == 1


def test_a_new_journal_on_a_completely_full_disk_is_a_clear_error_and_leaves_nothing(small_disk: Path) -> None:
    ballast = fill(small_disk)
    with pytest.raises(JournalWriteError, match="Cannot"):
        SqliteJournal(small_disk / "j.sqlite", reserve_bytes=RESERVE)
    ballast.unlink()
    with SqliteJournal(small_disk / "j.sqlite", reserve_bytes=RESERVE) as journal:
        assert journal.append(started()) == 1


def test_a_disk_that_turns_read_only_stops_the_journal_not_the_reading(small_disk: Path) -> None:
    path = small_disk / "j.sqlite"
    with SqliteJournal(path, reserve_bytes=0) as journal:
        journal.append_many([started(), price(1)])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        with pytest.raises(JournalError, match=r"Read-only file system.*alphatrade flatten"):
            SqliteJournal(path)
        with JournalReader(path) as reader:
            assert reader.verify().events == 2
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert not list(small_disk.glob("*damaged*"))


def test_the_core_on_a_full_disk_leaves_its_position_and_the_journal_catches_up(small_disk: Path) -> None:
    """Engine, SQLite and a full file system together: halt, exit, room again, everything durable, same state on replay."""
    path = small_disk / "j.sqlite"
    with SqliteJournal(path, reserve_bytes=0) as journal:
        shell = Shell()
        shell.engine = Engine(shell.config, journal)
        shell.start()
        shell.open_market()
        shell.price("AAPL", 100)
        shell.price("IBM", 200)
        shell.signal("AAPL")
        shell.tick()
        assert shell.state.positions["AAPL"].qty == 150
        ballast = fill(small_disk)
        for _ in range(5000):
            shell.tick(0.001)
            if shell.engine.backlog:
                break
        assert shell.engine.backlog, "the disk is full now"
        assert shell.state.trading is TradingState.HALTED
        shell.signal("IBM")
        shell.operator("flatten")
        for _ in range(5):
            shell.tick()
        assert shell.broker.positions.get("AAPL", Decimal(0)) == 0
        assert "IBM" not in shell.broker.positions
        waiting = shell.engine.backlog
        assert waiting > 5
        ballast.unlink()
        shell.tick()
        assert shell.engine.backlog == 0
        mark = shell.state.fingerprint()
    with SqliteJournal(path, reserve_bytes=0) as journal:
        start = remember(journal)
        assert start.parts["core"].fingerprint() == mark
        seen = [event for _, event in journal.events() if isinstance(event, JournalStateSeen)]
        assert [(event.writable, event.late) for event in seen] == [(False, 0), (True, waiting)]
        assert journal.verify().sound


def test_the_reserve_is_real_blocks(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "j.sqlite", reserve_bytes=1 << 20) as journal:
        held = (tmp_path / "j.sqlite.reserve").stat()
        assert held.st_blocks * 512 >= 1 << 20
        assert journal.trouble == ""
    assert (tmp_path / "j.sqlite.reserve").exists(), "kept between sessions"
