"""The journal in SQLite: append-only, hash-chained, gap-free, durable before anything is sent.

Write-ahead logging with ``synchronous=FULL``: a commit returns after fsync. Triggers refuse UPDATE, DELETE and any sequence number but
the next. One writer at a time, by an advisory lock on ``<file>.lock`` that the operating system releases when the process dies.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from alphatrade_pipelines.journal.chain import (
    FORMAT_VERSION,
    GENESIS,
    Verification,
    check_format,
    open_read_only,
    read_events,
    row_hash,
    verify_rows,
)
from alphatrade_pipelines.journal.errors import JournalDamagedError, JournalError, JournalLockedError
from alphatrade_pipelines.trading.codec import encode_event
from alphatrade_pipelines.trading.events import Event

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT OR IGNORE INTO meta VALUES ('format', '{version}');
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_no_gap BEFORE INSERT ON events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
BEGIN SELECT RAISE(ABORT, 'the journal has no gaps'); END;
"""


class SqliteJournal:
    """The single writer of one account's journal; also an ``EventLog`` for the engine.

    Raises JournalLockedError when another process has it open, JournalDamagedError when the file is not a sound SQLite journal.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _acquire(self.path.with_name(self.path.name + ".lock"))
        try:
            self._connection = _open_for_writing(self.path)
            self._seq, self._head = _last_link(self._connection)
        except JournalError:
            os.close(self._lock)
            raise

    @property
    def head(self) -> str:
        """Hash of the last row: it stands for the whole journal."""
        return self._head

    def __len__(self) -> int:
        return self._seq

    def append(self, event: Event) -> int:
        """Store one event; durable when this returns. Its sequence number, counted from 1."""
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        """Store a batch with one fsync: all or nothing. The last sequence number. Raises JournalError (disk full, closed)."""
        rows, seq, head = [], self._seq, self._head
        for event in events:
            seq += 1
            body = encode_event(event)
            head = row_hash(head, seq, body)
            rows.append((seq, body, head))
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise JournalError(f"Cannot append {len(rows)} events to {self.path}: {error}") from error
        self._seq, self._head = seq, head
        return seq

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Stored events with sequence numbers >= ``from_seq``, in order."""
        return read_events(self._connection, from_seq)

    def verify(self) -> Verification:
        """Check every row of the chain."""
        return verify_rows(self.path, self._connection)

    def close(self) -> None:
        """Close the file and let the next writer in. Safe to call twice."""
        self._connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise JournalError(f"Cannot roll back {self.path}: {error}") from error


class JournalReader:
    """Read-only view for reports and people; works while a session writes. Sees what was committed when each call began."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection = open_read_only(self.path)

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Stored events with sequence numbers >= ``from_seq``, in order."""
        return read_events(self._connection, from_seq)

    def verify(self) -> Verification:
        """Check every row of the chain."""
        return verify_rows(self.path, self._connection)

    def __len__(self) -> int:
        return _last_link(self._connection)[0]

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _acquire(lock_path: Path) -> int:
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(descriptor, 32, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise JournalLockedError(f"{lock_path} is held by process {owner}: one session a journal; stop that one first") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _open_for_writing(path: Path) -> sqlite3.Connection:
    fresh = not path.exists() or path.stat().st_size == 0
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        if not fresh:
            check_format(path, connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(_SCHEMA.format(version=FORMAT_VERSION))
    except sqlite3.DatabaseError as error:
        connection.close()
        raise JournalDamagedError(f"{path} is not a sound journal: {error}") from error
    except JournalError:
        connection.close()
        raise
    return connection


def _last_link(connection: sqlite3.Connection) -> tuple[int, str]:
    try:
        last = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        raise JournalDamagedError(f"SQLite cannot read the journal: {error}") from error
    return (last[0], last[1]) if last else (0, GENESIS)
