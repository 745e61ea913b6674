"""Models: one calibrated prediction, and what purging, calibration, bounds and the baseline add to the bare CatBoost fits they surround."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time, thread_time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.timing import Row

if TYPE_CHECKING:
    from alphatrade_pipelines.models.folds import Rows

_CALLS = 10_000
_ROWS, _FEATURES, _SYMBOLS = 20_000, 60, 20


def models() -> list[Row]:
    """Single rows, the fifteen splits of combinatorial purged cross-validation, the nested walk."""
    return _single_row() + _splits() + _walk()


def _single_row() -> list[Row]:
    """p50 and p99 of what `Bundle.predict_row` does with 500 trees of depth 6 on 60 features, beside CatBoost's own fastest call."""
    from alphatrade_pipelines.models.calibration import Calibrator
    from alphatrade_pipelines.models.learner import LearnerConfig, fit_trees
    from alphatrade_pipelines.models.predictor import Predictor
    from alphatrade_pipelines.models.trees import Trees
    from alphatrade_pipelines.models.venn_abers import VennAbers

    rows = _made_up()
    X, y, w = rows.arrays
    model = fit_trees(X[:5000], y[:5000], w[:5000], 500, LearnerConfig(iterations=500, depth=6))
    trees = Trees.of(model)
    score = trees.scores(X[5000:])
    predictor = Predictor(trees, Calibrator.fit(score, y[5000:]), VennAbers.fit(score, y[5000:]))
    names = {"500 trees, calibrated, with bounds": predictor.one}
    names["the same trees by CatBoost, numpy row, one thread, score alone"] = lambda row: model.predict_proba(row[None], thread_count=1)
    found: list[Row] = []
    for name, run in names.items():
        for clock, measured in ((perf_counter, ""), (thread_time, ", CPU time")):
            each = _microseconds(run, X, clock)
            found += [(f"one row, {name}, p{share:g}{measured}", float(np.percentile(each, share)), "us") for share in (50, 99, 99.9)]
    return found


def _microseconds(run: Any, X: np.ndarray[Any, np.dtype[np.float64]], clock: Callable[[], float]) -> list[float]:
    run(X[0])
    each = []
    for call in range(_CALLS):
        row = X[call % len(X)]
        began = clock()
        run(row)
        each.append((clock() - began) * 1e6)
    return each


def _splits() -> list[Row]:
    """Fifteen purged splits, each with weights, fit and scores: the whole against the CatBoost fits inside it."""
    from alphatrade_pipelines.models.folds import path_predictions
    from alphatrade_pipelines.models.learner import LearnerConfig, fit_trees, scores
    from alphatrade_pipelines.models.validation import CombinatorialPurgedCV

    config = LearnerConfig(iterations=200, depth=6)

    def fit_predict(train: Rows, test: Rows) -> np.ndarray[Any, np.dtype[np.float64]]:
        X, y, w = train.arrays
        return scores(fit_trees(X, y, w, config.iterations, config), test.arrays[0])

    rows = _made_up()
    with _counted_fits() as bare:
        began, cpu = perf_counter(), process_time()
        path_predictions(rows, CombinatorialPurgedCV(6, 2, embargo=10), fit_predict)
        whole, cpu = perf_counter() - began, process_time() - cpu
    name = f"CPCV of {_ROWS // 1000}k x {_FEATURES}"
    return [
        (f"{name}, {len(bare)} splits, 200 trees of depth 6", whole, "s"),
        (f"{name}, whole against the bare fits inside, CPU time", cpu / sum(bare), "times"),
    ]


def _walk() -> list[Row]:
    """The nested out-of-fold walk as trained: trees chosen, calibration chosen and fitted, bounds, baseline."""
    from alphatrade_pipelines.models.folds import FoldConfig, out_of_fold
    from alphatrade_pipelines.models.learner import LearnerConfig

    rows = _made_up()
    few = np.flatnonzero(np.arange(_ROWS) % (_ROWS // _SYMBOLS) < 300)
    out_of_fold(rows.take(few), LearnerConfig(iterations=10), FoldConfig(outer=2, inner=2, embargo=10))  # compiles the kernels
    with _counted_fits() as bare:
        began, cpu = perf_counter(), process_time()
        out_of_fold(rows, LearnerConfig(), FoldConfig(outer=5, inner=3, embargo=10))
        whole, cpu = perf_counter() - began, process_time() - cpu
    name = f"out-of-fold walk of {_ROWS // 1000}k x {_FEATURES}"
    return [
        (f"{name}, {len(bare)} fits", whole, "s"),
        (f"{name}, whole against the bare fits inside, CPU time", cpu / sum(bare), "times"),
    ]


@contextmanager
def _counted_fits() -> Iterator[list[float]]:
    """CPU seconds of each ``CatBoostClassifier.fit`` while the context lasts, all threads (a busy machine makes fits and gaps longer)."""
    from catboost import CatBoostClassifier

    seconds: list[float] = []
    original = CatBoostClassifier.fit

    def timed(self: Any, *arguments: Any, **named: Any) -> Any:
        began = process_time()
        found = original(self, *arguments, **named)
        seconds.append(process_time() - began)
        return found

    CatBoostClassifier.fit = timed
    try:
        yield seconds
    finally:
        CatBoostClassifier.fit = original


def _made_up() -> Rows:
    """Labels of ten days on twenty symbols, a weak edge in one of sixty features."""
    from alphatrade_pipelines.models.folds import Rows

    rng = np.random.default_rng(0)
    times = pd.date_range("2010-01-04 14:30", periods=_ROWS // _SYMBOLS, freq="B", tz="UTC", unit="ns")
    index = pd.MultiIndex.from_product([[f"S{k:02d}" for k in range(_SYMBOLS)], times], names=["symbol", "timestamp"])
    X = pd.DataFrame(rng.standard_normal((_ROWS, _FEATURES)), index=index, columns=[f"f{k}" for k in range(_FEATURES)])
    y = pd.Series(rng.random(_ROWS) < 1.0 / (1.0 + np.exp(-0.2 * X["f0"])), index=index).astype(np.int64)
    t1 = pd.Series(index.get_level_values("timestamp") + 10 * pd.offsets.BDay(), index=index)
    return Rows(X, y, pd.Series(0.1, index=index), t1).reweighted()
