"""Logistic regression beside the trees: if they do not beat a straight line, there is nothing in them worth the trouble.

Features are standardised with the mean and standard deviation of the training rows, frozen with the coefficients, and cut at five standard
deviations (market features have tails that would otherwise decide the fit). The coefficients are shrunk by a ridge penalty in units of
independent outcomes: with about 4 x ``penalty`` of them a standardised coefficient is shrunk by half. The intercept is free, so the
baseline is calibrated on average without a calibrator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.metrics import log_losses

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
PENALTIES = (1000.0, 100.0, 10.0, 1.0)
_CUT = 5.0
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class LogisticBaseline:
    """logit P(1) = intercept + coef . clip((x - mean) / scale, -5, 5). ``penalty`` is the ridge it was fitted with."""

    mean: FloatArray
    scale: FloatArray
    coef: FloatArray
    intercept: float
    penalty: float

    @classmethod
    def fit(cls, X: FloatArray, y: FloatArray, weights: FloatArray, penalty: float) -> LogisticBaseline:
        """Minimise sum of weights x log loss + penalty / 2 x |coef|^2.

        Raises ModelDataError for values that are not finite or a single class.
        """
        problem = _Problem.of(X, y, weights)
        return problem.baseline(problem.solve(penalty, problem.start), penalty)

    def predict(self, X: FloatArray) -> FloatArray:
        """P(1) of rows, never 0 or 1."""
        return _probability(_standardised(X, self.mean, self.scale) @ self.coef + self.intercept)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; the scale of a constant feature is null."""
        scale = [value if np.isfinite(value) else None for value in self.scale.tolist()]
        rest = {name: getattr(self, name) for name in ("intercept", "penalty")}
        return {"mean": self.mean.tolist(), "scale": scale, "coef": self.coef.tolist(), **rest}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LogisticBaseline:
        """The inverse of :meth:`to_dict`."""
        scale = np.array([np.inf if value is None else value for value in data["scale"]], dtype=np.float64)
        mean, coef = (np.array(data[name], dtype=np.float64) for name in ("mean", "coef"))
        return cls(mean, scale, coef, float(data["intercept"]), float(data["penalty"]))


def choose_penalty(X: FloatArray, y: FloatArray, weights: FloatArray, splits: Iterable[tuple[IntArray, IntArray]]) -> float:
    """The penalty of :data:`PENALTIES` with the least weighted log loss over (purged) splits; the stronger one in a tie."""
    totals = np.zeros(len(PENALTIES))
    for train, test in splits:
        problem = _Problem.of(X[train], y[train], weights[train])
        asked, theta = _standardised(X[test], problem.mean, problem.scale), problem.start
        for k, penalty in enumerate(PENALTIES):  # the strongest first: each solution is a good start for the next
            theta = problem.solve(penalty, theta)
            totals[k] += float((weights[test] * log_losses(y[test], _probability(asked @ theta[:-1] + theta[-1]))).sum())
    return PENALTIES[int(np.argmin(totals))]


