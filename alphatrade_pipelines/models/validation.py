"""Cross-validation on label end times (Lopez de Prado 2018, ch. 7 and 12): purged k-fold, combinatorial purged, walk-forward.

Rows are (symbol, timestamp) decisions, all symbols together; a row lives from its timestamp to its label's end ``t1``, both included.
Every splitter cuts the decision times into contiguous groups that hold about equally many rows (a boundary never splits a timestamp), and
no training row lives at any moment at which a test row does. All speak sklearn's splitter API; ``t1`` is given to the constructor (aligned
with ``X`` by index) or as ``groups`` of ``split``:

>>> splitter = PurgedKFold(5, embargo=10, t1=labels["t1"])                              # doctest: +SKIP
>>> cross_val_score(model, X, y, cv=splitter, scoring="neg_log_loss")                   # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Split = tuple[IntArray, IntArray]


@dataclass(frozen=True)
class _Lives:
    """Start and end of each row (UTC ns), and the distinct starts in order."""

    starts: IntArray
    ends: IntArray
    distinct: IntArray

    @classmethod
    def of(cls, X: pd.DataFrame, t1: pd.Series | None) -> _Lives:
        """Align ``t1`` with ``X``. Raises ModelDataError when an end is missing, ambiguous or before its start."""
        if t1 is None:
            raise ModelDataError("label end times", "none", "Pass t1=labels['t1'] to the splitter, or as groups.")
        if X.index.has_duplicates or t1.index.has_duplicates:
            raise ModelDataError("each (symbol, timestamp) once in X and t1", "duplicate rows", "Drop the duplicates first.")
        missing = X.index.difference(t1.index)
        if len(missing):
            raise ModelDataError("an end time t1 for every row of X", f"none for {len(missing)} rows, first {missing[0]}")
        ends = pd.DatetimeIndex(t1.reindex(X.index)).as_unit("ns")
        starts = pd.DatetimeIndex(X.index.get_level_values("timestamp")).as_unit("ns")
        if ends.hasnans or (ends < starts).any():
            raise ModelDataError("t1 at or after each row's timestamp", "missing or earlier end times")
        return cls(starts.asi8.copy(), ends.asi8.copy(), np.unique(starts.asi8))

    def groups(self, count: int) -> list[tuple[int, int]]:
        """First and last decision time of ``count`` contiguous groups of about equally many rows."""
        distinct = self.distinct
        if len(distinct) < count:
            raise ModelDataError(f"at least {count} distinct decision times", str(len(distinct)), "Load more history or use fewer folds.")
        per_time = np.searchsorted(np.sort(self.starts), distinct, side="right")
        cuts = np.searchsorted(per_time, np.arange(1, count) * len(self.starts) / count, side="left") + 1
        # a very uneven panel could leave a group without a single time: keep one for each
        for k in range(count - 1):
            floor = (cuts[k - 1] if k else 0) + 1
            cuts[k] = min(max(cuts[k], floor), len(distinct) - (count - 1 - k))
        edges = [0, *cuts.tolist(), len(distinct)]
        return [(int(distinct[first]), int(distinct[stop - 1])) for first, stop in pairwise(edges)]

    def within(self, low: int, high: int) -> BoolArray:
        """Rows decided in [low, high]."""
        return np.asarray((self.starts >= low) & (self.starts <= high), dtype=np.bool_)

    def free_of(self, low: int, high: int, embargo: int) -> BoolArray:
        """Rows that live wholly before or after the labels decided in [low, high]; after them, beyond ``embargo`` decision times too."""
        last_end = self.ends[self.within(low, high)].max()
        after = int(np.searchsorted(self.distinct, last_end, side="right"))
        embargoed = self.distinct[after : after + embargo]
        barred = embargoed[-1] if len(embargoed) else last_end
        return np.asarray((self.ends < low) | (self.starts > barred), dtype=np.bool_)


class PurgedKFold:
    """k contiguous test blocks in time; training rows that share any time with them are removed.

    A training row is purged when its life [timestamp, t1] meets the span of the block's labels [first timestamp, last t1], and embargoed
    when it is decided within ``embargo`` distinct decision times after that span (serial correlation of features outlives the label).
    """

    def __init__(self, n_splits: int = 5, embargo: int = 0, t1: pd.Series | None = None) -> None:
        if n_splits < 2 or embargo < 0:
            raise ModelDataError("n_splits >= 2 and embargo >= 0", f"n_splits={n_splits}, embargo={embargo}")
        self.n_splits, self.embargo, self.t1 = n_splits, embargo, t1

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Number of folds."""
        return self.n_splits

    def split(self, X: pd.DataFrame, y: object = None, groups: pd.Series | None = None) -> Iterator[Split]:
        """Yield (train, test) positions of ``X``, tests in time order and together covering every row once.

        Raises ModelDataError when t1 is missing or not on the index of ``X``, ends before it starts, or there are too few times.
        """
        lives = _Lives.of(X, self.t1 if self.t1 is not None else groups)
        for low, high in lives.groups(self.n_splits):
            yield np.flatnonzero(lives.free_of(low, high, self.embargo)), np.flatnonzero(lives.within(low, high))


