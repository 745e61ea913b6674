"""From a score to a probability: beta calibration (Kull, Silva Filho and Flach 2017) by default; Platt, isotonic, identity on offer.

    beta      logit P(y = 1 | s) = c + a ln s - b ln(1 - s),   a >= 0, b >= 0
    platt     the same with a = b (Platt 1999, on the margin): three parameters become two
    identity  a = b = 1, c = 0: the score as it is
    isotonic  the non-decreasing step function nearest to the outcomes (Zadrozny and Elkan 2002), interpolated between its steps

A slope has to earn its place: beta and platt are fitted with and without their slopes, and the fits that keep the signs are averaged by
their Akaike weights (Burnham and Anderson 2002); the logit is linear in a, b, c, so the average is a beta map again. Scores that mean
nothing end near the base rate instead of telling a story about noise; with evidence the full fit takes all the weight. Outcomes are
softened as in Platt (1999), (wins + 1) / (wins + 2) for a win: no fit runs to infinity, and no probability is 0 or 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.metrics import check_predictions
from alphatrade_pipelines.models.trees import logistic_of

FloatArray = npt.NDArray[np.float64]
Kind = Literal["beta", "platt", "isotonic", "identity"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# below this many independent outcomes isotonic regression loses to no calibration at all: it learns the noise, step by step
MIN_ISOTONIC = 5000.0
_EDGE = 1e-9
_LEAST = 1e-6
# the slopes of each fit, as rows: which multiples of (ln s, -ln(1 - s)) its free parameters stand for
_SLOPES: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "beta": (((1.0, 0.0), (0.0, 1.0)), ((1.0, 0.0),), ((0.0, 1.0),), ()),
    "platt": (((1.0, 1.0),), ()),
}


class MapArrays(NamedTuple):
    """A calibrator as compiled code reads it; isotonic when there are knots, else a beta map."""

    a: float
    b: float
    c: float
    low: float
    high: float
    base_rate: float
    knots: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A fitted map from score to probability, strictly inside (0, 1) and non-decreasing.

    Scores outside [``low``, ``high``], the range it was fitted on, are moved to its edge: calibration says nothing about what was never
    seen, and an unbounded extrapolation would be bet on. ``knots`` and ``values`` are those of an isotonic map, else empty. ``base_rate``
    is the share of wins it was fitted on, softened: what is left to say about a score nobody has seen.
    """

    kind: Kind
    a: float
    b: float
    c: float
    low: float
    high: float
    base_rate: float
    knots: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    @classmethod
    def fit(cls, scores: FloatArray, y: FloatArray, weights: FloatArray | None = None, kind: Kind = "beta") -> Calibrator:
        """Fit on predictions the model did not train on.

        ``weights`` must add up to the number of INDEPENDENT outcomes (all ones without overlap): that is what a slope is judged by.
        Raises ModelDataError for fewer than 20 rows, one class only, NaN, scores outside [0, 1], an unknown kind, or an isotonic map
        of fewer than 5,000 independent outcomes.
        """
        scores, y = np.asarray(scores, np.float64), np.asarray(y, np.float64)
        check_predictions(y, scores)
        w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
        if len(y) < 20 or y.min() == y.max():
            raise ModelDataError("at least 20 outcomes of both classes to calibrate on", f"{len(y)} outcomes, {int(y.sum())} of them 1")
        if w.shape != y.shape or not (w > 0).all():
            raise ModelDataError("one positive weight for each outcome", "missing, zero or negative weights")
        soft = softened(y, w)
        low, high, base = float(scores.min()), float(scores.max()), float(np.average(soft, weights=w))
        if kind == "identity":
            return cls(kind, 1.0, 1.0, 0.0, low, high, base)
        if kind == "isotonic":
            if w.sum() < MIN_ISOTONIC:
                found = f"{w.sum():.0f}"
                raise ModelDataError(f"at least {MIN_ISOTONIC:.0f} independent outcomes for isotonic calibration", found, "Use beta.")
            return cls(kind, 0.0, 0.0, 0.0, low, high, base, *_steps(scores, soft, w))
        if kind not in _SLOPES:
            raise ModelDataError(f"a calibration of {', '.join(KINDS)}", repr(kind))
        return cls(kind, *_averaged_fit(kind, scores, soft, w), low, high, base)

    @property
    def arrays(self) -> MapArrays:
        """What the kernels take."""
        knots, values = np.array(self.knots, np.float64), np.array(self.values, np.float64)
        return MapArrays(self.a, self.b, self.c, self.low, self.high, self.base_rate, knots, values)

    def predict(self, scores: FloatArray) -> FloatArray:
        """Calibrated probabilities."""
        return _calibrate(np.ascontiguousarray(scores, np.float64), self.arrays)

    def outside(self, scores: FloatArray) -> npt.NDArray[np.bool_]:
        """Which scores lie beyond every score seen when fitting: their probability is that of the edge."""
        s = np.asarray(scores, np.float64)
        return (s < self.low) | (s > self.high)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        numbers = {name: getattr(self, name) for name in ("kind", "a", "b", "c", "low", "high", "base_rate")}
        return {**numbers, "knots": list(self.knots), "values": list(self.values)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibrator:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**data, "knots": tuple(data["knots"]), "values": tuple(data["values"])})


def softened(y: FloatArray, w: FloatArray) -> FloatArray:
    """Platt's targets: (wins + 1) / (wins + 2) for a win, 1 / (losses + 2) for a loss, in weights."""
    wins, losses = float(w[y > 0.5].sum()), float(w[y < 0.5].sum())
    return np.where(y > 0.5, (wins + 1.0) / (wins + 2.0), 1.0 / (losses + 2.0))


