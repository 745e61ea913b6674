"""From features and a bundle to trading signals: one implementation for backtest, paper and live."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels import BarrierConfig, barrier_prices
from alphatrade_pipelines.trading.domain import Side, Signal

if TYPE_CHECKING:
    from alphatrade_pipelines.market import SessionCalendar, Timeframe
    from alphatrade_pipelines.models.bundle import Bundle
    from alphatrade_pipelines.models.liquidity import SessionLiquidity

FloatArray = npt.NDArray[np.float64]
VOLATILITY = "vol_ewma"


def make_signals(
    bundle: Bundle,
    features: pd.DataFrame,
    bars: pd.DataFrame,
    calendar: SessionCalendar,
    model_version: str,
    predicted: pd.DataFrame | None = None,
    liquidity: SessionLiquidity | None = None,
) -> list[Signal]:
    """Signals for every row of ``features`` that has left the warm-up, ordered by decision time, then symbol.

    ``features`` and ``bars`` (raw prices) share the index (symbol, timestamp); extra bars are ignored. Each signal is decided when its
    bar is known, prices its stop and target from the bar's close by the bundle's barriers, and holds until the bundle's horizon. A model of
    meta-labels speaks only where its primary bets, and on that side; a primary model's score is worked out here, by the bundle.
    ``predicted`` (columns probability, lower, upper) replaces the bundle's own predictions by out-of-fold ones, for backtests of the
    training span; rows without one give no signal. ``liquidity``, known at each session's open, goes into the session's signals.
    Raises ModelDataError for a missing column or a row without its bar.
    """
    from alphatrade_pipelines.market import Timeframe

    label = bundle.label
    if label.primary == "model":
        features = bundle.scored(features)
    needed = list(dict.fromkeys([*bundle.feature_names, VOLATILITY, *([label.primary_column] if label.primary_column else [])]))
    absent = [name for name in needed if name not in features]
    if absent:
        raise ModelDataError(f"the features {needed}", f"no {', '.join(absent)}", "Transform with the bundle's pipeline.")
    rows = features.loc[np.isfinite(features[needed].to_numpy(np.float64)).all(axis=1), needed].sort_index(level=["timestamp", "symbol"])
    rows = rows[label.side(rows, rows.index).to_numpy() != 0]
    if predicted is not None:
        rows = rows[rows.index.isin(predicted.index)]
    missing = rows.index.difference(bars.index)
    if len(missing):
        raise ModelDataError("the bar of every row of features", f"none for {len(missing)} rows, first {missing[0]}")
    if rows.empty:
        return []
    timeframe = Timeframe.parse(str(bundle.manifest["timeframe"]))
    payoff = bundle.payoff
    close = bars.loc[rows.index, "close"].to_numpy(np.float64)
    volatility = rows[VOLATILITY].to_numpy(np.float64)
    sides = label.side(rows, rows.index).to_numpy(np.int64)
    stop, target = _barriers(close, volatility, sides, payoff.barrier)
    predicted = bundle.predict(rows) if predicted is None else predicted.loc[rows.index]
    starts = pd.DatetimeIndex(rows.index.get_level_values("timestamp"))
    times = _times(starts, payoff.barrier, timeframe, calendar)
    opens = dict(zip(starts, pd.to_datetime(calendar.bounds_of(starts)[0], unit="ns", utc=True), strict=True)) if liquidity else {}
    names, values = bundle.feature_names, rows[bundle.feature_names].to_numpy(np.float64).tolist()
    feature_hash = str(bundle.manifest["feature_hash"])
    return [
        Signal(
            symbol=str(symbol),
            decision_time=times[start][0],
            side=Side.BUY if side > 0 else Side.SELL,
            probability=p,
            lower=low,
            upper=up,
            payoff=round(payoff.payoff, 9),
            payoff_error=round(payoff.payoff_error, 9),
            reference_price=Decimal(repr(c)),
            stop_price=stop_price,
            target_price=target_price,
            volatility=vol,
            hold_until=times[start][1],
            model_version=model_version,
            feature_hash=feature_hash,
            features=tuple(zip(names, row, strict=True)),
            liquidity=liquidity.get((str(symbol), opens[start])) if liquidity else None,
            session_open=opens[start].to_pydatetime() if liquidity else None,
        )
        for symbol, start, side, p, low, up, c, (stop_price, target_price), vol, row in zip(
            rows.index.get_level_values("symbol"),
            starts,
            sides.tolist(),
            predicted["probability"].tolist(),
            predicted["lower"].tolist(),
            predicted["upper"].tolist(),
            close.tolist(),
            map(bracket_prices, close.tolist(), stop.tolist(), target.tolist()),
            volatility.tolist(),
            values,
            strict=True,
        )
    ]


def _barriers(
    close: FloatArray, volatility: FloatArray, sides: npt.NDArray[np.int64], barrier: BarrierConfig
) -> tuple[FloatArray, FloatArray]:
    stop, target = barrier_prices(close, volatility, barrier)
    short = sides < 0
    if short.any():
        stop[short], target[short] = barrier_prices(close[short], volatility[short], barrier, -1)
    return stop, target


def bracket_prices(close: float, stop: float, target: float) -> tuple[Decimal, Decimal]:
    """Stop and target on the tick grid (cents; hundredths of a cent below one dollar), at least one tick from the close on their sides."""
    reference = Decimal(repr(close))
    tick = Decimal("0.01") if reference >= 1 else Decimal("0.0001")
    down, up = (Decimal(repr(price)).quantize(tick, ROUND_HALF_EVEN) for price in sorted((stop, target)))
    nearest = reference.quantize(tick, ROUND_HALF_EVEN)
    down, up = min(down, nearest - tick), max(up, nearest + tick)
    return (down, up) if stop <= target else (up, down)


def hold_until(start: datetime, horizon: int, timeframe: Timeframe, calendar: SessionCalendar, unit: str = "bars") -> datetime:
    """When the ``horizon``-th bar after the one that starts at ``start`` is complete: the vertical barrier; the exit follows it.

    Daily, or a horizon whose ``unit`` is sessions: the close of that session. Intraday bars are counted over sessions, a shorter last bar
    counting as one.
    """
    if timeframe.is_daily or unit == "sessions":
        return calendar.add_sessions(start, horizon)
    step = timedelta(minutes=timeframe.minutes)
    now = calendar.known_at(pd.DatetimeIndex([start]), timeframe)[0].to_pydatetime()
    close = calendar.session_bounds(start)[1]
    left = horizon
    while (whole := -((now - close) // step)) < left:  # bars that still start in this session
        left -= max(whole, 0)
        now = calendar.next_open(close)
        close = calendar.next_close(now)
    end: datetime = min(now + left * step, close)
    return end


def _times(
    starts: pd.DatetimeIndex, barrier: BarrierConfig, timeframe: Timeframe, calendar: SessionCalendar
) -> dict[pd.Timestamp, tuple[datetime, datetime]]:
    """(decision time, vertical barrier) by bar start."""
    distinct = pd.DatetimeIndex(starts.unique())
    known = calendar.known_at(distinct, timeframe)
    return {
        start: (at.to_pydatetime(), hold_until(start.to_pydatetime(), barrier.horizon, timeframe, calendar, barrier.horizon_unit))
        for start, at in zip(distinct, known, strict=True)
    }
