"""From complete bars to signals, with the promoted bundle: the same pipeline and the same signal maker as training and backtest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.trading.domain import ModelRef, Signal

if TYPE_CHECKING:
    from alphatrade_pipelines.models.bundle import Bundle

# Given what trades now, a better model to go on with, or None. Called between bars, from a worker thread.
ModelProvider = Callable[[ModelRef], "tuple[Bundle, ModelRef] | None"]


class Brain:
    """Holds the feature stream warm. ``bars`` keeps every bar taken in, so that a new model can be warmed at any time."""

    def __init__(self, bundle: Bundle, model: ModelRef, history: pd.DataFrame, calendar: SessionCalendar) -> None:
        if history.empty:
            raise ValueError("expected history to warm the features with, found no bars: ingest data first")
        self.model = model
        self._bundle, self._calendar = bundle, calendar
        self._frames = [history.sort_index()]
        self._stream = bundle.feature_pipeline().stream(self._frames[0])

    @property
    def bars(self) -> pd.DataFrame:
        """All bars so far, sorted."""
        if len(self._frames) > 1:
            self._frames = [pd.concat(self._frames).sort_index()]
        return self._frames[0]

    @property
    def last_start(self) -> pd.Timestamp:
        """Start of the latest bar taken in."""
        return pd.Timestamp(max(frame.index.get_level_values("timestamp").max() for frame in self._frames))

    def last_closes(self) -> dict[str, float]:
        """Latest raw close of each symbol."""
        return {str(symbol): float(close) for symbol, close in self.bars["close"].groupby(level="symbol").last().items()}

    def take(self, bars: pd.DataFrame) -> list[Signal]:
        """Take in the bars of one timestamp, later than all before; the signals they give, sorted by symbol."""
        from alphatrade_pipelines.models.signals import make_signals

        features = self._stream.update(bars)
        self._frames.append(bars)
        signals: Sequence[Signal] = make_signals(self._bundle, features, bars, self._calendar, self.model.version)
        return sorted(signals, key=lambda signal: (signal.decision_time, signal.symbol))

    def swap(self, bundle: Bundle, model: ModelRef) -> None:
        """Go on with another model from the next bar on. The old one stays in place if warming the new one fails."""
        stream = bundle.feature_pipeline().stream(self.bars)
        self._bundle, self.model, self._stream = bundle, model, stream
