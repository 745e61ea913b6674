"""What a session remembers when it starts: core, counters, protection meter, all folded from the journal in one pass or from a snapshot."""

from __future__ import annotations

from alphatrade_pipelines.journal import JournalStore, Start, start_from
from alphatrade_pipelines.journal.snapshots import Parts
from alphatrade_pipelines.reporting.protection import ProtectionMeter
from alphatrade_pipelines.reporting.summary import Summary
from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.events import Event
from alphatrade_pipelines.trading.state import CoreState


def blank(core: CoreConfig | None = None) -> Parts:
    """The memory of an account nobody has traded yet."""
    return {"core": CoreState.initial(core or CoreConfig()), "summary": Summary(), "meter": ProtectionMeter()}


def fold(parts: Parts, event: Event) -> None:
    """Take one event into the memory."""
    apply(parts["core"], event)
    parts["summary"].add(event)
    parts["meter"].observe(parts["core"])


def remember(journal: JournalStore, core: CoreConfig | None = None) -> Start:
    """Bring the memory up to date with a journal; see ``start_from`` for what becomes of damage."""
    start = start_from(journal, lambda: blank(core), _fold_quickly)
    if start.parts["core"].now is not None:
        start.parts["meter"].observe(start.parts["core"])
    return start


def _fold_quickly(parts: Parts, event: Event) -> None:
    """As ``fold``, but the meter looks once a moment: of several looks at one time only the last one counts."""
    core = parts["core"]
    if core.now is not None and event.at > core.now:
        parts["meter"].observe(core)
    apply(core, event)
    parts["summary"].add(event)
