"""Inductive Venn-Abers intervals (Vovk, Petej and Fedorova 2015), precomputed, with weights.

For a new score s the calibration set is extended once with (s, 0) and once with (s, 1); isotonic regression at s gives p0 <= p1, and one of
the two is perfectly calibrated in expectation. Both are step functions of s, so they are computed once and looked up by bisection.
Calibration rows may weigh less than one (overlapping labels are not independent evidence); the new object always weighs one, which
widens the interval as it should.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.models._jit import jit
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.metrics import check_predictions

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VennAbers:
    """p0 = ``value0[i]`` for s in [knot0[i-1], knot0[i]), p1 = ``value1[i]`` for s in (knot1[i-1], knot1[i]]. Scores below every
    calibration score have p0 = 0, scores above have p1 = 1: nothing is claimed beyond the evidence."""

    knot0: FloatArray
    value0: FloatArray
    knot1: FloatArray
    value1: FloatArray

    @classmethod
    def fit(cls, scores: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> VennAbers:
        """Precompute both step functions. O(k) in practice for k distinct scores.

        Raises ModelDataError for bad scores, outcomes or weights.
        """
        scores, y = np.asarray(scores, np.float64), np.asarray(y, np.float64)
        check_predictions(y, scores)
        w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
        if w.shape != y.shape or not (w > 0).all():
            raise ModelDataError("one positive weight for each outcome", "missing, zero or negative weights")
        knots, position = np.unique(scores, return_inverse=True)
        mass = np.bincount(position, weights=w).astype(np.float64)
        wins = np.bincount(position, weights=w * y).astype(np.float64)
        p0, p1 = _both(mass, wins)
        return cls(*_compressed(knots, np.concatenate([[0.0], p0])), *_compressed(knots, np.concatenate([p1, [1.0]])))

    def predict(self, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(p0, p1) of each score, p0 <= p1."""
        s = np.asarray(scores, np.float64)
        return self.value0[np.searchsorted(self.knot0, s, side="right")], self.value1[np.searchsorted(self.knot1, s, side="left")]

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists for JSON."""
        return {name: getattr(self, name).tolist() for name in ("knot0", "value0", "knot1", "value1")}

    @classmethod
    def from_dict(cls, data: dict[str, list[float]]) -> VennAbers:
        """The inverse of :meth:`to_dict`."""
        return cls(*(np.asarray(data[name], dtype=np.float64) for name in ("knot0", "value0", "knot1", "value1")))


def _compressed(knots: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Drop the knots at which a step function does not step: exact, and far smaller than one knot for each score."""
    steps = np.flatnonzero(values[1:] != values[:-1])
    return knots[steps], values[np.concatenate([steps, [len(values) - 1]])]


@jit
def _both(mass: FloatArray, wins: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Isotonic value at each knot after adding there one object of weight 1 labelled 0, and one labelled 1."""
    k = len(mass)
    mass_to, wins_to = np.zeros(k + 1), np.zeros(k + 1)
    for i in range(k):
        mass_to[i + 1], wins_to[i + 1] = mass_to[i] + mass[i], wins_to[i] + wins[i]
    # block_start[i]: where the last block of the isotonic fit of knots [0..i] starts; block_end[i]: where the first of [i..k) ends
    block_start, block_end = np.empty(k, np.int64), np.empty(k, np.int64)
    for i in range(k):
        a = i
        while a > 0:
            b = block_start[a - 1]
            if (wins_to[a] - wins_to[b]) * (mass_to[i + 1] - mass_to[a]) < (wins_to[i + 1] - wins_to[a]) * (mass_to[a] - mass_to[b]):
                break
            a = b
        block_start[i] = a
    for i in range(k - 1, -1, -1):
        a = i + 1
        while a < k:
            b = block_end[a]
            if (wins_to[b] - wins_to[a]) * (mass_to[a] - mass_to[i]) > (wins_to[a] - wins_to[i]) * (mass_to[b] - mass_to[a]):
                break
            a = b
        block_end[i] = a
    p0, p1 = np.empty(k), np.empty(k)
    for i in range(k):
        for label in range(2):
            low, high = i, i + 1
            merged = True
            while merged:  # pool the changed knot with the blocks beside it until the order is right again
                merged = False
                value = (wins_to[high] - wins_to[low] + label) / (mass_to[high] - mass_to[low] + 1.0)
                if low > 0:
                    b = block_start[low - 1]
                    if (wins_to[low] - wins_to[b]) / (mass_to[low] - mass_to[b]) >= value:
                        low, merged = b, True
                        continue
                if high < k:
                    b = block_end[high]
                    if (wins_to[b] - wins_to[high]) / (mass_to[b] - mass_to[high]) <= value:
                        high, merged = b, True
            if label == 0:
                p0[i] = value
            else:
                p1[i] = value
    return p0, p1
