"""Volatility regime of the market: filtered probabilities of a hidden Markov model that is refitted on past bars only.

The observation is the equal-weighted log return of the universe. P(state | x_1..x_t) is one forward pass over x_1..x_t (Hamilton 1989;
Rabiner 1989): the last row of the posterior over the prefix, never the smoothed posterior, which has seen the future.

Refits happen in ``fit``, on a schedule counted in training bars (:mod:`regime_fit`): the model in force at t was fitted on returns up to
t, and is recorded with the time stamp from which it holds. The schedule is frozen with the state; beyond the end of training its last
model stays in force until the pipeline is fitted again. So batch, stream and truncated batch use the same models, nothing is refitted in
a live process, and training rows are as free of look-ahead as live ones. When a new model comes into force the whole prefix is filtered
again with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, IntArray, MarketCursor, MarketFeature, State, register, require_integer
from alphatrade_pipelines.features.errors import FeatureConfigError, FeatureInputError
from alphatrade_pipelines.features.jit import kernel

STATES = 3


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
        return forward(x, self.means, self.variances, self.transition, belief)


def fresh_belief() -> FloatArray:
    """Belief before any observation: NaN marks that the uniform start distribution is next, not a transition."""
    return np.full(STATES, np.nan)


@kernel
def forward(x: FloatArray, means: FloatArray, variances: FloatArray, transition: FloatArray, belief: FloatArray) -> FloatArray:
    """Forward pass with normalisation at each step: P(state_t | x_1..t), array (len(x), states). ``belief`` holds P at the step before."""
    states = means.size
    out = np.empty((x.size, states))
    predicted = np.empty(states)
    score = np.empty(states)
    for t in range(x.size):
        for j in range(states):
            predicted[j] = 1.0 / states
        if not math.isnan(belief[0]):
            for j in range(states):
                total = 0.0
                for i in range(states):
                    total += belief[i] * transition[i, j]
                predicted[j] = total
        best = -np.inf
        for j in range(states):
            gap = x[t] - means[j]
            score[j] = -0.5 * (gap * gap / variances[j] + math.log(variances[j]))
            if predicted[j] > 0.0 and score[j] > best:
                best = score[j]
        norm = 0.0
        for j in range(states):
            belief[j] = predicted[j] * math.exp(score[j] - best) if predicted[j] > 0.0 else 0.0
            norm += belief[j]
        for j in range(states):
            belief[j] /= norm
            out[t, j] = belief[j]
    return out


@register("regime")
@dataclass(frozen=True)
class Regime(MarketFeature):
    """P(lowest) and P(highest variance state | x_1..t) of a 3-state HMM: columns ``<name>_low_vol`` and ``<name>_high_vol``.

    ``min_bars``: returns before the first fit; ``refit_every``: returns between refits; ``max_bars``: a refit looks back at most that far
    (expanding until then). NaN before the first accepted fit and at a time stamp without a market return.
    State: ``{"models": [...], "rejected": {reason: count}}``.
    """

    min_bars: int = 500
    refit_every: int = 100
    max_bars: int = 2500
    suffixes: ClassVar[tuple[str, ...]] = ("_low_vol", "_high_vol")

    def __post_init__(self) -> None:
        require_integer(self.kind, "min_bars", self.min_bars, 100)
        require_integer(self.kind, "refit_every", self.refit_every, 10)
        require_integer(self.kind, "max_bars", self.max_bars, 100)
        if self.max_bars < self.min_bars:
            raise FeatureConfigError("regime: max_bars at least min_bars", f"{self.max_bars} < {self.min_bars}")

    @property
    def warmup(self) -> int:
        return self.min_bars + 1

    def fit(self, times: IntArray, market: FloatArray) -> dict[str, Any]:
        from alphatrade_pipelines.features.regime_fit import scheduled_fits

        present = np.isfinite(market)
        if present.sum() < self.min_bars:
            fix = "Load a longer history or lower min_bars."
            raise FeatureInputError(f"at least {self.min_bars} market returns to fit the regime", str(int(present.sum())), fix=fix)
        models, rejected = scheduled_fits(market[present], times[present], self.min_bars, self.refit_every, self.max_bars)
        return {"models": [model.to_state() for model in models], "rejected": rejected}

    def compute(self, times: IntArray, market: FloatArray, state: State) -> FloatArray:
        out = np.full((len(times), len(self.suffixes)), np.nan)
        rows = np.flatnonzero(np.isfinite(market))
        x = market[rows]
        models = _models(state)
        edges = [*np.searchsorted(times[rows], [model.known_from for model in models]), len(rows)]
        for model, low, high in zip(models, edges[:-1], edges[1:], strict=True):
            if high > low:
                out[rows[low:high]] = _outputs(model.filter(x[:high], fresh_belief())[low:])
        return out

    def cursor(self, state: State) -> MarketCursor:
        return RegimeCursor(_models(state))


class RegimeCursor(MarketCursor):
    """Keeps the returns seen, to filter them again when the next model of the schedule comes into force."""

    def __init__(self, models: list[RegimeModel]) -> None:
        self._models = models
        self._active = -1
        self._belief = fresh_belief()
        self._returns: list[float] = []

    def update(self, time: int, market: float) -> FloatArray:
        if not math.isfinite(market):
            return np.full(len(Regime.suffixes), np.nan)
        active = self._active
        if active + 1 < len(self._models):  # a later model will need the whole prefix
            self._returns.append(market)
        while active + 1 < len(self._models) and self._models[active + 1].known_from <= time:
            active += 1
        if active < 0:
            return np.full(len(Regime.suffixes), np.nan)
        pending = [market]
        if active != self._active:
            self._active, self._belief, pending = active, fresh_belief(), self._returns
        return np.asarray(_outputs(self._models[active].filter(np.array(pending), self._belief)[-1:])[0], dtype=np.float64)


def _outputs(filtered: FloatArray) -> FloatArray:
    return filtered[:, [0, STATES - 1]]


def _models(state: State) -> list[RegimeModel]:
    return [RegimeModel.from_state(model) for model in state["models"]]
