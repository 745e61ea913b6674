"""One fit and all that is learned beside it: number of trees, calibration, bounds and the baseline, from the training rows alone.

The training rows are split again (purged). What the inner models say of rows they never saw decides how many trees are grown, which
calibration is used and what it says; only then is a model fitted on all rows. Nothing here sees a row it will be judged on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.baseline import LogisticBaseline, choose_penalty
from alphatrade_pipelines.models.calibration import KINDS, MIN_ISOTONIC, Calibrator, Kind
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.learner import LearnerConfig, balanced, fit_trees, scores, stage_counts, staged_scores
from alphatrade_pipelines.models.metrics import log_losses
from alphatrade_pipelines.models.predictor import interval
from alphatrade_pipelines.models.validation import PurgedKFold
from alphatrade_pipelines.models.venn_abers import Bounds, CrossVennAbers, VennAbers
from alphatrade_pipelines.models.weights import clustered_error, time_blocks

if TYPE_CHECKING:
    from alphatrade_pipelines.models.folds import FoldConfig, Rows

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
DEFAULT: Kind = "beta"
BETTER_Z = 1.645


@dataclass(frozen=True, slots=True)
class CalibrationConfig:
    """How scores become probabilities.

    ``kind``: a calibration, or ``auto``: beta unless another has a lower purged log loss by more than noise explains.
    ``candidates``: what ``auto`` tries; isotonic only with 5,000 independent outcomes to fit on in every block. ``blocks``: purged
    blocks of that comparison. ``bounds``: Venn-Abers ``inductive`` or ``cross``.
    """

    kind: Kind | Literal["auto"] = "auto"
    candidates: tuple[Kind, ...] = ("beta", "platt", "isotonic")
    blocks: int = 5
    bounds: Literal["inductive", "cross"] = "inductive"

    def __post_init__(self) -> None:
        if self.kind not in (*KINDS, "auto") or self.bounds not in ("inductive", "cross") or self.blocks < 2:
            raise ModelDataError(f"a kind of auto, {', '.join(KINDS)}, bounds inductive or cross, blocks >= 2", repr(self))
        if DEFAULT not in self.candidates or set(self.candidates) - set(KINDS):
            raise ModelDataError(f"candidates of {', '.join(KINDS)} with {DEFAULT} among them", repr(self.candidates))


@dataclass(frozen=True)
class OutOfFold:
    """What inner models said of rows they never saw: score, the fold each was predicted in, outcomes, weights, label end times."""

    score: FloatArray
    fold: IntArray
    y: FloatArray
    weight: FloatArray
    t1: pd.Series


@dataclass(frozen=True)
class Grown:
    """How far to grow: the number of ``trees``, the inner out-of-fold scores ``seen`` at it, and their log ``loss`` (nats, weighted)."""

    trees: int
    seen: OutOfFold
    loss: float


@dataclass(frozen=True)
class Calibration:
    """The chosen map, the bounds, and the purged log loss of every candidate (nats, weighted; empty when nothing was compared)."""

    map: Calibrator
    bounds: Bounds
    losses: dict[Kind, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FoldFit:
    """A model and its calibration, fitted on one block's training rows with these knobs."""

    learner: LearnerConfig
    model: Any
    trees: int
    calibration: Calibration
    baseline: LogisticBaseline

    def predict(self, X: FloatArray, index: pd.Index) -> pd.DataFrame:
        """probability, lower, upper, extrapolated, score and the baseline's probability (``baseline_score``), rounded to nine digits."""
        score = scores(self.model, X)
        found = interval(self.calibration.map, self.calibration.bounds, score, index)
        return found.assign(
            score=score, base_rate=round(self.calibration.map.base_rate, 9), baseline_score=np.round(self.baseline.predict(X), 9)
        )


