"""The whole room on real bars: features, labels, folds refitted from inside, bundle, signals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.features import FeaturePipeline
from alphatrade_pipelines.market import SampleSource, SessionCalendar, adjust_forward
from alphatrade_pipelines.models import (
    FoldConfig,
    LearnerConfig,
    Provenance,
    TrainConfig,
    evaluate_gate,
    make_signals,
    refit_in_folds,
    train,
    triple_barrier,
)
from tests.conftest import lacking


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    try:
        import bokeh_sampledata  # noqa: F401
    except ImportError:
        lacking("the extra `sample` is not installed")
    return SampleSource().fetch(["AAPL", "IBM", "MSFT"], "2007-01-01", "2013-03-02")


def test_from_real_bars_to_signals_on_days_never_seen(raw: pd.DataFrame) -> None:
    times = raw.index.get_level_values("timestamp")
    cut = times.unique().sort_values()[-60]
    past = raw[times < cut]
    names = ["return_1", "momentum_21", "vol_ewma", "fracdiff", "vol_percentile", "price_z_21"]
    fitted = FeaturePipeline.default("1Day").select(names).fit(past)
    features = fitted.transform(raw)
    config = TrainConfig(learner=LearnerConfig(iterations=60), folds=FoldConfig(outer=4, inner=3))
    labels = triple_barrier(adjust_forward(past), features.loc[past.index, "vol_ewma"], config.barrier)
    assert labels["t1"].max() <= cut  # nothing of the held-out days is in a label
    result = train(
        features,
        labels,
        fitted,
        config,
        bars=adjust_forward(past),
        provenance=Provenance("hash", "sample", "1Day"),
        fold_features=refit_in_folds(past, fitted.pipeline, features.loc[past.index]),
    )
    assert evaluate_gate({**result.metrics, "no_look_ahead": 1.0}, "paper").passed, result.metrics
    # public daily bars hold little: a large gain would be a leak
    assert abs(result.metrics["log_loss_gain"]) < 0.01
    assert 0.4 < result.metrics["auc"] < 0.6
    unseen = features[times >= cut]
    signals = make_signals(result.bundle, unseen, raw, SessionCalendar(), "1")
    assert len(signals) == len(unseen) == 180
    assert all(s.stop_price < s.reference_price < s.target_price and s.lower <= s.probability <= s.upper for s in signals)
    pipeline = result.bundle.feature_pipeline()
    np.testing.assert_array_equal(pipeline.transform(raw).to_numpy(), features.to_numpy())


def test_a_refit_in_a_fold_does_not_see_the_fold(raw: pd.DataFrame) -> None:
    """Wild prices inside the test block must leave the statistics frozen for that fold as they were."""
    pipeline = FeaturePipeline.default("1Day").select(["vol_percentile", "fracdiff"])
    times = raw.index.get_level_values("timestamp")
    distinct = times.unique().sort_values()
    train_times = distinct[:900].append(distinct[1200:])
    hidden = ~times.isin(train_times)
    wild = raw.copy()
    wild.loc[hidden, ["open", "high", "low", "close"]] *= 3.0
    frozen = []
    for bars in (raw, wild):
        compute = refit_in_folds(bars, pipeline, pipeline.fit(raw).transform(bars))
        frozen.append(compute(pd.DatetimeIndex(train_times)))
    early = times < distinct[900]
    pd.testing.assert_frame_equal(frozen[0][early], frozen[1][early])
    assert not frozen[0][hidden].equals(frozen[1][hidden])
