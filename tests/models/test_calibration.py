"""Beta calibration, Venn-Abers and metrics against sklearn, venn-abers and brute force."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from venn_abers import VennAbers as OtherVennAbers
from venn_abers.venn_abers import geo_mean

from alphatrade_pipelines.models.calibration import KINDS, Calibrator, Kind, pool_adjacent
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.metrics import auc, brier, log_losses, reliability
from alphatrade_pipelines.models.predictor import interval
from alphatrade_pipelines.models.venn_abers import (
    CrossVennAbers,
    VennAbers,
    bounds_arrays,
    bounds_from_dict,
    bounds_of,
    bounds_to_dict,
)

Sample = tuple[np.ndarray, np.ndarray]


def distorted(n: int, seed: int = 0, slope: float = 2.0, shift: float = 0.3, spread: float = 0.5) -> Sample:
    """Scores that are over-confident: truth is logit p = (logit s - shift) / slope."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, spread, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-(z - shift) / slope))).astype(float)
    return 1 / (1 + np.exp(-z)), y


@pytest.mark.parametrize(("n", "power"), [(3000, 1.4), (150, 0.2)])
def test_beta_equals_akaike_average_of_sklearn_fits(n: int, power: float) -> None:
    """Each softened outcome is two weighted rows for sklearn's unpenalised logistic regression on ln s and -ln(1 - s)."""
    rng = np.random.default_rng(1)
    s = rng.beta(2, 3, n)
    y = (rng.random(n) < s**power / (s**power + (1 - s) ** (0.6 * power))).astype(float)
    w = rng.uniform(0.2, 1.0, n)
    wins, losses = w[y == 1].sum(), w[y == 0].sum()
    soft = np.where(y == 1, (wins + 1) / (wins + 2), 1 / (losses + 2))
    X = np.column_stack([np.log(s), -np.log1p(-s)])
    twice, outcomes, weights = np.vstack([X, X]), np.r_[np.ones(n), np.zeros(n)], np.r_[w * soft, w * (1 - soft)]
    fits = []
    for used in ([0, 1], [0], [1], []):
        theta = np.zeros(3)
        if used:
            other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(twice[:, used], outcomes, sample_weight=weights)
            theta[used], theta[2] = other.coef_[0], other.intercept_[0]
        else:
            theta[2] = np.log(weights[:n].sum() / weights[n:].sum())
        loss = log_loss(outcomes, 1 / (1 + np.exp(-(twice @ theta[:2] + theta[2]))), sample_weight=weights, normalize=False)
        if (theta[:2] >= 0).all():
            fits.append((2 * loss + 2 * (len(used) + 1), theta))
    akaike = np.array([value for value, _ in fits])
    expected = np.average([theta for _, theta in fits], axis=0, weights=np.exp(-(akaike - akaike.min()) / 2))
    ours = Calibrator.fit(s, y, w)
    np.testing.assert_allclose([ours.a, ours.b, ours.c], expected, atol=5e-4)


def test_beta_contains_identity_and_undoes_distortion() -> None:
    s, y = distorted(200_000, slope=1.0, shift=0.0, spread=1.0)
    fitted = Calibrator.fit(s, y)
    np.testing.assert_allclose([fitted.a, fitted.b, fitted.c], [1, 1, 0], atol=0.05)
    s, y = distorted(200_000, slope=2.0, shift=0.3, spread=1.0)
    p = Calibrator.fit(s, y).predict(s)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-(np.log(s / (1 - s)) - 0.3) / 2)), atol=0.02)


def test_beta_on_meaningless_scores_stays_near_the_base_rate() -> None:
    rng = np.random.default_rng(0)
    spreads = []
    for _ in range(60):
        s, y = rng.beta(20, 20, 500), (rng.random(500) < 0.5).astype(float)
        spreads.append(Calibrator.fit(s, y).predict(s).std())
    assert np.mean(spreads) < 0.5 * np.sqrt(0.25 / 500)  # what an unrestrained slope would show by chance


def test_beta_never_inverts_a_score_that_points_the_wrong_way() -> None:
    s, y = distorted(4000, slope=1.0, spread=1.0)
    fitted = Calibrator.fit(s, 1 - y)
    assert fitted.a == 0
    assert fitted.b == 0
    np.testing.assert_allclose(fitted.predict(s), (1 - y).mean(), atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.floats(0.001, 4), n=st.integers(20, 300))
def test_beta_is_monotone_inside_the_unit_interval_and_beats_its_own_constraints(seed: int, spread: float, n: int) -> None:
    s, y = distorted(n, seed, spread=spread)
    y[:2] = [0, 1]
    fitted = Calibrator.fit(s, y)
    p = fitted.predict(np.linspace(0, 1, 201))
    assert fitted.a >= 0
    assert fitted.b >= 0
    assert (np.diff(p) >= -1e-12).all()
    assert (p > 0).all()
    assert (p < 1).all()
    assert log_losses(y, fitted.predict(s)).mean() <= log_losses(y, np.full(n, (y.sum() + 1) / (n + 2))).mean() + 0.05


