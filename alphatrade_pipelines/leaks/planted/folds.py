"""Cross-validations whose training labels live while test labels do. Signature: (rows, embargo) -> (training, test) positions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.isolation import Fold, IntArray
from alphatrade_pipelines.leaks.planted.base import Plant
from alphatrade_pipelines.leaks.world import BoolArray
from alphatrade_pipelines.models.folds import Rows
from alphatrade_pipelines.models.validation import CombinatorialPurgedCV, PurgedKFold, WalkForward

_FOLDS = 3
Split = Callable[[Rows, int], list[Fold]]


def _starts(rows: Rows) -> IntArray:
    return np.asarray(pd.DatetimeIndex(rows.X.index.get_level_values("timestamp")).as_unit("ns").asi8, dtype=np.int64)


def _ends(rows: Rows) -> IntArray:
    return np.asarray(pd.DatetimeIndex(rows.t1).as_unit("ns").asi8, dtype=np.int64)


def _blocks(rows: Rows) -> list[IntArray]:
    """Positions of contiguous test blocks in time."""
    distinct = np.array_split(np.unique(_starts(rows)), _FOLDS)
    return [np.flatnonzero((_starts(rows) >= times[0]) & (_starts(rows) <= times[-1])) for times in distinct]


def _others(rows: Rows, test: IntArray) -> IntArray:
    return np.setdiff1d(np.arange(len(rows.y)), test)


def purged(rows: Rows, embargo: int) -> list[Fold]:
    return list(PurgedKFold(_FOLDS, embargo, rows.t1).split(rows.X))


def unpurged(rows: Rows, embargo: int) -> list[Fold]:
    return [(_others(rows, test), test) for test in _blocks(rows)]


def shuffled(rows: Rows, embargo: int) -> list[Fold]:
    order = np.random.default_rng(0).permutation(len(rows.y))
    return [(_others(rows, test), test) for test in np.array_split(order, _FOLDS)]


def by_symbol(rows: Rows, embargo: int) -> list[Fold]:
    """Other symbols, same days: they move together."""
    symbols = rows.X.index.get_level_values("symbol")
    tests = [np.flatnonzero(np.asarray(symbols == symbol)) for symbol in symbols.unique()[:_FOLDS]]
    return [(_others(rows, test), test) for test in tests]


def _keeping(keep: Callable[[Rows, IntArray, IntArray, int], BoolArray]) -> Split:
    """A purge that removes some of what it should."""

    def split(rows: Rows, embargo: int) -> list[Fold]:
        others = [(_others(rows, test), test) for test in _blocks(rows)]
        return [(train[keep(rows, train, test, embargo)], test) for train, test in others]

    return split


def _purged_before_only(rows: Rows, train: IntArray, test: IntArray, embargo: int) -> BoolArray:
    """Labels that reach into the test are removed, training rows inside the last test labels' lives are not."""
    low = _starts(rows)[test].min()
    return np.asarray((_ends(rows)[train] < low) | (_starts(rows)[train] > _starts(rows)[test].max()), dtype=np.bool_)


def _purged_after_only(rows: Rows, train: IntArray, test: IntArray, embargo: int) -> BoolArray:
    last = _ends(rows)[test].max()
    distinct = np.unique(_starts(rows))
    barred = distinct[distinct > last][:embargo]
    return np.asarray(
        (_starts(rows)[train] < _starts(rows)[test].min()) | (_starts(rows)[train] > (barred[-1] if len(barred) else last)), dtype=np.bool_
    )


def _purged_by_one_bar(rows: Rows, train: IntArray, test: IntArray, embargo: int) -> BoolArray:
    """A gap of one bar on each side, however long the labels live."""
    distinct = np.unique(_starts(rows))
    place = np.searchsorted(distinct, _starts(rows))
    low, high = place[test].min(), place[test].max()
    return np.asarray((place[train] < low - 1) | (place[train] > high + 1), dtype=np.bool_)


def _purged_by_the_usual_life(rows: Rows, train: IntArray, test: IntArray, embargo: int) -> BoolArray:
    """Every label is taken to live as long as the median one."""
    starts = _starts(rows)
    life = int(np.median(_ends(rows) - starts))
    return np.asarray((starts[train] + life < starts[test].min()) | (starts[train] > starts[test].max() + life), dtype=np.bool_)


def without_embargo(rows: Rows, embargo: int) -> list[Fold]:
    return purged(rows, 0)


def boundary_inside_a_time(rows: Rows, embargo: int) -> list[Fold]:
    """Blocks of equal numbers of rows, in time order: a boundary falls between two symbols of one time."""
    order = np.argsort(_starts(rows), kind="stable")
    size = len(order) // _FOLDS + 1
    tests = [np.sort(order[low : low + size]) for low in range(0, len(order), size)]
    found = []
    for test in tests:
        train = _others(rows, test)
        # purged and embargoed with care, but for the rows that share a decision time with the test
        shared = np.isin(_starts(rows)[train], _starts(rows)[test])
        far = (_ends(rows)[train] < _starts(rows)[test].min()) | (_starts(rows)[train] > _ends(rows)[test].max())
        found.append((train[shared | far], test))
    return found


