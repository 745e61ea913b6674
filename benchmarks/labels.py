"""Labels, weights and splits: the kernels alone, and whole calls with their pandas frames, on a made-up panel of a million bars."""

from __future__ import annotations

from time import process_time

import numpy as np
import pandas as pd

from benchmarks.timing import Row, timed

_SYMBOLS, _BARS, _HORIZONS = 200, 5_000, (10, 100)


def labels() -> list[Row]:
    """Triple barriers, trend scanning, uniqueness, the sequential bootstrap, combinatorial splits; one core, CPU time."""
    bars = _panel()
    return _brackets(bars) + _trends(bars) + _evidence(bars)


def _brackets(bars: pd.DataFrame) -> list[Row]:
    from alphatrade_pipelines.models.labels import BarrierConfig, barrier_prices, triple_barrier
    from alphatrade_pipelines.models.labels.kernels import first_touch

    volatility = pd.Series(0.015, index=bars.index)
    opens, highs, lows, closes = (bars[name].to_numpy() for name in ("open", "high", "low", "close"))
    found: list[Row] = []
    for horizon in _HORIZONS:
        config = BarrierConfig(horizon=horizon)
        decided = np.arange(len(bars) - horizon - 1, dtype=np.int64)
        stops, targets = barrier_prices(closes[decided], volatility.to_numpy()[decided], config)
        long, last = np.ones(len(decided), dtype=np.int64), decided + 1 + horizon
        arguments = (opens, highs, lows, stops, targets, long, decided, last)
        kernel = timed(lambda arguments=arguments: first_touch(*arguments), clock=process_time)  # type: ignore[misc]
        whole = timed(lambda config=config: triple_barrier(bars, volatility, config), clock=process_time)  # type: ignore[misc]
        found += [
            (f"triple barrier, horizon {horizon}, kernel", len(decided) / kernel / 1e6, "M events/s"),
            (f"triple barrier, horizon {horizon}, whole frame of labels", len(decided) / whole / 1e6, "M events/s"),
        ]
    return found


def _trends(bars: pd.DataFrame) -> list[Row]:
    from alphatrade_pipelines.models.labels import TrendConfig, trend_scanning

    seconds = timed(lambda: trend_scanning(bars, TrendConfig(5, 20)), clock=process_time)
    return [("trend scanning, 16 lines of 5 to 20 closes", len(bars) / seconds / 1e6, "M events/s")]


def _evidence(bars: pd.DataFrame) -> list[Row]:
    from alphatrade_pipelines.models.labels import BarrierConfig, triple_barrier
    from alphatrade_pipelines.models.resampling import sequential_bootstrap
    from alphatrade_pipelines.models.validation import CombinatorialPurgedCV
    from alphatrade_pipelines.models.weights import average_uniqueness

    made = triple_barrier(bars, pd.Series(0.015, index=bars.index), BarrierConfig())
    some = made.loc[["S000"]].iloc[:4_000]
    splitter = CombinatorialPurgedCV(6, 2, 10, made["t1"])
    return [
        ("average uniqueness", len(made) / timed(lambda: average_uniqueness(made), clock=process_time) / 1e6, "M labels/s"),
        (
            "sequential bootstrap, 4,000 draws of 4,000 labels",
            timed(lambda: sequential_bootstrap(some, np.random.default_rng(0)), clock=process_time),
            "s",
        ),
        (f"combinatorial splits, 15 of {len(made):,} rows", timed(lambda: list(splitter.split(made)), 3, process_time), "s"),
    ]


def _panel() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    times = pd.date_range("2000-01-03 14:30", periods=_BARS, freq="B", tz="UTC").as_unit("ns")
    index = pd.MultiIndex.from_product([[f"S{k:03d}" for k in range(_SYMBOLS)], times], names=["symbol", "timestamp"])
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, (_SYMBOLS, _BARS)), axis=1)).ravel()
    opened = close * np.exp(rng.normal(0, 0.005, len(close)))
    high, low = np.maximum(opened, close) * 1.005, np.minimum(opened, close) * 0.995
    return pd.DataFrame({"open": opened, "high": high, "low": low, "close": close}, index=index)
