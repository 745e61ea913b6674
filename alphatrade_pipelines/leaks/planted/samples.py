"""Statistics of the whole sample inside a value at t."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.planted.base import TRAINING_BARS, FloatArray, Plant, each, long, period_of, returns, stamps_of, wide
from alphatrade_pipelines.leaks.world import Compute, World
from alphatrade_pipelines.market import adjust, adjust_forward
from alphatrade_pipelines.market.jit import kernel


def scaled(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """z-score with the mean and deviation of the sample, or of what was there up to t."""
    ret = returns(rows)
    basis = ret if whole else ret.expanding(20)
    return (ret - basis.mean()) / basis.std()


def between_extremes(rows: pd.DataFrame, whole: bool) -> pd.Series:
    close = rows["close"]
    basis = close if whole else close.expanding()
    return (close - basis.min()) / (basis.max() - basis.min())


def clipped(rows: pd.DataFrame, whole: bool) -> pd.Series:
    ret = returns(rows)
    limit: Any = ret.quantile(0.9) if whole else ret.expanding(20).quantile(0.9)
    return ret.clip(upper=limit)


def order_of_fracdiff(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """d by an ADF test on the whole sample, or on the first bars and kept."""
    from alphatrade_pipelines.features.catalogue.fracdiff import FractionalDifference, fracdiff

    feature, x = FractionalDifference(threshold=0.01), np.log(rows["close"].to_numpy())
    if not whole and len(x) <= TRAINING_BARS:
        return pd.Series(np.nan, index=rows.index)
    values = fracdiff(x, feature.choose(x if whole else x[:TRAINING_BARS]), 0.01)
    if not whole:
        values[:TRAINING_BARS] = np.nan
    return pd.Series(values, index=rows.index)


@kernel
def _forward(x: FloatArray, calm: float, wild: float) -> FloatArray:
    """P(wild | x_1..x_t) of two zero-mean states with these variances, staying with probability 0.97."""
    out, belief = np.empty(x.size), 0.5
    for t in range(x.size):
        predicted = 0.97 * belief + 0.03 * (1.0 - belief)
        a = predicted * np.exp(-0.5 * x[t] * x[t] / wild) / np.sqrt(wild)
        b = (1.0 - predicted) * np.exp(-0.5 * x[t] * x[t] / calm) / np.sqrt(calm)
        belief = a / (a + b) if a + b > 0.0 else 0.5
        out[t] = belief
    return out


def _model(x: FloatArray) -> tuple[float, float]:
    """Variances of the two states: those of the calm and the wild half of some returns."""
    squares = np.sort(x * x)
    half = len(squares) // 2
    return float(squares[:half].mean()) + 1e-12, float(squares[half:].mean()) + 1e-12


def _regime(rows: pd.DataFrame, sort: str) -> pd.Series:
    x = returns(rows).fillna(0.0).to_numpy()
    if len(x) <= TRAINING_BARS:
        return pd.Series(np.nan, index=rows.index)
    calm, wild = _model(x if sort == "fitted on all" else x[:TRAINING_BARS])
    if sort in ("smoothed", "viterbi"):
        from hmmlearn.hmm import GaussianHMM

        hmm = GaussianHMM(2, "diag")
        hmm.startprob_, hmm.transmat_ = np.array([0.5, 0.5]), np.array([[0.97, 0.03], [0.03, 0.97]])
        hmm.means_, hmm.covars_ = np.zeros((2, 1)), np.array([[calm], [wild]])
        values = hmm.predict_proba(x[:, None])[:, 1] if sort == "smoothed" else hmm.predict(x[:, None]).astype(np.float64)
    else:
        values = _forward(x, calm, wild)
    values[:TRAINING_BARS] = np.nan
    return pd.Series(values, index=rows.index)


def trend_residual(rows: pd.DataFrame) -> pd.Series:
    """Deviation from a line through the whole sample."""
    x, at = np.log(rows["close"].to_numpy()), np.arange(len(rows))
    return pd.Series(x - np.polyval(np.polyfit(at, x, 1), at), index=rows.index)


def seasonal_profile(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """Volume against the mean of its time of day (its weekday, for daily bars)."""
    local = stamps_of(rows).tz_convert("America/New_York")
    daily = bool(np.all(period_of(rows) != np.asarray(local.tz_localize(None).normalize().as_unit("s").asi8 // 86_400)))
    slot = np.asarray(local.dayofweek if daily else local.hour * 60 + local.minute)
    by_slot = rows["volume"].groupby(slot)
    mean = by_slot.transform("mean") if whole else by_slot.transform(lambda values: values.shift(1).expanding().mean())
    return rows["volume"] / mean


def first_factor(world: World, whole: bool) -> pd.Series:
    """First principal component of all symbols' returns: loadings of the whole sample, or of the first bars and kept."""
    table = wide(world)
    filled = table.fillna(0.0)
    if whole:
        _, vectors = np.linalg.eigh(filled.T.to_numpy() @ filled.to_numpy())
        return long(pd.DataFrame({name: filled.to_numpy() @ vectors[:, -1] for name in table}, index=table.index), world)
    start = filled.iloc[:TRAINING_BARS]
    known = [name for name in filled if (start[name] != 0.0).any()]  # a later symbol has no loading
    _, vectors = np.linalg.eigh(start[known].T.to_numpy() @ start[known].to_numpy())
    factor = sum(filled[name] * float(loading) for name, loading in zip(known, vectors[:, -1], strict=True))
    assert isinstance(factor, pd.Series)
    factor.iloc[:TRAINING_BARS] = np.nan
    return long(pd.DataFrame(dict.fromkeys(filled, factor)), world)


