"""Fitting the regime model on past returns, on a schedule, so that its states keep their meaning.

Left alone, EM permutes the states and falls into local optima. Remedies (all deterministic): the first fit starts from terciles of the
trailing mean absolute return; later fits start from the model in force; a weak inverse-gamma prior on the variances (``_PRIOR_BARS``
pseudo-observations at the tercile variances) keeps a state from collapsing onto a few returns (Fruhwirth-Schnatter 2006); states are
ordered by variance; and a refit is rejected, leaving the model in force, when

- ``collapsed``: a parameter is not finite, or a state holds less than 1 % of the window;
- ``worse``: its penalised fit is below that of the model in force on the same window (log likelihood per bar, with a margin);
- ``relabelled``: matching its states to those of the model in force by their filtered probabilities on the latest returns (Hungarian
  assignment) does not give back the variance order: the states no longer mean the same.

A rejected warm fit is tried once more from scratch. After ``_PATIENCE`` rejected refits in a row a relabelled model is accepted, so that
a market which really changed is not described by an old model for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, IntArray
from alphatrade_pipelines.features.catalogue.regime import STATES, RegimeModel, fresh_belief

_PRIOR_BARS = 25.0
_SMOOTHING = 21
_LEAST_SHARE = 0.01
_WORSE_BY = 0.01
_COMPARED = 500
_PATIENCE = 5
_STAY = 0.95


def scheduled_fits(
    x: FloatArray, times: IntArray, min_bars: int, refit_every: int, max_bars: int
) -> tuple[list[RegimeModel], dict[str, int]]:
    """Models fitted after ``min_bars``, ``min_bars + refit_every``, … returns, each on the last ``max_bars`` of them, and the rejections.

    Args:
        x: finite market returns, oldest first.
        times: their time stamps (ns since 1970); a model holds from the time stamp of the last return it was fitted on.
    """
    models: list[RegimeModel] = []
    rejected = {"collapsed": 0, "worse": 0, "relabelled": 0}
    in_a_row = 0
    for count in range(min_bars, len(x) + 1, refit_every):
        window = x[max(0, count - max_bars) : count]
        model, reason = refit(window, int(times[count - 1]), models[-1] if models else None, in_a_row >= _PATIENCE)
        if model is not None:
            models.append(model)
        in_a_row = 0 if model is not None else in_a_row + 1
        if reason:
            rejected[reason] += 1
    return models, rejected


def refit(window: FloatArray, known_from: int, current: RegimeModel | None, lenient: bool) -> tuple[RegimeModel | None, str]:
    """(model, "") when accepted, else (None, reason)."""
    reason = "collapsed"
    if np.std(window) <= 0.0:
        return None, reason
    starts = [None] if current is None else [current, None]
    for start in starts:
        try:
            model = fit_model(window, known_from, start)
        except ValueError:  # hmmlearn refuses parameters that are no distribution: an emptied state
            reason = "collapsed"
            continue
        reason = _fault(model, window, current, lenient)
        if not reason:
            return model, ""
    return None, reason


def fit_model(window: FloatArray, known_from: int, start: RegimeModel | None) -> RegimeModel:
    """Expectation maximisation by hmmlearn, from ``start`` or from the tercile initialisation; states ordered by variance."""
    from hmmlearn.hmm import GaussianHMM

    scale = float(np.std(window))
    z = window / scale
    means, variances = _terciles(z)
    # without weight the prior is a plain maximum of the likelihood; with it, _PRIOR_BARS returns of the tercile's variance are added
    prior = {"covars_prior": _PRIOR_BARS * variances[:, None], "covars_weight": 1.0 + _PRIOR_BARS}
    hmm = GaussianHMM(STATES, "diag", n_iter=200, tol=1e-2, params="tmc", init_params="", implementation="scaling", **prior)
    hmm.startprob_ = np.full(STATES, 1.0 / STATES)
    hmm.transmat_ = np.full((STATES, STATES), (1.0 - _STAY) / (STATES - 1)) + np.eye(STATES) * (_STAY - (1.0 - _STAY) / (STATES - 1))
    hmm.means_, hmm.covars_ = means[:, None], variances[:, None]
    if start is not None:
        hmm.transmat_ = start.transition
        hmm.means_, hmm.covars_ = start.means[:, None] / scale, start.variances[:, None] / scale**2
    with _quiet("hmmlearn"):
        hmm.fit(z[:, None])
    fitted = np.asarray(hmm.covars_).reshape(STATES)
    order = np.argsort(fitted, kind="stable")
    transition = np.asarray(hmm.transmat_)[np.ix_(order, order)]
    return RegimeModel(known_from, hmm.means_[order, 0] * scale, fitted[order] * scale**2, np.ascontiguousarray(transition))


def log_likelihood(model: RegimeModel, x: FloatArray) -> float:
    """Mean log likelihood of a return given the returns before it."""
    filtered = model.filter(x, fresh_belief())
    predicted = np.vstack([np.full(STATES, 1.0 / STATES), filtered[:-1] @ model.transition])
    density = np.exp(-0.5 * (x[:, None] - model.means) ** 2 / model.variances) / np.sqrt(2.0 * np.pi * model.variances)
    return float(np.mean(np.log(np.maximum((predicted * density).sum(axis=1), 1e-300))))


def _terciles(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means and variances of the returns in the calm, middle and wild third of the window, by trailing mean absolute return."""
    smooth = np.convolve(np.abs(z), np.full(_SMOOTHING, 1.0 / _SMOOTHING))[: len(z)]
    thirds = np.array_split(np.argsort(smooth, kind="stable"), STATES)
    floor = 1e-6  # of the window's variance: a third without any movement
    return np.array([z[third].mean() for third in thirds]), np.array([max(float(z[third].var()), floor) for third in thirds])


def _fault(model: RegimeModel, window: FloatArray, current: RegimeModel | None, lenient: bool) -> str:
    finite = all(np.isfinite(value).all() for value in (model.means, model.variances, model.transition))
    if not finite or (model.variances <= 0.0).any():
        return "collapsed"
    filtered = model.filter(window, fresh_belief())
    if filtered.mean(axis=0).min() < _LEAST_SHARE:
        return "collapsed"
    if current is None:
        return ""
    if log_likelihood(model, window) < log_likelihood(current, window) - _WORSE_BY:
        return "worse"
    return "" if lenient or _same_meaning(current.filter(window, fresh_belief()), filtered) else "relabelled"


def _same_meaning(before: FloatArray, after: FloatArray) -> bool:
    from scipy.optimize import linear_sum_assignment

    overlap = before[-_COMPARED:].T @ after[-_COMPARED:]
    _, match = linear_sum_assignment(-overlap)
    return bool((match == np.arange(STATES)).all())


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    """hmmlearn warns when the prior makes the plain likelihood dip by rounding; convergence is judged by :func:`_fault` instead."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
