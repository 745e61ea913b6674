"""The heartbeat file: proof of life of a session, readable by a probe, a sensor or a person."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """``at`` is wall-clock UTC (is the process alive?), ``venue_at`` the broker's time it has reached (does it make progress?);
    ``degraded``: what is wrong right now, one line a part."""

    at: datetime
    venue_at: datetime | None
    pid: int
    run_id: str
    mode: str
    state: str
    streams_up: bool
    naked: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    def age_s(self, now: datetime) -> float:
        """Seconds since it was written."""
        return (now - self.at).total_seconds()


def write_heartbeat(path: Path, beat: Heartbeat) -> None:
    """Replace the file in one step; on a full disk, overwrite it where it is. Raises OSError when that fails too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, text = path.with_name(f".{path.name}.{beat.pid}"), json.dumps(asdict(beat), default=str)
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        with path.open("r+") as file:
            file.write(text)
            file.truncate()


def read_heartbeat(path: Path) -> Heartbeat | None:
    """The last heartbeat; None when there never was one. Raises ValueError when the file is not a heartbeat."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    try:
        times = {name: datetime.fromisoformat(content[name]).astimezone(UTC) if content[name] else None for name in ("at", "venue_at")}
        lists = {name: tuple(content.get(name, ())) for name in ("naked", "degraded")}
        return Heartbeat(**{**content, **times, **lists})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected a heartbeat in {path}, found something else: {error}") from error
