"""Labels that look further than they say, or earn what was known. Signature: (bars, volatility) -> frame with t1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from alphatrade_pipelines.leaks.planted.base import Plant, stamps_of

_HORIZON = 5
_LONGEST = 10
Formula = Callable[[pd.DataFrame, pd.Series], pd.DataFrame]


def _each(formula: Formula) -> Formula:
    def label(bars: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
        parts = [formula(rows, volatility.loc[rows.index]) for _, rows in bars.groupby(level="symbol", sort=False)]
        return pd.concat(parts).dropna(subset=["t1", "ret"])

    return label


def _known(rows: pd.DataFrame, bars_later: int) -> pd.Series:
    """Start of the bar that many later."""
    stamps = stamps_of(rows)
    return pd.Series(stamps, index=rows.index).shift(-bars_later)


def fixed_horizon(t1_after: int = _HORIZON + 1, entry_before: int = -1) -> Formula:
    """From the next open to the close five bars later, known when the bar after that starts. ``entry_before``: bars before the decision."""

    def formula(rows: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
        entry = rows["open"].shift(-1) if entry_before < 0 else rows["close"].shift(entry_before)
        ret = rows["close"].shift(-_HORIZON) / entry - 1.0
        return pd.DataFrame({"t1": _known(rows, t1_after), "ret": ret, "label": (ret > 0).astype("float64")})

    return _each(formula)


def scaled_by_volatility(ahead: bool) -> Formula:
    """The return in units of volatility: of the bars behind, or of the bars ahead; ``risk`` claims to be known at the decision."""

    def formula(rows: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
        ret = rows["close"].shift(-_HORIZON) / rows["open"].shift(-1) - 1.0
        future = np.log(rows["close"]).diff()[::-1].rolling(20, min_periods=5).std()[::-1]
        risk = future if ahead else volatility
        return pd.DataFrame({"t1": _known(rows, _HORIZON + 1), "ret": ret / risk, "label": (ret > risk).astype("float64"), "risk": risk})

    return _each(formula)


def above_threshold(of_the_sample: bool) -> Formula:
    """Better than the median outcome of the sample, or better than nothing."""

    def formula(rows: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
        ret = rows["close"].shift(-_HORIZON) / rows["open"].shift(-1) - 1.0
        limit = ret.median() if of_the_sample else 0.0
        return pd.DataFrame({"t1": _known(rows, _HORIZON + 1), "ret": ret, "label": (ret > limit).astype("float64")})

    return _each(formula)


def trend_scan(stated_horizon: int) -> Formula:
    """The strongest move among horizons of 1 to 10 bars: known only when the longest is over."""

    def formula(rows: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
        entry = rows["open"].shift(-1)
        moves = pd.concat([rows["close"].shift(-k) / entry - 1.0 for k in range(1, _LONGEST + 1)], axis=1)
        best = moves.abs().to_numpy(na_value=0.0).argmax(axis=1)
        ret = pd.Series(moves.to_numpy()[np.arange(len(rows)), best], index=rows.index)
        ret = ret.where(moves.notna().all(axis=1))
        return pd.DataFrame({"t1": _known(rows, stated_horizon), "ret": ret, "label": (ret > 0).astype("float64")})

    return _each(formula)


def house_brackets(bars: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
    from alphatrade_pipelines.models.labels import triple_barrier

    return triple_barrier(bars, volatility)


def brackets_dated_at_the_touch(bars: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
    """A stop inside a bar counts as known when that bar starts."""
    labels = house_brackets(bars, volatility)
    stamps = pd.DatetimeIndex(bars.index.get_level_values("timestamp").unique().sort_values())
    before = stamps[np.maximum(stamps.searchsorted(pd.DatetimeIndex(labels["t1"]).as_unit(stamps.unit)) - 1, 0)]
    inside = labels["exit"] != "horizon"
    return labels.assign(t1=labels["t1"].where(~inside, pd.Series(before, index=labels.index)))


def brackets_from_the_volatility_ahead(bars: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
    """Barriers placed with the volatility that is about to come."""
    ahead = volatility.groupby(level="symbol", sort=False).shift(-10)
    return house_brackets(bars, ahead)


def house_trends(bars: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
    from alphatrade_pipelines.models.labels import TrendConfig, trend_scanning

    return trend_scanning(bars, TrendConfig(4, 10))


def trends_dated_at_their_own_end(bars: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
    """Known when the line that won is over, though longer ones were compared with it."""
    labels = house_trends(bars, volatility)
    stamps = pd.Series(stamps_of(bars), index=bars.index)
    place = bars.index.get_indexer(labels.index) + labels["points"].to_numpy()
    return labels.assign(t1=stamps.iloc[place].to_numpy())


def bets(side_ahead: int, opposite: bool = False) -> Formula:
    """Meta-labels on the direction of the decision's own bar, or of one so many bars later."""

    def label(bars: pd.DataFrame, volatility: pd.Series) -> pd.DataFrame:
        from alphatrade_pipelines.models.labels import LabelConfig, make_labels

        body = (bars["close"] / bars["open"] - 1.0).groupby(level="symbol", sort=False).shift(-side_ahead)
        config = LabelConfig("meta", allow_short=True, primary="reversion" if opposite else "momentum", primary_feature="body")
        return make_labels(bars, volatility, config, body.to_frame("body"))

    return label


_DECIDED = (("decided", ("risk",)),)
_BET = (("decided", ("risk", "side")),)
_AFTER = (("uses_decision_bar", False),)
PLANTS = (
    Plant("off_by_one_label", "label", fixed_horizon(t1_after=_HORIZON), fixed_horizon(), _AFTER),
    Plant("label_known_at_once", "label", fixed_horizon(t1_after=0), fixed_horizon(), _AFTER),
    Plant("entry_at_the_close_decided_on", "label", fixed_horizon(entry_before=0), fixed_horizon(), _AFTER),
    Plant("entry_before_the_decision", "label", fixed_horizon(entry_before=1), fixed_horizon()),
    Plant("forward_looking_volatility_in_the_label_scale", "label", scaled_by_volatility(True), scaled_by_volatility(False), _DECIDED),
    Plant("label_against_the_median_of_the_sample", "label", above_threshold(True), above_threshold(False), _AFTER),
    Plant("trend_scan_known_too_early", "label", trend_scan(3), trend_scan(_LONGEST + 1), _AFTER),
    Plant("trends_dated_at_their_own_end", "label", trends_dated_at_their_own_end, house_trends),
    Plant("meta_label_side_of_three_bars_later", "label", bets(side_ahead=3), bets(side_ahead=0), _BET),
    Plant("meta_label_side_of_tomorrow", "label", bets(side_ahead=1, opposite=True), bets(side_ahead=0, opposite=True), _BET),
    Plant("brackets_dated_at_the_touch", "label", brackets_dated_at_the_touch, house_brackets, _DECIDED),
    Plant("brackets_from_the_volatility_ahead", "label", brackets_from_the_volatility_ahead, house_brackets, _DECIDED),
)
