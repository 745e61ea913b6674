"""Real bars made ready for every kind of probe: universe dates, labels, features, purged folds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alphatrade_pipelines.features import ewma_volatility
from alphatrade_pipelines.leaks.errors import LeakProbeError
from alphatrade_pipelines.leaks.planted.base import Arena
from alphatrade_pipelines.leaks.world import World
from alphatrade_pipelines.market import adjust_forward
from alphatrade_pipelines.models.folds import Rows
from alphatrade_pipelines.models.labels import BarrierConfig, triple_barrier
from alphatrade_pipelines.models.validation import PurgedKFold
from alphatrade_pipelines.models.weights import average_uniqueness

EMBARGO = 10
_FOLDS = 3
_LEAST = 400


def recent(bars: pd.DataFrame, rows: int, symbols: int) -> pd.DataFrame:
    """The last ``rows`` time stamps of the ``symbols`` with most bars in them: enough to probe, little enough to be quick."""
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    first = stamps.unique().sort_values()[-rows:].min()
    kept = bars[np.asarray(stamps >= first)]
    counts = kept.groupby(level="symbol").size().sort_values(ascending=False, kind="stable")
    chosen = kept.loc[kept.index.isin(counts.index[:symbols], level="symbol")]
    return chosen.reset_index().set_index(["symbol", "timestamp"])  # without the levels of what was left out


def build_arena(name: str, bars: pd.DataFrame) -> Arena:
    """An arena of raw bars.

    The universe dates are made up (two symbols in three join or leave during the sample): the arena tests the probes, not the list.

    Raises:
        LeakProbeError: fewer than 400 time stamps, or no symbol with as many bars.
    """
    counts = bars.groupby(level="symbol").size()
    if not len(counts) or counts.max() < _LEAST:
        raise LeakProbeError(
            f"a symbol with at least {_LEAST} bars", str(int(counts.max()) if len(counts) else 0), fix="Load more history."
        )
    adjusted, volatility = adjust_forward(bars), ewma_volatility(bars)
    labels = triple_barrier(adjusted, volatility, BarrierConfig())
    by_symbol = np.log(adjusted["close"]).groupby(level="symbol", sort=False)
    X = pd.DataFrame(
        {
            "return_1": by_symbol.diff(),
            "return_5": by_symbol.diff(5),
            "return_20": by_symbol.diff(20),
            "volatility": volatility,
            "volume": np.log1p(adjusted["volume"]) - np.log1p(adjusted["volume"]).groupby(level="symbol", sort=False).shift(1),
        }
    )
    X = X.loc[labels.index].dropna()
    # every third row is plenty for folds and far quicker
    X = X[np.asarray(X.groupby(level="symbol").cumcount() % 3 == 0)]
    kept = labels.loc[X.index]
    rows = Rows(X, kept["label"], average_uniqueness(kept), kept["t1"])
    folds = tuple(PurgedKFold(_FOLDS, EMBARGO, rows.t1).split(rows.X))
    return Arena(name, World(bars, _members(bars)), adjusted, volatility, rows, folds, EMBARGO)


def _members(bars: pd.DataFrame) -> pd.DataFrame:
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    distinct = stamps.unique().sort_values()
    third, late = distinct[len(distinct) // 3], distinct[int(len(distinct) * 0.8)]
    rows = []
    for number, symbol in enumerate(bars.index.get_level_values("symbol").unique()):
        rows.append({"symbol": symbol, "start": distinct[0] if number % 3 != 1 else third, "end": pd.NaT if number % 3 else late})
    members = pd.DataFrame(rows)
    return members.assign(end=pd.to_datetime(members["end"], utc=True))
