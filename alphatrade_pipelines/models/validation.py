"""Purged k-fold cross-validation on label end times (Lopez de Prado 2018, ch. 7)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError

IntArray = npt.NDArray[np.int64]


class PurgedKFold:
    """k contiguous test blocks in time; training rows that share any time with them are removed.

    Rows are (symbol, timestamp) decisions, all symbols together: a block boundary never splits a timestamp. A training row is purged
    when its life [timestamp, t1] meets the span of the block's labels [first timestamp, last t1], and embargoed when it is decided
    within ``embargo`` distinct decision times after that span (serial correlation of features outlives the label).

    sklearn's splitter API; ``t1`` is given here (aligned with ``X`` by index) or as ``groups`` of :meth:`split`:

    >>> splitter = PurgedKFold(5, embargo=10, t1=labels["t1"])                              # doctest: +SKIP
    >>> cross_val_score(model, X, y, cv=splitter, scoring="neg_log_loss")                   # doctest: +SKIP
    """

    def __init__(self, n_splits: int = 5, embargo: int = 0, t1: pd.Series | None = None) -> None:
        if n_splits < 2 or embargo < 0:
            raise ModelDataError("n_splits >= 2 and embargo >= 0", f"n_splits={n_splits}, embargo={embargo}")
        self.n_splits, self.embargo, self.t1 = n_splits, embargo, t1

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Number of folds."""
        return self.n_splits

    def split(self, X: pd.DataFrame, y: object = None, groups: pd.Series | None = None) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield (train, test) positions of ``X``, tests in time order and together covering every row once.

        Raises ModelDataError when t1 is missing or not on the index of ``X``, ends before it starts, or there are too few times.
        """
        starts, ends = self._spans(X, groups)
        distinct = np.unique(starts)
        if len(distinct) < self.n_splits:
            raise ModelDataError(
                f"at least {self.n_splits} distinct decision times", str(len(distinct)), "Load more history or use fewer folds."
            )
        for low, high in self._blocks(starts, distinct):
            test = np.flatnonzero((starts >= low) & (starts <= high))
            last_end = ends[test].max()
            after = int(np.searchsorted(distinct, last_end, side="right"))
            embargoed = distinct[after : after + self.embargo]
            barred = max(last_end, embargoed[-1]) if len(embargoed) else last_end
            train = np.flatnonzero((ends < low) | (starts > barred))
            yield train, test

    def _spans(self, X: pd.DataFrame, groups: pd.Series | None) -> tuple[IntArray, IntArray]:
        t1 = self.t1 if self.t1 is not None else groups
        if t1 is None:
            raise ModelDataError("label end times", "none", "Pass t1=labels['t1'] to PurgedKFold, or as groups.")
        missing = X.index.difference(t1.index)
        if len(missing):
            raise ModelDataError("an end time t1 for every row of X", f"none for {len(missing)} rows, first {missing[0]}")
        ends = pd.DatetimeIndex(t1.reindex(X.index)).as_unit("ns")
        starts = pd.DatetimeIndex(X.index.get_level_values("timestamp")).as_unit("ns")
        if ends.hasnans or (ends < starts).any():
            raise ModelDataError("t1 at or after each row's timestamp", "missing or earlier end times")
        return starts.asi8.copy(), ends.asi8.copy()

    def _blocks(self, starts: IntArray, distinct: IntArray) -> Iterator[tuple[int, int]]:
        """First and last decision time of each block; blocks hold about equally many rows."""
        per_time = np.searchsorted(np.sort(starts), distinct, side="right")
        cuts = np.searchsorted(per_time, np.arange(1, self.n_splits) * len(starts) / self.n_splits, side="left") + 1
        # a very uneven panel could leave a block without a single time: keep one for each
        for k in range(self.n_splits - 1):
            floor = (cuts[k - 1] if k else 0) + 1
            cuts[k] = min(max(cuts[k], floor), len(distinct) - (self.n_splits - 1 - k))
        edges = [0, *cuts.tolist(), len(distinct)]
        for first, stop in pairwise(edges):
            yield int(distinct[first]), int(distinct[stop - 1])
