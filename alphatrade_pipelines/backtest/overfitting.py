"""How much of a result is luck of the search: probability of backtest overfitting, effective number of trials, spread over paths.

References: Bailey, Borwein, Lopez de Prado & Zhu, "The Probability of Backtest Overfitting" (2017) for CSCV; Lopez de Prado & Lewis,
"Detection of False Investment Strategies Using Unsupervised Learning Methods" (2018) for clusters of trials; Bailey & Lopez de Prado,
"The Deflated Sharpe Ratio" (2014), appendix A.3, for trials that are alike; Lopez de Prado 2018, ch. 12, for paths.

Sharpe ratios are per observation, as everywhere in :mod:`~alphatrade_pipelines.backtest.statistics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.backtest.statistics import null_trial_variance, sharpe_ratio
from alphatrade_pipelines.market.jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Kaufman & Rousseeuw 1990: below this mean silhouette "no substantial structure has been found"
NO_STRUCTURE = 0.25
# fewer sessions in common say nothing about how alike two trials are
COMMON_SESSIONS = 60
# with fewer return series than this nothing is clustered: each counts
FEW_TRIALS = 4


@dataclass(frozen=True, slots=True)
class OverfittingReport:
    """What combinatorially symmetric cross-validation says about choosing the best column.

    ``pbo``: how often the column that was best in one half of the blocks was below the median in the other half (0 = choosing carries
    over, 0.5 = choosing is a coin toss, 1 = it reverses). ``loss``: how often its Sharpe ratio in the other half was negative.
    ``slope``: of its Sharpe ratio out of sample on that in sample over the combinations (NaN when the latter never differs).
    ``logits``: ln(w / (1 - w)) of its relative rank w, one a combination.
    """

    pbo: float
    loss: float
    slope: float
    columns: int
    rows: int
    combinations: int
    logits: FloatArray


def backtest_overfitting(returns: pd.DataFrame | FloatArray, groups: int = 16) -> OverfittingReport:
    """PBO by CSCV of a matrix of returns, shape (sessions, configurations).

    The rows are cut into ``groups`` contiguous blocks of equal length (the oldest rows that do not fill a block are left out); each of the
    C(groups, groups / 2) halves serves as sample once, its complement as test. Ties rank in the middle. A configuration that never
    traded has no Sharpe ratio and counts as zero.

    Raises ValueError: NaN, fewer than two columns, an odd number of blocks, or fewer than two rows a block.
    """
    values = np.ascontiguousarray(returns, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"expected a matrix with at least two configurations as columns, found shape {values.shape}")
    if groups < 2 or groups % 2 or len(values) < 2 * groups:
        raise ValueError(f"expected an even number of blocks of at least two rows, found {groups} blocks for {len(values)} rows")
    if not np.isfinite(values).all():
        raise ValueError("expected finite returns in every session, found NaN or infinity; a session without a trade is 0")
    length = len(values) // groups
    used = values[len(values) - length * groups :]
    centre = used.mean(axis=0)  # squares of centred values: no digits are lost to a mean far from zero
    blocks = (used - centre).reshape(groups, length, -1)
    halves = np.array(list(combinations(range(groups), groups // 2)), dtype=np.int64)
    logits, inside, outside = _cscv(blocks.sum(axis=1), (blocks**2).sum(axis=1), centre, length, halves)
    spread = float(inside.var())
    slope = float(np.mean((inside - inside.mean()) * (outside - outside.mean()))) / spread if spread > 1e-18 else math.nan
    return OverfittingReport(
        pbo=float((logits <= 0.0).mean()),
        loss=float((outside < 0.0).mean()),
        slope=slope,
        columns=values.shape[1],
        rows=len(used),
        combinations=len(halves),
        logits=logits,
    )


@kernel
def _cscv(
    sums: FloatArray, squares: FloatArray, centre: FloatArray, length: int, halves: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Logit of the best column's rank out of sample, and its Sharpe ratios in and out of sample, for each half of the blocks."""
    groups, columns = sums.shape
    total, total_squares = np.zeros(columns), np.zeros(columns)
    for g in range(groups):
        total += sums[g]
        total_squares += squares[g]
    half = groups // 2
    n = half * length
    logits, inside, outside = np.empty(len(halves)), np.empty(len(halves)), np.empty(len(halves))
    tested = np.empty(columns)
    for c in range(len(halves)):
        best, best_sharpe = 0, -np.inf
        for k in range(columns):
            first, second = 0.0, 0.0
            for b in range(half):
                first += sums[halves[c, b], k]
                second += squares[halves[c, b], k]
            sharpe = _sharpe(first, second, centre[k], n)
            tested[k] = _sharpe(total[k] - first, total_squares[k] - second, centre[k], n)
            if sharpe > best_sharpe:
                best, best_sharpe = k, sharpe
        below, equal = 0, 0
        for k in range(columns):
            below += tested[k] < tested[best]
            equal += tested[k] == tested[best]
        rank = below + 0.5 * (equal + 1)  # 1 = worst, columns = best, ties in the middle
        share = rank / (columns + 1)
        logits[c], inside[c], outside[c] = np.log(share / (1.0 - share)), best_sharpe, tested[best]
    return logits, inside, outside


