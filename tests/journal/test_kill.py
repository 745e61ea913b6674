"""kill -9 before every single step that touches a file: opening, appending, snapshots, rotation, salvage. Nothing acknowledged is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from alphatrade_pipelines.journal import RunEnd, Snapshotter, SqliteJournal
from alphatrade_pipelines.journal.chain import verify_rows
from alphatrade_pipelines.live.memory import remember
from tests.journal.test_damage import ruin
from tests.journal.test_snapshots import EVENTS, marks


@pytest.fixture
def folder_in_memory(tmp_path: Path) -> Iterator[Path]:
    """A kill does not lose what the kernel has: memory is as good as a disk here, and its fsync is fast."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=shared) as name:
        yield Path(name)


STEPS = ((os, "replace"), (os, "fsync"), (os, "pwrite"), (os, "posix_fallocate"), (os, "open"), (Path, "unlink"), (Path, "write_text"))


class Countdown:
    """SIGKILL this process before the ``left``-th step."""

    def __init__(self, left: int) -> None:
        self.left = left

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.step()
            return function(*args, **kwargs)

        return counted

    def arm(self) -> None:
        for holder, name in STEPS:
            setattr(holder, name, self.around(getattr(holder, name)))
        countdown, connect = self, sqlite3.connect

        class Counted(sqlite3.Connection):
            def execute(self, *args: Any) -> Any:
                countdown.step()
                return super().execute(*args)

            def executemany(self, *args: Any) -> Any:
                countdown.step()
                return super().executemany(*args)

            def executescript(self, *args: Any) -> Any:
                countdown.step()
                return super().executescript(*args)

            def close(self) -> None:
                countdown.step()
                super().close()

        def counted_connect(*args: Any, **kwargs: Any) -> Any:
            return connect(*args, factory=Counted, **kwargs)

        sqlite3.connect = counted_connect  # type: ignore[assignment]


def live(path: Path, tell: Callable[[int], None]) -> None:
    """A session's life with its journal."""
    with SqliteJournal(path, segment_events=10, reserve_bytes=4096) as journal:
        memory = remember(journal)
        tell(len(journal))
        for event in EVENTS[len(journal) :][:8]:
            tell(journal.append(event))
        tell(journal.append_many(EVENTS[len(journal) :][:8]))
        Snapshotter(journal, memory.snapshot_seq).take(remember(journal).parts)
        for event in EVENTS[len(journal) :][:3]:
            tell(journal.append(event))


def killed(path: Path, at: int) -> tuple[int, bool]:
    """Run ``live`` in a child that dies before step ``at``: what it had been told is durable, and whether it lived to its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write = os.write
            Countdown(at).arm()
            live(path, lambda seq: write(writing, f"{seq}\n".encode()) and None)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must never return into the test runner
            import traceback

            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = [int(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the session failed by itself"
    return max(told, default=0), not os.WIFSIGNALED(status)


@pytest.mark.parametrize("before", [0, 30])
def test_nothing_acknowledged_is_lost_wherever_the_process_dies(folder_in_memory: Path, before: int) -> None:
    at, over = 0, False
    while not over:
        at += 1
        assert at < 1000
        folder = folder_in_memory / str(at)
        path = folder / "j.sqlite"
        if before:
            with SqliteJournal(path, segment_events=10) as journal:
                journal.append_many(EVENTS[:before])
                Snapshotter(journal).take(remember(journal).parts)
        acknowledged, over = killed(path, at)
        with SqliteJournal(path, segment_events=10) as journal:
            start = remember(journal)
            stored = [event for _, event in journal.events()]
            assert start.previous.end in (RunEnd.CRASHED, RunEnd.NONE), f"killed before step {at}: {start.previous.detail}"
            assert len(stored) >= max(acknowledged, before), f"killed before step {at}"
            assert stored == EVENTS[: len(stored)], f"killed before step {at}"
            assert journal.verify().sound
            for snapshot in folder.glob("*.snapshot-*"):
                os.unlink(snapshot)
            assert marks(remember(journal)) == marks(start), f"killed before step {at}"
            assert not journal.damage_found()
        assert not list(folder.glob("*damaged*"))
    assert at > 60, "the countdown sees the steps"


def test_a_salvage_that_is_killed_anywhere_is_done_again(folder_in_memory: Path) -> None:
    at, over = 0, False
    while not over:
        at += 1
        assert at < 1000
        folder = folder_in_memory / str(at)
        path = folder / "j.sqlite"
        with SqliteJournal(path) as journal:
            journal.append_many(EVENTS[:40])
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TRIGGER events_no_update")
            connection.execute("UPDATE events SET body = '{}' WHERE seq = 21")
        _, over = killed(path, at)
        with SqliteJournal(path) as journal:
            start = remember(journal)
            stored = [event for _, event in journal.events()]
            assert 20 <= len(stored) <= 40, f"killed before step {at}"
            assert stored == EVENTS[: len(stored)]
            assert verify_rows("", journal.rows()).sound
            assert start.parts["core"].session is not None
            assert len(stored) > 20 or start.previous.end is RunEnd.DAMAGED, f"killed before step {at}: the damage is forgotten"
        kept = list(folder.glob("j.sqlite.damaged-*"))
        assert kept, f"killed before step {at}: the damaged rows are kept"
    assert at > 20


def test_a_ruined_file_that_is_rescued_under_fire_is_kept(folder_in_memory: Path) -> None:
    at, over = 0, False
    while not over:
        at += 1
        assert at < 1000
        folder = folder_in_memory / str(at)
        path = folder / "j.sqlite"
        with SqliteJournal(path) as journal:
            journal.append_many(EVENTS[:40])
        ruin(path)
        _, over = killed(path, at)
        with SqliteJournal(path) as journal:
            start = remember(journal)
            assert len(journal) or start.previous.end is RunEnd.DAMAGED, f"killed before step {at}: the damage is forgotten"
            journal.append(EVENTS[len(journal)])
            assert journal.verify().sound
        assert list(folder.glob("j.sqlite.damaged-*")), f"killed before step {at}"
