"""A change of the volume feed is not a change of the market.

One venue sees about 3 % of consolidated volume. Who switches the data feed (consolidated tape against a single exchange), or back-fills
from one and streams from the other, multiplies every volume by a number near 0.03 or 30 from one session to the next. Every feature of
volume then drifts, and a model retrained on the mixture learns the switch. Markets do not do this: their volume moves by tens of per
cent, symbol by symbol. So a step that is large, sudden and the same in every symbol is named for what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]
# a step of the cross-section's median by less than this factor is left to the market
LEAST_FACTOR = 5.0
# sessions on each side of a step; a quarter of them is needed where the data end
WINDOW = 20
# the symbols' own steps lie within this factor of the common one (their middle half)
AGREEMENT = 2.0
SESSIONS = 300


@dataclass(frozen=True, slots=True)
class VolumeFeedChange:
    """From session ``since`` on (UTC midnight of its day) volumes are ``factor`` times what they were, in ``symbols`` symbols."""

    since: pd.Timestamp
    factor: float
    symbols: int

    def __str__(self) -> str:
        share = f"{self.factor:.1%} of" if self.factor < 1 else f"{self.factor:.0f} times"
        kind = "a single venue's volume after consolidated volume" if self.factor < 1 else "consolidated volume after a single venue's"
        return (
            f"the volume feed changed on {self.since.date()}: {share} the volume before, alike in {self.symbols} symbols and within a "
            f"session ({kind}?). Load the whole history from one feed; a retrain on both would learn the switch"
        )


def find_volume_feed_change(bars: pd.DataFrame) -> VolumeFeedChange | None:
    """The latest such step in raw ``bars`` (index symbol, timestamp), or None.

    Measured in dollars a session (a split changes shares, not dollars): per symbol, median log volume of the ``WINDOW`` sessions after
    minus before each session; a step is where the median over symbols is at least ``LEAST_FACTOR``, at least half of it between two
    neighbouring sessions, and shared by the symbols. Needs two symbols: one alone may have had its own reasons. Only the latest
    ``SESSIONS`` are searched: an older step lies within what the model was trained on.
    """
    logs = _session_log_volume(bars).iloc[-SESSIONS:]
    if logs.shape[1] < 2 or len(logs) < WINDOW // 2:
        return None
    values = logs.to_numpy()
    steps = _steps(values)
    common = _median(steps)
    jump = _median(np.diff(values, axis=0, prepend=np.nan))
    large = np.flatnonzero(np.abs(common) >= np.log(LEAST_FACTOR))
    for group in reversed(np.split(large, np.flatnonzero(np.diff(large) > 1) + 1)):
        if not len(group):
            continue
        # the windows' difference is flat around a step; the step itself is the session that jumped
        at = int(group[np.argmax(np.nan_to_num(jump[group] * np.sign(common[group]), nan=-np.inf))])
        apart = np.nanpercentile(steps[at], 75) - np.nanpercentile(steps[at], 25)
        if apart <= np.log(AGREEMENT) and jump[at] / common[at] >= 0.5:
            return VolumeFeedChange(logs.index[at], float(np.exp(common[at])), int(np.isfinite(steps[at]).sum()))
    return None


def _median(values: FloatArray) -> FloatArray:
    """Median of each row's finite values, NaN where there is none."""
    out = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    out[some] = np.nanmedian(values[some], axis=1)
    return out


def as_before(bars: pd.DataFrame, change: VolumeFeedChange) -> pd.DataFrame:
    """The bars with the volume after the change brought to the scale before it: what is still different then is not the feed's doing."""
    scaled = bars.copy()
    after = scaled.index.get_level_values("timestamp") >= change.since
    for name in ("volume", "trade_count"):
        if name in scaled:
            scaled.loc[after, name] = scaled.loc[after, name] / change.factor
    return scaled


def _session_log_volume(bars: pd.DataFrame) -> pd.DataFrame:
    dollars = bars["close"] * bars["volume"]
    days = pd.DatetimeIndex(bars.index.get_level_values("timestamp")).floor("D")
    total = dollars.groupby([days, bars.index.get_level_values("symbol")]).sum().unstack()
    return total.where(total > 0).transform(np.log)


def _steps(values: FloatArray) -> FloatArray:
    """Median after (from the row on) minus median before, per column; NaN where a side is too short."""
    n, least = len(values), max(WINDOW // 4, 2)
    out = np.full(values.shape, np.nan)
    for at in range(least, n - least + 1):
        before, after = values[max(at - WINDOW, 0) : at], values[at : at + WINDOW]
        enough = (np.isfinite(before).sum(axis=0) >= least) & (np.isfinite(after).sum(axis=0) >= least)
        if enough.any():
            out[at, enough] = np.nanmedian(after[:, enough], axis=0) - np.nanmedian(before[:, enough], axis=0)
    return out
