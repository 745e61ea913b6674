"""The numba kernels all families share.

Every kernel computes rows ``first`` to the last of its input and returns only those. Each row is a direct sum over its own window, taken
in a fixed order: a row's bits depend on that window alone, not on how many rows are computed with it. That is what makes batch, stream
and truncated batch equal to the last bit; running sums or FFT convolution would not (they carry rounding from row to row). ``fastmath``
stays off for the same reason. Rows whose window is not covered, or holds a NaN, are NaN.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.features.jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# below this multiple of rounding error a spread around the mean is arithmetic noise, not variation
_NOISE = 8.0 * np.finfo(np.float64).eps


@kernel
def logs(values: FloatArray) -> FloatArray:
    """Natural logarithm of each value; NaN where it is not positive."""
    out = np.full(values.size, np.nan)
    for i in range(values.size):
        if values[i] > 0.0:
            out[i] = math.log(values[i])
    return out


@kernel
def filtered(x: FloatArray, weights: FloatArray, first: int) -> FloatArray:
    """Causal FIR filter: row i = sum over k of weights[k] * x[i - k].

    The lag loop is outside, the row loop inside and in blocks: the compiler vectorises over rows while each row keeps its own order.
    """
    n, width = x.size, weights.size
    out = np.full(n - first, np.nan)
    for low in range(max(first, width - 1), n, 512):
        high = min(n, low + 512)
        for i in range(low, high):
            out[i - first] = weights[0] * x[i]
        for k in range(1, width):
            weight = weights[k]
            for i in range(low, high):
                out[i - first] += weight * x[i - k]
    return out


@kernel
def decayed_mean(x: FloatArray, weights: FloatArray, least: int, first: int) -> FloatArray:
    """Weighted mean of x[i - k] with weights[k], renormalised at the start of the series where fewer values exist.

    x[0] never counts (a first return does not exist). NaN until ``least`` values are there.
    """
    n, width = x.size, weights.size
    out = np.full(n - first, np.nan)
    for i in range(first, n):
        count = min(width, i)
        if count < least:
            continue
        total, norm = 0.0, 0.0
        for k in range(count):
            total += weights[k] * x[i - k]
            norm += weights[k]
        out[i - first] = total / norm
    return out


@kernel
def co_moment(x: FloatArray, y: FloatArray, width: int, first: int) -> FloatArray:
    """Sum over the window of (x - mean x)(y - mean y), two passes; exactly 0 where a series varies by rounding error only."""
    n = x.size
    out = np.full(n - first, np.nan)
    for i in range(max(first, width - 1), n):
        mean_x, mean_y = 0.0, 0.0
        for k in range(i - width + 1, i + 1):
            mean_x += x[k]
            mean_y += y[k]
        mean_x /= width
        mean_y /= width
        total, square_x, square_y = 0.0, 0.0, 0.0
        for k in range(i - width + 1, i + 1):
            dx, dy = x[k] - mean_x, y[k] - mean_y
            total += dx * dy
            square_x += dx * dx
            square_y += dy * dy
        if square_x <= width * (_NOISE * mean_x) ** 2 or square_y <= width * (_NOISE * mean_y) ** 2:
            total = 0.0
        out[i - first] = total
    return out


@kernel
def normal_cdf(x: FloatArray) -> FloatArray:
    """Standard normal distribution function."""
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = 0.5 * (1.0 + math.erf(x[i] / math.sqrt(2.0)))
    return out


@kernel
def half_tanh(x: FloatArray) -> FloatArray:
    """2 (e^x - 1) / (e^x + 1), the Corwin-Schultz spread for alpha = x."""
    out = np.empty(x.size)
    for i in range(x.size):
        power = math.exp(x[i])
        out[i] = 2.0 * (power - 1.0) / (1.0 + power)
    return out


@kernel
def group_means(values: FloatArray, order: IntArray, bounds: IntArray) -> FloatArray:
    """Mean of the finite values of each group; group g holds rows ``order[bounds[g]:bounds[g + 1]]``. NaN for a group without any."""
    out = np.full(bounds.size - 1, np.nan)
    for g in range(bounds.size - 1):
        total, count = 0.0, 0
        for j in range(bounds[g], bounds[g + 1]):
            value = values[order[j]]
            if math.isfinite(value):
                total += value
                count += 1
        if count > 0:
            out[g] = total / count
    return out


@kernel
def group_ranks(values: FloatArray, order: IntArray, bounds: IntArray) -> FloatArray:
    """Rank of each row within its group, in (0, 1): (smaller + half of the equal, itself included) / finite values.

    NaN for a value that is not finite and for a group with fewer than two finite values.
    """
    out = np.full(values.size, np.nan)
    for g in range(bounds.size - 1):
        for j in range(bounds[g], bounds[g + 1]):
            own = values[order[j]]
            if not math.isfinite(own):
                continue
            below, equal, count = 0, 0, 0
            for k in range(bounds[g], bounds[g + 1]):
                other = values[order[k]]
                if math.isfinite(other):
                    count += 1
                    if other < own:
                        below += 1
                    elif other == own:
                        equal += 1
            if count > 1:
                out[order[j]] = (below + 0.5 * equal) / count
    return out


@lru_cache(maxsize=256)
def _ones(width: int) -> FloatArray:
    return np.ones(width)


def rolling_mean(x: FloatArray, width: int, first: int) -> FloatArray:
    """Mean of the last ``width`` values."""
    return filtered(x, _ones(width), first) / width


def rolling_variance(x: FloatArray, width: int, first: int) -> FloatArray:
    """Sample variance (ddof 1) of the last ``width`` values; NaN where they are all equal."""
    return positive(co_moment(x, x, width, first)) / (width - 1)


def lagged_change(x: FloatArray, lag: int, first: int) -> FloatArray:
    """x[i] - x[i - lag]."""
    out = np.full(x.size - first, np.nan)
    start = max(first, lag)
    if start < x.size:
        out[start - first :] = x[start:] - x[start - lag : x.size - lag]
    return out


def previous(x: FloatArray) -> FloatArray:
    """x one row later: row i holds x[i - 1], row 0 NaN."""
    out = np.empty_like(x)
    out[0] = np.nan
    out[1:] = x[:-1]
    return out


def positive(x: FloatArray) -> FloatArray:
    """x where it is above zero, else NaN: a denominator or a variance of zero means "undefined", never a silent zero."""
    return np.where(x > 0.0, x, np.nan)
