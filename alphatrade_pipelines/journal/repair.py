"""What becomes of damaged SQLite segments: kept under another name, and what is sound of them written anew. Nothing is ever deleted.

Every step leaves either the old file or a whole new one, so that a kill or a full disk in between is made good by the next start.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import structlog

from alphatrade_pipelines.journal import segment
from alphatrade_pipelines.journal.chain import START, Link, Row, verify_rows
from alphatrade_pipelines.journal.errors import JournalDamagedError, JournalWriteError
from alphatrade_pipelines.journal.port import SetAside

log = structlog.get_logger(__name__)


def finish_salvages(path: Path) -> None:
    """A salvage that was killed: put the new file in the damaged one's place, or drop it while the damaged one still is there."""
    for leftover in path.parent.glob(f"{path.name}*.salvaged"):
        original = leftover.with_name(leftover.name.removesuffix(".salvaged"))
        if original.exists():
            leftover.unlink()
        else:
            segment.clear_sides(original)
            os.replace(leftover, original)


def set_aside_broken(path: Path, damage: list[SetAside]) -> None:
    """Old segments are looked at without being read: one that cannot be opened or does not lead to the next is set aside (``damage``)."""
    for (_, older), (_, following) in pairwise(segment.find_segments(path)):
        try:
            problem = _fault_between(older, following)
        except JournalWriteError as error:  # somebody holds it, or we may not read it: no start from a snapshot needs it
            log.error("old segment not checked", path=str(older), error=str(error))
            continue
        if problem:
            name = segment.set_aside(older).name
            detail = f"old segment {older.name} was damaged ({problem}); it is kept as {name}"
            damage.append(SetAside(name, detail, lossy=False))


def rescue(path: Path, first: int, file: Path, cause: JournalDamagedError) -> tuple[Path, int, SetAside]:
    """The newest segment, ``file``, cannot be opened: keep what can be read of it, from its beginning to the first fault.

    Returns the segment to go on with, the number of its last row, and what was set aside.
    """
    base = _base_before(path, first)
    rows = _readable(first, file, base)
    target = segment.name_of(path, base.seq + 1)  # the first one, when nothing sound comes before
    name = _write_anew(file, target, base, rows)
    detail = f"the journal was damaged ({cause}); it is kept as {name}, {len(rows)} sound events were taken over"
    return target, base.seq + len(rows), SetAside(name, detail, lossy=True)


def go_back(path: Path, link: Link, names: list[str]) -> Path:
    """Set aside everything after row ``link.seq`` (0: everything); ``names`` gets the new names. Returns the segment to go on with."""
    found = segment.find_segments(path)
    for _, dropped in reversed([item for item in found if item[0] > link.seq]):
        names.append(segment.set_aside(dropped).name)
    kept = [item for item in found if item[0] <= link.seq]
    if not kept:
        segment.create_segment(path, START)
        return path
    first, newest = kept[-1]
    with contextlib.closing(segment.open_for_reading(newest)) as connection:
        base = segment.base_of(newest, connection)
        needs_cut = segment.last_link(connection, base) != link
    if needs_cut:
        names.append(_write_anew(newest, newest, base, [row for row in _readable(first, newest, base) if row.seq <= link.seq]))
    return newest


def _base_before(path: Path, first: int) -> Link:
    """The link a segment must follow, from the one before it; the very beginning when that one is gone."""
    earlier = [file for seq, file in segment.find_segments(path) if seq < first]
    if not earlier:
        return START
    with contextlib.closing(segment.open_for_reading(earlier[-1])) as connection:
        return segment.last_link(connection, segment.base_of(earlier[-1], connection))


def _fault_between(path: Path, following: Path) -> str:
    """Why a sealed segment is not what the next one follows; empty when it is."""
    try:
        with contextlib.closing(segment.open_for_reading(following)) as connection:
            expected = segment.base_of(following, connection)
    except JournalDamagedError:
        return ""  # the next one is at fault, and is judged by itself
    try:
        with contextlib.closing(segment.open_for_reading(path)) as connection:
            last = segment.last_link(connection, segment.base_of(path, connection))
    except JournalDamagedError as error:
        return str(error)
    return "" if last == expected else f"it ends with row {last.seq}, the next one follows row {expected.seq}"


def _readable(first: int, path: Path, base: Link) -> list[Row]:
    """Rows of a damaged file from its beginning to the first one that cannot be read or does not follow."""
    rows = list[Row]()
    with contextlib.suppress(JournalDamagedError), contextlib.closing(segment.open_for_reading(path)) as connection:
        rows.extend(segment.read_rows(connection, first, segment.END))
    return rows[: verify_rows(str(path), rows, base).events - base.seq]


def _write_anew(path: Path, target: Path, base: Link, rows: Sequence[Row]) -> str:
    """Write the sound rows of a damaged segment to ``target`` (mostly its own name); the damaged file is kept, under the name returned.

    The new file is whole before the old one is touched: a kill or a full disk in between leaves one or the other.
    """
    salvaged = target.with_name(target.name + ".salvaged")
    segment.create_segment(salvaged, base, rows)
    kept = segment.set_aside(path)
    try:
        os.replace(salvaged, target)
        segment.sync_folder(target.parent)
    except OSError as error:
        raise JournalWriteError(f"Cannot put {salvaged} in its place: {error}") from error
    return kept.name
