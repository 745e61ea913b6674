"""From complete bars to signals, with the promoted bundle: the same pipeline and the same signal maker as training and backtest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe
from alphatrade_pipelines.risk import Liquidity
from alphatrade_pipelines.trading.domain import ModelRef, Signal

if TYPE_CHECKING:
    from alphatrade_pipelines.models.bundle import Bundle

LIQUIDITY_SPAN = pd.Timedelta(days=60)  # calendar days that surely hold the sessions an estimate looks back on

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
        self._timeframe = Timeframe.parse(str(bundle.manifest["timeframe"]))
        self._liquidity: dict[tuple[str, pd.Timestamp], Liquidity] = {}
        self._told: set[tuple[str, pd.Timestamp]] = set()

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
        self._look_at_liquidity(bars)
        found = make_signals(self._bundle, features, bars, self._calendar, self.model.version, liquidity=self._liquidity)
        signals: Sequence[Signal] = found
        return sorted(signals, key=lambda signal: (signal.decision_time, signal.symbol))

    def _look_at_liquidity(self, bars: pd.DataFrame) -> None:
        """Once a session and symbol, with its first bar: how it traded in the sessions before. Daily bars have no use for it."""
        from alphatrade_pipelines.models.liquidity import session_liquidity

        if self._timeframe.is_daily or bars.empty:
            return
        opened = pd.Timestamp(self._calendar.session_bounds(bars.index.get_level_values("timestamp")[0])[0])
        fresh = [symbol for symbol in bars.index.get_level_values("symbol") if (str(symbol), opened) not in self._told]
        if not fresh:
            return
        known = self.bars
        recent = known.index.get_level_values("timestamp") >= opened - LIQUIDITY_SPAN
        chosen = known[recent & known.index.get_level_values("symbol").isin(fresh)]
        estimates = session_liquidity(chosen, self._timeframe, self._calendar)
        self._told = {key for key in self._told if key[1] == opened} | {(str(symbol), opened) for symbol in fresh}
        self._liquidity = {key: found for key, found in {**self._liquidity, **estimates}.items() if key[1] == opened}

    def swap(self, bundle: Bundle, model: ModelRef) -> None:
        """Go on with another model from the next bar on. The old one stays in place if warming the new one fails."""
        stream = bundle.feature_pipeline().stream(self.bars)
        self._bundle, self.model, self._stream = bundle, model, stream
