"""Every rolling feature against pandas, the rest against hand-computed or published values."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, norm
from statsmodels.tsa.stattools import adfuller

from alphatrade_pipelines.features import FeaturePipeline, ewma_volatility
from alphatrade_pipelines.features.base import build
from alphatrade_pipelines.features.catalogue.breaks import sup_adf
from alphatrade_pipelines.market import adjust_forward

# statsmodels 0.16 changes the type adfuller returns; both unpack alike
pytestmark = pytest.mark.filterwarnings("ignore:adfuller currently returns:FutureWarning")

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


def downside_share(one):
    loss = returns(one).clip(upper=0) ** 2
    return loss.rolling(W).sum() / (returns(one) ** 2).rolling(W).sum()


def jump_share(one):
    size = returns(one).abs()
    bipower = np.pi / 2 * (size * size.shift()).rolling(W).sum()
    return (1 - bipower / (size**2).rolling(W).sum()).clip(lower=0)


def order_flow(one):
    ret = returns(one)
    imbalance = one.volume * (2 * norm.cdf(ret / ret.rolling(W).std()) - 1)
    return pd.Series(imbalance, index=one.index).rolling(W).sum() / one.volume.rolling(W).sum()


def cusum(one):
    price = np.log(one.close).to_numpy()

    def last(window):
        scale = np.sqrt((np.diff(window) ** 2).mean())
        values = [(window[-1] - window[-1 - k]) / (scale * k**0.5) for k in range(1, W)]
        return max(values, key=abs)

    return pd.Series(price, index=one.index).rolling(W).apply(last, raw=True)


def becker_parkinson(one):
    beta = (np.log(one.high / one.low) ** 2).rolling(2).sum().rolling(W).mean()
    gamma = np.log(one.high.rolling(2).max() / one.low.rolling(2).min()) ** 2
    k, k2 = 3 - 2 * 2**0.5, (8 / np.pi) ** 0.5
    return ((2**-0.5 - 1) * beta**0.5 / (k2 * k) + (gamma / (k2**2 * k)) ** 0.5).clip(lower=0)


def population(moment):
    """pandas' skew and kurt are bias corrected; undo it."""
    n = W
    if moment == "skew":
        return lambda one: returns(one).rolling(n).skew() * (n - 2) / np.sqrt(n * (n - 1))
    return lambda one: (returns(one).rolling(n).kurt() * (n - 2) * (n - 3) / (n - 1) - 6) / (n + 1)


