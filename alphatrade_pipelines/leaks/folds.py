"""Do training labels live while test labels do? Structure of a cross-validation alone; no model is needed.

Can see: rows in both sets, any overlap of lives [time, t1] across symbols, a missing embargo. Cannot see: a t1 that is stated too early
(:mod:`outcomes` can), or what a learner does with the rows (:mod:`isolation`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.compare import place
from alphatrade_pipelines.leaks.isolation import Fold, IntArray
from alphatrade_pipelines.leaks.report import Alarm, Report


def check_folds(folds: Sequence[Fold], t1: pd.Series, *, embargo: int = 0, name: str = "folds") -> Report:
    """Check (training, test) positions against label lives.

    Args:
        folds: positions into ``t1``.
        t1: end of each label, index (symbol, timestamp of the decision).
        embargo: distinct decision times after a test label's end in which no training row may be decided.
    """
    starts = pd.DatetimeIndex(t1.index.get_level_values("timestamp")).as_unit("ns").asi8
    ends = pd.DatetimeIndex(t1).as_unit("ns").asi8
    alarms, checked = [], 0
    for number, (train, test) in enumerate(folds, start=1):
        checked += len(train)
        shared = np.intersect1d(train, test)
        own = np.setdiff1d(train, shared)
        overlap = own[_overlaps(starts[own], ends[own], starts[test], ends[test])]
        close = own[_too_close(starts, ends, own, test, embargo)]
        for probe, guilty in (("shared rows", shared), ("overlap", overlap), ("embargo", np.setdiff1d(close, overlap))):
            if len(guilty):
                alarms.append(_alarm(name, probe, number, int(guilty[0]), len(guilty), t1, test))
    return Report(name, tuple(alarms), checked)


def _overlaps(starts: IntArray, ends: IntArray, test_starts: IntArray, test_ends: IntArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Training lives that meet any test life: among test labels begun by its end, does one end at or after its start?"""
    order = np.argsort(test_starts)
    latest_end = np.maximum.accumulate(test_ends[order])
    begun = np.searchsorted(test_starts[order], ends, side="right")
    return (begun > 0) & (latest_end[np.maximum(begun - 1, 0)] >= starts)


def _too_close(
    starts: IntArray, ends: IntArray, train: IntArray, test: IntArray, embargo: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    order = np.argsort(starts[test])
    latest_end = np.maximum.accumulate(ends[test][order])
    before = np.searchsorted(starts[test][order], starts[train], side="left")
    end = latest_end[np.maximum(before - 1, 0)]
    distinct = np.unique(starts)
    steps = np.searchsorted(distinct, starts[train]) - np.searchsorted(distinct, end, side="right")
    return (before > 0) & (starts[train] > end) & (steps < embargo)


def _alarm(name: str, probe: str, number: int, guilty: int, count: int, t1: pd.Series, test: IntArray) -> Alarm:
    span = t1.iloc[test]
    at = pd.DatetimeIndex(span.index.get_level_values("timestamp"))
    life = f"lives until {pd.Timestamp(t1.iloc[guilty]).isoformat()}"
    block = f"test labels live from {at.min().isoformat()} to {pd.Timestamp(span.max()).isoformat()}"
    return Alarm(name, probe, "training row", place(t1.index[guilty]), f"fold {number}", life, block, count)
