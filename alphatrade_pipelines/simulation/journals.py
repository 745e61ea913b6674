"""Journals whose process may die inside an append: what was durable stays, what was not is gone, and a torn tail may lie behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from alphatrade_pipelines.journal.chain import GENESIS, row_hash
from alphatrade_pipelines.journal.sqlite import SqliteJournal
from alphatrade_pipelines.trading.codec import decode_event, encode_event
from alphatrade_pipelines.trading.events import Event

Boundary = Callable[[str], None]


class Store(Protocol):
    """A journal that outlives its processes."""

    @property
    def head(self) -> str:
        """Hash of the last row: it stands for the whole journal."""

    def append(self, event: Event) -> int:
        """See ``EventLog``."""

    def append_many(self, events: Sequence[Event]) -> int:
        """See ``EventLog``."""

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """See ``EventLog``."""

    def reopen(self, torn: float | None) -> None:
        """A new process opens what the dead one left. ``torn``: this share of an interrupted append had reached the disk."""

    def close(self) -> None:
        """Give files back."""


class MemoryStore:
    """Rows as text, as the journal stores them, and the same chain of hashes: quick."""

    def __init__(self, boundary: Boundary) -> None:
        self._rows: list[str] = []
        self._read: list[Event] = []
        self._boundary = boundary
        self.head = GENESIS

    def append(self, event: Event) -> int:
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        self._boundary("before append")
        rows = [encode_event(event) for event in events]
        for body in rows:
            self._rows.append(body)
            self.head = row_hash(self.head, len(self._rows), body)
        self._boundary("after append")
        return len(self._rows)

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        self._read += [decode_event(body) for body in self._rows[len(self._read) :]]
        start = max(from_seq, 1)
        yield from enumerate(self._read[start - 1 :], start)

    def reopen(self, torn: float | None) -> None:
        """Memory has no torn tails: an append is all or nothing."""

    def close(self) -> None:
        """Nothing to give back."""


class SqliteStore:
    """The real journal on disk. A crash leaves database and log behind as they are, the log with a torn frame at its end if so asked."""

    def __init__(self, folder: Path, boundary: Boundary) -> None:
        self._folder, self._boundary = folder, boundary
        self._generation = 0
        self._interrupted = False
        self._journal = SqliteJournal(self._path)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._generation}" / "journal.sqlite"

    @property
    def head(self) -> str:
        return self._journal.head

    def append(self, event: Event) -> int:
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        self._boundary("before append")
        seq = self._journal.append_many(events)
        self._boundary("after append")
        return seq

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        return self._journal.events(from_seq)

    def reopen(self, torn: float | None) -> None:
        old, self._generation = self._path, self._generation + 1
        self._path.parent.mkdir()
        for suffix in ("", "-wal"):  # copied while open: closing would tidy up, which a killed process cannot
            side = old.with_name(old.name + suffix)
            if side.exists():
                shutil.copyfile(side, self._path.with_name(self._path.name + suffix))
        self._journal.close()
        log = self._path.with_name(self._path.name + "-wal")
        if torn is not None and log.exists() and log.stat().st_size > 32:
            # a frame that was being written: its header promises a page, its checksum is wrong, its end is missing
            frame = log.read_bytes()[32 : 32 + 24 + 4096]
            with log.open("ab") as tail:
                tail.write(frame[: max(1, int(len(frame) * torn))])
        self._journal = SqliteJournal(self._path)

    def close(self) -> None:
        self._journal.close()
