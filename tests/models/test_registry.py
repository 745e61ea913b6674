"""The registry over a real MLflow store: candidates, promotion, refusal, rollback, tampering."""

from __future__ import annotations

import pickle
import pickletools
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from alphatrade_pipelines.models.succession import Crowning, line_of_champions

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]
LINEAGE = Lineage("dagster-run-1")
REFUSED = GateReport("paper", (Criterion("ece", 0.5, "<=", 0.02, False),))


def passed(profile: Any) -> GateReport:
    return GateReport(profile, (Criterion("ece", 0.01, "<=", 0.02, True),))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def is_pickle(blob: bytes) -> bool:
    """Opcodes of pickle from the first byte to a STOP that is the last, or an archive that may hold some."""
    try:
        *_, (last, _, at) = pickletools.genops(blob)
    except (ValueError, IndexError, EOFError, UnicodeDecodeError):
        return blob.startswith(b"PK")
    return last.name == "STOP" and at == len(blob) - 1


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


@pytest.mark.filterwarnings("ignore:invalid escape")  # any file is tried as if it were a pickle
def test_the_logged_model_predicts_as_the_bundle_and_holds_no_pickle(registry: ModelRegistry, trained: Trained, tmp_path: Path) -> None:
    result, features, _ = trained
    version = candidate(registry, trained)
    folder = model_folder(registry, version, tmp_path)
    everything = [path for root in (folder, registry.config.artifact_root) for path in Path(str(root)).rglob("*") if path.is_file()]
    assert len(everything) > 20
    assert not [path for path in everything if path.suffix in {".pkl", ".pickle", ".joblib", ".npy"} or is_pickle(path.read_bytes())]
    assert is_pickle(pickle.dumps({"a": 1}))
    assert is_pickle(pickle.dumps([1.5, "b"], protocol=0))
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


def by_hand(registry: ModelRegistry, version: str) -> None:
    client = mlflow.MlflowClient(registry.config.tracking_uri)
    client.set_registered_model_alias(registry.config.model_name, "champion", version)


def test_the_trail_says_who_made_whom_champion_and_why(registry: ModelRegistry, trained: Trained) -> None:
    versions = [candidate(registry, trained).version for _ in range(3)]
    registry.promote(versions[0], passed("paper"), by="Dagster run 1")
    registry.promote(versions[1], passed("live"), by="Dagster run 2")
    assert registry.outside_move("anybody") is None
    by_hand(registry, versions[2])
    seen = registry.outside_move("a reader")
    assert seen is not None
    assert (seen.version, seen.how) == (versions[2], "outside")
    assert len(registry.trail()) == 2, "looking writes nothing"
    noted = registry.note_outside_move("the live session")
    assert noted is not None
    assert registry.note_outside_move("the next") is None
    by_hand(registry, versions[1])
    registry.promote(versions[2], passed("paper"), by="Dagster run 3")  # notes the second move by hand first
    registry.rollback("slippage", by="Dagster run 4")
    told = [(change.version, change.how, change.by) for change in registry.trail()]
    assert told == [
        (versions[0], "gate", "Dagster run 1"),
        (versions[1], "gate", "Dagster run 2"),
        (versions[2], "outside", "noticed by the live session"),
        (versions[1], "outside", "noticed by Dagster run 3"),
        (versions[2], "gate", "Dagster run 3"),
        (versions[1], "rollback", "Dagster run 4"),
    ]
    times = [change.at for change in registry.trail()]
    assert times == sorted(times)
    assert "moved outside the gate" in str(registry.trail()[2])
    assert registry.trail()[-1].reason == "slippage"


def test_two_hundred_and_fifty_nights_fit_into_the_trail(registry: ModelRegistry, trained: Trained) -> None:
    version = candidate(registry, trained).version
    for night in range(250):
        change = Crowning(version, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=night), "gate", f"Dagster run {'x' * 36}", "paper")
        mlflow.MlflowClient(registry.config.tracking_uri).set_registered_model_tag(registry.config.model_name, change.key, change.to_json())
    assert len(registry.trail()) == 250


@pytest.mark.parametrize(
    ("trail", "line"),
    [
        ([("1", "gate"), ("2", "gate"), ("3", "gate")], ["1", "2", "3"]),
        ([("1", "gate"), ("2", "gate"), ("1", "rollback")], ["1"]),
        ([("1", "gate"), ("2", "outside"), ("1", "outside")], ["2", "1"]),
        ([("1", "gate"), ("2", "gate"), ("1", "rollback"), ("3", "gate")], ["1", "3"]),
        ([("2", "rollback")], ["2"]),
    ],
)
def test_what_a_rollback_walks_back_over(trail: list[tuple[str, Any]], line: list[str]) -> None:
    changes = [Crowning(version, datetime(2026, 1, 1, tzinfo=UTC), how, "x", "") for version, how in trail]
    assert line_of_champions(changes) == line


def test_an_alias_to_a_deleted_version_is_named_and_rollback_repairs_it(registry: ModelRegistry, trained: Trained, cache: Path) -> None:
    first, second = candidate(registry, trained), candidate(registry, trained)
    for version in (first, second):
        registry.promote(version.version, passed("paper"))
    # MLflow drops aliases with their version; another client, or a database restored in part, may not
    with closing(sqlite3.connect(registry.config.tracking_uri.removeprefix("sqlite:///"))) as db:
        db.execute("delete from model_version_tags where name = ? and version = ?", (second.name, second.version))
        db.execute("delete from model_versions where name = ? and version = ?", (second.name, second.version))
        db.commit()
    message = f"version {second.version}.*alias 'champion'.*deleted"
    with pytest.raises(RegistryError, match=message):
        load(registry, cache)
    with pytest.raises(RegistryError, match=message):
        registry.champion()
    assert registry.rollback("deleted").version == first.version
    assert load(registry, cache)[1].version == first.version


def test_a_decision_is_readable_in_mlflow(registry: ModelRegistry, trained: Trained) -> None:
    version = candidate(registry, trained)
    registry.record_decision(version.version, "version 1 was refused", "| criterion |", "{}")
    client = mlflow.MlflowClient(registry.config.tracking_uri)
    assert registry.version(version.version).tags["gate.decision"] == "version 1 was refused"
    assert client.get_run(version.run_id).data.tags["gate.decision"] == "version 1 was refused"
    files = {item.path for item in client.list_artifacts(version.run_id, "decision")}
    assert files == {"decision/decision.md", "decision/decision.json"}


def test_a_server_that_is_down_is_said_so_quickly(trained: Trained, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        gone = ModelRegistry(RegistryConfig(address, None))
        for ask in (gone.champion, gone.trail, lambda: gone.log_candidate(trained[0], trained[1], LINEAGE)):
            with pytest.raises(RegistryError, match="MLflow failed while"):
                ask()
        with pytest.raises(RegistryError, match="MLflow failed while"):
            load_promoted(address, "alphatrade", "paper", cache)


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


def test_the_gate_reads_what_training_measures(trained: Trained) -> None:
    report = evaluate_gate({**trained[0].metrics, "no_look_ahead": 1.0}, "paper")
    assert all(criterion.value is not None for criterion in report.criteria)
