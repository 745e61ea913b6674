"""Windows, fills and filters that reach over t."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from alphatrade_pipelines.features.kernels import filtered
from alphatrade_pipelines.leaks.planted.base import FloatArray, Plant, each, period_of, returns, stamps_of
from alphatrade_pipelines.leaks.world import World

_TAPS = np.arange(20, 0, -1, dtype=np.float64) / 210.0


def _values(rows: pd.DataFrame, values: FloatArray) -> pd.Series:
    return pd.Series(values, index=rows.index)


def backfilled_missing_bars(rows: pd.DataFrame, method: str) -> pd.Series:
    """Thinly traded bars count as missing and are filled."""
    close = rows["close"].where(rows["volume"] > rows["volume"].rolling(20).median())
    return close.bfill() if method == "bfill" else close.ffill() if method == "ffill" else close.interpolate()


def resample_labelled_at_its_start(rows: pd.DataFrame) -> pd.Series:
    """The period's last close, joined to all its bars because the period is labelled with its start."""
    return rows["close"].groupby(period_of(rows)).transform("last")


def last_finished_period(rows: pd.DataFrame) -> pd.Series:
    period = period_of(rows)
    closes = rows["close"].groupby(period).last().shift(1)
    return _values(rows, closes.reindex(period).to_numpy())


def join_of_nearest(rows: pd.DataFrame, direction: Literal["backward", "nearest"]) -> pd.Series:
    """Every fifth close stands for a slower series, joined by time."""
    left = pd.DataFrame({"at": stamps_of(rows)})
    right = pd.DataFrame({"at": stamps_of(rows)[::5], "slow": rows["close"].to_numpy()[::5]})
    return _values(rows, pd.merge_asof(left, right, on="at", direction=direction)["slow"].to_numpy())


def fft_convolution(rows: pd.DataFrame) -> pd.Series:
    """The right weights, but a transform over the whole sample: later prices change the rounding of earlier values."""
    from scipy.signal import fftconvolve

    return _values(rows, fftconvolve(np.log(rows["close"].to_numpy()), _TAPS)[: len(rows)])


def direct_convolution(rows: pd.DataFrame) -> pd.Series:
    """One sum a row in a fixed order. (scipy's lfilter is not: for weights alone it calls a convolution that rounds by length.)"""
    return _values(rows, filtered(np.log(rows["close"].to_numpy()), _TAPS, 0))


def zero_phase_filter(rows: pd.DataFrame) -> pd.Series:
    """filtfilt runs backwards, too."""
    from scipy.signal import butter, filtfilt

    return _values(rows, filtfilt(*butter(2, 0.1), np.log(rows["close"].to_numpy())))


def causal_filter(rows: pd.DataFrame) -> pd.Series:
    from scipy.signal import butter, lfilter

    return _values(rows, lfilter(*butter(2, 0.1), np.log(rows["close"].to_numpy())))


def savitzky_golay(rows: pd.DataFrame) -> pd.Series:
    from scipy.signal import savgol_filter

    return _values(rows, savgol_filter(rows["close"].to_numpy(), 11, 2))


def two_sided_ewma(rows: pd.DataFrame) -> pd.Series:
    """Smoothed forwards and backwards, as a Kalman smoother does."""
    forward, backward = rows["close"].ewm(span=10).mean(), rows["close"][::-1].ewm(span=10).mean()[::-1]
    return (forward + backward) / 2.0


def nudged_after_large_moves(rows: pd.DataFrame, by_tomorrow: bool) -> pd.Series:
    """Only where the move is beyond three deviations, which is rare, the next return is used instead of the last."""
    ret = returns(rows)
    rare = ret.abs() > 3.0 * ret.shift(1).rolling(60).std()
    return ret.where(~rare, ret.shift(-1) if by_tomorrow else 0.0)


def centred_but_for_the_first_symbol(world: World) -> pd.Series:
    """A special case that was tested on one symbol only."""
    tested = world.bars.index[0][0]
    return each(lambda rows: returns(rows).rolling(5, center=rows.index[0][0] != tested).mean())(world)


def last_bar_of_the_period(rows: pd.DataFrame) -> pd.Series:
    """Seen by looking whether the next bar belongs to another day."""
    period = pd.Series(period_of(rows), index=rows.index)
    return (period != period.shift(-1)).astype("float64")


def first_bar_of_the_period(rows: pd.DataFrame) -> pd.Series:
    period = pd.Series(period_of(rows), index=rows.index)
    return (period != period.shift(1)).astype("float64")


def worst_drawdown_ahead(rows: pd.DataFrame) -> pd.Series:
    return rows["low"][::-1].rolling(20, min_periods=1).min()[::-1] / rows["close"] - 1.0


