"""How much independent evidence overlapping labels hold (Lopez de Prado 2018, ch. 4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError

FloatArray = npt.NDArray[np.float64]


def average_uniqueness(labels: pd.DataFrame) -> pd.Series:
    """Mean over a label's life of 1 / (labels of the same symbol alive at that bar), in (0, 1]; index as ``labels``.

    A label lives on the decision times after its own up to and including the last one before its outcome is known. Symbols are
    independent here; what they share at one time is dealt with by clustered errors (:func:`clustered_error`).
    """
    if "t1" not in labels or labels["t1"].isna().any():
        raise ModelDataError("labels with an end time t1 in every row", "missing end times")
    pieces = [_symbol_uniqueness(rows) for _symbol, rows in labels.groupby(level="symbol", sort=False)]
    weight: pd.Series = pd.concat(pieces).reindex(labels.index).rename("weight")
    return weight


def _symbol_uniqueness(rows: pd.DataFrame) -> pd.Series:
    starts = pd.DatetimeIndex(rows.index.get_level_values("timestamp")).as_unit("ns").asi8
    ends = pd.DatetimeIndex(rows["t1"]).as_unit("ns").asi8
    first = np.arange(len(rows))
    last = np.maximum(np.searchsorted(starts, ends, side="left"), first + 1)  # lives on [first, last)
    alive = np.cumsum(np.bincount(first, minlength=len(rows) + 1) - np.bincount(last, minlength=len(rows) + 1))[:-1]
    share = np.concatenate([[0.0], np.cumsum(1.0 / alive)])
    return pd.Series((share[last] - share[first]) / (last - first), index=rows.index)


def time_blocks(labels: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Consecutive blocks of decision times, all symbols together, each about twice as long as the longest-lived label.

    Labels in blocks two apart cannot overlap, and what symbols share at one time stays within one block, so block sums
    are nearly independent: the unit of every standard error here. At least 8 blocks are made when there are 8 decision times.
    """
    times = pd.DatetimeIndex(labels.index.get_level_values("timestamp"))
    distinct = pd.DatetimeIndex(times.unique().sort_values())
    ends = distinct.searchsorted(pd.DatetimeIndex(labels["t1"]).as_unit(distinct.unit))
    life = int((ends - distinct.searchsorted(times)).max())
    length = max(1, min(2 * life, len(distinct) // 8))
    return (distinct.searchsorted(times) // length).astype(np.int64)


def clustered_error(values: FloatArray, blocks: npt.NDArray[np.int64]) -> float:
    """Standard error of the mean of ``values`` when rows of one block depend on each other (cluster-robust, Liang and Zeger 1986)."""
    present, position = np.unique(blocks, return_inverse=True)
    if len(present) < 2:
        return float("inf")
    sums = np.bincount(position, weights=values - values.mean())
    return float(np.sqrt(len(present) / (len(present) - 1) * (sums**2).sum()) / len(values))


def effective_size(values: FloatArray, blocks: npt.NDArray[np.int64]) -> float:
    """Number of independent observations whose mean would be as precise: variance / clustered_error², between 1 and n."""
    error = clustered_error(values, blocks)
    if error == 0.0 or not np.isfinite(error):
        return 1.0
    return float(np.clip(values.var() / error**2, 1.0, len(values)))


def evidence_weights(y: pd.Series, t1: pd.Series) -> pd.Series:
    """Training weights: average uniqueness, scaled down so that they add up to no more than the effective number of outcomes.

    Symbols that move together are not separate evidence, and the bounds that size positions must know it. The scale depends on the
    outcomes: a validation fold must work its weights out from its own training rows, or the test outcomes would reach its calibration.

    Args:
        y: outcomes 0/1, index (symbol, timestamp).
        t1: label end times on the same index.
    """
    labels = pd.DataFrame({"t1": t1})
    weight = average_uniqueness(labels)
    independent = effective_size(y.to_numpy(np.float64), time_blocks(labels))
    return weight * min(1.0, independent / float(weight.sum()))