def test_beta_separable_stays_finite_and_does_not_extrapolate() -> None:
    s = np.r_[np.linspace(0.3, 0.4, 30), np.linspace(0.6, 0.7, 30)]
    fitted = Calibrator.fit(s, (s > 0.5).astype(float))
    p = fitted.predict(np.array([0.0, 0.3, 0.7, 1.0]))
    assert p[0] == p[1]
    assert p[2] == p[3]
    assert 0 < p[0] < 0.1
    assert 0.9 < p[3] < 1


@pytest.mark.parametrize(
    ("scores", "y", "weights"),
    [
        (np.full(10, 0.5), np.tile([0.0, 1.0], 5), None),
        (np.linspace(0, 1, 50), np.ones(50), None),
        (np.r_[np.nan, np.linspace(0, 1, 49)], np.tile([0.0, 1.0], 25), None),
        (np.linspace(0, 2, 50), np.tile([0.0, 1.0], 25), None),
        (np.linspace(0, 1, 50), np.tile([0.0, 2.0], 25), None),
        (np.linspace(0, 1, 50), np.tile([0.0, 1.0], 25), np.zeros(50)),
    ],
)
def test_calibration_refuses_what_it_cannot_learn_from(scores: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
    with pytest.raises(ModelDataError):
        Calibrator.fit(scores, y, weights)


def test_platt_equals_akaike_average_of_sklearn_fits() -> None:
    s, y = distorted(400, seed=5, slope=1.5, spread=1.0)
    soft = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2))
    z = np.log(s / (1 - s))[:, None]
    twice, outcomes, weights = np.vstack([z, z]), np.r_[np.ones(400), np.zeros(400)], np.r_[soft, 1 - soft]
    other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(twice, outcomes, sample_weight=weights)
    base = np.log(soft.mean() / (1 - soft.mean()))
    losses = [
        log_loss(outcomes, 1 / (1 + np.exp(-p)), sample_weight=weights, normalize=False)
        for p in (other.decision_function(twice), np.full(800, base))
    ]
    share = 1 / (1 + np.exp(losses[0] + 1 - losses[1]))
    ours = Calibrator.fit(s, y, kind="platt")
    np.testing.assert_allclose([ours.a, ours.b], [share * other.coef_[0, 0]] * 2, atol=1e-3)
    assert ours.c == pytest.approx(share * other.intercept_[0] + (1 - share) * base, abs=1e-3)


def test_identity_leaves_scores_as_they_are() -> None:
    s, y = distorted(100)
    fitted = Calibrator.fit(s, y, kind="identity")
    np.testing.assert_allclose(fitted.predict(s), s, atol=1e-12)
    assert fitted.predict(np.array([0.0, 1.0])).tolist() == pytest.approx([s.min(), s.max()])


def test_pool_adjacent_violators_reference_and_sklearn() -> None:
    np.testing.assert_allclose(pool_adjacent(np.array([1.0, 0, 0, 1, 0, 1, 1]), np.ones(7)), [1 / 3, 1 / 3, 1 / 3, 0.5, 0.5, 1, 1])
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 300):
        values, weights = rng.normal(size=n), rng.uniform(0.1, 2, n)
        expected = IsotonicRegression().fit_transform(np.arange(n), values, sample_weight=weights)
        np.testing.assert_allclose(pool_adjacent(values, weights), expected, atol=1e-12)


