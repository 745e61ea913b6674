"""Nested, purged, out-of-fold prediction: every number that judges a model comes from rows that had no part in making it.

For each outer block: the training rows are split again (purged) to find the number of trees and to learn the calibration; a model is
fitted on all of them; only then is the block predicted. The block itself decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.calibration import Calibrator, softened
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.learner import LearnerConfig, balanced, fit_trees, scores, stage_counts, staged_scores
from alphatrade_pipelines.models.metrics import log_losses
from alphatrade_pipelines.models.predictor import interval
from alphatrade_pipelines.models.validation import CombinatorialPurgedCV, PurgedKFold
from alphatrade_pipelines.models.venn_abers import VennAbers
from alphatrade_pipelines.models.weights import evidence_weights

FloatArray = npt.NDArray[np.float64]
# decision times of a fold's training rows -> features of ALL rows from a pipeline fitted on bars at those times only
FoldFeatures = Callable[[pd.DatetimeIndex], pd.DataFrame]
Progress = Callable[[str, int, int], None]
# (outcomes, label end times) of some rows -> their weights, worked out from nothing else
Weigh = Callable[[pd.Series, pd.Series], pd.Series]


@dataclass(frozen=True, slots=True)
class FoldConfig:
    """``embargo`` in decision times; ``inner`` folds choose the number of trees and calibrate within a training block."""

    outer: int = 5
    inner: int = 5
    embargo: int = 10


@dataclass(frozen=True)
class Rows:
    """Aligned training rows: features, outcome 0/1, weight, label end time; index (symbol, timestamp).

    ``weigh`` is how each fold works out the weights of its own rows.
    """

    X: pd.DataFrame
    y: pd.Series
    weight: pd.Series
    t1: pd.Series
    weigh: Weigh = field(default=evidence_weights, compare=False)

    def take(self, positions: npt.NDArray[np.int64], X: pd.DataFrame | None = None) -> Rows:
        """Some of the rows, optionally with other features."""
        source = self.X if X is None else X
        return Rows(source.iloc[positions], self.y.iloc[positions], self.weight.iloc[positions], self.t1.iloc[positions], self.weigh)

    def reweighted(self) -> Rows:
        """The same rows with weights worked out from themselves: what a fold may know of evidence."""
        return replace(self, weight=self.weigh(self.y, self.t1))

    @property
    def arrays(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """X, y, weight as plain arrays."""
        return self.X.to_numpy(np.float64), self.y.to_numpy(np.float64), self.weight.to_numpy(np.float64)


def choose_trees(rows: Rows, learner: LearnerConfig, folds: FoldConfig) -> tuple[int, FloatArray]:
    """Number of trees with the least weighted log loss over purged inner folds, and the inner out-of-fold scores at that number."""
    counts = stage_counts(learner)
    staged = np.full((len(counts), len(rows.y)), np.nan)
    for train, test in PurgedKFold(folds.inner, folds.embargo, rows.t1).split(rows.X):
        X, y, w = rows.take(train).arrays
        model = fit_trees(X, y, w, learner.iterations, learner)
        staged[:, test] = staged_scores(model, rows.take(test).arrays[0], learner)
    _, y, w = rows.arrays
    w = balanced(y, w)
    losses = np.array([float((w * log_losses(y, stage)).mean()) for stage in staged])
    best = int(np.argmin(losses))
    return int(counts[best]), staged[best]


def out_of_fold(
    rows: Rows, learner: LearnerConfig, folds: FoldConfig, fold_features: FoldFeatures | None = None, progress: Progress | None = None
) -> tuple[pd.DataFrame, list[int]]:
    """Predict every row by a model that never saw it, nor any row whose label overlaps it in time.

    Returns a frame on the index of ``rows`` (fold, score, probability, lower, upper, base_rate: what a calibrator without any score would
    say, the training rows' softened share of wins) and the number of trees chosen in each fold. Raises ModelDataError naming the fold
    when its training rows cannot be used.
    """
    pieces, trees = [], []
    for k, (train, test) in enumerate(PurgedKFold(folds.outer, folds.embargo, rows.t1).split(rows.X)):
        if progress:
            progress("fold", k, folds.outer)
        X = rows.X if fold_features is None else _refitted(fold_features, rows, train)
        try:
            piece, chosen = _one_fold(rows.take(train, X).reweighted(), rows.take(test, X), learner, folds)
        except ModelDataError as error:
            raise ModelDataError(error.expected, f"in fold {k + 1} of {folds.outer}: {error.found}", error.fix) from error
        pieces.append(piece.assign(fold=k))
        trees.append(chosen)
    if progress:
        progress("fold", folds.outer, folds.outer)
    return pd.concat(pieces).reindex(rows.X.index), trees


def path_predictions(
    rows: Rows,
    splitter: CombinatorialPurgedCV,
    fit_predict: Callable[[Rows, Rows], FloatArray],
    progress: Progress | None = None,
    fold_features: FoldFeatures | None = None,
) -> pd.DataFrame:
    """Predict every row once for each backtest path of ``splitter``, each time by a model that never saw it or a label that overlaps it.

    ``fit_predict`` is given the training rows of a split, weighed among themselves, and its test rows, and returns one number for each of
    the latter; ``fold_features`` refits the feature pipeline inside each split. Returns a column for each path on the index of ``rows``.
    Raises ModelDataError naming the split.
    """
    found: list[FloatArray] = []
    for train, test in splitter.split(rows.X, groups=rows.t1):
        if progress:
            progress("split", len(found), splitter.get_n_splits())
        X = rows.X if fold_features is None else _refitted(fold_features, rows, train)
        try:
            found.append(fit_predict(rows.take(train, X).reweighted(), rows.take(test, X)))
        except ModelDataError as error:
            where = f"in split {len(found) + 1} of {splitter.get_n_splits()}: {error.found}"
            raise ModelDataError(error.expected, where, error.fix) from error
    if progress:
        progress("split", len(found), splitter.get_n_splits())
    return splitter.paths(rows.X, found, groups=rows.t1)


def _one_fold(train: Rows, test: Rows, learner: LearnerConfig, folds: FoldConfig) -> tuple[pd.DataFrame, int]:
    chosen, inner_scores = choose_trees(train, learner, folds)
    X, y, w = train.arrays
    calibrator, bounds = Calibrator.fit(inner_scores, y, w), VennAbers.fit(inner_scores, y, w)
    score = scores(fit_trees(X, y, w, chosen, learner), test.arrays[0])
    predicted = interval(calibrator, bounds, score, test.X.index)
    return predicted.assign(score=score, base_rate=round(float(np.average(softened(y, w), weights=w)), 9)), chosen


def _refitted(fold_features: FoldFeatures, rows: Rows, train: npt.NDArray[np.int64]) -> pd.DataFrame:
    times = pd.DatetimeIndex(rows.X.index[train].get_level_values("timestamp").unique().sort_values())
    X = fold_features(times).reindex(index=rows.X.index, columns=rows.X.columns)
    if not np.isfinite(X.to_numpy(np.float64)).all():
        name = X.columns[int(np.argmax(~np.isfinite(X.to_numpy(np.float64)).all(axis=0)))]
        raise ModelDataError("refitted features wherever the full features have values", f"NaN in {name}", "Give fold_features every bar.")
    return X
