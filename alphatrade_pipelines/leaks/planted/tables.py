"""Data that arrive with the future inside. Signature: world -> world or bars, to be checked by :mod:`alphatrade_pipelines.leaks.data`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.data import belongs_to
from alphatrade_pipelines.leaks.planted.base import Plant
from alphatrade_pipelines.leaks.world import World
from alphatrade_pipelines.market import adjust, adjust_forward


def _with_actions(bars: pd.DataFrame) -> pd.DataFrame:
    """A split and a dividend in each symbol, for bars that have none."""
    acted = bars.copy()
    place = bars.groupby(level="symbol").cumcount().to_numpy()
    acted["split"] = np.where(place == 60, 2.0, acted["split"])
    acted["dividend"] = np.where(place == 90, 0.01 * acted["close"], acted["dividend"])
    return acted


def vendor_adjusted_close(world: World) -> pd.DataFrame:
    """The column a vendor delivers: adjusted as of the day of the download."""
    bars = _with_actions(world.bars)
    return bars.assign(adjusted_close=adjust(bars, as_of=world.stamps.max())["close"].to_numpy())


def forward_adjusted_close(world: World) -> pd.DataFrame:
    bars = _with_actions(world.bars)
    return bars.assign(total_return_close=adjust_forward(bars)["close"].to_numpy())


def history_before_joining(world: World) -> World:
    """Bars of a symbol from before it belonged to the universe: somebody filled its history in when it had become large."""
    return world


def history_of_members(world: World) -> World:
    assert world.members is not None
    return World(world.bars[belongs_to(world.bars.index, world.members)], world.members)


def panel_of_survivors(world: World, leavers: bool) -> World:
    """Three hundred symbols over ten years: today's list with its whole past, or with those that left on the way."""
    days = pd.date_range("2010-01-04", periods=120, freq="30D", tz="UTC") + pd.Timedelta(hours=14.5)
    parts = []
    for number in range(300):
        stays = 120 if not leavers or number % 3 else 20 + number % 100
        index = pd.MultiIndex.from_product([[f"S{number:03d}"], days[:stays]], names=["symbol", "timestamp"])
        parts.append(pd.DataFrame({"close": 10.0, "split": 1.0, "dividend": 0.0}, index=index))
    return World(pd.concat(parts))


PLANTS = (
    Plant("vendor_adjusted_column", "data", vendor_adjusted_close, forward_adjusted_close),
    Plant("history_before_joining_the_universe", "data", history_before_joining, history_of_members),
    Plant("panel_of_survivors", "data", lambda world: panel_of_survivors(world, False), lambda world: panel_of_survivors(world, True)),
)
