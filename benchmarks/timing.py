"""How a benchmark measures: medians of warm runs, on the embedded real bars."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter

import pandas as pd

REPEATS = 5
Row = tuple[str, float, str]


def timed(run: Callable[[], object], repeats: int = REPEATS, clock: Callable[[], float] = perf_counter) -> float:
    """Median seconds of ``repeats`` runs after one that warms caches and compilers; of this process alone by ``process_time``."""
    run()
    seconds = []
    for _ in range(repeats):
        began = clock()
        run()
        seconds.append(clock() - began)
    return median(seconds)


def sample_bars() -> pd.DataFrame:
    """The embedded real bars."""
    from alphatrade_pipelines.market import SampleSource

    return SampleSource().fetch()
