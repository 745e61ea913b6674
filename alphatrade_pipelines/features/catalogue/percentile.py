"""Where a value stands in the distribution seen in training: the distribution is frozen, so today never ranks against its own future."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import numpy as np

from alphatrade_pipelines.features.base import ColumnFeature, FloatArray, State, register, require_integer
from alphatrade_pipelines.features.errors import FeatureInputError


@register(
    "training_percentile",
    formula="share of the training values of the column below the value, half of the equal ones included",
    reference="probability integral transform, Rosenblatt (1952)",
)
@dataclass(frozen=True)
class TrainingPercentile(ColumnFeature):
    """Share, 0 to 1, of the training values of ``column`` below the value (half of the equal ones), on a grid of ``points`` quantiles.

    Each symbol against its own history if it has at least ``min_values`` of them, else against all symbols' pooled.
    """

    column: str
    points: int = 501
    min_values: int = 250
    frozen: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_integer(self.kind, "points", self.points, 11)
        require_integer(self.kind, "min_values", self.min_values, 20)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def warmup(self) -> int:
        return 1

    def fit(self, values: Mapping[str, FloatArray]) -> dict[str, Any]:
        finite = {symbol: column[np.isfinite(column)] for symbol, column in values.items()}
        pooled = np.concatenate(list(finite.values()))
        if not len(pooled):
            raise FeatureInputError(f"a training value of {self.column!r} to rank against", "only NaN", fix="Load a longer history.")
        by_symbol = {symbol: self._grid(column) for symbol, column in finite.items() if len(column) >= self.min_values}
        return {"pooled": self._grid(pooled), "by_symbol": by_symbol}

    def _grid(self, values: FloatArray) -> list[float]:
        return [float(value) for value in np.quantile(values, np.linspace(0.0, 1.0, self.points))]

    def compute(self, values: FloatArray, symbol: str, state: State) -> FloatArray:
        grid = state["by_symbol"].get(symbol, state["pooled"])
        if len(values) == 1:  # a stream: the same count without building an array of the grid
            value = float(values[0])
            return np.array([(bisect_left(grid, value) + bisect_right(grid, value)) / (2.0 * len(grid)) if isfinite(value) else np.nan])
        place = (np.searchsorted(grid, values, side="left") + np.searchsorted(grid, values, side="right")) / (2.0 * len(grid))
        return np.where(np.isfinite(values), place, np.nan)