def test_isotonic_equals_sklearn_on_softened_outcomes_and_never_says_never() -> None:
    s, y = distorted(8000, spread=1.5)
    s = np.round(s, 3)  # ties
    y[s < 0.05], y[s > 0.95] = 0.0, 1.0  # pure ends, where a raw fit is certain
    soft = np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2))
    other = IsotonicRegression(out_of_bounds="clip").fit(s, soft)
    fitted = Calibrator.fit(s, y, kind="isotonic")
    new = np.linspace(0, 1, 4001)
    p = fitted.predict(new)
    np.testing.assert_allclose(p, other.predict(new), atol=1e-12)
    assert (np.diff(p) >= 0).all()
    assert 0 < p.min() < p.max() < 1
    assert Calibrator.from_dict(fitted.to_dict()) == fitted
    with pytest.raises(ModelDataError, match="5000 independent outcomes"):
        Calibrator.fit(s, y, np.full(8000, 0.5), kind="isotonic")
    with pytest.raises(ModelDataError, match="beta, platt"):
        Calibrator.fit(s, y, kind="spline")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_beyond_what_was_seen_the_edge_is_said_and_the_interval_holds_the_base_rate(kind: Kind) -> None:
    s, y = distorted(6000, spread=1.0)
    fitted, bounds = Calibrator.fit(s, y, kind=kind), VennAbers.fit(s, y)
    new = np.r_[0.0, np.nextafter(s.min(), 0), s.min(), 0.5, s.max(), np.nextafter(s.max(), 1), 1.0]
    found = interval(fitted, bounds, new)
    assert found["extrapolated"].tolist() == [True, True, False, False, False, True, True]
    assert fitted.outside(new).tolist() == found["extrapolated"].tolist()
    p = found["probability"].to_numpy()
    assert p[0] == p[1] == p[2]
    assert p[4] == p[5] == p[6]
    outer = found[found["extrapolated"]]
    assert (outer["lower"] <= round(fitted.base_rate, 9)).all()
    assert (outer["upper"] >= round(fitted.base_rate, 9)).all()
    assert (found["lower"] <= p).all()
    assert (p <= found["upper"]).all()
    assert found["lower"].iloc[5] < found["lower"].iloc[4]


@pytest.mark.parametrize(("n", "digits"), [(5, 3), (60, 1), (400, 2), (3000, 6)])
def test_venn_abers_equals_the_package(n: int, digits: int) -> None:
    s, y = distorted(n, seed=n, spread=1.0)
    s = np.round(s, digits)
    y[:2] = [0, 1]
    new = np.r_[s, np.linspace(0, 1, 301)]
    other = OtherVennAbers()
    other.fit(np.column_stack([1 - s, s]), y)
    _, expected = other.predict_proba(np.column_stack([1 - new, new]))
    p0, p1 = VennAbers.fit(s, y).predict(new)
    np.testing.assert_allclose(p0, expected[:, 0], atol=1e-12)
    np.testing.assert_allclose(p1, expected[:, 1], atol=1e-12)
    assert (p0 <= p1).all()


@pytest.mark.parametrize("seed", range(3))
def test_weighted_venn_abers_equals_two_isotonic_fits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    s, y = distorted(120, seed, spread=1.0)
    s, w = np.round(s, 2), rng.uniform(0.05, 1.0, 120)
    fitted = VennAbers.fit(s, y, w)
    for new in (0.0, 0.31, 0.315, 0.5, 0.505, 0.77, 1.0, float(s[3]), float(s[8])):
        expected = [
            float(IsotonicRegression().fit(np.r_[s, new], np.r_[y, label], sample_weight=np.r_[w, 1.0]).predict([new])[0])
            for label in (0.0, 1.0)
        ]
        p0, p1 = fitted.predict(np.array([new]))
        np.testing.assert_allclose([p0[0], p1[0]], expected, atol=1e-9)


def test_venn_abers_reference_by_brute_force() -> None:
    """The definition itself, on at most 200 points: extend the calibration set by the object, once as a loss, once as a win."""
    for n in (20, 75, 200):
        s, y = distorted(n, seed=n, spread=1.0)
        fitted, arrays = VennAbers.fit(s, y), bounds_arrays(VennAbers.fit(s, y))
        for new in np.r_[np.linspace(0, 1, 41), s[:20]]:
            both = [
                pool_adjacent(*_extended(np.r_[s, new], np.r_[y, label]))[np.searchsorted(np.unique(np.r_[s, new]), new)]
                for label in (0.0, 1.0)
            ]
            np.testing.assert_allclose(np.ravel(fitted.predict(np.array([new]))), both, atol=1e-12)
            assert bounds_of(new, arrays) == pytest.approx(both, abs=1e-12)


