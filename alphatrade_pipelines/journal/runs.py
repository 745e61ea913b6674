"""How the last run ended, and what to do with a journal that is no longer sound."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from alphatrade_pipelines.journal.chain import Verification, open_read_only, verify_rows
from alphatrade_pipelines.journal.errors import JournalDamagedError
from alphatrade_pipelines.journal.sqlite import JournalReader, SqliteJournal
from alphatrade_pipelines.trading.events import Event, SessionEnded, SessionStarted


class RunEnd(StrEnum):
    """ENDED: its last word is SessionEnded. CRASHED: it is not. DAMAGED: the journal cannot be trusted. NONE: nobody ran yet."""

    NONE = "none"
    ENDED = "ended"
    CRASHED = "crashed"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class PreviousRun:
    """What a starting session finds. ``detail`` is one sentence for a person; ``quarantined`` is where a damaged file was put."""

    end: RunEnd
    run_id: str
    events: int
    last_at: datetime | None
    detail: str
    quarantined: Path | None = None


def classify_run(events: Iterable[tuple[int, Event]]) -> PreviousRun:
    """How the last run in these events ended."""
    run_id, count, last = "", 0, None
    for seq, event in events:
        count, last = seq, event
        if isinstance(event, SessionStarted):
            run_id = event.run_id
    if last is None:
        return PreviousRun(RunEnd.NONE, "", 0, None, "the journal is empty")
    if isinstance(last, SessionEnded):
        return PreviousRun(RunEnd.ENDED, run_id, count, last.at, f"run {run_id} ended: {last.reason}")
    detail = f"run {run_id} stopped without a last word after {type(last).__name__} of {last.at.isoformat()}"
    return PreviousRun(RunEnd.CRASHED, run_id, count, last.at, detail)


def open_journal(path: str | Path) -> tuple[SqliteJournal, PreviousRun]:
    """Open for writing and say how the last run ended.

    A damaged journal is set aside as ``<file>.damaged-<n>`` and a new one begun, because open positions must be protected today: the
    core then adopts them from the broker. Raises JournalLockedError when another process writes to it.
    """
    path = Path(path)
    try:
        journal = SqliteJournal(path)
    except JournalDamagedError as error:
        return _begin_anew(path, str(error))
    checked = journal.verify()
    if not checked.sound:
        journal.close()
        return _begin_anew(path, checked.problem)
    return journal, classify_run(journal.events())


def _begin_anew(path: Path, problem: str) -> tuple[SqliteJournal, PreviousRun]:
    target = _quarantine(path)
    detail = f"the journal was damaged ({problem}); it is kept as {target.name}"
    return SqliteJournal(path), PreviousRun(RunEnd.DAMAGED, "", 0, None, detail, target)


def _quarantine(path: Path) -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    os.replace(path, target)
    for suffix in ("-wal", "-shm"):  # SQLite must not mix the old log into the new file
        side = path.with_name(path.name + suffix)
        if side.exists():
            os.replace(side, target.with_name(target.name + suffix))
    return target


def verify_journal(path: str | Path) -> Verification:
    """Check a journal without writing to it. A file that is no journal at all gives a Verification with its problem.

    Raises JournalError when there is no file.
    """
    path = Path(path)
    try:
        connection = open_read_only(path)
    except JournalDamagedError as error:
        return Verification(path, 0, "", error.seq, str(error))
    try:
        return verify_rows(path, connection)
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """One line of ``journal show``."""

    seq: int
    at: datetime
    kind: str
    event: Event


def show_journal(path: str | Path, *, last: int | None = 50, kind: str | None = None, symbol: str | None = None) -> list[ShownEvent]:
    """The last ``last`` events (None = all), optionally of one type name or of one symbol, oldest first."""
    with JournalReader(path) as reader:
        shown = [
            ShownEvent(seq, event.at, type(event).__name__, event)
            for seq, event in reader.events()
            if (kind is None or type(event).__name__ == kind) and (symbol is None or symbol_of(event) == symbol)
        ]
    return shown if last is None else shown[-last:] if last > 0 else []


def symbol_of(event: Event) -> str | None:
    """The symbol an event is about, if it is about one."""
    for holder in (event, *(getattr(event, name, None) for name in ("signal", "request", "order"))):
        found = getattr(holder, "symbol", None)
        if isinstance(found, str):
            return found
    return None
