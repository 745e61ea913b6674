"""Events dated before they could be seen, positions that know their own bar, predictions from outcomes that are not in yet."""

from __future__ import annotations

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.planted.base import TRAINING_BARS, FloatArray, Plant, each, returns
from alphatrade_pipelines.leaks.world import World
from alphatrade_pipelines.market.cusum import cusum_events
from alphatrade_pipelines.market.jit import kernel

_HORIZON = 5


def _log_close(world: World) -> pd.Series:
    values: pd.Series = np.log(world.bars["close"])
    return values


def _deviation(world: World, whole: bool) -> pd.Series:
    by_symbol = _log_close(world).groupby(level="symbol", sort=False).diff().groupby(level="symbol", sort=False)
    return 3.0 * (by_symbol.transform("std") if whole else by_symbol.transform(lambda values: values.rolling(60).std()))


def cusum_with_threshold_of_the_sample(world: World) -> pd.Series:
    limit = _deviation(world, whole=True)
    return cusum_events(_log_close(world), limit.where(limit > 0))


def cusum_with_trailing_threshold(world: World) -> pd.Series:
    limit = _deviation(world, whole=False)
    return cusum_events(_log_close(world), limit.where(limit > 0))


@kernel
def _zigzag(x: FloatArray, reversal: float) -> FloatArray:
    """Row 0: +1 / -1 at turning points, where they are. Row 1: the same where a reversal confirms them."""
    out = np.zeros((2, x.size))
    extreme, direction = 0, 0.0
    for i in range(1, x.size):
        move = x[i] - x[extreme]
        if direction == 0.0:
            if abs(move) > reversal:
                direction, extreme = np.sign(move), i
        elif move * direction > 0.0:
            extreme = i
        elif abs(move) > reversal:
            out[0, extreme], out[1, i] = direction, direction
            direction, extreme = -direction, i
    return out


def zigzag(world: World, confirmed: bool) -> pd.Series:
    parts = []
    for _, rows in world.bars.groupby(level="symbol", sort=False):
        reversal = 5.0 * float(returns(rows).iloc[:TRAINING_BARS].std())
        marks = _zigzag(np.log(rows["close"].to_numpy()), reversal)[int(confirmed)]
        parts.append(pd.Series(marks, index=rows.index)[marks != 0.0])
    pivots: pd.Series = pd.concat(parts)
    return pivots.rename("pivot")


def largest_moves(world: World, whole: bool) -> pd.Series:
    """The top decile of absolute returns, of the sample or of the past."""
    size = each(lambda rows: returns(rows).abs())(world)
    by_symbol = size.groupby(level="symbol", sort=False)
    limit = by_symbol.transform(lambda values: values.quantile(0.9) if whole else values.shift(1).expanding(40).quantile(0.9))
    largest: pd.Series = size[size > limit]
    return largest


def local_peaks(rows: pd.DataFrame, dated_at_the_peak: bool) -> pd.Series:
    """A high above five neighbours on each side: seen five bars later."""
    window = rows["high"].rolling(11, center=dated_at_the_peak).max()
    middle = rows["high"] if dated_at_the_peak else rows["high"].shift(5)
    peaks: pd.Series = middle[middle == window]
    return peaks


def one_event_a_cluster(world: World, keep: str) -> pd.Index:
    """Large moves within ten bars of each other are one event; which of them may one keep?"""
    events = largest_moves(world, whole=False).index
    order = pd.Series(np.arange(len(world.bars)), index=world.bars.index).loc[events]
    step = order.diff() if keep == "first" else -order.diff(-1)
    symbol = pd.Series(events.get_level_values("symbol"), index=events)
    alone = symbol.ne(symbol.shift(1 if keep == "first" else -1)).to_numpy()
    return events[(step.fillna(np.inf) > 10).to_numpy() | alone]


# positions, decided at the open of their bar
def direction_of_the_same_bar(rows: pd.DataFrame) -> pd.Series:
    return (rows["close"] - rows["open"]).map(np.sign)


