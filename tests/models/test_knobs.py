"""The learner's knobs, searched inside a training: what decides, what is recorded, and that every trial is in the ledger."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mlflow
from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.backtest.overfitting import effective_trials
from alphatrade_pipelines.models import (
    FoldConfig,
    LearnerConfig,
    ModelDataError,
    ModelRegistry,
    TrainConfig,
    TrainingResult,
    TrialLedger,
    knobs,
    train,
)
from alphatrade_pipelines.models.bundle import canonical_json
from alphatrade_pipelines.models.fitting import choose_trees, fit_fold
from alphatrade_pipelines.models.folds import Rows
from alphatrade_pipelines.models.knobs import KNOBS, knobs_of, learner_of
from alphatrade_pipelines.models.learner import fit_trees, model_bytes
from alphatrade_pipelines.models.training import training_rows
from alphatrade_pipelines.models.trials import trial_key
from alphatrade_pipelines.models.tuning import TuneConfig
from alphatrade_pipelines.models.validation import PurgedKFold
from alphatrade_pipelines.research import training
from alphatrade_pipelines.settings import Settings, load_settings
from tests.models.conftest import CONFIG, PROVENANCE, STATE, SYMBOLS
from tests.models.makers import planted, random_bars
from tests.tools.homes import ROOT

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]
Frames = tuple[pd.DataFrame, pd.DataFrame]
N = 200
TUNED = TrainConfig(
    learner=LearnerConfig(iterations=30, threads=1),
    folds=FoldConfig(3, 2, 5),
    min_rows=100,
    tuning=TuneConfig(trials=3, inner=2, embargo=5, search="sobol"),
)


def frames() -> Frames:
    features, labels, _ = planted(SYMBOLS, N, 1.0)
    return features, labels


def tuned_training(
    given: Frames, config: TrainConfig = TUNED, on_tuning: Callable[[Mapping[str, Any]], None] | None = None
) -> TrainingResult:
    return train(*given, STATE, config, bars=random_bars(SYMBOLS, N), provenance=PROVENANCE, on_tuning=on_tuning)


@pytest.fixture(scope="module")
def told() -> list[Mapping[str, Any]]:
    return []


@pytest.fixture(scope="module")
def tuned(told: list[Mapping[str, Any]]) -> TrainingResult:
    return tuned_training(frames(), on_tuning=told.append)


def rows_known_to_searches() -> list[Rows]:
    """The training rows of the three outer folds, then all rows."""
    rows = training_rows(*frames(), STATE, TUNED)
    outer = [rows.take(train).reweighted() for train, _ in PurgedKFold(3, 5, rows.t1).split(rows.X)]
    return [*outer, rows]


def least_inner_loss(own: Rows, asked: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The knobs among those asked that the inner folds of these rows like best."""
    splits = list(PurgedKFold(2, 5, own.t1).split(own.X))
    return asked[int(np.argmin([choose_trees(own, splits, replace(TUNED.learner, **knobs)).loss for knobs in asked]))]


def nonsense_in(result: TrainingResult, fold: int) -> Frames:
    """The frames with outcomes turned over and features made nonsense in the rows that one outer fold tests."""
    features, labels = frames()
    tested = result.oof.index[result.oof["fold"] == fold]
    labels.loc[tested, "label"] = 1 - labels.loc[tested, "label"]
    features.loc[tested] = np.random.default_rng(1).normal(3.0, 9.0, (len(tested), 3))
    return features, labels


def chosen_in(result: TrainingResult, fold: int) -> dict[str, Any]:
    return dict(result.bundle.manifest["tuning"]["folds"][fold])


def test_what_is_chosen_has_the_least_inner_loss_of_all_that_was_tried(tuned: TrainingResult, told: list[Mapping[str, Any]]) -> None:
    """Worked out again, search by search, from the rows each may know: three outer folds, then all rows."""
    known = rows_known_to_searches()
    winners = [replace(TUNED.learner, **least_inner_loss(own, told[3 * k : 3 * k + 3])) for k, own in enumerate(known)]
    assert [chosen_in(tuned, k) for k in range(3)] == [knobs_of(learner) for learner in winners[:3]]
    assert learner_of(tuned.bundle.manifest, TUNED.learner) == winners[3]
    assert [tuned.folds["trees"][k] for k in range(3)] == [
        fit_fold(own, winners[k], TUNED.folds, TUNED.calibration).trees for k, own in enumerate(known[:3])
    ]