def high_of_the_period(rows: pd.DataFrame) -> pd.Series:
    """In the morning it knows the high of the day."""
    return rows["close"] / rows["high"].groupby(period_of(rows)).transform("max")


def high_so_far(rows: pd.DataFrame) -> pd.Series:
    return rows["close"] / rows["high"].groupby(period_of(rows)).cummax()


def volume_share_of_the_period(rows: pd.DataFrame) -> pd.Series:
    return rows["volume"] / rows["volume"].groupby(period_of(rows)).transform("sum")


def volume_share_so_far(rows: pd.DataFrame) -> pd.Series:
    return rows["volume"] / rows["volume"].groupby(period_of(rows)).cumsum()


def return_to_period_close(rows: pd.DataFrame) -> pd.Series:
    return rows["close"].groupby(period_of(rows)).transform("last") / rows["close"] - 1.0


def return_from_period_open(rows: pd.DataFrame) -> pd.Series:
    return rows["close"] / rows["open"].groupby(period_of(rows)).transform("first") - 1.0


PLANTS = (
    Plant(
        "centred_window",
        "feature",
        each(lambda rows: rows["close"] / rows["close"].rolling(11, center=True).mean()),
        each(lambda rows: rows["close"] / rows["close"].rolling(11).mean()),
    ),
    Plant("shift_minus_one", "feature", each(lambda rows: returns(rows).shift(-1)), each(returns)),
    Plant(
        "gap_to_the_next_open",
        "feature",
        each(lambda rows: rows["open"].shift(-1) / rows["close"]),
        each(lambda rows: rows["open"] / rows["close"].shift(1)),
    ),
    Plant(
        "forward_rolling_volatility",
        "feature",
        each(lambda rows: returns(rows)[::-1].rolling(20).std()[::-1]),
        each(lambda rows: returns(rows).rolling(20).std()),
    ),
    Plant(
        "backfilled_warmup",
        "feature",
        each(lambda rows: returns(rows).rolling(int(len(rows) * 0.45)).std().bfill()),
        each(lambda rows: returns(rows).rolling(60).std()),
    ),
    Plant(
        "backfilled_missing_bars",
        "feature",
        each(lambda rows: backfilled_missing_bars(rows, "bfill")),
        each(lambda rows: backfilled_missing_bars(rows, "ffill")),
    ),
    Plant(
        "interpolated_gaps",
        "feature",
        each(lambda rows: backfilled_missing_bars(rows, "linear")),
        each(lambda rows: backfilled_missing_bars(rows, "ffill")),
    ),
    Plant("resample_labelled_at_its_start", "feature", each(resample_labelled_at_its_start), each(last_finished_period)),
    Plant(
        "join_of_the_nearest",
        "feature",
        each(lambda rows: join_of_nearest(rows, "nearest")),
        each(lambda rows: join_of_nearest(rows, "backward")),
    ),
    Plant("fft_convolution", "feature", each(fft_convolution), each(direct_convolution)),
    Plant("zero_phase_filter", "feature", each(zero_phase_filter), each(causal_filter)),
    Plant("savitzky_golay", "feature", each(savitzky_golay), each(lambda rows: rows["close"].rolling(11).mean())),
    Plant("two_sided_smoother", "feature", each(two_sided_ewma), each(lambda rows: rows["close"].ewm(span=10).mean())),
    Plant(
        "worst_drawdown_ahead",
        "feature",
        each(worst_drawdown_ahead),
        each(lambda rows: rows["close"] / rows["close"].rolling(20, min_periods=1).max() - 1.0),
    ),
    Plant(
        "a_trace_of_tomorrow",
        "feature",
        each(lambda rows: rows["close"] + 1e-9 * rows["close"].shift(-1)),
        each(lambda rows: rows["close"] + 1e-9 * rows["close"].shift(1)),
    ),
    Plant(
        "only_after_large_moves",
        "feature",
        each(lambda rows: nudged_after_large_moves(rows, True)),
        each(lambda rows: nudged_after_large_moves(rows, False)),
    ),
    Plant(
        "only_in_some_symbols",
        "feature",
        centred_but_for_the_first_symbol,
        each(lambda rows: returns(rows).rolling(5).mean()),
    ),
    Plant("last_bar_of_the_period", "feature", each(last_bar_of_the_period), each(first_bar_of_the_period)),
    Plant("high_of_the_period", "feature", each(high_of_the_period), each(high_so_far)),
    Plant("volume_share_of_the_period", "feature", each(volume_share_of_the_period), each(volume_share_so_far)),
    Plant("return_to_the_period_close", "feature", each(return_to_period_close), each(return_from_period_open)),
)
