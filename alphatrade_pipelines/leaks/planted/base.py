"""A planted leak: a small honest function with the name of the mistake, and its clean twin, which does the same job rightly.

The catalogue measures the detector: a planted leak it misses is a blind spot, a twin it accuses is a false alarm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.leaks.isolation import Fold
from alphatrade_pipelines.leaks.world import World
from alphatrade_pipelines.models.folds import Rows

FloatArray = npt.NDArray[np.float64]
Kind = Literal["feature", "event", "position", "prediction", "fitted", "label", "weights", "learner", "folds", "data"]
# statistics that a twin freezes come from each symbol's first bars
TRAINING_BARS = 150


@dataclass(frozen=True)
class Plant:
    """``leak`` and ``clean`` have the signature of their kind: see :mod:`alphatrade_pipelines.leaks.score`. ``options`` go to the probe."""

    name: str
    kind: Kind
    leak: Callable[..., Any]
    clean: Callable[..., Any]
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Arena:
    """Real data for every kind of plant: bars with universe dates, labelled rows with purged folds."""

    name: str
    world: World
    adjusted: pd.DataFrame
    volatility: pd.Series
    rows: Rows
    folds: tuple[Fold, ...]
    embargo: int


def each(formula: Callable[[pd.DataFrame], pd.Series]) -> Callable[[World], pd.Series]:
    """Apply a formula to the bars of each symbol."""

    def compute(world: World) -> pd.Series:
        joined: pd.Series = pd.concat([formula(rows) for _, rows in world.bars.groupby(level="symbol", sort=False)])
        return joined

    return compute


def returns(rows: pd.DataFrame) -> pd.Series:
    """Log returns of one symbol's closes."""
    change: pd.Series = np.log(rows["close"]).diff()
    return change


def stamps_of(rows: pd.DataFrame | pd.Series) -> pd.DatetimeIndex:
    """Time stamp of each row."""
    return pd.DatetimeIndex(rows.index.get_level_values("timestamp"))


def period_of(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """A coarser period each bar belongs to: its New York day, or its week when there is one bar a day."""
    day = stamps_of(rows).tz_convert("America/New_York").tz_localize(None).normalize()
    number = np.asarray(day.as_unit("s").asi8 // 86_400, dtype=np.int64)
    intraday = len(number) > 1 and bool((number[1:] == number[:-1]).any())
    return number if intraday else (number + 3) // 7  # weeks begin on Mondays


def wide(world: World, values: Callable[[pd.DataFrame], pd.Series] = returns) -> pd.DataFrame:
    """Times x symbols."""
    return each(values)(world).unstack("symbol")


def long(table: pd.DataFrame, world: World) -> pd.Series:
    """Back from times x symbols to the index of the bars."""
    stacked = table.stack()
    assert isinstance(stacked, pd.Series)
    return stacked.swaplevel().reindex(world.bars.index)