def walk_forward_without_gap(rows: Rows, embargo: int) -> list[Fold]:
    """Training ends where the test begins, though its last labels are not known then."""
    return [(np.flatnonzero(_starts(rows) < _starts(rows)[test].min()), test) for test in _blocks(rows)[1:]]


def walk_forward(rows: Rows, embargo: int) -> list[Fold]:
    return [(np.flatnonzero(_ends(rows) < _starts(rows)[test].min()), test) for test in _blocks(rows)[1:]]


def combinatorial(rows: Rows, embargo: int) -> list[Fold]:
    return list(CombinatorialPurgedCV(5, 2, embargo, rows.t1).split(rows.X))


def _combinatorial_keeping(keep: Callable[[Rows, IntArray, IntArray, int], BoolArray]) -> Split:
    """Pairs of groups are tested; the purge looks at all that is tested as if it were one block."""

    def split(rows: Rows, embargo: int) -> list[Fold]:
        tests = [test for _, test in CombinatorialPurgedCV(5, 2, embargo, rows.t1).split(rows.X)]
        return [(train[keep(rows, train, test, embargo)], test) for test in tests for train in (_others(rows, test),)]

    return split


def _purged_at_the_outer_ends(rows: Rows, train: IntArray, test: IntArray, embargo: int) -> BoolArray:
    """Rows near the first tested row and the last one are removed; the rows between two tested groups are not looked at."""
    low, high, last = _starts(rows)[test].min(), _starts(rows)[test].max(), _ends(rows)[test].max()
    distinct = np.unique(_starts(rows))
    barred = np.append(last, distinct[distinct > last][:embargo])[-1]
    own_starts, own_ends = _starts(rows)[train], _ends(rows)[train]
    return np.asarray((own_ends < low) | (own_starts > barred) | ((own_starts > low) & (own_starts < high)), dtype=np.bool_)


def _never_purged(rows: Rows, train: IntArray, test: IntArray, embargo: int) -> BoolArray:
    return np.ones(len(train), dtype=np.bool_)


def combinatorial_without_embargo(rows: Rows, embargo: int) -> list[Fold]:
    return combinatorial(rows, 0)


def walk_forward_by_sklearn(rows: Rows, embargo: int) -> list[Fold]:
    """TimeSeriesSplit over the decision times: the usual tool, which knows no label ends."""
    from sklearn.model_selection import TimeSeriesSplit

    distinct, starts = np.unique(_starts(rows)), _starts(rows)
    parts = TimeSeriesSplit(_FOLDS).split(distinct)
    return [(np.flatnonzero(np.isin(starts, distinct[train])), np.flatnonzero(np.isin(starts, distinct[test]))) for train, test in parts]


def walk_forward_rolling(rows: Rows, embargo: int) -> list[Fold]:
    return list(WalkForward(_FOLDS, window=100, t1=rows.t1).split(rows.X))


def test_rows_kept_in_training(rows: Rows, embargo: int) -> list[Fold]:
    return [(np.union1d(train, test[:5]), test) for train, test in purged(rows, embargo)]


PLANTS = (
    Plant("cv_without_purge", "folds", unpurged, purged),
    Plant("shuffled_cv", "folds", shuffled, purged),
    Plant("cv_by_symbol", "folds", by_symbol, purged),
    Plant("purged_before_the_test_only", "folds", _keeping(_purged_before_only), purged),
    Plant("purged_after_the_test_only", "folds", _keeping(_purged_after_only), purged),
    Plant("purged_by_one_bar", "folds", _keeping(_purged_by_one_bar), purged),
    Plant("purged_by_the_usual_life_of_a_label", "folds", _keeping(_purged_by_the_usual_life), purged),
    Plant("embargo_missing", "folds", without_embargo, purged),
    Plant("boundary_inside_a_time_stamp", "folds", boundary_inside_a_time, purged),
    Plant("walk_forward_without_gap", "folds", walk_forward_without_gap, walk_forward),
    Plant("combinatorial_without_purge", "folds", _combinatorial_keeping(_never_purged), combinatorial),
    Plant("combinatorial_purged_at_the_outer_ends", "folds", _combinatorial_keeping(_purged_at_the_outer_ends), combinatorial),
    Plant("combinatorial_embargo_missing", "folds", combinatorial_without_embargo, combinatorial),
    Plant("walk_forward_by_time_series_split", "folds", walk_forward_by_sklearn, walk_forward_rolling),
    Plant("test_rows_kept_in_training", "folds", test_rows_kept_in_training, purged),
)
