"""Have the features, the predictions or the regimes moved away from what the model was trained on?

Kolmogorov-Smirnov on effective sample sizes with Benjamini-Hochberg control over the features, an effect size so that a significant
trifle is no alarm, and the population stability index with its own null distribution: under no change PSI (1/n + 1/m)^-1 is
chi-square with bins - 1 degrees of freedom (Yurdakul 2018), so its threshold depends on n where the usual 0.1 does not.

How much evidence a recent window holds is learned in training (:mod:`dependence`), on thousands of rows: sixty rows are too few to see
that they repeat each other, and a test that asks them alone calls every slow feature drifted. A feature so slow that the window holds
hardly one independent value cannot be tested; it counts only where its values leave everything training ever saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.dependence import Dependence, Grid, dependence
from alphatrade_pipelines.models.errors import ModelDataError

FloatArray = npt.NDArray[np.float64]
MIN_ROWS = 20
MISSING_RISE = 0.05
# independent values from which on a window can be tested; share of values beyond all of training that no test is needed for
TESTABLE, BEYOND = 3.0, 0.5
LOW, HIGH = "_low_vol", "_high_vol"


@dataclass(frozen=True, slots=True)
class DriftReport:
    """``table`` has one row a feature: ks, p_value, q_value (Benjamini-Hochberg), psi, psi_threshold, shift (in reference standard
    deviations), beyond (share of values outside the training range), missing, missing_reference, n_effective, drifted. At most
    ``alpha`` of the tests' alarms are false in expectation.

    ``prediction``: the same row for the model's probabilities, None without predictions. ``regimes``: one row a regime with its share of
    time in training (reference) and recently, and ``z``, the difference in standard errors; empty without regime features.
    """

    table: pd.DataFrame
    alpha: float
    prediction: pd.Series | None = None
    regimes: pd.DataFrame | None = None

    @property
    def drifted(self) -> list[str]:
        """Names of the features that moved, the furthest (largest Kolmogorov-Smirnov distance) first."""
        moved = self.table[self.table["drifted"]].sort_values("ks", ascending=False, kind="stable")
        return [str(name) for name in moved.index]

    @property
    def share(self) -> float:
        """Drifted features among those that could show it: enough independent values to test, or drifted by leaving the training range."""
        could = int(((self.table["n_effective"] >= TESTABLE) | self.table["drifted"]).sum())
        return len(self.drifted) / could if could else 0.0


def drift_reference(features: pd.DataFrame, probabilities: pd.Series) -> dict[str, Any]:
    """What a bundle keeps of its training: ``features`` by name and ``probability`` (out of fold: as on rows the model does not know).

    Each entry is the features room's reference (quantiles, decile shares, moments, share missing) with the column's dependence and
    effective size. Index of both: (symbol, timestamp). Raises ModelDataError for a feature without a single value.
    """
    from alphatrade_pipelines.features import drift_reference as describe

    whole = features.assign(**{_PREDICTION: probabilities})
    grid = Grid.of(whole.index)
    entries = {name: _measured(name, facts, whole[name], grid) for name, facts in describe(whole).items()}
    return {"probability": entries.pop(_PREDICTION), "features": entries}


_PREDICTION = " probability"  # no feature's name begins with a space


def _measured(name: str, facts: dict[str, Any], values: pd.Series, grid: Grid) -> dict[str, Any]:
    if not facts["count"]:
        raise ModelDataError(f"values of the feature {name.strip()}", "NaN only", "Load more history or drop the feature.")
    found = dependence(values, grid)
    return facts | {
        "autocorrelation_time": found.time,
        "independent_symbols": found.symbols,
        "n_effective": found.effective(facts["count"], grid.shape[1]),
    }


def feature_drift(
    reference: Mapping[str, Any],
    features: pd.DataFrame,
    probabilities: pd.Series | None = None,
    alpha: float = 0.05,
    min_shift: float = 0.03,
) -> DriftReport:
    """Compare recent ``features`` (and the model's ``probabilities`` on them) with a bundle's ``drift_reference.json``.

    A feature has drifted when its q-value is below ``alpha`` AND its KS distance exceeds ``min_shift`` (a shift of 0.1 standard deviations
    of a normal is 0.04), when values went missing that used to be there, or when most lie where training had none. Raises ModelDataError
    for a missing column or fewer than 20 rows.
    """
    entries: dict[str, dict[str, Any]] = reference["features"]
    absent = [name for name in entries if name not in features]
    if absent:
        raise ModelDataError(f"the features {list(entries)}", f"no {', '.join(absent)}")
    if len(features) < MIN_ROWS:
        raise ModelDataError(f"at least {MIN_ROWS} recent rows", str(len(features)), "Wait for more bars.")
    table = pd.DataFrame({name: _compare(facts, features[name], alpha) for name, facts in entries.items()}).T
    table.insert(2, "q_value", benjamini_hochberg(table["p_value"].to_numpy(dtype=np.float64)))
    moved = (table["q_value"] < alpha) & (table["ks"] > min_shift)
    gone = table["missing"] > table["missing_reference"] + MISSING_RISE
    table = table.assign(drifted=(moved | gone | (table["beyond"] > BEYOND)).to_numpy(dtype=bool))
    prediction = None
    if probabilities is not None and len(probabilities):
        row = _compare(reference["probability"], probabilities, alpha)
        prediction = pd.Series({**row, "drifted": row["p_value"] < alpha and row["ks"] > min_shift}, name="probability")
    return DriftReport(table, alpha, prediction, regime_occupancy(entries, features))


def regime_occupancy(entries: Mapping[str, Mapping[str, Any]], features: pd.DataFrame) -> pd.DataFrame:
    """Mean filtered probability of each volatility regime in training and now, with the difference in standard errors.

    A market spends months in one regime, so a recent window holds few independent looks: large differences of occupancy are normal, and
    ``z`` says how normal. The middle regime is what the other two leave.
    """
    low = next((name for name in entries if name.endswith(LOW)), None)
    if low is None or (high := low.removesuffix(LOW) + HIGH) not in entries:
        return pd.DataFrame({"reference": [], "recent": [], "z": []})
    shares, rows = {}, {}
    for regime, name in (("low", low), ("high", high)):
        facts, recent = entries[name], features[name].dropna()
        n = _dependence(facts).effective(len(recent), recent.index.get_level_values("symbol").nunique())
        shares[regime] = (float(facts["mean"]), float(recent.mean()) if len(recent) else float("nan"))
        error = float(facts["std"]) * np.sqrt(1.0 / max(n, 1.0) + 1.0 / float(facts["n_effective"]))
        rows[regime] = (*shares[regime], (shares[regime][1] - shares[regime][0]) / error if error > 0 else 0.0)
    middle = tuple(1.0 - shares["low"][k] - shares["high"][k] for k in range(2))
    ordered = {"low": rows["low"], "middle": (*middle, float("nan")), "high": rows["high"]}
    return pd.DataFrame.from_dict(ordered, orient="index", columns=["reference", "recent", "z"])


def _dependence(facts: Mapping[str, Any]) -> Dependence:
    return Dependence(float(facts["autocorrelation_time"]), float(facts["independent_symbols"]))


def _compare(facts: Mapping[str, Any], recent: pd.Series, alpha: float) -> dict[str, float]:
    from scipy.stats import chi2, kstwobign

    values = recent.to_numpy(dtype=np.float64)
    finite = np.isfinite(values)
    present = np.sort(values[finite])
    row = {"missing": 1.0 - len(present) / len(values), "missing_reference": float(facts["missing"])}
    if len(present) == 0:
        return {"ks": 1.0, "p_value": 0.0, "psi": np.inf, "psi_threshold": 0.0, "shift": np.nan, "beyond": 0.0, "n_effective": 0.0} | row
    quantiles = np.asarray(facts["quantiles"], dtype=np.float64)
    symbols = recent.index[finite].get_level_values("symbol").nunique()
    n, m = _dependence(facts).effective(len(present), symbols), float(facts["n_effective"])
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
        "beyond": float(np.mean((present < quantiles[0]) | (present > quantiles[-1]))),
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
