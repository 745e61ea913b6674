"""What can go wrong with a journal."""

from __future__ import annotations


class JournalError(RuntimeError):
    """The journal could not do what was asked; nothing of the request was stored."""


class JournalLockedError(JournalError):
    """Another process writes to this journal."""


class JournalDamagedError(JournalError):
    """The file is not a sound journal: tampered with, cut, or corrupt. ``seq`` names the first bad row when known."""

    def __init__(self, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.seq = seq
