"""Starting from a journal: the newest fitting snapshot, the rows after it, how the last run ended; what is not sound is set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from alphatrade_pipelines.journal.chain import START, Link, checked_events
from alphatrade_pipelines.journal.errors import JournalDamagedError
from alphatrade_pipelines.journal.port import JournalStore
from alphatrade_pipelines.journal.snapshots import Parts, follows, newest_snapshot
from alphatrade_pipelines.journal.sqlite import SqliteJournal
from alphatrade_pipelines.trading.events import Event, SessionEnded, SessionStarted


class RunEnd(StrEnum):
    """ENDED: its last word is SessionEnded. CRASHED: it is not. DAMAGED: events are missing or were changed. NONE: nobody ran yet."""

    NONE = "none"
    ENDED = "ended"
    CRASHED = "crashed"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """What a starting session finds. ``detail`` is one sentence for a person; ``quarantined`` names where damaged rows were put."""

    end: RunEnd
    run_id: str
    events: int
    last_at: datetime | None
    detail: str
    quarantined: str = ""

    @property
    def headline(self) -> str:
        """For a log line and for ``SessionStarted``."""
        return f"{self.end}: {self.detail}"


@dataclass(slots=True)
class LastRun:
    """What the events seen so far say about the last run; travels inside snapshots."""

    run_id: str = ""
    events: int = 0
    last_at: datetime | None = None
    last_kind: str = ""
    reason: str = ""

    def add(self, seq: int, event: Event) -> None:
        """Take note of one event."""
        self.events, self.last_at, self.last_kind = seq, event.at, type(event).__name__
        if isinstance(event, SessionStarted):
            self.run_id = event.run_id
        if isinstance(event, SessionEnded):
            self.reason = event.reason

    def judged(self) -> PreviousRun:
        """How the run ended, going by its last word."""
        if self.last_at is None:
            return PreviousRun(RunEnd.NONE, "", 0, None, "the journal is empty")
        if self.last_kind == SessionEnded.__name__:
            return PreviousRun(RunEnd.ENDED, self.run_id, self.events, self.last_at, f"run {self.run_id} ended: {self.reason}")
        detail = f"run {self.run_id} stopped without a last word after {self.last_kind} of {self.last_at.isoformat()}"
        return PreviousRun(RunEnd.CRASHED, self.run_id, self.events, self.last_at, detail)


@dataclass(frozen=True, slots=True)
class Start:
    """A journal brought up to date. ``parts`` is what its events come to; ``snapshot_seq`` the row the snapshot in use was taken after (0 =
    none), ``replayed`` the number of rows read and checked after it."""

    parts: Parts
    previous: PreviousRun
    snapshot_seq: int
    replayed: int


Fold = Callable[[Parts, Event], None]


def classify_run(events: Iterable[tuple[int, Event]]) -> PreviousRun:
    """How the last run in these events ended."""
    last = LastRun()
    for seq, event in events:
        last.add(seq, event)
    return last.judged()


def start_from(store: JournalStore, new: Callable[[], Parts], fold: Fold) -> Start:
    """Bring ``new()`` up to date with the journal and say how the last run ended.

    Only rows after the newest fitting snapshot are read and checked. At the first row that is not sound the journal is cut: that row and
    all after it are set aside by name, because open positions must be protected today and the broker knows what was lost.
    """
    noted, lost = store.noted(), [found.detail for found in store.damage_found() if found.lossy]
    names = [found.name for found in store.damage_found()]
    fresh: Parts = {"run": LastRun(), **new()}
    snapshot = newest_snapshot(store, {name: type(part) for name, part in fresh.items()})
    parts, begun = (snapshot.parts, snapshot.link) if snapshot else (fresh, START)
    last: Link = begun
    try:
        for row, event in checked_events(store.rows(begun.seq + 1), begun):
            parts["run"].add(row.seq, event)
            fold(parts, event)
            last = Link(row.seq, row.hash)
    except JournalDamagedError as error:
        name = store.set_aside(last)
        names.append(name)
        lost.append(f"the journal was damaged ({error}); everything from row {last.seq + 1} on is kept as {name}")
    if not lost and noted is not None and not follows(store, noted):
        lost.append(f"the journal ends with row {last.seq}, but row {noted.seq} had been acknowledged: its end is missing or replaced")
    previous = parts["run"].judged()
    if lost:
        previous = replace(previous, end=RunEnd.DAMAGED, detail="; ".join(lost))
    else:
        remarks = [found.detail for found in store.damage_found()]
        previous = replace(previous, detail="; ".join([previous.detail, *remarks]))
    return Start(parts, replace(previous, quarantined=", ".join(filter(None, names))), begun.seq, last.seq - begun.seq)


def open_journal(path: str | Path) -> tuple[SqliteJournal, PreviousRun]:
    """Open a SQLite journal for writing, check it, and say how the last run ended.

    Raises JournalLockedError when another process writes to it, JournalNewerError when a newer release wrote it.
    """
    journal = SqliteJournal(path)
    try:
        return journal, start_from(journal, dict, lambda _parts, _event: None).previous
    except BaseException:
        journal.close()
        raise
