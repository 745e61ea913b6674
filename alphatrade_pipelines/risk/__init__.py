"""Risk: sizing and limits as pure functions and small state machines."""

from __future__ import annotations

from alphatrade_pipelines.risk.limits import Denial, LimitsConfig, LimitState
from alphatrade_pipelines.risk.sizing import (
    PositionSize,
    SizingConfig,
    WinRecord,
    kelly_fraction,
    record_correction,
    size_position,
    win_rate_interval,
)

__all__ = [
    "Denial",
    "LimitState",
    "LimitsConfig",
    "PositionSize",
    "SizingConfig",
    "WinRecord",
    "kelly_fraction",
    "record_correction",
    "size_position",
    "win_rate_interval",
]