def test_the_sealed_model_is_fitted_and_calibrated_with_the_knobs_chosen_on_all_rows(tuned: TrainingResult) -> None:
    features, labels = frames()
    rows, learner = training_rows(features, labels, STATE, TUNED), learner_of(tuned.bundle.manifest, TUNED.learner)
    again = fit_fold(rows, learner, TUNED.folds, TUNED.calibration)
    assert again.trees == tuned.bundle.manifest["trees"] == tuned.metrics["trees"]
    assert model_bytes(again.model) == tuned.bundle.files["model.cbm"]
    assert model_bytes(fit_trees(*rows.arrays, again.trees, TUNED.learner)) != tuned.bundle.files["model.cbm"]
    predicted = again.predict(rows.arrays[0], rows.X.index)
    pd.testing.assert_series_equal(tuned.bundle.predict(features)["probability"], predicted["probability"])


def test_every_fold_shows_its_knobs_and_every_search_is_asked_the_same(tuned: TrainingResult, told: list[Mapping[str, Any]]) -> None:
    facts = tuned.bundle.manifest["tuning"]
    assert [chosen_in(tuned, k) for k in range(3)] == tuned.folds[list(KNOBS)].to_dict("records")
    assert told[:3] == told[3:6] == told[6:9] == told[9:]
    assert (facts["sampler"], facts["trials"], facts["distinct"]) == ("sobol", 12, 3)
    assert all(chosen_in(tuned, k) in told[:3] for k in range(3))
    assert facts["chosen"] in told[:3]
    assert tuned.bundle.manifest["config"]["tuning"] == asdict(TUNED.tuning)  # type: ignore[arg-type]
    assert tuned.metrics["log_loss_gain"] > 0


@pytest.mark.parametrize("fold", range(3))
def test_the_rows_a_fold_tests_decide_nothing(tuned: TrainingResult, fold: int) -> None:
    """Outcomes turned over, features made nonsense in one outer fold: its knobs, trees and baseline stay; other folds learn nonsense."""
    poisoned = tuned_training(nonsense_in(tuned, fold))
    assert chosen_in(poisoned, fold) == chosen_in(tuned, fold)
    own = ["trees", "calibrator", "penalty", "base_rate_train"]
    assert poisoned.folds.loc[fold, own].to_dict() == tuned.folds.loc[fold, own].to_dict()
    others = [k for k in range(3) if k != fold]
    assert not np.allclose(
        poisoned.oof.loc[poisoned.oof["fold"].isin(others), "score"], tuned.oof.loc[tuned.oof["fold"].isin(others), "score"]
    )


def test_scores_of_a_fold_stay_when_its_outcomes_are_turned_over(tuned: TrainingResult) -> None:
    features, labels = frames()
    tested = tuned.oof.index[tuned.oof["fold"] == 1]
    labels.loc[tested, "label"] = 1 - labels.loc[tested, "label"]
    poisoned = tuned_training((features, labels))
    columns = ["score", "probability", "lower", "upper", "base_rate", "baseline_score"]
    pd.testing.assert_frame_equal(poisoned.oof.loc[tested, columns], tuned.oof.loc[tested, columns], check_exact=True)


def test_tuning_again_gives_the_same_bytes_and_another_seed_tries_others(tuned: TrainingResult, told: list[Mapping[str, Any]]) -> None:
    again = tuned_training(frames())
    assert again.bundle.files == tuned.bundle.files
    assert again.bundle.content_hash == tuned.bundle.content_hash
    others: list[Mapping[str, Any]] = []
    tuned_training(frames(), replace(TUNED, tuning=TuneConfig(trials=1, inner=2, embargo=5, seed=8)), others.append)
    assert others[0] not in told


def test_without_tuning_nothing_speaks_of_it(trained: Trained) -> None:
    """The default: manifest and fold table, and so the hash of a bundle, are what they were before there was a search."""
    result, _, _ = trained
    assert "tuning" not in result.bundle.manifest
    assert "tuning" not in result.bundle.manifest["config"]
    assert CONFIG.facts() == {name: value for name, value in asdict(CONFIG).items() if name not in ("tuning", "primary")}
    assert not set(KNOBS) & set(result.folds.columns)
    assert learner_of(result.bundle.manifest, CONFIG.learner) == CONFIG.learner


def one_class_early(labels: pd.DataFrame) -> pd.DataFrame:
    """Nothing but losses in the first two thirds: some inner fold trains on them alone."""
    early = np.arange(len(labels)) % N < 2 * N // 3
    return labels.assign(label=labels["label"].where(~early, 0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, y: tuned_training((f, one_class_early(y))), r"in fold 2 of 3: in trial 1 with .*'depth'.*: one class only"),
        (lambda f, y: tuned_training((f, y), replace(TUNED, tuning=TuneConfig(2, 2, 150))), "in fold 1 of 3: in trial 1 .*none left after"),
        (
            lambda f, y: tuned_training((f, y), replace(TUNED, tuning=TuneConfig(2, 300, 5))),
            "at least 300 distinct decision times, found in fold 1 of 3",
        ),
    ],
)
def test_a_search_that_cannot_be_made_says_where(call: Any, message: str) -> None:
    with pytest.raises(ModelDataError, match=message):
        call(*frames())


