"""Requests of people and jobs to a running session, through a folder: one file a request, taken once, kept as a record.

Files appear by rename, so a half-written request is never read; where there is no room for its text, the name of an empty file says what is
asked. The session moves a request to ``taken/`` once it stands in the journal:
one that a crash came before is heard by the next session, at worst a second time, which does no harm to any of them. A session that ends
in peace carries nothing over to the next.
"""

from __future__ import annotations

import errno
import json
import os
import uuid
from pathlib import Path

import structlog

from alphatrade_pipelines.live.inbox import OperatorRequest

log = structlog.get_logger(__name__)
REQUESTS = ("flatten", "halt", "resume", "reset_breakers")


class ControlInbox:
    """``ask`` from anywhere; ``take`` in the session, and ``settle`` what it has acted upon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken = folder / "taken"
        self._handed_out: set[str] = set()

    def ask(self, request: str, who: str) -> str:
        """Leave a request for the session; returns its id. Raises ValueError for an unknown one."""
        if request not in REQUESTS:
            raise ValueError(f"unknown request {request!r}: expected one of {', '.join(REQUESTS)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting = len(list(self.folder.glob("*.json"))) + len(list(self._taken.glob("*.json")))
        name = f"{waiting:08d}-{uuid.uuid4().hex}"
        temporary = self.folder / f".{name}"
        try:
            temporary.write_text(json.dumps({"request": request, "who": who}))
            os.replace(temporary, self.folder / f"{name}.json")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.replace(temporary, self.folder / f"{name}.{request}.json")  # a full disk still takes a name
        return name

    def take(self) -> list[OperatorRequest]:
        """Waiting requests, oldest first; each is handed out once. An unreadable file is set aside and logged."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            if path.name in self._handed_out:
                continue
            self._handed_out.add(path.name)
            try:
                text = path.read_text()
                content = json.loads(text) if text else {"request": Path(path.stem).suffix[1:], "who": "somebody, on a full disk"}
                found.append(OperatorRequest(str(content["request"]), str(content["who"]), path.name))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.error("unreadable operator request", path=str(path), error=str(error))
                self.settle(path.name)
        return found

    def dismiss(self) -> list[str]:
        """Set aside what came too late for a session that ends, so that the next one, days later perhaps, does not act on it."""
        unheard = []
        for path in sorted(self.folder.glob("*.json")):
            unheard.append(path.name)
            self.settle(path.name)
        return unheard

    def settle(self, name: str) -> None:
        """The request is in the journal: keep its file as a record."""
        try:
            self._taken.mkdir(exist_ok=True)
            os.replace(self.folder / name, self._taken / name)
        except OSError as error:  # somebody took it away, or the disk is full: this session will not hand it out again
            log.error("an operator request could not be set aside", request=name, error=str(error))
