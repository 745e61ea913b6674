"""How the symbols moved together while the model was trained: the baseline a correlation breaker compares with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

MIN_COMMON = 60


def baseline_correlation(bars: pd.DataFrame) -> dict[str, Any]:
    """Pairwise correlation of log returns of forward-adjusted closes, with the number of common bars behind each pair.

    A pair with fewer than 60 common bars is null: unknown is not zero. ``mean`` averages the known pairs (null when there are none).
    """
    closes = bars["close"].unstack("symbol")
    returns = closes.apply(np.log).diff()
    known = returns.notna().to_numpy(dtype=np.float64)
    common = (known.T @ known).astype(int)
    matrix = returns.corr(min_periods=MIN_COMMON).to_numpy(dtype=np.float64)
    pairs = matrix[np.triu_indices_from(matrix, 1)]
    pairs = pairs[np.isfinite(pairs)]
    return {
        "symbols": [str(name) for name in returns.columns],
        "correlation": [[float(x) if np.isfinite(x) else None for x in row] for row in matrix],
        "observations": common.tolist(),
        "mean": float(pairs.mean()) if len(pairs) else None,
    }
