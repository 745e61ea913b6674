"""The definitions of the house over settings of a test's own, and the small things several tests ask of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from alphatrade_pipelines.definitions import defs
from alphatrade_pipelines.servers import prepare_dagster_home
from alphatrade_pipelines.settings import Settings, load_settings
from assets.storage import HouseIOManager

# the assets of the job retrain, in order
WALK = (
    "raw_bars",
    "bars",
    "feature_state",
    "features",
    "primary_model",
    "labels",
    "model_candidate",
    "model_evaluation",
    "backtest_report",
    "promotion",
    "model_health",
)


def settings_of(home: Path, **overrides: Any) -> Settings:
    """Settings that live in ``home``; overrides are sections as dicts, as ``load_settings`` takes them."""
    return load_settings(home=home, **overrides)


def repository(settings: Settings) -> dg.RepositoryDefinition:
    """The very definitions of the house with these settings as their resource."""
    resources = {"settings": settings, "io_manager": HouseIOManager(settings.folders.assets)}
    house = dg.Definitions(
        assets=defs.assets,
        asset_checks=defs.asset_checks,
        jobs=defs.jobs,
        schedules=defs.schedules,
        sensors=defs.sensors,
        resources=resources,
        executor=defs.executor,
    )
    return house.get_repository_def()


@contextmanager
def instance_of(home: Path) -> Iterator[dg.DagsterInstance]:
    """A real instance (SQLite, the house's dagster.yaml) under ``home``; the caller's environment is restored by monkeypatch."""
    folder = prepare_dagster_home(settings_of(home))
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def run(settings: Settings, instance: dg.DagsterInstance, job: str, **arguments: Any) -> dg.ExecuteInProcessResult:
    """Execute a job of the house; a failure is an outcome to look at, not an exception."""
    return repository(settings).get_job(job).execute_in_process(instance=instance, raise_on_error=False, **arguments)


def over(first: str, last: str) -> dict[str, str]:
    """Tags of a single-run back-fill over the periods first to last."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """Messages of everything that failed, causes included."""
    failed = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return json.dumps([error.to_string() for error in failed if error is not None])
