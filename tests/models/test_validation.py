"""Purged k-fold and uniqueness against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.validation import PurgedKFold
from alphatrade_pipelines.models.weights import average_uniqueness, clustered_error, effective_size, time_blocks
from tests.models.makers import daily_index, planted


def random_labels(seed: int, n: int = 60) -> pd.DataFrame:
    """Uneven panel: symbols start at different times, labels live 1 to 9 bars."""
    rng = np.random.default_rng(seed)
    index = daily_index(["A", "B", "C"], n)
    index = index[rng.random(len(index)) < 0.8]
    lives = rng.integers(1, 10, len(index))
    times = index.get_level_values("timestamp")
    return pd.DataFrame({"t1": times + pd.to_timedelta(lives, "D")}, index=index)


@pytest.mark.parametrize(("seed", "embargo"), [(0, 0), (1, 3), (2, 7)])
def test_purging_equals_brute_force(seed: int, embargo: int) -> None:
    labels = random_labels(seed)
    starts = labels.index.get_level_values("timestamp")
    ends = pd.DatetimeIndex(labels["t1"])
    distinct = sorted(set(starts))
    tested: list[int] = []
    for train, test in PurgedKFold(4, embargo, labels["t1"]).split(labels):
        last_end = max(ends[j] for j in test)
        embargoed = {t for t in distinct if t > last_end and sum(last_end < u <= t for u in distinct) <= embargo}
        expected = [
            i
            for i in range(len(labels))
            if i not in set(test) and not any(starts[i] <= ends[j] and starts[j] <= ends[i] for j in test) and starts[i] not in embargoed
        ]
        assert train.tolist() == expected
        tested += test.tolist()
    assert sorted(tested) == list(range(len(labels)))


def test_blocks_are_contiguous_even_and_never_split_a_time() -> None:
    labels = random_labels(4, n=200)
    folds = [labels.index[test].get_level_values("timestamp") for _, test in PurgedKFold(5, 0, labels["t1"]).split(labels)]
    for earlier, later in itertools.pairwise(folds):
        assert earlier.max() < later.min()
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 6  # two decision times of three symbols


def test_works_as_a_sklearn_splitter_with_t1_as_groups() -> None:
    features, labels, _ = planted(["A", "B"], 300, edge=1.5)
    given = cross_val_score(LogisticRegression(), features, labels["label"], cv=PurgedKFold(4, 5, labels["t1"]), scoring="roc_auc")
    by_groups = [
        LogisticRegression().fit(features.iloc[train], labels["label"].iloc[train]).score(features.iloc[test], labels["label"].iloc[test])
        for train, test in PurgedKFold(4, 5).split(features, labels["label"], groups=labels["t1"])
    ]
    assert len(given) == len(by_groups) == 4
    assert given.mean() > 0.7


def test_a_label_that_leaks_through_time_is_caught_by_purging() -> None:
    """Labels made of overlapping sums: plain KFold-like neighbours know the answer, purged training rows do not."""
    labels = pd.DataFrame(
        {"t1": daily_index(["A"], 100).get_level_values("timestamp") + pd.Timedelta(days=14)}, index=daily_index(["A"], 100)
    )
    for train, test in PurgedKFold(5, 0, labels["t1"]).split(labels):
        low, high = labels.index[test][0][1], labels["t1"].iloc[test].max()
        kept = labels.iloc[train]
        assert ((kept["t1"] < low) | (kept.index.get_level_values("timestamp") > high)).all()
        assert len(train) < 100 - len(test)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x, t1: PurgedKFold(1, 0, t1), "n_splits"),
        (lambda x, t1: PurgedKFold(3, -1, t1), "embargo"),
        (lambda x, t1: list(PurgedKFold(3).split(x)), "label end times"),
        (lambda x, t1: list(PurgedKFold(3, t1=t1.iloc[1:]).split(x)), "none for 1 rows"),
        (lambda x, t1: list(PurgedKFold(3, t1=t1 - pd.Timedelta(days=60)).split(x)), "earlier end times"),
        (lambda x, t1: list(PurgedKFold(99, t1=t1).split(x)), "at least 99 distinct"),
    ],
)
def test_bad_input(build, message: str) -> None:  # type: ignore[no-untyped-def]
    labels = random_labels(0)
    with pytest.raises(ModelDataError, match=message):
        build(labels, labels["t1"])


def test_uniqueness_equals_brute_force() -> None:
    labels = random_labels(7)
    weights = average_uniqueness(labels)
    for symbol in ("A", "B", "C"):
        rows = labels.xs(symbol)
        alive_at = {t: sum(s <= t and (t < e or t == s) for s, e in rows["t1"].items()) for t in rows.index}
        for start, end in rows["t1"].items():
            life = [t for t in rows.index if start <= t and (t < end or t == start)]
            assert weights.loc[(symbol, start)] == pytest.approx(np.mean([1 / alive_at[t] for t in life]))


def test_labels_that_never_overlap_weigh_one() -> None:
    index = daily_index(["A", "B"], 20)
    labels = pd.DataFrame({"t1": index.get_level_values("timestamp") + pd.Timedelta(hours=8)}, index=index)
    assert (average_uniqueness(labels) == 1.0).all()


def test_clustered_error_sees_overlap_and_equals_plain_error_without() -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(size=5000)
    alone = np.arange(5000)
    assert clustered_error(plain, alone) == pytest.approx(plain.std(ddof=1) / np.sqrt(5000), rel=1e-9)
    repeated = np.repeat(rng.normal(size=500), 10)
    blocks = np.repeat(np.arange(500), 10)
    assert effective_size(repeated, blocks) == pytest.approx(500, rel=0.01)
    assert effective_size(plain, alone) > 4900


def test_time_blocks_keep_overlapping_labels_together_or_adjacent() -> None:
    labels = random_labels(5, n=400)
    blocks = pd.Series(time_blocks(labels), index=labels.index)
    last_known = labels["t1"].groupby(blocks.to_numpy()).max()
    first = labels.index.get_level_values("timestamp").to_series().groupby(blocks.to_numpy()).min()
    for block in range(len(last_known) - 2):
        assert last_known[block] < first[block + 2]
