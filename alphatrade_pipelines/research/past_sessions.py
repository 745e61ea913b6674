"""The journals that sessions left, with settings applied: which is the newest, which mentions an order, what is in one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.settings import Settings

if TYPE_CHECKING:
    from alphatrade_pipelines.trading.events import Event


def journal_files(settings: Settings) -> list[Path]:
    """Journals of the mode in force, newest first."""
    return bootstrap.journal_places(settings, f"{settings.mode}-*")


def newest_journal(settings: Settings) -> Path:
    """The journal written last in the mode in force. Raises ``SetupError`` before any session."""
    found = journal_files(settings)
    if not found:
        raise bootstrap.SetupError(f"no journal of mode {settings.mode} under {settings.folders.journals}: run a session first")
    return found[0]


def journal_with(settings: Settings, client_order_id: str) -> Path:
    """The newest journal, of any mode, that mentions an order id; the newest one of all when none does (its error then names near ids)."""
    for path in bootstrap.journal_places(settings, "*"):
        if any(client_order_id in repr(event) for event in read_events(settings, path)):
            return path
    return newest_journal(settings)


def read_events(settings: Settings, path: Path) -> list[Event]:
    """All events of a journal, oldest first."""
    with bootstrap.journal_reader(settings, path) as reader:
        return [event for _, event in reader.events()]
