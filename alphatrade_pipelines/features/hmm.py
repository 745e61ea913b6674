"""A Gaussian hidden Markov model of returns: filtering and one step of expectation maximisation, in numba.

P(state_t | x_1..x_t) is one forward pass over x_1..x_t (Hamilton 1989; Rabiner 1989): the last row of the posterior over the prefix, never
the smoothed posterior, which has seen the future. The smoothed one is used inside a fit only, on the returns of that fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from alphatrade_pipelines.features.base import FloatArray
from alphatrade_pipelines.features.jit import kernel

STATES = 3
_LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class RegimeModel:
    """A Gaussian HMM, states ordered by ascending variance, of returns in their own units. ``known_from`` in ns since 1970."""

    known_from: int
    means: FloatArray
    variances: FloatArray
    transition: FloatArray

    def to_state(self) -> dict[str, Any]:
        """JSON form."""
        shaped = {"means": self.means, "variances": self.variances, "transition": self.transition}
        return {"known_from": self.known_from} | {name: value.tolist() for name, value in shaped.items()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RegimeModel:
        """Inverse of :meth:`to_state`."""
        arrays = (np.array(state[name], dtype=np.float64) for name in ("means", "variances", "transition"))
        return cls(int(state["known_from"]), *arrays)

    def filter(self, x: FloatArray, belief: FloatArray) -> FloatArray:
        """Filtered probabilities for each of ``x``, starting from ``belief`` (see :func:`fresh_belief`), which is updated in place."""
        return forward(x, self.means, self.variances, self.transition, belief)[0]

    def judge(self, x: FloatArray) -> tuple[FloatArray, float]:
        """Filtered probabilities over ``x`` from a fresh start, and the mean log likelihood of a return given the returns before it."""
        filtered, likelihood = forward(x, self.means, self.variances, self.transition, fresh_belief())
        return filtered, likelihood / len(x)


class Expectation(NamedTuple):
    """Sufficient statistics of one E step: per state the expected number, sum and sum of squares; expected moves (from, to)."""

    log_likelihood: float
    weight: FloatArray
    total: FloatArray
    square: FloatArray
    moves: FloatArray


def fresh_belief() -> FloatArray:
    """Belief before any observation: NaN marks that the uniform start distribution is next, not a transition."""
    return np.full(STATES, np.nan)


def expectation(x: FloatArray, means: FloatArray, variances: FloatArray, transition: FloatArray) -> Expectation:
    """The E step of Baum and Welch (1970) with uniform start probabilities."""
    states = len(means)
    weight, total, square = np.zeros((3, states))  # made here, as the ones below: numba takes long to compile it
    moves = np.zeros((states, states))
    likelihood = _forward_backward(x, means, variances, transition, np.ones(states), weight, total, square, moves)
    return Expectation(likelihood, weight, total, square, moves)


@kernel
def forward(
    x: FloatArray, means: FloatArray, variances: FloatArray, transition: FloatArray, belief: FloatArray
) -> tuple[FloatArray, float]:
    """Forward pass with normalisation at each step: (P(state_t | x_1..t), array (len(x), states); log likelihood of x).

    ``belief`` holds P at the step before. Densities are taken relative to the largest, so an impossible return does not underflow.
    """
    states = means.size
    out = np.empty((x.size, states))
    predicted, score, shift = np.empty(states), np.empty(states), np.empty(states)
    for j in range(states):
        shift[j] = math.log(variances[j])
    likelihood = 0.0
    for t in range(x.size):
        fresh = math.isnan(belief[0])
        best = -np.inf
        for j in range(states):
            total = 0.0
            if not fresh:
                for i in range(states):
                    total += belief[i] * transition[i, j]
            predicted[j] = 1.0 / states if fresh else total
            gap = x[t] - means[j]
            score[j] = -0.5 * (gap * gap / variances[j] + shift[j])
            if predicted[j] > 0.0 and score[j] > best:
                best = score[j]
        norm = 0.0
        for j in range(states):
            belief[j] = predicted[j] * math.exp(score[j] - best) if predicted[j] > 0.0 else 0.0
            norm += belief[j]
        for j in range(states):
            belief[j] /= norm
            out[t, j] = belief[j]
        likelihood += math.log(norm) + best - 0.5 * _LOG_2PI
    return out, likelihood


@kernel
def _forward_backward(
    x: FloatArray,
    means: FloatArray,
    variances: FloatArray,
    transition: FloatArray,
    beta: FloatArray,
    count: FloatArray,
    total: FloatArray,
    square: FloatArray,
    moves: FloatArray,
) -> float:
    states, n = means.size, x.size
    alpha, density, norms = np.empty((n, states)), np.empty((n, states)), np.empty(n)
    shift, ahead = np.empty(states), np.empty(states)
    for j in range(states):
        shift[j] = math.log(variances[j])
    likelihood = 0.0
    for t in range(n):
        best = -np.inf
        for j in range(states):
            gap = x[t] - means[j]
            density[t, j] = -0.5 * (gap * gap / variances[j] + shift[j])
            best = max(best, density[t, j])
        norm = 0.0
        for j in range(states):
            density[t, j] = math.exp(density[t, j] - best)
            reached = 1.0 / states
            if t > 0:
                reached = 0.0
                for i in range(states):
                    reached += alpha[t - 1, i] * transition[i, j]
            alpha[t, j] = reached * density[t, j]
            norm += alpha[t, j]
        for j in range(states):
            alpha[t, j] /= norm
        norms[t] = norm
        likelihood += math.log(norm) + best - 0.5 * _LOG_2PI
    for t in range(n - 1, -1, -1):
        for j in range(states):
            weight = alpha[t, j] * beta[j]
            count[j] += weight
            total[j] += weight * x[t]
            square[j] += weight * x[t] * x[t]
        if t == 0:
            break
        for j in range(states):
            ahead[j] = density[t, j] * beta[j] / norms[t]
        for i in range(states):
            beta[i] = 0.0
            for j in range(states):
                step = transition[i, j] * ahead[j]
                beta[i] += step
                moves[i, j] += alpha[t - 1, i] * step
    return likelihood
