"""A stand-in for a trained bundle: real features, real signal maker, but a rule instead of trees, so nothing needs training.

The probability is a pseudo-random function of the features' bits: any bit that differs between batch and stream changes the trades.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.features import FeaturePipeline, FittedPipeline
from alphatrade_pipelines.models.labels import LabelConfig
from alphatrade_pipelines.models.payoff import PayoffEstimate
from alphatrade_pipelines.trading.domain import ModelRef

NAMES = ["return_1", "vol_ewma", "gap"]
MODEL = ModelRef("rulebook", "7", "bundle-hash", "mlflow-run-1", "dagster-run-1", "data-hash-1", "commit-1", "paper")


class RuleBundle:
    """Same face as ``models.bundle.Bundle`` as far as sessions and backtests use it."""

    def __init__(self, fitted: FittedPipeline) -> None:
        self._fitted = fitted
        self.feature_names = list(fitted.feature_names)
        self.manifest = {"timeframe": str(fitted.pipeline.timeframe), "feature_hash": fitted.content_hash}
        self.label = LabelConfig()
        self.payoff = PayoffEstimate(1.5, 0.05, 1.5, 0.05, 1.0, 0.03, 0.001, 0.001, 400, 400, 300.0, 2.0, 2.5, 5, 5.0, 1e-4, 0.2)

    @classmethod
    def fit(cls, bars: pd.DataFrame, timeframe: str = "1Day") -> RuleBundle:
        return cls(FeaturePipeline.default(timeframe).select(NAMES).fit(bars))

    def feature_pipeline(self) -> FittedPipeline:
        return self._fitted

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        rows = features[self.feature_names].to_numpy(np.float64)
        probability = np.array([0.35 + 0.35 * hashlib.sha256(row.tobytes()).digest()[0] / 255 for row in rows])
        return pd.DataFrame({"probability": probability, "lower": probability - 0.03, "upper": probability + 0.03}, index=features.index)


def as_bundle(bundle: RuleBundle) -> Any:
    """For callers that are typed with the real one."""
    return bundle
