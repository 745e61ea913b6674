"""What Dagster shows: names, groups, owners, executors and limits, and that showing it costs no heavy import."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from alphatrade_pipelines.definitions import defs
from alphatrade_pipelines.servers import prepare_dagster_home
from tests.surface.house import settings_of
from tests.tools.homes import ROOT, house_environment

GROUPS = {
    "data": {"raw_bars", "bars"},
    "features": {"feature_state", "features"},
    "models": {"primary_model", "labels", "model_candidate", "model_evaluation"},
    "research": {"backtest_report"},
    "registry": {"promotion"},
    "monitoring": {"model_health"},
    "live": {"live_session", "execution_quality", "pnl_attribution"},
}
JOBS = {"ingest", "retrain", "live_execution", "flatten_all", "reset_breakers", "rollback_model"}
HEAVY = ("mlflow", "catboost", "great_expectations", "hmmlearn", "sklearn", "matplotlib.pyplot", "plotly")


def graph() -> dg.AssetGraph:
    return defs.resolve_asset_graph()


def test_loading_the_definitions_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, json, alphatrade_pipelines.definitions; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=house_environment(tmp_path), capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert list(tmp_path.iterdir()) == [], "loading definitions must not write"


def test_every_asset_is_where_the_design_says() -> None:
    found: dict[str, set[str]] = {}
    for key in graph().materializable_asset_keys:
        found.setdefault(graph().get(key).group_name, set()).add(key.to_user_string())
    assert found == GROUPS


def test_every_asset_says_what_it_is_and_whose() -> None:
    for key in graph().materializable_asset_keys:
        node = graph().get(key)
        name = key.to_user_string()
        assert len(node.description or "") > 40, name
        assert node.owners, name
        assert node.kinds, name
        assert node.code_version, name


def test_nothing_hangs_loose_in_the_graph() -> None:
    """Every asset but the first has a parent in the house: no dependency is misspelt into an external asset."""
    known = graph().materializable_asset_keys
    for key in known:
        parents = graph().get(key).parent_keys
        assert parents <= known, f"{key.to_user_string()} depends on {parents - known}"
        assert parents or key == dg.AssetKey("raw_bars")


def test_jobs_schedules_and_sensors_are_those_of_the_design() -> None:
    repository = defs.get_repository_def()
    assert {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")} == JOBS
    assert {schedule.name for schedule in repository.schedule_defs} == {"nightly_retrain", "market_open"}
    assert {sensor.name for sensor in repository.sensor_defs} == {"model_staleness", "feature_drift", "live_watchdog"}
    assert repository.get_schedule_def("market_open").default_status is dg.DefaultScheduleStatus.STOPPED
    assert repository.get_schedule_def("nightly_retrain").default_status is dg.DefaultScheduleStatus.RUNNING


def test_quality_gates_block_where_data_or_integrity_are_at_stake() -> None:
    blocking = {f"{key.asset_key.to_user_string()}.{key.name}": graph().get(key).blocking for key in graph().asset_check_keys}
    assert blocking == {
        "raw_bars.raw_bars_are_sound": True,
        "bars.bars_are_sound": True,
        "features.no_look_ahead": True,
        "model_evaluation.calibrated": False,
        "promotion.candidate_accepted": False,
        "model_health.champion_is_fit": False,
        "model_health.inputs_are_comparable": False,
    }


def test_the_live_job_is_one_process_once() -> None:
    job = defs.get_repository_def().get_job("live_execution")
    assert job.executor_def.name == "in_process"
    assert job.tags["alphatrade/live"] == "session"
    assert job.tags["dagster/max_retries"] == "0"
    assert graph().get(dg.AssetKey("live_session")).pools == {"live_session"}


def test_the_instance_lets_one_live_run_at_a_time_and_calls_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DAGSTER_HOME", "ALPHATRADE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))  # so that they are restored
    folder = prepare_dagster_home(settings_of(tmp_path))
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        limits = instance.get_concurrency_config().run_queue_config
        assert limits is not None
        assert [(one["key"], one["limit"]) for one in limits.tag_concurrency_limits] == [("alphatrade/live", 1)]
        assert instance.run_retries_max_retries == 0
        assert instance.telemetry_enabled is False
    assert yaml.safe_load((folder / "dagster.yaml").read_text())["concurrency"]["pools"]["default_limit"] == 1


@pytest.mark.parametrize(
    ("day", "open_for_trade"),
    [("2024-07-03", True), ("2024-07-04", False), ("2024-11-28", False), ("2024-11-29", True), ("2025-01-09", False)],
    ids=["half day", "Independence Day", "Thanksgiving", "half day after it", "day of mourning"],
)
def test_market_open_launches_on_sessions_only(day: str, open_for_trade: bool, instance: dg.DagsterInstance) -> None:
    moment = datetime.fromisoformat(f"{day}T14:15:00").replace(tzinfo=UTC)
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=moment)
    tick = defs.get_repository_def().get_schedule_def("market_open").evaluate_tick(context)
    if open_for_trade:
        assert [request.run_key for request in tick.run_requests] == [f"market_open:{day}"]
        config = tick.run_requests[0].run_config["ops"]["live_session"]["config"]
        assert config == {"sessions": 1}, "it ends after the close, or tomorrow's launch would wait behind it for ever"
        unfinished = dg.DagsterRun(job_name="live_execution", run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED)
        instance.add_run(unfinished)
        again = defs.get_repository_def().get_schedule_def("market_open").evaluate_tick(context)
        assert not again.run_requests
        assert "already running" in str(again.skip_message)
    else:
        assert not tick.run_requests
        assert day in str(tick.skip_message)


def test_every_step_of_the_walk_belongs_to_a_stage_of_the_demo() -> None:
    """A step without a stage has no progress bar, and the demo ends with a KeyError instead of a session."""
    from alphatrade_pipelines.demo import STAGES, _belongs

    steps = [node.name for node in defs.resolve_job_def("retrain").nodes]
    stages = [[stage for stage, assets in STAGES.items() if _belongs(step, assets)] for step in steps]
    assert len(steps) >= 15
    assert [step for step, found in zip(steps, stages, strict=True) if len(found) != 1] == []
