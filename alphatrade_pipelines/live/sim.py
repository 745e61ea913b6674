"""The local venue as a process of its own, which outlives the session: killed and relaunched, a session finds account and market as
they were. Each launch has a folder with the venue's state file, its log and the session's journal; ``current.json`` names the latest.

The venue is only ever talked to over HTTP and WebSockets, exactly as Alpaca would be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import requests
import structlog

from alphatrade_pipelines.market.sessions import SessionCalendar

log = structlog.get_logger(__name__)
READY_WITHIN_S = 60.0


class VenueProcessError(RuntimeError):
    """The local venue did not start, or what answers is not the venue that was started."""


@dataclass(frozen=True, slots=True)
class VenueSpec:
    """What to play. ``bars``: ``sample``, ``synthetic``, or the path of a bar store; ``start`` outside session hours; no session that opens
    after ``end`` is played. ``idle_exit_s``: an abandoned venue ends by itself."""

    bars: str
    start: datetime
    end: datetime | None
    symbols: tuple[str, ...]
    cash: Decimal = Decimal(100_000)
    profile: str = "pessimistic"
    seed: int = 7
    idle_exit_s: float = 900.0

    def arguments(self, state_file: Path) -> list[str]:
        """Command line of the venue."""
        return [
            "--bars", self.bars,
            "--start", self.start.isoformat(),
            *([] if self.end is None else ["--end", self.end.isoformat()]),
            "--symbols", ",".join(self.symbols),
            "--cash", str(self.cash),
            "--profile", self.profile,
            "--seed", str(self.seed),
            "--step",
            "--idle-exit", str(self.idle_exit_s),
            "--state-file", str(state_file),
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunningVenue:
    """A venue that answers. ``folder`` belongs to its launch; the journal of its account lives there."""

    url: str
    token: str
    pid: int
    folder: Path
    attached: bool

    @property
    def journal(self) -> Path:
        return self.folder / "journal.sqlite"

    def state(self) -> dict[str, Any]:
        """``/admin/state``. Raises VenueProcessError when it does not answer."""
        return self._ask("GET", "state")

    def ledger(self) -> dict[str, Any]:
        """``/admin/ledger``: what really happened."""
        return self._ask("GET", "ledger")

    def shut_down(self) -> None:
        """End the venue; its folder stays."""
        self._ask("POST", "shutdown")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.request(method, f"{self.url}/admin/{path}", headers={"X-Admin-Token": self.token}, timeout=10)
                answer.raise_for_status()
                content: dict[str, Any] = answer.json()
            except (requests.RequestException, ValueError) as error:
                raise VenueProcessError(f"the venue at {self.url} does not answer: {type(error).__name__}") from error
        return content


def sessions_to_play(venue: RunningVenue, spec: VenueSpec, calendar: SessionCalendar) -> int:
    """Sessions of the whole run, those already played included."""
    last = pd.Timestamp(str(venue.state()["last_session"]))
    opens = calendar.sessions(spec.start, last)["open"]
    return int(((opens > spec.start) & (opens <= (spec.end or opens.iloc[-1]))).sum())


def attach_or_launch(root: Path, spec: VenueSpec) -> RunningVenue:
    """The venue of ``root`` if one is alive with its tape unfinished and was asked for the same thing; else a fresh one.

    Raises: VenueProcessError when a fresh one does not come up, with the end of its log.
    """
    found = attach(root)
    if found is not None:
        if _asked(found.folder) == spec.arguments(found.folder / "venue.json"):
            return found
        log.info("the running venue was asked for something else, ending it", folder=str(found.folder))
        found.shut_down()
    return launch(root, spec)


def attach(root: Path) -> RunningVenue | None:
    """The venue of the latest launch, if it is alive and its tape is unfinished."""
    pointer = root / "current.json"
    if not pointer.is_file():
        return None
    folder = root / json.loads(pointer.read_text())["folder"]
    venue = _read_state(folder, attached=True)
    if venue is None:
        return None
    try:
        return None if venue.state()["done"] else venue
    except VenueProcessError:
        return None


def launch(root: Path, spec: VenueSpec) -> RunningVenue:
    """Start a venue, detached, and wait until it answers."""
    folder = root / f"sim-{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    state_file = folder / "venue.json"
    arguments = spec.arguments(state_file)
    (folder / "arguments.json").write_text(json.dumps(arguments))
    with (folder / "venue.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "alphatrade_pipelines.venue", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a signal to the session's process group must not end the market
        )
    venue = _wait_until_ready(process, folder)
    temporary = root / f".current-{folder.name}"
    temporary.write_text(json.dumps({"folder": folder.name}))
    os.replace(temporary, root / "current.json")
    return venue


def _wait_until_ready(process: subprocess.Popen[bytes], folder: Path) -> RunningVenue:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until:
        venue = _read_state(folder, attached=False)
        if venue is not None:
            return venue
        if process.poll() is not None:
            break
        time.sleep(0.02)
    else:
        process.kill()
    tail = (folder / "venue.log").read_text(errors="replace")[-2000:]
    raise VenueProcessError(f"the local venue did not come up (exit code {process.poll()}); the end of its log:\n{tail}")


def _read_state(folder: Path, attached: bool) -> RunningVenue | None:
    try:
        content = json.loads((folder / "venue.json").read_text())
        token = Path(content["admin_token_file"]).read_text()
        return RunningVenue(content["url"], token, int(content["pid"]), folder, attached)
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise VenueProcessError(f"{folder / 'venue.json'} is not a venue's state file: {error}") from error


def _asked(folder: Path) -> list[str]:
    try:
        content: list[str] = json.loads((folder / "arguments.json").read_text())
        return content
    except (FileNotFoundError, json.JSONDecodeError):
        return []
