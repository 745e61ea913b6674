"""Models, calibrators and weights that meet their test rows. Signature: (rows, training, test positions) -> values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.isolation import IntArray, Learn
from alphatrade_pipelines.leaks.planted.base import FloatArray, Plant
from alphatrade_pipelines.models.folds import Rows
from alphatrade_pipelines.models.tuning import Params, Real, TuneConfig, tune
from alphatrade_pipelines.models.weights import WeightConfig, time_decay

# a fold as arrays: features, outcomes, training and test positions -> probability of each test row
Fold = Callable[[FloatArray, FloatArray, IntArray, IntArray], FloatArray]


def _learn(fold: Fold) -> Learn:
    def run(rows: Rows, train: IntArray, test: IntArray) -> pd.Series:
        X, y, _ = rows.arrays
        return pd.Series(fold(X, y, train, test), index=rows.X.index[test])

    return run


def logistic(X: FloatArray, y: FloatArray, predict: FloatArray, ridge: float = 1.0) -> FloatArray:
    """Ridge logistic regression by Newton steps on features in units of the training rows."""
    centre, scale = X.mean(axis=0), X.std(axis=0) + 1e-12
    Z, theta = np.column_stack([(X - centre) / scale, np.ones(len(X))]), np.zeros(X.shape[1] + 1)
    for _ in range(8):
        p = 1.0 / (1.0 + np.exp(-np.clip(Z @ theta, -30, 30)))
        hessian = (Z * (p * (1.0 - p))[:, None]).T @ Z + ridge * np.eye(len(theta))
        theta = theta - np.linalg.solve(hessian, Z.T @ (p - y) + ridge * theta)
    W = np.column_stack([(predict - centre) / scale, np.ones(len(predict))])
    # row by row: a matrix product may round a row differently when other rows change
    return np.array([1.0 / (1.0 + np.exp(-np.clip(float(np.sum(row * theta)), -30, 30))) for row in W])


def _loss(y: FloatArray, p: FloatArray) -> float:
    inside = np.clip(p, 1e-9, 1.0 - 1e-9)
    return float(-np.mean(y * np.log(inside) + (1.0 - y) * np.log(1.0 - inside)))


def _halves(train: IntArray) -> tuple[IntArray, IntArray]:
    return train[: len(train) // 2], train[len(train) // 2 :]


def scaled_before_the_split(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, every: bool) -> FloatArray:
    basis = X if every else X[train]
    Z = (X - basis.mean(axis=0)) / (basis.std(axis=0) + 1e-12)
    return logistic(np.tanh(Z[train]), y[train], np.tanh(Z[test]))


def projected(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, every: bool) -> FloatArray:
    """The two first principal components."""
    basis = X if every else X[train]
    centre, scale = basis.mean(axis=0), basis.std(axis=0) + 1e-12
    _, vectors = np.linalg.eigh(np.cov((basis - centre).T / scale[:, None]))
    parts = np.array([[float(np.sum((row - centre) / scale * vectors[:, -k])) for k in (1, 2)] for row in X])
    return logistic(parts[train], y[train], parts[test])


def selected(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, every: bool) -> FloatArray:
    """The two features that agree best with the outcome."""
    rows = np.arange(len(y)) if every else train
    centred = y[rows] - y[rows].mean()
    strength = np.abs((X[rows] - X[rows].mean(axis=0)).T @ centred) / (X[rows].std(axis=0) + 1e-12)
    best = np.sort(np.argsort(strength)[-2:])
    return logistic(X[train][:, best], y[train], X[test][:, best])


def encoded(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, every: bool) -> FloatArray:
    """A bucket of the first feature is replaced by the mean outcome in it."""
    bucket = np.searchsorted(np.quantile(X[train, 0], np.linspace(0, 1, 21)[1:-1]), X[:, 0])
    rows = np.arange(len(y)) if every else train
    wins, count = np.bincount(bucket[rows], y[rows], 20), np.bincount(bucket[rows], minlength=20)
    mean = (wins + 1.0) / (count + 2.0)
    return logistic(mean[bucket[train]][:, None], y[train], mean[bucket[test]][:, None])


def descended(X: FloatArray, y: FloatArray, predict: FloatArray, steps: int) -> FloatArray:
    """Logistic regression by so many steps downhill, stopped before it is done."""
    centre, scale = X.mean(axis=0), X.std(axis=0) + 1e-12
    Z, theta = (X - centre) / scale, np.zeros(X.shape[1])
    for _ in range(steps):
        theta = theta - 0.1 * Z.T @ (1.0 / (1.0 + np.exp(-Z @ theta)) - y) / len(y)
    return np.array([1.0 / (1.0 + np.exp(-np.clip(float(np.sum((row - centre) / scale * theta)), -30, 30))) for row in predict])


def stopped_early(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, on_test: bool) -> FloatArray:
    """The number of steps with the least loss on the test rows, or on the last training rows."""
    first, last = (train, test) if on_test else _halves(train)
    stages = (1, 4, 16, 64)
    losses = [_loss(y[last], descended(X[first], y[first], X[last], steps)) for steps in stages]
    return descended(X[train], y[train], X[test], stages[int(np.argmin(losses))])


def best_of_two(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, on_test: bool) -> FloatArray:
    """The penalty that does best on the test rows, or on the last training rows."""
    first, last = (train, test) if on_test else _halves(train)
    ridges = (1.0, 30.0, 1000.0, 30_000.0)
    losses = [_loss(y[last], logistic(X[first], y[first], X[last], ridge)) for ridge in ridges]
    return logistic(X[train], y[train], X[test], ridges[int(np.argmin(losses))])


def calibrated(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, on_test: bool) -> FloatArray:
    """Platt scaling of the scores, learnt on the test rows or on the later training rows."""
    first, last = _halves(train)
    fit = test if on_test else last
    score = logistic(X[first], y[first], X)
    return logistic(score[fit][:, None], y[fit], score[test][:, None])


def thresholded(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, on_test: bool) -> FloatArray:
    """Signals above the cut-off that would have been most often right."""
    score = logistic(X[train], y[train], X)
    fit = test if on_test else train
    cuts = np.quantile(score[train], np.linspace(0.1, 0.9, 17))
    best = cuts[int(np.argmax([np.mean((score[fit] > cut) == (y[fit] > 0.5)) for cut in cuts]))]
    return np.asarray(score[test] > best, dtype=np.float64)


def filled(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, every: bool) -> FloatArray:
    """Values outside the usual range count as missing and become the mean."""
    rows = np.arange(len(y)) if every else train
    limit = np.quantile(np.abs(X[train]), 0.9, axis=0)
    mean = X[rows].mean(axis=0)
    Z = np.where(np.abs(X) > limit, mean, X)
    return logistic(Z[train], y[train], Z[test])


def neighbours(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, every: bool) -> FloatArray:
    """Mean outcome of the nearest rows."""
    rows = np.arange(len(y)) if every else train
    scale = X[train].std(axis=0) + 1e-12
    found = []
    for at in test:
        distance = np.sum(((X[rows] - X[at]) / scale) ** 2, axis=1)
        distance[rows == at] = np.inf
        found.append(float(y[rows[np.argsort(distance, kind="stable")[:15]]].mean()))
    return np.array(found)


def oversampled(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, every: bool) -> FloatArray:
    """Rows of the rarer class are repeated before the split: copies of test rows land in training."""
    pool = np.arange(len(y)) if every else train
    rare = pool[y[pool] == float(y[train].mean() < 0.5)]
    extra = np.random.default_rng(3).choice(rare, max(1, len(train) // 10))
    rows = np.concatenate([train, extra])
    return logistic(X[rows], y[rows], X[test])


def ranked(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, among_test: bool) -> FloatArray:
    """Each prediction as a percentile of the test set's predictions, or of the training rows'."""
    score = logistic(X[train], y[train], X)
    basis = np.sort(score[test] if among_test else score[train])
    return np.asarray(np.searchsorted(basis, score[test]) / len(basis), dtype=np.float64)


def trained_on(X: FloatArray, y: FloatArray, train: IntArray, test: IntArray, purged_too: bool) -> FloatArray:
    """Everything that is not tested is trained on, purged or not."""
    rows = np.setdiff1d(np.arange(len(y)), test) if purged_too else train
    return logistic(X[rows], y[rows], X[test])


# weights of the training rows
def _uniqueness(rows: Rows, train: IntArray, counted: IntArray) -> pd.Series:
    """1 / number of labels of the same symbol alive at the decision."""
    symbols = np.asarray(rows.X.index.get_level_values("symbol"))
    starts = pd.DatetimeIndex(rows.X.index.get_level_values("timestamp")).as_unit("ns").asi8
    ends = pd.DatetimeIndex(rows.t1).as_unit("ns").asi8
    values = []
    for at in train:
        own = counted[symbols[counted] == symbols[at]]
        values.append(1.0 / max(1, int(np.sum((starts[own] <= ends[at]) & (ends[own] >= starts[at])))))
    return pd.Series(values, index=rows.X.index[train])


def uniqueness_counting_all(rows: Rows, train: IntArray, test: IntArray) -> pd.Series:
    return _uniqueness(rows, np.setdiff1d(np.arange(len(rows.y)), test), np.arange(len(rows.y)))


def uniqueness_in_training(rows: Rows, train: IntArray, test: IntArray) -> pd.Series:
    return _uniqueness(rows, train, train)


def class_weights(rows: Rows, train: IntArray, test: IntArray, every: bool) -> pd.Series:
    """Both classes weigh the same: in the sample, or in the training rows."""
    y = rows.y.to_numpy(np.float64)
    share = float(y.mean() if every else y[train].mean())
    return pd.Series(np.where(y[train] > 0.5, 0.5 / share, 0.5 / (1.0 - share)), index=rows.X.index[train])


def normalised_weights(rows: Rows, train: IntArray, test: IntArray, every: bool) -> pd.Series:
    """Weights in units of their mean."""
    weight = rows.weight.to_numpy(np.float64)
    return pd.Series(weight[train] / (weight.mean() if every else weight[train].mean()), index=rows.X.index[train])


def decayed(rows: Rows, train: IntArray, test: IntArray, every: bool) -> pd.Series:
    """Age in cumulated uniqueness: of all labels, or of the training rows'."""
    labels = pd.DataFrame({"t1": rows.t1})
    counted = labels if every else labels.iloc[train]
    return time_decay(counted, WeightConfig(decay="linear", oldest=0.1)).loc[rows.X.index[train]]


