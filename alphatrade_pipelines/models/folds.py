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

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.fitting import CalibrationConfig, FoldFit, fit_fold
from alphatrade_pipelines.models.learner import LearnerConfig
from alphatrade_pipelines.models.validation import CombinatorialPurgedCV, PurgedKFold
from alphatrade_pipelines.models.weights import evidence_weights

FloatArray = npt.NDArray[np.float64]
# decision times of a fold's training rows -> features of ALL rows from a pipeline fitted on bars at those times only
FoldFeatures = Callable[[pd.DatetimeIndex], pd.DataFrame]
Progress = Callable[[str, int, int], None]
# (outcomes, label end times) of some rows -> their weights, worked out from nothing else
Weigh = Callable[[pd.Series, pd.Series], pd.Series]
# training rows -> the learner to fit them with, chosen from nothing else
ChooseLearner = Callable[["Rows"], LearnerConfig]


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


def out_of_fold(
    rows: Rows,
    learner: LearnerConfig,
    folds: FoldConfig,
    fold_features: FoldFeatures | None = None,
    progress: Progress | None = None,
    calibration: CalibrationConfig | None = None,
    choose: ChooseLearner | None = None,
) -> tuple[pd.DataFrame, list[FoldFit]]:
    """Predict every row by a model that never saw it, nor any row whose label overlaps it in time.

    Returns a frame on the index of ``rows`` (fold, score, probability, lower, upper, extrapolated, baseline_score: what the baseline says,
    base_rate: what a calibrator without any score would say, the training rows' softened share of wins) and what was fitted in each fold.
    ``choose`` picks each fold's learner from its training rows in place of ``learner``.
    Raises ModelDataError naming the fold when its training rows cannot be used.
    """
    pieces, fits = [], []
    for k, (train, test) in enumerate(PurgedKFold(folds.outer, folds.embargo, rows.t1).split(rows.X)):
        if progress:
            progress("fold", k, folds.outer)
        X = rows.X if fold_features is None else _refitted(fold_features, rows, train)
        try:
            own = rows.take(train, X).reweighted()
            fitted = fit_fold(own, choose(own) if choose else learner, folds, calibration or CalibrationConfig())
        except ModelDataError as error:
            raise ModelDataError(error.expected, f"in fold {k + 1} of {folds.outer}: {error.found}", error.fix) from error
        asked = rows.take(test, X)
        pieces.append(fitted.predict(asked.arrays[0], asked.X.index).assign(fold=k))
        fits.append(fitted)
    if progress:
        progress("fold", folds.outer, folds.outer)
    return pd.concat(pieces).reindex(rows.X.index), fits


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


def _refitted(fold_features: FoldFeatures, rows: Rows, train: npt.NDArray[np.int64]) -> pd.DataFrame:
    times = pd.DatetimeIndex(rows.X.index[train].get_level_values("timestamp").unique().sort_values())
    X = fold_features(times).reindex(index=rows.X.index, columns=rows.X.columns)
    if not np.isfinite(X.to_numpy(np.float64)).all():
        name = X.columns[int(np.argmax(~np.isfinite(X.to_numpy(np.float64)).all(axis=0)))]
        raise ModelDataError("refitted features wherever the full features have values", f"NaN in {name}", "Give fold_features every bar.")
    return X
