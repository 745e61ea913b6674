"""Homes of the house for tests: made by a real job in its own process, and copied so that MLflow finds its files again."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from alphatrade_pipelines.live.sim import VenueProcessError, attach

ROOT = Path(__file__).resolve().parent.parent.parent
# MLflow writes addresses of artifacts as absolute paths into these columns
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def house_environment(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a child process that lives in ``home`` with these ``ALPHATRADE_`` settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALPHATRADE_") and name != "DAGSTER_HOME"}
    named = {f"ALPHATRADE_{name}": value for name, value in settings.items()}
    loopback = {"NO_PROXY": "127.0.0.1,localhost", "PYTHONPATH": str(ROOT), "ALPHATRADE_HOME": str(home)}
    return {**kept, **named, **loopback}


def run_job(home: Path, job: str, timeout_s: float = 300.0, **settings: str) -> str:
    """Run a job over all its periods in ``home``; returns the Dagster run id."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.run_job", str(home), job],
        cwd=ROOT,
        env=house_environment(home, **settings),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{job} failed:\n{done.stderr[-4000:]}"
    return done.stdout.strip().splitlines()[-1]


def copy_home(source: Path, target: Path) -> Path:
    """A home of its own that starts as ``source``; MLflow's addresses follow."""
    shutil.copytree(source, target)
    with sqlite3.connect(target / "mlflow" / "mlflow.db") as store:
        for table, column in _ADDRESSES:
            store.execute(f"update {table} set {column} = replace({column}, ?, ?)", (str(source), str(target)))
    store.close()
    return target


def end_venue(home: Path) -> None:
    """End the simulated exchange that a stopped session left alive."""
    with contextlib.suppress(VenueProcessError):  # it may end by itself in between
        venue = attach(home / "journals")
        if venue is not None:
            venue.shut_down()
