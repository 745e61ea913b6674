"""Rebuilding the state from the first event, for people: what it comes to, and whether the snapshots on the way agree."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from alphatrade_pipelines.journal.chain import START, Link, checked_events
from alphatrade_pipelines.journal.errors import HOSTILE
from alphatrade_pipelines.journal.port import JournalReading
from alphatrade_pipelines.journal.runs import Fold, LastRun, PreviousRun, fold_row
from alphatrade_pipelines.journal.snapshots import Parts, fingerprint, read_snapshot


@dataclass(frozen=True, slots=True)
class Compared:
    """A snapshot against the replay. ``wrong``: this very release wrote it, and yet it differs."""

    seq: int
    verdict: str
    equal: bool
    wrong: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """What the events up to ``link`` come to. ``seconds`` of wall time."""

    parts: Parts
    link: Link
    previous: PreviousRun
    snapshots: tuple[Compared, ...]
    seconds: float


def replay(journal: JournalReading, to_seq: int | None, new: Callable[[], Parts], fold: Fold) -> Replay:
    """Fold every event up to ``to_seq``, checking each row. Raises JournalDamagedError at the first unsound row."""
    texts = {seq: text for seq, text in journal.snapshots() if to_seq is None or seq <= to_seq}
    parts, run, last, compared = new(), LastRun(), START, list[Compared]()
    began = time.perf_counter()
    for row, event in checked_events(journal.rows(1, to_seq), START):
        fold_row(fold, parts, row, event)
        run.add(row.seq, event)
        last = Link(row.seq, row.hash)
        if row.seq in texts:
            compared.append(_compare(texts[row.seq], {"run": run, **parts}, last))
    return Replay(parts, last, run.judged(), tuple(compared), time.perf_counter() - began)


def _compare(text: str, parts: Parts, link: Link) -> Compared:
    try:
        record = json.loads(text)
        head, marks = record["head"], record["fingerprints"]
    except HOSTILE:
        return Compared(link.seq, "unreadable, and therefore not used", equal=False, wrong=False)
    if head != link.hash:
        return Compared(link.seq, "taken after another row, and therefore not used", equal=False, wrong=False)
    if {name: fingerprint(part) for name, part in parts.items()} == marks:
        return Compared(link.seq, f"equal to the replay, fingerprint {marks['core'][:16]}", equal=True, wrong=False)
    try:
        read_snapshot(text, {name: type(part) for name, part in parts.items()})
    except ValueError as error:
        return Compared(link.seq, f"differs, and is not used: {error}", equal=False, wrong=False)
    return Compared(link.seq, "DIFFERS from the replay", equal=False, wrong=True)
