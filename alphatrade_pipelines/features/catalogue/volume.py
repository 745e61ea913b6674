"""Unusual volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, Windowed, register
from alphatrade_pipelines.features.kernels import rolling_mean, rolling_variance


@register("volume_zscore")
@dataclass(frozen=True)
class VolumeZScore(Windowed):
    """(volume - mean) / standard deviation over the last ``window`` bars (split-adjusted shares); NaN where volume never changes."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        volume = series.volume
        return (volume[first:] - rolling_mean(volume, self.window, first)) / np.sqrt(rolling_variance(volume, self.window, first))
