"""A night in which nothing changed, one in which only the gate did, and one that is killed while it trains."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.models import GateThresholds
from alphatrade_pipelines.research import champions, promoting, tracking, training
from alphatrade_pipelines.settings import Settings
from assets.data import PERIODS
from assets.reuse import FINGERPRINT
from tests.surface.house import WALK, instance_of, run, settings_of
from tests.tools.homes import ROOT, house_environment

# bars are asked for and the champion's health is looked at every night
KEPT = [name for name in WALK if name not in ("raw_bars", "model_health")]


def night(settings: Settings, instance: dg.DagsterInstance, **tags: str) -> dict[str, dict[str, object]]:
    """Run the walk over the newest period; returns the metadata of each asset's materialization."""
    outcome = run(settings, instance, "retrain", partition_key=PERIODS.get_last_partition_key(), tags=tags)
    assert outcome.success, [event.message for event in outcome.all_events if event.is_failure]
    found = {}
    for event in outcome.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            materialized = event.step_materialization_data.materialization
            found[materialized.asset_key.to_user_string()] = {name: value.value for name, value in materialized.metadata.items()}
    return found


def state_of_registry(settings: Settings) -> list[object]:
    models = tracking.registry(settings)
    return [[(info.version, info.aliases, dict(info.tags)) for info in models.versions()], models.trail()]


def files_of_assets(settings: Settings) -> dict[Path, int]:
    """When each stored value was written; the champion's health is looked at every night, whatever has changed."""
    return {path: path.stat().st_mtime_ns for path in settings.folders.assets.iterdir() if not path.name.startswith("model_health")}


def test_nothing_changed_nothing_computed(own_home: Path) -> None:
    settings = settings_of(own_home)
    before, files = state_of_registry(settings), files_of_assets(settings)
    with instance_of(own_home) as instance:
        found = night(settings, instance)
        assert [name for name in KEPT if "kept_from_run" not in found[name]] == []
        assert "reliability" in found["model_candidate"], "the page still shows its plots"
        event = instance.get_latest_materialization_event(dg.AssetKey("features"))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata[FINGERPRINT].value == found["features"][FINGERPRINT]
    assert state_of_registry(settings) == before, "no new version, no new entry in the trail"
    assert files_of_assets(settings) == files
    assert len(tracking.trial_ledger(settings).trials()) == 1


def test_another_gate_decides_again_refuses_alerts_and_keeps_the_champion(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(own_home)
    monkeypatch.setattr(promoting, "gate_thresholds", lambda: GateThresholds(min_effective_rows=1e9))
    with instance_of(own_home) as instance:
        found = night(settings, instance)
        assert [name for name in KEPT if "kept_from_run" not in found[name]] == ["promotion"]
        assert found["promotion"]["profile"] == "refused"
        key = dg.AssetCheckKey(dg.AssetKey("promotion"), "candidate_accepted")
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
        evaluation = checks[key].event.dagster_event.event_specific_data
        assert evaluation.passed is False
        assert "n_effective" in evaluation.description
        run_id = checks[key].run_id
        told = [entry.user_message for entry in instance.all_logs(run_id)]
        assert any("ALERT version 1 was refused; champion stays 1" in message for message in told), told
    champion = tracking.registry(settings).champion()
    assert champion is not None
    assert champion.version == "1"
    assert champion.tags["gate.decision"].startswith("version 1 was refused")


def test_a_version_deleted_in_mlflow_is_not_called_unchanged(own_home: Path) -> None:
    from assets.models import _candidate_exists

    settings = settings_of(own_home)
    assert _candidate_exists(settings)
    models = tracking.registry(settings)
    models._client.delete_model_version(settings.model.name, "1")
    assert not _candidate_exists(settings)


def test_a_kill_in_the_middle_of_training_leaves_registry_and_aliases_as_they_were(own_home: Path) -> None:
    settings = settings_of(own_home)
    before, assets = state_of_registry(settings), (settings.folders.assets / "model_candidate.json").read_bytes()
    # another seed: the walk is the same up to the training, which has to be done anew
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.tools.run_job", str(own_home), "retrain"],
        cwd=ROOT,
        env=house_environment(own_home, MODEL__SEED="8"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ledger, deadline = tracking.trial_ledger(settings), time.monotonic() + 240
        while not any(trial.status == "RUNNING" for trial in ledger.trials()):
            assert process.poll() is None, "it ended before it trained"
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(1.0)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait(timeout=30)
    assert state_of_registry(settings) == before
    assert (settings.folders.assets / "model_candidate.json").read_bytes() == assets
    statuses = [trial.status for trial in ledger.trials()]
    assert statuses == ["FINISHED", "RUNNING"], "what was killed has looked at the data and counts"
    assert ledger.summary().count == 2
    _, trading = champions.champion_to_trade(settings, "sim", "a session")
    assert trading.version == "1"
    assert json.loads(assets)["version"] == "1"


def test_a_retrain_without_mlflow_fails_clearly_before_it_trains(own_home: Path) -> None:
    settings = settings_of(own_home, servers={"mlflow_tracking_uri": f"sqlite:///{own_home}/no/such/folder/mlflow.db"})
    state = json.loads((settings.folders.assets / "feature_state.json").read_text())["state"]
    with pytest.raises(Exception, match="expected a folder for the MLflow store"), training.open_trial(settings, state, "run"):
        pytest.fail("it must not begin")
    champion = tracking.registry(settings_of(own_home)).champion()
    assert champion is not None
    assert champion.version == "1"


def test_the_code_hash_is_of_the_rooms_named() -> None:
    assert bootstrap.code_hash("models") != bootstrap.code_hash("models", "features")
    assert bootstrap.code_hash("models", "research") == bootstrap.code_hash("research", "models")
