"""Point-in-time features: ``fit`` freezes, ``transform`` and ``stream`` use past bars and frozen statistics only.

>>> fitted = FeaturePipeline.default("1Day").fit(train_bars)
>>> fitted.transform(bars)
>>> fitted.stream(history).update(bars_of_one_timestamp)
"""

from alphatrade_pipelines.features.base import Feature, Series, SymbolFeature, register
from alphatrade_pipelines.features.catalogue.volatility import ewma_volatility
from alphatrade_pipelines.features.drift_reference import drift_reference
from alphatrade_pipelines.features.errors import FeatureConfigError, FeatureError, FeatureInputError, FeatureStateError
from alphatrade_pipelines.features.pipeline import FeaturePipeline, FittedPipeline
from alphatrade_pipelines.features.stream import FeatureStream

__all__ = [
    "Feature",
    "FeatureConfigError",
    "FeatureError",
    "FeatureInputError",
    "FeaturePipeline",
    "FeatureStateError",
    "FeatureStream",
    "FittedPipeline",
    "Series",
    "SymbolFeature",
    "drift_reference",
    "ewma_volatility",
    "register",
]
