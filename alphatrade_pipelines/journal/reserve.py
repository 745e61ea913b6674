"""Room kept for bad times: a file of real blocks that is given back when the disk is full, so that exits can still be journaled."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


class Reserve:
    """``size`` bytes beside the journal. ``held`` while they are there to be freed."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self._size = path, size

    @property
    def held(self) -> bool:
        try:
            return self._size == 0 or self.path.stat().st_size >= self._size
        except OSError:  # not there, or on a disk that does not even say so
            return False

    def has_room(self) -> bool:
        """Enough free space to take the reserve back without using the disk up again."""
        try:
            found = os.statvfs(self.path.parent)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize >= 2 * self._size

    def take(self) -> bool:
        """Allocate the blocks; False (and nothing left behind) when there is no room for them."""
        if self.held:
            return True
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("no room for the journal's reserve", path=str(self.path), bytes=self._size, error=str(error))
            self.free()
            return False
        return True

    def free(self) -> bool:
        """Give the blocks back to the disk; whether that was possible: there were some, and the disk takes changes."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True
