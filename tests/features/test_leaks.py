"""The leak check finds planted leaks of every common sort, and nothing in the clean set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hmmlearn.hmm import GaussianHMM
from scipy.signal import fftconvolve

from alphatrade_pipelines.features import FeatureInputError, FeaturePipeline, FittedPipeline, check_no_lookahead
from alphatrade_pipelines.features.base import FloatArray, IntArray, Series, SymbolFeature
from alphatrade_pipelines.features.catalogue.fracdiff import FractionalDifference, fracdiff
from alphatrade_pipelines.features.catalogue.regime import Regime
from alphatrade_pipelines.features.catalogue.returns import Momentum
from alphatrade_pipelines.features.catalogue.volatility import EwmaVolatility, Parkinson
from alphatrade_pipelines.features.regime_fit import fit_model
from alphatrade_pipelines.market import adjust


def each(formula: Callable[[pd.DataFrame], pd.Series]) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda bars: pd.concat([formula(one) for _, one in bars.groupby(level="symbol")])


def returns(one: pd.DataFrame) -> pd.Series:
    return np.log(one["close"]).diff()


def smoothed_hmm(one: pd.DataFrame) -> pd.Series:
    x = returns(one).fillna(0.0).to_numpy()[:, None]
    hmm = GaussianHMM(2, "diag")
    hmm.startprob_, hmm.transmat_ = np.array([0.5, 0.5]), np.array([[0.97, 0.03], [0.03, 0.97]])
    hmm.means_, hmm.covars_ = np.zeros((2, 1)), np.array([[1e-4], [9e-4]])
    return pd.Series(hmm.predict_proba(x)[:, 1], index=one.index)


def session_high(bars: pd.DataFrame) -> pd.Series:
    """Same-bar future: at 10:00 it knows the high of the whole day."""
    day = bars.index.get_level_values("timestamp").tz_convert("America/New_York").date
    return bars["close"] / bars.groupby([bars.index.get_level_values("symbol"), day])["high"].transform("max")


def present_at_the_end(bars: pd.DataFrame) -> pd.Index:
    stamps = bars.index.get_level_values("timestamp")
    return bars.index.get_level_values("symbol")[stamps == stamps.max()]


def order_on_whole_sample(one: pd.DataFrame) -> pd.Series:
    x = np.log(one["close"].to_numpy())
    feature = FractionalDifference(threshold=0.01)
    return pd.Series(fracdiff(x, feature.choose(x), 0.01), index=one.index)


PLANTED: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "centred_window": each(lambda one: one["close"] / one["close"].rolling(11, center=True).mean()),
    "full_sample_zscore": each(lambda one: (returns(one) - returns(one).mean()) / returns(one).std()),
    "shift_minus_one": each(lambda one: returns(one).shift(-1)),
    "next_open": each(lambda one: one["open"].shift(-1) / one["close"]),
    "smoothed_hmm": each(smoothed_hmm),
    "backfilled_warmup": each(lambda one: returns(one).rolling(200).std().bfill()),
    "interpolated_gaps": each(lambda one: one["close"].where(one["volume"] > one["volume"].rolling(5).mean()).interpolate()),
    "session_high": session_high,
    "full_sample_rank": each(lambda one: returns(one).rank(pct=True)),
    "order_on_whole_sample": each(order_on_whole_sample),
    "adjusted_as_of_the_end": lambda bars: adjust(bars, as_of=bars.index.get_level_values("timestamp").max())["close"],
    "full_sample_quantile_clip": each(lambda one: returns(one).clip(upper=returns(one).quantile(0.9))),
    "universe_of_survivors": lambda bars: bars["close"].where(bars.index.get_level_values("symbol").isin(present_at_the_end(bars))),
    "fft_convolution": each(lambda one: pd.Series(fftconvolve(np.log(one["close"].to_numpy()), np.ones(50))[: len(one)], index=one.index)),
}


@dataclass
class WithLeak:
    """A clean pipeline and one planted column."""

    fitted: FittedPipeline
    name: str

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        return self.fitted.transform(bars).assign(**{self.name: PLANTED[self.name](bars)})


@pytest.fixture(scope="module")
def intraday(make_bars) -> pd.DataFrame:
    return make_bars(600, symbols=3, seed=21, timeframe="5Min")


@pytest.fixture(scope="module")
def clean(intraday) -> FittedPipeline:
    return FeaturePipeline("5Min", {"momentum_26": Momentum(26), "vol_ewma": EwmaVolatility(20), "range": Parkinson(20)}).fit(intraday)


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_leak_is_caught_and_nothing_else(intraday, clean, name) -> None:
    report = check_no_lookahead(WithLeak(clean, name), intraday, cuts=3)
    assert report.offending == (name,)
    leak = report.leaks[0]
    assert leak.timestamp <= leak.cut
    assert name in str(leak)


@pytest.mark.parametrize(("timeframe", "count"), [("1Day", 760), ("5Min", 900)])
def test_default_sets_are_clean(make_bars, timeframe, count) -> None:
    bars = make_bars(count, seed=22, timeframe=timeframe)
    stamps = bars.index.get_level_values("timestamp").unique().sort_values()
    report = check_no_lookahead(FeaturePipeline.default(timeframe), bars, cuts=[stamps[-150], stamps[-2]])
    assert report.leaks == ()
    assert report.features == FeaturePipeline.default(timeframe).feature_names
    assert report.values_checked > 100_000


class RegimeOfTheWholeSample(Regime):
    """Filtered, but with one model fitted on the whole training span: only the refit probe can see it."""

    def fit(self, times: IntArray, market: FloatArray) -> dict[str, Any]:
        model = fit_model(market[np.isfinite(market)], int(times[0]), None)
        return {"models": [model.to_state()], "rejected": {}}


@dataclass(frozen=True)
class HiddenStatistic(SymbolFeature):
    """Keeps a training mean without saying so (``frozen`` is False)."""

    @property
    def warmup(self) -> int:
        return 2

    def fit(self, series: Any) -> dict[str, float]:
        return {symbol: float(np.nanmean(one.ret)) for symbol, one in series.items()}

    def compute(self, series: Series, first: int, symbol: str, state: Any) -> FloatArray:
        return (series.ret - state[symbol])[first:]


def test_refit_probe_sees_statistics_that_claim_to_be_point_in_time(make_bars) -> None:
    bars = make_bars(600, symbols=3, seed=23, late=0.0)
    pipeline = FeaturePipeline("1Day", {"plain": Momentum(5), "regime": RegimeOfTheWholeSample(min_bars=100), "hidden": HiddenStatistic()})
    report = check_no_lookahead(pipeline, bars, cuts=2)
    assert report.offending == ("regime_low_vol", "regime_high_vol", "hidden")
    assert {leak.probe for leak in report.leaks} == {"refit"}


def test_a_cut_must_leave_something_on_both_sides(intraday, clean) -> None:
    stamps = intraday.index.get_level_values("timestamp")
    with pytest.raises(FeatureInputError, match="bars before and after"):
        check_no_lookahead(clean, intraday, cuts=[stamps.max()])
    with pytest.raises(FeatureInputError, match="time stamps for"):
        check_no_lookahead(clean, intraday, cuts=0)
