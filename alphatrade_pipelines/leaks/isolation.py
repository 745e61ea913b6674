"""Is a frozen statistic really fitted on the training rows alone? Bars level (features) and row level (models, weights).

Bars: every bar outside the training times is poisoned, the statistic is fitted again and applied to the TRUE bars: every bit must be equal.
Rows: labels, weights and end times of the test rows, the features of the later half of them, and all rows that were purged are replaced;
the fold's output must be equal (for poisoned test features: the output of the earlier half). Row garbage is finite and of valid type, so a
learner cannot refuse it.

Can see: any statistic, encoding, selection, stopping rule or calibration that reads a row it was not given. Cannot see: choices made by a
person after looking at the test rows, or by an earlier run (the trial ledger counts those).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.leaks.compare import Findings, Output, as_frame, quiet
from alphatrade_pipelines.leaks.errors import LeakProbeError
from alphatrade_pipelines.leaks.poison import VALUES, garbled
from alphatrade_pipelines.leaks.report import Report
from alphatrade_pipelines.leaks.world import Compute, World
from alphatrade_pipelines.models.folds import Rows

IntArray = npt.NDArray[np.int64]
Fold = tuple[IntArray, IntArray]
# (world, training times) -> the fitted transform, which is then applied to the true world
Fit = Callable[[World, pd.DatetimeIndex], Compute]
# (rows, training positions, test positions) -> a value for each test row (predictions) or each training row (weights)
Learn = Callable[[Rows, IntArray, IntArray], "pd.Series | pd.DataFrame"]
_SEED = 707


def fold_times(world: World, count: int = 3) -> list[tuple[pd.DatetimeIndex, pd.DatetimeIndex]]:
    """(training times, test times) of ``count`` contiguous test blocks within the bars; the first block begins after a quarter of them."""
    distinct = pd.DatetimeIndex(world.stamps.unique().sort_values())
    if count < 1 or len(distinct) < 8 * count:
        raise LeakProbeError(f"at least {8 * max(count, 1)} time stamps for {count} test blocks", str(len(distinct)))
    edges = np.linspace(len(distinct) // 4, len(distinct), count + 1).astype(int)
    blocks = [distinct[low:high] for low, high in pairwise(edges.tolist())]
    return [(distinct.difference(block), block) for block in blocks]


def probe_fit(fit: Fit, world: World, *, name: str = "subject", blocks: int = 3, thorough: bool = True) -> Report:
    """Fit with true and with poisoned bars outside each fold's training times; the applied results must be equal to the bit.

    Raises:
        LeakProbeError: too few time stamps, or nothing to compare.
    """
    findings = Findings(name)
    for number, (train_times, test_times) in enumerate(fold_times(world, blocks), start=1):
        outside = ~np.asarray(world.stamps.isin(train_times))
        cut = f"fold {number}, test {test_times[0].isoformat()} to {test_times[-1].isoformat()}"
        with quiet():
            expected = as_frame(fit(world, train_times)(world))
        for flavour, garble in VALUES.items():
            if not thorough and flavour not in ("wild", "flat"):
                continue
            other = World(garbled(world.bars, outside, outside & False, garble), world.members)
            found = findings.attempt(partial(_fit_and_apply, fit, other, train_times, world), f"fit isolation {flavour}", cut)
            if found is not None:
                findings.compare(expected, found, "fit isolation", cut)
    return findings.report


def _fit_and_apply(fit: Fit, other: World, times: pd.DatetimeIndex, true: World) -> Output:
    return fit(other, times)(true)


def probe_learner(learn: Learn, rows: Rows, folds: Sequence[Fold], *, name: str = "subject", splits_itself: bool = False) -> Report:
    """Run each fold with true and with poisoned rows that it must not use; outputs must be equal to the bit.

    Args:
        learn: rows, training and test positions -> values on (symbol, timestamp) of the test rows (or of the training rows, for weights).
        rows: features, outcomes 0/1, weights and label end times.
        folds: (training, test) positions, as a splitter gives them.
        splits_itself: the learner purges by end times again; those of test rows then rightly decide who trains and are left alone.
    """
    findings = Findings(name)
    for number, (train, test) in enumerate(folds, start=1):
        with quiet():
            expected = as_frame(learn(rows, train, test))
        for probe, other, kept in _altered(rows, train, test, expected, splits_itself):
            found = findings.attempt(partial(learn, other, train, test), probe, f"fold {number}")
            if found is not None:
                left, right = (one[one.index.isin(rows.X.index[kept])] for one in (expected, found))
                findings.compare(left, right, probe, f"fold {number}")
    return findings.report


def _altered(
    rows: Rows, train: IntArray, test: IntArray, expected: pd.DataFrame, splits_itself: bool
) -> Iterator[tuple[str, Rows, IntArray]]:
    """(probe, altered rows, positions whose output must not change)."""
    every = np.arange(len(rows.y))
    for outcomes in _other_outcomes(rows, test, expected):
        yield "test labels", _with(rows, y=outcomes), every
    reweighted = _with(rows, weight=test)
    yield "test weights", replace(reweighted, t1=rows.t1) if splits_itself else reweighted, every
    at = pd.DatetimeIndex(rows.X.index[test].get_level_values("timestamp"))
    later = test[np.asarray(at > at.sort_values()[len(at) // 2])]
    yield "test features", _with(rows, X=later), np.setdiff1d(every, later)
    purged = np.setdiff1d(every, np.union1d(train, test))
    if len(purged):
        yield "purged rows", _with(rows, X=purged, y=_flipped(rows, purged)), np.setdiff1d(every, purged)


def _other_outcomes(rows: Rows, test: IntArray, expected: pd.DataFrame) -> Iterator[IntArray]:
    """Outcomes with those of the test rows turned over, then all as predicted, then all against the prediction: a choice made on the test
    rows (how many trees, which penalty) is pushed to one end and to the other, so that it shows even where it is among a few."""
    yield _flipped(rows, test)
    if set(expected.index) <= set(rows.X.index[test]):
        own = test[rows.X.index[test].isin(expected.index)]
        values = expected.loc[rows.X.index[own]].iloc[:, 0].to_numpy(dtype=np.float64)
        high = (values > np.median(values)).astype(np.int64)
        for agreeing in (high, 1 - high):
            outcomes = rows.y.to_numpy(dtype=np.int64, copy=True)
            outcomes[own] = agreeing
            yield outcomes


def _flipped(rows: Rows, at: IntArray) -> IntArray:
    outcomes = rows.y.to_numpy(dtype=np.int64, copy=True)
    outcomes[at] = 1 - outcomes[at]
    return outcomes


def _with(rows: Rows, X: IntArray | None = None, y: IntArray | None = None, weight: IntArray | None = None) -> Rows:
    """``rows`` with other outcomes ``y``, and with features, or weights and end times, replaced at some positions."""
    draw = np.random.default_rng(_SEED)
    features, weights, ends = rows.X, rows.weight.to_numpy(copy=True), rows.t1
    outcome = rows.y.to_numpy() if y is None else y
    if X is not None:
        values = rows.X.to_numpy(dtype=np.float64, copy=True)
        values[X] = draw.choice([-1.0, 1.0], values[X].shape) * 1e6 * (1.0 + draw.random(values[X].shape))
        features = pd.DataFrame(values, index=rows.X.index, columns=rows.X.columns)
    if weight is not None:
        weights[weight] = weights[weight] * draw.uniform(1.0, 1000.0, len(weight)) + 1.0
        ends = rows.t1.copy()  # labels of test rows end at once: whatever counts them as concurrent sees it
        ends.iloc[weight] = rows.X.index[weight].get_level_values("timestamp")
    index = rows.X.index
    return Rows(features, pd.Series(outcome, index=index), pd.Series(weights, index=index), ends)
