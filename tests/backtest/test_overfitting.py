"""PBO against a brute-force reading of the paper and its invariants; clusters of planted trials; paths."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, rankdata

from alphatrade_pipelines.backtest import overfitting as of
from alphatrade_pipelines.backtest import statistics as st


def brute_force(values: np.ndarray, groups: int) -> tuple[float, list[float]]:
    """CSCV as the paper writes it, with nothing precomputed."""
    blocks = np.split(values, groups)
    logits = []
    for chosen in combinations(range(groups), groups // 2):
        sample = np.concatenate([blocks[g] for g in chosen])
        test = np.concatenate([blocks[g] for g in range(groups) if g not in chosen])
        inside = sample.mean(axis=0) / sample.std(axis=0, ddof=1)
        outside = test.mean(axis=0) / test.std(axis=0, ddof=1)
        share = rankdata(outside)[np.argmax(inside)] / (values.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return float(np.mean([logit <= 0 for logit in logits])), logits


@pytest.mark.parametrize(("groups", "columns", "seed"), [(2, 3, 0), (4, 5, 1), (6, 8, 2), (8, 7, 3)])
def test_pbo_equals_brute_force(groups: int, columns: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.02, 1.0, (groups * 15, columns)) + np.linspace(0, 0.2, columns)
    report = of.backtest_overfitting(values, groups)
    pbo, logits = brute_force(values, groups)
    assert report.pbo == pbo
    np.testing.assert_allclose(report.logits, logits, atol=1e-9)
    assert report.combinations == math.comb(groups, groups // 2)


def test_a_column_that_dominates_every_row_is_never_overfitted() -> None:
    values = np.random.default_rng(0).normal(0, 1, (160, 10))
    values[:, 4] = values.max(axis=1) + 0.5
    report = of.backtest_overfitting(values, 16)
    assert (report.pbo, report.loss) == (0.0, 0.0)


def test_ranks_that_reverse_between_halves_are_wholly_overfitted() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (200, 6))
    step = np.arange(6) - 2.5
    values = noise + np.where(np.arange(200)[:, None] < 100, step, -step)
    report = of.backtest_overfitting(values, 2)
    assert (report.pbo, report.loss, report.combinations) == (1.0, 1.0, 2)


def test_noise_gives_a_half_on_average_and_fast() -> None:
    of.backtest_overfitting(np.random.default_rng(0).normal(size=(64, 3)), 4)  # compiled
    found, began = [], time.perf_counter()
    for seed in range(20):
        report = of.backtest_overfitting(np.random.default_rng(seed).normal(size=(1000, 50)), 16)
        assert report.combinations == 12_870
        assert report.rows == 992
        found.append(report.pbo)
    assert (time.perf_counter() - began) / 20 < 2.0
    # the sd of one PBO under noise is about 0.2
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)
    assert np.std(found) > 0.02


def test_a_far_mean_costs_no_digits_and_ties_rank_in_the_middle() -> None:
    values = np.random.default_rng(3).normal(size=(80, 4))
    near, far = of.backtest_overfitting(values + 1.0, 4), of.backtest_overfitting((values + 1.0) * 1e-6, 4)
    np.testing.assert_allclose(near.logits, far.logits, atol=1e-9)
    twins = np.repeat(values[:, :1], 3, axis=1)
    np.testing.assert_allclose(of.backtest_overfitting(twins, 4).logits, 0.0, atol=1e-12)
    assert of.backtest_overfitting(np.zeros((80, 3)), 4).loss == 0.0


@pytest.mark.parametrize(
    ("values", "groups", "message"),
    [
        (np.zeros((100, 1)), 4, "two configurations"),
        (np.zeros((100, 3)), 5, "even number"),
        (np.zeros((7, 3)), 4, "at least two rows"),
        (np.full((100, 3), np.nan), 4, "NaN"),
    ],
)
def test_pbo_refuses(values: np.ndarray, groups: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        of.backtest_overfitting(values, groups)


def trials(groups: int, size: int, within: float, sessions: int = 750, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(sessions, groups))
    own = rng.normal(size=(sessions, groups * size))
    mixed = math.sqrt(within) * np.repeat(common, size, axis=1) + math.sqrt(1 - within) * own
    return pd.DataFrame(mixed * 0.01, index=pd.date_range("2020-01-01", periods=sessions, freq="B", tz="UTC"))


def test_planted_clusters_are_found_and_counted() -> None:
    found = of.effective_trials(trials(5, 12, 0.98))
    assert (found.count, found.clusters) == (60, 5)
    assert 5 <= found.effective <= 8


def test_the_same_model_retrained_nightly_is_hardly_more_than_one_trial() -> None:
    found = of.effective_trials(trials(1, 100, 0.99))
    assert found.clusters == 1
    assert 1 <= found.effective <= 3


def test_independent_trials_all_count() -> None:
    found = of.effective_trials(trials(40, 1, 0.0))
    assert found.effective >= 38


def test_few_trials_and_trials_without_a_series_each_count() -> None:
    series = trials(1, 3, 0.999)
    assert of.effective_trials(series, unknown=4).effective == 7
    assert of.effective_trials(series, unknown=4, repeats=9) == replace(of.effective_trials(series, unknown=4), count=16)
    assert of.effective_trials(pd.DataFrame(), 2, 3).count == 5
    assert of.effective_trials(pd.DataFrame(), unknown=2) == of.EffectiveTrials(2, 2, 2, pytest.approx(math.nan, nan_ok=True))
    more = trials(2, 10, 0.99)
    assert of.effective_trials(more, unknown=5).effective == of.effective_trials(more).effective + 5
    assert of.effective_trials(more, 5, 3) == replace(of.effective_trials(more, 5), count=28)


def test_the_variance_of_trials_never_falls_below_sampling_noise() -> None:
    alike = trials(1, 30, 0.999)
    assert of.effective_trials(alike).variance == pytest.approx(1 / 749)
    spread = trials(4, 5, 0.99)
    for k in range(4):
        spread.iloc[:, k * 5 : k * 5 + 5] += 0.004 * (k - 1.5)
    assert of.effective_trials(spread).variance > 0.05


def test_trials_of_other_times_are_not_called_alike() -> None:
    series = trials(1, 8, 0.99)
    series.iloc[:400, :4] = np.nan
    series.iloc[370:, 4:] = np.nan
    assert of.effective_trials(series).clusters == 2


def test_silhouette_agrees_with_sklearn() -> None:
    from sklearn.metrics import silhouette_score

    correlation = of.trial_correlation(trials(3, 4, 0.7))
    distance = np.sqrt((1 - correlation) / 2)
    for labels in (np.repeat([0, 1, 2], 4), np.array([0] * 11 + [1]), np.arange(12) % 5):
        assert of.silhouette(distance, labels) == pytest.approx(silhouette_score(distance, labels, metric="precomputed"))


def test_paths() -> None:
    returns = pd.DataFrame(np.random.default_rng(0).normal(0.05, 1, (500, 5)))
    returns[5] = 0.0
    report = of.path_distribution(returns)
    assert report.sharpes[:5] == pytest.approx([st.sharpe_ratio(returns[k]) for k in range(5)])
    assert report.sharpes[5] == 0.0
    assert (report.mean, report.lowest) == (pytest.approx(report.sharpes.mean()), report.sharpes.min())
    with pytest.raises(ValueError, match="at least one path"):
        of.path_distribution(pd.DataFrame())


def test_the_z_of_the_probabilistic_sharpe_ratio() -> None:
    assert norm.ppf(st.probabilistic_sharpe(1.5, 1.0, 100)) == pytest.approx(3.4127787539671264, abs=1e-9)
