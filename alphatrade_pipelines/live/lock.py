"""One live session per account folder: an advisory lock that the operating system releases when its process dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class SecondSessionError(RuntimeError):
    """Another process already trades this account; it must end first."""


class SessionLock:
    """Held while the ``with`` block runs. ``path`` says who holds it, for people and for the error of a second session."""

    def __init__(self, path: Path, run_id: str) -> None:
        self.path, self._run_id = path, run_id
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock. Raises: SecondSessionError naming the process and run that hold it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise SecondSessionError(
                f"a live session already runs ({holder}): stop it first, or wait for its end. Lock file: {self.path}"
            ) from error
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same, it only does not say for whom
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "run_id": self._run_id}).encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def _holder(descriptor: int) -> str:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {content['pid']}, run {content['run_id']}"
    except (ValueError, KeyError, TypeError):
        return "process unknown"