def _standardised(X: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    Z = np.asarray(X - mean, dtype=np.float64)
    Z /= scale
    return np.clip(Z, -_CUT, _CUT, out=Z)


def _probability(z: FloatArray) -> FloatArray:
    return np.asarray(np.clip(1.0 / (1.0 + np.exp(-z)), _LEAST, 1.0 - _LEAST), dtype=np.float64)


@dataclass(frozen=True)
class _Problem:
    """Standardised rows with a column of ones, and the curvature of their loss at the base rate.

    Probabilities of market outcomes hardly leave the base rate, so one curvature serves many steps and all penalties: a step then costs one
    pass over the rows instead of a product of matrices. It is renewed now and then for rows that do leave it.
    """

    Z: FloatArray
    y: FloatArray
    w: FloatArray
    mean: FloatArray
    scale: FloatArray
    start: FloatArray
    curvature: FloatArray

    @classmethod
    def of(cls, X: FloatArray, y: FloatArray, w: FloatArray) -> _Problem:
        if not np.isfinite(X).all() or y.min() == y.max():
            raise ModelDataError("finite features and both classes", "NaN or infinity, or one class only")
        mean, scale = _moments(X, w)
        scale[scale < 1e-12 * np.maximum(np.abs(mean), 1.0)] = np.inf  # a constant feature says nothing, whatever its value tomorrow
        Z = np.ones((len(y), X.shape[1] + 1))
        Z[:, :-1] = _standardised(X, mean, scale)
        share = float(np.average(y, weights=w))
        start = np.append(np.zeros(X.shape[1]), np.log(share / (1.0 - share)))
        return cls(Z, y, w, mean, scale, start, _curvature(Z, w * share * (1.0 - share)))

    def baseline(self, theta: FloatArray, penalty: float) -> LogisticBaseline:
        return LogisticBaseline(self.mean, self.scale, theta[:-1], float(theta[-1]), penalty)

    def solve(self, penalty: float, theta: FloatArray) -> FloatArray:
        """Newton's method with a curvature renewed every ten steps, and steps halved until the loss falls."""
        Z, y, w = self.Z, self.y, self.w
        ridge = np.append(np.full(Z.shape[1] - 1, penalty), 0.0)
        bowl = self.curvature + np.diag(ridge)
        loss, gradient = _loss(Z, y, w, ridge, theta)
        for step_number in range(1, 201):
            if step_number % 10 == 0:
                p = _probability(Z @ theta)
                bowl = _curvature(Z, w * p * (1.0 - p)) + np.diag(ridge)
            step, shrink = np.linalg.solve(bowl, gradient), 1.0
            trial, slope = _loss(Z, y, w, ridge, theta - step)
            while trial > loss and shrink > 1e-8:
                shrink /= 2.0
                trial, slope = _loss(Z, y, w, ridge, theta - shrink * step)
            if trial > loss:
                break  # no descent left in double precision
            theta, improved, loss, gradient = theta - shrink * step, loss - trial, trial, slope
            if improved < 1e-11 * w.sum():
                break
        return theta


@kernel
def _moments(X: FloatArray, w: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weighted mean and standard deviation of each column: two passes and no copy of what may be a gigabyte."""
    rows, columns = X.shape
    mean, scale, total = np.zeros(columns), np.zeros(columns), w.sum()
    for i in range(rows):
        for j in range(columns):
            mean[j] += w[i] * X[i, j]
    mean /= total
    for i in range(rows):
        for j in range(columns):
            scale[j] += w[i] * (X[i, j] - mean[j]) ** 2
    return mean, np.sqrt(scale / total)


@kernel
def _curvature(Z: FloatArray, w: FloatArray) -> FloatArray:
    """Z' diag(w) Z, and a trace of it on the diagonal that keeps it invertible."""
    rows, columns = Z.shape
    found = np.zeros((columns, columns))
    for i in range(rows):
        for j in range(columns):
            pull = w[i] * Z[i, j]
            for k in range(j, columns):
                found[j, k] += pull * Z[i, k]
    for j in range(columns):
        found[j, j] += 1e-9 * w.sum()
        for k in range(j):
            found[j, k] = found[k, j]
    return found


@kernel
def _loss(Z: FloatArray, y: FloatArray, w: FloatArray, ridge: FloatArray, theta: FloatArray) -> tuple[float, FloatArray]:
    """Penalised loss and its gradient, in one pass over the rows."""
    loss, gradient = 0.0, np.zeros(len(theta))
    for i in range(len(y)):
        z = 0.0
        for j in range(len(theta)):
            z += Z[i, j] * theta[j]
        small = math.exp(-abs(z))
        loss += w[i] * (max(z, 0.0) + math.log1p(small) - y[i] * z)
        p = 1.0 / (1.0 + small) if z >= 0 else small / (1.0 + small)
        pull = w[i] * (p - y[i])
        for j in range(len(theta)):
            gradient[j] += pull * Z[i, j]
    for j in range(len(theta)):
        loss += 0.5 * ridge[j] * theta[j] ** 2
        gradient[j] += ridge[j] * theta[j]
    return loss, gradient