def settings_of(home: Path, **model: Any) -> Settings:
    return load_settings(home=home, market={"symbols": SYMBOLS}, model={"tuning_trials": 2, **model})


BY_OPTUNA = replace(TUNED, tuning=TuneConfig(trials=12, inner=2, embargo=5, search="optuna"))


@pytest.fixture(scope="module")
def optuna_told() -> list[Mapping[str, Any]]:
    return []


@pytest.fixture(scope="module")
def by_optuna(optuna_told: list[Mapping[str, Any]]) -> TrainingResult:
    return tuned_training(frames(), BY_OPTUNA, optuna_told.append)


def test_optuna_chooses_the_least_inner_loss_and_learns_in_every_fold_apart(
    by_optuna: TrainingResult, optuna_told: list[Mapping[str, Any]]
) -> None:
    """Worked out again for each search from the rows it may know; the ten random points are shared, what is learnt is not."""
    asked, facts = [optuna_told[12 * k : 12 * k + 12] for k in range(4)], by_optuna.bundle.manifest["tuning"]
    winners = [least_inner_loss(own, asked[k]) for k, own in enumerate(rows_known_to_searches())]
    assert [*(chosen_in(by_optuna, k) for k in range(3)), facts["chosen"]] == winners
    assert asked[0][:10] == asked[1][:10] == asked[2][:10] == asked[3][:10]
    assert len({str(search[10:]) for search in asked}) > 1
    assert (facts["sampler"], facts["optuna"], facts["trials"]) == ("optuna", version("optuna"), 48)
    assert facts["distinct"] == len({str(knobs) for knobs in optuna_told}) > 12


def test_optuna_with_the_same_seed_gives_the_same_bytes(by_optuna: TrainingResult, optuna_told: list[Mapping[str, Any]]) -> None:
    told: list[Mapping[str, Any]] = []
    again = tuned_training(frames(), BY_OPTUNA, told.append)
    assert told == optuna_told
    assert again.bundle.files == by_optuna.bundle.files
    assert again.bundle.content_hash == by_optuna.bundle.content_hash
    seeded: list[Mapping[str, Any]] = []
    other = TuneConfig(trials=1, inner=2, embargo=5, seed=8, search="optuna")
    tuned_training(frames(), replace(TUNED, tuning=other), seeded.append)
    assert len(seeded) == 4
    assert seeded[0] not in told


def test_the_rows_a_fold_tests_tell_optuna_nothing(by_optuna: TrainingResult, optuna_told: list[Mapping[str, Any]]) -> None:
    """Made nonsense, they change neither what its search was asked, learning included, nor what it chose; other searches go elsewhere."""
    told: list[Mapping[str, Any]] = []
    poisoned = tuned_training(nonsense_in(by_optuna, 1), BY_OPTUNA, told.append)
    assert told[12:24] == optuna_told[12:24]
    assert chosen_in(poisoned, 1) == chosen_in(by_optuna, 1)
    assert told != optuna_told