def tuned(on_all: bool) -> Learn:
    """The penalty with the least loss over purged inner folds: of all rows, before they were split, or of the training rows."""

    def penalised(train: Rows, test: Rows, params: Params) -> FloatArray:
        X, y, _ = train.arrays
        return logistic(X, y, test.arrays[0], params["ridge"])

    def run(rows: Rows, train: IntArray, test: IntArray) -> pd.Series:
        own = rows.take(train)
        space, config = {"ridge": Real(1.0, 1e5, log=True)}, TuneConfig(trials=4, inner=2, embargo=5, search="sobol")
        best, _ = tune(rows if on_all else own, space, penalised, config)
        return pd.Series(penalised(own, rows.take(test), best), index=rows.X.index[test])

    return run


def _plant(name: str, fold: Callable[[FloatArray, FloatArray, IntArray, IntArray, bool], FloatArray]) -> Plant:
    leak = _learn(lambda X, y, train, test: fold(X, y, train, test, True))
    clean = _learn(lambda X, y, train, test: fold(X, y, train, test, False))
    return Plant(name, "learner", leak, clean)


def _weights(name: str, weigh: Callable[[Rows, IntArray, IntArray, bool], pd.Series]) -> Plant:
    leak: Learn = lambda rows, train, test: weigh(rows, train, test, True)  # noqa: E731 - a pair of one-liners
    clean: Learn = lambda rows, train, test: weigh(rows, train, test, False)  # noqa: E731
    return Plant(name, "weights", leak, clean)


PLANTS = (
    _plant("scaled_before_the_split", scaled_before_the_split),
    _plant("pca_before_the_split", projected),
    _plant("feature_selection_on_the_full_sample", selected),
    _plant("target_encoding_on_the_full_sample", encoded),
    _plant("early_stopping_on_the_test_fold", stopped_early),
    _plant("penalty_chosen_on_the_test_fold", best_of_two),
    _plant("calibration_on_the_test_fold", calibrated),
    _plant("threshold_tuned_on_the_test_fold", thresholded),
    _plant("filled_with_means_of_all_rows", filled),
    _plant("nearest_neighbours_among_all_rows", neighbours),
    _plant("oversampled_before_the_split", oversampled),
    _plant("ranked_within_the_test_set", ranked),
    _plant("trained_on_purged_rows", trained_on),
    Plant("tuned_before_the_split", "learner", tuned(on_all=True), tuned(on_all=False)),
    _weights("decay_in_the_uniqueness_of_all_rows", decayed),
    Plant("uniqueness_counting_test_labels", "weights", uniqueness_counting_all, uniqueness_in_training),
    _weights("class_weights_of_all_rows", class_weights),
    _weights("weights_normalised_over_all_rows", normalised_weights),
)