class CombinatorialPurgedCV:
    """Every choice of ``n_test_groups`` out of ``n_groups`` time groups is tested once (Lopez de Prado 2018, ch. 12).

    That makes C(N, k) splits. Each group is tested C(N - 1, k - 1) = C(N, k) k / N times, so the test predictions can be joined to that
    many whole histories, the *backtest paths*: path p takes the p-th split that tests a group, in the order of :meth:`split`. Training
    rows are purged and embargoed around each test group by itself, on both sides.
    """

    def __init__(self, n_groups: int = 6, n_test_groups: int = 2, embargo: int = 0, t1: pd.Series | None = None) -> None:
        if not 1 <= n_test_groups < n_groups or embargo < 0:
            found = f"n_groups={n_groups}, n_test_groups={n_test_groups}, embargo={embargo}"
            raise ModelDataError("1 <= n_test_groups < n_groups and embargo >= 0", found)
        self.n_groups, self.n_test_groups, self.embargo, self.t1 = n_groups, n_test_groups, embargo, t1

    @property
    def test_groups(self) -> list[tuple[int, ...]]:
        """The groups each split tests, in lexicographic order."""
        return list(combinations(range(self.n_groups), self.n_test_groups))

    @property
    def n_paths(self) -> int:
        """Number of backtest paths: C(N - 1, k - 1)."""
        return comb(self.n_groups - 1, self.n_test_groups - 1)

    @property
    def path_splits(self) -> IntArray:
        """(n_paths, n_groups): the split whose predictions path p uses for group g."""
        found: list[list[int]] = [[] for _ in range(self.n_groups)]
        for split, groups in enumerate(self.test_groups):
            for group in groups:
                found[group].append(split)
        return np.array(found, dtype=np.int64).T

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Number of splits: C(N, k)."""
        return comb(self.n_groups, self.n_test_groups)

    def split(self, X: pd.DataFrame, y: object = None, groups: pd.Series | None = None) -> Iterator[Split]:
        """Yield (train, test) positions of ``X`` for each of :attr:`test_groups`; positions ascend.

        Raises ModelDataError as :meth:`PurgedKFold.split`, and when purging leaves a split nothing to train on.
        """
        lives = _Lives.of(X, self.t1 if self.t1 is not None else groups)
        spans = lives.groups(self.n_groups)
        inside = [lives.within(*span) for span in spans]
        free = [lives.free_of(*span, self.embargo) for span in spans]
        for chosen in self.test_groups:
            train = np.flatnonzero(np.logical_and.reduce([free[group] for group in chosen]))
            if not len(train):
                raise ModelDataError(
                    "training rows in every split", f"none when groups {chosen} are tested", "Use fewer groups or a shorter horizon."
                )
            yield train, np.flatnonzero(np.logical_or.reduce([inside[group] for group in chosen]))

    def paths(self, X: pd.DataFrame, predictions: Sequence[FloatArray | pd.Series], groups: pd.Series | None = None) -> pd.DataFrame:
        """Join the test predictions of every split to backtest paths.

        Args:
            X: what was split.
            predictions: for each split, in order, one number for each of its test rows in the order of its test positions.

        Returns:
            Columns 0 to n_paths - 1 on the index of ``X``; each holds one prediction for every row.
        """
        if len(predictions) != self.get_n_splits():
            raise ModelDataError(f"predictions of {self.get_n_splits()} splits", str(len(predictions)))
        lives = _Lives.of(X, self.t1 if self.t1 is not None else groups)
        inside = [lives.within(*span) for span in lives.groups(self.n_groups)]
        every = np.full((len(predictions), len(X)), np.nan)
        for split, chosen in enumerate(self.test_groups):
            test = np.logical_or.reduce([inside[group] for group in chosen])
            values = np.asarray(predictions[split], dtype=np.float64)
            if values.shape != (int(test.sum()),):
                raise ModelDataError(f"{int(test.sum())} predictions of split {split}", f"shape {values.shape}")
            every[split, test] = values
        joined = np.empty((self.n_paths, len(X)))
        for path, splits in enumerate(self.path_splits):
            for group, split in enumerate(splits):
                joined[path, inside[group]] = every[split, inside[group]]
        return pd.DataFrame(joined.T, index=X.index, columns=range(self.n_paths))


class WalkForward:
    """Train on the past, test on the block that follows; ``n_splits`` test blocks after a first block that only trains.

    Training rows are those whose label has ended before the test's first decision, ``gap`` more decision times left out; all of them
    (expanding), or with ``window`` only those decided in the ``window`` decision times before the test (rolling). Nothing later is ever
    trained on, so there is nothing to embargo.
    """

    def __init__(self, n_splits: int = 5, *, window: int | None = None, gap: int = 0, t1: pd.Series | None = None) -> None:
        if n_splits < 1 or gap < 0 or (window is not None and window <= gap):
            raise ModelDataError("n_splits >= 1, gap >= 0 and a window longer than the gap", f"n_splits={n_splits}, gap={gap}, {window=}")
        self.n_splits, self.window, self.gap, self.t1 = n_splits, window, gap, t1

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Number of test blocks."""
        return self.n_splits

    def split(self, X: pd.DataFrame, y: object = None, groups: pd.Series | None = None) -> Iterator[Split]:
        """Yield (train, test) positions of ``X`` in time order; every row after the first block is tested once.

        Raises ModelDataError as :meth:`PurgedKFold.split`, and when a test has nothing before it to train on.
        """
        lives = _Lives.of(X, self.t1 if self.t1 is not None else groups)
        for number, (low, high) in enumerate(lives.groups(self.n_splits + 1)[1:], start=1):
            place = int(np.searchsorted(lives.distinct, low))
            until = lives.distinct[max(place - self.gap, 0)]
            since = lives.distinct[max(place - self.window, 0)] if self.window else lives.distinct[0]
            train = np.flatnonzero((lives.ends < until) & (lives.starts >= since))
            if not len(train):
                raise ModelDataError(
                    "training rows before every test", f"none before test {number}", "Use fewer splits or a longer window."
                )
            yield train, np.flatnonzero(lives.within(low, high))
