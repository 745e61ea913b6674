"""A primary model: which way will it go? Refitted on a schedule from what was known by then, so that its score is a causal column.

The model in force at t was fitted after an earlier session, on rows whose outcome was known an embargo before that. A row's score therefore
depends on nothing after the row, is the same in every validation fold, and stays the same when more history arrives. The bundle keeps the
whole schedule: a row of the training span is scored by the model of its time, a later one by the newest. One implementation for labels,
training, backtest and live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels.events import PRIMARY_SCORE
from alphatrade_pipelines.models.trees import Trees

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PrimaryFit:
    """One model of the schedule, in force for rows later than ``after`` (ns since 1970: the last bar of the session it was fitted after).

    ``columns``: features it reads, in its order; ``rows`` it was fitted on, whose outcomes were all known before ``known`` (ns).
    """

    after: int
    known: int
    rows: int
    columns: tuple[str, ...]
    trees: Trees


@dataclass(frozen=True)
class PrimaryModel:
    """The schedule, oldest first."""

    fits: tuple[PrimaryFit, ...]

    def __post_init__(self) -> None:
        after = [fit.after for fit in self.fits]
        if not after or any(low >= high for low, high in pairwise(after)):
            raise ModelDataError("at least one fit, each later than the one before", f"{len(after)} fits after {after[:5]}")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Features that some fit reads."""
        return tuple(dict.fromkeys(name for fit in self.fits for name in fit.columns))

    def score(self, features: pd.DataFrame) -> pd.Series:
        """P(rises) on balanced classes for each row of ``features``, in (0, 1), one half where nothing is known either way.

        The model in force at the row's time stamp scores it; rows without one in their index are of now, and the newest does. NaN before
        the first model and where a feature is missing. Raises ModelDataError for a missing column.
        """
        absent = [name for name in self.columns if name not in features]
        if absent:
            raise ModelDataError(f"the features {list(self.columns)} of the primary model", f"no {', '.join(absent)}")
        number = self._in_force(features.index)
        found = np.full(len(features), np.nan)
        for k in np.unique(number[number >= 0]).tolist():
            fit, own = self.fits[k], np.flatnonzero(number == k)
            X = features[list(fit.columns)].to_numpy(dtype=np.float64)[own]
            complete = np.isfinite(X).all(axis=1)
            found[own[complete]] = fit.trees.scores(X[complete])
        return pd.Series(found, index=features.index, name=PRIMARY_SCORE)

    def one(self, row: FloatArray) -> float:
        """The newest model's score of one row in the order of its ``columns``: the same bits as :meth:`score`."""
        newest = self.fits[-1]
        x = np.ascontiguousarray(row, dtype=np.float64)
        if x.shape != (len(newest.columns),):
            raise ModelDataError(f"{len(newest.columns)} features of the primary model in one row", f"an array of shape {x.shape}")
        return float(newest.trees.scores(x[None])[0]) if np.isfinite(x).all() else float("nan")

    def scored(self, features: pd.DataFrame) -> pd.DataFrame:
        """``features`` with the column ``primary_score``; one that is there already is replaced."""
        return features.assign(**{PRIMARY_SCORE: self.score(features)})

    def _in_force(self, index: pd.Index) -> IntArray:
        """Number of the fit in force at each row, -1 before the first."""
        if "timestamp" not in index.names:
            return np.full(len(index), len(self.fits) - 1, dtype=np.int64)
        stamps = pd.DatetimeIndex(index.get_level_values("timestamp")).as_unit("ns").asi8
        after = np.array([fit.after for fit in self.fits], dtype=np.int64)
        return (np.searchsorted(after, stamps, side="left") - 1).astype(np.int64)

    def facts(self) -> dict[str, Any]:
        """What a manifest says of it."""
        first, last = self.fits[0], self.fits[-1]
        return {
            "fits": len(self.fits),
            "first_after": _iso(first.after),
            "last_after": _iso(last.after),
            "last_known_before": _iso(last.known),
            "last_rows": last.rows,
            "columns": list(self.columns),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, trees included, to the last bit."""
        fits = [
            {"after": one.after, "known": one.known, "rows": one.rows, "columns": list(one.columns), "trees": one.trees.to_dict()}
            for one in self.fits
        ]
        return {"fits": fits}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PrimaryModel:
        """The inverse of :meth:`to_dict`."""
        fits: Sequence[Mapping[str, Any]] = data["fits"]
        return cls(
            tuple(
                PrimaryFit(int(one["after"]), int(one["known"]), int(one["rows"]), tuple(one["columns"]), Trees.from_dict(one["trees"]))
                for one in fits
            )
        )


def _iso(ns: int) -> str:
    return pd.Timestamp(ns, unit="ns", tz="UTC").isoformat()
