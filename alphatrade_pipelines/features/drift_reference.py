"""What the features looked like in training, for later drift checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_BINS = 10
_QUANTILES = 101


def drift_reference(features: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """For each column: count, missing share, mean, std, 101 quantiles, and a decile histogram (inner edges and shares).

    Args:
        features: columns of floats; NaN counts as missing.

    Returns:
        JSON-ready dict by column. ``edges`` are the distinct inner decile edges (fewer than nine for a column with many ties);
        ``shares`` (edges + 1) are the shares at or below the first edge, between edges (right-closed), and above the last.
    """
    return {str(name): _describe(features[name].to_numpy(dtype=np.float64)) for name in features.columns}


def _describe(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    summary: dict[str, Any] = {"count": len(finite), "missing": float(1.0 - len(finite) / len(values)) if len(values) else 1.0}
    if not len(finite):
        return summary | {"mean": None, "std": None, "quantiles": [], "edges": [], "shares": []}
    edges = np.unique(np.quantile(finite, np.linspace(0.0, 1.0, _BINS + 1)[1:-1]))
    counts = np.bincount(np.searchsorted(edges, finite, side="left"), minlength=len(edges) + 1)
    quantiles = np.quantile(finite, np.linspace(0.0, 1.0, _QUANTILES))
    return summary | {
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "quantiles": quantiles.tolist(),
        "edges": edges.tolist(),
        "shares": (counts / len(finite)).tolist(),
    }
