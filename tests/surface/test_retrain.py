"""The whole retrain walk, as it left its traces: in Dagster's event log, in MLflow and on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.models.bundle import Bundle
from alphatrade_pipelines.models.registry import VersionInfo
from alphatrade_pipelines.research import tracking
from alphatrade_pipelines.settings import Settings
from tests.surface.house import WALK, settings_of

# what a person wants to find on the page of each asset
TOLD = {
    "raw_bars": {"rows", "data_hash", "new_rows", "source_facts"},
    "bars": {"rows", "data_hash", "quality", "closes", "training_cut"},
    "feature_state": {"features", "fitted_until", "content_hash", "catalogue"},
    "features": {"rows", "complete_rows", "summary", "missing"},
    "primary_model": {"proposes"},
    "labels": {"win_rate", "mean_net_return", "exits"},
    "model_candidate": {"model_version", "mlflow_run_id", "bundle_hash", "data_hash", "git_commit", "metrics", "reliability", "importance"},
    "model_evaluation": {"metrics", "values_probed"},
    "backtest_report": {"trials", "effective_trials", "deflated_sharpe", "pbo", "paths", "unseen_return", "tearsheets", "equity"},
    "promotion": {"profile", "champion", "decision", "gate", "mlflow_run"},
    "model_health": {"champion", "age_days", "features_table", "predictions", "regimes", "drift", "evidence", "missing_bars", "alarm"},
}
PLOTS = {
    "bars": "closes",
    "features": "missing",
    "labels": "exits",
    "model_candidate": "reliability",
    "backtest_report": "equity",
    "model_health": "drift",
}


@pytest.fixture(scope="module")
def settings(trained_home: Path) -> Settings:
    return settings_of(trained_home)


@pytest.fixture(scope="module")
def instance(trained_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(trained_home / "dagster")) as opened:
        yield opened


@pytest.fixture(scope="module")
def version(settings: Settings) -> VersionInfo:
    found = tracking.registry(settings).champion()
    assert found is not None
    return found


def told(instance: dg.DagsterInstance, asset: str) -> dict[str, object]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None, asset
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_the_walk_is_one_successful_run_with_every_gate_passed(instance: dg.DagsterInstance) -> None:
    (run,) = instance.get_runs()
    assert (run.job_name, run.status) == ("retrain", dg.DagsterRunStatus.SUCCESS)
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    found = {}
    for record in records:
        event = record.event_log_entry.dagster_event
        assert event is not None
        found[event.asset_check_evaluation_data.check_name] = event.asset_check_evaluation_data.passed
    assert found == {
        "raw_bars_are_sound": True,
        "bars_are_sound": True,
        "no_look_ahead": True,
        "calibrated": True,
        "candidate_accepted": True,
        "champion_is_fit": True,
        "inputs_are_comparable": True,
    }


@pytest.mark.parametrize("asset", WALK)
def test_every_step_says_what_it_did(asset: str, instance: dg.DagsterInstance) -> None:
    facts = told(instance, asset)
    assert TOLD[asset] <= set(facts)
    if asset in PLOTS:
        assert str(facts[PLOTS[asset]]).startswith("![")
        assert len(str(facts[PLOTS[asset]])) > 5_000


def test_the_version_names_the_run_the_data_and_the_code(instance: dg.DagsterInstance, settings: Settings, version: VersionInfo) -> None:
    (run,) = instance.get_runs()
    assert version.tags["dagster.run_id"] == run.run_id
    assert version.tags["dagster.asset_key"] == "model_candidate"
    assert version.tags["data_hash"] == bootstrap.bar_store(settings).data_hash() == told(instance, "bars")["data_hash"]
    assert version.tags["git_commit"] == told(instance, "model_candidate")["git_commit"] != ""
    assert version.tags["bundle_hash"] == told(instance, "model_candidate")["bundle_hash"]
    assert set(version.aliases) == {"challenger", "champion"}
    assert version.profile in ("paper", "live")
    assert json.loads(version.tags["gate.report.paper"])["passed"] is True


def test_mlflow_holds_params_metrics_dataset_and_files(settings: Settings, version: VersionInfo) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_uri)
    run = client.get_run(version.run_id)
    assert {"log_loss", "base_log_loss", "ece", "auc"} <= set(run.data.metrics)
    assert len(run.data.params) >= 8
    assert [given.dataset.name for given in run.inputs.dataset_inputs] != []
    assert run.outputs.model_outputs, "the run must point at its logged model"

    def files(folder: str | None = None) -> Iterator[str]:
        for item in client.list_artifacts(version.run_id, folder):
            if item.is_dir:
                yield from files(item.path)
            else:
                yield item.path

    names = list(files())
    assert any(name.endswith(".html") for name in names), names
    assert any(name.endswith(".png") for name in names), names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]


def test_the_bundle_on_disk_is_the_registered_one_and_holds_no_pickle(settings: Settings, version: VersionInfo) -> None:
    folder = settings.folders.bundles / version.tags["bundle_hash"][:16]
    assert Bundle.load(folder).content_hash == version.tags["bundle_hash"]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".cbm"}


def test_nothing_of_the_last_sessions_was_learned(settings: Settings, version: VersionInfo) -> None:
    bars = bootstrap.bar_store(settings).read()
    cut = bootstrap.training_cut(settings, bars)
    bundle = Bundle.load(settings.folders.bundles / version.tags["bundle_hash"][:16])
    assert bundle.manifest["known_through"] <= cut.isoformat()
    unseen = bars[bars.index.get_level_values("timestamp") >= cut].index.get_level_values("timestamp").nunique()
    assert unseen == settings.research.holdout_sessions >= 60


def test_tearsheets_are_self_contained(settings: Settings) -> None:
    sheets = sorted(settings.folders.reports.glob("*.html"))
    assert [sheet.stem.rsplit("-", 1)[-1] for sheet in sheets] == ["research", "unseen"]
    for sheet in sheets:
        text = sheet.read_text()
        assert len(text) > 20_000
        assert 'src="http' not in text
        assert "@import" not in text
