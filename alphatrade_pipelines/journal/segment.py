"""One SQLite file of a journal: a stretch of rows that follows a known link. Triggers refuse UPDATE, DELETE and any row but the next.

Write-ahead logging with ``synchronous=FULL``: a commit returns after fsync. The first segment has the journal's own name, each later one
that name and the number of its first row. No file is ever renamed while it is part of the journal, so readers need no lock.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from alphatrade_pipelines.journal.chain import START, Link, Row
from alphatrade_pipelines.journal.errors import (
    HOSTILE,
    JournalDamagedError,
    JournalError,
    JournalFencedError,
    JournalNewerError,
    JournalWriteError,
)

END = 2**62  # no row has this number
FORMAT = 2  # 1: without base_seq and base_hash, always the first segment
BUSY_S = 1.0
APPEND_BUSY_MS = 100  # who holds the file longer is no reader: an exit must not wait for him
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT OR IGNORE INTO meta VALUES ('format', '{format}'), ('base_seq', '{seq}'), ('base_hash', '{hash}');
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_no_gap BEFORE INSERT ON events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), {seq}) + 1 FROM events)
BEGIN SELECT RAISE(ABORT, 'the journal has no gaps'); END;
"""
_UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)  # Python decodes SQLite's complaint, in which a damaged name may be quoted
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_IOERR_READ", "SQLITE_IOERR_CORRUPTFS", "SQLITE_IOERR_DATA")


def name_of(path: Path, first_seq: int) -> Path:
    """The file of the segment that begins with row ``first_seq``."""
    return path if first_seq == 1 else path.with_name(f"{path.name}.{first_seq:012d}")


def find_segments(path: Path) -> list[tuple[int, Path]]:
    """(first row, file) of every segment there is, in order."""
    pattern = re.compile(re.escape(path.name) + r"\.(\d{12})")
    found = [(1, path)] if path.exists() else []
    for item in path.parent.glob(f"{path.name}.*") if path.parent.is_dir() else ():
        match = pattern.fullmatch(item.name)
        if match:
            found.append((int(match[1]), item))
    return sorted(found)


def create_segment(path: Path, base: Link, rows: Sequence[Row] = ()) -> None:
    """Make a segment file in one step: whole, or not there at all."""
    temporary = path.with_name(path.name + ".new")
    try:
        _remove(temporary)
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript("BEGIN;" + _SCHEMA.format(format=FORMAT, seq=base.seq, hash=base.hash) + "COMMIT;")
            insert_rows(connection, rows)
            connection.execute("PRAGMA journal_mode=WAL")
        clear_sides(path)
        os.replace(temporary, path)
        sync_folder(path.parent)
        with suppress(PermissionError):
            sync_folder(path.parent.parent)  # the first file of an account: its folder may be new
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            _remove(temporary)
        raise JournalWriteError(f"Cannot create {path}: {error}") from error


def _remove(path: Path) -> None:
    for leftover in (path, *_sides(path)):
        leftover.unlink(missing_ok=True)


