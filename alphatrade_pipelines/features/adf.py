"""Augmented Dickey-Fuller test with a constant, as needed to choose the order of fractional differentiation.

Regression: dy[t] = a + b y[t-1] + c_1 dy[t-1] + … + c_p dy[t-p] + e; the statistic is b / se(b). Dickey and Fuller (1979), Said and Dickey
(1984); critical values from the response surface of MacKinnon (2010), table 2, one variable, constant.
"""

from __future__ import annotations

import numpy as np

from alphatrade_pipelines.features.base import FloatArray
from alphatrade_pipelines.features.errors import FeatureInputError

# significance -> (b_inf, b_1, b_2, b_3): critical value = b_inf + b_1 / T + b_2 / T^2 + b_3 / T^3
_SURFACE = {
    0.01: (-3.43035, -6.5393, -16.786, -79.433),
    0.05: (-2.86154, -2.8903, -4.234, -40.040),
    0.10: (-2.56677, -1.5384, -2.809, 0.0),
}
SIGNIFICANCES = tuple(_SURFACE)


def adf_statistic(x: FloatArray, lags: int = 1) -> tuple[float, int]:
    """(t statistic of the unit root, observations in the regression); NaN for a series without variation.

    Raises:
        FeatureInputError: fewer observations than twice the regressors.
    """
    change = np.diff(x)
    target = change[lags:]
    columns = [x[lags:-1], *(change[lags - k : len(change) - k] for k in range(1, lags + 1)), np.ones(len(target))]
    if len(target) < 2 * len(columns):
        raise FeatureInputError(f"at least {2 * len(columns) + lags + 1} values for an ADF test with {lags} lags", str(len(x)))
    design = np.column_stack(columns)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return float("nan"), len(target)
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ (design.T @ target)
    residual = target - design @ coefficients
    variance = float(residual @ residual) / (len(target) - design.shape[1])
    return float(coefficients[0] / np.sqrt(variance * inverse[0, 0])), len(target)


def adf_critical_value(observations: int, significance: float = 0.05) -> float:
    """Value the statistic must fall below to reject a unit root (``significance`` .01, .05 or .10)."""
    surface = _SURFACE[significance]
    return float(sum(b / observations**power for power, b in enumerate(surface)))


def is_stationary(x: FloatArray, lags: int = 1, significance: float = 0.05) -> bool:
    """Whether the unit root is rejected; a series without variation is not judged stationary."""
    statistic, observations = adf_statistic(x, lags)
    return bool(statistic < adf_critical_value(observations, significance))
