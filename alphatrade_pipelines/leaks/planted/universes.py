"""Comparisons with symbols that were not there, or not yet."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.data import belongs_to
from alphatrade_pipelines.leaks.planted.base import Plant, long, wide
from alphatrade_pipelines.leaks.world import World


def survivors(world: World) -> pd.Series:
    """Only symbols that still trade at the end of the sample."""
    symbols = world.bars.index.get_level_values("symbol")
    alive = symbols[np.asarray(world.stamps == world.stamps.max())]
    return world.bars["close"].where(np.asarray(symbols.isin(alive)))


def present(world: World) -> pd.Series:
    return world.bars["close"]


def full_history_only(world: World) -> pd.Series:
    """Symbols with a gap anywhere in the sample are dropped before ranking."""
    table = wide(world).iloc[1:]
    return long(table.dropna(axis=1).rank(axis=1, pct=True), world)


def rank_of_present(world: World) -> pd.Series:
    return long(wide(world).rank(axis=1, pct=True), world)


def most_traded_of_the_sample(world: World) -> pd.Series:
    """The universe is the more traded half of the symbols, judged over the whole sample."""
    dollar = (world.bars["close"] * world.bars["volume"]).groupby(level="symbol").transform("mean")
    return world.bars["close"].where(dollar >= dollar.median())


def most_traded_so_far(world: World) -> pd.Series:
    dollar = (world.bars["close"] * world.bars["volume"]).groupby(level="symbol").transform(lambda values: values.rolling(60).mean())
    return world.bars["close"].where(dollar >= dollar.groupby(level="timestamp").transform("median"))


def members_at_the_end(world: World) -> pd.Series:
    """Today's constituents, applied to the past."""
    members = _members(world)
    now = members.loc[members["end"].isna(), "symbol"]
    return world.bars["close"].where(np.asarray(world.bars.index.get_level_values("symbol").isin(now)))


def members_at_the_time(world: World) -> pd.Series:
    return world.bars["close"].where(belongs_to(world.bars.index, _members(world)))


def _members(world: World) -> pd.DataFrame:
    assert world.members is not None, "the arena states universe dates"
    return world.members


PLANTS = (
    Plant("survivorship", "feature", survivors, present),
    Plant("cross_section_of_full_histories", "feature", full_history_only, rank_of_present),
    Plant("most_traded_of_the_sample", "feature", most_traded_of_the_sample, most_traded_so_far),
    Plant("members_at_the_end", "feature", members_at_the_end, members_at_the_time),
)
