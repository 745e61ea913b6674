"""What the bars themselves already know of the future. No function can be blamed for these: they came with the data.

Can see: a price column adjusted as of the end (its ratio to the close moves on split and dividend days and ends at one), rows outside a
stated membership, and a panel so large and long in which nobody ever left that it must be a list of survivors. Cannot see: a short or small
panel of survivors, restated fundamentals, a back-filled history, or a wrong membership table: that needs the vintage of each fact.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.compare import place
from alphatrade_pipelines.leaks.report import Alarm, Report
from alphatrade_pipelines.leaks.world import World

# about 4 % of large US companies leave their index or the exchange in a year; below this probability nobody believes that none did
LEAVERS_A_YEAR = 0.04
_INCREDIBLE = 0.01
_OWN = {"open", "high", "low", "close", "volume", "split", "dividend", "vwap", "trade_count"}


def check_columns(bars: pd.DataFrame, *, name: str = "bars") -> Report:
    """Look for columns beyond the raw bars that are prices adjusted with later splits or dividends."""
    alarms, checked = [], 0
    for column in [str(one) for one in bars.columns if one not in _OWN]:
        for symbol, rows in bars.groupby(level="symbol", sort=False):
            ratio = (rows[column] / rows["close"]).to_numpy(dtype=np.float64)
            checked += len(ratio)
            acts = ((rows["split"] != 1.0) | (rows["dividend"] > 0.0)).to_numpy()
            # the anchor of a backward adjustment is the newest bar; each step towards it is an action on its own day
            if acts[1:].any() and abs(ratio[-1] - 1.0) < 1e-6 and np.median(abs(ratio[1:][acts[1:]] / ratio[:-1][acts[1:]] - 1.0)) > 1e-4:
                at = int(np.argmax(acts[1:]))
                before, after = f"{ratio[at]:.6g} x close", "1 x close at the end of the sample"
                alarms.append(
                    Alarm(name, "adjusted column", column, place(rows.index[at]), f"symbol {symbol}", before, after, int(acts.sum()))
                )
                break
    return Report(name, tuple(alarms), checked)


def check_universe(world: World, *, name: str = "universe") -> Report:
    """Rows outside the stated membership; without one, a panel in which incredibly nobody ever left."""
    bars = world.bars
    if world.members is not None:
        belongs = belongs_to(bars.index, world.members)
        guilty = np.flatnonzero(~belongs)
        alarms: tuple[Alarm, ...] = ()
        if len(guilty):
            key = bars.index[int(guilty[0])]
            alarms = (Alarm(name, "membership", "row", place(key), "universe dates", "not a member", "a row", len(guilty)),)
        return Report(name, alarms, len(bars))
    stamps = world.stamps
    spans = stamps.to_series(index=bars.index).groupby(level="symbol").agg(["min", "max"])
    last = stamps.max()
    years = float(((spans["max"] - spans["min"]).dt.days / 365.25).sum())
    left = int((spans["max"] < last - pd.Timedelta(days=10)).sum())
    nobody = (1.0 - LEAVERS_A_YEAR) ** years
    if left == 0 and nobody < _INCREDIBLE:
        text = f"{len(spans)} symbols, {years:.0f} symbol years, none left (chance {nobody:.1g})"
        return Report(name, (Alarm(name, "survivors", "panel", place(last), "the whole panel", text, "some should have", 1),), len(spans))
    return Report(name, (), len(spans))


def belongs_to(index: pd.Index, members: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which (symbol, timestamp) keys lie within a membership, [start, end)."""
    symbols, stamps = index.get_level_values("symbol"), pd.DatetimeIndex(index.get_level_values("timestamp"))
    inside = np.zeros(len(index), dtype=np.bool_)
    starts, ends = pd.DatetimeIndex(members["start"]), pd.DatetimeIndex(members["end"])
    for symbol, start, end in zip(members["symbol"], starts, ends, strict=True):
        until = np.ones(len(index), dtype=np.bool_) if pd.isna(end) else np.asarray(stamps < end)
        inside |= np.asarray(symbols == symbol) & np.asarray(stamps >= start) & until
    return inside
