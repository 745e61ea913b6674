"""Looking at a journal: filtered events, and the verdict on a file."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from alphatrade_pipelines.journal.chain import Verification
from alphatrade_pipelines.journal.errors import JournalDamagedError
from alphatrade_pipelines.journal.port import JournalReading
from alphatrade_pipelines.journal.reading import JournalReader
from alphatrade_pipelines.trading.events import Event


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """One line of ``journal show``."""

    seq: int
    at: datetime
    kind: str
    event: Event


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a person wants to see: type names, one symbol, from and until (inclusive) times, text anywhere in the event."""

    kinds: frozenset[str] = frozenset()
    symbol: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""

    def admits(self, event: Event) -> bool:
        """Whether an event passes."""
        return (
            (not self.kinds or type(event).__name__ in self.kinds)
            and (not self.symbol or symbol_of(event) == self.symbol)
            and (self.since is None or event.at >= self.since)
            and (self.until is None or event.at <= self.until)
            and (not self.text or self.text in repr(event))
        )


def show_events(journal: JournalReading, wanted: Filter, last: int | None = 50, from_seq: int = 1) -> list[ShownEvent]:
    """The last ``last`` events (None = all) that pass, oldest first."""
    kept: deque[ShownEvent] = deque(maxlen=last)
    for seq, event in journal.events(from_seq):
        if wanted.admits(event):
            kept.append(ShownEvent(seq, event.at, type(event).__name__, event))
    return list(kept)


def show_journal(path: str | Path, *, last: int | None = 50, kind: str | None = None, symbol: str | None = None) -> list[ShownEvent]:
    """The last ``last`` events of a file (None = all), optionally of one type name or of one symbol, oldest first."""
    with JournalReader(path) as reader:
        return show_events(reader, Filter(frozenset({kind} if kind else ()), symbol or ""), last)


def verify_journal(path: str | Path) -> Verification:
    """Check a journal file without writing to it. A file that is no journal at all gives a Verification with its problem.

    Raises JournalError when there is no file, JournalNewerError when a newer release wrote it.
    """
    try:
        with JournalReader(path) as reader:
            return reader.verify()
    except JournalDamagedError as error:
        return Verification(str(path), 0, "", error.seq, str(error))


def symbol_of(event: Event) -> str | None:
    """The symbol an event is about, if it is about one."""
    for holder in (event, *(getattr(event, name, None) for name in ("signal", "request", "order"))):
        found = getattr(holder, "symbol", None)
        if isinstance(found, str):
            return found
    return None