def insert_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """All rows in one transaction. Raises sqlite3.Error, with the transaction rolled back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("INSERT INTO events VALUES (?, ?, ?)", [(row.seq, row.body, row.hash) for row in rows])
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A durable connection to an existing segment. Raises JournalDamagedError, JournalNewerError, JournalWriteError (full, read-only)."""
    connection = _connect(path, isolation_level=None)
    try:
        base = base_of(path, connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _rehearse(path, connection, Row(last_link(connection, base).seq + 1, "", ""))
        connection.execute(f"PRAGMA busy_timeout={APPEND_BUSY_MS}")
    except sqlite3.Error as error:
        connection.close()
        raise as_journal_error(error, f"Cannot open {path} for writing") from error
    except JournalError:
        connection.close()
        raise
    return connection


def write_back(connection: sqlite3.Connection) -> None:
    """Bring all of the write-ahead log into the file. Raises sqlite3.Error, also when somebody still reads what is in the log."""
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        error = sqlite3.OperationalError("somebody reads what is in the write-ahead log")
        error.sqlite_errorname = "SQLITE_BUSY"
        raise error


def log_of(path: Path) -> Path:
    """The write-ahead log of a segment: beside the file itself, not beside a link to it."""
    real = path.resolve()
    return real.with_name(real.name + "-wal")


def _connect(database: Path | str, **options: Any) -> sqlite3.Connection:
    try:
        connection: sqlite3.Connection = sqlite3.connect(database, timeout=BUSY_S, **options)
        return connection
    except sqlite3.Error as error:
        raise as_journal_error(error, f"Cannot open {database}") from error


def _rehearse(path: Path, connection: sqlite3.Connection, row: Row) -> None:
    """Insert the next row and take it back: a header or a trigger that was changed refuses it, and that must come out now."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("INSERT INTO events VALUES (?, ?, ?)", (row.seq, row.body, row.hash))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        name = _name(error)
        refused = name in ("", "SQLITE_ERROR") or name.startswith("SQLITE_CONSTRAINT")
        if refused or (name == "SQLITE_READONLY" and os.access(path, os.W_OK)):
            raise JournalDamagedError(f"{path} does not take row {row.seq} although nobody else writes: {error}", row.seq) from error
        raise
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises JournalError when there is no file, JournalDamagedError when it is no journal."""
    if not path.is_file():
        raise JournalError(f"Expected a journal at {path}, found nothing; a live or paper session creates it")
    connection = _connect_read_only(path)
    try:
        base_of(path, connection)
    except JournalError:
        connection.close()
        raise
    return connection


def _connect_read_only(path: Path) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    log_file = log_of(path)
    connection = _connect(uri, uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # no room or no right to make the shared index of the log; without a log the file alone is the whole truth
        if log_file.exists() and log_file.stat().st_size:
            return connection
        connection.close()
        connection = _connect(f"{uri}&immutable=1", uri=True)
    except _UNREADABLE:
        pass  # whoever reads next gets the same error, with its context
    return connection


def base_of(path: Path, connection: sqlite3.Connection) -> Link:
    """The link this segment follows. Raises JournalDamagedError unless the file is a journal, JournalNewerError for a later format."""
    try:
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        connection.execute("SELECT seq, body, hash FROM events LIMIT 0")
    except sqlite3.OperationalError as error:
        if _name(error) == "SQLITE_ERROR":  # no such table
            raise JournalDamagedError(f"{path} is not a journal: {error}") from error
        raise as_journal_error(error, f"Cannot read {path}") from error
    except _UNREADABLE as error:
        raise as_journal_error(error, f"{path} is not a journal") from error
    try:
        found, base = int(meta["format"]), Link(int(meta.get("base_seq", START.seq)), str(meta.get("base_hash", START.hash)))
    except HOSTILE as error:
        raise JournalDamagedError(f"{path}: expected journal format {FORMAT} and the row it follows, was {meta}") from error
    if found > FORMAT:
        raise JournalNewerError(f"{path}: expected journal format {FORMAT} or older, was {found}: use the newer release that wrote it")
    if found < 1 or not 0 <= base.seq < END or not (base.seq == 0) == (base.hash == START.hash):
        raise JournalDamagedError(f"{path}: row {base.seq} cannot have the hash {base.hash}")
    return base


def last_link(connection: sqlite3.Connection, base: Link) -> Link:
    """The link after the segment's last row. Raises JournalDamagedError."""
    try:
        last = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    except _UNREADABLE as error:
        raise as_journal_error(error, "Cannot read the last row") from error
    if last and not isinstance(last[0], int):
        raise JournalDamagedError(f"the last row has the number {last[0]!r}")
    return Link(last[0], str(last[1])) if last else base


def read_rows(connection: sqlite3.Connection, from_seq: int, to_seq: int) -> Iterator[Row]:
    """Rows in order. Raises JournalDamagedError where SQLite cannot read the file."""
    try:
        query = "SELECT seq, body, hash FROM events WHERE seq >= ? AND seq <= ? ORDER BY seq"
        for seq, body, link in connection.execute(query, (from_seq, to_seq)):
            yield Row(seq, body, link)
    except _UNREADABLE as error:
        raise as_journal_error(error, "SQLite cannot read the journal") from error


def set_aside(path: Path) -> Path:
    """Rename a segment and its side files to ``<file>.damaged-<n>``; returns the new name. Raises JournalWriteError."""
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    try:
        for side in _sides(path):  # copied first, removed last: a kill in between leaves file and log together, or both kept
            if side.exists() and not side.name.endswith("-shm"):
                shutil.copyfile(side, target.with_name(target.name + side.name.removeprefix(path.name)))
        if path.exists():
            os.replace(path, target)
        clear_sides(path)
        sync_folder(path.parent)
    except OSError as error:
        raise JournalWriteError(f"Cannot keep {path} as {target}: {error}") from error
    return target


def clear_sides(path: Path) -> None:
    """Remove the side files of a segment that is no longer in its place: SQLite must not mix an old log into a new file."""
    if not path.exists():
        for side in _sides(path):
            side.unlink(missing_ok=True)


def as_journal_error(error: sqlite3.Error | UnicodeDecodeError, what: str) -> JournalError:
    """SQLite's complaint in the journal's terms: damage, another writer, or a trouble that may pass."""
    name = _name(error)
    message = f"{what}: {error} ({name})" if name else f"{what}: {error}"
    if any(name.startswith(kind) for kind in _DAMAGE):
        return JournalDamagedError(message)
    if name.startswith("SQLITE_CONSTRAINT"):
        return JournalFencedError(f"{message}; another process wrote to this journal")
    if isinstance(error, sqlite3.ProgrammingError):
        return JournalError(message)
    if not name:  # text that is no text: Python found it, not SQLite
        return JournalDamagedError(message)
    return JournalWriteError(message)


def is_held(error: JournalWriteError) -> bool:
    """Whether somebody else holds the file: room on the disk does not help."""
    return _name(error.__cause__).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def sync_folder(folder: Path) -> None:
    """Make created and renamed files durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(error: BaseException | None) -> str:
    return str(getattr(error, "sqlite_errorname", "") or "")


def _sides(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")]
