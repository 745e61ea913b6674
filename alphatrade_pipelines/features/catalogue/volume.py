"""Unusual volume. Shares are adjusted for splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, Series, State, SymbolFeature, Windowed, register, require_integer
from alphatrade_pipelines.features.kernels import logs, positive, rolling_mean, rolling_variance


@register("volume_zscore", formula="(V - mean V) / std V", reference="Gervais, Kaniel and Mingelgrin (2001)")
@dataclass(frozen=True)
class VolumeZScore(Windowed):
    """How unusual the bar's volume is; NaN where volume never changes."""

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        volume = series.volume
        return (volume[first:] - rolling_mean(volume, self.window, first)) / np.sqrt(rolling_variance(volume, self.window, first))


@register("volume_trend", formula="ln(mean of the last short V / mean of the last long V)", reference="Llorente et al. (2002)")
@dataclass(frozen=True)
class VolumeTrend(SymbolFeature):
    """Recent against usual volume; NaN where either window holds none."""

    short: int = 5
    long: int = 63

    def __post_init__(self) -> None:
        require_integer(self.kind, "short", self.short, 1)
        require_integer(self.kind, "long", self.long, self.short + 1)

    @property
    def warmup(self) -> int:
        return self.long

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        return logs(rolling_mean(series.volume, self.short, first)) - logs(rolling_mean(series.volume, self.long, first))


@register(
    "volume_for_time",
    formula="ln(V / mean V) - profile[minute of the day], the profile being the training mean of the first term at that minute",
    reference="Jain and Joh (1988)",
)
@dataclass(frozen=True)
class VolumeForTime(Windowed):
    """Log volume against the recent mean, less what is usual at that time of day in training (all symbols pooled).

    NaN for a bar without volume and at a time of day that training did not have. State: ``{minute: mean}``.
    """

    frozen: ClassVar[bool] = True

    def fit(self, series: Mapping[str, Series]) -> dict[str, Any]:
        minutes = np.concatenate([one.minute for one in series.values()])
        excess = np.concatenate([self._excess(one, 0) for one in series.values()])
        known = np.isfinite(excess)
        times, place = np.unique(minutes[known], return_inverse=True)
        means = np.bincount(place, weights=excess[known]) / np.bincount(place) if len(times) else times
        return {f"{minute:g}": float(mean) for minute, mean in zip(times, means, strict=True)}

    def compute(self, series: Series, first: int, symbol: str, state: State) -> FloatArray:
        minutes = series.minute[first:].tolist()
        usual = {minute: state.get(f"{minute:g}", np.nan) for minute in set(minutes)}
        return self._excess(series, first) - np.array([usual[minute] for minute in minutes], dtype=np.float64)

    def _excess(self, series: Series, first: int) -> FloatArray:
        return logs(series.volume[first:]) - logs(positive(rolling_mean(series.volume, self.window, first)))
