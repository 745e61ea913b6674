"""Sequential bootstrap: drawing labels so that they overlap less than chance would have it (Lopez de Prado 2018, 4.5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.market.jit import kernel
from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.weights import lives

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def sequential_bootstrap(labels: pd.DataFrame, rng: np.random.Generator, size: int | None = None) -> IntArray:
    """Draw rows with replacement; a label that overlaps what has been drawn becomes less likely.

    The probability of label i is in proportion to its average uniqueness if it were drawn next: the mean over its life of 1 / (1 + number
    of drawn labels of its symbol alive then).

    Args:
        labels: ``t1`` on (symbol, timestamp); lives as in :func:`~alphatrade_pipelines.models.weights.average_uniqueness`.
        rng: one uniform draw is taken from it for each row.
        size: number of draws; as many as there are labels when None.

    Returns:
        Positions into ``labels``, in the order drawn. Time grows with size x len(labels).

    Raises:
        ModelDataError: no labels, a negative size, end times missing or before their decision.
    """
    count = len(labels) if size is None else size
    if len(labels) == 0 or count < 0:
        raise ModelDataError("some labels and a size >= 0", f"{len(labels)} labels, size {count}")
    first, last, _ = lives(labels)
    return draw_sequentially(first, last, len(labels), rng.random(count))


def draw_probabilities(first: IntArray, last: IntArray, drawn: IntArray) -> FloatArray:
    """Probability of each label, alive on places [first, last), to be drawn after ``drawn``."""
    alive = np.zeros(int(last.max()), dtype=np.int64)
    for one in drawn:
        alive[first[one] : last[one]] += 1
    unique = np.array([np.mean(1.0 / (1.0 + alive[low:high])) for low, high in zip(first, last, strict=True)])
    return np.asarray(unique / unique.sum(), dtype=np.float64)


@kernel
def draw_sequentially(first: IntArray, last: IntArray, places: int, uniforms: FloatArray) -> IntArray:
    """One draw for each of ``uniforms``, by inversion of the cumulated uniqueness of the labels in their order."""
    count = len(first)
    alive, share = np.zeros(places, np.int64), np.zeros(places + 1)
    summed, drawn = np.empty(count), np.empty(len(uniforms), np.int64)
    for step in range(len(uniforms)):
        for place in range(places):
            share[place + 1] = share[place] + 1.0 / (1.0 + alive[place])
        total = 0.0
        for k in range(count):
            total += (share[last[k]] - share[first[k]]) / (last[k] - first[k])
            summed[k] = total
        chosen = min(np.searchsorted(summed, uniforms[step] * total, side="right"), count - 1)
        drawn[step] = chosen
        for place in range(first[chosen], last[chosen]):
            alive[place] += 1
    return drawn
