"""Drift and staleness: known shifts are found, stable data are left alone at the stated rate."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from statsmodels.stats.multitest import multipletests

from alphatrade_pipelines.models import ModelDataError, age_staleness, feature_drift, score_staleness
from alphatrade_pipelines.models.dependence import dependence
from alphatrade_pipelines.models.drift import benjamini_hochberg, drift_reference, ks_distance
from alphatrade_pipelines.models.staleness import evidence_path
from alphatrade_pipelines.models.volume_feed import as_before, find_volume_feed_change
from tests.models.makers import daily_index


def independent(n: int, columns: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(n, columns)), index=daily_index(["A"], n), columns=[f"f{k}" for k in range(columns)])


def panel(sessions: int, symbols: int, seed: int, memory: float = 0.0, common: float = 0.0, columns: int = 1) -> pd.DataFrame:
    """Stationary features of unit variance: first-order autocorrelation ``memory``, correlation ``common`` between symbols."""
    rng = np.random.default_rng(seed)
    noise = np.sqrt(common) * rng.normal(size=(sessions, 1, columns)) + np.sqrt(1 - common) * rng.normal(size=(sessions, symbols, columns))
    values = noise.copy()
    for t in range(1, sessions):
        values[t] = memory * values[t - 1] + np.sqrt(1 - memory**2) * noise[t]
    index = daily_index([f"S{k}" for k in range(symbols)], sessions)
    return pd.DataFrame(values.transpose(1, 0, 2).reshape(-1, columns), index=index, columns=[f"f{k}" for k in range(columns)])


def reference_of(features: pd.DataFrame) -> dict[str, Any]:
    return json.loads(json.dumps(drift_reference(features, 0.5 + 0.1 * features.iloc[:, 0].clip(-3, 3))))


def test_shift_and_scale_are_found_and_the_rest_is_left_alone() -> None:
    reference = reference_of(independent(3000, 8, 0))
    recent = independent(400, 8, 1)
    recent["f2"] += 0.5
    recent["f5"] *= 2.5
    report = feature_drift(reference, recent)
    assert report.drifted == ["f2", "f5"]
    assert report.share == 0.25
    assert report.table.loc["f2", "shift"] == pytest.approx(0.5, abs=0.15)
    assert (report.table.loc[["f2", "f5"], "psi"] > report.table.loc[["f2", "f5"], "psi_threshold"]).all()


def test_false_alarms_and_the_null_of_psi() -> None:
    reference = reference_of(independent(5000, 10, 0))
    alarms, above = 0, []
    for seed in range(1, 41):
        report = feature_drift(reference, independent(300, 10, seed))
        alarms += bool(report.drifted)
        above += (report.table["psi"] > report.table["psi_threshold"]).tolist()
    assert alarms <= 4
    assert np.mean(above) == pytest.approx(0.05, abs=0.03)


def test_slow_features_of_symbols_under_one_market_raise_no_false_alarms() -> None:
    """Twenty symbols that share a market, with a memory of weeks: rows taken as independent would be called drifted all the time."""
    shape = {"memory": 0.9, "common": 0.5, "columns": 10}
    reference = reference_of(panel(1500, 20, 0, **shape))
    naive, told = 0, 0
    for seed in range(1, 31):
        recent = panel(60, 20, seed, **shape)
        told += bool(feature_drift(reference, recent).drifted)
        naive += ks_2samp(recent["f0"], panel(1500, 20, 0, **shape)["f0"]).pvalue < 0.05 if seed <= 5 else 0
    assert told <= 3
    assert naive >= 4, "the test must be able to fail"


def test_what_cannot_be_tested_counts_only_beyond_everything_training_saw() -> None:
    """A walk of two years' memory: sixty days of it hold one value, wherever they lie; far outside it needs no test."""
    slow = panel(2500, 2, 0, memory=0.998, columns=2)
    reference = reference_of(slow)
    inside, outside = slow.groupby(level="symbol").tail(60), slow.groupby(level="symbol").tail(60) + 10 * slow.std()
    assert feature_drift(reference, inside).drifted == []
    assert feature_drift(reference, inside).share == 0.0
    assert sorted(feature_drift(reference, outside).drifted) == ["f0", "f1"]
    assert feature_drift(reference, outside).share == 1.0