@kernel
def _sharpe(total: float, squares: float, centre: float, n: int) -> float:
    """Mean over standard deviation (ddof 1) from sums of centred values; a flat stretch is bounded, not infinite, and 0 without a mean."""
    shifted = total / n
    mean = shifted + centre
    variance = max(squares - n * shifted * shifted, 0.0) / (n - 1)
    floor = 1e-9 * abs(mean)
    deviation = max(np.sqrt(variance), floor)
    return mean / deviation if deviation > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class EffectiveTrials:
    """How many independent trials ``count`` distinct models amount to.

    ``clusters``: groups of models whose returns move together (each model without a return series is one of its own). ``effective``:
    every cluster of n models with mean correlation r counts as 1 + (1 - r)(n - 1), rounded up in all: never fewer than ``clusters``,
    never more than ``count``. ``variance``: of the clusters' Sharpe ratios per observation, never below what skill-less independent
    trials of that length would show, 1 / (T - 1); NaN when no series is known.
    """

    count: int
    clusters: int
    effective: int
    variance: float


def effective_trials(series: pd.DataFrame, unknown: int = 0, repeats: int = 0) -> EffectiveTrials:
    """Effective number of independent trials from their return series (columns; NaN where a trial has no session).

    ``unknown`` models left no series (a failed fit looked at the data too): each counts as a trial of its own. ``repeats`` are more fits of
    these on other data: counted, but in no cluster of their own. Correlations are over common sessions; with fewer than 60 in common two
    trials count as unrelated. Clusters are cut from average linkage on the correlation distance sqrt((1 - r) / 2) at the best mean
    silhouette; when none reaches 0.25 there is one cluster, of which the mean correlation alone says how many trials it is. With fewer than
    four series nothing is clustered and each counts: a few trials show too little to call them alike.
    """
    columns = series.shape[1]
    if columns == 0:
        return EffectiveTrials(unknown + repeats, unknown, unknown, math.nan)
    variance_floor = null_trial_variance(int(series.notna().sum().max()))
    if columns < FEW_TRIALS:
        sharpes = np.array([sharpe_ratio(series[name].dropna()) for name in series])
        known = sharpes[np.isfinite(sharpes)]
        observed = float(np.var(known)) if len(known) > 1 else 0.0
        return EffectiveTrials(columns + unknown + repeats, columns + unknown, columns + unknown, _floored(observed, variance_floor))
    correlation = trial_correlation(series)
    labels = cluster_trials(correlation)
    sizes = [_cluster_size(correlation, labels == k) for k in range(labels.max() + 1)]
    together = pd.DataFrame({k: series.loc[:, labels == k].mean(axis=1) for k in range(labels.max() + 1)})
    sharpes = np.array([sharpe_ratio(together[k].dropna()) for k in together])
    known = sharpes[np.isfinite(sharpes)]
    observed = float(np.var(known)) if len(known) > 1 else 0.0
    effective = min(math.ceil(sum(sizes) - 1e-9), columns)
    return EffectiveTrials(columns + unknown + repeats, len(sizes) + unknown, effective + unknown, _floored(observed, variance_floor))


