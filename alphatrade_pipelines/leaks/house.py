"""The house under its own probes: feature pipeline, event sampling, labels, primary model, folds, weights and out-of-fold predictions.

A short audit runs as the asset check on ``features`` and before a model is judged; :func:`audit_house` is the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd

from alphatrade_pipelines.features import FeaturePipeline, FittedPipeline, ewma_volatility
from alphatrade_pipelines.leaks.arena import EMBARGO, build_arena, recent
from alphatrade_pipelines.leaks.causal import probe_causal
from alphatrade_pipelines.leaks.compare import Findings
from alphatrade_pipelines.leaks.folds import check_folds
from alphatrade_pipelines.leaks.isolation import IntArray, probe_fit, probe_learner
from alphatrade_pipelines.leaks.outcomes import probe_labels
from alphatrade_pipelines.leaks.report import Report, merged
from alphatrade_pipelines.leaks.world import World, choose_cuts
from alphatrade_pipelines.market import Timeframe, adjust_forward
from alphatrade_pipelines.models.fold_features import point_in_time_columns, refit_in_folds
from alphatrade_pipelines.models.folds import FoldConfig, Rows, out_of_fold
from alphatrade_pipelines.models.labels import BarrierConfig, trend_scanning, triple_barrier
from alphatrade_pipelines.models.learner import LearnerConfig
from alphatrade_pipelines.models.primary_fit import PrimaryConfig, fit_primary
from alphatrade_pipelines.models.validation import CombinatorialPurgedCV, WalkForward
from alphatrade_pipelines.models.weights import evidence_weights

Progress = Callable[[Report], None]
_STAMPS, _SYMBOLS = 1_500, 100
# enough trees and folds to reach every line, few enough to be quick
_LEARNER, _FOLDS = LearnerConfig(iterations=20, stage=10, threads=1), FoldConfig(outer=3, inner=2, embargo=EMBARGO)


def audit_features(fitted: FittedPipeline, bars: pd.DataFrame, *, cuts: int | Iterable[pd.Timestamp] = 3, thorough: bool = False) -> Report:
    """Truncation and poisoning of everything after t, for every feature of a fitted pipeline.

    Args:
        fitted: frozen; it is not fitted again (:func:`audit_pipeline` does).
        bars: raw bars, longer than the longest warm-up.

    Raises:
        LeakProbeError: too few time stamps for the cuts.
    """
    return probe_causal(lambda world: fitted.transform(world.bars), World(bars), name="features", cuts=cuts, thorough=thorough)


def audit_nightly(fitted: FittedPipeline, bars: pd.DataFrame) -> Report:
    """:func:`audit_features` as every retrain runs it: on the last 1,500 time stamps (or four warm-ups) of the hundred longest symbols.

    A feature is the same function of its past in every decade and for every symbol; the whole of a wide panel would cost minutes to say
    the same. Raises LeakProbeError as the other does.
    """
    stamps = max(_STAMPS, 4 * max(fitted.warmup.values(), default=1))
    return audit_features(fitted, recent(bars, stamps, _SYMBOLS), cuts=3)


def audit_pipeline(pipeline: FeaturePipeline, bars: pd.DataFrame, *, cuts: int = 2, thorough: bool = False) -> Report:
    """:func:`audit_features`, and every fit: statistics isolated from test rows, and what claims to be point-in-time unmoved by a refit."""
    fitted = pipeline.fit(bars)
    fit = probe_fit(
        lambda world, times: _transform(pipeline.fit(world.bars[world.stamps.isin(times)])), World(bars), name="features", thorough=thorough
    )
    return merged("features", [audit_features(fitted, bars, cuts=cuts, thorough=thorough), fit, _refits(pipeline, fitted, bars, cuts)])


def _transform(fitted: FittedPipeline) -> Callable[[World], pd.DataFrame]:
    return lambda world: fitted.transform(world.bars)


def _refits(pipeline: FeaturePipeline, fitted: FittedPipeline, bars: pd.DataFrame, cuts: int) -> Report:
    """Fitted on bars up to t, a feature that claims no frozen statistic must have the same values up to t as when fitted on all of them.

    So must the regime, whose schedule of refits claims to be point-in-time.
    """
    findings, world = Findings("features"), World(bars)
    claims = point_in_time_columns(pipeline)
    full = fitted.transform(bars)[claims]
    for cut in choose_cuts(world, cuts, after=0.7):
        past = bars[np.asarray(world.stamps <= cut)]
        found = pipeline.fit(past).transform(past)[claims]
        findings.compare(full.loc[past.index], found, "refit", cut)
    return findings.report


def audit_house(bars: pd.DataFrame, timeframe: Timeframe, *, thorough: bool = False, progress: Progress | None = None) -> list[Report]:
    """Every part that turns bars into a prediction, probed on ``bars`` (raw, some hundred time stamps beyond the longest warm-up)."""
    found = []
    for report in _audits(bars, timeframe, thorough):
        found.append(report)
        if progress:
            progress(report)
    return found


def _audits(bars: pd.DataFrame, timeframe: Timeframe, thorough: bool) -> Iterator[Report]:
    pipeline = FeaturePipeline.default(timeframe)
    yield audit_pipeline(pipeline, bars, thorough=thorough)
    yield probe_causal(_events, World(bars), name="events", thorough=thorough)
    arena = build_arena("house", bars)
    yield probe_labels(triple_barrier, arena.adjusted, arena.volatility, name="labels", decided=("risk", "side"), thorough=thorough)
    yield probe_labels(lambda bars, _: trend_scanning(bars), arena.adjusted, arena.volatility, name="trend labels", thorough=thorough)
    yield _audit_primary(bars, thorough)
    yield check_folds(arena.folds, arena.rows.t1, embargo=EMBARGO, name="folds")
    t1 = arena.rows.t1
    yield check_folds(list(CombinatorialPurgedCV(6, 2, EMBARGO, t1).split(arena.rows.X)), t1, embargo=EMBARGO, name="combinatorial folds")
    yield check_folds(list(WalkForward(5, t1=t1).split(arena.rows.X)), t1, name="walk forward")
    yield probe_learner(_weights, arena.rows, arena.folds, name="weights")
    yield probe_learner(_predictions, arena.rows, arena.folds, name="predictions", splits_itself=True)
    yield _audit_fold_features(pipeline, bars, thorough)


def _audit_primary(bars: pd.DataFrame, thorough: bool) -> Report:
    """The score of a primary model, its whole schedule fitted again in every other future, on features simple enough to be quick."""
    config = PrimaryConfig(_LEARNER, max(World(bars).stamps.normalize().nunique() // 8, 1), 100, EMBARGO)

    def score(world: World) -> pd.Series:
        adjusted = adjust_forward(world.bars)
        moves = np.log(adjusted["close"]).groupby(level="symbol", sort=False)
        features = pd.DataFrame({"return_1": moves.diff(), "return_5": moves.diff(5), "volatility": ewma_volatility(world.bars)})
        return fit_primary(features, adjusted, [str(name) for name in features], BarrierConfig(), config).score(features)

    return probe_causal(score, World(bars), name="primary", cuts=2, thorough=thorough)


def _events(world: World) -> pd.Series:
    """CUSUM events as one would sample them: on forward-adjusted log prices, in units of trailing volatility."""
    from alphatrade_pipelines.market.cusum import cusum_events

    volatility = ewma_volatility(world.bars)
    return cusum_events(np.log(adjust_forward(world.bars)["close"]), 3.0 * volatility.where(volatility > 0))


def _weights(rows: Rows, train: IntArray, test: IntArray) -> pd.Series:
    return evidence_weights(rows.y.iloc[train], rows.t1.iloc[train])


def _predictions(rows: Rows, train: IntArray, test: IntArray) -> pd.DataFrame:
    """Out-of-fold predictions of the test rows by the house's own walk, calibration and interval included."""
    predicted, _ = out_of_fold(rows, _LEARNER, _FOLDS)
    return predicted.iloc[test].drop(columns="fold")


def _audit_fold_features(pipeline: FeaturePipeline, bars: pd.DataFrame, thorough: bool) -> Report:
    """The features each fold is trained on, as :mod:`alphatrade_pipelines.models.fold_features` refits them."""
    features = pipeline.fit(bars).transform(bars)

    def fit(world: World, times: pd.DatetimeIndex) -> Callable[[World], pd.DataFrame]:
        frame = refit_in_folds(world.bars, pipeline, features)(times)
        before = frame[np.asarray(world.stamps < world.stamps[~world.stamps.isin(times)].min())]  # these rows' windows hold no test bar
        return lambda true: before

    return probe_fit(fit, World(bars), name="fold features", blocks=2, thorough=thorough)
