"""Fractional differentiation: published weights, an independent convolution, and d chosen on training data by a verified ADF test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import binom
from statsmodels.tsa.adfvalues import mackinnoncrit
from statsmodels.tsa.stattools import adfuller

from alphatrade_pipelines.features import FeatureInputError, FeaturePipeline
from alphatrade_pipelines.features.adf import adf_critical_value, adf_statistic
from alphatrade_pipelines.features.base import build
from alphatrade_pipelines.features.catalogue.fracdiff import FractionalDifference, fracdiff, fracdiff_weights

# statsmodels 0.16 changes the type adfuller returns; both unpack alike
pytestmark = pytest.mark.filterwarnings("ignore:adfuller currently returns:FutureWarning")


@pytest.mark.parametrize(
    ("d", "weights"),
    [
        (0.25, [1, -0.25, -0.09375, -0.0546875, -0.0375976562, -0.0281982422, -0.0223236084]),
        (0.4, [1, -0.4, -0.12, -0.064, -0.0416, -0.029952, -0.0229632]),
        (0.5, [1, -0.5, -0.125, -0.0625, -0.0390625, -0.02734375, -0.0205078125]),
        (0.75, [1, -0.75, -0.09375, -0.0390625, -0.0219726562]),
    ],
)
def test_weights_are_the_published_ones(d, weights) -> None:
    found = fracdiff_weights(d, 1e-5)
    np.testing.assert_allclose(found[: len(weights)], weights, atol=5e-11)
    k = np.arange(len(found))
    np.testing.assert_allclose(found, (-1.0) ** k * binom(d, k), rtol=1e-9)


def test_widths() -> None:
    assert [len(fracdiff_weights(d, 1e-4)) for d in (0.25, 0.4, 0.5, 0.75)] == [445, 282, 200, 79]
    assert len(fracdiff_weights(0.9, 1e-3)) == 12
    assert fracdiff_weights(1.0, 1e-4).tolist() == [1.0, -1.0]
    assert fracdiff_weights(0.0, 1e-4).tolist() == [1.0]


def test_equal_to_numpy_convolution_and_to_differences() -> None:
    x = np.cumsum(np.random.default_rng(0).standard_normal(2000))
    weights = fracdiff_weights(0.4, 1e-4)
    found = fracdiff(x, 0.4, 1e-4)
    np.testing.assert_allclose(found[281:], np.convolve(x, weights, "valid"), rtol=1e-11, atol=1e-11)
    assert np.isnan(found[:281]).all()
    np.testing.assert_array_equal(fracdiff(x, 1.0, 1e-4)[1:], np.diff(x))


@pytest.mark.parametrize("lags", [0, 1, 4])
@pytest.mark.parametrize("phi", [1.0, 0.97, 0.3])
def test_adf_equals_statsmodels(lags, phi) -> None:
    e = np.random.default_rng(lags).standard_normal(400)
    x = np.empty(400)
    x[0] = 5.0
    for t in range(1, 400):
        x[t] = 0.1 + phi * x[t - 1] + e[t]
    statistic, observations = adf_statistic(x, lags)
    oracle = adfuller(x, maxlag=lags, regression="c", autolag=None)
    assert statistic == pytest.approx(oracle[0], rel=1e-8)
    assert observations == oracle[3]
    for level, value in zip((0.01, 0.05, 0.10), mackinnoncrit(N=1, regression="c", nobs=observations), strict=True):
        assert adf_critical_value(observations, level) == pytest.approx(value, rel=1e-6)


def test_adf_of_a_constant_or_a_short_series() -> None:
    assert np.isnan(adf_statistic(np.ones(100), 1)[0])
    with pytest.raises(FeatureInputError, match="at least"):
        adf_statistic(np.arange(6.0), 1)


def test_choice_follows_the_memory_of_the_series() -> None:
    rng = np.random.default_rng(4)
    feature = FractionalDifference()
    walk = np.cumsum(rng.standard_normal(3000) * 0.01) + 4.0
    noise = 4.0 + rng.standard_normal(3000) * 0.01
    assert feature.choose(noise) == 0.05
    chosen = feature.choose(walk)
    assert 0.05 < chosen < 1.0
    filtered = fracdiff(walk, chosen, feature.threshold)
    assert adfuller(filtered[np.isfinite(filtered)], maxlag=1, regression="c", autolag=None)[1] < 0.05
    below = fracdiff(walk, round(chosen - 0.05, 2), feature.threshold)
    assert adfuller(below[np.isfinite(below)], maxlag=1, regression="c", autolag=None)[1] > 0.05


def test_short_and_unknown_symbols_get_the_pooled_order(make_bars) -> None:
    bars = make_bars(500, symbols=4, seed=2, late=0.8)
    times = bars.index.get_level_values("timestamp")
    cut = times.unique().sort_values()[420]
    seen = bars[(times <= cut) & (bars.index.get_level_values("symbol") != "S02")]
    fitted = FeaturePipeline("1Day", {"f": build("fracdiff", {})}).fit(seen)
    state = fitted.states["f"]
    assert set(state["by_symbol"]) == {"S00", "S01"}
    assert state["pooled"] == np.median(list(state["by_symbol"].values()))
    found = fitted.transform(bars)["f"]
    assert found["S02"].notna().sum() > 300
    assert found["S03"].notna().sum() > 0


def test_order_depends_on_training_bars_only(make_bars) -> None:
    bars = make_bars(500, seed=9)
    times = bars.index.get_level_values("timestamp")
    train = times <= times.unique().sort_values()[350]
    garbage = bars.copy()
    garbage.loc[~train, ["open", "high", "low", "close"]] *= 1000.0
    pipeline = FeaturePipeline("1Day", {"f": build("fracdiff", {})})
    assert pipeline.fit(bars[train]).content_hash == pipeline.fit(garbage[train]).content_hash
    with pytest.raises(FeatureInputError, match="choose the order of fracdiff"):
        pipeline.fit(bars[times <= times.unique().sort_values()[200]])


def test_constant_prices_have_no_order(make_bars) -> None:
    bars = make_bars(400, symbols=1, actions=False, missing=0.0, late=0.0)
    bars[["open", "high", "low", "close"]] = 25.0
    with pytest.raises(FeatureInputError, match="moving prices"):
        FeaturePipeline("1Day", {"f": build("fracdiff", {})}).fit(bars)
