"""When to decide, and which way: event sampling and the primary sides of meta-labels."""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels.panel import Panel

Rule = Literal["momentum", "reversion", "model"]
# the column of a primary model's score: 1 = will rise, 0 = will fall, on balanced classes
PRIMARY_SCORE = "primary_score"


def cusum_decisions(bars: pd.DataFrame, volatility: pd.Series, multiple: float) -> pd.MultiIndex:
    """Bars at whose close the symmetric CUSUM filter of log closes fires (:mod:`alphatrade_pipelines.market.cusum`).

    ``bars`` are adjusted forward; the threshold is ``multiple`` times the per-bar ``volatility``, where that is known and positive.
    Raises ModelDataError for a multiple that is not positive, bars or volatility as for labels, and when nothing ever happened.
    """
    from alphatrade_pipelines.market.cusum import cusum_events

    if not multiple > 0:
        raise ModelDataError("a positive multiple of volatility", f"{multiple:g}")
    panel = Panel.of(bars, ("close",))
    vol = panel.aligned(volatility, "volatility")
    threshold = pd.Series(multiple * np.where(vol > 0, vol, np.nan), index=panel.index)
    events = cusum_events(pd.Series(np.log(panel.prices["close"]), index=panel.index), threshold)
    if events.empty:
        raise ModelDataError("at least one CUSUM event", f"none in {len(bars)} bars", "Lower the multiple, or load more history.")
    return cast("pd.MultiIndex", events.index)


def primary_side(values: pd.Series, rule: Rule, threshold: float = 0.0) -> pd.Series:
    """The bet of a primary rule at each row: 1, -1, or 0 where it abstains (NaN, or within ``threshold`` of zero).

    ``momentum`` bets with the sign of ``values`` (a trailing return, a trend's t-value), ``reversion`` against it, ``model`` takes values
    as the side itself: 1, -1, 0 or NaN.
    """
    if not threshold >= 0:
        raise ModelDataError("a threshold >= 0", f"{threshold:g}")
    given = values.to_numpy(dtype=np.float64)
    if rule == "model":
        if not np.isin(np.nan_to_num(given), (-1.0, 0.0, 1.0)).all():
            raise ModelDataError("a model's side of 1, -1, 0 or NaN", "other values", "Turn its scores into sides first.")
        sides = np.nan_to_num(given)
    elif rule in ("momentum", "reversion"):
        with np.errstate(invalid="ignore"):
            sides = np.where(np.abs(given) > threshold, np.sign(given), 0.0) * (1.0 if rule == "momentum" else -1.0)
    else:
        raise ModelDataError("the rule momentum, reversion or model", repr(rule))
    return pd.Series(sides, index=values.index, name="side").astype(np.int64)


def score_side(score: pd.Series, threshold: float = 0.0) -> pd.Series:
    """The bet of a primary model at each row: the sign of its score over one half, 0 within ``threshold`` of it and where there is none."""
    return primary_side(score - 0.5, "momentum", threshold)
