"""How much independent evidence a panel of a feature holds: neighbours in time and symbols under one market repeat each other.

A test that takes every row as independent calls a random wobble drift: sixty days of twenty symbols with a 21-day window and a common
market hold a handful of independent values, not 1,200.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dependence:
    """``time``: rows of one symbol that hold one independent value (integrated autocorrelation time, >= 1); ``symbols``: independent
    symbols among those present (1 = all move as one)."""

    time: float
    symbols: float

    def effective(self, rows: int, symbols: int) -> float:
        """Independent values among ``rows`` rows of ``symbols`` symbols; at least 1 where there is a row, 0 where there is none."""
        if rows <= 0 or symbols <= 0:
            return 0.0
        return max(rows / symbols / self.time * min(self.symbols, symbols), 1.0)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where each row of a panel lies in a table of times by symbols: worked out once for all its columns."""

    time: npt.NDArray[np.intp]
    symbol: npt.NDArray[np.intp]
    shape: tuple[int, int]

    @classmethod
    def of(cls, index: pd.Index) -> Grid:
        """Of an index (symbol, timestamp) without duplicates."""
        times, stamps = pd.factorize(index.get_level_values("timestamp"), sort=True)
        symbols, names = pd.factorize(index.get_level_values("symbol"), sort=True)
        return cls(times, symbols, (len(stamps), len(names)))

    def spread(self, values: FloatArray) -> FloatArray:
        """One column as the table, NaN where there is no row."""
        table = np.full(self.shape, np.nan)
        table[self.time, self.symbol] = values
        return table


def dependence(series: pd.Series, grid: Grid | None = None) -> Dependence:
    """Measured on a long stretch of a feature, index (symbol, timestamp); NaN is left out. ``grid``: that of the index, if known.

    Time: autocovariances pooled over symbols, summed in pairs until a pair is not positive (Geyer 1992), which needs no model of the
    decay: a rolling window's is a triangle, a regime's an exponential. Symbols: variance of one symbol over variance of their mean at one
    time, which is k for k independent symbols and 1 for copies.
    """
    wide = (grid or Grid.of(series.index)).spread(series.to_numpy(dtype=np.float64))
    present = np.isfinite(wide)
    mean = np.where(present, wide, 0.0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    values = np.where(present, wide - mean, 0.0)
    variance = (values**2).sum()
    if not variance > 0.0:
        # a constant: one value, however often it is said
        return Dependence(float(max(len(wide), 1)), 1.0)
    return Dependence(_autocorrelation_time(values, present, variance), _independent_symbols(values, present))


def _autocorrelation_time(values: FloatArray, present: npt.NDArray[np.bool_], variance: float) -> float:
    n = len(values)
    size = 1 << (2 * n - 1).bit_length()
    pooled = np.zeros(n)
    for column in values.T:  # one transform a symbol: exact sums of products at every lag in O(n log n)
        spectrum = np.fft.rfft(column, size)
        pooled += np.fft.irfft(spectrum * np.conj(spectrum), size)[:n]
    rho = pooled / variance
    longest = max(n // 3, 1)
    pairs = rho[0 : longest - 1 : 2] + rho[1:longest:2]
    stop = np.flatnonzero(pairs <= 0.0)
    total = pairs[: stop[0]].sum() if len(stop) else pairs.sum()
    return float(np.clip(2.0 * total - 1.0, 1.0, max(present.any(axis=1).sum(), 1)))


def _independent_symbols(values: FloatArray, present: npt.NDArray[np.bool_]) -> float:
    count = present.sum(axis=1)
    together = count >= 2
    if not together.any():
        return 1.0
    mean = values[together].sum(axis=1) / count[together]
    # expected square of the mean of independent symbols, each time stamp with its own number of them
    alone = ((values[together] ** 2).sum(axis=1) / count[together] ** 2).mean()
    symbols = float(count[together].mean())
    shared = (mean**2).mean()
    return float(np.clip(symbols * alone / shared, 1.0, symbols)) if shared > 0.0 else symbols
