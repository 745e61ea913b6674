"""A note of the last head beside the journal: how a start knows that acknowledged events are missing at the end.

A chain cut at its end is still a valid chain: a truncated file, or a Redis that failed over to an empty replica, would pass. After every
append the note says how far the journal had come. It is written without fsync, after the events are durable, so it can lag behind after a
power cut but never run ahead of what was acknowledged.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from alphatrade_pipelines.journal.chain import Link

log = structlog.get_logger(__name__)
_WIDTH = 20
_LOST = "0" * 64


class HeadNote:
    """One line of fixed length, overwritten in place: sequence number and hash."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def read(self) -> Link | None:
        """The last note; None when there is none or it cannot be read (which is logged)."""
        try:
            text = self.path.read_text("ascii")
            seq, head = text[:_WIDTH], text[_WIDTH + 1 : _WIDTH + 65]
            if len(head) != 64:
                raise ValueError(f"expected {_WIDTH + 66} characters, was {len(text)}")
            return Link(int(seq), head)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("note of the last head unreadable", path=str(self.path), error=str(error))
            return None

    def read_settled(self) -> Link | None:
        """As ``read``, while a session may be writing it: what two looks agree on is no half-written note."""
        one, other = self.read(), self.read()
        while one != other:
            one, other = other, self.read()
        return other

    def write(self, link: Link) -> None:
        """Overwrite the note. A note that cannot be written (full disk) is a weaker check at the next start, nothing more."""
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(self._descriptor, f"{link.seq:{_WIDTH}d} {link.hash}\n".encode("ascii"), 0)
        except OSError as error:
            log.warning("note of the last head not written", path=str(self.path), error=str(error))

    def write_loss(self, kept: int, had: int = 0) -> None:
        """Note that there were ``had`` rows and ``kept`` are left: until something new is stored, every start finds the end missing, not
        only the one that cut it."""
        noted = self.read()
        self.write(Link(max(kept + 1, had, noted.seq if noted else 0), _LOST))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
