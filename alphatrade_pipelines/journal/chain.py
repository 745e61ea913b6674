"""Rows of the journal and the hash chain that makes an edit visible: each row's SHA-256 covers its number, its text and the hash before it.

The chain shows any change, insertion or removal inside the file. A cut at the very end leaves a shorter valid chain; comparing
``Verification.head`` with a head noted elsewhere (the heartbeat, a report) shows that too.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alphatrade_pipelines.journal.errors import JournalDamagedError, JournalError
from alphatrade_pipelines.trading.codec import CodecError, decode_event
from alphatrade_pipelines.trading.events import Event

FORMAT_VERSION = "1"
GENESIS = hashlib.sha256(b"alphatrade journal 1").hexdigest()


@dataclass(frozen=True, slots=True)
class Row:
    """One stored event as text, with its place in the chain."""

    seq: int
    body: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of reading a whole journal. ``bad_seq`` and ``problem`` describe the first fault, if any."""

    path: Path
    events: int
    head: str
    bad_seq: int | None
    problem: str

    @property
    def sound(self) -> bool:
        return not self.problem


def row_hash(previous: str, seq: int, body: str) -> str:
    """The chain's next link."""
    return hashlib.sha256(f"{previous}\n{seq}\n{body}".encode()).hexdigest()


def read_rows(connection: sqlite3.Connection, from_seq: int = 0) -> Iterator[Row]:
    """Rows in order. Raises JournalDamagedError when SQLite cannot read the file."""
    try:
        for seq, body, link in connection.execute("SELECT seq, body, hash FROM events WHERE seq >= ? ORDER BY seq", (from_seq,)):
            yield Row(seq, body, link)
    except sqlite3.DatabaseError as error:
        raise JournalDamagedError(f"SQLite cannot read the journal: {error}") from error


def read_events(connection: sqlite3.Connection, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
    """Decoded events in order. Raises JournalDamagedError naming the row that is not an event."""
    for row in read_rows(connection, from_seq):
        try:
            yield row.seq, decode_event(row.body)
        except CodecError as error:
            raise JournalDamagedError(f"Row {row.seq} is not an event: {error}", row.seq) from error


def verify_rows(path: Path, connection: sqlite3.Connection) -> Verification:
    """Check numbers, links and contents of every row; stops at the first fault."""
    previous, count = GENESIS, 0
    try:
        for row in read_rows(connection):
            problem = _fault(row, previous, count + 1)
            if problem:
                return Verification(path, count, previous, row.seq, problem)
            previous, count = row.hash, row.seq
    except JournalDamagedError as error:
        return Verification(path, count, previous, count + 1, str(error))
    return Verification(path, count, previous, None, "")


def _fault(row: Row, previous: str, expected_seq: int) -> str:
    if row.seq != expected_seq:
        return f"expected row {expected_seq}, found {row.seq}: rows are missing"
    if row.hash != row_hash(previous, row.seq, row.body):
        return f"row {row.seq} does not match its hash: it, or its place in the chain, was changed"
    try:
        decode_event(row.body)
    except CodecError as error:
        return f"row {row.seq} is not an event: {error}"
    return ""


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises JournalError when there is no journal, JournalDamagedError when the file is none."""
    if not path.is_file():
        raise JournalError(f"Expected a journal at {path}, found nothing; a live or paper session creates it")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        check_format(path, connection)
    except JournalError:
        connection.close()
        raise
    return connection


def check_format(path: Path, connection: sqlite3.Connection) -> None:
    """Raises JournalDamagedError unless the file is a journal of this format."""
    try:
        found = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    except sqlite3.DatabaseError as error:
        raise JournalDamagedError(f"{path} is not a journal: {error}") from error
    if found is None or found[0] != FORMAT_VERSION:
        raise JournalDamagedError(f"{path}: expected journal format {FORMAT_VERSION}, was {found[0] if found else 'none'}")
