"""Starting from a journal: the newest fitting snapshot, the rows after it, how the last run ended; what is not sound is set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from alphatrade_pipelines.journal.chain import START, Link, Row, checked_events, missing_end
from alphatrade_pipelines.journal.errors import HOSTILE, JournalDamagedError
from alphatrade_pipelines.journal.port import JournalStore
from alphatrade_pipelines.journal.snapshots import Parts, follows, newest_snapshot
from alphatrade_pipelines.journal.sqlite import SqliteJournal
from alphatrade_pipelines.trading.events import Event, OperatorAsked, SessionEnded, SessionStarted


class RunEnd(StrEnum):
    """ENDED: its last word is SessionEnded. CRASHED: it is not. DAMAGED: events are missing or were changed. NONE: nobody ran yet."""

    NONE = "none"
    ENDED = "ended"
    CRASHED = "crashed"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """What a starting session finds. ``detail`` is one sentence for a person; ``quarantined`` names where damaged rows were put.

    ``owes_halt``: a session found its journal damaged and died before the halt that follows was stored.
    """

    end: RunEnd
    run_id: str
    events: int
    last_at: datetime | None
    detail: str
    quarantined: str = ""
    owes_halt: bool = False

    @property
    def needs_review(self) -> bool:
        """Entries wait for a person: what was lost may have been a halt, tripped breakers, the day's trade count."""
        return self.end is RunEnd.DAMAGED or self.owes_halt

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
    owes_halt: bool = False

    def add(self, seq: int, event: Event) -> None:
        """Take note of one event."""
        self.events, self.last_at, self.last_kind = seq, event.at, type(event).__name__
        if isinstance(event, SessionStarted):
            self.run_id = event.run_id
            self.owes_halt |= event.previous.startswith(f"{RunEnd.DAMAGED}:")
        if isinstance(event, OperatorAsked) and event.request in ("halt", "resume"):
            self.owes_halt = False
        if isinstance(event, SessionEnded):
            self.reason = event.reason

    def judged(self) -> PreviousRun:
        """How the run ended, going by its last word."""
        if self.last_at is None:
            return PreviousRun(RunEnd.NONE, "", 0, None, "the journal is empty")
        if self.last_kind == SessionEnded.__name__:
            end, detail = RunEnd.ENDED, f"run {self.run_id} ended: {self.reason}"
        else:
            end = RunEnd.CRASHED
            detail = f"run {self.run_id} stopped without a last word after {self.last_kind} of {self.last_at.isoformat()}"
        return PreviousRun(end, self.run_id, self.events, self.last_at, detail, owes_halt=self.owes_halt)


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


def fold_row(fold: Fold, parts: Parts, row: Row, event: Event) -> None:
    """Take one event into the memory. Raises JournalDamagedError for an event that follows from nothing before it."""
    try:
        fold(parts, event)
    except HOSTILE as error:
        raise JournalDamagedError(f"row {row.seq} cannot be applied: {type(error).__name__}: {error}", row.seq) from error


@dataclass(slots=True)
class _Reading:
    """What a journal comes to up to ``last``; ``fault`` is what stopped the reading there."""

    parts: Parts
    begun: Link
    last: Link
    fault: JournalDamagedError | None = None


def _read(store: JournalStore, new: Callable[[], Parts], fold: Fold) -> _Reading:
    """The newest fitting snapshot and the rows after it, each checked."""
    fresh: Parts = {"run": LastRun(), **new()}
    snapshot = newest_snapshot(store, {name: type(part) for name, part in fresh.items()})
    parts, begun = (snapshot.parts, snapshot.link) if snapshot else (fresh, START)
    reading = _Reading(parts, begun, begun)
    try:
        with closing(store.rows(begun.seq + 1)) as rows:
            for row, event in checked_events(rows, begun):
                fold_row(fold, parts, row, event)
                parts["run"].add(row.seq, event)
                reading.last = Link(row.seq, row.hash)
    except JournalDamagedError as error:
        reading.fault = error
    return reading


def start_from(store: JournalStore, new: Callable[[], Parts], fold: Fold) -> Start:
    """Bring ``new()`` up to date with the journal and say how the last run ended.

    Only rows after the newest fitting snapshot are read and checked. At the first row that is not sound the journal is cut, and what is
    left read again: that row and all after it are set aside by name, because open positions must be protected today and the broker
    knows what was lost.
    """
    noted, lost = store.noted(), [found.detail for found in store.damage_found() if found.lossy]
    names = [found.name for found in store.damage_found()]
    reading, keep = _read(store, new, fold), True
    while reading.fault is not None:
        last = reading.last if keep else START  # what is not sound even after a cut is not read a third time
        name, keep = store.set_aside(last), False
        names.append(name)
        lost.append(f"the journal was damaged ({reading.fault}); everything from row {last.seq + 1} on is kept as {name}")
        reading = _read(store, new, fold)
    if not lost and noted is not None and not follows(store, noted):
        lost.append(missing_end(reading.last, noted))
    previous = reading.parts["run"].judged()
    if lost:
        previous = replace(previous, end=RunEnd.DAMAGED, detail="; ".join(lost))
    else:
        remarks = [found.detail for found in store.damage_found()]
        previous = replace(previous, detail="; ".join([previous.detail, *remarks]))
    previous = replace(previous, quarantined=", ".join(filter(None, names)))
    return Start(reading.parts, previous, reading.begun.seq, reading.last.seq - reading.begun.seq)


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
