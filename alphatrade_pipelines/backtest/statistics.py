"""Performance statistics, each as its paper defines it.

Sharpe ratios are PER OBSERVATION unless a name says ``annual``; kurtosis is the full one (3 for a normal). A statistic that
cannot be computed (too few observations, no variance) is NaN: never zero, never infinity.

References: Bailey & Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (2012) for PSR and MinTRL; the same, "The Deflated
Sharpe Ratio" (2014); Bailey, Borwein, Lopez de Prado & Zhu, "Pseudo-Mathematics and Financial Charlatanism" (2014) for MinBTL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

SESSIONS_PER_YEAR = 252
EULER_GAMMA = 0.5772156649015329
# a standard deviation this small relative to the mean is rounding noise of a constant series, not risk
FLAT = 1e-12

Floats = NDArray[np.float64]
FloatSeries = Sequence[float] | Floats | pd.Series


def returns_of(equity: pd.Series) -> pd.Series:
    """Simple return of each observation against the one before it; the first has none and is dropped."""
    return (equity / equity.shift(1) - 1.0).iloc[1:]


def sharpe_ratio(returns: FloatSeries, risk_free: float = 0.0) -> float:
    """Mean excess return over its sample standard deviation (ddof 1), per observation. ``risk_free`` is per observation."""
    values = np.asarray(returns, dtype=float) - risk_free
    if values.size < 2:
        return math.nan
    deviation = float(values.std(ddof=1))
    mean = float(values.mean())
    return math.nan if deviation <= FLAT * max(1.0, abs(mean)) else mean / deviation


def annual_sharpe(returns: FloatSeries, risk_free: float = 0.0, periods: float = SESSIONS_PER_YEAR) -> float:
    """Sharpe ratio scaled by sqrt(periods a year): exact for independent returns, optimistic for positively autocorrelated ones."""
    return sharpe_ratio(returns, risk_free) * math.sqrt(periods)


def sortino_ratio(returns: FloatSeries, periods: float = SESSIONS_PER_YEAR) -> float:
    """Annual mean over downside deviation: root mean square of min(return, 0) over ALL observations (Sortino & Price 1994)."""
    values = np.asarray(returns, dtype=float)
    downside = float(np.sqrt(np.mean(np.minimum(values, 0.0) ** 2))) if values.size else 0.0
    return math.nan if downside <= FLAT else float(values.mean()) / downside * math.sqrt(periods)


def moments(returns: FloatSeries) -> tuple[float, float]:
    """Population skewness and full kurtosis (3 for a normal); (NaN, NaN) for a constant or empty series."""
    values = np.asarray(returns, dtype=float)
    if values.size < 3:
        return math.nan, math.nan
    centred = values - values.mean()
    variance = float(np.mean(centred**2))
    if variance <= FLAT**2:
        return math.nan, math.nan
    return float(np.mean(centred**3)) / variance**1.5, float(np.mean(centred**4)) / variance**2


def _sharpe_variance_factor(sharpe: float, skew: float, kurtosis: float) -> float:
    """1 - g3 SR + (g4 - 1)/4 SR^2: what multiplies 1/(T-1) in the variance of a Sharpe ratio estimate (Mertens 2002)."""
    factor = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if factor <= 0:
        raise ValueError(f"expected moments of a real distribution (kurtosis >= skew^2 + 1), found skew {skew} and kurtosis {kurtosis}")
    return factor


def probabilistic_sharpe(sharpe: float, benchmark: float, observations: int, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """PSR: the probability that the true Sharpe ratio exceeds ``benchmark``, given an estimate from ``observations`` returns."""
    if observations < 2 or not all(map(math.isfinite, (sharpe, benchmark, skew, kurtosis))):
        return math.nan
    spread = math.sqrt(_sharpe_variance_factor(sharpe, skew, kurtosis))
    return float(norm.cdf((sharpe - benchmark) * math.sqrt(observations - 1) / spread))


def expected_max_normal(trials: int) -> float:
    """E[max of ``trials`` independent standard normals], the approximation of Bailey & Lopez de Prado; 0 for a single trial."""
    if trials < 1:
        raise ValueError(f"expected at least one trial, found {trials}; count every configuration that was ever evaluated")
    if trials == 1:
        return 0.0
    return float((1 - EULER_GAMMA) * norm.ppf(1 - 1 / trials) + EULER_GAMMA * norm.ppf(1 - 1 / (trials * math.e)))


def deflated_benchmark(trials: int, trial_variance: float) -> float:
    """SR0: the Sharpe ratio (per observation) that the best of ``trials`` skill-less strategies is expected to show."""
    if trial_variance < 0:
        raise ValueError(f"expected a non-negative variance of the trial Sharpe ratios, found {trial_variance}")
    return math.sqrt(trial_variance) * expected_max_normal(trials)


def deflated_sharpe(
    sharpe: float, observations: int, trials: int, trial_variance: float, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """DSR: PSR against SR0, so that having tried ``trials`` configurations is paid for.

    ``trial_variance`` is the variance across the trials of their Sharpe ratios PER OBSERVATION (population, ddof 0).
    """
    return probabilistic_sharpe(sharpe, deflated_benchmark(trials, trial_variance), observations, skew, kurtosis)


def null_trial_variance(observations: int) -> float:
    """Variance of the Sharpe estimate of a skill-less strategy, 1/(T-1): what to deflate by when trial Sharpes were not recorded."""
    return math.nan if observations < 2 else 1.0 / (observations - 1)


def min_track_record(sharpe: float, benchmark: float, skew: float = 0.0, kurtosis: float = 3.0, alpha: float = 0.05) -> float:
    """MinTRL: observations needed before PSR(benchmark) exceeds 1 - alpha; infinite when the estimate does not beat the benchmark."""
    if not all(map(math.isfinite, (sharpe, benchmark, skew, kurtosis))):
        return math.nan
    if sharpe <= benchmark:
        return math.inf
    return 1.0 + _sharpe_variance_factor(sharpe, skew, kurtosis) * float(norm.ppf(1 - alpha) / (sharpe - benchmark)) ** 2


def min_backtest_years(trials: int, target: float = 1.0) -> float:
    """MinBTL: years below which the best of ``trials`` skill-less strategies is expected to show an annual Sharpe of ``target``."""
    return (expected_max_normal(trials) / target) ** 2


def drawdown(equity: pd.Series) -> pd.Series:
    """Fraction below the running high, zero or negative, on the same index."""
    return equity / equity.cummax() - 1.0


def drawdown_depths(equity: FloatSeries) -> list[float]:
    """Depth of every completed or open excursion below a high, in the unit of ``equity``, in time order."""
    depths: list[float] = []
    high, low = -math.inf, math.inf
    for value in np.asarray(equity, dtype=float):
        if value >= high:
            if low < high:
                depths.append(high - low)
            high = low = float(value)
        low = min(low, float(value))
    return depths + [high - low] if low < high else depths


def longest_underwater(equity: pd.Series) -> int:
    """Longest run of observations below an earlier high."""
    longest = current = 0
    for under in (equity < equity.cummax()).tolist():
        current = current + 1 if under else 0
        longest = max(longest, current)
    return longest


def annual_return(equity: pd.Series, periods: float = SESSIONS_PER_YEAR) -> float:
    """Compound growth a year between the first and last observation."""
    if len(equity) < 2 or equity.iloc[0] <= 0 or equity.iloc[-1] <= 0:
        return math.nan
    return float((equity.iloc[-1] / equity.iloc[0]) ** (periods / (len(equity) - 1)) - 1.0)


def turnover(traded_notional: float, equity: pd.Series, periods: float = SESSIONS_PER_YEAR) -> float:
    """Traded notional (buys plus sells) a year over mean equity: 2.0 means the account was bought and sold once."""
    if len(equity) < 2:
        return math.nan
    return traded_notional / float(equity.mean()) * periods / (len(equity) - 1)


def concentration(values: FloatSeries) -> float:
    """Normalised Herfindahl index of the shares of ``values`` in their sum: 0 when equal, 1 when one has it all (AFML ch. 14)."""
    array = np.asarray(values, dtype=float)
    total = float(array.sum())
    if array.size < 3 or total == 0:
        return math.nan
    herfindahl = float(np.sum((array / total) ** 2))
    return (herfindahl - 1 / array.size) / (1 - 1 / array.size)


@dataclass(frozen=True, slots=True)
class Performance:
    """Everything the report says about one equity curve; ratios are annual unless named otherwise, fractions are fractions."""

    observations: int
    total_return: float
    annual_return: float
    annual_volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    longest_underwater: int
    skew: float
    kurtosis: float
    psr: float
    dsr: float
    trials: int
    trial_variance: float
    deflated_benchmark: float
    min_track_record: float
    min_backtest_years: float


def performance(equity: pd.Series, trials: int = 1, trial_variance: float | None = None, periods: float = SESSIONS_PER_YEAR) -> Performance:
    """Statistics of an equity curve with one observation a session.

    ``trials`` is the number of configurations evaluated on this data before this one was chosen. ``trial_variance`` is the
    variance of their Sharpe ratios per observation; when unknown the sampling variance of a skill-less strategy stands in.
    """
    returns = returns_of(equity)
    sharpe = sharpe_ratio(returns)
    skew, kurtosis = moments(returns)
    variance = null_trial_variance(len(returns)) if trial_variance is None else trial_variance
    bar = deflated_benchmark(trials, variance) if math.isfinite(variance) else math.nan
    growth = annual_return(equity, periods)
    deepest = float(drawdown(equity).min()) if len(equity) else math.nan
    return Performance(
        observations=len(returns),
        total_return=float(equity.iloc[-1] / equity.iloc[0] - 1.0) if len(equity) > 1 else math.nan,
        annual_return=growth,
        annual_volatility=float(returns.std(ddof=1)) * math.sqrt(periods) if len(returns) > 1 else math.nan,
        sharpe=sharpe * math.sqrt(periods),
        sortino=sortino_ratio(returns, periods),
        calmar=growth / -deepest if deepest < 0 else math.nan,
        max_drawdown=deepest,
        longest_underwater=longest_underwater(equity),
        skew=skew,
        kurtosis=kurtosis,
        psr=probabilistic_sharpe(sharpe, 0.0, len(returns), skew, kurtosis),
        dsr=probabilistic_sharpe(sharpe, bar, len(returns), skew, kurtosis),
        trials=trials,
        trial_variance=variance,
        deflated_benchmark=bar * math.sqrt(periods),
        min_track_record=min_track_record(sharpe, 0.0, skew, kurtosis),
        min_backtest_years=min_backtest_years(trials),
    )
