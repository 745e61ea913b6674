"""Features whose statistics are fitted inside each validation fold, so that a fold's test rows shape nothing they are judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from alphatrade_pipelines.models.folds import FoldFeatures

if TYPE_CHECKING:
    from alphatrade_pipelines.features import FeaturePipeline

# refitted on a schedule from past bars only: its training rows are already as blind as live ones, and a fit on a fold whose bars start
# after the test block would leave the test block without any regime
POINT_IN_TIME_FITS = frozenset({"regime"})


def point_in_time_columns(pipeline: FeaturePipeline) -> list[str]:
    """Columns that are the same whatever later bars the pipeline was fitted on: no statistic of theirs is frozen over the training span."""
    return [column for name, one in pipeline.features.items() if not one.frozen for column in one.columns(name)]


def carrying(fold_features: FoldFeatures, column: pd.Series) -> FoldFeatures:
    """``fold_features`` with a column that is point-in-time by itself and so the same in every fold, as the score of a primary model."""

    def compute(train_times: pd.DatetimeIndex) -> pd.DataFrame:
        return fold_features(train_times).assign(**{str(column.name): column})

    return compute


def refit_in_folds(bars: pd.DataFrame, pipeline: FeaturePipeline, features: pd.DataFrame) -> FoldFeatures:
    """A :data:`~alphatrade_pipelines.models.folds.FoldFeatures` for training.

    ``bars`` are the raw training bars, ``features`` the full transform of the same bars (point-in-time fits are taken from it). For each
    fold the pipeline is fitted on the bars at the fold's training times and transforms all bars.
    """
    causal = {name for name, one in pipeline.features.items() if one.kind in POINT_IN_TIME_FITS}
    kept = [column for name in causal for column in pipeline.features[name].columns(name)]
    refitted = pipeline.select([name for name in pipeline.features if name not in causal])
    times = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))

    def compute(train_times: pd.DatetimeIndex) -> pd.DataFrame:
        fitted = refitted.fit(bars[times.isin(train_times)])
        return fitted.transform(bars).drop(columns=kept, errors="ignore").join(features[kept])

    return compute
