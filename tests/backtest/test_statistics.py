"""Statistics against published values (the papers' own examples) and against pandas."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.backtest import statistics as st


@pytest.mark.parametrize(
    ("trials", "skew", "kurtosis", "bar", "expected"),
    [(100, -3, 10, 0.113172, 0.900397), (46, -3, 10, 0.100362, 0.950502), (88, 0, 3, None, 0.950491), (100, 0, 3, None, 0.942771)],
)
def test_deflated_sharpe_of_the_paper(trials: int, skew: float, kurtosis: float, bar: float | None, expected: float) -> None:
    # Bailey & Lopez de Prado 2014: annual Sharpe 2.5, five years of 250 days, variance of annual trial Sharpes one half
    sharpe, variance = 2.5 / math.sqrt(250), 0.5 / 250
    if bar is not None:
        assert st.deflated_benchmark(trials, variance) == pytest.approx(bar, abs=5e-7)
    assert st.deflated_sharpe(sharpe, 1250, trials, variance, skew, kurtosis) == pytest.approx(expected, abs=5e-7)


def test_deflated_sharpe_of_recorded_trials() -> None:
    variance = float(np.var([3.5, 1.01, 1.02]))
    assert st.deflated_sharpe(1.14, 250, 3, variance) == pytest.approx(0.95836, abs=1e-4)


@pytest.mark.parametrize(("skew", "kurtosis", "expected"), [(-2.448, 10.164, 0.913361), (0.0, 3.0, 0.981675)])
def test_probabilistic_sharpe_of_the_hedge_fund_example(skew: float, kurtosis: float, expected: float) -> None:
    assert st.probabilistic_sharpe(0.458, 0.0, 24, skew, kurtosis) == pytest.approx(expected, abs=5e-7)


def test_probabilistic_sharpe_against_a_benchmark() -> None:
    assert st.probabilistic_sharpe(1.14, 1.0, 250) == pytest.approx(0.95727, abs=1e-4)


@pytest.mark.parametrize(("periods", "years"), [(252, 2.7310), (52, 2.8288), (12, 3.2398)])
def test_minimum_track_record_in_years(periods: int, years: float) -> None:
    root = math.sqrt(periods)
    assert st.min_track_record(2 / root, 1 / root) / periods == pytest.approx(years, abs=5e-5)


def test_minimum_track_record_non_normal_and_by_count() -> None:
    root = math.sqrt(12)
    assert st.min_track_record(2 / root, 1 / root, -0.72, 5.78) / 12 == pytest.approx(4.9913, abs=5e-5)
    assert st.min_track_record(1.14, 1.0) == pytest.approx(228.73497, abs=1e-5)
    assert st.min_track_record(0.1, 0.1) == math.inf


def test_expected_maximum_and_minimum_backtest_length() -> None:
    assert st.expected_max_normal(10) == pytest.approx(1.574598, abs=5e-7)
    assert st.min_backtest_years(45) == pytest.approx(4.998, abs=5e-4)
    assert st.min_backtest_years(7) == pytest.approx(1.923, abs=5e-4)
    assert st.expected_max_normal(1) == 0.0
    with pytest.raises(ValueError, match="at least one trial"):
        st.expected_max_normal(0)


def test_sharpe_of_a_monthly_series() -> None:
    monthly = [0.03, 0.02, 0.01, -0.01, 0.02, 0.01, 0, -0.01, 0.01]
    assert st.annual_sharpe(monthly, risk_free=0.005, periods=12) == pytest.approx(0.987483, abs=1e-6)


def test_sharpe_of_a_constant_series_is_nan_not_infinite() -> None:
    assert math.isnan(st.sharpe_ratio([0.01] * 50))
    assert math.isnan(st.sharpe_ratio([0.01]))
    assert math.isnan(st.performance(pd.Series([100.0] * 30)).sharpe)


def test_drawdown_depths_and_concentration() -> None:
    assert st.drawdown_depths([100, 110, 90, 100, 120, 130, 100, 120, 140, 130]) == [20, 30, 10]
    assert st.drawdown_depths([1, 2, 3]) == []
    assert st.concentration([-1, 1, 1, 0, 0, 3, 0, 2, -2, 0]) == pytest.approx(1.27777, abs=1e-5)
    assert st.concentration([5.0] * 8) == pytest.approx(0.0, abs=1e-12)


def test_performance_agrees_with_pandas() -> None:
    rng = np.random.default_rng(3)
    equity = pd.Series(100_000 * np.cumprod(1 + rng.normal(0.0005, 0.01, 500)))
    result, returns = st.performance(equity, trials=20), equity.pct_change().dropna()
    assert result.sharpe == pytest.approx(returns.mean() / returns.std() * math.sqrt(252))
    assert result.max_drawdown == pytest.approx((equity / equity.expanding().max() - 1).min())
    assert result.annual_return == pytest.approx((1 + result.total_return) ** (252 / 499) - 1)
    # pandas gives bias-corrected moments; ours are the population ones the papers use
    assert result.skew == pytest.approx(float(((returns - returns.mean()) ** 3).mean() / returns.std(ddof=0) ** 3))
    assert result.kurtosis == pytest.approx(float(((returns - returns.mean()) ** 4).mean() / returns.std(ddof=0) ** 4))
    assert result.dsr < result.psr


def test_more_trials_deflate_more() -> None:
    dsr = [st.deflated_sharpe(0.1, 500, n, 1 / 499) for n in (1, 2, 10, 100, 1000)]
    assert dsr == sorted(dsr, reverse=True)
    assert dsr[0] == st.probabilistic_sharpe(0.1, 0.0, 500)


def test_turnover_counts_both_sides() -> None:
    equity = pd.Series([100.0] * 253)
    assert st.turnover(200.0, equity) == pytest.approx(2.0)
