"""Event sampling: decide where something happened instead of at every bar (symmetric CUSUM filter, Lopez de Prado 2018, 2.5.2.1).

    up_t = max(0, up_{t-1} + y_t - y_{t-1}),   down_t = min(0, down_{t-1} + y_t - y_{t-1})

An event fires when down_t < -h_t or up_t > h_t, and that sum starts again from zero. y is usually the log of the forward-adjusted close (a
split is no event), h a fraction (0.02 = 2 %) or a volatility known at t.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.errors import BarDataError
from alphatrade_pipelines.market.event_bar_kernels import cusum_marks

FloatArray = npt.NDArray[np.float64]


def cusum_events(values: pd.Series, threshold: float | pd.Series) -> pd.Series:
    """Events of every symbol.

    Args:
        values: y, index (symbol, timestamp), sorted by both; NaN rows are skipped.
        threshold: h, positive; one for all or a series on the same index. A row where it is NaN (a volatility still warming up)
            fires no event and adds nothing.

    Returns:
        +1 (risen) or -1 (fallen) at each event, index (symbol, timestamp).

    Raises:
        BarDataError: a threshold on another index, or one that is not positive.
    """
    limits = threshold if isinstance(threshold, pd.Series) else pd.Series(float(threshold), index=values.index)
    if not limits.index.equals(values.index):
        raise BarDataError("a threshold on the index of the values", "another index", fix="Reindex it; rows without a value are NaN.")
    if (limits <= 0).any():
        raise BarDataError("a positive threshold", f"{limits[limits <= 0].iloc[0]:g} at {limits[limits <= 0].index[0]}")
    parts = []
    for _, rows in values.groupby(level="symbol", sort=False):
        known = rows.dropna()
        marks = CusumFilter().extend(np.asarray(known, dtype=np.float64), np.asarray(limits.loc[known.index], dtype=np.float64))
        parts.append(pd.Series(marks, index=known.index)[marks != 0])
    return pd.concat(parts).rename("event") if parts else pd.Series(dtype=np.int64, name="event")


class CusumFilter:
    """The filter on one symbol, a stretch or a single value at a time; any chunking gives the same events."""

    def __init__(self) -> None:
        self._sums = np.zeros(2)
        self._last = float("nan")

    def update(self, value: float, threshold: float) -> int:
        """+1, -1, or 0 for no event."""
        return int(self.extend(np.array([value]), np.array([threshold]))[0])

    def extend(self, values: FloatArray, thresholds: FloatArray) -> npt.NDArray[np.int64]:
        """Marks of a stretch of values without NaN (n,)."""
        if not len(values):
            return np.zeros(0, dtype=np.int64)
        marks = cusum_marks(np.asarray(np.diff(values, prepend=self._last), dtype=np.float64), thresholds, self._sums)
        self._last = float(values[-1])
        return marks

    def to_state(self) -> dict[str, float]:
        """JSON; ``last`` is absent before the first value."""
        return {"up": float(self._sums[0]), "down": float(self._sums[1])} | ({} if np.isnan(self._last) else {"last": self._last})

    def restore(self, state: dict[str, float]) -> None:
        """Go on where :meth:`to_state` was taken."""
        self._sums, self._last = np.array([state["up"], state["down"]]), state.get("last", float("nan"))
