"""Rows of the journal and the hash chain that makes an edit visible: each row's SHA-256 covers its number, its text and the hash before it.

The chain shows any change, insertion or removal. A cut at the very end leaves a shorter valid chain; the note of the last head
(``headnote``) shows that too. The chain knows no backend: the same events give the same head in SQLite and in Redis.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alphatrade_pipelines.journal.errors import HOSTILE, JournalDamagedError, JournalNewerError
from alphatrade_pipelines.trading.codec import NewerSchemaError, decode_event, encode_event
from alphatrade_pipelines.trading.events import Event

GENESIS = hashlib.sha256(b"alphatrade journal 1").hexdigest()


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: after row ``seq`` the hash is ``hash``."""

    seq: int
    hash: str


START = Link(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Row:
    """One stored event as text, with its place in the chain."""

    seq: int
    body: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of reading a journal. ``events`` is the number of the last sound row, ``head`` its hash; ``bad_seq`` and ``problem``
    describe the first fault, if any."""

    where: str
    events: int
    head: str
    bad_seq: int | None = None
    problem: str = ""

    @property
    def sound(self) -> bool:
        return not self.problem


def row_hash(previous: str, seq: int, body: str) -> str:
    """The chain's next link."""
    return hashlib.sha256(f"{previous}\n{seq}\n{body}".encode()).hexdigest()


def link_events(after: Link, events: Sequence[Event]) -> list[Row]:
    """The rows these events become when they follow ``after``. Raises CodecError for what is no event."""
    rows, seq, head = list[Row](), after.seq, after.hash
    for event in events:
        seq += 1
        body = encode_event(event)
        head = row_hash(head, seq, body)
        rows.append(Row(seq, body, head))
    return rows


def checked_events(rows: Iterable[Row], after: Link) -> Iterator[tuple[Row, Event]]:
    """Rows that must follow ``after``, each checked (number, link, content) before it is handed out, with its event.

    Raises JournalDamagedError naming the first bad row, JournalNewerError for a row only a newer release can read.
    """
    previous = after
    for row in rows:
        if row.seq != previous.seq + 1:
            raise JournalDamagedError(f"expected row {previous.seq + 1}, found {row.seq}: rows are missing", row.seq)
        if row.hash != row_hash(previous.hash, row.seq, row.body):
            raise JournalDamagedError(f"row {row.seq} does not match its hash: it, or its place in the chain, was changed", row.seq)
        yield row, event_of(row)
        previous = Link(row.seq, row.hash)


def event_of(row: Row) -> Event:
    """The event of a row. Raises JournalDamagedError, JournalNewerError."""
    try:
        return decode_event(row.body)
    except NewerSchemaError as error:
        raise JournalNewerError(f"row {row.seq}: {error}") from error
    except HOSTILE as error:
        raise JournalDamagedError(f"row {row.seq} is not an event: {error}", row.seq) from error


def verify_rows(where: str, rows: Iterable[Row], after: Link = START, noted: Link | None = None) -> Verification:
    """Check every row, and that they lead through the ``noted`` one; stops at the first fault."""
    last, passed = after, noted is None or noted == after
    try:
        for row, _ in checked_events(rows, after):
            last = Link(row.seq, row.hash)
            passed = passed or last == noted
    except JournalDamagedError as error:
        return Verification(where, last.seq, last.hash, error.seq or last.seq + 1, str(error))
    if noted is not None and not passed:
        return Verification(where, last.seq, last.hash, min(last.seq + 1, noted.seq), missing_end(last, noted))
    return Verification(where, last.seq, last.hash)


def missing_end(last: Link, noted: Link) -> str:
    """What to say when a journal does not lead through the row that was noted."""
    return f"the journal ends with row {last.seq}, but row {noted.seq} had been acknowledged: its end is missing or replaced"
