"""The journal's port: what SQLite and Redis both do, and all that the rest of the house may ask of either."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from alphatrade_pipelines.journal.chain import Link, Row, Verification
from alphatrade_pipelines.trading.events import Event


@dataclass(frozen=True, slots=True)
class SetAside:
    """What opening a store found damaged and moved to ``name``. ``lossy``: events of the newest stretch are missing, so the state is not
    what it was; an old stretch that a snapshot covers is not."""

    name: str
    detail: str
    lossy: bool


class JournalReading(Protocol):
    """A journal to read: for reports, people and starting sessions. Sees what was durable when each call began."""

    @property
    def where(self) -> str:
        """The journal's name for people; no secret in it."""
        ...

    def rows(self, from_seq: int = 1, to_seq: int | None = None) -> Generator[Row]:
        """Stored rows with ``from_seq <= seq <= to_seq``, in order. Raises JournalDamagedError where the store cannot be read. Close it
        when not all of them are taken: it may hold a file."""
        ...

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Stored events with sequence numbers >= ``from_seq``, in order."""
        ...

    def verify(self) -> Verification:
        """Check every row of the chain from the first one on, and that the row noted last is among them."""
        ...

    def snapshots(self) -> Iterable[tuple[int, str]]:
        """Stored snapshots (sequence number, text), newest first. They are a cache: the caller checks them."""
        ...

    def __len__(self) -> int:
        """Number of the last row."""
        ...

    def close(self) -> None:
        """Let go of the store. Safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class JournalStore(JournalReading, Protocol):
    """The single writer of one account's journal. It is also the ``EventLog`` of the engine.

    ``append`` and ``append_many`` return once the events are durable; all of a batch or none. They raise JournalWriteError when the store
    cannot take events now (offer the same events again), JournalFencedError when somebody else has written: then this process must end.
    """

    @property
    def head(self) -> str:
        """Hash of the last row: it stands for the whole journal."""
        ...

    @property
    def trouble(self) -> str:
        """Why entries must halt although the store still takes events; empty when all is well."""
        ...

    def append(self, event: Event) -> int:
        """Store one event durably; its sequence number, counted from 1."""
        ...

    def append_many(self, events: Sequence[Event]) -> int:
        """Store a batch durably, all or nothing; the sequence number of the last event."""
        ...

    def save_snapshot(self, seq: int, text: str) -> None:
        """Keep a snapshot taken after row ``seq``; old ones may go. A snapshot that cannot be kept is no error, only logged."""
        ...

    @property
    def link(self) -> Link:
        """The end of the chain."""
        ...

    def noted(self) -> Link | None:
        """How far a writer noted to have come, beside the store; None when there is no note."""
        ...

    def rotate(self) -> bool:
        """Begin a new segment if the present one is long enough. Returns whether it did. A store without segments never does."""
        ...

    def set_aside(self, link: Link) -> str:
        """Go back to row ``link.seq`` (0 = none) and keep everything after it elsewhere; the name of that place."""
        ...

    def damage_found(self) -> tuple[SetAside, ...]:
        """What opening found and set aside by itself; empty for a sound store."""
        ...
