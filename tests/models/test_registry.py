"""The registry over a real MLflow store: candidates, promotion, refusal, rollback, tampering."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mlflow
from alphatrade_pipelines.models import (
    Bundle,
    GateFailedError,
    GateReport,
    Lineage,
    ModelDataError,
    ModelRegistry,
    NoPromotedModelError,
    ProfileTooWeakError,
    RegistryConfig,
    RegistryError,
    TamperedBundleError,
    TrainingResult,
    TrialLedger,
    VersionInfo,
    evaluate_gate,
    load_promoted,
)
from alphatrade_pipelines.models._mlflow import store
from alphatrade_pipelines.models.gate import Criterion

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]
LINEAGE = Lineage("dagster-run-1")
REFUSED = GateReport("paper", (Criterion("ece", 0.5, "<=", 0.02, False),))


def passed(profile: Any) -> GateReport:
    return GateReport(profile, (Criterion("ece", 0.01, "<=", 0.02, True),))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RegistryConfig:
    folder = tmp_path_factory.mktemp("mlflow")
    return RegistryConfig(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"))


@pytest.fixture
def registry(config: RegistryConfig, request: pytest.FixtureRequest) -> ModelRegistry:
    """One store (migrations cost seconds), one model name and experiment a test."""
    return ModelRegistry(replace(config, model_name=request.node.name, experiment=request.node.name))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def candidate(registry: ModelRegistry, trained: Trained) -> VersionInfo:
    return registry.log_candidate(trained[0], trained[1], LINEAGE, {"no_look_ahead": 1.0})


def model_folder(registry: ModelRegistry, version: VersionInfo, folder: Path) -> str:
    with store(registry.config.tracking_uri) as bound:
        return str(bound.artifacts.download_artifacts(artifact_uri=f"models:/{version.name}/{version.version}", dst_path=str(folder)))


def load(registry: ModelRegistry, cache: Path, profile: Any = "paper") -> Any:
    return load_promoted(registry.config.tracking_uri, registry.config.model_name, profile, cache)


def test_a_candidate_carries_everything(registry: ModelRegistry, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result, _, _ = trained
    before = mlflow.get_tracking_uri()
    version = candidate(registry, trained)
    assert mlflow.get_tracking_uri() == before
    assert not (tmp_path / "mlruns").exists()
    assert version.aliases == ("challenger",)
    assert registry.champion() is None
    client = mlflow.MlflowClient(registry.config.tracking_uri)
    run = client.get_run(version.run_id)
    expected = {"dagster.run_id": "dagster-run-1", "dagster.asset_key": "model_candidate", "data_hash": "d" * 64, "git_commit": "c0ffee"}
    for tags in (run.data.tags, version.tags):
        assert {key: tags[key] for key in expected} == expected
        assert tags["bundle_hash"] == result.bundle.content_hash
    assert run.data.metrics["log_loss"] == pytest.approx(result.metrics["log_loss"])
    assert run.data.metrics["no_look_ahead"] == 1.0
    assert run.data.params["learner.depth"] == "3"
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["training_rows"]
    assert run.info.artifact_uri.startswith(Path(str(registry.config.artifact_root)).as_uri())
    names = {item.path for item in client.list_artifacts(version.run_id, "evaluation")}
    assert names >= {"evaluation/reliability.png", "evaluation/oof.parquet", "evaluation/folds.csv"}
    pd.testing.assert_frame_equal(registry.out_of_fold(version), result.oof, check_freq=False)


def test_the_logged_model_predicts_as_the_bundle_and_holds_no_pickle(registry: ModelRegistry, trained: Trained, tmp_path: Path) -> None:
    result, features, _ = trained
    version = candidate(registry, trained)
    folder = model_folder(registry, version, tmp_path)
    assert not [path for path in Path(folder).rglob("*") if path.suffix in {".pkl", ".pickle", ".joblib"}]
    loaded = mlflow.pyfunc.load_model(folder)
    assert loaded.metadata.signature is not None
    np.testing.assert_array_equal(loaded.predict(features.head(7)).to_numpy(), result.bundle.predict(features.head(7)).to_numpy())


def test_promotion_moves_the_champion_and_load_promoted_follows(registry: ModelRegistry, trained: Trained, cache: Path) -> None:
    first = candidate(registry, trained)
    registry.promote(first.version, passed("paper"))
    bundle, ref = load(registry, cache)
    assert bundle.content_hash == trained[0].bundle.content_hash == ref.bundle_hash
    assert (ref.version, ref.profile, ref.dagster_run_id, ref.git_commit) == (first.version, "paper", "dagster-run-1", "c0ffee")
    assert ref.mlflow_run_id == first.run_id
    with pytest.raises(ProfileTooWeakError, match="passed the live gate"):
        load(registry, cache, "live")
    registry.promote(first.version, passed("live"))
    assert load(registry, cache, "live")[1].profile == "live"
    registry.promote(first.version, passed("paper"))  # passing less later does not take the stronger profile away
    assert load(registry, cache, "live")[1].profile == "live"


def test_a_refused_candidate_leaves_the_champion_alone_and_says_why(registry: ModelRegistry, trained: Trained, cache: Path) -> None:
    first, second = candidate(registry, trained), candidate(registry, trained)
    registry.promote(first.version, passed("paper"))
    with pytest.raises(GateFailedError, match=r"ece is 0\.5"):
        registry.promote(second.version, REFUSED)
    champion, challenger = registry.champion(), registry.challenger()
    assert champion is not None
    assert challenger is not None
    assert (champion.version, challenger.version) == (first.version, second.version)
    assert challenger.report == REFUSED
    assert challenger.profile == ""


def test_rollback_walks_back_and_never_forward(registry: ModelRegistry, trained: Trained, cache: Path) -> None:
    versions = [candidate(registry, trained).version for _ in range(3)]
    for version in versions:
        registry.promote(version, passed("paper"))
    assert registry.rollback("slippage").version == versions[1]
    assert "slippage" in registry.version(versions[2]).tags["rolled_back"]
    assert registry.rollback("again").version == versions[0]
    assert load(registry, cache)[1].version == versions[0]
    with pytest.raises(NoPromotedModelError, match="earlier champion"):
        registry.rollback("nothing left")
    champion = registry.champion()
    assert champion is not None
    assert champion.version == versions[0]
    registry.promote(versions[2], passed("paper"))
    assert registry.rollback("once more").version == versions[0]


def test_nothing_promoted(registry: ModelRegistry, trained: Trained, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(NoPromotedModelError, match="train and promote"):
        load(registry, cache)
    candidate(registry, trained)
    with pytest.raises(NoPromotedModelError, match="train and promote"):
        load(registry, cache)
    with pytest.raises(NoPromotedModelError):
        load_promoted(f"sqlite:///{tmp_path / 'none.db'}", "any", "paper", cache)
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(NoPromotedModelError):
        registry.rollback("none")


def test_an_alias_set_by_hand_does_not_pass_the_gate(registry: ModelRegistry, trained: Trained, cache: Path) -> None:
    version = candidate(registry, trained)
    mlflow.MlflowClient(registry.config.tracking_uri).set_registered_model_alias(version.name, "champion", version.version)
    with pytest.raises(ProfileTooWeakError, match="no gate at all"):
        load(registry, cache)


def test_a_changed_byte_is_refused_in_cache_and_in_store(registry: ModelRegistry, trained: Trained, cache: Path, tmp_path: Path) -> None:
    version = candidate(registry, trained)
    registry.promote(version.version, passed("paper"))
    load(registry, cache)
    cached = next(cache.glob("*/sizing.json"))
    cached.write_text(cached.read_text().replace("payoff", "Payoff", 1))
    with pytest.raises(TamperedBundleError, match=r"sizing\.json"):
        load(registry, cache)
    stored = [path for path in Path(str(registry.config.artifact_root)).rglob("bundle/calibrator.json") if version.source[8:] in str(path)]
    assert len(stored) == 1
    stored[0].write_text(stored[0].read_text() + " ")
    with pytest.raises(TamperedBundleError, match=r"calibrator\.json"):
        load(registry, tmp_path / "fresh")
    assert not list((tmp_path / "fresh").iterdir())


def test_a_well_formed_bundle_that_was_not_registered_is_refused(registry: ModelRegistry, trained: Trained, cache: Path) -> None:
    version = candidate(registry, trained)
    registry.promote(version.version, passed("paper"))
    bundle = trained[0].bundle
    facts = {name: value for name, value in bundle.manifest.items() if name not in {"files", "content_hash"}}
    Bundle.seal(bundle.files, {**facts, "data_hash": "forged"}).save(cache / bundle.content_hash[:16])
    with pytest.raises(TamperedBundleError, match="not the one registered"):
        load(registry, cache)


def test_deleted_version_and_unreachable_store_are_clear(registry: ModelRegistry, trained: Trained, cache: Path, tmp_path: Path) -> None:
    version = candidate(registry, trained)
    registry.promote(version.version, passed("paper"))
    with pytest.raises(RegistryError, match="version 99"):
        registry.version("99")
    client = mlflow.MlflowClient(registry.config.tracking_uri)
    client.delete_model_version(version.name, version.version)
    with pytest.raises(NoPromotedModelError):  # MLflow drops the alias with the version
        load(registry, cache)
    with pytest.raises(RegistryError, match="expected a folder"):
        ModelRegistry(RegistryConfig(f"sqlite:///{tmp_path}/no/such/folder/mlflow.db", str(tmp_path)))
    with pytest.raises(RegistryError, match="artifact folder"):
        ModelRegistry(RegistryConfig(f"sqlite:///{tmp_path}/mlflow.db", None))
    moved = ModelRegistry(replace(registry.config, artifact_root=str(tmp_path / "elsewhere")))
    with pytest.raises(RegistryError, match="keep its files"):
        moved.log_candidate(trained[0], trained[1], LINEAGE)


def test_a_failure_while_logging_registers_nothing(registry: ModelRegistry, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    first = candidate(registry, trained)
    registry.promote(first.version, passed("paper"))

    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(mlflow, "log_figure", broken)
    with pytest.raises(RegistryError, match="disk full"):
        candidate(registry, trained)
    assert [info.version for info in registry.versions()] == [first.version]
    assert set(registry.versions()[0].aliases) == {"challenger", "champion"}
    experiment = mlflow.MlflowClient(registry.config.tracking_uri).get_experiment_by_name(registry.config.experiment)
    runs = mlflow.MlflowClient(registry.config.tracking_uri).search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]
    assert TrialLedger(registry.config.tracking_uri, registry.config.experiment).summary().count == 1  # the same bundle


def test_the_trial_ledger_counts_every_model_once(registry: ModelRegistry, trained: Trained) -> None:
    ledger = TrialLedger(registry.config.tracking_uri, registry.config.experiment)
    assert ledger.summary().count == 0
    result, features, _ = trained
    facts = {name: value for name, value in result.bundle.manifest.items() if name not in {"files", "content_hash"}}
    for number, sharpe in enumerate([0.02, 0.05, None]):
        other = replace(result, bundle=Bundle.seal(result.bundle.files, {**facts, "data_hash": str(number)}))
        version = registry.log_candidate(other, features, LINEAGE)
        if sharpe is not None:
            ledger.record_sharpe(version.run_id, sharpe)
    again = registry.log_candidate(other, features, LINEAGE)
    summary = ledger.summary()
    assert summary.count == 3
    assert summary.sharpe_variance == pytest.approx(np.var([0.02, 0.05]))
    mlflow.MlflowClient(registry.config.tracking_uri).delete_run(version.run_id)
    assert ledger.summary().count == 3  # deleting a run does not unsee the data
    with pytest.raises(ModelDataError, match="finite"):
        ledger.record_sharpe(again.run_id, float("nan"))


def test_the_gate_reads_what_training_measures(trained: Trained) -> None:
    report = evaluate_gate({**trained[0].metrics, "no_look_ahead": 1.0}, "paper")
    assert all(criterion.value is not None for criterion in report.criteria)
