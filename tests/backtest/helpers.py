"""Signals without a model: every symbol, every few sessions, stop and target at fixed distances; enough to make a market busy."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd

from alphatrade_pipelines.market import SessionCalendar, Timeframe
from alphatrade_pipelines.trading.domain import ModelRef, Side, Signal

DAY = Timeframe.parse("1Day")
MODEL = ModelRef("rule", "7", "bundle-hash", "mlflow-run", "dagster-run", "data-hash", "commit", "paper")
CENT = Decimal("0.01")


def rule_signals(bars: pd.DataFrame, calendar: SessionCalendar, every: int = 4, distance: float = 0.03, hold: int = 5) -> list[Signal]:
    """One buy signal for each symbol on each ``every``-th bar, shifted by symbol."""
    signals = []
    for offset, (symbol, group) in enumerate(bars.groupby(level="symbol")):
        stamps = pd.DatetimeIndex(group.index.get_level_values("timestamp"))
        known = calendar.known_at(stamps, DAY)
        for number in range(len(group)):
            if (number + offset) % every == 0:
                signals.append(_signal(str(symbol), float(group["close"].iloc[number]), known[number], calendar, distance, hold))
    return signals


def _signal(symbol: str, close: float, known: pd.Timestamp, calendar: SessionCalendar, distance: float, hold: int) -> Signal:
    at = known.to_pydatetime(warn=False)
    price = Decimal(repr(close))
    return Signal(
        symbol=symbol,
        decision_time=at,
        side=Side.BUY,
        probability=0.62,
        lower=0.58,
        upper=0.66,
        payoff=1.2,
        payoff_error=0.05,
        reference_price=price,
        stop_price=(price * Decimal(repr(1 - distance))).quantize(CENT),
        target_price=(price * Decimal(repr(1 + distance))).quantize(CENT),
        volatility=0.015,
        hold_until=calendar.add_sessions(at, hold),
        model_version=MODEL.version,
        feature_hash="features",
        features=(("momentum", 0.25), ("vol_ewma", 0.015)),
    )
