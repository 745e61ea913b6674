"""How a benchmark is timed."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

REPEATS = 5
Row = tuple[str, float, str]


def timed(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of ``repeats`` runs after one that warms caches and compilers."""
    run()
    seconds = []
    for _ in range(repeats):
        began = perf_counter()
        run()
        seconds.append(perf_counter() - began)
    return median(seconds)
