"""Fitting the regime model on past returns, on a schedule, so that its states keep their meaning.

Left alone, EM permutes the states and falls into local optima. Remedies (all deterministic): the first fit starts from terciles of the
trailing mean absolute return; later fits start from the model in force; a weak inverse-gamma prior on the variances (``_PRIOR_BARS``
pseudo-observations at the tercile variances) keeps a state from collapsing onto a few returns (Fruhwirth-Schnatter 2006); states are
ordered by variance; and a refit is rejected, leaving the model in force, when

- ``collapsed``: a parameter is not finite, or a state holds less than 1 % of the window;
- ``worse``: its penalised fit is below that of the model in force on the same window (log likelihood per bar, with a margin);
- ``relabelled``: matching its states to those of the model in force by their filtered probabilities on the latest returns (the best of
  the six assignments) does not give back the variance order: the states no longer mean the same.

A rejected warm fit is tried once more from scratch. After ``_PATIENCE`` rejected refits in a row a relabelled model is accepted, so that
a market which really changed is not described by an old model for ever.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from alphatrade_pipelines.features.base import FloatArray, IntArray
from alphatrade_pipelines.features.hmm import STATES, RegimeModel, expectation

_PRIOR_BARS = 25.0
_SMOOTHING = 21
_LEAST_SHARE = 0.01
_WORSE_BY = 0.01
_COMPARED = 500
_PATIENCE = 5
_STAY = 0.95
_ITERATIONS = 200
# EM stops when a step gains less log likelihood than this, in all and per return: a long window would else polish digits for ever
_GAIN, _GAIN_PER_RETURN = 1e-2, 1e-6


def scheduled_fits(
    x: FloatArray, times: IntArray, min_bars: int, refit_every: int, max_bars: int | None
) -> tuple[list[RegimeModel], dict[str, int]]:
    """Models fitted after ``min_bars``, ``min_bars + refit_every``, … returns, and the rejections by reason.

    Args:
        x: finite market returns, oldest first.
        times: their time stamps (ns since 1970); a model holds from the time stamp of the last return it was fitted on.
        max_bars: a fit looks back at most that far; None: at all returns up to then (expanding).
    """
    models: list[RegimeModel] = []
    rejected = {"collapsed": 0, "worse": 0, "relabelled": 0}
    in_a_row = 0
    for count in range(min_bars, len(x) + 1, refit_every):
        window = x[0 if max_bars is None else max(0, count - max_bars) : count]
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
        model = fit_model(window, known_from, start)
        reason = _fault(model, window, current, lenient)
        if not reason:
            return model, ""
    return None, reason


def fit_model(window: FloatArray, known_from: int, start: RegimeModel | None) -> RegimeModel:
    """Expectation maximisation from ``start`` or from the tercile initialisation; states ordered by variance."""
    scale = float(np.std(window))
    z = window / scale
    means, variances = _terciles(z)
    # _PRIOR_BARS pseudo-returns with the tercile's variance are added to each state
    prior = _PRIOR_BARS * variances
    transition = np.full((STATES, STATES), (1.0 - _STAY) / (STATES - 1))
    np.fill_diagonal(transition, _STAY)
    if start is not None:
        means, variances, transition = start.means / scale, start.variances / scale**2, start.transition
    means, variances, transition = maximise(z, means, variances, transition, prior)
    order = np.argsort(variances, kind="stable")
    ordered = np.ascontiguousarray(transition[np.ix_(order, order)])
    return RegimeModel(known_from, means[order] * scale, variances[order] * scale**2, ordered)


def maximise(
    z: FloatArray, means: FloatArray, variances: FloatArray, transition: FloatArray, prior: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(means, variances, transition) after EM from the given ones; ``prior``: sum of squares added to each state with _PRIOR_BARS counts.

    An emptied state gives parameters that are not finite, which the caller rejects.
    """
    before = -np.inf
    enough = max(_GAIN, _GAIN_PER_RETURN * len(z))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_ITERATIONS):
            found = expectation(z, means, variances, transition)
            means = found.total / found.weight
            spread = found.square - 2.0 * means * found.total + means * means * found.weight
            variances = (prior + spread) / (_PRIOR_BARS + found.weight)
            transition = found.moves / found.moves.sum(axis=1, keepdims=True)
            if not found.log_likelihood - before >= enough:
                break
            before = found.log_likelihood
    return means, variances, transition


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
    filtered, likelihood = model.judge(window)
    if filtered.mean(axis=0).min() < _LEAST_SHARE:
        return "collapsed"
    if current is None:
        return ""
    before, standard = current.judge(window)
    if likelihood < standard - _WORSE_BY:
        return "worse"
    return "" if lenient or _same_meaning(before, filtered) else "relabelled"


def _same_meaning(before: FloatArray, after: FloatArray) -> bool:
    """Whether the assignment of states with the largest overlap of probabilities is the identity."""
    overlap = before[-_COMPARED:].T @ after[-_COMPARED:]
    states = np.arange(STATES)
    return max(permutations(range(STATES)), key=lambda to: float(overlap[states, to].sum())) == tuple(range(STATES))
