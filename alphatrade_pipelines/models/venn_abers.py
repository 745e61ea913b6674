"""Venn-Abers intervals (Vovk, Petej and Fedorova 2015), inductive and cross, precomputed, with weights.

For a new score s the calibration set is extended once with (s, 0) and once with (s, 1); isotonic regression at s gives p0 <= p1, and one of
the two is perfectly calibrated in expectation. Both are step functions of s, so they are computed once and looked up by bisection.
Calibration rows may weigh less than one (overlapping labels are not independent evidence); the new object always weighs one, which
widens the interval as it should.

Inductive: one pair of step functions from all calibration rows. Cross: one pair for each fold of them, averaged; a fold holds less
evidence, so the interval is wider, and it does not hang on one set of rows being exchangeable with the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel
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

    @property
    def parts(self) -> tuple[VennAbers, ...]:
        """Itself: an inductive interval is a cross interval of one part."""
        return (self,)

    def predict(self, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(p0, p1) of each score, p0 <= p1."""
        s = np.asarray(scores, np.float64)
        return self.value0[np.searchsorted(self.knot0, s, side="right")], self.value1[np.searchsorted(self.knot1, s, side="left")]

    def probability(self, scores: FloatArray) -> FloatArray:
        """The one probability with the least regret in log loss, p1 / (1 - p0 + p1)."""
        p0, p1 = self.predict(scores)
        return np.asarray(p1 / (1.0 - p0 + p1), dtype=np.float64)

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists for JSON."""
        return {name: getattr(self, name).tolist() for name in ("knot0", "value0", "knot1", "value1")}

    @classmethod
    def from_dict(cls, data: dict[str, list[float]]) -> VennAbers:
        """The inverse of :meth:`to_dict`."""
        return cls(*(np.asarray(data[name], dtype=np.float64) for name in ("knot0", "value0", "knot1", "value1")))


@dataclass(frozen=True, slots=True)
class CrossVennAbers:
    """One inductive interval for each fold of the calibration rows; bounds are the means of theirs."""

    parts: tuple[VennAbers, ...]

    @classmethod
    def fit(cls, scores: FloatArray, y: FloatArray, fold: IntArray, weights: FloatArray | None = None) -> CrossVennAbers:
        """``fold``: which fold each row was predicted in. Raises ModelDataError as :meth:`VennAbers.fit`, or for a single fold."""
        names = np.unique(fold)
        if len(names) < 2 or len(fold) != len(scores):
            raise ModelDataError("a fold for each score, two or more in all", f"{len(names)} folds of {len(fold)} rows")
        w = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
        return cls(tuple(VennAbers.fit(scores[fold == name], y[fold == name], w[fold == name]) for name in names))

    def predict(self, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(p0, p1) of each score, p0 <= p1."""
        each = [part.predict(scores) for part in self.parts]
        return np.mean([p0 for p0, _ in each], axis=0), np.mean([p1 for _, p1 in each], axis=0)

    def probability(self, scores: FloatArray) -> FloatArray:
        """The one probability with the least regret in log loss: GM(p1) / (GM(1 - p0) + GM(p1)), GM the geometric mean over the folds."""
        each = [part.predict(scores) for part in self.parts]
        with np.errstate(divide="ignore"):
            win = np.exp(np.mean([np.log(p1) for _, p1 in each], axis=0))
            loss = np.exp(np.mean([np.log1p(-p0) for p0, _ in each], axis=0))
        return np.asarray(win / (loss + win), dtype=np.float64)


Bounds = VennAbers | CrossVennAbers


def bounds_to_dict(bounds: Bounds) -> dict[str, Any]:
    """Plain lists for JSON, of either kind."""
    return {"parts": [part.to_dict() for part in bounds.parts]}


def bounds_from_dict(data: dict[str, Any]) -> Bounds:
    """The inverse of :func:`bounds_to_dict`."""
    parts = tuple(VennAbers.from_dict(part) for part in data["parts"])
    return parts[0] if len(parts) == 1 else CrossVennAbers(parts)


class BoundArrays(NamedTuple):
    """Bounds as compiled code reads them: all parts end to end; the knots of part k are [``start[k]``, ``start[k + 1]``), and since a
    part has one value more than knots, its values begin k later."""

    knot0: FloatArray
    value0: FloatArray
    start0: IntArray
    knot1: FloatArray
    value1: FloatArray
    start1: IntArray


def bounds_arrays(bounds: Bounds) -> BoundArrays:
    """What :func:`bounds_of` takes."""
    parts = bounds.parts
    knots0, values0, start0 = _joined([part.knot0 for part in parts], [part.value0 for part in parts])
    knots1, values1, start1 = _joined([part.knot1 for part in parts], [part.value1 for part in parts])
    return BoundArrays(knots0, values0, start0, knots1, values1, start1)


def _joined(knots: list[FloatArray], values: list[FloatArray]) -> tuple[FloatArray, FloatArray, IntArray]:
    starts = np.concatenate([[0], np.cumsum([len(one) for one in knots])]).astype(np.int64)
    return np.concatenate(knots), np.concatenate(values), starts


@kernel
def bounds_of(s: float, by: BoundArrays) -> tuple[float, float]:
    """(p0, p1) of one score: two bisections a part."""
    p0, p1 = 0.0, 0.0
    parts = len(by.start0) - 1
    for k in range(parts):
        a, b = by.start0[k], by.start0[k + 1]
        p0 += by.value0[a + k + np.searchsorted(by.knot0[a:b], s, side="right")]
        a, b = by.start1[k], by.start1[k + 1]
        p1 += by.value1[a + k + np.searchsorted(by.knot1[a:b], s, side="left")]
    return p0 / parts, p1 / parts


def _compressed(knots: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Drop the knots at which a step function does not step: exact, and far smaller than one knot for each score."""
    steps = np.flatnonzero(values[1:] != values[:-1])
    return knots[steps], values[np.concatenate([steps, [len(values) - 1]])]


@kernel
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