ORACLES = {
    "close_volatility": (lambda one: returns(one).rolling(W).std(), {"window": W}),
    "maximum_return": (lambda one: returns(one).rolling(W).max(), {"window": W}),
    "below_high": (lambda one: np.log(one.close / one.high.rolling(W).max()), {"window": W}),
    "skewness": (population("skew"), {"window": W}),
    "kurtosis": (population("kurt"), {"window": W}),
    "downside_share": (downside_share, {"window": W}),
    "jump_share": (jump_share, {"window": W}),
    "hasbrouck_lambda": (lambda one: (returns(one).abs() / (one.close * one.volume) ** 0.5).rolling(W).mean(), {"window": W}),
    "kyle_ratio": (lambda one: (one.close.diff().abs() / one.volume).rolling(W).mean(), {"window": W}),
    "order_flow": (order_flow, {"window": W}),
    "becker_parkinson": (becker_parkinson, {"window": W}),
    "volume_trend": (lambda one: np.log(one.volume.rolling(4).mean() / one.volume.rolling(W).mean()), {"short": 4, "long": W}),
    "cusum_break": (cusum, {"window": W}),
    "days_since_bar": (lambda one: one.index.get_level_values("timestamp").normalize().to_series(index=one.index).diff().dt.days, {}),
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
    both = pd.DataFrame({"r": by_symbol(adjusted, returns), "m": market(adjusted)})
    beta = by_symbol(both, lambda one: one.r.rolling(W).cov(one.m) / one.m.rolling(W).var())
    np.testing.assert_allclose(feature(bars, "beta", window=W), beta, rtol=1e-8)
    np.testing.assert_allclose(
        feature(bars, "relative_return", window=W), by_symbol(both, lambda one: (one.r - one.m).rolling(W).sum()), atol=1e-12
    )


def test_residuals_equal_a_regression_on_the_market(bars, adjusted) -> None:
    both = pd.DataFrame({"r": by_symbol(adjusted, returns), "m": market(adjusted)})
    found = {name: feature(bars, name, window=W) for name in ("market_correlation", "residual_return", "residual_volatility")}
    expected = by_symbol(both, lambda one: one.r.rolling(W).corr(one.m))
    np.testing.assert_allclose(found["market_correlation"], expected, rtol=1e-8)
    for symbol in ("S00", "S02"):
        own = both.loc[symbol]
        for end in (W + 1, 60, 150, len(own)):
            part = own.iloc[end - W : end]
            fit = linregress(part.m, part.r)
            residual = part.r - fit.intercept - fit.slope * part.m
            assert found["residual_return"].loc[symbol].iloc[end - 1] == pytest.approx(W * fit.intercept, rel=1e-7)
            assert found["residual_volatility"].loc[symbol].iloc[end - 1] == pytest.approx(np.sqrt((residual**2).sum() / (W - 2)), rel=1e-8)


def test_dispersion(bars) -> None:
    pipeline = FeaturePipeline("1Day", {"m": build("momentum", {"window": 5}), "d": build("dispersion", {"column": "m"})})
    found = pipeline.fit(bars).transform(bars)
    np.testing.assert_allclose(found["d"], found["m"].groupby(level="timestamp").transform("std"), rtol=1e-9)


def test_sadf_is_the_largest_of_statsmodels_statistics(adjusted, bars) -> None:
    found = feature(bars, "sadf", window=30, shortest=12)
    for symbol in ("S00", "S02"):
        price = np.log(adjusted.loc[symbol, "close"].to_numpy())
        for end in (31, 77, len(price)):
            starts = [adfuller(price[end - 1 - count : end], maxlag=0, regression="c", autolag=None)[0] for count in range(12, 31)]
            assert found.loc[symbol].iloc[end - 1] == pytest.approx(max(starts), rel=1e-6)


def test_sadf_sees_a_bubble() -> None:
    """Monte Carlo of Phillips, Wu and Yu: a mildly explosive root stands far above what a random walk gives."""
    rng = np.random.default_rng(5)
    walk, bubble = np.cumsum(rng.standard_normal(400)) * 0.01 + 4, np.empty(400)
    bubble[:340] = walk[:340]
    for t in range(340, 400):
        bubble[t] = 1.03 * (bubble[t - 1] - bubble[338]) + bubble[338] + 0.002 * rng.standard_normal() + 0.01
    calm, wild = sup_adf(walk, 21, 63, 0), sup_adf(bubble, 21, 63, 0)
    assert np.nanmedian(calm) < 1.0
    assert wild[-1] > np.nanquantile(calm, 0.999)


def test_trend_scan_is_the_strongest_of_all_lines(adjusted, bars) -> None:
    pipeline = FeaturePipeline("1Day", {"x": build("trend_scan", {"window": 30, "shortest": 8})})
    found = pipeline.fit(bars).transform(bars)
    for symbol in ("S00", "S02"):
        price = np.log(adjusted.loc[symbol, "close"].to_numpy())
        for end in (30, 77, len(price)):
            lines = [linregress(np.arange(count), price[end - count : end]) for count in range(8, 31)]
            best = max(lines, key=lambda line: abs(line.slope / line.stderr))
            row = found.loc[symbol].iloc[end - 1]
            assert row["x_t"] == pytest.approx(best.slope / best.stderr, rel=1e-7)
            assert row["x_slope"] == pytest.approx(best.slope, rel=1e-7)


def test_entropies_by_the_code_of_the_book(adjusted, bars) -> None:
    """Snippets 18.1 (without its missing last word), 18.2 and 18.4 of Lopez de Prado (2018), on strings."""

    def plug_in(text: str, word: int) -> float:
        words = Counter(text[k : k + word] for k in range(len(text) - word + 1))
        shares = np.array(list(words.values())) / words.total()
        return float(-(shares * np.log2(shares)).sum() / word)

    def phrases(text: str) -> float:
        at, known = 1, [text[0]]
        while at < len(text):
            for end in range(at, len(text)):
                if text[at : end + 1] not in known:
                    known.append(text[at : end + 1])
                    break
            at = end + 1
        return len(known) / len(text)

    def rate(text: str) -> float:
        total = 0.0
        for at in range(1, len(text) // 2 + 1):
            matches = [n for n in range(1, at + 1) if any(text[at : at + n] == text[j : j + n] for j in range(at)) and at + n <= len(text)]
            total += np.log2(at + 1) / (max(matches, default=0) + 1)
        return total / (len(text) // 2)

    oracles = {"plug_in_entropy": lambda text: plug_in(text, 3), "lempel_ziv": phrases, "kontoyiannis": rate}
    for kind, oracle in oracles.items():
        found = feature(bars, kind, window=40, **({"word": 3} if kind == "plug_in_entropy" else {}))
        for symbol in ("S00", "S02"):
            ret = np.log(adjusted.loc[symbol, "close"]).diff().to_numpy()
            for end in (41, 90, len(ret)):
                text = "".join("012"[int(np.sign(value)) + 1] for value in ret[end - 40 : end])
                assert found.loc[symbol].iloc[end - 1] == pytest.approx(oracle(text), rel=1e-12), (kind, symbol, end)


def test_session_features_by_pandas(make_bars) -> None:
    bars = make_bars(400, symbols=2, seed=12, timeframe="5Min", late=0.0, missing=0.1)
    one = adjust_forward(bars).loc["S01"]
    day = one.index.tz_convert("America/New_York").date
    groups = one.groupby(day)
    opened = groups["open"].transform("first")
    money = (one.close * one.volume).groupby(day).cumsum() / groups["volume"].cumsum()
    top, bottom = groups["high"].cummax(), groups["low"].cummin()
    before = one.close.shift().where(~pd.Series(day, index=one.index).duplicated()).groupby(day).ffill()
    expected = {
        "session_return": np.log(one.close / opened),
        "vwap_distance": np.log(one.close / money),
        "session_location": np.log(one.close / bottom) / np.log(top / bottom),
        "overnight_return": np.log(opened / before),
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(feature(bars, kind).loc["S01"], values, rtol=1e-9, atol=1e-12, err_msg=kind)


def test_volume_for_time_uses_the_training_profile(make_bars) -> None:
    bars = make_bars(800, symbols=2, seed=13, timeframe="5Min", late=0.0, actions=False)
    times = bars.index.get_level_values("timestamp")
    train = times <= times.unique().sort_values()[500]
    excess = by_symbol(bars, lambda one: np.log(one.volume / one.volume.rolling(W).mean()))
    clock = times.tz_convert("America/New_York").time
    profile = excess[train].groupby(clock[train]).mean()
    found = FeaturePipeline("5Min", {"x": build("volume_for_time", {"window": W})}).fit(bars[train]).transform(bars)["x"]
    np.testing.assert_allclose(found, excess - profile.reindex(clock).to_numpy(), rtol=1e-8, atol=1e-10)
    odd = bars.rename(index=lambda stamp: stamp + pd.Timedelta(minutes=2), level="timestamp")
    assert FeaturePipeline("5Min", {"x": build("volume_for_time", {"window": W})}).fit(bars[train]).transform(odd)["x"].isna().all()


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


def test_clock_knows_half_days_and_weekdays() -> None:
    stamps = pd.DatetimeIndex(["2021-11-24 14:30", "2021-11-26 14:30", "2021-11-26 17:00"], tz="UTC")  # Black Friday closes at 13:00
    frame = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), 10.0) | {"volume": 1.0, "split": 1.0, "dividend": 0.0}, index=stamps
    )
    one = pd.concat({"A": frame}, names=["symbol", "timestamp"])
    assert feature(one, "time_to_close").tolist() == [1.0, 210 / 390, 60 / 390]
    assert feature(one, "weekday").tolist() == [2.0, 4.0, 4.0]


def test_session_fraction() -> None:
    stamps = pd.DatetimeIndex(["2021-03-12 14:30", "2021-03-15 13:30", "2021-03-15 19:55"], tz="UTC")  # the clocks changed in between
    frame = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), 10.0) | {"volume": 1.0, "split": 1.0, "dividend": 0.0}, index=stamps
    )
    found = feature(pd.concat({"A": frame}, names=["symbol", "timestamp"]), "session_fraction")
    assert found.tolist() == [0.0, 0.0, 385 / 390]
