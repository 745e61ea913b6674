"""The loops of :mod:`aggregate`, strictly from the first bar of a bucket to its last: the order in which a live stream adds them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@kernel
def fold_prices(opened: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, bounds: IntArray) -> FloatArray:
    """Open, high, low, close of each bucket, shape (4, buckets); bucket g holds rows ``bounds[g]`` to ``bounds[g + 1] - 1``."""
    out = np.empty((4, bounds.size - 1))
    for g in range(bounds.size - 1):
        first, stop = bounds[g], bounds[g + 1]
        top, bottom = high[first], low[first]
        for i in range(first + 1, stop):
            if high[i] > top:
                top = high[i]
            if low[i] < bottom:
                bottom = low[i]
        out[0, g], out[1, g], out[2, g], out[3, g] = opened[first], top, bottom, close[stop - 1]
    return out


@kernel
def fold_sums(values: FloatArray, bounds: IntArray) -> FloatArray:
    """Sum of each bucket, shape (buckets,)."""
    out = np.empty(bounds.size - 1)
    for g in range(bounds.size - 1):
        total = values[bounds[g]]
        for i in range(bounds[g] + 1, bounds[g + 1]):
            total += values[i]
        out[g] = total
    return out


@kernel
def fold_vwap(vwap: FloatArray, volume: FloatArray, bounds: IntArray) -> FloatArray:
    """Volume-weighted mean of each bucket; a single bar keeps its own to the bit; NaN where nothing traded."""
    out = np.full(bounds.size - 1, np.nan)
    for g in range(bounds.size - 1):
        first, stop = bounds[g], bounds[g + 1]
        if stop - first == 1:
            out[g] = vwap[first]
            continue
        paid, traded = 0.0, 0.0
        for i in range(first, stop):
            paid += vwap[i] * volume[i]
            traded += volume[i]
        if traded > 0.0:
            out[g] = paid / traded
    return out
