"""Training on planted truth, on noise and on nonsense; reproducibility to the byte."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.models import ModelDataError, PayoffEstimate, TrainingResult, compare_predictions, evaluate_gate, train
from alphatrade_pipelines.models.labels import BarrierConfig
from alphatrade_pipelines.models.learner import LearnerConfig, balanced, fit_trees, model_bytes, scores, stage_counts, staged_scores
from alphatrade_pipelines.models.metrics import log_losses
from tests.models.conftest import CONFIG, PROVENANCE, STATE, SYMBOLS, train_planted
from tests.models.makers import planted, random_bars

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]


def test_finds_a_planted_edge_and_is_calibrated(trained: Trained) -> None:
    result, features, truth = trained
    m = result.metrics
    assert m["log_loss_gain"] > 3 * m["log_loss_gain_error"] > 0
    assert m["ece"] < m["ece_noise_95"]
    assert m["reproducible"] == 1.0
    assert result.importance.index[0] == "f0"
    predicted = result.bundle.predict(features)
    assert np.corrcoef(predicted["probability"], truth)[0, 1] > 0.95
    assert (predicted["lower"] <= predicted["probability"]).all()
    assert (predicted["probability"] <= predicted["upper"]).all()
    assert evaluate_gate({**m, "no_look_ahead": 1.0}, "paper").passed


def test_every_label_is_predicted_once_out_of_fold(trained: Trained) -> None:
    result, features, _ = trained
    assert result.oof.index.equals(features.index)
    assert not result.oof.isna().any().any()
    assert result.folds["rows"].sum() == len(features)
    own = log_losses(result.oof["label"].to_numpy(float), result.oof["probability"].to_numpy(float)).mean()
    assert result.metrics["log_loss"] == pytest.approx(own)


def test_noise_gains_nothing_beyond_noise() -> None:
    gains = []
    for seed in range(4):
        result, _, _ = train_planted(edge=0.0, n=250, seed=seed)
        gains.append(result.metrics["log_loss_gain"] / result.metrics["log_loss_gain_error"])
        assert not evaluate_gate({**result.metrics, "no_look_ahead": 1.0}, "live").passed
    assert max(gains) < 2.5
    assert min(gains) > -3.5


def test_test_rows_decide_nothing(trained: Trained) -> None:
    """Turning the labels of the last fold around must not change how any of its rows is predicted."""
    result, features, _ = trained
    _, labels, _ = planted(SYMBOLS, 400, 1.0)
    last = result.oof.index[result.oof["fold"] == 4]
    turned = labels.copy()
    turned.loc[last, "label"] = 1 - turned.loc[last, "label"]
    turned.loc[last, "ret"] = -turned.loc[last, "ret"]
    again = train(features, turned, STATE, CONFIG, bars=random_bars(SYMBOLS, 400), provenance=PROVENANCE)
    columns = ["score", "base_rate"]
    # weights are scaled by one number for the whole sample (effective size), which may move the calibration by a hair
    pd.testing.assert_frame_equal(again.oof.loc[last, columns], result.oof.loc[last, columns], rtol=1e-12)
    np.testing.assert_allclose(again.oof.loc[last, "probability"], result.oof.loc[last, "probability"], atol=5e-3)


def test_equal_input_equal_bundle(trained: Trained) -> None:
    result, _, _ = trained
    again, _, _ = train_planted()
    assert again.bundle.files == result.bundle.files
    assert again.bundle.content_hash == result.bundle.content_hash
    other, _, _ = train_planted(seed=1)
    assert other.bundle.content_hash != result.bundle.content_hash


def test_fold_features_are_used_and_see_training_times_only() -> None:
    features, labels, _ = planted(SYMBOLS, 300, 1.0)
    asked: list[pd.DatetimeIndex] = []

    def centred(times: pd.DatetimeIndex) -> pd.DataFrame:
        asked.append(times)
        fitted = features[features.index.get_level_values("timestamp").isin(times)]
        return (features - fitted.mean()) / fitted.std()

    result = train(features, labels, STATE, CONFIG, bars=random_bars(SYMBOLS, 300), provenance=PROVENANCE, fold_features=centred)
    assert len(asked) == 5
    for fold, times in enumerate(asked):
        tested = result.oof.index[result.oof["fold"] == fold].get_level_values("timestamp")
        assert not times.isin(tested).any()
    with pytest.raises(ModelDataError, match="NaN in f1"):
        train(
            features,
            labels,
            STATE,
            CONFIG,
            bars=random_bars(SYMBOLS, 300),
            provenance=PROVENANCE,
            fold_features=lambda _times: features.assign(f1=np.nan),
        )


def test_rows_in_warm_up_are_left_out() -> None:
    features, labels, _ = planted(SYMBOLS, 300, 1.0)
    features.iloc[:50, 1] = np.nan
    result = train(features, labels, STATE, CONFIG, bars=random_bars(SYMBOLS, 300), provenance=PROVENANCE)
    assert len(result.oof) == 850


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, y: (f.iloc[:300], y.iloc[:300]), "at least 500 labels"),
        (lambda f, y: (f, y.assign(label=1)), "all 1"),
        (lambda f, y: (f, y.assign(label=y["label"].where(y["label"] == 1))), "NaN or other values"),
        (lambda f, y: (f, y.assign(t1=pd.NaT)), "NaN or other values"),
        (lambda f, y: (f.iloc[5:], y), "none for 5 labels"),
        (lambda f, y: (f.drop(columns="f2"), y), "no f2"),
        (lambda f, y: (f.assign(f1=np.nan), y), "only NaN in f1"),
        (lambda f, y: (f.assign(f1=f["f1"].where(f["f0"] < -1)), y), "feature with most gaps: f1"),
        (lambda f, y: (f.assign(f1=f["f1"].where(f["f0"] < 2, np.inf)), y), "inf in f1 at .* such values"),
        (lambda f, y: (f.assign(f0=1.0, f1=2.0, f2=3.0), y), "constant features only"),
        (lambda f, y: (f.iloc[:20], y.iloc[:20]), "found 20 of 20 labels"),
        (lambda f, y: (f, y.assign(label=np.where(np.arange(len(y)) % 400 < 330, 0, 1))), "in fold"),
    ],
)
def test_bad_input(change, message: str) -> None:  # type: ignore[no-untyped-def]
    features, labels, _ = planted(SYMBOLS, 400, 1.0)
    features, labels = change(features, labels)
    with pytest.raises(ModelDataError, match=message):
        train(features, labels, STATE, CONFIG, bars=random_bars(SYMBOLS, 400), provenance=PROVENANCE)


def test_twenty_events_are_refused_in_words_even_when_allowed_in_number() -> None:
    features, labels, _ = planted(SYMBOLS[:1], 20, 1.0)
    config = replace(CONFIG, min_rows=20)
    with pytest.raises(ModelDataError, match="in fold"):
        train(features, labels, STATE, config, bars=random_bars(SYMBOLS[:1], 20), provenance=PROVENANCE)


def test_a_fold_that_purging_leaves_without_rows_is_named() -> None:
    features, labels, _ = planted(SYMBOLS, 200, 1.0, horizon=90)
    with pytest.raises(ModelDataError, match=r"in fold \d of 5: none left after purging"):
        train(features, labels, STATE, CONFIG, bars=random_bars(SYMBOLS, 200), provenance=PROVENANCE)


def test_an_empty_feature_is_left_out_when_that_is_asked_for_and_a_constant_one_does_no_harm() -> None:
    features, labels, _ = planted(SYMBOLS, 250, 1.0)
    given = features.assign(f1=np.nan, f2=7.0)
    config = replace(CONFIG, drop_empty_features=True)
    result = train(given, labels, STATE, config, bars=random_bars(SYMBOLS, 250), provenance=PROVENANCE)
    assert result.bundle.feature_names == ["f0", "f2"]
    assert result.bundle.manifest["dropped_features"] == ["f1"]
    assert result.metrics["log_loss_gain"] > 0
    assert result.bundle.baseline.coef[1] == 0.0
    changed = result.bundle.predict(given.assign(f2=9.0))
    pd.testing.assert_frame_equal(changed, result.bundle.predict(given))
    assert result.bundle.baseline.predict(np.array([[0.3, 7.0]])) == result.bundle.baseline.predict(np.array([[0.3, 1e9]]))


def test_the_baseline_stands_beside_the_trees(trained: Trained) -> None:
    """Truth here is a straight line, so the baseline wins; where it is a kink, the trees do; both are reported out of fold."""
    result, features, truth = trained
    m = result.metrics
    assert 0 < m["logit_log_loss"] < m["base_log_loss"]
    assert m["logit_gain"] == pytest.approx(m["logit_log_loss"] - m["log_loss"])
    assert m["logit_gain"] < m["logit_gain_error"]
    assert np.corrcoef(result.bundle.baseline.predict(features.to_numpy()), truth)[0, 1] > 0.99
    rng = np.random.default_rng(0)
    kinked = (rng.random(len(features)) < 1 / (1 + np.exp(-3 * (features["f0"].abs() - 0.8)))).astype(int)
    labels = planted(SYMBOLS, 400, 1.0)[1]
    bent = labels.assign(label=kinked, ret=np.where(kinked == 1, 0.03, -0.02))
    other = train(features, bent, STATE, CONFIG, bars=random_bars(SYMBOLS, 400), provenance=PROVENANCE)
    assert other.metrics["logit_gain"] > 3 * other.metrics["logit_gain_error"]


def test_monotone_features_only_rise_or_fall() -> None:
    features, labels, _ = planted(SYMBOLS, 300, 1.0)
    X, y = features.to_numpy(), labels["label"].to_numpy(float)
    names = list(features.columns)
    grid = np.repeat(X[:200], 41, axis=0)
    grid[:, 1] = np.tile(np.linspace(-3, 3, 41), 200)

    def steps(monotone: tuple[tuple[str, int], ...]) -> np.ndarray:
        model = fit_trees(X, y, np.ones(len(y)), 40, LearnerConfig(iterations=40, monotone=monotone), names)
        return np.diff(scores(model, grid).reshape(200, 41), axis=1)

    assert steps(()).min() < 0 < steps(()).max()
    assert steps((("f1", 1),)).min() >= 0
    assert steps((("f1", -1),)).max() <= 0
    with pytest.raises(ModelDataError, match="momentum"):
        steps((("momentum", 1),))
    with pytest.raises(ModelDataError, match="once each"):
        LearnerConfig(monotone=(("f1", 1), ("f1", -1)))


def test_the_number_of_threads_leaves_no_trace_below_one_block() -> None:
    features, labels, _ = planted(SYMBOLS, 400, 1.0)
    X, y = features.to_numpy(), labels["label"].to_numpy(float)
    blobs = {model_bytes(fit_trees(X, y, np.ones(len(y)), 40, LearnerConfig(iterations=40, threads=n))) for n in (1, 2, 3)}
    assert len(blobs) == 1


def test_balanced_weights() -> None:
    y, w = np.array([1.0, 0, 0, 0]), np.array([2.0, 1, 1, 1])
    result = balanced(y, w)
    assert result[y == 1].sum() == pytest.approx(result[y == 0].sum())
    assert result.mean() == pytest.approx(1.0)


def test_staged_scores_end_where_the_model_ends() -> None:
    features, labels, _ = planted(SYMBOLS, 200, 1.0)
    X, y = features.to_numpy(), labels["label"].to_numpy(float)
    config = LearnerConfig(iterations=25, stage=10)
    model = fit_trees(X, y, np.ones(len(y)), 25, config)
    staged = staged_scores(model, X, config)
    assert len(staged) == len(stage_counts(config)) == 3
    np.testing.assert_allclose(staged[-1], scores(model, X), atol=1e-12)
    shorter = fit_trees(X, y, np.ones(len(y)), 10, config)
    np.testing.assert_allclose(staged[0], scores(shorter, X), atol=1e-12)


def test_payoff_by_hand() -> None:
    _, labels, _ = planted(SYMBOLS, 300, 0.5)
    payoff = PayoffEstimate.from_labels(labels, BarrierConfig())
    won = labels["label"] == 1
    assert payoff.mean_win == pytest.approx(labels["ret"][won].mean() / 0.02)
    assert payoff.payoff == pytest.approx(-labels["ret"][won].mean() / labels["ret"][~won].mean())
    assert payoff.break_even == pytest.approx(1 / (1 + payoff.payoff))
    assert PayoffEstimate.from_dict(payoff.to_dict()) == payoff
    assert payoff.barrier == BarrierConfig()
    with pytest.raises(ModelDataError, match="won and lost"):
        PayoffEstimate.from_labels(labels[won], BarrierConfig())


def test_payoff_error_is_the_spread_over_repeated_markets() -> None:
    rng = np.random.default_rng(0)
    _, labels, _ = planted(SYMBOLS, 300, 0.0)
    estimates, errors = [], []
    for _ in range(200):
        won = rng.random(len(labels)) < 0.5
        ret = np.where(won, 0.03, -0.02) * rng.lognormal(0, 0.5, len(labels))
        payoff = PayoffEstimate.from_labels(labels.assign(label=won.astype(int), ret=ret), BarrierConfig())
        estimates.append(payoff.payoff)
        errors.append(payoff.payoff_error)
    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.15)


def test_comparison_with_a_champion(trained: Trained) -> None:
    result, _, _ = trained
    blunt = result.oof.assign(probability=result.oof["base_rate"])
    better = compare_predictions(result.oof, blunt)
    assert better["champion_gain"] == pytest.approx(result.metrics["log_loss_gain"])
    assert better["champion_folds_won"] == 1.0
    worse = compare_predictions(blunt, result.oof)
    assert worse["champion_gain"] == pytest.approx(-better["champion_gain"])
    assert compare_predictions(result.oof, result.oof.iloc[600:])["champion_rows"] == len(result.oof) - 600
    assert compare_predictions(result.oof, result.oof.assign(label=1 - result.oof["label"])) == {"champion_rows": 0.0}
