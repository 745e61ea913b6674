"""One description of how outcomes are labelled, and the one function that applies it: in training and when live predictions resolve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels.barriers import BarrierConfig
from alphatrade_pipelines.models.labels.brackets import triple_barrier
from alphatrade_pipelines.models.labels.events import PRIMARY_SCORE, Rule, cusum_decisions, primary_side, score_side
from alphatrade_pipelines.models.labels.trend import TrendConfig, trend_scanning

Kind = Literal["bracket", "meta", "trend"]


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """What a model learns to predict.

    ``bracket``: does a long bracket pay net of cost? ``meta``: does the bracket on the side of a primary rule pay? ``trend``: does the
    strongest coming trend rise? All three carry return, risk and exit of the bracket that would be traded; only the label differs.

    Args:
        primary: the rule of ``meta``; it reads ``primary_feature`` and abstains within ``primary_threshold`` of zero. ``model`` reads the
            column ``primary_score`` of :class:`~alphatrade_pipelines.models.primary.PrimaryModel` and abstains so near to one half.
        allow_short: ``meta`` also bets on falling prices, with the barriers ``short`` (those of long bets when None).
        cusum: decide only where a CUSUM of log closes passed this multiple of volatility; at every bar when None.
    """

    kind: Kind = "bracket"
    barrier: BarrierConfig = field(default_factory=BarrierConfig)
    short: BarrierConfig | None = None
    allow_short: bool = False
    primary: Rule = "momentum"
    primary_feature: str = "momentum_21"
    primary_threshold: float = 0.0
    trend: TrendConfig = field(default_factory=TrendConfig)
    cusum: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("bracket", "meta", "trend"):
            raise ModelDataError("the label kind bracket, meta or trend", repr(self.kind))
        if self.primary != "model":
            return
        if self.kind != "meta":
            fix = "Nobody asks a primary model there: set the label to meta, or the primary to a rule."
            raise ModelDataError("the label kind meta with a primary model", repr(self.kind), fix)
        if not 0 <= self.primary_threshold < 0.5:
            raise ModelDataError("a primary_threshold from 0 to below 0.5 for a model's score", f"{self.primary_threshold:g}")

    @property
    def primary_column(self) -> str | None:
        """The column of the features that decides the side; None where every bet is long."""
        if self.kind != "meta":
            return None
        return PRIMARY_SCORE if self.primary == "model" else self.primary_feature

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> LabelConfig:
        """The inverse of ``dataclasses.asdict``, as a bundle's manifest keeps it; None is the plain bracket."""
        if data is None:
            return cls()
        short = data.get("short")
        nested = {
            "barrier": BarrierConfig(**data["barrier"]),
            "short": None if short is None else BarrierConfig(**short),
            "trend": TrendConfig(**data["trend"]),
        }
        return cls(**{**data, **nested})

    def side(self, features: pd.DataFrame | None, index: pd.Index) -> pd.Series:
        """Which way each row would be traded: 1, -1, or 0 for not at all. Known at the decision."""
        column = self.primary_column
        if column is None:
            return pd.Series(1, index=index, name="side")
        if features is None or column not in features:
            fix = "Score the features with the primary model." if self.primary == "model" else "Name one that exists."
            raise ModelDataError(f"the feature {column} for the primary rule", "no such feature", fix)
        values = features[column].reindex(index)
        if self.primary == "model":
            side = score_side(values, self.primary_threshold)
        else:
            side = primary_side(values, self.primary, self.primary_threshold)
        return side if self.allow_short else side.clip(lower=0)


def make_labels(bars: pd.DataFrame, volatility: pd.Series, config: LabelConfig, features: pd.DataFrame | None = None) -> pd.DataFrame:
    """Label forward-adjusted ``bars`` as ``config`` says.

    ``volatility`` as for :func:`~alphatrade_pipelines.models.labels.triple_barrier`; ``features`` on the same index hold the primary
    feature of meta-labels.

    Returns the columns of ``triple_barrier``; ``trend`` adds ``t_value`` and ``points``, its label is the trend's, and its ``t1`` the later
    of the two. Raises ModelDataError as the functions it calls.
    """
    decisions = None if config.cusum is None else cusum_decisions(bars, volatility, config.cusum)
    side: int | pd.Series = 1 if config.kind != "meta" else config.side(features, bars.index)
    brackets = triple_barrier(bars, volatility, config.barrier, side=side, short=config.short, decisions=decisions)
    if config.kind != "trend":
        return brackets
    trends = trend_scanning(bars, config.trend, decisions=decisions).add_suffix("_trend")
    both = brackets.join(trends, how="inner")
    if both.empty:
        raise ModelDataError("decisions whose bracket and trend both end inside the data", "none", "Load more history.")
    later = pd.DatetimeIndex(np.maximum(pd.DatetimeIndex(both["t1"]), pd.DatetimeIndex(both["t1_trend"])))
    named = both.assign(t1=later, label=both["label_trend"]).drop(columns=["t1_trend", "label_trend"])
    return named.rename(columns={"t_value_trend": "t_value", "points_trend": "points"})
