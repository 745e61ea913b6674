"""The loop of :mod:`event_bars`: one pass over trades, all memory in one small array, so that any chunking gives the same bits."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# slots of the memory
_SIDE, _LAST = 0, 1  # last sign of the tick rule, last price
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _DOLLAR, _TICKS, _THETA = 2, 3, 4, 5, 6, 7, 8, 9  # bar under construction
_EXPECTED_TICKS, _EXPECTED_SIGNED, _LEARNT_SIGNED, _FINISHED = 10, 11, 12, 13  # expectations in force, being learnt, bars finished
SLOTS = 14
_VALUES = 10
# positions in the parameters
_UNIT, _THRESHOLD, _IMBALANCE, _BARS_DECAY, _TICKS_DECAY, _LEAST, _MOST = 0, 1, 2, 3, 4, 5, 6


@kernel
def run_trades(
    times: IntArray, price: FloatArray, size: FloatArray, parameters: FloatArray, memory: FloatArray, span: IntArray
) -> tuple[FloatArray, IntArray]:
    """Finished bars (bars, 10: open high low close volume dollar vwap ticks imbalance threshold) and their first and last times (bars, 2).

    ``memory`` and ``span`` hold the bar under construction and are updated in place. Tick rule: +1 on an uptick, -1 on a downtick, the last
    sign on no change, 0 until the price first moves.
    """
    bars = np.empty((price.size, _VALUES))
    spans = np.empty((price.size, 2), dtype=np.int64)
    count = 0
    for i in range(price.size):
        _take(times[i], price[i], size[i], parameters, memory, span)
        threshold = _threshold(parameters, memory)
        if _is_full(parameters, memory, threshold):
            ticks = memory[_TICKS]
            for at in range(6):
                bars[count, at] = memory[_OPEN + at]
            bars[count, 6] = memory[_DOLLAR] / memory[_VOLUME]
            bars[count, 7], bars[count, 8], bars[count, 9] = ticks, memory[_THETA], threshold
            spans[count, 0], spans[count, 1] = span[0], span[1]
            count += 1
            _finish(parameters, memory)
    return bars[:count].copy(), spans[:count].copy()


@kernel
def _take(time: int, price: float, size: float, parameters: FloatArray, memory: FloatArray, span: IntArray) -> None:
    if memory[_LAST] > 0.0 and price != memory[_LAST]:
        memory[_SIDE] = 1.0 if price > memory[_LAST] else -1.0
    memory[_LAST] = price
    if memory[_TICKS] == 0.0:
        memory[_OPEN], memory[_HIGH], memory[_LOW] = price, price, price
        span[0] = time
    span[1] = time
    memory[_HIGH], memory[_LOW], memory[_CLOSE] = max(memory[_HIGH], price), min(memory[_LOW], price), price
    memory[_VOLUME] += size
    memory[_DOLLAR] += price * size
    memory[_TICKS] += 1.0
    amount = 1.0
    if parameters[_UNIT] == 1.0:
        amount = size
    elif parameters[_UNIT] == 2.0:
        amount = price * size
    signed = memory[_SIDE] * amount
    memory[_THETA] += signed
    first_ever = memory[_FINISHED] == 0.0 and memory[_TICKS] == 1.0
    decay = 1.0 if first_ever else parameters[_TICKS_DECAY]
    memory[_LEARNT_SIGNED] += decay * (signed - memory[_LEARNT_SIGNED])


@kernel
def _threshold(parameters: FloatArray, memory: FloatArray) -> float:
    """In force for the bar under construction; in trades for the bar that teaches the expectations."""
    if parameters[_IMBALANCE] == 0.0 or memory[_FINISHED] == 0.0:
        return float(parameters[_THRESHOLD])
    return float(memory[_EXPECTED_TICKS] * abs(memory[_EXPECTED_SIGNED]))


@kernel
def _is_full(parameters: FloatArray, memory: FloatArray, threshold: float) -> bool:
    if parameters[_IMBALANCE] == 0.0:
        reached = memory[_TICKS]
        if parameters[_UNIT] == 1.0:
            reached = memory[_VOLUME]
        elif parameters[_UNIT] == 2.0:
            reached = memory[_DOLLAR]
        return bool(reached >= threshold)
    if memory[_FINISHED] == 0.0:
        return bool(memory[_TICKS] >= threshold)
    if memory[_TICKS] < parameters[_LEAST]:
        return False
    return bool(abs(memory[_THETA]) >= threshold or memory[_TICKS] >= parameters[_MOST])


@kernel
def _finish(parameters: FloatArray, memory: FloatArray) -> None:
    ticks = memory[_TICKS]
    if memory[_FINISHED] == 0.0:
        memory[_EXPECTED_TICKS] = ticks
    else:
        memory[_EXPECTED_TICKS] += parameters[_BARS_DECAY] * (ticks - memory[_EXPECTED_TICKS])
    memory[_EXPECTED_SIGNED] = memory[_LEARNT_SIGNED]
    memory[_FINISHED] += 1.0
    for at in range(_OPEN, _THETA + 1):
        memory[at] = 0.0


@kernel
def cusum_marks(change: FloatArray, threshold: FloatArray, memory: FloatArray) -> IntArray:
    """+1 or -1 where the symmetric CUSUM filter fires, else 0; ``memory`` (up, down) is updated in place. NaN changes are skipped."""
    marks = np.zeros(change.size, dtype=np.int64)
    for i in range(change.size):
        if math.isnan(change[i]) or math.isnan(threshold[i]):
            continue
        memory[0] = max(0.0, memory[0] + change[i])
        memory[1] = min(0.0, memory[1] + change[i])
        if memory[1] < -threshold[i]:
            memory[1] = 0.0
            marks[i] = -1
        elif memory[0] > threshold[i]:
            memory[0] = 0.0
            marks[i] = 1
    return marks
