"""Beta calibration (Kull, Silva Filho and Flach 2017): three parameters, identity included, never 0 or 1.

    logit P(y = 1 | s) = c + a ln s - b ln(1 - s),   a >= 0, b >= 0

Four fits are made: a, b, both or neither held at zero. Those that keep the signs are averaged by their Akaike weights (Burnham and
Anderson 2002); the logit is linear in a, b, c, so the average is a beta map again. A slope has to earn its place: scores that mean
nothing end near the base rate instead of telling a story about noise, and with evidence the full fit takes all the weight. Outcomes are
softened as in Platt (1999), (wins + 1) / (wins + 2) for a win, which keeps the fits finite when the scores separate the classes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.metrics import check_predictions

FloatArray = npt.NDArray[np.float64]
_EDGE = 1e-9
_CANDIDATES = ([0, 1, 2], [0, 2], [1, 2], [2])  # free parameters of each fit


@dataclass(frozen=True, slots=True)
class BetaCalibrator:
    """A fitted map from score to probability. Scores outside [low, high], the range it was fitted on, are moved to its edge:
    calibration says nothing about what was never seen, and an unbounded extrapolation would be bet on."""

    a: float
    b: float
    c: float
    low: float
    high: float

    @classmethod
    def fit(cls, scores: FloatArray, y: FloatArray, weights: FloatArray | None = None) -> BetaCalibrator:
        """Maximum likelihood fit on predictions the model did not train on.

        ``weights`` must add up to the number of INDEPENDENT outcomes (all ones without overlap): that is what a slope is judged by.
        Raises ModelDataError for fewer than 20 rows, one class only, NaN, or scores outside [0, 1].
        """
        scores, y = np.asarray(scores, np.float64), np.asarray(y, np.float64)
        check_predictions(y, scores)
        w = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
        if len(y) < 20 or y.min() == y.max():
            raise ModelDataError("at least 20 outcomes of both classes to calibrate on", f"{len(y)} outcomes, {int(y.sum())} of them 1")
        if w.shape != y.shape or not (w > 0).all():
            raise ModelDataError("one positive weight for each outcome", "missing, zero or negative weights")
        soft = softened(y, w)
        design = _design(scores)
        fits = [_newton(design, soft, w, columns) for columns in _CANDIDATES]
        feasible = [(loss + len(columns), theta) for (loss, theta), columns in zip(fits, _CANDIDATES, strict=True) if min(theta[:2]) >= 0]
        criterion = np.array([value for value, _ in feasible])  # half of Akaike's: loss + number of parameters
        theta = np.average([theta for _, theta in feasible], axis=0, weights=np.exp(criterion.min() - criterion))
        return cls(float(theta[0]), float(theta[1]), float(theta[2]), float(scores.min()), float(scores.max()))

    def predict(self, scores: FloatArray) -> FloatArray:
        """Calibrated probabilities, strictly inside (0, 1) and non-decreasing in the score."""
        inside = np.clip(np.asarray(scores, np.float64), self.low, self.high)
        z = _design(inside) @ np.array([self.a, self.b, self.c])
        return np.asarray(np.clip(1.0 / (1.0 + np.exp(-z)), 1e-6, 1.0 - 1e-6), dtype=np.float64)

    def to_dict(self) -> dict[str, float]:
        """Plain numbers for JSON."""
        return asdict(self)


def _design(scores: FloatArray) -> FloatArray:
    s = np.clip(scores, _EDGE, 1.0 - _EDGE)
    return np.column_stack([np.log(s), -np.log1p(-s), np.ones(len(s))])


def softened(y: FloatArray, w: FloatArray) -> FloatArray:
    """Platt's targets: (wins + 1) / (wins + 2) for a win, 1 / (losses + 2) for a loss, in weights."""
    wins, losses = float(w[y > 0.5].sum()), float(w[y < 0.5].sum())
    return np.where(y > 0.5, (wins + 1.0) / (wins + 2.0), 1.0 / (losses + 2.0))


def _newton(design: FloatArray, y: FloatArray, w: FloatArray, columns: list[int]) -> tuple[float, FloatArray]:
    """Minimise the weighted log loss over some columns; the others stay at zero. Returns (loss, all three parameters)."""
    if columns == [2]:  # the base rate, exactly
        p = float(np.average(y, weights=w))
        theta = np.array([0.0, 0.0, np.log(p / (1.0 - p))])
        return _loss(design, y, w, theta), theta
    X = design[:, columns]
    centre, scale = X.mean(axis=0), X.std(axis=0)
    constant = scale < 1e-12
    centre[constant], scale[constant] = 0.0, 1.0
    Z = (X - centre) / scale  # ln s and -ln(1 - s) are nearly collinear around one half: condition first
    theta = np.zeros(len(columns))
    loss = _loss(Z, y, w, theta)
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-(Z @ theta)))
        gradient = Z.T @ (w * (p - y))
        hessian = (Z * (w * p * (1.0 - p))[:, None]).T @ Z + 1e-9 * w.sum() * np.eye(len(columns))
        step = np.linalg.solve(hessian, gradient)
        shrink = 1.0
        while (trial := _loss(Z, y, w, theta - shrink * step)) > loss and shrink > 1e-8:
            shrink /= 2.0
        if trial > loss:
            break  # no descent left in double precision
        improved, loss = loss - trial, trial
        theta = theta - shrink * step
        if improved < 1e-12 * w.sum():
            break
    full = np.zeros(3)
    full[columns] = theta / scale
    full[2] -= float((theta / scale * centre).sum())
    return loss, full


def _loss(Z: FloatArray, y: FloatArray, w: FloatArray, theta: FloatArray) -> float:
    z = Z @ theta
    return float((w * (np.logaddexp(0.0, z) - y * z)).sum())
