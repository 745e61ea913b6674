"""Combinatorial purged and walk-forward splits: skfolio, sklearn, and every pair of lives compared one by one."""

from __future__ import annotations

import importlib.util
from collections import Counter
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, TimeSeriesSplit, cross_val_score

from alphatrade_pipelines.leaks import check_folds
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.folds import Rows, path_predictions
from alphatrade_pipelines.models.validation import CombinatorialPurgedCV, PurgedKFold, WalkForward
from alphatrade_pipelines.models.weights import evidence_weights
from tests.models.makers import daily_index, planted
from tests.tools.skfolio_splits import CASES, recorded, skfolio_splits


def panel(rows: int, horizon: int = 0) -> pd.DataFrame:
    """One symbol, a row a day, each label living ``horizon`` days."""
    times = pd.date_range("2020-01-01", periods=rows, freq="D", tz="UTC")
    index = pd.MultiIndex.from_product([["A"], times], names=["symbol", "timestamp"])
    return pd.DataFrame({"t1": times + pd.Timedelta(days=horizon)}, index=index)


@st.composite
def uneven_panels(draw: st.DrawFn) -> pd.DataFrame:
    """Symbols with gaps, lives of 0 to 12 days, rows in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    index = daily_index(["A", "B", "C"], draw(st.integers(20, 45)))
    index = index[rng.random(len(index)) < draw(st.floats(0.4, 1.0))]
    index = index[rng.permutation(len(index))]
    lives = rng.integers(0, draw(st.integers(1, 13)), len(index))
    return pd.DataFrame({"t1": index.get_level_values("timestamp") + pd.to_timedelta(lives, "D")}, index=index)


def overlapping_pairs(labels: pd.DataFrame, train: Any, test: Any) -> int:
    """All pairs, one by one."""
    starts, ends = labels.index.get_level_values("timestamp"), pd.DatetimeIndex(labels["t1"])
    return sum(bool(starts[i] <= ends[j] and starts[j] <= ends[i]) for i in train for j in test)


def embargoed_rows(labels: pd.DataFrame, splitter: CombinatorialPurgedCV, chosen: tuple[int, ...], embargo: int) -> set[int]:
    """Rows decided within ``embargo`` decision times after the last label end of a tested group."""
    starts, ends = labels.index.get_level_values("timestamp"), pd.DatetimeIndex(labels["t1"])
    alone = CombinatorialPurgedCV(splitter.n_groups, 1, 0, splitter.t1)
    found: set[int] = set()
    for (_, test), groups in zip(alone.split(labels), alone.test_groups, strict=True):
        if groups[0] in chosen:
            later = sorted({t for t in starts if t > max(ends[j] for j in test)})[:embargo]
            found |= {i for i in range(len(labels)) if starts[i] in later}
    return found


def split_or_nothing(splitter: CombinatorialPurgedCV | WalkForward, labels: pd.DataFrame) -> list[Any]:
    """The splits; none where lives are so long that purging leaves nothing to train on."""
    try:
        return list(splitter.split(labels))
    except ModelDataError as error:
        if "training rows" not in str(error):
            raise
        return []


@settings(max_examples=25, deadline=None)
@given(uneven_panels(), st.integers(2, 5), st.integers(0, 4))
def test_no_training_life_meets_a_test_life(labels: pd.DataFrame, groups: int, embargo: int) -> None:
    tests = min(2, groups - 1)
    splitter = CombinatorialPurgedCV(groups, tests, embargo, labels["t1"])
    splits = split_or_nothing(splitter, labels)
    assert check_folds(splits, labels["t1"], embargo=embargo).alarms == ()
    for (train, test), chosen in zip(splits, splitter.test_groups, strict=False):
        assert overlapping_pairs(labels, train, test) == 0
        assert not set(train.tolist()) & embargoed_rows(labels, splitter, chosen, embargo)


@settings(max_examples=25, deadline=None)
@given(uneven_panels(), st.integers(1, 4), st.one_of(st.none(), st.integers(6, 12)), st.integers(0, 3))
def test_walk_forward_knows_only_what_had_ended(labels: pd.DataFrame, splits: int, window: int | None, gap: int) -> None:
    starts, ends = labels.index.get_level_values("timestamp"), pd.DatetimeIndex(labels["t1"])
    distinct = sorted(set(starts))
    found = split_or_nothing(WalkForward(splits, window=window, gap=gap, t1=labels["t1"]), labels)
    if not found:
        return
    for train, test in found:
        place = distinct.index(min(starts[j] for j in test))
        until, since = distinct[max(place - gap, 0)], distinct[max(place - window, 0)] if window else distinct[0]
        assert train.tolist() == [i for i in range(len(labels)) if ends[i] < until and starts[i] >= since]
        assert overlapping_pairs(labels, train, test) == 0
    tested = [i for _, test in found for i in test]
    assert len(tested) == len(set(tested))
    first_test = min(starts[j] for j in found[0][1])
    assert set(tested) == {i for i in range(len(labels)) if starts[i] >= first_test}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_constant_horizons_split_as_skfolio_does(case: tuple[int, int, int, int, int]) -> None:
    rows, groups, tests, horizon, embargo = case
    labels = panel(rows, horizon)
    splitter = CombinatorialPurgedCV(groups, tests, embargo, labels["t1"])
    installed = importlib.util.find_spec("skfolio") is not None
    theirs = skfolio_splits(*case) if installed else recorded()[str(case)]
    ours = list(splitter.split(labels))
    assert [train.tolist() for train, _ in ours] == theirs["train"]
    assert [test.tolist() for _, test in ours] == theirs["test"]
    assert splitter.path_splits.tolist() == theirs["paths"]


@pytest.mark.parametrize(("rows", "splits"), [(60, 5), (61, 4), (100, 7)])
def test_labels_that_end_at_once_split_as_sklearn_does(rows: int, splits: int) -> None:
    labels = panel(rows)
    if rows % splits == 0:  # sklearn gives the remainder to the first folds, we round
        for ours, theirs in zip(PurgedKFold(splits, 0, labels["t1"]).split(labels), KFold(splits).split(labels), strict=True):
            assert [part.tolist() for part in ours] == [part.tolist() for part in theirs]
    size = rows // (splits + 1)
    even = labels.iloc[: size * (splits + 1)]
    for ours, theirs in zip(WalkForward(splits, t1=even["t1"]).split(even), TimeSeriesSplit(splits).split(even), strict=True):
        assert [part.tolist() for part in ours] == [part.tolist() for part in theirs]
    rolling, theirs = WalkForward(splits, window=2 * size, t1=even["t1"]), TimeSeriesSplit(splits, max_train_size=2 * size)
    assert [train.tolist() for train, _ in rolling.split(even)] == [train.tolist() for train, _ in theirs.split(even)]


def test_one_tested_group_is_purged_k_fold() -> None:
    labels = panel(83, 4)
    one, kfold = CombinatorialPurgedCV(5, 1, 3, labels["t1"]), PurgedKFold(5, 3, labels["t1"])
    for ours, theirs in zip(one.split(labels), kfold.split(labels), strict=True):
        assert [part.tolist() for part in ours] == [part.tolist() for part in theirs]


@pytest.mark.parametrize(("groups", "tests"), [(6, 2), (5, 3), (10, 4), (4, 1)])
def test_paths_are_whole_histories_and_use_each_prediction_once(groups: int, tests: int) -> None:
    labels = panel(60, 1)
    splitter = CombinatorialPurgedCV(groups, tests, 0, labels["t1"])
    splits = list(splitter.split(labels))
    assert len(splits) == splitter.get_n_splits() == comb(groups, tests)
    assert splitter.n_paths == comb(groups, tests) * tests // groups
    # the prediction of a row is split * 1000 + row: a path can be read back
    paths = splitter.paths(labels, [number * 1000.0 + test for number, (_, test) in enumerate(splits)])
    assert paths.shape == (60, splitter.n_paths)
    assert (paths.to_numpy() % 1000 == np.arange(60)[:, None]).all()
    used = Counter((int(value) // 1000, int(value) % 1000) for value in paths.to_numpy().ravel())
    assert set(used.values()) == {1}
    assert set(used) == {(number, int(row)) for number, (_, test) in enumerate(splits) for row in test}


def test_sklearn_scores_with_either_splitter() -> None:
    features, labels, _ = planted(["A", "B"], 300, edge=1.5)
    for splitter in (CombinatorialPurgedCV(5, 2, 5, labels["t1"]), WalkForward(4, t1=labels["t1"])):
        scores = cross_val_score(LogisticRegression(), features, labels["label"], cv=splitter, scoring="roc_auc")
        assert len(scores) == splitter.get_n_splits()
        assert scores.mean() > 0.7


TWENTY = panel(20, 2)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x, t1: CombinatorialPurgedCV(4, 4), "n_test_groups < n_groups"),
        (lambda x, t1: CombinatorialPurgedCV(4, 2, -1), "embargo >= 0"),
        (lambda x, t1: WalkForward(0), "n_splits >= 1"),
        (lambda x, t1: WalkForward(2, window=3, gap=3), "window longer than the gap"),
        (lambda x, t1: list(CombinatorialPurgedCV(4, 2).split(x)), "label end times"),
        (lambda x, t1: list(CombinatorialPurgedCV(4, 2, t1=t1 - pd.Timedelta(days=9)).split(x)), "earlier end times"),
        (lambda x, t1: list(CombinatorialPurgedCV(4, 2, t1=t1.iloc[:-1]).split(x)), "none for 1 rows"),
        (lambda x, t1: list(WalkForward(2, t1=t1.where(t1 > t1.iloc[0])).split(x)), "missing or earlier"),
        (lambda x, t1: list(CombinatorialPurgedCV(4, 2, t1=t1 + pd.Timedelta(days=40)).split(x)), "training rows in every split"),
        (lambda x, t1: list(WalkForward(2, t1=t1 + pd.Timedelta(days=40)).split(x)), "before every test"),
        (lambda x, t1: list(CombinatorialPurgedCV(25, 2, t1=t1).split(x)), "at least 25 distinct"),
        (lambda x, t1: list(PurgedKFold(3, t1=pd.concat([t1, t1])).split(x)), "duplicate rows"),
        (lambda x, t1: CombinatorialPurgedCV(4, 2, t1=t1).paths(x, [np.zeros(10)]), "predictions of 6 splits"),
        (lambda x, t1: CombinatorialPurgedCV(4, 2, t1=t1).paths(x, [np.zeros(9)] * 6), "10 predictions of split 0"),
    ],
)
def test_bad_input(build: Any, message: str) -> None:
    with pytest.raises(ModelDataError, match=message):
        build(TWENTY, TWENTY["t1"])


def test_path_predictions_fit_once_a_split_on_rows_that_weigh_themselves() -> None:
    features, labels, truth = planted(["A", "B"], 300, edge=1.5)
    rows = Rows(features, labels["label"], pd.Series(1.0, index=features.index), labels["t1"])
    splitter = CombinatorialPurgedCV(5, 2, 5)
    fitted: list[int] = []

    def fit_predict(train: Rows, test: Rows) -> Any:
        fitted.append(len(train.y))
        assert train.weight.equals(evidence_weights(train.y, train.t1))
        model = LogisticRegression().fit(train.X, train.y, sample_weight=train.weight)
        return model.predict_proba(test.X)[:, 1]

    paths = path_predictions(rows, splitter, fit_predict)
    assert len(fitted) == 10
    assert paths.shape == (600, 4)
    assert np.isfinite(paths.to_numpy()).all()
    for _, path in paths.items():
        assert np.corrcoef(path, truth)[0, 1] > 0.9
    one_class = Rows(features, labels["label"] * 0, rows.weight, labels["t1"])
    with pytest.raises(ModelDataError, match=r"in split 1 of 10: all 0"):
        path_predictions(one_class, splitter, refuse_one_class)


def refuse_one_class(train: Rows, test: Rows) -> Any:
    if train.y.nunique() < 2:
        raise ModelDataError("two classes", f"all {train.y.iloc[0]}")
    return np.zeros(len(test.y))