def trial_correlation(series: pd.DataFrame) -> FloatArray:
    """Correlation of return series over their common sessions, shape (columns, columns); 0 where it is unknown, 1 on the diagonal."""
    correlation = np.array(series.corr(min_periods=COMMON_SESSIONS), dtype=np.float64)
    correlation[~np.isfinite(correlation)] = 0.0
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1.0, 1.0)


def cluster_trials(correlation: FloatArray) -> IntArray:
    """Cluster number (from 0) of each trial; all 0 when the trials have no structure beyond one group."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    count = len(correlation)
    distance = np.sqrt(np.maximum(1.0 - correlation, 0.0) / 2.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    best, best_quality = np.zeros(count, dtype=np.int64), NO_STRUCTURE
    for k in range(2, count):
        labels = fcluster(tree, k, criterion="maxclust").astype(np.int64) - 1
        quality = silhouette(distance, labels)
        if quality > best_quality:
            best, best_quality = labels, quality
    return best


def silhouette(distance: FloatArray, labels: IntArray) -> float:
    """Mean silhouette (Rousseeuw 1987) for a distance matrix; members of a cluster of one have 0, and so has a single cluster."""
    member = (labels[:, None] == np.unique(labels)[None, :]).astype(np.float64)
    sizes = member.sum(axis=0)
    if member.shape[1] < 2:
        return 0.0
    own = member.argmax(axis=1)
    sums = distance @ member
    rows = np.arange(len(labels))
    within = sums[rows, own] / np.maximum(sizes[own] - 1.0, 1.0)
    others = sums / sizes
    others[rows, own] = np.inf
    nearest = others.min(axis=1)
    larger = np.maximum(within, nearest)
    value = np.where((sizes[own] > 1) & (larger > 0), (nearest - within) / np.where(larger > 0, larger, 1.0), 0.0)
    return float(value.mean())


def _cluster_size(correlation: FloatArray, member: npt.NDArray[np.bool_]) -> float:
    n = int(member.sum())
    if n == 1:
        return 1.0
    inside = correlation[np.ix_(member, member)]
    alike = float(np.clip((inside.sum() - n) / (n * (n - 1)), 0.0, 1.0))
    return 1.0 + (1.0 - alike) * (n - 1)


def _floored(observed: float, floor: float) -> float:
    return max(observed, floor) if math.isfinite(floor) else math.nan


@dataclass(frozen=True, slots=True)
class PathReport:
    """The Sharpe ratios of the paths of a combinatorial purged cross-validation: what one walk through history would have hidden."""

    sharpes: FloatArray
    mean: float
    deviation: float
    lowest: float
    negative: float


def path_distribution(paths: pd.DataFrame) -> PathReport:
    """Sharpe ratio of each path (columns; a session without a trade is 0), their mean, deviation (ddof 1), least, and share below zero.

    Paths share training data and are not independent: the deviation says how much depends on how history was cut, and is no standard
    error. A path that never traded counts as 0.
    """
    sharpes = np.array([sharpe_ratio(paths[name]) for name in paths], dtype=np.float64)
    sharpes = np.where(np.isfinite(sharpes), sharpes, 0.0)
    if len(sharpes) == 0:
        raise ValueError("expected at least one path, found none")
    deviation = float(sharpes.std(ddof=1)) if len(sharpes) > 1 else math.nan
    return PathReport(sharpes, float(sharpes.mean()), deviation, float(sharpes.min()), float((sharpes < 0).mean()))
