"""The watchdog against a real instance, a real lock and a really hanging process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from alphatrade_pipelines import trader
from alphatrade_pipelines.live.health import Heartbeat, write_heartbeat
from alphatrade_pipelines.settings import Settings
from tests.surface.house import repository, settings_of
from tests.tools.homes import ROOT, house_environment

# what a trader looks like from outside: it holds the session's lock, and hangs so hard that it hears no SIGTERM
HANGING = """
import signal, sys, time
from pathlib import Path
from alphatrade_pipelines.live.lock import SessionLock
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with SessionLock(Path(sys.argv[1]), sys.argv[2]):
    print("holding", flush=True)
    time.sleep(600)
"""


def live_run(instance: dg.DagsterInstance, settings: Settings) -> dg.DagsterRun:
    """A run of live_execution that Dagster believes to be running."""
    run = instance.create_run_for_job(repository(settings).get_job("live_execution"), status=dg.DagsterRunStatus.STARTED)
    assert instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    return run


def beat(settings: Settings, run_id: str, pid: int, age_s: float) -> None:
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    write_heartbeat(trader.heartbeat_path(settings, "sim"), Heartbeat(at, at, pid, run_id, "sim", "active", True))


def tick(settings: Settings, instance: dg.DagsterInstance) -> str:
    context = dg.build_sensor_context(instance=instance, resources={"settings": settings})
    return str(repository(settings).get_sensor_def("live_watchdog").evaluate_tick(context).skip_message)


@pytest.fixture
def settings(tmp_path: Path, instance: dg.DagsterInstance) -> Settings:
    return settings_of(tmp_path / "home")


@pytest.fixture
def hanging(settings: Settings, instance: dg.DagsterInstance) -> Iterator[tuple[dg.DagsterRun, subprocess.Popen[str]]]:
    """A STARTED run and the process behind it, which holds the lock of the session."""
    run = live_run(instance, settings)
    lock = settings.folders.live / "sim.lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING, str(lock), run.run_id],
        cwd=ROOT,
        env=house_environment(settings.home),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "holding"
        yield run, process
    finally:
        process.kill()
        process.wait(10)


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def test_a_hanging_trader_is_ended_and_its_run_fails(
    settings: Settings, instance: dg.DagsterInstance, hanging: tuple[dg.DagsterRun, subprocess.Popen[str]]
) -> None:
    run, process = hanging
    beat(settings, run.run_id, process.pid, age_s=settings.live.heartbeat_timeout_s + 60)
    assert f"process {process.pid}" in trader.running_session(settings)
    said = tick(settings, instance)
    assert process.wait(10) == -signal.SIGKILL
    assert run.run_id in said
    assert status_of(instance, run) is dg.DagsterRunStatus.FAILURE
    events = [record.event_log_entry.dagster_event for record in instance.get_records_for_run(run.run_id).records]
    told = [event.message or "" for event in events if event is not None]
    assert any("live_watchdog: last heartbeat" in text and "stuck process was ended" in text for text in told), told
    assert trader.running_session(settings) == "", "the lock dies with its process, the next session may start"
    assert tick(settings, instance) == "no live run"


def test_a_beating_trader_is_left_alone(
    settings: Settings, instance: dg.DagsterInstance, hanging: tuple[dg.DagsterRun, subprocess.Popen[str]]
) -> None:
    run, process = hanging
    beat(settings, run.run_id, process.pid, age_s=1.0)
    assert "fresh heartbeat" in tick(settings, instance)
    assert process.poll() is None
    assert status_of(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_run_whose_process_is_gone_fails_and_no_stranger_is_killed(settings: Settings, instance: dg.DagsterInstance) -> None:
    """The dead trader's process number now belongs to somebody else, who does not hold the lock."""
    run = live_run(instance, settings)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        beat(settings, run.run_id, stranger.pid, age_s=3600)
        tick(settings, instance)
        assert stranger.poll() is None
        assert status_of(instance, run) is dg.DagsterRunStatus.FAILURE
    finally:
        stranger.kill()
        stranger.wait(10)


def test_a_run_that_only_just_started_is_given_time(settings: Settings, instance: dg.DagsterInstance) -> None:
    run = live_run(instance, settings)
    beat(settings, "an earlier run", os.getpid(), age_s=86_400)
    assert "1 live run" in tick(settings, instance)
    assert status_of(instance, run) is dg.DagsterRunStatus.STARTED


def test_a_session_that_ended_well_may_still_write_its_reports(settings: Settings, instance: dg.DagsterInstance) -> None:
    """The heartbeat ends with the session; the same run then reports on it for a while, alive but without the lock."""
    run = live_run(instance, settings)
    beat(settings, run.run_id, os.getpid(), age_s=settings.live.heartbeat_timeout_s + 10)
    tick(settings, instance)
    assert status_of(instance, run) is dg.DagsterRunStatus.STARTED
