"""Have the features moved away from what the model was trained on?

Kolmogorov-Smirnov on effective sample sizes with Benjamini-Hochberg control over the features, an effect size so that a significant
trifle is no alarm, and the population stability index with its own null distribution: under no change PSI (1/n + 1/m)^-1 is
chi-square with bins - 1 degrees of freedom (Yurdakul 2018), so its threshold depends on n where the usual 0.1 does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError

FloatArray = npt.NDArray[np.float64]
_GRID = 501
_BINS = 10
MIN_ROWS = 20


@dataclass(frozen=True, slots=True)
class DriftReport:
    """``table`` has one row a feature: ks, p_value, q_value (Benjamini-Hochberg), psi, psi_threshold, shift (in reference standard
    deviations), missing, missing_reference, n_effective, drifted. At most ``alpha`` of the alarms are false in expectation."""

    table: pd.DataFrame
    alpha: float

    @property
    def drifted(self) -> list[str]:
        """Names of the features that moved."""
        return [str(name) for name in self.table.index[self.table["drifted"]]]


def drift_reference(features: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Per feature: quantiles (the reference's distribution function), effective size, mean, standard deviation, share missing.

    Raises ModelDataError for a feature without a single value.
    """
    reference = {}
    for name in features:
        values = features[name].to_numpy(dtype=np.float64)
        present = values[np.isfinite(values)]
        if len(present) == 0:
            raise ModelDataError(f"values of the feature {name}", "NaN only", "Load more history or drop the feature.")
        reference[str(name)] = {
            "quantiles": np.quantile(present, np.linspace(0.0, 1.0, _GRID)).tolist(),
            "n_effective": effective_rows(features[name]),
            "mean": float(present.mean()),
            "std": float(present.std()),
            "missing": float(1.0 - len(present) / len(values)),
        }
    return reference


def effective_rows(series: pd.Series) -> float:
    """Independent values with the same information, n (1 - r) / (1 + r) for first-order autocorrelation r, per symbol and summed.

    Symbols are taken as independent; features that share a market factor hold less than this says.
    """
    total = 0.0
    for _symbol, rows in series.groupby(level="symbol"):
        x = rows.to_numpy(dtype=np.float64)
        x = x[np.isfinite(x)]
        if len(x) < 3 or np.ptp(x) == 0.0:
            total += min(len(x), 1)
            continue
        d = x - x.mean()
        r = float(np.clip((d[1:] * d[:-1]).sum() / (d**2).sum(), 0.0, 0.999))
        total += max(len(x) * (1.0 - r) / (1.0 + r), 1.0)
    return total


def feature_drift(reference: dict[str, dict[str, Any]], features: pd.DataFrame, alpha: float = 0.05, min_shift: float = 0.1) -> DriftReport:
    """Compare recent ``features`` with a bundle's ``drift_reference.json``.

    A feature has drifted when its q-value is below ``alpha`` AND its KS distance exceeds ``min_shift`` (a tenth of all values moved), or
    when values went missing that used to be there. Raises ModelDataError for a missing column or fewer than 20 rows.
    """
    absent = [name for name in reference if name not in features]
    if absent:
        raise ModelDataError(f"the features {list(reference)}", f"no {', '.join(absent)}")
    if len(features) < MIN_ROWS:
        raise ModelDataError(f"at least {MIN_ROWS} recent rows", str(len(features)), "Wait for more bars.")
    table = pd.DataFrame({name: _compare(facts, features[name], alpha) for name, facts in reference.items()}).T
    table.insert(2, "q_value", benjamini_hochberg(table["p_value"].to_numpy(dtype=np.float64)))
    moved = (table["q_value"] < alpha) & (table["ks"] > min_shift)
    gone = table["missing"] > table["missing_reference"] + 0.05
    return DriftReport(table.assign(drifted=(moved | gone).to_numpy(dtype=bool)), alpha)


def _compare(facts: dict[str, Any], recent: pd.Series, alpha: float) -> dict[str, float]:
    from scipy.stats import chi2, kstwobign

    values = recent.to_numpy(dtype=np.float64)
    present = np.sort(values[np.isfinite(values)])
    row = {"missing": 1.0 - len(present) / len(values), "missing_reference": float(facts["missing"])}
    if len(present) == 0:
        return {"ks": 1.0, "p_value": 0.0, "psi": np.inf, "psi_threshold": 0.0, "shift": np.nan, "n_effective": 0.0} | row
    quantiles = np.asarray(facts["quantiles"], dtype=np.float64)
    n, m = effective_rows(recent), float(facts["n_effective"])
    distance = ks_distance(quantiles, present)
    pairs = n * m / (n + m)
    share = psi_shares(quantiles, present)
    return {
        "ks": distance,
        "p_value": float(kstwobign.sf((np.sqrt(pairs) + 0.12 + 0.11 / np.sqrt(pairs)) * distance)),
        "psi": psi(share[0], share[1], n),
        "psi_threshold": float(chi2.ppf(1.0 - alpha, max(len(share[0]) - 1, 1)) / pairs),
        "shift": (float(present.mean()) - facts["mean"]) / facts["std"] if facts["std"] > 0 else 0.0,
        "n_effective": n,
    } | row


def ks_distance(quantiles: FloatArray, present: FloatArray) -> float:
    """Largest gap between the reference's and the sample's distribution functions; ``present`` sorted."""
    points = np.concatenate([quantiles, present])
    reference = np.searchsorted(quantiles, points, side="right") / len(quantiles)
    sample = np.searchsorted(present, points, side="right") / len(present)
    return float(np.abs(reference - sample).max())


def psi_shares(quantiles: FloatArray, present: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shares of reference and sample in the reference's deciles (fewer where values repeat)."""
    edges = np.unique(quantiles[:: (_GRID - 1) // _BINS])[1:-1]
    counts = [np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1) for x in (quantiles, present)]
    return counts[0] / len(quantiles), counts[1] / len(present)


def psi(reference: FloatArray, sample: FloatArray, n: float) -> float:
    """Population stability index sum (q - p) ln(q / p); an empty bin counts as half an effective observation."""
    p, q = np.maximum(reference, 0.5 / _GRID), np.maximum(sample, 0.5 / max(n, 1.0))
    return float(((q - p) * np.log(q / p)).sum())


def benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """Adjusted p-values controlling the false discovery rate (Benjamini and Hochberg 1995)."""
    order = np.argsort(p_values)
    ranked = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return adjusted