def fit_fold(rows: Rows, learner: LearnerConfig, folds: FoldConfig, calibration: CalibrationConfig) -> FoldFit:
    """Learn everything from ``rows``. Raises ModelDataError when they cannot be used."""
    splits = list(PurgedKFold(folds.inner, folds.embargo, rows.t1).split(rows.X))
    grown = choose_trees(rows, splits, learner)
    X, y, w = rows.arrays
    learned = calibrate(grown.seen, calibration, folds.embargo)
    baseline = LogisticBaseline.fit(X, y, w, choose_penalty(X, y, w, splits))
    return FoldFit(learner, fit_trees(X, y, w, grown.trees, learner, list(rows.X.columns)), grown.trees, learned, baseline)


def choose_trees(rows: Rows, splits: list[tuple[IntArray, IntArray]], learner: LearnerConfig) -> Grown:
    """The number of trees with the least loss over purged inner folds, and what it was chosen by."""
    counts = stage_counts(learner)
    X, y, w = rows.arrays
    staged, fold = np.full((len(counts), len(y)), np.nan), np.zeros(len(y), dtype=np.int64)
    for k, (train, test) in enumerate(splits):
        model = fit_trees(X[train], y[train], w[train], learner.iterations, learner, list(rows.X.columns))
        staged[:, test], fold[test] = staged_scores(model, X[test], learner), k
    even = balanced(y, w)
    losses = np.array([float((even * log_losses(y, stage)).mean()) for stage in staged])
    best = int(np.argmin(losses))
    return Grown(int(counts[best]), OutOfFold(staged[best], fold, y, w, rows.t1), float(losses[best]))


def calibrate(seen: OutOfFold, config: CalibrationConfig, embargo: int) -> Calibration:
    """Choose the map by purged log loss and fit it, and the bounds, on all of ``seen``."""
    kind, losses = choose_kind(seen, config, embargo) if config.kind == "auto" else (config.kind, {})
    fitted = Calibrator.fit(seen.score, seen.y, seen.weight, kind)
    if config.bounds == "cross":
        return Calibration(fitted, CrossVennAbers.fit(seen.score, seen.y, seen.fold, seen.weight), losses)
    return Calibration(fitted, VennAbers.fit(seen.score, seen.y, seen.weight), losses)


def choose_kind(seen: OutOfFold, config: CalibrationConfig, embargo: int) -> tuple[Kind, dict[Kind, float]]:
    """The kind to use, and each candidate's weighted log loss on blocks it was not fitted on.

    Beta stays unless another is better by more than 1.645 standard errors of the paired difference, clustered in time, and by more than
    estimating three parameters costs out of sample, 3 / (2 n) nats: two maps that differ by noise should not take turns from one night to
    the next. Blocks with a single class cannot be fitted on; with any, beta it is.
    """
    frame = pd.DataFrame(index=seen.t1.index)
    splits = list(PurgedKFold(config.blocks, embargo, seen.t1).split(frame))
    smallest = min(seen.weight[train].sum() for train, _ in splits)
    tried = [kind for kind in config.candidates if kind != "isotonic" or smallest >= MIN_ISOTONIC]
    if len(tried) < 2 or any(len(train) < 20 or np.ptp(seen.y[train]) == 0.0 for train, _ in splits):
        return DEFAULT, {}
    rowwise = {kind: _purged_losses(seen, splits, kind) for kind in tried}
    share = seen.weight / seen.weight.mean()
    losses = {kind: float((share * loss).mean()) for kind, loss in rowwise.items()}
    best = min(tried, key=lambda kind: losses[kind])
    gain = share * (rowwise[DEFAULT] - rowwise[best])
    error = clustered_error(gain, time_blocks(pd.DataFrame({"t1": seen.t1})))
    return (best if gain.mean() > max(BETTER_Z * error, 1.5 / seen.weight.sum()) else DEFAULT), losses


def _purged_losses(seen: OutOfFold, splits: list[tuple[IntArray, IntArray]], kind: Kind) -> FloatArray:
    found = np.empty(len(seen.y))
    for train, test in splits:
        fitted = Calibrator.fit(seen.score[train], seen.y[train], seen.weight[train], kind)
        found[test] = log_losses(seen.y[test], fitted.predict(seen.score[test]))
    return found
