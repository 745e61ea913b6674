"""Snapshots: what the events up to a row come to, so that a start need not begin at the first row. A cache, never a truth.

A snapshot is used only when everything about it fits: written by this very code (hash of the sources that fold events), in this schema,
taken after a row whose hash is still the one noted, and reading back to the fingerprint it was written with. Otherwise it is ignored,
and an older one, or a replay from the first row, takes its place.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import structlog

from alphatrade_pipelines.journal.chain import START, Link, Row, row_hash
from alphatrade_pipelines.journal.errors import HOSTILE, JournalDamagedError, JournalWriteError
from alphatrade_pipelines.journal.port import JournalStore
from alphatrade_pipelines.trading.codec import SCHEMA_VERSION, from_plain, to_plain

log = structlog.get_logger(__name__)
FORMAT = 1
FOLDING_ROOMS = ("alphatrade_pipelines.trading", "alphatrade_pipelines.risk")
Parts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was kept after row ``link.seq``: one dataclass a name, and the fingerprint of each."""

    link: Link
    parts: Parts
    fingerprints: Mapping[str, str]


def fingerprint(part: Any) -> str:
    """SHA-256 of a dataclass in plain form; of the core's state it is ``CoreState.fingerprint``."""
    text = json.dumps(to_plain(part), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version(modules: tuple[str, ...]) -> str:
    """SHA-256 over the sources of the core and of ``modules``: other code may fold the same events to another state."""
    files = {Path(str(importlib.import_module(name).__file__)) for name in modules}
    for room in FOLDING_ROOMS:
        files.update(Path(str(importlib.import_module(room).__file__)).parent.glob("*.py"))
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.parent.name}/{path.name}\n".encode() + path.read_bytes() + b"\n")
    return digest.hexdigest()


def write_snapshot(link: Link, parts: Parts) -> str:
    """The text of a snapshot. Dictionaries keep their order: it is part of some states."""
    plain = {name: to_plain(part) for name, part in parts.items()}
    marks = {name: fingerprint(part) for name, part in parts.items()}
    record = {
        "format": FORMAT,
        "schema": SCHEMA_VERSION,
        "code": _code_of({name: type(part) for name, part in parts.items()}),
        "seq": link.seq,
        "head": link.hash,
        "fingerprints": marks,
        "parts": plain,
    }
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def read_snapshot(text: str, kinds: Mapping[str, type[Any]]) -> Snapshot:
    """The snapshot of a text. Raises ValueError saying what does not fit: format, schema, code, content."""
    try:
        return _read(text, kinds)
    except HOSTILE as error:
        raise ValueError(str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}") from error


def _read(text: str, kinds: Mapping[str, type[Any]]) -> Snapshot:
    record = json.loads(text)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"expected a snapshot of format {FORMAT}")
    for name, expected in (("schema", SCHEMA_VERSION), ("code", _code_of(kinds))):
        if record.get(name) != expected:
            raise ValueError(f"written by another release: its {name} is {str(record.get(name))[:12]}, here it is {str(expected)[:12]}")
    if record["parts"].keys() != kinds.keys():
        raise ValueError(f"expected {sorted(kinds)}, found {sorted(record['parts'])}")
    parts = {name: from_plain(kind, record["parts"][name]) for name, kind in kinds.items()}
    for name, part in parts.items():
        if fingerprint(part) != record["fingerprints"][name]:
            raise ValueError(f"{name} does not read back to its fingerprint")
    return Snapshot(Link(int(record["seq"]), str(record["head"])), parts, record["fingerprints"])


def newest_snapshot(store: JournalStore, kinds: Mapping[str, type[Any]], to_seq: int | None = None) -> Snapshot | None:
    """The newest snapshot (of a row up to ``to_seq``) that fits code, schema and chain; those that do not are logged and passed over."""
    for seq, text in store.snapshots():
        if to_seq is not None and seq > to_seq:
            continue
        try:
            snapshot = read_snapshot(text, kinds)
            if snapshot.link.seq != seq or not follows(store, snapshot.link):
                raise ValueError(f"the journal's row {snapshot.link.seq} is not the one it was taken after")
            return snapshot
        except ValueError as error:
            log.warning("snapshot ignored", seq=seq, why=str(error))
    return None


def follows(store: JournalStore, link: Link) -> bool:
    """Whether the journal leads through this place: it has that very row, or, where that row is lost, the next one was chained to it."""
    if link in (START, store.link):
        return True
    if not 0 < link.seq < len(store):
        return False
    row = _row_at(store, link.seq)
    if row is not None:
        return row.hash == link.hash
    following = _row_at(store, link.seq + 1)
    return following is not None and following.hash == row_hash(link.hash, following.seq, following.body)


def _row_at(store: JournalStore, seq: int) -> Row | None:
    """A row of a segment that is there and can be read."""
    try:
        return next(iter(store.rows(seq, seq)), None)
    except (JournalDamagedError, JournalWriteError):
        return None


class Snapshotter:
    """Keeps a snapshot every ``every`` events, and begins a new segment then if the present one is long enough."""

    def __init__(self, store: JournalStore, last: int = 0, every: int = 20_000) -> None:
        self._store, self._last, self._every = store, last, every

    def offer(self, parts: Callable[[], Parts]) -> bool:
        """Take one if it is due. ``parts`` must be exactly what the stored events come to: nothing may be waiting to be stored."""
        if len(self._store) - self._last < self._every:
            return False
        self.take(parts())
        return True

    def take(self, parts: Parts) -> None:
        """Take one now."""
        link = self._store.link
        self._store.save_snapshot(link.seq, write_snapshot(link, parts))
        self._last = link.seq
        self._store.rotate()


def _code_of(kinds: Mapping[str, type[Any]]) -> str:
    return code_version(tuple(sorted({kind.__module__ for kind in kinds.values()})))
