"""Shared fixtures. A capability a user may lack makes a test skip with its reason; under CI (ALPHATRADE_CI) that skip is a failure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

# a landing must not depend on the luck of the draw; everywhere else each run looks at new examples
settings.register_profile("ci", derandomize=True)
if os.environ.get("ALPHATRADE_CI"):
    settings.load_profile("ci")

# workers are told how wide the terminal is; consoles made at import would keep to that whatever a test asks for
os.environ.pop("COLUMNS", None)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the defaults, not the developer's settings; loopback never goes through a proxy; nobody calls home."""
    for name in list(os.environ):
        if name.startswith("ALPHATRADE_") and name not in {"ALPHATRADE_CI", "ALPHATRADE_DATA"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for name, value in {"DAGSTER_DISABLE_TELEMETRY": "1", "GX_ANALYTICS_ENABLED": "False", "MLFLOW_DISABLE_TELEMETRY": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def lacking(reason: str) -> None:
    """Skip because this machine lacks something a user may lack too; fail instead where CI promises to have it."""
    if os.environ.get("ALPHATRADE_CI"):
        pytest.fail(f"CI must have it: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of real market data used by some tests only."""
    folder = Path(os.environ.get("ALPHATRADE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        lacking(f"no market data at {folder}; set ALPHATRADE_DATA")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium binary."""
    path = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if path is None:
        lacking("no Chromium on PATH")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def sealed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the retrain walk ran once over the sample: bars, features, a promoted model. Only to be copied: whoever
    opens its databases lets their side files come and go under the copying of another worker.
    """
    from tests.tools.homes import run_job

    # several workers share one: who comes first trains, the others wait
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.mktemp("sealed")
    home, sealed = shared / "sealed_home", shared / "sealed_home.done"
    with FileLock(shared / "sealed_home.lock"):
        if not sealed.exists():
            run_job(home, "retrain")
            sealed.touch()
    return home


@pytest.fixture(scope="session")
def trained_home(sealed_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This worker's copy of the trained home, to be read by its tests."""
    from tests.tools.homes import copy_home

    return copy_home(sealed_home, tmp_path_factory.mktemp("trained") / "home")
