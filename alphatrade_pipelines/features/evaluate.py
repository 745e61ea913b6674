"""Fit and compute one feature on a table. Used by batch only; the stream calls the same features on its buffers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from alphatrade_pipelines.features.base import (
    ClockFeature,
    ColumnFeature,
    CrossSectionFeature,
    Feature,
    FloatArray,
    MarketFeature,
    State,
    SymbolFeature,
)
from alphatrade_pipelines.features.table import Table

Columns = Mapping[str, FloatArray]


def fit_feature(feature: Feature, table: Table, columns: Columns) -> State:
    """Statistics the feature freezes; None for most."""
    if isinstance(feature, SymbolFeature):
        return feature.fit(dict(table.items()))
    if isinstance(feature, ColumnFeature):
        return feature.fit(table.split(columns[feature.inputs[0]]))
    if isinstance(feature, MarketFeature):
        return feature.fit(table.group_times, table.market)
    return None


def compute_feature(feature: Feature, table: Table, columns: Columns, state: State) -> FloatArray:
    """Array (rows, outputs); warm-up rows and values that are not finite are NaN."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = _compute(feature, table, columns, state).reshape(len(table.times), len(feature.suffixes))
    return np.where(np.isfinite(values), values, np.nan)


def _compute(feature: Feature, table: Table, columns: Columns, state: State) -> FloatArray:
    if isinstance(feature, SymbolFeature):
        parts = [feature.compute(series, 0, symbol, state) for symbol, series in table.items()]
        values = np.concatenate(parts).reshape(len(table.times), len(feature.suffixes))
        return np.where((table.ages >= feature.warmup)[:, None], values, np.nan)
    if isinstance(feature, ColumnFeature):
        source = table.split(columns[feature.inputs[0]])
        return np.concatenate([feature.compute(values, symbol, state) for symbol, values in source.items()])
    if isinstance(feature, CrossSectionFeature):
        return feature.compute(columns[feature.inputs[0]], table.order, table.groups)
    if isinstance(feature, MarketFeature):
        return feature.compute(table.group_times, table.market, state)[table.group_of_row]
    if isinstance(feature, ClockFeature):
        return feature.compute(table.group_times)[table.group_of_row]
    raise TypeError(f"{type(feature).__name__} has none of the five feature shapes of features.base")
