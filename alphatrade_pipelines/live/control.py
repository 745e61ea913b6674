"""Requests of people and jobs to a running session, through a folder: one file a request, taken once, kept as a record.

Files appear by rename, so a half-written request is never read. The session moves what it has taken to ``taken/``.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import structlog

from alphatrade_pipelines.live.inbox import OperatorRequest

log = structlog.get_logger(__name__)
REQUESTS = ("flatten", "halt", "resume", "reset_breakers")


class ControlInbox:
    """``ask`` from anywhere, ``take`` in the session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken = folder / "taken"

    def ask(self, request: str, who: str) -> str:
        """Leave a request for the session; returns its id. Raises ValueError for an unknown one."""
        if request not in REQUESTS:
            raise ValueError(f"unknown request {request!r}: expected one of {', '.join(REQUESTS)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting = len(list(self.folder.glob("*.json"))) + len(list(self._taken.glob("*.json")))
        name = f"{waiting:08d}-{uuid.uuid4().hex}"
        temporary = self.folder / f".{name}"
        temporary.write_text(json.dumps({"request": request, "who": who}))
        os.replace(temporary, self.folder / f"{name}.json")
        return name

    def take(self) -> list[OperatorRequest]:
        """Waiting requests, oldest first; each is handed out once. An unreadable file is set aside and logged."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            self._taken.mkdir(exist_ok=True)
            kept = self._taken / path.name
            os.replace(path, kept)
            try:
                content = json.loads(kept.read_text())
                found.append(OperatorRequest(str(content["request"]), str(content["who"])))
            except (ValueError, KeyError, TypeError) as error:
                log.error("unreadable operator request", path=str(kept), error=str(error))
        return found
