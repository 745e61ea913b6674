"""Logistic regression beside the trees: if they do not beat a straight line, there is nothing in them worth the trouble.

Features are standardised with the mean and standard deviation of the training rows, frozen with the coefficients, and cut at five standard
deviations (market features have tails that would otherwise decide the fit). The coefficients are shrunk by a ridge penalty in units of
independent outcomes: with about 4 x ``penalty`` of them a standardised coefficient is shrunk by half. The intercept is free, so the
baseline is calibrated on average without a calibrator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
    def fit(
        cls, X: FloatArray, y: FloatArray, weights: FloatArray, penalty: float, start: LogisticBaseline | None = None
    ) -> LogisticBaseline:
        """Minimise sum of weights x log loss + penalty / 2 x |coef|^2 (Newton). ``start``: a fit to the same rows to begin from.

        Raises ModelDataError for values that are not finite or a single class.
        """
        if not np.isfinite(X).all() or y.min() == y.max():
            raise ModelDataError("finite features and both classes", "NaN or infinity, or one class only")
        mean = np.average(X, axis=0, weights=weights)
        scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))
        scale[scale < 1e-12 * np.maximum(np.abs(mean), 1.0)] = np.inf  # a constant feature says nothing, whatever its value tomorrow
        Z = np.column_stack([_standardised(X, mean, scale), np.ones(len(y))])
        begin = np.zeros(Z.shape[1]) if start is None else np.append(start.coef, start.intercept)
        theta = _newton(Z, y, weights, penalty, begin)
        return cls(mean, scale, theta[:-1], float(theta[-1]), penalty)

    def predict(self, X: FloatArray) -> FloatArray:
        """P(1) of rows, never 0 or 1."""
        z = _standardised(X, self.mean, self.scale) @ self.coef + self.intercept
        return np.asarray(np.clip(1.0 / (1.0 + np.exp(-z)), _LEAST, 1.0 - _LEAST), dtype=np.float64)

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
        fitted = None
        for k, penalty in enumerate(PENALTIES):
            fitted = LogisticBaseline.fit(X[train], y[train], weights[train], penalty, fitted)
            totals[k] += float((weights[test] * log_losses(y[test], fitted.predict(X[test]))).sum())
    return PENALTIES[int(np.argmin(totals))]


def _standardised(X: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    return np.asarray(np.clip((X - mean) / scale, -_CUT, _CUT), dtype=np.float64)


def _newton(Z: FloatArray, y: FloatArray, w: FloatArray, penalty: float, theta: FloatArray) -> FloatArray:
    ridge = np.append(np.full(Z.shape[1] - 1, penalty), 0.0)
    loss = _loss(Z, y, w, ridge, theta)
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-(Z @ theta)))
        gradient = Z.T @ (w * (p - y)) + ridge * theta
        hessian = (Z * (w * p * (1.0 - p))[:, None]).T @ Z + np.diag(ridge + 1e-9 * w.sum())
        step = np.linalg.solve(hessian, gradient)
        shrink = 1.0
        while (trial := _loss(Z, y, w, ridge, theta - shrink * step)) > loss and shrink > 1e-8:
            shrink /= 2.0
        if trial > loss:
            break  # no descent left in double precision
        theta, improved, loss = theta - shrink * step, loss - trial, trial
        if improved < 1e-9 * w.sum():
            break
    return theta


def _loss(Z: FloatArray, y: FloatArray, w: FloatArray, ridge: FloatArray, theta: FloatArray) -> float:
    z = Z @ theta
    return float((w * (np.logaddexp(0.0, z) - y * z)).sum() + 0.5 * (ridge * theta**2).sum())
