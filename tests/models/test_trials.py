"""The trial ledger over a real MLflow store: what counts, what is the same trial, what is known of each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mlflow
from alphatrade_pipelines.models import Lineage, ModelDataError, ModelRegistry, TrainingResult, TrialLedger
from alphatrade_pipelines.models.trials import FAILURE_TAG, trial_key

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]
SESSIONS = pd.date_range("2020-01-01", periods=250, freq="B", tz="UTC")


@pytest.fixture
def ledger(registry: ModelRegistry) -> TrialLedger:
    return TrialLedger(registry.config.tracking_uri, registry.config.experiment)


def returns(seed: int) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).normal(0.0005, 0.01, len(SESSIONS)), index=SESSIONS)


def tried(registry: ModelRegistry, ledger: TrialLedger, name: str, series: pd.Series | pd.DataFrame | None = None) -> str:
    with ledger.trial(registry.experiment_id(), trial_key({"data": name}), {}) as run_id:
        if series is not None:
            ledger.record(run_id, series)
    mlflow.MlflowClient(registry.config.tracking_uri).set_terminated(run_id)
    return run_id


def test_an_empty_ledger_counts_nothing(ledger: TrialLedger) -> None:
    assert ledger.trials() == []
    assert ledger.summary().count == 0


def test_a_training_counts_from_before_its_first_fit_and_completes_its_run(
    registry: ModelRegistry, ledger: TrialLedger, trained: Trained
) -> None:
    with ledger.trial(registry.experiment_id(), trial_key({"data": "a"}), {"data_hash": "a"}) as run_id:
        assert [(trial.run_id, trial.status) for trial in ledger.trials()] == [(run_id, "RUNNING")]
        version = registry.log_candidate(trained[0], trained[1], Lineage("d1", dagster_url="http://127.0.0.1:3000/runs/d1"), trial=run_id)
    assert version.run_id == run_id
    assert [trial.status for trial in ledger.trials()] == ["FINISHED"]
    run = mlflow.MlflowClient(registry.config.tracking_uri).get_run(run_id)
    assert run.data.tags["dagster.url"] == "http://127.0.0.1:3000/runs/d1"
    assert "[d1](http://127.0.0.1:3000/runs/d1)" in run.data.tags["mlflow.note.content"]
    assert run.data.metrics["log_loss"] > 0


def test_failed_interrupted_and_deleted_trials_count(registry: ModelRegistry, ledger: TrialLedger) -> None:
    client = mlflow.MlflowClient(registry.config.tracking_uri)
    for name, error in (("a", ValueError("one class only")), ("b", KeyboardInterrupt())):
        with pytest.raises(type(error)), ledger.trial(registry.experiment_id(), trial_key({"data": name}), {}):
            raise error
    client.delete_run(tried(registry, ledger, "c", returns(0)))
    assert [(trial.status, trial.deleted) for trial in ledger.trials()] == [("FAILED", False), ("KILLED", False), ("FINISHED", True)]
    assert client.get_run(ledger.trials()[0].run_id).data.tags[FAILURE_TAG] == "ValueError: one class only"
    summary = ledger.summary()
    assert (summary.count, summary.unknown, summary.series.shape[1]) == (3, 2, 1)


def test_the_same_training_again_is_no_new_trial_and_its_returns_are_kept(registry: ModelRegistry, ledger: TrialLedger) -> None:
    tried(registry, ledger, "a", returns(0))
    tried(registry, ledger, "a")
    tried(registry, ledger, "b", returns(1))
    summary = ledger.summary()
    assert (summary.count, summary.unknown) == (2, 0)
    np.testing.assert_allclose(summary.series.iloc[:, 0], returns(0), rtol=1e-6)
    known = [trial.sharpe for trial in ledger.trials() if trial.sharpe is not None]
    assert known == pytest.approx([returns(seed).mean() / returns(seed).std() for seed in (0, 1)])


def test_every_configuration_of_a_search_is_a_trial(registry: ModelRegistry, ledger: TrialLedger) -> None:
    tried(registry, ledger, "a", pd.DataFrame({"chosen": returns(0), "other": returns(1), "third": returns(2)}))
    assert ledger.summary().count == 3


def test_returns_that_cannot_be_used_are_refused(registry: ModelRegistry, ledger: TrialLedger) -> None:
    run_id = tried(registry, ledger, "a")
    for series in (returns(0).where(returns(0) > 0), returns(0).head(0)):
        with pytest.raises(ModelDataError, match="finite returns by session"):
            ledger.record(run_id, series)


def test_a_trial_whose_process_died_is_ended_by_the_next(registry: ModelRegistry, ledger: TrialLedger, tmp_path: Path) -> None:
    script = tmp_path / "dies.py"
    script.write_text(
        "import os, sys\n"
        "from alphatrade_pipelines.models import TrialLedger\n"
        "from alphatrade_pipelines.models.trials import trial_key\n"
        "with TrialLedger(sys.argv[1], sys.argv[2]).trial(sys.argv[3], trial_key({'data': 'x'}), {}) as run_id:\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    arguments = [registry.config.tracking_uri, registry.config.experiment, registry.experiment_id()]
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr.decode()[-2000:]
    assert [trial.status for trial in ledger.trials()] == ["RUNNING"]
    tried(registry, ledger, "y")
    assert [trial.status for trial in ledger.trials()] == ["KILLED", "FINISHED"]
    assert ledger.summary().count == 2
