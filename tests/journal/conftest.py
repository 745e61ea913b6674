from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.stories import Backend, RedisBackend, SqliteBackend
from tests.tools.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A durable server for all tests that leave it alive."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Every test of the contract runs over both stores."""
    if request.param == "sqlite":
        return SqliteBackend(tmp_path)
    return RedisBackend(tmp_path, request.getfixturevalue("redis_server"))