def _extended(s: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, position, counts = np.unique(s, return_inverse=True, return_counts=True)
    return np.bincount(position, weights=y) / counts, counts.astype(float)


def test_cross_venn_abers_equals_its_definition() -> None:
    s, y = distorted(900, spread=1.0)
    fold = np.arange(900) % 3
    cross = CrossVennAbers.fit(s, y, fold)
    parts = [VennAbers.fit(s[fold == k], y[fold == k]) for k in range(3)]
    new = np.linspace(0.02, 0.98, 200)
    p0, p1 = np.array([part.predict(new)[0] for part in parts]), np.array([part.predict(new)[1] for part in parts])
    np.testing.assert_allclose(cross.predict(new), [p0.mean(axis=0), p1.mean(axis=0)], atol=1e-12)
    expected = geo_mean(p1.T) / (geo_mean(1 - p0.T) + geo_mean(p1.T))
    np.testing.assert_allclose(cross.probability(new), expected, atol=1e-12)
    again = bounds_from_dict(json.loads(json.dumps(bounds_to_dict(cross))))
    np.testing.assert_array_equal(again.predict(new), cross.predict(new))
    rows = [bounds_of(x, bounds_arrays(cross)) for x in new]
    np.testing.assert_allclose(np.transpose(rows), cross.predict(new), atol=1e-15)
    whole = VennAbers.fit(s, y)
    assert np.subtract(*cross.predict(new)[::-1]).mean() > np.subtract(*whole.predict(new)[::-1]).mean()
    merged = whole.predict(new)[1] / (1 - whole.predict(new)[0] + whole.predict(new)[1])
    np.testing.assert_allclose(whole.probability(new), merged)
    with pytest.raises(ModelDataError, match="two or more"):
        CrossVennAbers.fit(s, y, np.zeros(900, np.int64))


def test_less_evidence_gives_a_wider_interval_and_json_keeps_it() -> None:
    s, y = distorted(5000, spread=1.0)
    full, tenth = VennAbers.fit(s, y), VennAbers.fit(s, y, np.full(5000, 0.1))
    new = np.linspace(0.2, 0.8, 50)
    widths = [np.subtract(*fit.predict(new)[::-1]).mean() for fit in (full, tenth)]
    assert widths[1] > 5 * widths[0]
    again = VennAbers.from_dict(full.to_dict())
    np.testing.assert_array_equal(again.predict(new), full.predict(new))


def test_metrics_equal_sklearn() -> None:
    s, y = distorted(2000, spread=1.0)
    s = np.round(s, 2)  # ties
    assert log_losses(y, s).mean() == pytest.approx(log_loss(y, s))
    assert brier(y, s) == pytest.approx(brier_score_loss(y, s))
    assert auc(y, s) == pytest.approx(roc_auc_score(y, s))
    assert np.isnan(auc(np.ones(5), np.linspace(0, 1, 5)))


def test_ece_noise_level_is_what_a_perfect_model_shows() -> None:
    rng = np.random.default_rng(0)
    eces, bins = [], None
    for _ in range(400):
        p = rng.uniform(0.3, 0.7, 1000)
        bins = reliability((rng.random(1000) < p).astype(float), p)
        eces.append(bins.ece)
    assert bins is not None
    assert np.mean(eces) == pytest.approx(bins.noise, rel=0.05)
    assert np.mean(np.array(eces) > bins.noise_95) == pytest.approx(0.05, abs=0.03)


def test_ece_by_hand_and_effective_size_raises_the_noise() -> None:
    p = np.repeat([0.2, 0.8], 50)
    y = np.r_[np.ones(20), np.zeros(30), np.ones(40), np.zeros(10)]
    bins = reliability(y, p, bins=2)
    assert bins.ece == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)
    assert reliability(y, p, n_effective=25, bins=2).noise == pytest.approx(2 * bins.noise, rel=0.1)
    assert len(reliability(y, np.full(100, 0.5)).rows) == 1


@pytest.mark.parametrize("bins", [1, 7, 10])
def test_brier_decomposition_adds_up_exactly(bins: int) -> None:
    s, y = distorted(1003, spread=1.0)
    found = reliability(y, s, bins=bins).brier
    assert found.total == pytest.approx(brier(y, s), abs=1e-14)
    assert found.uncertainty == pytest.approx(y.mean() * (1 - y.mean()))
    assert min(found.reliability, found.resolution) >= 0


def test_brier_decomposition_by_hand() -> None:
    """Two predictions, two bins: nothing is hidden inside them (Murphy 1973)."""
    p = np.repeat([0.2, 0.8], 50)
    y = np.r_[np.ones(20), np.zeros(30), np.ones(40), np.zeros(10)]
    found = reliability(y, p, bins=2).brier
    assert found.reliability == pytest.approx(0.5 * 0.2**2)
    assert found.resolution == pytest.approx(0.2**2)
    assert found.uncertainty == pytest.approx(0.24)
    assert found.within == pytest.approx(0.0, abs=1e-15)


def test_the_band_holds_a_perfect_model_and_not_a_crooked_one() -> None:
    rng = np.random.default_rng(0)
    inside, straight, crooked = [], [], []
    for _ in range(200):
        p = rng.uniform(0.3, 0.7, 2000)
        bins = reliability((rng.random(2000) < p).astype(float), p, n_effective=2000)
        inside.append(((bins.low <= bins.observed) & (bins.observed <= bins.high)).mean())
        straight.append(bins.debiased)
        crooked.append(reliability((rng.random(2000) < 0.5 + 0.5 * (p - 0.5)).astype(float), p).debiased)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    assert np.median(straight) == 0.0
    assert np.mean(np.square(crooked)) == pytest.approx(0.1**2 / 3, rel=0.05)  # uniform on +-0.1, and nothing of the noise
