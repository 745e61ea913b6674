"""The journal: an append-only, hash-chained event store; the truth from which every state is rebuilt. One port, two stores."""

from __future__ import annotations

from alphatrade_pipelines.journal.chain import Link, Row, Verification
from alphatrade_pipelines.journal.errors import (
    JournalDamagedError,
    JournalError,
    JournalFencedError,
    JournalLockedError,
    JournalNewerError,
    JournalWriteError,
)
from alphatrade_pipelines.journal.port import JournalReading, JournalStore
from alphatrade_pipelines.journal.reading import JournalReader
from alphatrade_pipelines.journal.runs import PreviousRun, RunEnd, Start, classify_run, open_journal, start_from
from alphatrade_pipelines.journal.showing import Filter, ShownEvent, show_events, show_journal, symbol_of, verify_journal
from alphatrade_pipelines.journal.snapshots import Snapshotter
from alphatrade_pipelines.journal.sqlite import SqliteJournal

__all__ = [
    "Filter",
    "JournalDamagedError",
    "JournalError",
    "JournalFencedError",
    "JournalLockedError",
    "JournalNewerError",
    "JournalReader",
    "JournalReading",
    "JournalStore",
    "JournalWriteError",
    "Link",
    "PreviousRun",
    "Row",
    "RunEnd",
    "ShownEvent",
    "Snapshotter",
    "SqliteJournal",
    "Start",
    "Verification",
    "classify_run",
    "open_journal",
    "show_events",
    "show_journal",
    "start_from",
    "symbol_of",
    "verify_journal",
]