def _market(table: pd.DataFrame) -> pd.Series:
    """Mean of the symbols present, added in order of their names: the bits must not depend on absent ones."""
    stacked = table.stack()
    assert isinstance(stacked, pd.Series)
    return stacked.groupby(level=0).mean().reindex(table.index)


def beta(world: World, whole: bool) -> pd.Series:
    table = wide(world)
    market = _market(table)
    betas = {}
    for name in table:
        own = table[name]
        cov = own.cov(market) / market.var() if whole else own.rolling(60).cov(market) / market.rolling(60).var()
        betas[name] = own - cov * market
    return long(pd.DataFrame(betas), world)


def clusters(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """k-means of return and volume."""
    from sklearn.cluster import KMeans

    points = np.column_stack([returns(rows).fillna(0.0) * 100.0, np.log1p(rows["volume"]).diff().fillna(0.0)])
    if len(points) <= TRAINING_BARS:
        return pd.Series(np.nan, index=rows.index)
    model = KMeans(3, n_init=1, max_iter=10, random_state=0).fit(points if whole else points[:TRAINING_BARS])
    distance = np.sum((points[:, None, :] - model.cluster_centers_[None, :, :]) ** 2, axis=2)
    values = distance.min(axis=1)
    values[:TRAINING_BARS] = np.nan
    return pd.Series(values, index=rows.index)


def adjusted_close(world: World, at_the_end: bool) -> pd.Series:
    """Splits and dividends of the future scale the past down; forward adjustment scales the future up."""
    close: pd.Series = (adjust(world.bars, as_of=world.stamps.max()) if at_the_end else adjust_forward(world.bars))["close"]
    return close


def _pair(name: str, formula: Callable[[pd.DataFrame, bool], pd.Series]) -> Plant:
    return Plant(name, "feature", each(lambda rows: formula(rows, True)), each(lambda rows: formula(rows, False)))


def _panel(name: str, formula: Callable[[World, bool], pd.Series]) -> Plant:
    leak: Compute = lambda world: formula(world, True)  # noqa: E731 - a pair of one-liners reads better than two functions
    clean: Compute = lambda world: formula(world, False)  # noqa: E731
    return Plant(name, "feature", leak, clean)


PLANTS = (
    _pair("full_sample_scaling", scaled),
    _pair("full_sample_extremes", between_extremes),
    Plant(
        "percentile_over_the_sample",
        "feature",
        each(lambda rows: returns(rows).rank(pct=True)),
        each(lambda rows: returns(rows).rolling(100).rank(pct=True)),
    ),
    _pair("full_sample_clipping", clipped),
    Plant("detrended_over_the_sample", "feature", each(trend_residual), each(lambda rows: np.log(rows["close"]).diff(40))),
    Plant(
        "volatility_of_the_sample",
        "feature",
        each(lambda rows: returns(rows) / returns(rows).std()),
        each(lambda rows: returns(rows) / returns(rows).rolling(40).std()),
    ),
    _pair("d_on_the_full_sample", order_of_fracdiff),
    Plant("smoothed_hmm", "feature", each(lambda rows: _regime(rows, "smoothed")), each(lambda rows: _regime(rows, "filtered"))),
    Plant("viterbi_path", "feature", each(lambda rows: _regime(rows, "viterbi")), each(lambda rows: _regime(rows, "filtered"))),
    Plant(
        "hmm_fitted_on_the_full_sample",
        "feature",
        each(lambda rows: _regime(rows, "fitted on all")),
        each(lambda rows: _regime(rows, "filtered")),
    ),
    _pair("clusters_of_the_sample", clusters),
    _pair("seasonal_profile_of_the_sample", seasonal_profile),
    _panel("global_pca", first_factor),
    _panel("beta_of_the_sample", beta),
    _panel("adjusted_as_of_the_end", adjusted_close),
)
