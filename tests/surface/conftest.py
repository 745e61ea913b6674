"""Homes and instances of the surface's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import structlog

from tests.surface.house import instance_of
from tests.tools.homes import copy_home, end_venue


@pytest.fixture(autouse=True)
def _environment_of_dagster(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an instance sets for its process is undone after the test."""
    for name in ("DAGSTER_HOME", "ALPHATRADE_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _plain_structlog() -> Iterator[None]:
    """A command configures the log for its process and its captured stderr, which is closed after the test."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A real instance in an empty home, ``tmp_path / "home"``."""
    with instance_of(tmp_path / "home") as made:
        yield made


@pytest.fixture
def own_home(sealed_home: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the trained home, free to be changed; its simulated exchange is ended afterwards."""
    home = copy_home(sealed_home, tmp_path / "home")
    yield home
    end_venue(home)
