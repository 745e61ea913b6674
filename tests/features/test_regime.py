"""The regime at t is the filtered posterior of a model fitted on returns up to t, and its states keep their meaning."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM

from alphatrade_pipelines.features import FeatureConfigError, FeatureInputError, FeaturePipeline, regime_fit
from alphatrade_pipelines.features.catalogue.regime import Regime, VolatilityRegime
from alphatrade_pipelines.features.hmm import STATES, RegimeModel, fresh_belief
from alphatrade_pipelines.features.regime_fit import fit_model, refit, scheduled_fits


def simulate(n: int, seed: int, stay: float = 0.98) -> tuple[np.ndarray, np.ndarray]:
    """Returns and true states of a three-regime market: volatilities 0.6, 1.2 and 2.6 %."""
    rng = np.random.default_rng(seed)
    state, states = 1, np.empty(n, dtype=int)
    for t in range(n):
        if rng.random() > stay:
            state = int(rng.choice([s for s in range(3) if s != state]))
        states[t] = state
    return rng.standard_normal(n) * np.array([0.006, 0.012, 0.026])[states], states


def as_hmmlearn(model: RegimeModel) -> GaussianHMM:
    hmm = GaussianHMM(STATES, "diag")
    hmm.startprob_, hmm.transmat_ = np.full(STATES, 1 / STATES), model.transition
    hmm.means_, hmm.covars_ = model.means[:, None], model.variances[:, None]
    return hmm


@pytest.fixture(scope="module")
def simulated() -> tuple[np.ndarray, np.ndarray]:
    return simulate(1500, 0)


@pytest.fixture(scope="module")
def times() -> np.ndarray:
    return np.arange(1, 1501, dtype=np.int64) * 86_400_000_000_000


def test_filter_equals_hmmlearn_posterior_of_each_prefix(simulated) -> None:
    x = simulated[0][:700]
    model = fit_model(x, 0, None)
    found = model.filter(x, fresh_belief())
    hmm = as_hmmlearn(model)
    prefixes = [1, 2, 3, 10, *range(50, 701, 13)]
    oracle = np.array([hmm.predict_proba(x[:count, None])[-1] for count in prefixes])
    np.testing.assert_allclose(found[np.array(prefixes) - 1], oracle, atol=1e-9)
    smoothed = hmm.predict_proba(x[:, None])
    assert np.abs(smoothed[:-1] - found[:-1]).max() > 0.1, "a smoothed posterior would be another thing"


def test_log_likelihood_equals_hmmlearn(simulated) -> None:
    x = simulated[0][:400]
    model = fit_model(x, 0, None)
    assert model.judge(x)[1] == pytest.approx(as_hmmlearn(model).score(x[:, None]) / len(x), rel=1e-10)


def test_filter_survives_an_impossible_return(simulated) -> None:
    model = fit_model(simulated[0][:600], 0, None)
    found = model.filter(np.array([0.0, -0.9, 0.0]), fresh_belief())
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert found[1, -1] > 0.999


def test_model_in_force_was_fitted_on_the_past(simulated, times) -> None:
    """The schedule over a longer series begins with the schedule over a shorter one, bit for bit."""
    x, _ = simulated
    whole, _ = scheduled_fits(x, times, 500, 100, 800)
    garbage = np.concatenate([x[:1000], np.full(500, 3.0)])
    part, _ = scheduled_fits(x[:1000], times[:1000], 500, 100, 800)
    other, _ = scheduled_fits(garbage, times, 500, 100, 800)
    assert (
        [model.to_state() for model in part]
        == [model.to_state() for model in whole[: len(part)]]
        == [model.to_state() for model in other[: len(part)]]
    )
    assert [model.known_from for model in part] == [times[count - 1] for count in range(500, 1001, 100)]


def test_batch_equals_cursor_and_starts_when_a_model_exists(simulated, times) -> None:
    x, _ = simulated
    feature = Regime(min_bars=500, refit_every=100, max_bars=800)
    market = x.copy()
    market[[0, 3, 700]] = np.nan
    state = feature.fit(times[:1200], market[:1200])
    batch = feature.compute(times, market, state)
    cursor = feature.cursor(state)
    stream = np.array([cursor.update(int(time), float(value)) for time, value in zip(times, market, strict=True)])
    np.testing.assert_array_equal(stream, batch)
    assert np.isnan(batch[:501]).all()
    assert np.isfinite(batch[501]).all()  # the 500th return: three of the first 502 rows, one of them later, have none
    assert np.isnan(batch[700]).all()


def test_states_are_ordered_and_found(simulated, times) -> None:
    x, states = simulated
    models, _ = scheduled_fits(x, times, 500, 100, 2500)
    assert all((np.diff(model.variances) > 0).all() for model in models)
    np.testing.assert_allclose(np.sqrt(models[-1].variances), [0.006, 0.012, 0.026], rtol=0.25)
    filtered = models[-1].filter(x, fresh_belief())
    assert (filtered.argmax(axis=1) == states).mean() > 0.75


@pytest.mark.parametrize("max_bars", [None, 800], ids=["expanding", "rolling"])
def test_consecutive_refits_agree(max_bars) -> None:
    """On a common block of 1000 bars: raw indices of cold fits agree on 0.37, sorted by variance on 0.60; here on at least 0.95."""
    agreements = []
    for seed in range(5):
        x, _ = simulate(2000, seed, stay=0.97)
        models, _ = scheduled_fits(x, np.arange(len(x), dtype=np.int64), 500, 100, max_bars)
        labels = [model.filter(x[:1000], fresh_belief()).argmax(axis=1) for model in models]
        agreements += [(one == two).mean() for one, two in pairwise(labels)]
    assert len(agreements) >= 5 * 10
    assert np.mean(agreements) >= 0.95


@pytest.mark.parametrize("seed", [0, 1])
def test_fit_equals_hmmlearn(seed) -> None:
    """The same start, prior and stopping rule: the same parameters, cold and warm."""
    x, _ = simulate(900, seed)
    cold = fit_model(x[:800], 0, None)
    for model, window, start in ((cold, x[:800], None), (fit_model(x, 0, cold), x, cold)):
        scale = np.std(window)
        z = window / scale
        means, variances = regime_fit._terciles(z)
        hmm = GaussianHMM(
            STATES,
            "diag",
            n_iter=200,
            tol=1e-2,
            params="tmc",
            init_params="",
            covars_prior=25.0 * variances[:, None],
            covars_weight=26.0,
        )
        hmm.startprob_ = np.full(STATES, 1 / STATES)
        hmm.transmat_ = np.full((STATES, STATES), 0.025) + np.eye(STATES) * 0.925
        if start is not None:
            hmm.transmat_, means, variances = start.transition, start.means / scale, start.variances / scale**2
        hmm.means_, hmm.covars_ = means[:, None], variances[:, None]
        hmm.fit(z[:, None])
        order = np.argsort(hmm.covars_.ravel())
        np.testing.assert_allclose(model.means, hmm.means_.ravel()[order] * scale, rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(model.variances, hmm.covars_.ravel()[order] * scale**2, rtol=1e-7)
        np.testing.assert_allclose(model.transition, hmm.transmat_[np.ix_(order, order)], rtol=1e-6, atol=1e-12)


def test_expanding_fits_use_all_the_past_and_rolling_ones_the_last(simulated, times) -> None:
    x, _ = simulated
    expanding, _ = scheduled_fits(x[:1000], times[:1000], 500, 500, None)
    rolling, _ = scheduled_fits(x[:1000], times[:1000], 500, 500, 500)
    assert expanding[0].to_state() == rolling[0].to_state()
    assert rolling[1].to_state() == fit_model(x[500:1000], int(times[999]), rolling[0]).to_state()
    assert expanding[1].to_state() == fit_model(x[:1000], int(times[999]), expanding[0]).to_state()


def test_cursor_saved_before_and_after_a_new_model_comes_into_force(simulated, times) -> None:
    x, _ = simulated
    feature = Regime(min_bars=500, refit_every=100)
    state = feature.fit(times, x)
    batch = feature.compute(times, x, state)
    cursor = feature.cursor(state)
    for at, (time, value) in enumerate(zip(times.tolist(), x.tolist(), strict=True)):
        if at in (0, 1, 498, 499, 500, 501, 650, 1450):
            saved = json.loads(json.dumps(cursor.save()))
            cursor = feature.cursor(state)
            cursor.restore(saved)
        np.testing.assert_array_equal(cursor.update(time, value), batch[at])


def test_refit_that_changes_the_meaning_is_rejected_and_counted(simulated, times, monkeypatch) -> None:
    x, _ = simulated
    good = fit_model(x[:600], 0, None)

    def permuted(window, known_from, start):  # type: ignore[no-untyped-def]
        turn = [2, 0, 1]
        return RegimeModel(known_from, good.means[turn], good.variances[turn], good.transition[np.ix_(turn, turn)])

    assert refit(x[:700], 1, good, lenient=False)[1] == ""
    monkeypatch.setattr(regime_fit, "fit_model", permuted)
    assert refit(x[:700], 1, good, lenient=False) == (None, "relabelled")
    accepted, reason = refit(x[:700], 1, good, lenient=True)
    assert accepted is not None
    assert reason == ""


def test_refit_that_collapses_or_fits_worse_is_rejected(simulated, monkeypatch) -> None:
    x, _ = simulated
    good = fit_model(x[:600], 0, None)
    candidates = {
        "collapsed": RegimeModel(1, good.means, good.variances, np.array([[1.0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])),
        "worse": RegimeModel(1, good.means + 0.02, good.variances, good.transition),
    }
    for reason, candidate in candidates.items():
        monkeypatch.setattr(regime_fit, "fit_model", lambda *_, model=candidate: model)
        assert refit(x[:700], 1, good, lenient=False) == (None, reason)


def test_market_without_movement_has_no_regime(times) -> None:
    feature = Regime(min_bars=100, refit_every=50, max_bars=200)
    state = feature.fit(times[:300], np.zeros(300))
    assert state == {"models": [], "rejected": {"collapsed": 5, "worse": 0, "relabelled": 0}}
    assert np.isnan(feature.compute(times[:300], np.zeros(300), state)).all()


def test_too_little_history_or_nonsense_parameters(times) -> None:
    with pytest.raises(FeatureInputError, match="500 market returns to fit the regime, found 120"):
        Regime().fit(times[:120], np.full(120, 0.01))
    with pytest.raises(FeatureConfigError, match="max_bars at least min_bars"):
        Regime(min_bars=500, max_bars=300)
    with pytest.raises(FeatureConfigError, match="refit_every"):
        Regime(refit_every=0)
    with pytest.raises(FeatureConfigError, match="three ascending edges"):
        VolatilityRegime("vol_percentile", (0.5, 0.4, 0.9))


def test_fit_summary_is_described(make_bars) -> None:
    fitted = FeaturePipeline("1Day", {"regime": Regime()}).fit(make_bars(760))
    found = fitted.describe()["regime_fits"]
    assert found["accepted"] + sum(found["rejected"].values()) == 3
    assert found["accepted"] >= 1
    assert fitted.feature_names == ("regime_low_vol", "regime_high_vol")
