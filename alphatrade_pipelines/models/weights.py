"""How much independent evidence overlapping labels hold (Lopez de Prado 2018, ch. 4).

Weights are worked out from the rows they are for and from nothing else: concurrency counts only these rows' labels, returns are read only
inside their lives, and every scale is over them. So a fold that weighs its own training rows cannot learn of its test rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class WeightConfig:
    """What counts beside uniqueness. ``attribution``: labels that earned their own return, shared with no other, count more. ``decay``:
    older labels count less: ``linear`` in cumulated uniqueness down to ``oldest`` (negative: that share of the oldest evidence counts
    nothing), ``exponential`` with a half life in calendar days.
    """

    attribution: bool = False
    decay: Literal["none", "linear", "exponential"] = "none"
    oldest: float = 0.5
    half_life_days: float = 730.0

    def __post_init__(self) -> None:
        if not (-1.0 < self.oldest <= 1.0 and self.half_life_days > 0 and self.decay in ("none", "linear", "exponential")):
            raise ModelDataError("decay none, linear or exponential, -1 < oldest <= 1, half_life_days > 0", repr(self))


def average_uniqueness(labels: pd.DataFrame) -> pd.Series:
    """Mean over a label's life of 1 / (labels of the same symbol alive at that bar), in (0, 1]; index as ``labels``.

    A label lives on the decision times after its own up to and including the last one before its outcome is known. Symbols are
    independent here; what they share at one time is dealt with by clustered errors (:func:`clustered_error`).
    """
    first, last, edges = lives(labels)
    alive = _alive(first, last, len(labels))
    unique = np.empty(len(labels))
    for low, high in pairwise(edges.tolist()):
        own = np.flatnonzero((first >= low) & (first < high)) if len(edges) > 2 else np.arange(len(labels))
        share = np.concatenate([[0.0], np.cumsum(1.0 / alive[low:high])])
        unique[own] = (share[last[own] - low] - share[first[own] - low]) / (last[own] - first[own])
    return pd.Series(unique, index=labels.index, name="weight")


def lives(labels: pd.DataFrame) -> tuple[IntArray, IntArray, IntArray]:
    """Each label's life as places [first, last) on a line of all decision times, one symbol's after another's; and the symbols' edges.

    Raises ModelDataError for missing end times, one before its decision, or a row that is there twice.
    """
    if "t1" not in labels or labels["t1"].isna().any():
        raise ModelDataError("labels with an end time t1 in every row", "missing end times")
    if labels.index.has_duplicates:
        raise ModelDataError("each (symbol, timestamp) once", "duplicate rows", "Drop the duplicates first.")
    starts = pd.DatetimeIndex(labels.index.get_level_values("timestamp")).as_unit("ns").asi8
    ends = pd.DatetimeIndex(labels["t1"]).as_unit("ns").asi8
    if (ends < starts).any():
        raise ModelDataError("t1 at or after each row's timestamp", "earlier end times")
    codes = pd.factorize(labels.index.get_level_values("symbol"))[0]
    order = np.lexsort((starts, codes))
    line, place = starts[order], np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels))
    last = np.empty(len(labels), dtype=np.int64)
    edges = np.concatenate([[0], np.cumsum(np.bincount(codes))]) if len(labels) else np.zeros(1, dtype=np.int64)
    for low, high in pairwise(edges.tolist()):
        own = order[low:high]
        last[own] = low + np.searchsorted(line[low:high], ends[own], side="left")
    return place, np.maximum(last, place + 1), np.asarray(edges, dtype=np.int64)


def _alive(first: IntArray, last: IntArray, size: int) -> IntArray:
    """Labels alive at each place."""
    return np.cumsum(np.bincount(first, minlength=size + 1) - np.bincount(last, minlength=size + 1))[:-1]


def return_attribution(labels: pd.DataFrame, returns: pd.Series) -> pd.Series:
    """|sum over a label's life of (log return / labels of the symbol alive at that bar)|, scaled to a mean of 1 (snippet 4.10).

    Unlike the snippet, a life begins after the decision: the return into the decision's own close is over when it is taken.

    Args:
        labels: ``t1`` on (symbol, timestamp).
        returns: log return into the close of every bar, index (symbol, timestamp), sorted; only bars inside lives are read.

    Raises:
        ModelDataError: a decision that is no bar, a NaN inside a life, or no return in any life.
    """
    lives(labels)  # checks
    by_symbol = {str(symbol): own for symbol, own in returns.groupby(level="symbol", sort=False)}
    pieces = [
        _attributed(rows, by_symbol.get(str(symbol), returns.iloc[:0])) for symbol, rows in labels.groupby(level="symbol", sort=False)
    ]
    weight = pd.concat(pieces).reindex(labels.index).rename("weight")
    if not np.isfinite(weight).all():
        raise ModelDataError("a log return at every bar of every life", "NaN", "Give returns on the bars the labels were made of.")
    if not weight.sum() > 0:
        raise ModelDataError("a return in some life", f"none in {len(labels)} labels")
    scaled: pd.Series = weight / float(weight.mean())
    return scaled


def _attributed(rows: pd.DataFrame, returns: pd.Series) -> pd.Series:
    stamps = pd.DatetimeIndex(returns.index.get_level_values("timestamp")).as_unit("ns").asi8
    starts = pd.DatetimeIndex(rows.index.get_level_values("timestamp")).as_unit("ns").asi8
    first = np.searchsorted(stamps, starts, side="right")
    if (first == 0).any() or (stamps[first - 1] != starts).any():
        raise ModelDataError("a bar at every decision", f"none in the returns for some of {rows.index[0][0]}")
    last = np.maximum(np.searchsorted(stamps, pd.DatetimeIndex(rows["t1"]).as_unit("ns").asi8, side="left"), first)
    alive = _alive(first, last, len(stamps))
    shared = np.where(alive > 0, returns.to_numpy(dtype=np.float64), 0.0) / np.maximum(alive, 1)
    total = np.concatenate([[0.0], np.cumsum(shared)])
    return pd.Series(np.abs(total[last] - total[first]), index=rows.index)


def time_decay(labels: pd.DataFrame, config: WeightConfig) -> pd.Series:
    """Factor in [0, 1] of each label by its age, 1 for the newest decision time; rows of one time decay alike.

    ``linear`` (snippet 4.11) counts age in cumulated average uniqueness, so that a time of many overlapping labels ages no faster;
    ``exponential`` in calendar days.
    """
    stamps = pd.DatetimeIndex(labels.index.get_level_values("timestamp"))
    if config.decay == "none":
        return pd.Series(1.0, index=labels.index, name="weight")
    if config.decay == "exponential":
        age = np.asarray((stamps.max() - stamps) / pd.Timedelta(days=1), dtype=np.float64)
        return pd.Series(0.5 ** (age / config.half_life_days), index=labels.index, name="weight")
    distinct, place = np.unique(stamps.asi8, return_inverse=True)
    age = np.cumsum(np.bincount(place, weights=average_uniqueness(labels).to_numpy(), minlength=len(distinct)))
    total, c = float(age[-1]), config.oldest
    slope = (1.0 - c) / total if c >= 0 else 1.0 / ((c + 1.0) * total)
    return pd.Series(np.maximum(1.0 + slope * (age - total), 0.0)[place], index=labels.index, name="weight")


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


def log_returns(bars: pd.DataFrame) -> pd.Series:
    """Log return into the close of every (forward-adjusted) bar, as return attribution reads it; NaN at each symbol's first."""
    return pd.Series(np.log(bars["close"]).groupby(level="symbol", sort=False).diff())


