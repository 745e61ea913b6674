"""The learner's knobs, chosen from training rows alone: the same search inside every outer fold, and once more on all rows.

Each trial is judged by the weighted log loss over purged inner folds at its own best number of trees. Every search is asked the same
points (with Sobol): what was tried is then a short list of configurations, whatever the number of folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from alphatrade_pipelines.models.fitting import choose_trees
from alphatrade_pipelines.models.folds import Rows
from alphatrade_pipelines.models.learner import LearnerConfig
from alphatrade_pipelines.models.tuning import Params, Real, Space, TuneConfig, Whole, minimise, search_facts
from alphatrade_pipelines.models.validation import PurgedKFold

# around the defaults (depth 3, 0.03, 0.005, 0.6), within what daily bars can bear: deeper or less shrunk trees learn noise
KNOBS: Space = {
    "depth": Whole(2, 6),
    "learning_rate": Real(0.01, 0.1, log=True),
    "l2_share": Real(0.0005, 0.05, log=True),
    "column_share": Real(0.3, 1.0),
}


class KnobSearch:
    """Training rows -> the learner with the least loss over their purged inner folds. ``on_ask`` is told knobs before they are tried."""

    def __init__(self, learner: LearnerConfig, config: TuneConfig, on_ask: Callable[[Params], None] | None = None) -> None:
        self.learner, self.config = learner, config
        self._on_ask = on_ask
        self._tried: list[Params] = []

    def __call__(self, rows: Rows) -> LearnerConfig:
        """Raises ModelDataError naming the trial, for instance when an inner fold trains on one class only."""
        splits = list(PurgedKFold(self.config.inner, self.config.embargo, rows.t1).split(rows.X))

        def loss(params: Params) -> float:
            return choose_trees(rows, splits, self._with(params)).loss

        chosen, _ = minimise(KNOBS, loss, self.config, on_ask=self._ask)
        return self._with(chosen)

    def facts(self, final: LearnerConfig, folds: Sequence[LearnerConfig]) -> dict[str, Any]:
        """For the manifest: the sampler, how many trials and distinct ones there were, what was chosen for the model and in each fold."""
        return {
            **search_facts(self.config.search),
            "trials": len(self._tried),
            "distinct": len({tuple(params.items()) for params in self._tried}),
            "chosen": knobs_of(final),
            "folds": [knobs_of(fold) for fold in folds],
        }

    def _with(self, params: Params) -> LearnerConfig:
        return replace(self.learner, **_readable(params))

    def _ask(self, params: Params) -> None:
        self._tried.append(_readable(params))
        if self._on_ask:
            self._on_ask(self._tried[-1])


def knobs_of(learner: LearnerConfig) -> Params:
    """The tuned part of a learner, by name."""
    return {name: getattr(learner, name) for name in KNOBS}


def learner_of(manifest: Mapping[str, Any], learner: LearnerConfig) -> LearnerConfig:
    """What a bundle's model was fitted with: ``learner``, and the knobs that were chosen for it, if any were."""
    return replace(learner, **manifest.get("tuning", {}).get("chosen", {}))


def _readable(params: Params) -> Params:
    """Four digits are enough, can be typed into the settings, and do not depend on a library's last bit."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in params.items()}
