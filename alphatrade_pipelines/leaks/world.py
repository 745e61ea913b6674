"""What a researcher holds in hand, and the same as it was known at an earlier moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.leaks.errors import LeakProbeError

BoolArray = npt.NDArray[np.bool_]
Moment = Literal["close", "open"]


@dataclass(frozen=True)
class World:
    """Raw bars (index symbol, timestamp = bar start, UTC) and, where known, who belonged to the universe when.

    ``members``: columns ``symbol``, ``start``, ``end`` (bar starts, UTC; ``end`` NaT while a symbol still belongs).
    """

    bars: pd.DataFrame
    members: pd.DataFrame | None = None

    @property
    def stamps(self) -> pd.DatetimeIndex:
        """Time stamp of each bar."""
        return pd.DatetimeIndex(self.bars.index.get_level_values("timestamp"))

    def with_bars(self, bars: pd.DataFrame, cut: pd.Timestamp) -> World:
        """Other bars, and of the membership table what was known at ``cut``: later joiners absent, later leavers still in."""
        members = self.members
        if members is not None:
            members = members[members["start"] <= cut].copy()
            members["end"] = members["end"].where(members["end"] <= cut)
        return dataclasses.replace(self, bars=bars, members=members)


# anything that turns what is known into values at (symbol, timestamp): features, events (an index), weights, positions, predictions
Compute = Callable[[World], "pd.DataFrame | pd.Series | pd.Index"]


def choose_cuts(world: World, count: int, after: float = 0.4) -> tuple[pd.Timestamp, ...]:
    """Moments to probe, from the share ``after`` of the time stamps on.

    ``count`` evenly spread ones, none at the end of a session of intraday bars (where "the rest of the day" hides nothing); and moments at
    which rare code runs: the bar of the largest move, the bars before the last split or dividend and before the last newcomer's first.
    """
    stamps = world.stamps
    distinct = pd.DatetimeIndex(stamps.unique().sort_values())
    if count < 1 or len(distinct) < 3 * count + 3:
        raise LeakProbeError(f"more than {3 * max(count, 1) + 2} time stamps for {count} cuts", str(len(distinct)), fix="Give more bars.")
    first = int(len(distinct) * after)
    places = [int(place) for place in np.linspace(first, len(distinct) - 3, count)]
    ends_session = _ends_session(distinct)
    spread = [place - 1 if ends_session[place] and not ends_session.all() else place for place in places]
    bars = world.bars
    acts = stamps[((bars["split"] != 1.0) | (bars["dividend"] != 0.0)).to_numpy()]
    born = stamps[~np.asarray(bars.index.get_level_values("symbol").duplicated())]
    special = [_before(distinct, moments, first) for moments in (acts, born)]
    special.append(_largest_move(bars, distinct, first))
    chosen = sorted({*spread, *(place for place in special if place is not None)})
    return tuple(distinct[place] for place in chosen)


def _ends_session(distinct: pd.DatetimeIndex) -> BoolArray:
    day = distinct.tz_convert("America/New_York").normalize()
    return np.append(np.asarray(day[1:] != day[:-1]), True)


def _largest_move(bars: pd.DataFrame, distinct: pd.DatetimeIndex, first: int) -> int | None:
    """Position of the largest move of any symbol, splits aside, that leaves a past and a future."""
    ratio = bars["close"] * bars["split"] / bars["close"].groupby(level="symbol", sort=False).shift(1)
    moves = (ratio - 1.0).abs().groupby(level="timestamp").max().reindex(distinct).to_numpy()
    span = moves[first : len(distinct) - 2]
    return first + int(np.nanargmax(span)) if np.isfinite(span).any() else None


def _before(distinct: pd.DatetimeIndex, moments: pd.DatetimeIndex, first: int) -> int | None:
    """Position just before the last of ``moments`` that leaves a past and a future."""
    places = distinct.searchsorted(moments.unique()) - 1
    usable = places[(places >= first) & (places < len(distinct) - 2)]
    return int(usable.max()) if len(usable) else None


def check_cuts(world: World, cuts: Iterable[pd.Timestamp]) -> tuple[pd.Timestamp, ...]:
    """``cuts`` as UTC; LeakProbeError for one without bars on both sides."""
    stamps, chosen = world.stamps, tuple(pd.Timestamp(cut).tz_convert("UTC") for cut in cuts)
    for cut in chosen:
        if not (stamps.min() <= cut < stamps.max()):
            raise LeakProbeError("a cut with bars before and after it", str(cut), fix=f"Bars run from {stamps.min()} to {stamps.max()}.")
    return chosen