def pool_adjacent(values: FloatArray, weights: FloatArray) -> FloatArray:
    """The non-decreasing sequence with the least weighted squared distance to ``values`` (pool adjacent violators, Ayer et al. 1955)."""
    fitted, block = _pooled(np.asarray(values, np.float64), np.asarray(weights, np.float64))
    return fitted[block]


def _steps(scores: FloatArray, soft: FloatArray, w: FloatArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """First and last score of each step, and its value."""
    distinct, position = np.unique(scores, return_inverse=True)
    mass = np.bincount(position, weights=w).astype(np.float64)
    fitted, block = _pooled(np.bincount(position, weights=w * soft) / mass, mass)
    edge = np.flatnonzero(np.diff(block, prepend=-1, append=-1))
    first, last = edge[:-1], edge[1:] - 1
    ends = np.unique(np.concatenate([first, last]))
    return tuple(distinct[ends].tolist()), tuple(fitted[block[ends]].tolist())


def _averaged_fit(kind: str, scores: FloatArray, soft: FloatArray, w: FloatArray) -> tuple[float, float, float]:
    """(a, b, c): the Akaike average of the fits with non-negative slopes."""
    logs = _logs(scores)
    fits = [_newton(logs, soft, w, np.array(slopes).reshape(-1, 2)) for slopes in _SLOPES[kind]]
    sized = [(loss + len(slopes) + 1, theta) for (loss, theta), slopes in zip(fits, _SLOPES[kind], strict=True)]
    feasible = [(value, theta) for value, theta in sized if theta[0] >= 0 and theta[1] >= 0]
    criterion = np.array([value for value, _ in feasible])  # half of Akaike's: loss + number of parameters
    theta = np.average([theta for _, theta in feasible], axis=0, weights=np.exp(criterion.min() - criterion))
    return float(theta[0]), float(theta[1]), float(theta[2])


def _logs(scores: FloatArray) -> FloatArray:
    s = np.clip(scores, _EDGE, 1.0 - _EDGE)
    return np.column_stack([np.log(s), -np.log1p(-s)])


def _newton(logs: FloatArray, y: FloatArray, w: FloatArray, slopes: FloatArray) -> tuple[float, FloatArray]:
    """Minimise the weighted log loss over an intercept and some slopes. Returns (loss, (a, b, c))."""
    if not len(slopes):  # the base rate, exactly
        share = float(np.average(y, weights=w))
        base = math.log(share / (1.0 - share))
        return _loss(np.full(len(y), base), y, w), np.array([0.0, 0.0, base])
    X = logs @ slopes.T
    centre, scale = X.mean(axis=0), X.std(axis=0)
    constant = scale < 1e-12
    centre[constant], scale[constant] = 0.0, 1.0
    Z = np.column_stack([(X - centre) / scale, np.ones(len(y))])  # ln s and -ln(1 - s) are nearly collinear around one half
    theta = np.zeros(Z.shape[1])
    loss = _loss(Z @ theta, y, w)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-(Z @ theta)))
        gradient = Z.T @ (w * (p - y))
        hessian = (Z * (w * p * (1.0 - p))[:, None]).T @ Z + 1e-9 * w.sum() * np.eye(Z.shape[1])
        step = np.linalg.solve(hessian, gradient)
        shrink = 1.0
        while (trial := _loss(Z @ (theta - shrink * step), y, w)) > loss and shrink > 1e-8:
            shrink /= 2.0
        if trial > loss:
            break  # no descent left in double precision
        improved, loss = loss - trial, trial
        theta = theta - shrink * step
        if improved < 1e-12 * w.sum():
            break
    free = theta[:-1] / scale
    return loss, np.append(slopes.T @ free, theta[-1] - float((free * centre).sum()))


def _loss(z: FloatArray, y: FloatArray, w: FloatArray) -> float:
    return float((w * (np.logaddexp(0.0, z) - y * z)).sum())


@kernel
def calibrated(s: float, by: MapArrays) -> float:
    """The probability of one score."""
    s = min(max(s, by.low), by.high)
    if len(by.knots):
        right = min(max(int(np.searchsorted(by.knots, s, side="right")), 1), len(by.knots) - 1)
        left = max(right - 1, 0)
        share = (s - by.knots[left]) / (by.knots[right] - by.knots[left]) if right > left else 0.0
        p = float(by.values[left] + (by.values[right] - by.values[left]) * share)
    else:
        s = min(max(s, _EDGE), 1.0 - _EDGE)
        p = logistic_of(by.c + by.a * math.log(s) - by.b * math.log1p(-s))
    return min(max(p, _LEAST), 1.0 - _LEAST)


@kernel
def _calibrate(scores: FloatArray, by: MapArrays) -> FloatArray:
    found = np.empty(len(scores))
    for i in range(len(scores)):
        found[i] = calibrated(scores[i], by)
    return found


@kernel
def _pooled(values: FloatArray, weights: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Values of the blocks, and the block of each element."""
    n = len(values)
    level, mass = np.empty(n), np.empty(n)
    start = np.empty(n, np.int64)
    k = 0
    for i in range(n):
        level[k], mass[k], start[k] = values[i], weights[i], i
        while k > 0 and level[k - 1] >= level[k]:
            total = mass[k - 1] + mass[k]
            level[k - 1] = (level[k - 1] * mass[k - 1] + level[k] * mass[k]) / total
            mass[k - 1] = total
            k -= 1
        k += 1
    block = np.empty(n, np.int64)
    for j in range(k):
        block[start[j] : (start[j + 1] if j + 1 < k else n)] = j
    return level[:k].copy(), block
