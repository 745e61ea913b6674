"""Nested tuning: what is chosen, from which rows, and that every trial is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.folds import Rows, path_predictions
from alphatrade_pipelines.models.tuning import (
    Choice,
    OptunaSearch,
    Real,
    SobolSearch,
    TuneConfig,
    TuningTrial,
    Whole,
    nested_search,
    tune,
)
from alphatrade_pipelines.models.validation import CombinatorialPurgedCV, PurgedKFold, WalkForward
from tests.models.makers import planted
from tests.tools.homes import ROOT

SPACE = {"C": Real(1e-4, 10.0, log=True), "columns": Choice((("f0",), ("f1",), ("f2",)))}
CONFIG = TuneConfig(trials=6, inner=3, embargo=5, search="sobol")


def made_up(edge: float = 1.5) -> Rows:
    features, labels, _ = planted(["A", "B"], 200, edge)
    return Rows(features, labels["label"], pd.Series(1.0, index=features.index), labels["t1"])


def logistic(train: Rows, test: Rows, params: dict[str, Any]) -> Any:
    """The parameters say which feature to look at; only f0 means something."""
    if train.y.nunique() < 2:
        raise ModelDataError("wins and losses", "one class only")
    names = list(params["columns"])
    model = LogisticRegression(C=params["C"]).fit(train.X[names], train.y, sample_weight=train.weight)
    return model.predict_proba(test.X[names])[:, 1]


def test_finds_what_means_something_and_reports_every_trial() -> None:
    told: list[TuningTrial] = []
    found = nested_search(made_up(), PurgedKFold(4, 5), SPACE, logistic, CONFIG, on_trial=told.append)
    assert [params["columns"] for params in found.chosen] == [("f0",)] * 4
    assert tuple(told) == found.trials
    assert [(trial.fold, trial.number) for trial in told] == [(k, n) for k in range(4) for n in range(6)]
    for k, params in enumerate(found.chosen):
        own = [trial for trial in told if trial.fold == k]
        assert params == min(own, key=lambda trial: trial.loss).params
    assert np.isfinite(found.predictions).all()
    rows = made_up()
    assert np.corrcoef(found.predictions, rows.y)[0, 1] > 0.4


def test_equal_seeds_repeat_and_others_do_not() -> None:
    rows = made_up()
    once, again = (nested_search(rows, WalkForward(3), SPACE, logistic, CONFIG) for _ in range(2))
    assert once.trials == again.trials
    pd.testing.assert_series_equal(once.predictions, again.predictions)
    first_block = once.predictions.isna()
    assert 0 < first_block.mean() < 0.3  # the first block only trains
    other = tune(rows, SPACE, logistic, TuneConfig(6, 3, 5, seed=8, search="sobol"))[1]
    assert [trial.params for trial in other] != [trial.params for trial in tune(rows, SPACE, logistic, CONFIG)[1]]


def test_the_tested_rows_decide_nothing() -> None:
    """Outcomes of a fold turned over, its features changed for later rows: what was chosen and predicted for it stays."""
    rows, splitter = made_up(), PurgedKFold(3, 5)
    before = nested_search(rows, splitter, SPACE, logistic, CONFIG)
    for k, (_, test) in enumerate(splitter.split(rows.X, groups=rows.t1)):
        y = rows.y.copy()
        y.iloc[test] = 1 - y.iloc[test]
        after = nested_search(Rows(rows.X, y, rows.weight, rows.t1), splitter, SPACE, logistic, CONFIG)
        assert after.chosen[k] == before.chosen[k]
        pd.testing.assert_series_equal(after.predictions.iloc[test], before.predictions.iloc[test], check_exact=True)
        assert [t for t in after.trials if t.fold == k] == [t for t in before.trials if t.fold == k]
        assert after.trials != before.trials


def test_tuned_backtest_paths() -> None:
    told: list[TuningTrial] = []

    def tuned(train: Rows, test: Rows) -> Any:
        best, _ = tune(train, SPACE, logistic, TuneConfig(4, 2, 5, search="sobol"), on_trial=told.append)
        return logistic(train, test, best)

    paths = path_predictions(made_up(), CombinatorialPurgedCV(4, 2, 5), tuned)
    assert paths.shape == (400, 3)
    assert len(told) == 6 * 4


def test_points_cover_the_space() -> None:
    space = {"a": Real(0.01, 100.0, log=True), "b": Whole(2, 5), "c": Choice(("x", "y"))}
    search = SobolSearch(space, 1)
    points = pd.DataFrame([search.ask() for _ in range(256)])
    assert np.log10(points["a"]).between(-2, 2).all()
    assert np.histogram(np.log10(points["a"]), 8, (-2, 2))[0].tolist() == [32] * 8  # a net in base 2
    assert points["b"].value_counts().to_dict() == {2: 64, 3: 64, 4: 64, 5: 64}
    assert points["c"].value_counts().to_dict() == {"x": 128, "y": 128}


BY_OPTUNA = TuneConfig(trials=14, inner=2, embargo=5, search="optuna")  # ten random points, then four that learn


def test_optuna_finds_what_means_something_and_repeats() -> None:
    rows = made_up()
    found, again = (nested_search(rows, PurgedKFold(3, 5), SPACE, logistic, BY_OPTUNA) for _ in range(2))
    assert [params["columns"] for params in found.chosen] == [("f0",)] * 3
    assert found.trials == again.trials
    pd.testing.assert_series_equal(found.predictions, again.predictions, check_exact=True)
    other = tune(rows, SPACE, logistic, replace(BY_OPTUNA, trials=1, seed=8))[1]
    assert other[0].params != found.trials[0].params


def test_optuna_learns_from_losses_and_stays_in_the_space() -> None:
    """Two seeded searches are asked the same until they have heard ten different losses."""
    space = {"a": Real(0.01, 100.0, log=True), "b": Whole(1, 3), "c": Choice(("x", "y"))}
    low, high = OptunaSearch(space, 1), OptunaSearch(space, 1)
    points = []
    for _ in range(40):
        pair = low.ask(), high.ask()
        low.tell(pair[0], float(pair[0]["a"]))
        high.tell(pair[1], -float(pair[1]["a"]))
        points.append(pair)
    assert all(one == two for one, two in points[:10])
    assert points[10:] != [(one, one) for one, _ in points[10:]]
    tail = pd.DataFrame([(one["a"], two["a"]) for one, two in points[20:]])
    assert tail[0].median() < 1.0 < tail[1].median()
    assert all(0.01 <= one["a"] <= 100.0 for pair in points for one in pair)
    assert {(one["b"], one["c"]) for pair in points for one in pair} == {(b, c) for b in (1, 2, 3) for c in "xy"}


def test_optuna_says_nothing_and_writes_nothing(tmp_path: Path) -> None:
    """In a process of its own: nothing on the console, no file, what optuna says elsewhere untouched, and the points of this process."""
    script = (
        "import optuna\n"
        "from alphatrade_pipelines.models.tuning import OptunaSearch, Real\n"
        "search = OptunaSearch({'a': Real(0.0, 1.0)}, 5)\n"
        "points = []\n"
        "for _ in range(12):\n"
        "    points.append(search.ask())\n"
        "    search.tell(points[-1], points[-1]['a'])\n"
        "assert optuna.logging.get_verbosity() == optuna.logging.INFO\n"
        "print([point['a'] for point in points])\n"
    )
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment, command = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "3"}, [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    search, points = OptunaSearch({"a": Real(0.0, 1.0)}, 5), []
    for _ in range(12):
        points.append(search.ask()["a"])
        search.tell({}, points[-1])
    assert done.stdout == f"{points}\n"


def test_without_optuna_it_is_missed_by_name_and_sobol_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not installed
    for call in (lambda: OptunaSearch(SPACE, 1), lambda: TuneConfig(search="optuna")):
        with pytest.raises(ModelDataError, match=r"package optuna, found none installed\. .*alphatrade\[tuning\]"):
            call()
    assert len(tune(made_up(), SPACE, logistic, replace(CONFIG, trials=2))[1]) == 2


ROWS = made_up()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tune(ROWS, {}, logistic, CONFIG), "empty space"),
        (lambda: Real(2.0, 1.0), "low < high"),
        (lambda: Real(0.0, 1.0, log=True), "low > 0"),
        (lambda: Whole(3, 3), "low < high"),
        (lambda: Choice((1,)), "two values"),
        (lambda: TuneConfig(trials=0), "trials >= 1"),
        (lambda: TuneConfig(search="grid"), "sobol or optuna"),  # type: ignore[arg-type]
        (lambda: tune(Rows(ROWS.X, ROWS.y * 0, ROWS.weight, ROWS.t1), SPACE, logistic, CONFIG), "in trial 1 with .*: one class only"),
        (lambda: nested_search(Rows(ROWS.X, ROWS.y * 0, ROWS.weight, ROWS.t1), PurgedKFold(3), SPACE, logistic, CONFIG), "in fold 1 of 3"),
        (lambda: tune(ROWS, SPACE, lambda train, test, params: np.full(len(test.y), np.nan), CONFIG), "finite loss"),
        (lambda: tune(ROWS.take(np.arange(20)), SPACE, logistic, TuneConfig(2, 2, 30)), "none left by purging"),
        (lambda: nested_search(ROWS, CombinatorialPurgedCV(4, 2, 5), SPACE, logistic, CONFIG), "at most once"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ModelDataError, match=message):
        call()