def test_a_feature_that_went_missing_is_drift() -> None:
    reference = reference_of(independent(500, 2, 0))
    gone = feature_drift(reference, independent(100, 2, 1).assign(f1=np.nan))
    assert gone.drifted == ["f1"]
    holes = independent(100, 2, 1)
    holes.iloc[::5, 0] = np.nan
    assert "f0" in feature_drift(reference, holes).drifted


def test_what_neighbours_and_symbols_repeat_is_measured() -> None:
    slow = dependence(panel(6000, 4, 0, memory=0.9)["f0"])
    assert slow.time == pytest.approx(1.9 / 0.1, rel=0.2)  # (1 + r) / (1 - r)
    assert slow.symbols == pytest.approx(4.0, rel=0.1)
    fresh = dependence(panel(6000, 20, 0, common=0.3)["f0"])
    assert fresh.time == pytest.approx(1.0, abs=0.1)
    assert fresh.symbols == pytest.approx(20 / (1 + 19 * 0.3), rel=0.1)
    window = dependence(panel(6000, 1, 0)["f0"].rolling(21).mean().dropna())
    assert window.time == pytest.approx(21.0, rel=0.2)  # a triangle of width 21 on both sides
    same = pd.Series(1.0, index=daily_index(["A", "B"], 100))
    assert (dependence(same).time, dependence(same).symbols) == (100.0, 1.0)
    assert dependence(same).effective(60, 2) == 1.0
    assert slow.effective(0, 0) == 0.0


def test_holes_and_symbols_that_come_late_do_not_count_as_evidence() -> None:
    values = panel(2000, 3, 0)["f0"]
    values[values.index.get_level_values("symbol") == "S2"] = np.nan
    found = dependence(values)
    assert found.symbols == pytest.approx(2.0, rel=0.1)
    assert found.time == pytest.approx(1.0, abs=0.15)


def test_predictions_that_moved_are_told_beside_the_features() -> None:
    reference = reference_of(independent(3000, 2, 0))
    recent = independent(400, 2, 1)
    assert feature_drift(reference, recent).prediction is None
    as_before = feature_drift(reference, recent, 0.5 + 0.1 * recent["f0"].clip(-3, 3)).prediction
    surer = feature_drift(reference, recent, 0.6 + 0.1 * recent["f0"].clip(-3, 3)).prediction
    assert as_before is not None
    assert surer is not None
    assert not as_before["drifted"]
    assert surer["drifted"]
    assert surer["shift"] == pytest.approx(1.0, abs=0.2)


def test_occupancy_of_regimes_is_judged_by_how_long_regimes_last() -> None:
    rng = np.random.default_rng(0)

    def regimes(sessions: int, leave: float, seed: int, start: int = 0) -> pd.DataFrame:
        draw, state, path = np.random.default_rng(seed), start, []
        for _ in range(sessions):
            state = 1 - state if draw.random() < leave else state
            path.append(state)
        calm = np.clip(1.0 - np.array(path) + rng.normal(0, 0.01, sessions), 0, 1)
        index = daily_index(["A"], sessions)
        return pd.DataFrame({"regime_low_vol": calm, "regime_high_vol": 1.0 - calm}, index=index)

    reference = reference_of(regimes(4000, 0.02, 1))
    stormy = feature_drift(reference, regimes(60, 0.0, 2, start=1)).regimes
    assert stormy is not None
    assert stormy.loc["high", "recent"] > 0.98
    assert abs(stormy.loc["high", "z"]) < 3, "sixty days in one regime are normal where regimes last fifty"
    reference = reference_of(regimes(4000, 0.5, 1))
    odd = feature_drift(reference, regimes(60, 0.0, 2, start=1)).regimes
    assert odd is not None
    assert odd.loc["high", "z"] > 3, "where regimes last a day they are not"
    assert odd["recent"].sum() == pytest.approx(1.0)


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
    reference = reference_of(independent(500, 2, 0))
    with pytest.raises(ModelDataError, match="no f1"):
        feature_drift(reference, independent(100, 1, 1))
    with pytest.raises(ModelDataError, match="at least 20"):
        feature_drift(reference, independent(10, 2, 1))
    with pytest.raises(ModelDataError, match="feature f0"):
        reference_of(independent(50, 1, 0) * np.nan)


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
    """At a rate of 1/50 the mean run to a false alarm is at least 50 predictions, looking after every one of them."""
    runs = []
    for seed in range(120):
        p = np.random.default_rng(10_000 + seed).uniform(0.35, 0.65, 400)
        path = evidence_path(resolved(p, p, seed).sort_values("t1"), 0.5)
        crossed = np.flatnonzero(path >= 50)
        runs.append(int(crossed[0]) + 1 if len(crossed) else len(p))
    assert np.mean(runs) >= 50


