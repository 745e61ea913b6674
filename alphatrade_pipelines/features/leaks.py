"""Does any feature know the future? Three probes, all asking for equal bits.

- *truncation*: the bars are cut at t; values at t and before must not change.
- *poisoning*: every bar after t is replaced by garbage (wild prices, volumes, splits); values up to t must not change. It catches what
  truncation can miss: code that behaves differently only because rows are there.
- *refit* (for a pipeline that is not fitted yet): fitted on the bars up to t; features that claim no frozen statistics, and market
  features, whose schedule claims to be point-in-time, must not change either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.features.errors import FeatureInputError
from alphatrade_pipelines.features.pipeline import FeaturePipeline

BoolArray = npt.NDArray[np.bool_]
_GARBAGE_SEED = 20_181


class Transforms(Protocol):
    """A fitted pipeline, or anything else that turns bars into features."""

    def transform(self, bars: pd.DataFrame) -> pd.DataFrame:
        """Features on the index of ``bars``."""


@dataclass(frozen=True)
class Leak:
    """The first value of ``feature`` that changed although only bars after ``cut`` did."""

    feature: str
    probe: str
    cut: pd.Timestamp
    symbol: str
    timestamp: pd.Timestamp
    before: float
    after: float

    def __str__(self) -> str:
        place = f"{self.symbol} {self.timestamp.isoformat()}"
        return f"{self.feature}: {self.probe} after {self.cut.isoformat()} changed {place} from {self.before!r} to {self.after!r}"


@dataclass(frozen=True)
class LeakReport:
    """``leaks``: at most one for each feature and probe. ``values_checked`` counts comparisons; zero would prove nothing."""

    leaks: tuple[Leak, ...]
    features: tuple[str, ...]
    cuts: tuple[pd.Timestamp, ...]
    values_checked: int

    @property
    def offending(self) -> tuple[str, ...]:
        """Features with a leak, in column order."""
        guilty = {leak.feature for leak in self.leaks}
        return tuple(name for name in self.features if name in guilty)


def check_no_lookahead(pipeline: Transforms | FeaturePipeline, bars: pd.DataFrame, cuts: Iterable[pd.Timestamp] | int = 3) -> LeakReport:
    """Probe every feature at each cut.

    Args:
        pipeline: fitted (truncation and poisoning) or a :class:`FeaturePipeline` (all three; it is fitted on ``bars`` and on each cut).
        bars: raw bars, index (symbol, timestamp); longer than the longest warm-up, or there is nothing to compare.
        cuts: last time stamps that stay; a number takes that many, evenly spread over the last two thirds.

    Raises:
        FeatureInputError: a cut with no bar after it or none before.
    """
    stamps = bars.index.get_level_values("timestamp")
    chosen = _spread(stamps.unique().sort_values(), cuts) if isinstance(cuts, int) else tuple(pd.Timestamp(cut) for cut in cuts)
    fitted = pipeline.fit(bars) if isinstance(pipeline, FeaturePipeline) else pipeline
    full = fitted.transform(bars)
    leaks: dict[tuple[str, str], Leak] = {}
    checked = 0
    for cut in chosen:
        past = np.asarray(stamps <= cut)
        if past.all() or not past.any():
            raise FeatureInputError("a cut with bars before and after it", str(cut), fix=f"Bars run from {stamps.min()} to {stamps.max()}.")
        expected = full[past]
        for probe, found in _probes(pipeline, fitted, bars, past):
            for leak in _changes(expected[found.columns], found, probe, cut):
                leaks.setdefault((leak.feature, probe), leak)
            checked += int(np.isfinite(expected[found.columns].to_numpy()).sum())
    return LeakReport(tuple(leaks.values()), tuple(full.columns), chosen, checked)


def _probes(
    pipeline: Transforms | FeaturePipeline, fitted: Transforms, bars: pd.DataFrame, past: BoolArray
) -> list[tuple[str, pd.DataFrame]]:
    probes = [("truncation", fitted.transform(bars[past])), ("poisoning", fitted.transform(poisoned(bars, past))[past])]
    if isinstance(pipeline, FeaturePipeline):
        claims = [column for name, one in pipeline.features.items() if not one.frozen for column in one.columns(name)]
        probes.append(("refit", pipeline.fit(bars[past]).transform(bars[past])[claims]))
    return probes


def poisoned(bars: pd.DataFrame, past: BoolArray) -> pd.DataFrame:
    """``bars`` with every row that is not ``past`` replaced by valid garbage: prices up to 1000 times off, odd splits, huge volumes."""
    draw = np.random.default_rng(_GARBAGE_SEED)
    future = np.flatnonzero(~past)
    bad = bars.copy()
    level = bars["close"].to_numpy()[future] * np.exp(draw.uniform(-7.0, 7.0, len(future)))
    spread = 1.0 + draw.uniform(0.01, 0.5, len(future))
    replaced = {"open": level, "close": level * np.sqrt(spread), "high": level * spread, "low": level / spread}
    replaced |= {
        "volume": draw.uniform(0.0, 1e12, len(future)),
        "split": draw.choice([0.2, 1.0, 7.0], len(future)),
        "dividend": level * 0.0,
    }
    for name, values in replaced.items():
        column = bad[name].to_numpy(dtype=np.float64, copy=True)
        column[future] = values
        bad[name] = column
    return bad


def _changes(before: pd.DataFrame, after: pd.DataFrame, probe: str, cut: pd.Timestamp) -> list[Leak]:
    found: list[Leak] = []
    for name in before.columns:
        old, new = before[name].to_numpy(dtype=np.float64), after[name].to_numpy(dtype=np.float64)
        different = ~((old == new) | (np.isnan(old) & np.isnan(new)))
        if different.any():
            at = int(np.argmax(different))
            symbol, timestamp = before.index[at]
            found.append(Leak(str(name), probe, cut, str(symbol), timestamp, float(old[at]), float(new[at])))
    return found


def _spread(stamps: Sequence[pd.Timestamp] | pd.Index, count: int) -> tuple[pd.Timestamp, ...]:
    if count < 1 or len(stamps) < 3 * count + 1:
        raise FeatureInputError(f"more than {3 * max(count, 1)} time stamps for {count} cuts", f"{len(stamps)}")
    places = np.linspace(len(stamps) / 3, len(stamps) - 2, count).astype(int)
    return tuple(stamps[int(place)] for place in places)
