"""Is one model better than another on the same rows? A paired test that knows outcomes overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.jit import kernel

FloatArray = npt.NDArray[np.float64]
# a mean difference below this (nats) is arithmetic, not knowledge
ROUNDING = 1e-7


@dataclass(frozen=True, slots=True)
class PairedTest:
    """``mean`` gain a row, its 90 % interval, and ``confidence``: the share of resampled histories in which it is not below zero.

    1 - ``confidence`` is the one-sided bootstrap p-value of "no better". ``block`` is the mean block length in decision times.
    """

    mean: float
    lower: float
    upper: float
    confidence: float
    block: float


def paired_bootstrap(gain: FloatArray, rows: pd.DataFrame, resamples: int = 2000, seed: int = 7) -> PairedTest:
    """Stationary bootstrap (Politis & Romano 1994) of the mean of paired differences.

    Args:
        gain: one difference a row (champion's loss minus candidate's: positive = the candidate is better).
        rows: on (symbol, timestamp), with label end times ``t1``: all rows of one time are drawn together, because symbols share it, and
            blocks are at least as long on average as the longest label lives, because overlapping outcomes are one piece of evidence.

    Equal input gives an equal answer.
    """
    times = pd.DatetimeIndex(rows.index.get_level_values("timestamp"))
    distinct, position = np.unique(times.as_unit("ns").asi8, return_inverse=True)
    ends = np.searchsorted(distinct, pd.DatetimeIndex(rows["t1"]).as_unit("ns").asi8)
    life = int((ends - position).max()) if len(rows) else 1
    block = max(float(life), len(distinct) ** (1 / 3), 1.0)
    sums = np.bincount(position, weights=gain).astype(np.float64)
    counts = np.bincount(position).astype(np.float64)
    means = _resample(sums, counts, 1.0 / block, resamples, seed)
    lower, upper = np.quantile(means, [0.05, 0.95])
    return PairedTest(float(np.mean(gain)), float(lower), float(upper), float((means >= -ROUNDING).mean()), block)


@kernel
def _resample(sums: FloatArray, counts: FloatArray, leave: float, resamples: int, seed: int) -> FloatArray:
    """Mean of each resample: blocks of geometric length (mean 1 / ``leave``) that begin anywhere and wrap around the end."""
    np.random.seed(seed)
    n = len(sums)
    means = np.empty(resamples)
    for b in range(resamples):
        total, rows, at = 0.0, 0.0, 0
        for step in range(n):
            at = np.random.randint(0, n) if step == 0 or np.random.random() < leave else (at + 1) % n
            total += sums[at]
            rows += counts[at]
        means[b] = total / rows
    return means
