"""The journal: an append-only, hash-chained event store; the truth from which every state is rebuilt."""

from __future__ import annotations

from alphatrade_pipelines.journal.chain import Verification
from alphatrade_pipelines.journal.errors import JournalDamagedError, JournalError, JournalLockedError
from alphatrade_pipelines.journal.runs import (
    PreviousRun,
    RunEnd,
    ShownEvent,
    classify_run,
    open_journal,
    show_journal,
    symbol_of,
    verify_journal,
)
from alphatrade_pipelines.journal.sqlite import JournalReader, SqliteJournal

__all__ = [
    "JournalDamagedError",
    "JournalError",
    "JournalLockedError",
    "JournalReader",
    "PreviousRun",
    "RunEnd",
    "ShownEvent",
    "SqliteJournal",
    "Verification",
    "classify_run",
    "open_journal",
    "show_journal",
    "symbol_of",
    "verify_journal",
]
