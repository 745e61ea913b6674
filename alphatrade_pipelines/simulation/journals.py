"""Journals whose process may die inside an append: what was durable stays, what was not is gone, and a torn tail may lie behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from alphatrade_pipelines.journal import Snapshotter, Start
from alphatrade_pipelines.journal.chain import GENESIS, row_hash
from alphatrade_pipelines.journal.replaying import replay
from alphatrade_pipelines.journal.sqlite import SqliteJournal
from alphatrade_pipelines.live.memory import blank, fold, remember
from alphatrade_pipelines.trading.codec import decode_event, encode_event
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.events import Event

Boundary = Callable[[str], None]
# in life 20,000 and more: here often enough that sessions begin from snapshots and cross the borders of segments
SNAPSHOT_EVENTS, SEGMENT_EVENTS = 40, 100


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

    def begin(self, core: CoreConfig) -> tuple[Start, Snapshotter] | None:
        """What a new process starts from, as a live session does; None where it reads every event itself."""

    def wrong_snapshots(self, core: CoreConfig) -> list[str]:
        """Snapshots that a process would start from, and that are not what the events up to them come to."""

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

    def begin(self, core: CoreConfig) -> None:
        """Memory keeps no snapshots."""

    def wrong_snapshots(self, core: CoreConfig) -> list[str]:
        return []

    def reopen(self, torn: float | None) -> None:
        """Memory has no torn tails: an append is all or nothing."""

    def close(self) -> None:
        """Nothing to give back."""


class MortalJournal(SqliteJournal):
    """The real journal of a process that may die around each of its writes."""

    def __init__(self, path: Path, boundary: Boundary) -> None:
        super().__init__(path, segment_events=SEGMENT_EVENTS, reserve_bytes=4096)
        self._boundary = boundary

    def append_many(self, events: Sequence[Event]) -> int:
        self._boundary("before append")
        seq = super().append_many(events)
        self._boundary("after append")
        return seq

    def save_snapshot(self, seq: int, text: str) -> None:
        self._boundary("before snapshot")
        super().save_snapshot(seq, text)
        self._boundary("after snapshot")


class SqliteStore:
    """The real journal on disk, with snapshots and segments. A crash leaves its files behind as they are, the log with a torn frame at its
    end if so asked."""

    def __init__(self, folder: Path, boundary: Boundary) -> None:
        self._folder, self._boundary = folder, boundary
        self._generation = 0
        self.journal = MortalJournal(self._path, boundary)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._generation}" / "journal.sqlite"

    @property
    def head(self) -> str:
        return self.journal.head

    def append(self, event: Event) -> int:
        return self.journal.append(event)

    def append_many(self, events: Sequence[Event]) -> int:
        return self.journal.append_many(events)

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        return self.journal.events(from_seq)

    def begin(self, core: CoreConfig) -> tuple[Start, Snapshotter]:
        start = remember(self.journal, core)
        return start, Snapshotter(self.journal, start.snapshot_seq, SNAPSHOT_EVENTS)

    def wrong_snapshots(self, core: CoreConfig) -> list[str]:
        compared = replay(self.journal, None, lambda: blank(core), fold).snapshots
        return [f"snapshot {item.seq}: {item.verdict}" for item in compared if item.wrong]

    def reopen(self, torn: float | None) -> None:
        """Files are copied while open: closing would tidy up, which a killed process cannot."""
        old, self._generation = self._path, self._generation + 1
        self._path.parent.mkdir()
        for file in old.parent.iterdir():
            if not file.name.endswith((".lock", ".reserve", "-shm")):
                shutil.copyfile(file, self._path.parent / file.name)
        self.journal.close()
        logs = [log for log in self._path.parent.glob("*-wal") if log.stat().st_size > 32]
        if torn is not None and logs:
            # a frame that was being written: its header promises a page, its checksum is wrong, its end is missing
            newest = max(logs, key=lambda log: (len(log.name), log.name))
            frame = newest.read_bytes()[32 : 32 + 24 + 4096]
            with newest.open("ab") as tail:
                tail.write(frame[: max(1, int(len(frame) * torn))])
        self.journal = MortalJournal(self._path, self._boundary)

    def close(self) -> None:
        self.journal.close()