def direction_of_the_last_bar(rows: pd.DataFrame) -> pd.Series:
    return direction_of_the_same_bar(rows).shift(1)


@kernel
def _online_slope(x: FloatArray, y: FloatArray, known_after: int) -> FloatArray:
    """Least squares through the origin on all pairs (x_s, y_s) with s + known_after <= t, times x_t."""
    out = np.full(x.size, np.nan)
    xy, xx = 0.0, 0.0
    for t in range(x.size):
        s = t - known_after
        if s >= 0 and np.isfinite(x[s]) and np.isfinite(y[s]):
            xy += x[s] * y[s]
            xx += x[s] * x[s]
        if xx > 0.0:
            out[t] = xy / xx * x[t]
    return out


def online_prediction(rows: pd.DataFrame, known_after: int) -> pd.Series:
    """Predicts the return over the next five bars from the last return."""
    x = returns(rows).to_numpy()
    return pd.Series(_online_slope(x, _outcome(rows).to_numpy(), known_after), index=rows.index)


def prediction_in_sample(rows: pd.DataFrame) -> pd.Series:
    """One regression over the whole sample, then predictions of the same bars."""
    x = returns(rows)
    return x * float((x * _outcome(rows)).sum() / (x * x).sum())


def _outcome(rows: pd.DataFrame) -> pd.Series:
    ahead: pd.Series = np.log(rows["close"].shift(-_HORIZON)) - np.log(rows["close"])
    return ahead


def scaled_predictions(rows: pd.DataFrame, whole: bool) -> pd.Series:
    """Predictions made comparable by their mean and deviation."""
    raw = online_prediction(rows, _HORIZON)
    basis = raw if whole else raw.expanding(40)
    return (raw - basis.mean()) / basis.std()


PLANTS = (
    Plant("cusum_threshold_of_the_sample", "event", cusum_with_threshold_of_the_sample, cusum_with_trailing_threshold),
    Plant("pivot_dated_at_the_turn", "event", lambda world: zigzag(world, False), lambda world: zigzag(world, True)),
    Plant("largest_moves_of_the_sample", "event", lambda world: largest_moves(world, True), lambda world: largest_moves(world, False)),
    Plant("peak_dated_at_the_peak", "event", each(lambda rows: local_peaks(rows, True)), each(lambda rows: local_peaks(rows, False))),
    Plant(
        "last_of_a_cluster", "event", lambda world: one_event_a_cluster(world, "last"), lambda world: one_event_a_cluster(world, "first")
    ),
    Plant("same_bar_close", "position", each(direction_of_the_same_bar), each(direction_of_the_last_bar)),
    Plant(
        "bought_at_the_low_of_the_bar",
        "position",
        each(lambda rows: rows["low"] * 1.001),
        each(lambda rows: rows["low"].shift(1) * 1.001),
    ),
    Plant(
        "volume_of_the_same_bar",
        "position",
        each(lambda rows: 0.01 * rows["volume"]),
        each(lambda rows: 0.01 * rows["volume"].shift(1).rolling(20).mean()),
    ),
    Plant(
        "average_including_its_own_close",
        "position",
        each(lambda rows: rows["open"] / rows["close"].ewm(span=20).mean()),
        each(lambda rows: rows["open"] / rows["close"].shift(1).ewm(span=20).mean()),
    ),
    Plant(
        "outcomes_not_in_yet",
        "prediction",
        each(lambda rows: online_prediction(rows, 0)),
        each(lambda rows: online_prediction(rows, _HORIZON)),
    ),
    Plant("predictions_in_sample", "prediction", each(prediction_in_sample), each(lambda rows: online_prediction(rows, _HORIZON))),
    Plant(
        "predictions_scaled_over_the_sample",
        "prediction",
        each(lambda rows: scaled_predictions(rows, True)),
        each(lambda rows: scaled_predictions(rows, False)),
    ),
)
