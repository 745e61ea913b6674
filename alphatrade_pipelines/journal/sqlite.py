"""The journal in SQLite: append-only, hash-chained, gap-free, durable before anything is sent; in segments, with a reserve for a full disk.

One writer at a time, by an advisory lock on ``<file>.lock`` that the operating system releases when the process dies. Snapshots lie beside
the journal as ``<file>.snapshot-<seq>``; they are a cache and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from alphatrade_pipelines.journal import segment
from alphatrade_pipelines.journal.chain import START, Link, Row, Verification, event_of, link_events, verify_rows
from alphatrade_pipelines.journal.errors import (
    JournalDamagedError,
    JournalError,
    JournalFencedError,
    JournalLockedError,
    JournalWriteError,
)
from alphatrade_pipelines.journal.headnote import HeadNote
from alphatrade_pipelines.journal.port import SetAside
from alphatrade_pipelines.journal.reserve import Reserve
from alphatrade_pipelines.trading.events import Event

log = structlog.get_logger(__name__)
SEGMENT_EVENTS = 100_000
RESERVE_BYTES = 4 << 20
SNAPSHOTS_KEPT = 2
_END = 2**62
_LOOK_FOR_ROOM_EVERY = 100


class _Segments:
    """Reading, the same for the writer and for everybody else."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._note = HeadNote(self.path.with_name(self.path.name + ".head"))

    @property
    def where(self) -> str:
        return str(self.path)

    def rows(self, from_seq: int = 1, to_seq: int | None = None) -> Generator[Row]:
        """Stored rows with ``from_seq <= seq <= to_seq``, in order, over all segments. Raises JournalDamagedError."""
        last = _END if to_seq is None else to_seq
        found = segment.find_segments(self.path)
        for number, (first, path) in enumerate(found):
            following = found[number + 1][0] if number + 1 < len(found) else _END
            if following <= from_seq or first > last:
                continue
            with contextlib.closing(segment.open_for_reading(path)) as connection:
                yield from segment.read_rows(connection, from_seq, min(last, following - 1))

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Stored events with sequence numbers >= ``from_seq``, in order."""
        return ((row.seq, event_of(row)) for row in self.rows(max(from_seq, 1)))

    def verify(self) -> Verification:
        """Check every row of the chain, segment after segment, and that its end is not missing."""
        noted = self._note.read_settled()  # before the rows: a session may be appending
        return verify_rows(self.where, self.rows(), noted=noted)

    def snapshots(self) -> Iterator[tuple[int, str]]:
        """Stored snapshots, newest first."""
        for seq, path in sorted(_snapshot_files(self.path), reverse=True):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                yield seq, path.read_text("utf-8")


class SqliteJournal(_Segments):
    """The single writer of one account's journal; also an ``EventLog`` for the engine.

    What opening finds damaged it sets aside and goes on with what is sound (``damage_found``). Raises JournalLockedError when another
    process has it open, JournalNewerError when a newer release wrote it, JournalWriteError when there is no room even to open it.
    """

    def __init__(self, path: str | Path, *, segment_events: int = SEGMENT_EVENTS, reserve_bytes: int = RESERVE_BYTES) -> None:
        super().__init__(path)
        self._segment_events, self._damage, self._appends = segment_events, list[SetAside](), 0
        self._connection: sqlite3.Connection | None = None
        self._base = self._last = START
        self._active, self._identity = self.path, list[tuple[int, int]]()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _acquire(self.path.with_name(self.path.name + ".lock"))
        self._reserve = Reserve(self.path.with_name(self.path.name + ".reserve"), reserve_bytes)
        try:
            self._with_room(self._check_sealed_segments)
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
            there = _identity(segment.log_of(self._active)) if self._identity[1:] else []
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
        self._with_room(lambda: self._go_back(link, names))
        for seq, snapshot in _snapshot_files(self.path):
            if seq > link.seq:
                with contextlib.suppress(OSError):
                    snapshot.unlink()
        return ", ".join(names)

    def _go_back(self, link: Link, names: list[str]) -> None:
        kept = [item for item in segment.find_segments(self.path) if item[0] <= link.seq]
        dropped = [item for item in segment.find_segments(self.path) if item[0] > link.seq]
        self._close_connection()
        for _, path in reversed(dropped):
            names.append(segment.set_aside(path).name)
        if not kept:
            segment.create_segment(self.path, START)
            self._open_active(self.path)
            return
        first, path = kept[-1]
        with contextlib.closing(segment.open_for_reading(path)) as connection:
            base = segment.base_of(path, connection)
            needs_cut = segment.last_link(connection, base) != link
        if needs_cut:
            names.append(_write_anew(path, path, base, [row for row in _readable(first, path, base) if row.seq <= link.seq]))
        self._open_active(path)

    def _check_sealed_segments(self) -> None:
        """Old segments are looked at without being read: one that cannot be opened or does not lead to the next is set aside."""
        for leftover in self.path.parent.glob(f"{self.path.name}*.salvaged"):
            original = leftover.with_name(leftover.name.removesuffix(".salvaged"))
            if original.exists():
                leftover.unlink()  # the salvage was cut short: the damaged file is still in its place
            else:
                segment.clear_sides(original)
                os.replace(leftover, original)
        found = segment.find_segments(self.path)
        for (_, path), (_, following) in pairwise(found):
            try:
                problem = _fault_between(path, following)
            except JournalWriteError as error:  # somebody holds it, or we may not read it: no start from a snapshot needs it
                log.error("old segment not checked", path=str(path), error=str(error))
                continue
            if problem:
                name = segment.set_aside(path).name
                detail = f"old segment {path.name} was damaged ({problem}); it is kept as {name}"
                self._damage.append(SetAside(name, detail, lossy=False))

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
            self._rescue(first, path, error)

    def _rescue(self, first: int, path: Path, cause: JournalDamagedError) -> None:
        """The newest segment cannot be opened: keep what can be read of it, from its beginning to the first fault."""
        base = self._base_before(first)
        rows = _readable(first, path, base)
        target = segment.name_of(self.path, base.seq + 1)  # the first one, when nothing sound comes before
        name = _write_anew(path, target, base, rows)
        self._note.write_loss(base.seq + len(rows))
        self._damage.append(
            SetAside(name, f"the journal was damaged ({cause}); it is kept as {name}, {len(rows)} sound events were taken over", lossy=True)
        )
        self._open_active(target)

    def _base_before(self, first: int) -> Link:
        """The link a segment must follow, from the one before it; the very beginning when that one is gone."""
        earlier = [path for seq, path in segment.find_segments(self.path) if seq < first]
        if not earlier:
            return START
        with contextlib.closing(segment.open_for_reading(earlier[-1])) as connection:
            return segment.last_link(connection, segment.base_of(earlier[-1], connection))

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
        self._connection, self._active, self._identity, self._base, self._last = connection, path, identity, base, last

    def save_snapshot(self, seq: int, text: str) -> None:
        """Write a snapshot in one step and let all but the newest go. No fsync: one that is torn by a power cut fails its own check."""
        if self.trouble:
            return
        target = self.path.with_name(f"{self.path.name}.snapshot-{seq}")
        temporary = target.with_name(target.name + ".new")
        try:
            temporary.write_text(text, "utf-8")
            os.replace(temporary, target)
            for _, path in sorted(_snapshot_files(self.path))[:-SNAPSHOTS_KEPT]:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class JournalReader(_Segments):
    """Read-only view for reports and people; works while a session writes. Raises JournalError when there is no journal."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        found = segment.find_segments(self.path)
        with contextlib.closing(segment.open_for_reading(found[-1][1] if found else self.path)):
            pass

    def __len__(self) -> int:
        path = segment.find_segments(self.path)[-1][1]
        with contextlib.closing(segment.open_for_reading(path)) as connection:
            return segment.last_link(connection, segment.base_of(path, connection)).seq

    def close(self) -> None:
        """Nothing is held between calls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _snapshot_files(path: Path) -> list[tuple[int, Path]]:
    pattern = re.compile(re.escape(path.name) + r"\.snapshot-(\d+)")
    found = ((pattern.fullmatch(item.name), item) for item in path.parent.glob(f"{path.name}.snapshot-*"))
    return [(int(match[1]), item) for match, item in found if match]


def _fault_between(path: Path, following: Path) -> str:
    """Why a sealed segment is not what the next one follows; empty when it is."""
    try:
        with contextlib.closing(segment.open_for_reading(following)) as connection:
            expected = segment.base_of(following, connection)
    except JournalDamagedError:
        return ""  # the next one is at fault, and is judged by itself
    try:
        with contextlib.closing(segment.open_for_reading(path)) as connection:
            last = segment.last_link(connection, segment.base_of(path, connection))
    except JournalDamagedError as error:
        return str(error)
    return "" if last == expected else f"it ends with row {last.seq}, the next one follows row {expected.seq}"


def _readable(first: int, path: Path, base: Link) -> list[Row]:
    """Rows of a damaged file from its beginning to the first one that cannot be read or does not follow."""
    rows = list[Row]()
    with contextlib.suppress(JournalDamagedError), contextlib.closing(segment.open_for_reading(path)) as connection:
        rows.extend(segment.read_rows(connection, first, _END))
    return rows[: verify_rows(str(path), rows, base).events - base.seq]


def _write_anew(path: Path, target: Path, base: Link, rows: Sequence[Row]) -> str:
    """Write the sound rows of a damaged segment to ``target`` (mostly its own name); the damaged file is kept, under the name returned.

    The new file is whole before the old one is touched: a kill or a full disk in between leaves one or the other.
    """
    salvaged = target.with_name(target.name + ".salvaged")
    segment.create_segment(salvaged, base, rows)
    kept = segment.set_aside(path)
    try:
        os.replace(salvaged, target)
        segment.sync_folder(target.parent)
    except OSError as error:
        raise JournalWriteError(f"Cannot put {salvaged} in its place: {error}") from error
    return kept.name


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
