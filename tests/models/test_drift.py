"""Drift and staleness: known shifts are found, stable data are left alone at the stated rate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from statsmodels.stats.multitest import multipletests

from alphatrade_pipelines.models import ModelDataError, age_staleness, feature_drift, score_staleness
from alphatrade_pipelines.models.drift import benjamini_hochberg, drift_reference, effective_rows, ks_distance
from tests.models.makers import daily_index


def independent(n: int, columns: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(n, columns)), index=daily_index(["A"], n), columns=[f"f{k}" for k in range(columns)])


def test_shift_and_scale_are_found_and_the_rest_is_left_alone() -> None:
    reference = drift_reference(independent(3000, 8, 0))
    recent = independent(400, 8, 1)
    recent["f2"] += 0.5
    recent["f5"] *= 2.5
    report = feature_drift(reference, recent)
    assert report.drifted == ["f2", "f5"]
    assert report.table.loc["f2", "shift"] == pytest.approx(0.5, abs=0.15)
    assert (report.table.loc[["f2", "f5"], "psi"] > report.table.loc[["f2", "f5"], "psi_threshold"]).all()


def test_false_alarms_and_the_null_of_psi() -> None:
    reference = drift_reference(independent(5000, 10, 0))
    alarms, above = 0, []
    for seed in range(1, 41):
        report = feature_drift(reference, independent(300, 10, seed))
        alarms += bool(report.drifted)
        above += (report.table["psi"] > report.table["psi_threshold"]).tolist()
    assert alarms <= 4
    assert np.mean(above) == pytest.approx(0.05, abs=0.03)


def test_a_feature_that_went_missing_is_drift() -> None:
    reference = drift_reference(independent(500, 2, 0))
    gone = feature_drift(reference, independent(100, 2, 1).assign(f1=np.nan))
    assert gone.drifted == ["f1"]
    holes = independent(100, 2, 1)
    holes.iloc[::5, 0] = np.nan
    assert "f0" in feature_drift(reference, holes).drifted


def test_autocorrelated_rows_count_less() -> None:
    rng = np.random.default_rng(0)
    walk = np.zeros(4000)
    for t in range(1, 4000):
        walk[t] = 0.9 * walk[t - 1] + rng.normal()
    series = pd.Series(walk, index=daily_index(["A"], 4000))
    assert effective_rows(series) == pytest.approx(4000 * 0.1 / 1.9, rel=0.25)
    assert effective_rows(pd.Series(rng.normal(size=4000), index=series.index)) > 3700
    assert effective_rows(pd.Series(1.0, index=series.index)) == 1.0


def test_ks_distance_against_scipy() -> None:
    reference, recent = independent(2000, 1, 0)["f0"], independent(300, 1, 1)["f0"] + 0.3
    quantiles = np.quantile(reference, np.linspace(0, 1, 101))
    assert ks_distance(quantiles, np.sort(recent.to_numpy())) == pytest.approx(ks_2samp(reference, recent).statistic, abs=0.012)
    ties = np.repeat([0.0, 1.0, 2.0], [50, 30, 21])
    assert ks_distance(ties, np.repeat([0.0, 1.0, 2.0], [50, 30, 20])) < 0.02


def test_benjamini_hochberg_equals_statsmodels() -> None:
    p = np.array([0.001, 0.02, 0.04, 0.3, 0.5, 0.008, 0.15])
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


def test_bad_drift_input() -> None:
    reference = drift_reference(independent(500, 2, 0))
    with pytest.raises(ModelDataError, match="no f1"):
        feature_drift(reference, independent(100, 1, 1))
    with pytest.raises(ModelDataError, match="at least 20"):
        feature_drift(reference, independent(10, 2, 1))
    with pytest.raises(ModelDataError, match="feature f0"):
        drift_reference(independent(50, 1, 0) * np.nan)


def test_age() -> None:
    trained = datetime(2024, 1, 1, tzinfo=UTC)
    assert not age_staleness(trained, trained + timedelta(days=30)).stale
    assert age_staleness(trained, trained + timedelta(days=30, seconds=1)).stale
    with pytest.raises(ModelDataError, match="aware"):
        age_staleness(trained.replace(tzinfo=None), trained)


def resolved(truth: np.ndarray, claimed: np.ndarray, seed: int, life: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = daily_index(["A"], len(truth))
    times = index.get_level_values("timestamp")
    return pd.DataFrame(
        {"t1": times + life * pd.offsets.BDay(), "label": (rng.random(len(truth)) < truth).astype(int), "probability": claimed}, index=index
    )


def test_a_right_model_is_called_stale_at_most_at_the_stated_rate() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for seed in range(250):
        p = rng.uniform(0.35, 0.65, 100)
        alarms += score_staleness(resolved(p, p, seed), 0.5, false_alarm_rate=0.05).stale
    assert alarms <= 0.05 * 250


def test_a_wrong_model_is_found() -> None:
    found = 0
    for seed in range(50):
        p = np.random.default_rng(seed).uniform(0.2, 0.8, 100)
        report = score_staleness(resolved(1 - p, p, seed), 0.5)
        found += report.stale
    assert found >= 45


def test_overlapping_predictions_are_dealt_into_runs() -> None:
    p = np.full(100, 0.6)
    alone = score_staleness(resolved(p, p, 0, life=1), 0.5)
    overlapping = score_staleness(resolved(p, p, 0, life=10), 0.5)
    assert (alone.runs, overlapping.runs) == (1, 10)
    assert alone.log_loss_gain == pytest.approx(overlapping.log_loss_gain)
    assert score_staleness(resolved(p, p, 0).iloc[:0], 0.5).evidence == 1.0
    assert score_staleness(resolved(p, p, 0), 0.5, last=40).resolved == 40
    with pytest.raises(ModelDataError, match="base rate"):
        score_staleness(resolved(p, p, 0), 1.0)
