"""What is learned beside the trees: the kind of calibration, the bounds, the baseline."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from alphatrade_pipelines.models import ModelDataError
from alphatrade_pipelines.models.baseline import PENALTIES, LogisticBaseline, choose_penalty
from alphatrade_pipelines.models.fitting import CalibrationConfig, OutOfFold, calibrate, choose_kind
from alphatrade_pipelines.models.venn_abers import CrossVennAbers
from tests.models.makers import daily_index


def seen(score: np.ndarray, y: np.ndarray, life: int = 1) -> OutOfFold:
    """Out-of-fold scores of one symbol whose labels live ``life`` days."""
    index = daily_index(["A"], len(y), "1950-01-02 14:30")
    t1 = pd.Series(index.get_level_values("timestamp") + life * pd.offsets.BDay(), index=index)
    return OutOfFold(score, np.arange(len(y)) * 5 // len(y), y, np.ones(len(y)), t1)


def outcomes(score: np.ndarray, truth: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(score)) < truth).astype(float)


def test_beta_stays_where_nothing_is_better() -> None:
    chosen = []
    for seed in range(20):
        score = np.random.default_rng(seed).beta(4, 4, 1500)
        kind, losses = choose_kind(seen(score, outcomes(score, score, seed)), CalibrationConfig(), 5)
        chosen.append(kind)
        assert set(losses) == {"beta", "platt"}  # isotonic needs 5,000 independent outcomes
        assert kind == "beta" or losses["beta"] - losses["platt"] > 1.5 / 1500
    assert chosen.count("beta") >= 14  # the truth is a Platt map: now and then that shows


def test_isotonic_is_chosen_for_a_staircase_with_evidence_enough() -> None:
    score = np.random.default_rng(1).uniform(0.05, 0.95, 9000)
    truth = np.where(score < 0.3, 0.1, np.where(score < 0.7, 0.15, 0.9))
    kind, losses = choose_kind(seen(score, outcomes(score, truth)), CalibrationConfig(), 5)
    assert kind == "isotonic"
    assert losses["isotonic"] < losses["beta"] - 0.02
    few, _ = choose_kind(seen(score[:6000], outcomes(score[:6000], truth[:6000])), CalibrationConfig(), 5)
    assert few == "beta"  # 6,000 rows leave 4,800 to fit on


def test_the_comparison_is_purged_and_never_judges_on_what_it_fitted() -> None:
    """Noise scores: a map judged on its own rows would always look better the freer it is; purged, isotonic pays for its freedom."""
    rng = np.random.default_rng(3)
    score = rng.uniform(0.3, 0.7, 8000)
    _, losses = choose_kind(seen(score, outcomes(score, np.full(8000, 0.5))), CalibrationConfig(), 5)
    assert losses["isotonic"] > losses["beta"]
    assert losses["beta"] >= np.log(2) - 1e-3


def test_one_class_in_a_block_leaves_the_default() -> None:
    score = np.random.default_rng(0).uniform(0.2, 0.8, 100)
    y = np.r_[np.zeros(85), np.ones(15)]
    assert choose_kind(seen(score, y), CalibrationConfig(), 0) == ("beta", {})


def test_kinds_and_bounds_as_configured() -> None:
    score = np.random.default_rng(1).beta(4, 4, 1000)
    given = seen(score, outcomes(score, score))
    assert calibrate(given, CalibrationConfig(kind="platt"), 5).map.kind == "platt"
    cross = calibrate(given, CalibrationConfig(bounds="cross"), 5).bounds
    assert isinstance(cross, CrossVennAbers)
    assert len(cross.parts) == 5
    with pytest.raises(ModelDataError, match="5000 independent"):
        calibrate(given, CalibrationConfig(kind="isotonic"), 5)
    for wrong in ({"kind": "spline"}, {"bounds": "none"}, {"candidates": ("platt",)}, {"blocks": 1}):
        with pytest.raises(ModelDataError):
            CalibrationConfig(**wrong)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_baseline_equals_sklearn(penalty: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 5)) * [1, 10, 1e-6, 1e6, 1] + [0, 100, 0, 0, -3]
    y = (rng.random(1500) < 1 / (1 + np.exp(-(X[:, 0] + 0.1 * (X[:, 1] - 100))))).astype(float)
    w = rng.uniform(0.1, 1.0, 1500)
    ours = LogisticBaseline.fit(X, y, w, penalty)
    mean = np.average(X, axis=0, weights=w)
    scale = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=w))
    Z = np.clip((X - mean) / scale, -5, 5)
    other = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=1000).fit(Z, y, sample_weight=w)
    np.testing.assert_allclose(ours.coef, other.coef_[0], atol=1e-5)
    np.testing.assert_allclose(ours.predict(X), other.predict_proba(Z)[:, 1], atol=1e-5)
    again = LogisticBaseline.from_dict(json.loads(json.dumps(ours.to_dict())))
    np.testing.assert_array_equal(again.predict(X), ours.predict(X))


def test_baseline_uses_frozen_statistics_and_stays_inside_the_unit_interval() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=400), np.full(400, 3.0)])
    y = (X[:, 0] > 0).astype(float)
    fitted = LogisticBaseline.fit(X, y, np.ones(400), 1.0)
    far = fitted.predict(np.array([[1e9, 3.0], [-1e9, 3.0], [5 * fitted.scale[0] + fitted.mean[0], -1e9]]))
    assert ((far > 0) & (far < 1)).all()
    assert far[0] == pytest.approx(far[2])
    shifted = fitted.predict(X + [1.0, 0.0])
    assert shifted.mean() > fitted.predict(X).mean()  # a batch is not centred on itself
    for X_bad, y_bad in ((np.where(X > 2, np.nan, X), y), (X, np.ones(400))):
        with pytest.raises(ModelDataError):
            LogisticBaseline.fit(X_bad, y_bad, np.ones(400), 1.0)


def test_noise_asks_for_the_strongest_penalty() -> None:
    rng = np.random.default_rng(2)
    X, w = rng.normal(size=(600, 40)), np.ones(600)
    halves = [(np.arange(300), np.arange(300, 600)), (np.arange(300, 600), np.arange(300))]
    assert choose_penalty(X, (rng.random(600) < 0.5).astype(float), w, halves) == 1000.0
    assert choose_penalty(X, (rng.random(600) < 1 / (1 + np.exp(-2 * X[:, 0]))).astype(float), w, halves) < 1000.0
