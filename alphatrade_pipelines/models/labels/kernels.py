"""The loops behind the labels. Each follows one decision through the bars after it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
STOP, TARGET, VERTICAL = 0, 1, 2


@kernel
def first_touch(
    opens: FloatArray,
    highs: FloatArray,
    lows: FloatArray,
    stops: FloatArray,
    targets: FloatArray,
    sides: IntArray,
    decisions: IntArray,
    last: IntArray,
) -> tuple[IntArray, BoolArray, IntArray, FloatArray]:
    """First exit of each position: (bar, exited at its open?, kind, price).

    ``stops``, ``targets``, ``sides`` (1 or -1), ``decisions`` (bar decided at) and ``last`` (bar at whose open the vertical barrier closes
    the position) have one entry a position. A short is the long of the mirrored prices. In one bar the open comes first, then the stop.
    """
    n = len(decisions)
    bar, at_open = np.empty(n, np.int64), np.empty(n, np.bool_)
    kind, price = np.empty(n, np.int64), np.empty(n, np.float64)
    for k in range(n):
        side = sides[k]
        stop, target = side * stops[k], side * targets[k]
        worst, best = (lows, highs) if side > 0 else (highs, lows)
        bar[k], at_open[k], kind[k], price[k] = last[k], True, 2, opens[last[k]]
        for j in range(decisions[k] + 1, last[k]):
            opened = side * opens[j]
            if opened <= stop or opened >= target:  # gapped through, possibly already at the entry
                bar[k], at_open[k], price[k] = j, True, opens[j]
                kind[k] = 0 if opened <= stop else 1
                break
            if side * worst[j] <= stop:
                bar[k], at_open[k], kind[k], price[k] = j, False, 0, stops[k]
                break
            if side * best[j] >= target:
                bar[k], at_open[k], kind[k], price[k] = j, False, 1, targets[k]
                break
    return bar, at_open, kind, price


@kernel
def strongest_trend(values: FloatArray, decisions: IntArray, shortest: int, longest: int) -> tuple[IntArray, FloatArray]:
    """The number of points (from ``shortest`` to ``longest``, the decision's own the first) over which the least-squares line through
    ``values`` has the slope with the largest absolute t-value, and that t-value. Ties go to the shorter line; a level one has t = 0.
    """
    n = len(decisions)
    points, best = np.empty(n, np.int64), np.empty(n, np.float64)
    for k in range(n):
        first = decisions[k]
        base, sy, sxy, syy = values[first], 0.0, 0.0, 0.0
        points[k], best[k] = shortest, 0.0
        for x in range(longest):
            y = values[first + x] - base
            sy, sxy, syy = sy + y, sxy + x * y, syy + y * y
            count = x + 1
            if count < shortest:
                continue
            spread = count * (count * count - 1.0) / 12.0  # sum of squares of x around its mean
            total = syy - sy * sy / count
            if not total > 1e-28 * count:  # level up to rounding
                continue
            slope = (sxy - x / 2.0 * sy) / spread
            # a straight line leaves no residual but rounding: its t-value stays finite and grows with the length
            residual = max(total - slope * slope * spread, 1e-13 * total)
            t = slope / np.sqrt(residual / (count - 2) / spread)
            if abs(t) > abs(best[k]):
                points[k], best[k] = count, t
    return points, best
