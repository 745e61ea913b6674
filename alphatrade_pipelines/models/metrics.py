"""How good and how honest predicted probabilities are, each with its noise level."""

from __future__ import annotations

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
    """Equal-mass bins of predictions, and what follows from them.

    By bin: mean prediction, observed frequency, its standard error and its 95 % consistency band (``low``, ``high``: where the frequency of
    a PERFECTLY calibrated model would lie; Broecker and Smith 2007), rows.

    ``ece`` = row-weighted mean |frequency - prediction|. ``noise`` is the value a perfectly calibrated model would show on average at
    this effective sample size, ``noise_95`` its 95 % point: an ECE below that is no evidence of miscalibration. ``debiased`` is the root of
    the row-weighted mean of (frequency - prediction)^2 - f (1 - f) / (n - 1) over bins with frequency f of n independent outcomes, or 0
    where noise explains all: squares, unlike absolute values, can be freed of noise exactly (Kumar, Liang and Ma 2019). ``brier`` says
    where the squared error comes from.
    """

    predicted: FloatArray
    observed: FloatArray
    error: FloatArray
    low: FloatArray
    high: FloatArray
    rows: npt.NDArray[np.int64]
    ece: float
    noise: float
    noise_95: float
    debiased: float
    brier: BrierParts


@dataclass(frozen=True, slots=True)
class BrierParts:
    """Murphy's decomposition (1973), exact: Brier = reliability - resolution + uncertainty + within.

    ``reliability`` (less is better) is the squared distance of frequency and prediction, ``resolution`` (more is better) how far the
    frequencies of bins lie apart, ``uncertainty`` the variance of the outcome. ``within`` is what binning hides: the variance of the
    predictions inside bins less twice their covariance with the outcomes there (Stephenson, Coelho and Jolliffe 2008); 0 when each bin
    holds one prediction.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within: float

    @property
    def total(self) -> float:
        """The Brier score."""
        return self.reliability - self.resolution + self.uncertainty + self.within


def reliability(y: FloatArray, p: FloatArray, n_effective: float | None = None, bins: int = 10) -> Reliability:
    """Reliability by equal-mass bins (ties in ``p`` stay together in no particular bin; a constant ``p`` is a single bin).

    ``n_effective`` (default: number of rows) is the number of independent outcomes; overlapping labels hold far fewer than rows. The
    band and the noise are resampled, with a fixed seed, from what a perfect model of that size would show: in a bin of n independent
    outcomes predicted p on average the number of wins is binomial.
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
    independent = np.maximum(share * (n_effective or len(p)), 1.0)
    squared = (share * ((observed - predicted) ** 2 - observed * (1.0 - observed) / np.maximum(independent - 1.0, 1.0))).sum()
    shown = _perfect(predicted, independent)
    eces = np.abs(shown - predicted) @ share
    low, high = np.quantile(shown, (0.025, 0.975), axis=0)
    return Reliability(
        predicted=predicted,
        observed=observed,
        error=np.sqrt(variance / independent),
        low=low,
        high=high,
        rows=rows,
        ece=float((share * np.abs(observed - predicted)).sum()),
        noise=float(eces.mean()),
        noise_95=float(np.quantile(eces, 0.95)),
        debiased=float(np.sqrt(max(squared, 0.0))),
        brier=_brier_parts(y, p, parts, predicted, observed),
    )


def _perfect(predicted: FloatArray, independent: FloatArray, repeats: int = 4000) -> FloatArray:
    """Frequencies that a perfectly calibrated model would show, shape (repeats, bins)."""
    counts = np.maximum(np.rint(independent), 1.0).astype(np.int64)
    return np.random.default_rng(0).binomial(counts, predicted, size=(repeats, len(counts))) / counts


def _brier_parts(
    y: FloatArray, p: FloatArray, parts: list[npt.NDArray[np.int64]], predicted: FloatArray, observed: FloatArray
) -> BrierParts:
    share, mean = np.array([len(part) for part in parts]) / len(p), float(y.mean())
    inside = [
        ((p[part] - at) ** 2 - 2.0 * (y[part] - seen) * (p[part] - at)).sum()
        for part, at, seen in zip(parts, predicted, observed, strict=True)
    ]
    return BrierParts(
        reliability=float((share * (predicted - observed) ** 2).sum()),
        resolution=float((share * (observed - mean) ** 2).sum()),
        uncertainty=mean * (1.0 - mean),
        within=float(np.sum(inside) / len(p)),
    )


def check_predictions(y: FloatArray, p: FloatArray) -> None:
    """Raise ModelDataError unless y is 0/1 and p lies in [0, 1], finite, of the same non-zero length."""
    if y.shape != p.shape or y.ndim != 1 or len(y) == 0:
        raise ModelDataError("outcomes and probabilities of one length", f"shapes {y.shape} and {p.shape}")
    if not np.isin(y, (0.0, 1.0)).all():
        raise ModelDataError("outcomes 0 or 1", "other values or NaN")
    if not (np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all()):
        raise ModelDataError("probabilities in [0, 1]", "NaN or values outside")
