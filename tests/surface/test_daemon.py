"""Dagster's own daemon over a real home: it must launch what the sensors ask for, once, and end what the watchdog calls dead."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from alphatrade_pipelines.research import tracking
from tests.surface.house import instance_of, settings_of
from tests.surface.test_watchdog import HANGING, beat, live_run
from tests.tools.homes import ROOT, house_environment

WITHIN_S = 240.0
# nothing kept back makes the champion half a year old; a small model keeps the retrain short
OLDER = {"RESEARCH__HOLDOUT_SESSIONS": "0", "MODEL__ITERATIONS": "20", "MODEL__FOLDS": "3", "MODEL__INNER_FOLDS": "2"}


@contextmanager
def daemon(home: Path) -> Iterator[Path]:
    """`dagster-daemon run` with the code of the house; yields its log."""
    output = home.parent / "daemon.log"
    command = [str(Path(sys.executable).parent / "dagster-daemon"), "run", "-w", str(ROOT / "workspace.yaml")]
    environment = house_environment(home, **OLDER) | {"DAGSTER_HOME": str(home / "dagster")}
    with output.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield output
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait(happened: Callable[[], bool], what: str, log: Path) -> None:
    until = time.monotonic() + WITHIN_S
    while not happened():
        assert time.monotonic() < until, f"{what} did not happen:\n{log.read_text()[-4000:]}"
        time.sleep(0.5)


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_daemon_retrains_a_stale_champion_once_and_ends_a_hanging_trader(own_home: Path) -> None:
    settings = settings_of(own_home)
    with instance_of(own_home) as instance:
        dead = live_run(instance, settings)
        hanging = subprocess.Popen(
            [sys.executable, "-c", HANGING, str(settings.folders.live / "sim.lock"), dead.run_id],
            cwd=ROOT,
            env=house_environment(own_home),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert hanging.stdout is not None
            assert hanging.stdout.readline().strip() == "holding"
            beat(settings, dead.run_id, hanging.pid, age_s=settings.live.heartbeat_timeout_s + 60)

            def asked() -> list[dg.DagsterRun]:
                return list(instance.get_runs(dg.RunsFilter(job_name="retrain", tags={"alphatrade/trigger": "model_staleness"})))

            with daemon(own_home) as log:
                wait(lambda: hanging.poll() is not None, "the end of the hanging trader", log)
                wait(lambda: bool(asked()), "a retrain", log)
                wait(lambda: asked()[0].is_finished, "the end of the retrain", log)
        finally:
            hanging.kill()
            hanging.wait(10)
        found = instance.get_run_by_id(dead.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.FAILURE
        (retrain,) = asked()
        assert retrain.status is dg.DagsterRunStatus.SUCCESS
        assert retrain.tags["dagster/partition"] == "2013"
        assert retrain.tags["dagster/sensor_name"] == "model_staleness"
    newer = tracking.registry(settings).version("2")
    assert newer.tags["dagster.run_id"] == retrain.run_id
    assert "challenger" in newer.aliases
