"""The catalogue of planted leaks, one file a family."""

from __future__ import annotations

from alphatrade_pipelines.leaks.planted import decisions, fitted, folds, labels, learners, samples, tables, universes, windows
from alphatrade_pipelines.leaks.planted.base import Arena, Plant

CATALOGUE: tuple[Plant, ...] = (
    *windows.PLANTS,
    *samples.PLANTS,
    *universes.PLANTS,
    *decisions.PLANTS,
    *fitted.PLANTS,
    *labels.PLANTS,
    *folds.PLANTS,
    *learners.PLANTS,
    *tables.PLANTS,
)

__all__ = ["CATALOGUE", "Arena", "Plant"]