def weigher(config: WeightConfig, returns: pd.Series | None = None) -> Callable[[pd.Series, pd.Series], pd.Series]:
    """(outcomes, label end times) of some rows -> their training weights, for :attr:`alphatrade_pipelines.models.folds.Rows.weigh`.

    The default config gives :func:`evidence_weights` itself. Otherwise uniqueness is multiplied by attribution and decay, and the weights
    add up to the evidence times what the unevenness of these factors leaves of it (Kish 1965: (sum w)² / (n sum w²)).

    Args:
        returns: log returns of all bars, for attribution; read only inside the lives of the rows at hand.
    """
    if config.attribution and returns is None:
        raise ModelDataError("log returns of the bars for attribution", "none")
    return evidence_weights if config == WeightConfig() else partial(_combined, config, returns)


def _combined(config: WeightConfig, returns: pd.Series | None, y: pd.Series, t1: pd.Series) -> pd.Series:
    labels = pd.DataFrame({"t1": t1})
    factor = time_decay(labels, config)
    if config.attribution and returns is not None:
        factor = factor * return_attribution(labels, returns)
    if not factor.sum() > 0:
        raise ModelDataError("rows that count something", "weights of zero for all", "Raise oldest or half_life_days.")
    evidence = evidence_weights(y, t1)
    kept = float(factor.sum()) ** 2 / (len(factor) * float((factor**2).sum()))
    # calibration asks for positive weights: what counts nothing counts next to nothing
    weight = evidence * np.maximum(factor, _LEAST * float(factor.mean()))
    scaled: pd.Series = weight * (kept * float(evidence.sum()) / float(weight.sum()))
    return scaled.rename("weight")
