"""Fitting a primary model on its schedule: an expanding window, refitted after every so many sessions, from outcomes known by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.folds import Progress, Weigh
from alphatrade_pipelines.models.labels import BarrierConfig, direction
from alphatrade_pipelines.models.learner import LearnerConfig, fit_trees
from alphatrade_pipelines.models.primary import PrimaryFit, PrimaryModel
from alphatrade_pipelines.models.trees import Trees
from alphatrade_pipelines.models.weights import evidence_weights

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PrimaryConfig:
    """How a primary model is fitted.

    ``learner``: all of its ``iterations`` are grown; nothing else is chosen by looking at outcomes.
    ``refit_sessions`` between refits; ``min_rows`` with every feature and a known outcome before the first; ``embargo``: outcomes must be
    known so many decision times before the refit.
    """

    learner: LearnerConfig = field(default_factory=lambda: LearnerConfig(iterations=100))
    refit_sessions: int = 63
    min_rows: int = 1000
    embargo: int = 10

    def __post_init__(self) -> None:
        if not (self.refit_sessions >= 1 and self.min_rows >= 2 and self.embargo >= 0):
            raise ModelDataError("refit_sessions >= 1, min_rows >= 2, embargo >= 0", repr(self))


def fit_primary(
    features: pd.DataFrame,
    bars: pd.DataFrame,
    columns: Sequence[str],
    barrier: BarrierConfig,
    config: PrimaryConfig | None = None,
    *,
    weigh: Weigh = evidence_weights,
    progress: Progress | None = None,
) -> PrimaryModel:
    """Fit every model of the schedule.

    Args:
        features: index (symbol, timestamp) of the bars, NaN while warming up. Each of ``columns`` must be point-in-time itself: a statistic
            frozen over the whole sample would carry the future into every score
            (:func:`~alphatrade_pipelines.models.fold_features.point_in_time_columns` names those of a pipeline).
        bars: forward-adjusted, for the direction over the horizon of ``barrier``.
        weigh: (outcomes, end times) of a window's rows -> their weights.
        progress: is told ("primary", fits, possible fits).

    The first fit comes after the first session by which ``min_rows`` rows of both directions are known, then one every ``refit_sessions``.
    A feature without a single value by then is left out of that fit. A refit whose window is too small (a feature that has only begun)
    leaves the model in force.

    Raises ModelDataError for a missing column, no column, bars as :func:`~alphatrade_pipelines.models.labels.direction`, and when nothing
    could ever be fitted: too few rows, or one direction only.
    """
    config = config or PrimaryConfig()
    known = _Known.of(features, direction(bars, barrier), tuple(columns))
    fits: list[PrimaryFit] = []
    found: _Window | None = None
    due = 0
    for number, (after, limit) in enumerate(known.moments(config.embargo)):
        if number < due:
            continue
        window = known.window(after, limit)
        if not window.usable(config.min_rows):
            found = window if found is None or len(window.rows) >= len(found.rows) else found
            due = number + config.refit_sessions if fits else 0
            continue
        fits.append(_fit(known, window, config, weigh))
        due = number + config.refit_sessions
        if progress:
            progress("primary", len(fits), len(fits) + (known.sessions - number - 1) // config.refit_sessions)
    if not fits:
        raise _nothing_to_fit(known, found, config)
    if _fit(known, known.window(fits[-1].after, fits[-1].known), config, weigh).trees.to_dict() != fits[-1].trees.to_dict():
        raise ModelDataError(
            "equal trees from equal rows", "others when the last primary was fitted again", "Set the learner's threads to 1."
        )
    return PrimaryModel(tuple(fits))


@dataclass(frozen=True)
class _Window:
    """What is known at one moment: positions of complete rows with a known outcome, and the features that have begun."""

    after: int
    limit: int
    rows: IntArray
    columns: tuple[int, ...]
    rising: int

    def usable(self, least: int) -> bool:
        return bool(self.columns) and len(self.rows) >= least and 0 < self.rising < len(self.rows)


@dataclass(frozen=True)
class _Known:
    """Rows with an outcome, as arrays, and from when on each is known. ``begun``: first time stamp at which each feature has a value."""

    names: tuple[str, ...]
    X: FloatArray
    y: pd.Series
    t1: pd.Series
    ends: IntArray
    begun: IntArray
    stamps: IntArray
    days: IntArray
    _complete: dict[tuple[int, ...], BoolArray] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, features: pd.DataFrame, outcomes: pd.DataFrame, names: tuple[str, ...]) -> _Known:
        absent = [name for name in names if name not in features]
        if absent or not names:
            raise ModelDataError("features for the primary model", f"no {', '.join(absent)}" if absent else "none")
        missing = outcomes.index.difference(features.index)
        if len(missing):
            raise ModelDataError(
                "features for every bar", f"none for {len(missing)} bars, first {missing[0]}", "Use the same bars for both."
            )
        every = pd.DatetimeIndex(features.index.get_level_values("timestamp")).as_unit("ns")
        present = np.isfinite(features[list(names)].to_numpy(dtype=np.float64))
        never = np.iinfo(np.int64).max
        begun = np.array([every.asi8[one].min() if one.any() else never for one in present.T], dtype=np.int64)
        distinct = pd.DatetimeIndex(every.unique().sort_values())
        days = distinct.tz_convert("America/New_York").normalize().asi8
        return cls(
            names,
            features.loc[outcomes.index, list(names)].to_numpy(dtype=np.float64),
            outcomes["label"],
            outcomes["t1"],
            pd.DatetimeIndex(outcomes["t1"]).as_unit("ns").asi8,
            begun,
            distinct.asi8,
            days,
        )

    @property
    def sessions(self) -> int:
        return len(np.unique(self.days))

    def moments(self, embargo: int) -> list[tuple[int, int]]:
        """For each session (last bar, time before which an outcome must have been known)."""
        last = np.flatnonzero(np.append(self.days[1:] != self.days[:-1], True))
        return [(int(self.stamps[at]), int(self.stamps[at - embargo]) if at >= embargo else 0) for at in last.tolist()]

    def window(self, after: int, limit: int) -> _Window:
        columns = tuple(np.flatnonzero(self.begun <= after).tolist())
        if columns not in self._complete:
            self._complete[columns] = np.asarray(np.isfinite(self.X[:, columns]).all(axis=1))
        rows = np.flatnonzero((self.ends < limit) & self._complete[columns] & bool(columns))
        return _Window(after, limit, rows, columns, int(self.y.to_numpy()[rows].sum()))


def _fit(known: _Known, window: _Window, config: PrimaryConfig, weigh: Weigh) -> PrimaryFit:
    y, t1 = known.y.iloc[window.rows], known.t1.iloc[window.rows]
    X = np.ascontiguousarray(known.X[window.rows][:, window.columns])
    weights = weigh(y, t1).to_numpy(np.float64)
    model = fit_trees(X, y.to_numpy(np.float64), weights, config.learner.iterations, config.learner)
    names = tuple(known.names[one] for one in window.columns)
    return PrimaryFit(window.after, window.limit, len(window.rows), names, Trees.of(model))


def _nothing_to_fit(known: _Known, found: _Window | None, config: PrimaryConfig) -> ModelDataError:
    rows = 0 if found is None else len(found.rows)
    if found is not None and rows >= config.min_rows:
        way = "rising" if found.rising else "falling or level"
        return ModelDataError("rising and falling prices for the primary model", f"{rows} rows, all {way}", "Use more history.")
    worst = known.names[int(np.argmin(np.isfinite(known.X).mean(axis=0)))] if len(known.X) else known.names[0]
    return ModelDataError(
        f"at least {config.min_rows} rows with every feature and a known direction before the last session",
        f"{rows} (feature with most gaps: {worst})",
        "Load more history, or lower primary_min_rows.",
    )
