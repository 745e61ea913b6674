"""Signals without a model, for benchmarks of everything after the model."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import numpy as np
import pandas as pd

from alphatrade_pipelines.market import SessionCalendar, Timeframe
from alphatrade_pipelines.models.signals import bracket_prices
from alphatrade_pipelines.trading.domain import ModelRef, Side, Signal

MODEL = ModelRef("made-up", "1", "", "", "", "", "", "paper")
HORIZON = 10


def random_signals(bars: pd.DataFrame, calendar: SessionCalendar, rng: np.random.Generator) -> list[Signal]:
    """One signal a bar with a random probability around one half, stop and target 4 % away."""
    starts = pd.DatetimeIndex(bars.index.get_level_values("timestamp"))
    decided = calendar.known_at(starts, Timeframe.parse("1Day"))
    holds: dict[pd.Timestamp, datetime] = {start: calendar.add_sessions(start, HORIZON) for start in starts.unique()}
    chances = np.round(rng.normal(0.53, 0.02, len(bars)).clip(0.05, 0.95), 9)
    signals = []
    symbols = bars.index.get_level_values("symbol")
    for symbol, start, at, close, p in zip(symbols, starts, decided, bars["close"].to_numpy(), chances, strict=True):
        stop, target = bracket_prices(float(close), float(close) * 0.96, float(close) * 1.04)
        signals.append(
            Signal(
                symbol=str(symbol),
                decision_time=at.to_pydatetime(),
                side=Side.BUY,
                probability=float(p),
                lower=float(p),
                upper=float(p),
                payoff=1.0,
                payoff_error=0.0,
                reference_price=Decimal(repr(float(close))),
                stop_price=stop,
                target_price=target,
                volatility=0.02,
                hold_until=holds[start],
                model_version="1",
                feature_hash="",
            )
        )
    return signals
