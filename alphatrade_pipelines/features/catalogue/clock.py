"""Time of day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from alphatrade_pipelines.features.base import ClockFeature, FloatArray, IntArray, register

_OPEN_MINUTE = 9 * 60 + 30
_SESSION_MINUTES = 390


@register("session_fraction")
@dataclass(frozen=True)
class SessionFraction(ClockFeature):
    """Minutes from 09:30 New York to the bar's start, over the 390 of a regular session (a half day ends at 0.54)."""

    def compute(self, times: IntArray) -> FloatArray:
        local = pd.DatetimeIndex(times, tz="UTC").tz_convert("America/New_York")
        return (np.asarray(local.hour * 60 + local.minute, dtype=np.float64) - _OPEN_MINUTE) / _SESSION_MINUTES
