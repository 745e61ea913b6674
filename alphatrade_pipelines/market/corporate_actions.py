"""Splits and cash dividends recovered from a vendor's adjusted closes.

With r = adjusted close / close, the ratio f = r[t] / r[t-1] is 1 on ordinary days. Vendors set f = split + dividend / close[t]. An f that
equals a simple ratio within the rounding of the data, beyond the size of any usual dividend, is a split; any other f > 1 above
the rounding is a dividend of (f - 1) * close.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.errors import BarDataError

FloatArray = npt.NDArray[np.float64]
_MAX_DECIMALS = 9
_LARGEST_DIVIDEND = 0.5  # of the price; a larger step must be a split
_SMALLEST_SPLIT = 1.2  # 6:5; below it a simple ratio proves nothing
_MAX_TERM = 50
_DECIMALS_OF_DIVIDENDS = 6


def derive_actions(close: FloatArray, adjusted: FloatArray, *, where: str = "") -> tuple[FloatArray, FloatArray]:
    """Split factors (1 = none) and cash dividends (0 = none) of one series, oldest bar first.

    Args:
        close: raw closes, shape (n,).
        adjusted: split- and dividend-adjusted closes on any constant scale, shape (n,); their decimals set the noise floor.
        where: series name for the error.

    Raises:
        BarDataError: an adjustment step that is neither a simple split nor a positive dividend below half the price.
    """
    ratio = adjusted / close
    step = np.ones(len(close))
    step[1:] = ratio[1:] / ratio[:-1]
    noise = np.zeros(len(close))
    unit = 0.5 * 10.0 ** -_decimals(adjusted)
    noise[1:] = 1.5 * unit * (1.0 / adjusted[1:] + 1.0 / adjusted[:-1]) + 1e-9
    split, dividend = np.ones(len(close)), np.zeros(len(close))
    for at in np.flatnonzero(np.abs(step - 1.0) > noise):
        split[at], dividend[at] = _explain(float(step[at]), float(noise[at]), float(close[at]), f"{where}, bar {at}")
    return split, dividend


def _explain(step: float, noise: float, close: float, where: str) -> tuple[float, float]:
    simple = _simple_ratio(step, noise)
    if simple is not None:
        return simple, 0.0
    if 1.0 < step < 1.0 + _LARGEST_DIVIDEND:
        return 1.0, round((step - 1.0) * close, _DECIMALS_OF_DIVIDENDS)
    fix = "Supply explicit split and dividend columns for this series."
    raise BarDataError("an adjustment that is a split or a dividend", f"a step of {step:.6g}", where=where, fix=fix)


def _simple_ratio(step: float, noise: float) -> float | None:
    """The split p:q with the smallest terms within ``noise`` of ``step``: n:1, 1:n, or both terms up to 10."""
    if 1.0 / _SMALLEST_SPLIT < step < _SMALLEST_SPLIT:
        return None
    nearest = Fraction(step).limit_denominator(_MAX_TERM)
    plausible = min(nearest.numerator, nearest.denominator) == 1 or max(nearest.numerator, nearest.denominator) <= 10
    return float(nearest) if plausible and abs(float(nearest) / step - 1.0) <= noise else None


def _decimals(values: FloatArray) -> int:
    """The fewest decimals that write all ``values`` exactly, at most 9."""
    for decimals in range(_MAX_DECIMALS):
        scaled = values * 10.0**decimals
        if np.all(np.abs(scaled - np.rint(scaled)) < 1e-6):
            return decimals
    return _MAX_DECIMALS
