"""Volatility regimes: of the market by a hidden Markov model, and of each symbol by bands of its own frozen distribution.

The observation of the model is the equal-weighted log return of the universe. Refits happen in ``fit``, on a schedule counted in training
bars (:mod:`regime_fit`): the model in force at t was fitted on returns up to t, and is recorded with the time stamp from which it holds.
The schedule is frozen with the state; beyond the end of training its last model stays in force until the pipeline is fitted again. So
batch, stream and truncated batch use the same models, nothing is refitted in a live process, and training rows are as free of look-ahead
as live ones. When a new model comes into force the whole prefix is filtered again with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from alphatrade_pipelines.features.base import (
    ColumnFeature,
    FloatArray,
    IntArray,
    MarketCursor,
    MarketFeature,
    State,
    register,
    require_integer,
)
from alphatrade_pipelines.features.errors import FeatureConfigError, FeatureInputError
from alphatrade_pipelines.features.hmm import STATES, RegimeModel, fresh_belief
from alphatrade_pipelines.features.regime_fit import scheduled_fits

VOLATILITY_REGIMES = ("low", "normal", "high", "extreme")


@register(
    "regime",
    formula="P(state_t | m_1..m_t) of the lowest and of the highest variance state of a 3-state Gaussian HMM, refitted on past bars",
    reference="Hamilton (1989); Rabiner (1989)",
)
@dataclass(frozen=True)
class Regime(MarketFeature):
    """P(lowest) and P(highest variance state | x_1..t) of a 3-state HMM: columns ``<name>_low_vol`` and ``<name>_high_vol``.

    ``min_bars``: returns before the first fit; ``refit_every``: returns between refits; ``max_bars``: a refit looks back at most that far,
    None for all the past (expanding). NaN before the first accepted fit and at a time stamp without a market return.
    State: ``{"models": [...], "rejected": {reason: count}}``.
    """

    min_bars: int = 500
    refit_every: int = 100
    max_bars: int | None = None
    suffixes: ClassVar[tuple[str, ...]] = ("_low_vol", "_high_vol")

    def __post_init__(self) -> None:
        require_integer(self.kind, "min_bars", self.min_bars, 100)
        require_integer(self.kind, "refit_every", self.refit_every, 10)
        if self.max_bars is not None:
            require_integer(self.kind, "max_bars", self.max_bars, 100)
            if self.max_bars < self.min_bars:
                raise FeatureConfigError("regime: max_bars at least min_bars", f"{self.max_bars} < {self.min_bars}")

    @property
    def warmup(self) -> int:
        return self.min_bars + 1

    def fit(self, times: IntArray, market: FloatArray) -> dict[str, Any]:
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

    def save(self) -> State:
        return {"active": self._active, "belief": [None if math.isnan(p) else p for p in self._belief.tolist()], "returns": self._returns}

    def restore(self, saved: State) -> None:
        self._active, self._returns = int(saved["active"]), [float(value) for value in saved["returns"]]
        self._belief = np.array([math.nan if p is None else p for p in saved["belief"]], dtype=np.float64)


def _outputs(filtered: FloatArray) -> FloatArray:
    return filtered[:, [0, STATES - 1]]


def _models(state: State) -> list[RegimeModel]:
    return [RegimeModel.from_state(model) for model in state["models"]]


@register(
    "volatility_regime",
    formula="0 low, 1 normal, 2 high, 3 extreme: how many of the edges the training percentile of the volatility has reached",
    reference="Moreira and Muir (2017) for sizing by it",
)
@dataclass(frozen=True)
class VolatilityRegime(ColumnFeature):
    """The regime that sizing scales exposure by, as an index into :data:`VOLATILITY_REGIMES`.

    ``column`` is a volatility percentile against the frozen training distribution; ``edges`` are where normal, high and extreme begin.
    """

    column: str
    edges: tuple[float, ...] = (0.25, 0.75, 0.95)
    frozen: ClassVar[bool] = True  # as the percentile it reads is

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(self.edges))  # JSON has lists
        ascending = all(low < high for low, high in pairwise((0.0, *self.edges, 1.0)))
        if len(self.edges) != len(VOLATILITY_REGIMES) - 1 or not ascending:
            raise FeatureConfigError("volatility_regime: three ascending edges between 0 and 1", repr(self.edges))

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def warmup(self) -> int:
        return 1

    def compute(self, values: FloatArray, symbol: str, state: State) -> FloatArray:
        index = np.searchsorted(np.array(self.edges), values, side="right").astype(np.float64)
        return np.where(np.isfinite(values), index, np.nan)
