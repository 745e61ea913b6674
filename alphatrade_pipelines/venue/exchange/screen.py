"""Which resting orders a stretch of the path can touch at all: one compiled pass over arrays, so that Python handles only those."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from alphatrade_pipelines.market.jit import kernel
from alphatrade_pipelines.venue.exchange.orders import STOP_TYPES, BookOrder

ALWAYS, LIMIT, STOP, TRAILING = 0, 1, 2, 3


@kernel
def may_trade(side: int, kind: int, trigger: float, best: float, start: float, end: float) -> bool:
    """Can an order of this ``kind`` do anything while price goes from ``start`` to ``end``: a resting limit when its price is touched, a
    stop when it is reached, a trailing stop then or when price is better than the ``best`` it has seen (NaN: none yet)."""
    if kind == LIMIT:
        return max(side * (trigger - start), side * (trigger - end)) >= -1e-9
    if kind == TRAILING and not min(side * (start - best), side * (end - best)) >= 0.0:
        return True  # a better price than any before (or the first): the stop follows
    if kind in (STOP, TRAILING):
        return max(side * (start - trigger), side * (end - trigger)) >= -1e-9
    return True


@kernel
def screen(sides: Any, kinds: Any, triggers: Any, bests: Any, start: float, end: float, found: Any) -> int:
    """Write the positions of the orders that may trade into ``found``, in order; how many they are."""
    count = 0
    for position in range(len(sides)):
        if may_trade(sides[position], kinds[position], triggers[position], bests[position], start, end):
            found[count] = position
            count += 1
    return count


class Screen:
    """The active orders of one symbol in the order they meet the market: stops first, then by age. Rebuilt when one of them changes."""

    def __init__(self, orders: Sequence[BookOrder]) -> None:
        self.orders = sorted(orders, key=lambda order: (order.type not in STOP_TYPES, order.sequence))
        rows = [_row(order) for order in self.orders]
        self._sides = np.array([order.sign for order in self.orders], dtype=np.int64)
        self._kinds = np.array([row[0] for row in rows], dtype=np.int64)
        self._triggers = np.array([row[1] for row in rows], dtype=np.float64)
        self._bests = np.array([row[2] for row in rows], dtype=np.float64)
        self._found = np.empty(len(rows), dtype=np.int64)

    def touched(self, start: float, end: float) -> list[BookOrder]:
        """The orders that may trade while price goes from ``start`` to ``end``."""
        count = screen(self._sides, self._kinds, self._triggers, self._bests, start, end, self._found)
        return [self.orders[position] for position in self._found[:count].tolist()]


def _row(order: BookOrder) -> tuple[int, float, float]:
    if not order.routed:
        return ALWAYS, math.nan, math.nan
    if order.type in STOP_TYPES and not order.triggered:
        assert order.stop_price is not None
        if order.type == "trailing_stop":
            return TRAILING, float(order.stop_price), math.nan if order.hwm is None else float(order.hwm)
        return STOP, float(order.stop_price), math.nan
    limit = order.limit_price if order.limit_price is not None else order.stop_cap
    if limit is not None and order.ahead is not None:
        return LIMIT, float(limit), math.nan
    return ALWAYS, math.nan, math.nan
