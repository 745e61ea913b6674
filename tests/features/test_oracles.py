"""Every rolling feature against pandas, the rest against hand-computed or published values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from alphatrade_pipelines.features import FeaturePipeline, ewma_volatility
from alphatrade_pipelines.features.base import build
from alphatrade_pipelines.market import adjust_forward

W = 15


@pytest.fixture(scope="module")
def bars(make_bars) -> pd.DataFrame:
    return make_bars(260, symbols=3, seed=11)


@pytest.fixture(scope="module")
def adjusted(bars) -> pd.DataFrame:
    return adjust_forward(bars)


def feature(bars: pd.DataFrame, kind: str, **params: object) -> pd.Series:
    return FeaturePipeline("1Day", {"x": build(kind, params)}).fit(bars).transform(bars)["x"]


def by_symbol(frame: pd.DataFrame, formula) -> pd.Series:
    return pd.concat([formula(one) for _, one in frame.groupby(level="symbol")])


def returns(one: pd.DataFrame) -> pd.Series:
    return np.log(one["close"]).diff()


def market(frame: pd.DataFrame) -> pd.Series:
    ret = by_symbol(frame, returns)
    return ret.groupby(level="timestamp").transform("mean")


def parkinson(one):
    return (np.log(one.high / one.low) ** 2 / (4 * np.log(2))).rolling(W).mean() ** 0.5


def garman_klass(one):
    return (0.5 * np.log(one.high / one.low) ** 2 - (2 * np.log(2) - 1) * np.log(one.close / one.open) ** 2).rolling(W).mean() ** 0.5


def rogers_satchell_term(one):
    return np.log(one.high / one.close) * np.log(one.high / one.open) + np.log(one.low / one.close) * np.log(one.low / one.open)


def rogers_satchell(one):
    return rogers_satchell_term(one).rolling(W).mean() ** 0.5


def yang_zhang(one):
    k = 0.34 / (1.34 + (W + 1) / (W - 1))
    overnight = np.log(one.open / one.close.shift()).rolling(W).var()
    return (overnight + k * np.log(one.close / one.open).rolling(W).var() + (1 - k) * rogers_satchell_term(one).rolling(W).mean()) ** 0.5


def amihud(one):
    return (returns(one).abs() / (one.close * one.volume)).rolling(W).mean()


def kyle(one):
    flow = np.sign(returns(one)) * one.close * one.volume
    return returns(one).rolling(W).cov(flow) / flow.rolling(W).var()


def roll(one):
    return 2 * returns(one).rolling(W).cov(returns(one).shift()).abs() ** 0.5


def vpin(one):
    ret = returns(one)
    imbalance = one.volume * (2 * norm.cdf(ret / ret.rolling(W).std()) - 1)
    return pd.Series(imbalance, index=one.index).abs().rolling(W).sum() / one.volume.rolling(W).sum()


def corwin_schultz(one):
    beta = (np.log(one.high / one.low) ** 2).rolling(2).sum().rolling(W).mean()
    gamma = np.log(one.high.rolling(2).max() / one.low.rolling(2).min()) ** 2
    k = 3 - 2 * 2**0.5
    alpha = ((2**0.5 - 1) * beta**0.5 / k - (gamma / k) ** 0.5).clip(lower=0)
    return 2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha))


def rsi(one):
    gain, loss = (returns(one).clip(lower=0)).rolling(W).mean(), (-returns(one)).clip(lower=0).rolling(W).mean()
    return 100 - 100 / (1 + gain / loss)


ORACLES = {
    "parkinson": (parkinson, {"window": W}),
    "garman_klass": (garman_klass, {"window": W}),
    "rogers_satchell": (rogers_satchell, {"window": W}),
    "yang_zhang": (yang_zhang, {"window": W}),
    "amihud": (amihud, {"window": W}),
    "kyle_lambda": (kyle, {"window": W}),
    "roll": (roll, {"window": W}),
    "corwin_schultz": (corwin_schultz, {"window": W}),
    "vpin": (vpin, {"window": W}),
    "rsi": (rsi, {"window": W}),
    "momentum": (lambda one: np.log(one.close.shift(3) / one.close.shift(W)), {"window": W, "skip": 3}),
    "gap": (lambda one: np.log(one.open / one.close.shift()), {}),
    "close_location": (lambda one: np.log(one.close / one.low) / np.log(one.high / one.low), {}),
    "volume_zscore": (lambda one: (one.volume - one.volume.rolling(W).mean()) / one.volume.rolling(W).std(), {"window": W}),
    "price_zscore": (
        lambda one: (np.log(one.close) - np.log(one.close).rolling(W).mean()) / np.log(one.close).rolling(W).std(),
        {"window": W},
    ),
    "volatility_ratio": (lambda one: returns(one).rolling(5).std() / returns(one).rolling(W).std(), {"short": 5, "long": W}),
}


@pytest.mark.parametrize("kind", sorted(ORACLES))
def test_against_pandas(bars, adjusted, kind) -> None:
    formula, params = ORACLES[kind]
    expected, found = by_symbol(adjusted, formula), feature(bars, kind, **params)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-12)
    assert found.notna().sum() > 500


def test_beta_and_relative_return(bars, adjusted) -> None:
    m = market(adjusted)
    ret = by_symbol(adjusted, returns)
    both = pd.DataFrame({"r": ret, "m": m})
    beta = by_symbol(both, lambda one: one.r.rolling(W).cov(one.m) / one.m.rolling(W).var())
    np.testing.assert_allclose(feature(bars, "beta", window=W), beta, rtol=1e-8)
    np.testing.assert_allclose(
        feature(bars, "relative_return", window=W), by_symbol(both, lambda one: (one.r - one.m).rolling(W).sum()), atol=1e-12
    )


def test_cross_rank(bars) -> None:
    pipeline = FeaturePipeline("1Day", {"m": build("momentum", {"window": 5}), "rank": build("cross_rank", {"column": "m"})})
    found = pipeline.fit(bars).transform(bars)
    groups = found["m"].groupby(level="timestamp")
    expected = ((groups.rank() - 0.5) / groups.transform("count")).where(groups.transform("count") > 1)
    np.testing.assert_allclose(found["rank"], expected)


def test_ewma_volatility(bars, adjusted) -> None:
    found = ewma_volatility(bars, span=20)
    expected = by_symbol(adjusted, lambda one: (returns(one) ** 2).ewm(span=20).mean() ** 0.5)
    age = pd.Series(1, index=bars.index).groupby(level="symbol").cumsum()
    young, old = (age > 20) & (age <= 81), age > 81
    np.testing.assert_allclose(found[young], expected[young], rtol=1e-10)
    np.testing.assert_allclose(found[old], expected[old], rtol=3e-3)
    assert found[age <= 20].isna().all()
    pd.testing.assert_series_equal(feature(bars, "ewma_volatility", span=20), found, check_names=False, check_exact=True)


def test_training_percentile_is_frozen(bars) -> None:
    times = bars.index.get_level_values("timestamp")
    train = bars[times <= times.unique().sort_values()[200]]
    config = {
        "v": build("ewma_volatility", {"span": 5}),
        "p": build("training_percentile", {"column": "v", "points": 1001, "min_values": 100}),
    }
    fitted = FeaturePipeline("1Day", config).fit(train)
    known, found = fitted.transform(train), fitted.transform(bars)
    for symbol in ("S00", "S01"):
        own = np.sort(known.loc[symbol, "v"].dropna().to_numpy())
        expected = np.searchsorted(own, found.loc[symbol, "v"].to_numpy()) / len(own)
        there = found.loc[symbol, "v"].notna().to_numpy()
        assert np.abs(found.loc[symbol, "p"].to_numpy() - expected)[there].max() < 1.5 / len(own)


def one_symbol(**columns: list[float]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    stamps = pd.bdate_range("2020-01-06", periods=n, tz="UTC") + pd.Timedelta(hours=14, minutes=30)
    frame = pd.DataFrame({"volume": 1000.0, "split": 1.0, "dividend": 0.0} | columns, index=stamps)
    return pd.concat({"A": frame}, names=["symbol", "timestamp"])


def test_corwin_schultz_by_hand() -> None:
    """H = [10.1, 10.3], L = [9.9, 10.1] gives S = -0.0280, reported as zero; equal ranges give a positive spread."""
    floored = one_symbol(open=[10.0, 10.2], high=[10.1, 10.3], low=[9.9, 10.1], close=[10.0, 10.2])
    assert feature(floored, "corwin_schultz", window=1).iloc[1] == 0.0
    flat = one_symbol(open=[10.0, 10.0], high=[10.1, 10.1], low=[9.9, 9.9], close=[10.0, 10.0])
    square = np.log(10.1 / 9.9) ** 2
    alpha = (np.sqrt(2) - 1) * np.sqrt(2 * square) / (3 - 2 * np.sqrt(2)) - np.sqrt(square / (3 - 2 * np.sqrt(2)))
    assert feature(flat, "corwin_schultz", window=1).iloc[1] == pytest.approx(2 * np.tanh(alpha / 2), rel=1e-12)
    # a bid-ask bounce that spans every bar is the spread itself
    assert feature(flat, "corwin_schultz", window=1).iloc[1] == pytest.approx(np.log(10.1 / 9.9), rel=1e-3)


def test_parkinson_and_garman_klass_by_hand() -> None:
    bar = one_symbol(open=[100.0], high=[110.0], low=[95.0], close=[105.0])
    assert feature(bar, "parkinson", window=1).iloc[0] == pytest.approx(np.log(110 / 95) / np.sqrt(4 * np.log(2)), rel=1e-14)
    term = 0.5 * np.log(110 / 95) ** 2 - (2 * np.log(2) - 1) * np.log(1.05) ** 2
    assert feature(bar, "garman_klass", window=1).iloc[0] == pytest.approx(np.sqrt(term), rel=1e-14)


def test_range_volatilities_recover_a_known_volatility() -> None:
    """A driftless random walk of 2 % a bar, 400 steps in each: all estimators within a few per cent (the range is slightly short)."""
    rng = np.random.default_rng(1)
    steps = rng.standard_normal((3000, 400)) * 0.02 / 20
    path = np.exp(np.cumsum(steps.ravel()).reshape(steps.shape))
    opening = np.concatenate([[1.0], path[:-1, -1]])
    bars = one_symbol(open=opening, high=np.maximum(path.max(1), opening), low=np.minimum(path.min(1), opening), close=path[:, -1])
    for kind in ("parkinson", "garman_klass", "rogers_satchell", "yang_zhang"):
        assert feature(bars, kind, window=2999).iloc[-1] == pytest.approx(0.02, rel=0.05), kind
    assert ewma_volatility(bars, span=2000).iloc[-1] == pytest.approx(0.02, rel=0.05)


def test_session_fraction() -> None:
    stamps = pd.DatetimeIndex(["2021-03-12 14:30", "2021-03-15 13:30", "2021-03-15 19:55"], tz="UTC")  # the clocks changed in between
    frame = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), 10.0) | {"volume": 1.0, "split": 1.0, "dividend": 0.0}, index=stamps
    )
    found = feature(pd.concat({"A": frame}, names=["symbol", "timestamp"]), "session_fraction")
    assert found.tolist() == [0.0, 0.0, 385 / 390]
