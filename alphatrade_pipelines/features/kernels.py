"""The numba kernels all families share.

Every row kernel computes rows ``first`` to the last of its input and returns only those. Each row is a direct sum over its own window,
taken in a fixed order: a row's bits depend on that window alone, not on how many rows are computed with it. That is what makes batch,
stream and truncated batch equal to the last bit; running sums or FFT convolution would not (they carry rounding from row to row).
``fastmath`` stays off for the same reason. Rows whose window is not covered, or holds a NaN, are NaN.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.features.jit import kernel, row_kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# below this multiple of rounding error a spread around the mean is arithmetic noise, not variation
_NOISE = 8.0 * np.finfo(np.float64).eps
# rows worked on together, the lag loop outside: the compiler vectorises over rows while each row keeps its own order of additions
_BLOCK = 512


@kernel
def logs(values: FloatArray) -> FloatArray:
    """Natural logarithm of each value; NaN where it is not positive."""
    out = np.empty(values.size)
    for i in range(values.size):
        out[i] = math.log(values[i]) if values[i] > 0.0 else np.nan
    return out


@kernel
def _add_taps(x: FloatArray, weights: FloatArray, low: int, high: int, out: FloatArray) -> None:
    """out[i - low] = sum over k of weights[k] * x[i - k] for rows low to high - 1, added in the order of k.

    Four lags a pass: less traffic to ``out``, the same order of additions. Slices keep the inner index from zero up, which the compiler
    needs to vectorise.
    """
    width, size = weights.size, high - low
    for j in range(size):
        out[j] = 0.0
    whole = width - width % 4
    for k in range(0, whole, 4):
        a, b, c, d = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        xa, xb, xc, xd = x[low - k : high - k], x[low - k - 1 : high - k - 1], x[low - k - 2 : high - k - 2], x[low - k - 3 : high - k - 3]
        for j in range(size):
            out[j] = (((out[j] + a * xa[j]) + b * xb[j]) + c * xc[j]) + d * xd[j]
    for k in range(whole, width):
        a, xa = weights[k], x[low - k : high - k]
        for j in range(size):
            out[j] += a * xa[j]


@row_kernel
def filtered(out: FloatArray, x: FloatArray, weights: FloatArray, first: int) -> None:
    """Causal FIR filter: row i = sum over k of weights[k] * x[i - k]."""
    n = x.size
    for low in range(max(first, weights.size - 1), n, _BLOCK):
        high = min(n, low + _BLOCK)
        _add_taps(x, weights, low, high, out[low - first :])


@row_kernel
def decayed_mean(out: FloatArray, x: FloatArray, weights: FloatArray, least: int, first: int) -> None:
    """Weighted mean of x[i - k] with weights[k], renormalised at the start of the series where fewer values exist.

    x[0] never counts (a first return does not exist). NaN until ``least`` values are there.
    """
    n, width = x.size, weights.size
    for i in range(max(first, least), min(n, width)):
        total, norm = 0.0, 0.0
        for k in range(i):
            total += weights[k] * x[i - k]
            norm += weights[k]
        out[i - first] = total / norm
    norm = 0.0
    for k in range(width):
        norm += weights[k]
    for low in range(max(first, width), n, _BLOCK):
        high = min(n, low + _BLOCK)
        _add_taps(x, weights, low, high, out[low - first :])
        for i in range(low, high):
            out[i - first] /= norm


@kernel
def _window_means(x: FloatArray, width: int, low: int, high: int, out: FloatArray) -> None:
    size = high - low
    for j in range(size):
        out[j] = 0.0
    for k in range(width):
        part = x[low - k : high - k]
        for j in range(size):
            out[j] += part[j]
    for j in range(size):
        out[j] /= width


@kernel
def _co_moments(out: FloatArray, x: FloatArray, y: FloatArray, width: int, first: int) -> None:
    n = x.size
    mean_x, mean_y, total, square_x, square_y = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for low in range(max(first, width - 1), n, _BLOCK):
        high = min(n, low + _BLOCK)
        size = high - low
        _window_means(x, width, low, high, mean_x)
        _window_means(y, width, low, high, mean_y)
        for j in range(size):
            total[j] = 0.0
            square_x[j] = 0.0
            square_y[j] = 0.0
        for k in range(width):
            part_x, part_y = x[low - k : high - k], y[low - k : high - k]
            for j in range(size):
                dx, dy = part_x[j] - mean_x[j], part_y[j] - mean_y[j]
                total[j] += dx * dy
                square_x[j] += dx * dx
                square_y[j] += dy * dy
        for j in range(size):
            flat_x = square_x[j] <= width * (_NOISE * mean_x[j]) ** 2
            flat_y = square_y[j] <= width * (_NOISE * mean_y[j]) ** 2
            out[0, low + j - first] = 0.0 if flat_x or flat_y else total[j]
            out[1, low + j - first] = 0.0 if flat_x else square_x[j]
            out[2, low + j - first] = 0.0 if flat_y else square_y[j]


@row_kernel
def central_moment(out: FloatArray, x: FloatArray, power: int, width: int, first: int) -> None:
    """Sum over the window of (x - mean x)^power, power 2, 3 or 4, two passes; exactly 0 where x varies by rounding error only."""
    n = x.size
    mean, total, square = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for low in range(max(first, width - 1), n, _BLOCK):
        high = min(n, low + _BLOCK)
        size = high - low
        _window_means(x, width, low, high, mean)
        for j in range(size):
            total[j] = 0.0
            square[j] = 0.0
        for k in range(width):
            part = x[low - k : high - k]
            for j in range(size):
                d = part[j] - mean[j]
                square[j] += d * d
                if power == 3:
                    total[j] += d * d * d
                elif power == 4:
                    total[j] += d * d * (d * d)
        for j in range(size):
            value = square[j] if power == 2 else total[j]
            out[low + j - first] = 0.0 if square[j] <= width * (_NOISE * mean[j]) ** 2 else value


@row_kernel
def window_maximum(out: FloatArray, x: FloatArray, width: int, first: int) -> None:
    """Largest of the last ``width`` values by a monotonic queue, O(1) a row and exact; NaN where one of them is NaN."""
    n = x.size
    queue = np.empty(n, np.int64)
    head, tail, gap = 0, 0, -1
    start = max(first, width - 1) - width + 1
    for i in range(max(start, 0), n):
        if math.isnan(x[i]):
            gap = i
        while tail > head and not x[queue[tail - 1]] > x[i]:
            tail -= 1
        queue[tail] = i
        tail += 1
        if queue[head] <= i - width:
            head += 1
        if i >= first and i >= width - 1 and gap <= i - width:
            out[i - first] = x[queue[head]]


@kernel
def positive(x: FloatArray) -> FloatArray:
    """x where it is above zero, else NaN: a denominator or a variance of zero means "undefined", never a silent zero."""
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = x[i] if x[i] > 0.0 else np.nan
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
    out = np.empty(bounds.size - 1)
    for g in range(bounds.size - 1):
        out[g] = np.nan
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
def group_spread(values: FloatArray, order: IntArray, bounds: IntArray) -> FloatArray:
    """Sample standard deviation of the finite values of each group; NaN for fewer than two."""
    out = np.empty(bounds.size - 1)
    for g in range(bounds.size - 1):
        out[g] = np.nan
        total, count = 0.0, 0
        for j in range(bounds[g], bounds[g + 1]):
            if math.isfinite(values[order[j]]):
                total += values[order[j]]
                count += 1
        if count < 2:
            continue
        mean, square = total / count, 0.0
        for j in range(bounds[g], bounds[g + 1]):
            if math.isfinite(values[order[j]]):
                square += (values[order[j]] - mean) ** 2
        out[g] = math.sqrt(square / (count - 1))
    return out


def co_moments(x: FloatArray, y: FloatArray, width: int, first: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sums over the window of (x - mean x)(y - mean y), of (x - mean x)^2 and of (y - mean y)^2, two passes.

    Exactly 0 where a series varies by rounding error only.
    """
    out = np.full((3, x.size - first), np.nan)
    _co_moments(out, x, y, width, first)
    return out[0], out[1], out[2]