def test_what_optuna_tries_is_in_the_ledger_before_its_fit(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each of its fits the ledger already holds the very knobs that are fitted; afterwards it holds each distinct set once."""
    ledger, fitted = TrialLedger(registry.config.tracking_uri, registry.config.experiment), []
    client = mlflow.MlflowClient(registry.config.tracking_uri)
    config = replace(TUNED, tuning=TuneConfig(trials=2, inner=2, embargo=5, search="optuna"))
    with ledger.trial(registry.experiment_id(), trial_key({"data": "x"}), {}) as run_id:

        def watched(rows: Rows, splits: Any, learner: LearnerConfig) -> Any:
            noted = [value for name, value in client.get_run(run_id).data.tags.items() if name.startswith("alphatrade.tuned.")]
            fitted.append(canonical_json(knobs_of(learner)).decode())
            assert fitted[-1] in noted
            return choose_trees(rows, splits, learner)

        monkeypatch.setattr(knobs, "choose_trees", watched)
        tuned_training(frames(), config, lambda params: ledger.note_tuning(run_id, trial_key(params), "d", params))
    assert len(fitted) == 8
    summary = ledger.summary()
    assert (summary.count, summary.tuned) == (1 + len(set(fitted)), len(set(fitted)))


def test_optuna_is_asked_for_by_name_and_missed_before_anything_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path, tuning_search="optuna")
    assert bootstrap.train_config(settings).tuning == TuneConfig(2, 3, 10, 7, "optuna")
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not installed
    with pytest.raises(ModelDataError, match="expected the package optuna, found none installed"):
        bootstrap.train_config(settings)
    assert bootstrap.train_config(settings_of(tmp_path)).tuning == TuneConfig(2, 3, 10, 7, "sobol")


def test_settings_reach_the_search(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, inner_folds=4, embargo=6, seed=11)
    assert bootstrap.train_config(settings).tuning == TuneConfig(2, 4, 6, 11, "sobol")
    assert bootstrap.train_config(settings_of(tmp_path, tuning_trials=0)).tuning is None


def test_the_ledger_grows_by_what_was_tried(registry: ModelRegistry) -> None:
    """Two trainings on other data that try three sets of knobs each, one in common, and one run deleted since: six, and the trainings.
    The one in common is deflated by once."""
    ledger = TrialLedger(registry.config.tracking_uri, registry.config.experiment)
    client = mlflow.MlflowClient(registry.config.tracking_uri)
    for night, keys in (("a", "xyz"), ("b", "zuv")):
        with ledger.trial(registry.experiment_id(), trial_key({"data": night}), {}) as run_id:
            for key in keys + keys:  # every fold asks the same
                ledger.note_tuning(run_id, trial_key({"knobs": key}), trial_key({"data": night}), {"depth": 3, "learning_rate": 0.05})
    client.delete_run(run_id)
    summary = ledger.summary()
    assert (summary.count, summary.unknown, summary.tuned, summary.repeats) == (8, 7, 6, 1)
    trials = effective_trials(summary.series, summary.unknown, summary.repeats)
    assert (trials.count, trials.clusters, trials.effective) == (8, 7, 7)
    tags = client.get_run(run_id).data.tags
    assert {value for name, value in tags.items() if name.startswith("alphatrade.tuned.")} == {'{"depth":3,"learning_rate":0.05}'}


def test_a_set_of_knobs_is_one_trial_in_whatever_fold_but_counts_anew_on_other_data(
    registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(fits that count, sets of knobs to deflate by): a night later the same sets are fits of their own and no new selection."""

    def tried(data: str = "monday", **sections: Any) -> tuple[int, int]:
        monkeypatch.setattr(bootstrap, "bar_store", lambda settings: SimpleNamespace(data_hash=lambda: data))
        servers = {"mlflow_tracking_uri": registry.config.tracking_uri}
        given: dict[str, Any] = {"market": {"symbols": ("A", "B")}, "model": {"tuning_trials": 2}, **sections}
        settings = load_settings(home=tmp_path, servers=servers, **given)
        ledger = TrialLedger(registry.config.tracking_uri, registry.config.experiment)
        with ledger.trial(registry.experiment_id(), trial_key({"night": len(ledger.trials())}), {}) as run_id:
            count = training.count_tuning(settings, run_id)
            for knobs in ({"depth": 2, "l2_share": 0.01}, {"depth": 4, "l2_share": 0.01}) * 2:
                count(knobs)
        summary = ledger.summary()
        return summary.tuned, summary.tuned - summary.repeats

    assert tried() == (2, 2)
    assert tried() == (2, 2), "the same again"
    assert tried(model={"tuning_trials": 64}) == (2, 2), "the same, among more"
    assert tried("tuesday") == (4, 2), "a night later"
    assert tried(model={"tuning_trials": 2, "horizon": 7}) == (6, 4)
    assert tried(market={"symbols": ("A", "C")}) == (8, 6)


def test_a_search_that_is_killed_has_counted(registry: ModelRegistry) -> None:
    """Killed in the middle of its second of three trials: two sets of knobs have looked at the data, and so has the training."""
    script = (
        "import os, sys\n"
        "from tests.models import test_knobs\n"
        "from alphatrade_pipelines.models import TrialLedger\n"
        "from alphatrade_pipelines.models import knobs\n"
        "from alphatrade_pipelines.models.trials import trial_key\n"
        "ledger, asked, choose = TrialLedger(sys.argv[1], sys.argv[2]), [], knobs.choose_trees\n"
        "def dies(*given):\n"
        "    if len(asked) == 2:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return choose(*given)\n"
        "knobs.choose_trees = dies\n"
        "with ledger.trial(sys.argv[3], trial_key({'data': 'x'}), {}) as run_id:\n"
        "    def tell(params):\n"
        "        asked.append(params)\n"
        "        ledger.note_tuning(run_id, trial_key(params), 'd', params)\n"
        "    test_knobs.tuned_training(test_knobs.frames(), on_tuning=tell)\n"
    )
    arguments = [registry.config.tracking_uri, registry.config.experiment, registry.experiment_id()]
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr.decode()[-2000:]
    ledger = TrialLedger(registry.config.tracking_uri, registry.config.experiment)
    assert [(trial.status, len(trial.tuned)) for trial in ledger.trials()] == [("RUNNING", 2)]
    summary = ledger.summary()
    assert (summary.count, summary.tuned) == (3, 2)
