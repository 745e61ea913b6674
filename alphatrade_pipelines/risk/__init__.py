"""Risk: sizing, limits and pre-trade impact as pure functions and small state machines."""

from __future__ import annotations

from alphatrade_pipelines.risk.denials import DENIALS, Denial
from alphatrade_pipelines.risk.impact import (
    Horizon,
    Impact,
    ImpactConfig,
    ImpactModel,
    Liquidity,
    optimal_horizon,
    pre_trade_impact,
    sequence_cost_bps,
    urgency,
)
from alphatrade_pipelines.risk.limits import LimitsConfig, LimitState
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
    "DENIALS",
    "Denial",
    "Horizon",
    "Impact",
    "ImpactConfig",
    "ImpactModel",
    "LimitState",
    "LimitsConfig",
    "Liquidity",
    "PositionSize",
    "SizingConfig",
    "WinRecord",
    "kelly_fraction",
    "optimal_horizon",
    "pre_trade_impact",
    "record_correction",
    "sequence_cost_bps",
    "size_position",
    "urgency",
    "win_rate_interval",
]
