"""The feature catalogue: batch, stream, and its kernels beside pandas, numpy and, where installed, the libraries that have them too."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks.timing import Row, sample_bars, timed

if TYPE_CHECKING:
    from alphatrade_pipelines.features import FittedPipeline

_ROWS, _D, _THRESHOLD, _WINDOW = 50_000, 0.4, 1e-4, 20
_TICKS = 300


def features() -> list[Row]:
    """The default sets in batch on one core, and the stream one time stamp at a time."""
    return _batch() + _stream() + _fracdiff() + _rolling()


def regime() -> list[Row]:
    """The market regime: filtering against hmmlearn's posterior of every prefix, and 100,000 bars of expanding refits, fits included."""
    from hmmlearn.hmm import GaussianHMM

    from alphatrade_pipelines.features.catalogue.regime import Regime
    from alphatrade_pipelines.features.hmm import STATES, fresh_belief
    from alphatrade_pipelines.features.regime_fit import fit_model

    x, times = _market(100_000), np.arange(100_000, dtype=np.int64)
    short = x[:2_000]
    model = fit_model(short, 0, None)
    hmm = GaussianHMM(STATES, "diag")
    hmm.startprob_, hmm.transmat_ = np.full(STATES, 1 / STATES), model.transition
    hmm.means_, hmm.covars_ = model.means[:, None], model.variances[:, None]
    began = perf_counter()
    prefixes = np.array([hmm.predict_proba(short[: count + 1, None])[-1] for count in range(500, 2_000)])
    naive = perf_counter() - began
    quick = timed(lambda: model.filter(short, fresh_belief()))
    gap = float(np.abs(model.filter(short, fresh_belief())[500:] - prefixes).max())
    feature = Regime()
    began = perf_counter()
    feature.compute(times, x, feature.fit(times, x))
    return [
        ("regime, filter n=2000, one pass against hmmlearn per prefix", naive / quick, "times"),
        ("regime, largest difference between the two", gap * 1e12, "1e-12"),
        ("regime, 100k bars expanding, 996 fits included", perf_counter() - began, "s"),
    ]


def _batch() -> list[Row]:
    from datetime import date

    from alphatrade_pipelines.features import FeaturePipeline
    from alphatrade_pipelines.market import SyntheticConfig, SyntheticSource, Timeframe

    frame = Timeframe.parse("5Min")
    symbols = tuple(f"S{k:02d}" for k in range(8))
    market = SyntheticSource(SyntheticConfig(7, symbols, date(2023, 1, 3), date(2023, 6, 30), frame))
    found: list[Row] = []
    for name, bars in (("1Day", sample_bars()), ("5Min", market.fetch(list(symbols), "2023-01-03", "2023-07-01"))):
        began = perf_counter()
        fitted = FeaturePipeline.default(name).fit(bars)
        first = perf_counter() - began
        fits = timed(lambda name=name, bars=bars: FeaturePipeline.default(name).fit(bars), 3)  # type: ignore[misc]
        wall, cpu = (
            len(bars) / timed(lambda fitted=fitted, bars=bars: fitted.transform(bars), clock=clock)  # type: ignore[misc]
            for clock in (perf_counter, process_time)
        )
        found += [
            (f"features {name}, batch, {len(fitted.feature_names)} columns, {len(bars):,} rows", wall, "rows/s"),
            (f"features {name}, batch, the same in CPU time", cpu, "rows/s"),
            (f"features {name}, fit and its transform, first in this process", first, "s"),
            (f"features {name}, fit and its transform, warm", fits, "s"),
        ]
    return found


def _stream() -> list[Row]:
    from alphatrade_pipelines.features import FeaturePipeline

    bars = sample_bars()
    fitted = FeaturePipeline.default("1Day").fit(bars)
    found: list[Row] = []
    for label, part in (("5 symbols", bars), ("1 symbol", bars.loc[["AAPL"]])):
        for clock, measured in ((perf_counter, ""), (process_time, ", CPU time")):
            each = _ticks(fitted, part, clock)
            found += [
                (f"features 1Day, stream update, {label}, p{share} per symbol-bar{measured}", float(np.percentile(each, share)), "ms")
                for share in (50, 99)
            ]
    saving = timed(fitted.stream(bars).to_json)
    return [*found, ("features 1Day, stream saved as JSON, 5 symbols", saving * 1e3, "ms")]


def _ticks(fitted: FittedPipeline, bars: pd.DataFrame, clock: Callable[[], float]) -> list[float]:
    """Milliseconds a symbol-bar of each of the last updates."""
    stamps = bars.index.get_level_values("timestamp")
    later = stamps.unique().sort_values()[-_TICKS:]
    stream = fitted.stream(bars[stamps < later[0]])
    each = []
    for stamp in later:
        rows = bars[stamps == stamp]
        began = clock()
        stream.update(rows)
        each.append((clock() - began) / len(rows) * 1e3)
    return each


def _fracdiff() -> list[Row]:
    from alphatrade_pipelines.features.catalogue.fracdiff import fracdiff, fracdiff_weights

    x = np.cumsum(np.random.default_rng(0).standard_normal(_ROWS))
    weights = fracdiff_weights(_D, _THRESHOLD)
    runs: dict[str, Callable[[], object]] = {
        "ours, direct": lambda: fracdiff(x, _D, _THRESHOLD),
        "np.convolve, direct": lambda: np.convolve(x, weights, "valid"),
    }
    if importlib.util.find_spec("fracdiff"):
        from fracdiff import fdiff  # type: ignore[import-not-found]

        runs["fracdiff-modern"] = lambda: fdiff(x, _D, window=len(weights), mode="valid")
    if importlib.util.find_spec("RiskLabAI"):
        from RiskLabAI.data.differentiation.differentiation import (  # type: ignore[import-not-found]
            fractional_difference_fixed_single,
        )

        column = pd.Series(x)
        runs["RiskLabAI"] = lambda: fractional_difference_fixed_single(column, _D, _THRESHOLD)
    return [(f"fracdiff d={_D} width {len(weights)}, {name}", _ROWS / timed(run) / 1e6, "M rows/s") for name, run in runs.items()]


def _rolling() -> list[Row]:
    """Kyle's lambda, Amihud and VPIN: our kernels (windows summed anew for each row, exact) beside pandas' running sums."""
    from alphatrade_pipelines.features.kernels import co_moments, rolling_mean

    rng = np.random.default_rng(1)
    ret, volume = rng.standard_normal(_ROWS) * 0.01, rng.lognormal(10.0, 0.5, _ROWS)
    flow = np.sign(ret) * volume
    r, q, impact = pd.Series(ret), pd.Series(flow), np.abs(ret) / volume
    runs: dict[str, Callable[[], object]] = {
        "Kyle lambda, ours": lambda: np.divide(*co_moments(ret, flow, _WINDOW, 0)[::2]),
        "Kyle lambda, pandas": lambda: r.rolling(_WINDOW).cov(q) / q.rolling(_WINDOW).var(),
        "Amihud, ours": lambda: rolling_mean(impact, _WINDOW, 0),
        "Amihud, pandas": lambda: pd.Series(impact).rolling(_WINDOW).mean(),
    }
    return [(f"{name}, window {_WINDOW}", _ROWS / timed(run) / 1e6, "M rows/s") for name, run in runs.items()]


def _market(count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Returns of a market that changes between three volatilities."""
    rng = np.random.default_rng(2)
    state = np.cumsum(rng.random(count) < 0.02) % 3
    return rng.standard_normal(count) * np.array([0.006, 0.012, 0.026])[state]
