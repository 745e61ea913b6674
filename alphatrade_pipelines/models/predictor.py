"""From a row of features to a calibrated probability with its bounds: one compiled path for a row, a batch and the validation folds.

trees -> score -> calibrator -> probability; score -> Venn-Abers -> lower and upper bound, widened to hold the probability. A score beyond
every score the calibration saw is ``extrapolated``: its probability is that of the edge, and its interval is widened to hold the base
rate too, so that nothing is claimed (or bet) about a place where nothing was ever observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.jit import kernel
from alphatrade_pipelines.models.calibration import Calibrator, MapArrays, calibrated
from alphatrade_pipelines.models.trees import TreeArrays, Trees, logistic_of, margin
from alphatrade_pipelines.models.venn_abers import BoundArrays, Bounds, bounds_arrays, bounds_of

FloatArray = npt.NDArray[np.float64]
_DIGITS = 1e9


class Prediction(NamedTuple):
    """What is known about one row. Probability and bounds are rounded to nine digits."""

    probability: float
    lower: float
    upper: float
    extrapolated: bool


@dataclass(frozen=True)
class Predictor:
    """The parts of a model that turn features into an opinion."""

    trees: Trees
    calibrator: Calibrator
    bounds: Bounds

    def one(self, row: FloatArray) -> Prediction:
        """One row, shape (features,), float64, finite (the caller has looked)."""
        return Prediction(*_predict_row(row, *self._arrays))

    def many(self, X: FloatArray, index: pd.Index | None = None) -> pd.DataFrame:
        """Rows, shape (rows, features): columns probability, lower, upper, extrapolated; each row as :meth:`one` gives it."""
        return interval(self.calibrator, self.bounds, self.trees.scores(X), index)

    @cached_property
    def _arrays(self) -> tuple[TreeArrays, MapArrays, BoundArrays]:
        return self.trees.arrays, self.calibrator.arrays, bounds_arrays(self.bounds)


def interval(calibrator: Calibrator, bounds: Bounds, score: FloatArray, index: pd.Index | None = None) -> pd.DataFrame:
    """probability, lower, upper, extrapolated of scores."""
    values, outside = _intervals(np.ascontiguousarray(score), calibrator.arrays, bounds_arrays(bounds))
    columns = dict(zip(("probability", "lower", "upper"), values, strict=True))
    return pd.DataFrame({**columns, "extrapolated": outside}, index=index)


@kernel
def _interval(s: float, by: MapArrays, bounds: BoundArrays) -> tuple[float, float, float, bool]:
    p = calibrated(s, by)
    p0, p1 = bounds_of(s, bounds)
    lower, upper = min(p0, p), max(p1, p)
    outside = s < by.low or s > by.high
    if outside:
        lower, upper = min(lower, by.base_rate), max(upper, by.base_rate)
    return np.rint(p * _DIGITS) / _DIGITS, np.rint(lower * _DIGITS) / _DIGITS, np.rint(upper * _DIGITS) / _DIGITS, outside


@kernel
def _intervals(score: FloatArray, by: MapArrays, bounds: BoundArrays) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    found, outside = np.empty((3, len(score))), np.empty(len(score), np.bool_)
    for i in range(len(score)):
        found[0, i], found[1, i], found[2, i], outside[i] = _interval(score[i], by, bounds)
    return found, outside


@kernel
def _predict_row(x: FloatArray, trees: TreeArrays, by: MapArrays, bounds: BoundArrays) -> tuple[float, float, float, bool]:
    return _interval(logistic_of(margin(x, trees)), by, bounds)
