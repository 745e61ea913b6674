"""The journal in SQLite: append-only, hash-chained, gap-free, durable before anything is sent; in segments, with a reserve for a full disk.

One writer at a time, by an advisory lock on ``<file>.lock`` that the operating system releases when the process dies. Snapshots lie beside
the journal as ``<file>.snapshot-<seq>``; they are a cache and may be deleted at any time. Here is the writer; who only reads finds his part
in ``reading``, what becomes of damage is in ``repair``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from alphatrade_pipelines.journal import repair, segment
from alphatrade_pipelines.journal.chain import START, Link, Row, link_events
from alphatrade_pipelines.journal.errors import (
    JournalDamagedError,
    JournalError,
    JournalFencedError,
    JournalLockedError,
    JournalWriteError,
)
from alphatrade_pipelines.journal.port import SetAside
from alphatrade_pipelines.journal.reading import Segments, snapshot_files
from alphatrade_pipelines.journal.reserve import Reserve
from alphatrade_pipelines.trading.events import Event

log = structlog.get_logger(__name__)
SEGMENT_EVENTS = 100_000
RESERVE_BYTES = 4 << 20
SNAPSHOTS_KEPT = 2
_LOOK_FOR_ROOM_EVERY = 100


class SqliteJournal(Segments):
    """The single writer of one account's journal; also an ``EventLog`` for the engine.

    What opening finds damaged it sets aside and goes on with what is sound (``damage_found``). Raises JournalLockedError when another
    process has it open, JournalNewerError when a newer release wrote it, JournalWriteError when there is no room even to open it.
    """

    def __init__(self, path: str | Path, *, segment_events: int = SEGMENT_EVENTS, reserve_bytes: int = RESERVE_BYTES) -> None:
        super().__init__(path)
        self._segment_events, self._damage, self._appends = segment_events, list[SetAside](), 0
        self._connection: sqlite3.Connection | None = None
        self._base = self._last = START
        self._active = self._log_file = self.path
        self._identity = list[tuple[int, int]]()  # of the file in use, and of its log
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _acquire(self.path.with_name(self.path.name + ".lock"))
        self._reserve = Reserve(self.path.with_name(self.path.name + ".reserve"), reserve_bytes)
        try:
            repair.finish_salvages(self.path)
            self._with_room(lambda: repair.set_aside_broken(self.path, self._damage))
            self._with_room(self._open_newest)
        except BaseException:
            self.close()
            raise
        self._reserve.take()

    # ---- what it says of itself

    @property
    def head(self) -> str:
        """Hash of the last row: it stands for the whole journal."""
        return self._last.hash

    @property
    def link(self) -> Link:
        """The end of the chain."""
        return self._last

    @property
    def trouble(self) -> str:
        """Not empty when the disk is full and the journal lives on its reserve."""
        return "" if self._reserve.held else f"the disk of {self.path.parent} is full: the journal lives on its reserve"

    def damage_found(self) -> tuple[SetAside, ...]:
        """What opening set aside."""
        return tuple(self._damage)

    def noted(self) -> Link | None:
        """The last head a writer noted; None when there is no note."""
        return self._note.read()

    def __len__(self) -> int:
        return self._last.seq

    # ---- append

    def append(self, event: Event) -> int:
        """Store one event; durable when this returns. Its sequence number, counted from 1."""
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        """Store a batch with one fsync: all or nothing. The last sequence number.

        Raises JournalWriteError (disk full even without the reserve, read-only, I/O), JournalFencedError (another process wrote to it).
        """
        rows = link_events(self._last, events)
        self._with_room(lambda: self._insert(rows))
        if rows:
            self._last = Link(rows[-1].seq, rows[-1].hash)
            self._note.write(self._last)
        self._look_for_room()
        return self._last.seq

    def _with_room(self, action: Callable[[], None]) -> None:
        """Do it; when that fails, and not because somebody holds the file, do it again on the reserve."""
        try:
            action()
        except JournalWriteError as error:
            if segment.is_held(error) or not self._reserve.free():
                raise
            log.error("journal lives on its reserve", path=str(self.path), error=str(error))
            action()

    def _insert(self, rows: Sequence[Row]) -> None:
        if self._lock < 0:
            raise JournalError(f"{self.path} is closed")
        connection = self._in_place()
        try:
            segment.insert_rows(connection, rows)
        except sqlite3.Error as error:
            found = segment.as_journal_error(error, f"Cannot append {len(rows)} events to {self._active}")
            if isinstance(found, JournalDamagedError):  # the next start repairs it; until then exits must go on
                found = JournalWriteError(str(found))
            raise found from error

    def _in_place(self) -> sqlite3.Connection:
        """The connection, to the file that has the journal's name: one that was deleted would take every event and give none back."""
        try:
            found = _identity(self._active)
            if self._connection is not None and found[0] != self._identity[0]:
                raise JournalFencedError(f"{self._active} was replaced by another file while in use")
            there = _identity(self._log_file) if self._identity[1:] else []
        except FileNotFoundError as error:
            if not self._active.exists():
                raise JournalWriteError(f"{self._active} is gone: {error}") from error
            there = []
        except OSError as error:
            raise JournalWriteError(f"{self._active} cannot be looked at: {error}") from error
        if self._connection is None or there != self._identity[1:]:
            self._open_again()
        assert self._connection is not None
        return self._connection

    def _open_again(self) -> None:
        """After a rotation that found no room, or when somebody deleted the write-ahead log: what only we still hold of it goes into the
        file. Raises JournalWriteError, JournalFencedError."""
        last = self._last
        try:
            if self._connection is not None:
                segment.write_back(self._connection)
                self._close_connection()
            self._open_active(self._active)
            found, self._last = self._last, last
        except (sqlite3.Error, JournalDamagedError) as error:
            raise JournalWriteError(f"{self._active} cannot be opened again: {error}") from error
        if found != last:
            self._close_connection()
            kind = JournalFencedError if found.seq >= last.seq else JournalWriteError
            raise kind(f"{self._active} ends with row {found.seq}, this writer stored row {last.seq}")
        log.error("journal opened again: its log had been deleted, or had no room", path=str(self._active))

    def _look_for_room(self) -> None:
        self._appends += 1
        if self._reserve.held or self._appends % _LOOK_FOR_ROOM_EVERY:
            return
        if self._reserve.has_room() and self._reserve.take():
            log.info("the journal's reserve is back", path=str(self.path))

    # ---- segments

    def rotate(self) -> bool:
        """Begin a new segment when the present one is long enough; a segment never changes again once the next has begun."""
        if self._last.seq - self._base.seq < self._segment_events or self._connection is None:
            return False
        path = segment.name_of(self.path, self._last.seq + 1)
        try:
            segment.create_segment(path, self._last)
        except JournalWriteError as error:
            log.warning("no new segment begun", error=str(error))
            return False
        with contextlib.suppress(sqlite3.Error):  # a reader may hold it: then it keeps its write-ahead log, which is as sound
            self._connection.execute("PRAGMA journal_mode=DELETE")
        self._close_connection()
        self._active, self._base, self._identity = path, self._last, []
        try:
            self._open_active(path)
        except JournalWriteError as error:
            log.warning("the new segment is opened with the next event", error=str(error))
        return True

    def set_aside(self, link: Link) -> str:
        """Go back to row ``link.seq``: later rows are kept in ``<file>.damaged-<n>``, and the journal goes on from there."""
        names = list[str]()
        self._note.write_loss(link.seq, self._last.seq)
        self._close_connection()
        self._with_room(lambda: self._open_active(repair.go_back(self.path, link, names)))
        for seq, snapshot in snapshot_files(self.path):
            if seq > link.seq:
                with contextlib.suppress(OSError):
                    snapshot.unlink()
        return ", ".join(names)

    # ---- opening and closing

    def _open_newest(self) -> None:
        found = segment.find_segments(self.path)
        if not found or (len(found) == 1 and not found[0][1].stat().st_size):
            if found:
                segment.set_aside(self.path)  # an empty file may have a log of something else beside it
            segment.create_segment(self.path, START)
            found = [(1, self.path)]
        first, path = found[-1]
        try:
            self._open_active(path)
        except JournalDamagedError as error:
            target, kept, found_damaged = repair.rescue(self.path, first, path, error)
            self._note.write_loss(kept)
            self._damage.append(found_damaged)
            self._open_active(target)

    def _open_active(self, path: Path) -> None:
        connection = segment.open_for_writing(path)
        try:
            base = segment.base_of(path, connection)
            last, log_file = segment.last_link(connection, base), segment.log_of(path)
            identity = _identity(path) + (_identity(log_file) if log_file.exists() else [])
        except JournalError:
            connection.close()
            raise
        except OSError as error:
            connection.close()
            raise JournalWriteError(f"Cannot open {path}: {error}") from error
        self._connection, self._active, self._log_file, self._identity = connection, path, log_file, identity
        self._base, self._last = base, last

    def save_snapshot(self, seq: int, text: str) -> None:
        """Write a snapshot in one step and let all but the newest go. No fsync: one that is torn by a power cut fails its own check."""
        if self.trouble:
            return
        target = self.path.with_name(f"{self.path.name}.snapshot-{seq}")
        temporary = target.with_name(target.name + ".new")
        try:
            temporary.write_text(text, "utf-8")
            os.replace(temporary, target)
            for _, path in sorted(snapshot_files(self.path))[:-SNAPSHOTS_KEPT]:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("snapshot not kept", path=str(target), error=str(error))
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and let the next writer in. Safe to call twice."""
        self._close_connection()
        self._note.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _identity(path: Path) -> list[tuple[int, int]]:
    found = path.stat()
    return [(found.st_dev, found.st_ino)]


def _acquire(lock_path: Path) -> int:
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalWriteError(
            f"Cannot open {lock_path}: {error}. Without a journal no session runs; `alphatrade flatten` needs none"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise JournalLockedError(f"{lock_path} is held by process {owner}: one session a journal; stop that one first") from error
    with contextlib.suppress(OSError):  # on a full disk the number is missing from a message, nothing else
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
