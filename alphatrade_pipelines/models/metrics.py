"""How good and how honest predicted probabilities are, each with its noise level."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.models.errors import ModelDataError

FloatArray = npt.NDArray[np.float64]
_CLIP = 1e-12


def log_losses(y: FloatArray, p: FloatArray) -> FloatArray:
    """-ln of the probability given to what happened, per row (nats)."""
    p = np.clip(p, _CLIP, 1.0 - _CLIP)
    return -np.where(y > 0.5, np.log(p), np.log1p(-p))


def brier(y: FloatArray, p: FloatArray) -> float:
    """Mean squared error of the probability (Brier 1950)."""
    return float(np.mean((p - y) ** 2))


def auc(y: FloatArray, p: FloatArray) -> float:
    """P(a random win ranks above a random loss), ties counting half; NaN with one class only (Mann-Whitney)."""
    from scipy.stats import rankdata

    wins = y > 0.5
    n_win, n_loss = int(wins.sum()), int((~wins).sum())
    if n_win == 0 or n_loss == 0:
        return float("nan")
    return float((rankdata(p)[wins].sum() - n_win * (n_win + 1) / 2) / (n_win * n_loss))


@dataclass(frozen=True, slots=True)
class Reliability:
    """Equal-mass bins of predictions: mean prediction, observed frequency, its standard error, rows; and what follows from them.

    ``ece`` = row-weighted mean |frequency - prediction|. ``noise`` is the value a PERFECTLY calibrated model would show on average at
    this effective sample size, ``noise_95`` its 95 % point: an ECE below that is no evidence of miscalibration.
    """

    predicted: FloatArray
    observed: FloatArray
    error: FloatArray
    rows: npt.NDArray[np.int64]
    ece: float
    noise: float
    noise_95: float


def reliability(y: FloatArray, p: FloatArray, n_effective: float | None = None, bins: int = 10) -> Reliability:
    """Reliability by equal-mass bins (ties in ``p`` stay together in no particular bin; a constant ``p`` gives ``bins`` equal bins).

    ``n_effective`` (default: number of rows) is the number of independent outcomes; overlapping labels hold far fewer than rows.
    Under perfect calibration a bin's deviation is about N(0, p (1 - p) / n_bin), so the mean of |deviation| is half-normal.
    """
    check_predictions(y, p)
    if np.ptp(p) == 0.0:
        bins = 1  # one prediction is one bin: splitting its rows would only cut the noise into pieces
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(p))) if len(part)]
    rows = np.array([len(part) for part in parts])
    predicted = np.array([p[part].mean() for part in parts])
    observed = np.array([y[part].mean() for part in parts])
    share = rows / len(p)
    variance = np.array([(p[part] * (1.0 - p[part])).mean() for part in parts])
    error = np.sqrt(variance / np.maximum(share * (n_effective or len(p)), 1.0))
    noise = float((share * error).sum() * math.sqrt(2.0 / math.pi))
    spread = math.sqrt(float(((share * error) ** 2).sum()) * (1.0 - 2.0 / math.pi))
    ece = float((share * np.abs(observed - predicted)).sum())
    return Reliability(predicted, observed, error, rows, ece, noise, noise + 1.645 * spread)


def check_predictions(y: FloatArray, p: FloatArray) -> None:
    """Raise ModelDataError unless y is 0/1 and p lies in [0, 1], finite, of the same non-zero length."""
    if y.shape != p.shape or y.ndim != 1 or len(y) == 0:
        raise ModelDataError("outcomes and probabilities of one length", f"shapes {y.shape} and {p.shape}")
    if not np.isin(y, (0.0, 1.0)).all():
        raise ModelDataError("outcomes 0 or 1", "other values or NaN")
    if not (np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()):
        raise ModelDataError("probabilities in [0, 1]", "NaN or values outside")
