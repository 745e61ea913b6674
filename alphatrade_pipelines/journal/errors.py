"""What can go wrong with a journal."""

from __future__ import annotations

from alphatrade_pipelines.trading.engine import LogWriteError

# what a text or an event that is not what it claims to be makes of the code that reads it
HOSTILE = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError)


class JournalError(RuntimeError):
    """The journal could not do what was asked; nothing of the request was stored."""


class JournalWriteError(JournalError, LogWriteError):
    """Events cannot be stored now: no space, a read-only disk, a server that is gone. The same events may be offered again."""


class JournalLockedError(JournalError):
    """Another process writes to this journal."""


class JournalFencedError(JournalError):
    """Another writer has taken this journal over, or wrote to it beside us: this process must not act any more."""


class JournalNewerError(JournalError):
    """A newer release wrote this journal: nothing is damaged, but only that release can read it."""


class JournalDamagedError(JournalError):
    """The journal is not sound: tampered with, cut, or corrupt. ``seq`` names the first bad row when known."""

    def __init__(self, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.seq = seq
