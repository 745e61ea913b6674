"""Reading a journal in SQLite: all its segments as one, its snapshots, its note of the last head; while a session writes, or after it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from alphatrade_pipelines.journal import segment
from alphatrade_pipelines.journal.chain import Row, Verification, event_of, verify_rows
from alphatrade_pipelines.journal.headnote import HeadNote
from alphatrade_pipelines.trading.events import Event


class Segments:
    """Reading, the same for the writer and for everybody else."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._note = HeadNote(self.path.with_name(self.path.name + ".head"))

    @property
    def where(self) -> str:
        return str(self.path)

    def rows(self, from_seq: int = 1, to_seq: int | None = None) -> Generator[Row]:
        """Stored rows with ``from_seq <= seq <= to_seq``, in order, over all segments. Raises JournalDamagedError."""
        last = segment.END if to_seq is None else to_seq
        found = segment.find_segments(self.path)
        for number, (first, path) in enumerate(found):
            following = found[number + 1][0] if number + 1 < len(found) else segment.END
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
        for seq, path in sorted(snapshot_files(self.path), reverse=True):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                yield seq, path.read_text("utf-8")

    def close(self) -> None:
        """Nothing is held between calls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class JournalReader(Segments):
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


def snapshot_files(path: Path) -> list[tuple[int, Path]]:
    """(row it was taken after, file) of every snapshot beside a journal."""
    pattern = re.compile(re.escape(path.name) + r"\.snapshot-(\d+)")
    found = ((pattern.fullmatch(item.name), item) for item in path.parent.glob(f"{path.name}.snapshot-*"))
    return [(int(match[1]), item) for match, item in found if match]
