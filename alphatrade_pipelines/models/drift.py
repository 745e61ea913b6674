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
MIN_ROWS = 20


@dataclass(frozen=True, slots=True)
class DriftReport:
    """``table`` has one row a feature: ks, p_value, q_value (Benjamini-Hochberg), psi, psi_threshold, shift (in reference standard
    deviations), missing, missing_reference, n_effective, drifted. At most ``alpha`` of the alarms are false in expectation."""

    table: pd.DataFrame
    alpha: float

    @property
    def drifted(self) -> list[str]:
        """Names of the features that moved, the furthest (largest Kolmogorov-Smirnov distance) first."""
        moved = self.table[self.table["drifted"]].sort_values("ks", ascending=False, kind="stable")
        return [str(name) for name in moved.index]


def drift_reference(features: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The features room's reference (quantiles, decile shares, moments, share missing) with the effective size of each column.

    Raises ModelDataError for a feature without a single value.
    """
    from alphatrade_pipelines.features import drift_reference as describe

    reference = describe(features)
    for name, facts in reference.items():
        if not facts["count"]:
            raise ModelDataError(f"values of the feature {name}", "NaN only", "Load more history or drop the feature.")
        facts["n_effective"] = effective_rows(features[name])
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
    expected = np.asarray(facts["shares"], dtype=np.float64)
    counts = np.bincount(np.searchsorted(np.asarray(facts["edges"]), present, side="left"), minlength=len(expected))
    return {
        "ks": distance,
        "p_value": float(kstwobign.sf((np.sqrt(pairs) + 0.12 + 0.11 / np.sqrt(pairs)) * distance)),
        "psi": psi(expected, counts / len(present), min(n, m)),
        "psi_threshold": float(chi2.ppf(1.0 - alpha, max(len(expected) - 1, 1)) / pairs),
        "shift": (float(present.mean()) - facts["mean"]) / facts["std"] if facts["std"] > 0 else 0.0,
        "n_effective": n,
    } | row


def ks_distance(quantiles: FloatArray, present: FloatArray) -> float:
    """Largest gap between the distribution functions of reference and sample (sorted). The reference is known at its quantiles only, so
    the gap is taken there: at most one step of the grid too small, and exact for repeated values."""
    points = np.unique(quantiles)
    grid = np.linspace(0.0, 1.0, len(quantiles))
    up_to = grid[np.searchsorted(quantiles, points, side="right") - 1]
    sample = np.searchsorted(present, points, side="right") / len(present)
    return float(np.abs(up_to - sample).max())


def psi(reference: FloatArray, sample: FloatArray, n: float) -> float:
    """Population stability index sum (q - p) ln(q / p); an empty bin counts as half an effective observation."""
    floor = 0.5 / max(n, 1.0)
    p, q = np.maximum(reference, floor), np.maximum(sample, floor)
    return float(((q - p) * np.log(q / p)).sum())


def benjamini_hochberg(p_values: FloatArray) -> FloatArray:
    """Adjusted p-values controlling the false discovery rate (Benjamini and Hochberg 1995)."""
    order = np.argsort(p_values)
    ranked = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return adjusted
