"""Time of day and of week, on the New York clock. Session hours are public in advance: half days are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alphatrade_pipelines.features.base import ClockFeature, FloatArray, IntArray, register
from alphatrade_pipelines.features.table import new_york
from alphatrade_pipelines.market import SessionCalendar

_OPEN_MINUTE = 9 * 60 + 30
_SESSION_MINUTES = 390
_MINUTE_NS = 60_000_000_000
_THURSDAY = 3.0  # 1970-01-01


@register("session_fraction", formula="(minute - 570) / 390", reference="Wood, McInish and Ord (1985)")
@dataclass(frozen=True)
class SessionFraction(ClockFeature):
    """Minutes from 09:30 New York to the bar's start, over the 390 of a regular session (a half day ends at 0.54)."""

    def compute(self, times: IntArray) -> FloatArray:
        return (new_york(times)[1] - _OPEN_MINUTE) / _SESSION_MINUTES


@register("time_to_close", formula="minutes from the bar's start to the close of its session / 390", reference="Bogousslavsky (2016)")
@dataclass(frozen=True)
class TimeToClose(ClockFeature):
    """What is left of the session at the bar's start, half days included: below zero after hours."""

    def compute(self, times: IntArray) -> FloatArray:
        _, closes = SessionCalendar().bounds_of(pd.DatetimeIndex(times, tz="UTC"))
        return (closes - times) / (_MINUTE_NS * _SESSION_MINUTES)


@register("weekday", formula="0 Monday to 4 Friday", reference="French (1980)")
@dataclass(frozen=True)
class Weekday(ClockFeature):
    """Day of the week in New York."""

    def compute(self, times: IntArray) -> FloatArray:
        return np.mod(new_york(times)[0] + _THURSDAY, 7.0)