def test_a_wrong_model_is_found() -> None:
    found = 0
    for seed in range(50):
        p = np.random.default_rng(10_000 + seed).uniform(0.2, 0.8, 100)
        found += score_staleness(resolved(1 - p, p, seed), 0.5).stale
    assert found >= 45


def test_a_model_that_goes_wrong_after_years_is_found_as_fast() -> None:
    late = []
    for seed in range(20):
        p = np.random.default_rng(10_000 + seed).uniform(0.2, 0.8, 1100)
        truth = np.r_[p[:1000], 1 - p[1000:]]
        rows = resolved(truth, p, seed).sort_values("t1")
        crossed = np.flatnonzero(evidence_path(rows, 0.5)[1000:] >= 1000)
        late.append(bool(len(crossed)))
    assert np.mean(late) >= 0.9


@pytest.mark.parametrize("truth", [lambda p: np.clip(p - 0.15, 0.01, 0.99), lambda p: 0.5 + 0.25 * (p - 0.5)], ids=["too high", "too sure"])
def test_probabilities_that_are_off_are_found(truth: Any) -> None:
    found = 0
    for seed in range(20):
        p = np.random.default_rng(10_000 + seed).uniform(0.1, 0.9, 600)
        found += score_staleness(resolved(truth(p), p, seed), 0.5).stale
    assert found >= 18


def test_overlapping_predictions_are_dealt_into_runs() -> None:
    p = np.full(100, 0.6)
    alone = score_staleness(resolved(p, p, 0, life=1), 0.5)
    overlapping = score_staleness(resolved(p, p, 0, life=10), 0.5)
    assert (alone.runs, overlapping.runs) == (1, 10)
    assert alone.log_loss_gain == pytest.approx(overlapping.log_loss_gain)
    assert not score_staleness(resolved(p, p, 0).iloc[:0], 0.5).stale
    with pytest.raises(ModelDataError, match="base rate"):
        score_staleness(resolved(p, p, 0), 1.0)


def traded(sessions: int, symbols: int, seed: int) -> pd.DataFrame:
    """Bars whose volume wanders, symbol by symbol and in common, as volume does."""
    rng = np.random.default_rng(seed)
    index = daily_index([f"S{k}" for k in range(symbols)], sessions)
    common = rng.normal(0, 0.25, sessions)
    level = np.concatenate([13 + k + common + rng.normal(0, 0.4, sessions) for k in range(symbols)])
    return pd.DataFrame({"close": 50.0, "volume": np.exp(level)}, index=index)


@pytest.mark.parametrize("factor", [0.03, 1 / 0.03])
def test_a_tick_of_the_volume_feed_is_recognised_for_what_it_is(factor: float) -> None:
    bars = traded(300, 5, 0)
    times = bars.index.get_level_values("timestamp")
    switch = times.unique().sort_values()[270]
    bars.loc[times >= switch, "volume"] *= factor
    found = find_volume_feed_change(bars)
    assert found is not None
    assert found.since == switch.floor("D")
    assert found.symbols == 5
    assert found.factor == pytest.approx(factor, rel=0.35)
    assert f"the volume feed changed on {switch.date()}" in str(found)
    mended = as_before(bars, found)
    assert find_volume_feed_change(mended) is None
    assert mended["close"].equals(bars["close"])


def test_markets_do_not_change_their_volume_feed() -> None:
    """Quiet summers, a doubling, one symbol in the news, a slow decline to a tenth: all the market's own."""
    assert all(find_volume_feed_change(traded(300, 5, seed)) is None for seed in range(10))
    times = (calm := traded(300, 5, 1)).index.get_level_values("timestamp")
    order = times.unique().sort_values()
    doubled = calm.copy()
    doubled.loc[times >= order[250], "volume"] *= 2.0
    news = calm.copy()
    news.loc[(news.index.get_level_values("symbol") == "S0") & (times >= order[250]), "volume"] *= 40.0
    fading = calm.copy()
    fading["volume"] *= np.exp(-2.3 * order.searchsorted(times) / len(order))
    for market in (doubled, news, fading, calm[calm.index.get_level_values("symbol") == "S0"]):
        assert find_volume_feed_change(market) is None