@kernel
def group_ranks(values: FloatArray, order: IntArray, bounds: IntArray) -> FloatArray:
    """Rank of each row within its group, in (0, 1): (smaller + half of the equal, itself included) / finite values.

    NaN for a value that is not finite and for a group with fewer than two finite values. Counted, not sorted: a group is a universe of
    some hundred symbols at most, and a stream has one.
    """
    out = np.empty(values.size)
    for g in range(bounds.size - 1):
        rows = order[bounds[g] : bounds[g + 1]]
        for row in rows:
            smaller, equal, known = 0.0, 0.0, 0.0
            for other in rows:
                smaller += values[other] < values[row]
                equal += values[other] == values[row]
                known += math.isfinite(values[other])
            out[row] = (smaller + 0.5 * equal) / known if known > 1.0 and math.isfinite(values[row]) else np.nan
    return out


@lru_cache(maxsize=256)
def _ones(width: int) -> FloatArray:
    return np.ones(width)


def rolling_mean(x: FloatArray, width: int, first: int) -> FloatArray:
    """Mean of the last ``width`` values."""
    return filtered(x, _ones(width), first) / width


def rolling_variance(x: FloatArray, width: int, first: int) -> FloatArray:
    """Sample variance (ddof 1) of the last ``width`` values; NaN where they are all equal."""
    return positive(central_moment(x, 2, width, first)) / (width - 1)


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
