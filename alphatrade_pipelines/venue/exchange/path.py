"""The path of the price inside a bar: four anchors (open, one extreme, the other, close) and, at finer resolutions, points between them.

The anchors are the bar's own prices at drawn times; between them lies a Brownian bridge, reflected at the extremes and
rounded to the tick, whose draws are counter-based on (seed, symbol, bar, step): the same bar has the same path in every process.
Its standard deviation follows from the bar's range (Parkinson 1980).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel
from alphatrade_pipelines.venue.exchange.fills import tick_size, uniform_draw, volume_fraction

ANCHORS = 4
# A point owns the volume from half way to the point before to half way to the next. Of the four anchors these are 0 to 20 %, 20 to 50 %,
# 50 to 80 % and 80 to 100 % of the bar's time (the extremes tend to come early and late); finer paths interpolate.
_HALF_WAY, _TIME = (0.0, 1 / 6, 0.5, 5 / 6, 1.0), (0.0, 0.2, 0.5, 0.8, 1.0)
_PATH, _PLACES = 1000, 1002  # first purposes of the path's draws
_RANGE_TO_SIGMA = 1.0 / math.sqrt(8.0 / math.pi)


def check_points(points: int) -> int:
    """``points``, if a bar can be walked in so many.

    Raises:
        ValueError: fewer than the four anchors.
    """
    if points < ANCHORS:
        raise ValueError(f"expected path_points >= {ANCHORS} (open, two extremes, close), found {points}")
    return points


def volume_shares(points: int, early_share: float) -> tuple[float, ...]:
    """Part of a bar's volume traded before the stretch of each point, and 1 at the end: ``points + 1`` rising numbers."""
    half_way = [0.0, *((2 * k + 1) / (2 * (points - 1)) for k in range(points - 1)), 1.0]
    return tuple(volume_fraction(float(np.interp(x, _HALF_WAY, _TIME)), early_share) for x in half_way)


def whole_sizes(volume: float, shares: tuple[float, ...]) -> list[int]:
    """``volume`` split over the points in whole shares that sum to it."""
    return [math.floor(volume * after + 0.5) - math.floor(volume * before + 0.5) for before, after in pairwise(shares)]


@kernel
def _normal(seed: int, symbol_key: int, bar_time: int, step: int) -> float:
    """A standard normal draw (Box and Muller 1958)."""
    u = uniform_draw(seed, symbol_key, bar_time, step, _PATH)
    v = uniform_draw(seed, symbol_key, bar_time, step, _PATH + 1)
    return math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)


@kernel
def _inside(price: float, low: float, high: float) -> float:
    """``price`` reflected at the extremes, never outside them."""
    if price < low:
        price = 2.0 * low - price
    elif price > high:
        price = 2.0 * high - price
    return min(max(price, low), high)


@kernel
def anchor_places(anchors: Any, points: int, seed: int, symbol_key: int, bar_time: int) -> npt.NDArray[np.int64]:
    """Which points of a path are the open, the first extreme, the second and the close. They are drawn (a leg takes time like the square of
    its length, as in diffusion, times an exponential draw): if extremes came at known times, a client would know a low when it sees one."""
    times = np.empty(3, dtype=np.float64)
    for part in range(3):
        length = abs(anchors[part + 1] - anchors[part]) + 1e-9
        times[part] = -length * length * math.log(1.0 - uniform_draw(seed, symbol_key, bar_time, part, _PLACES)) + 1e-30
    spare = (points - ANCHORS) / (times[0] + times[1] + times[2])
    first = 1 + int(spare * times[0] + 0.5)
    second = first + 1 + int(spare * times[1])
    return np.array([0, first, min(second, points - 2), points - 1], dtype=np.int64)


@kernel
def bar_path(anchors: Any, points: int, low: float, high: float, seed: int, symbol_key: int, bar_time: int) -> npt.NDArray[np.float64]:
    """Prices of all ``points`` of a bar. ``anchors``: its four prices in the order they come."""
    positions = anchor_places(anchors, points, seed, symbol_key, bar_time)
    path = np.empty(points, dtype=np.float64)
    deviation = (high - low) * _RANGE_TO_SIGMA / math.sqrt(points - 1.0)
    for part in range(3):
        begin, end, price = positions[part], positions[part + 1], anchors[part]
        path[begin] = price
        for step in range(begin + 1, end):
            left = end - step + 1.0
            price += (anchors[part + 1] - price) / left
            price += deviation * math.sqrt((left - 1.0) / left) * _normal(seed, symbol_key, bar_time, step)
            price = _inside(price, low, high)
            tick = tick_size(price)
            path[step] = min(max(float(round(math.floor(price / tick + 0.5) * tick * 10000.0)) / 10000.0, low), high)
    path[positions[3]] = anchors[3]
    return path
