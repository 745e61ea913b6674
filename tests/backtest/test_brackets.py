"""Session returns of brackets: against a bracket walked by hand, and rules that must behave as their names say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.backtest import brackets as br
from alphatrade_pipelines.market import SessionCalendar
from alphatrade_pipelines.models import BarrierConfig, triple_barrier

CONFIG = BarrierConfig(stop_multiple=2.0, target_multiple=3.0, horizon=4, cost_bps=5.0)


def sessions_panel(symbols: list[str], n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(seed)
    stamps = pd.DatetimeIndex(SessionCalendar().sessions("2015-01-05", "2035-01-01")["open"].iloc[:n])
    pieces = []
    for _ in symbols:
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, n)))
        opened = close * np.exp(rng.normal(0, 0.005, n))
        high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
        pieces.append(np.column_stack([opened, high, low, close]))
    index = pd.MultiIndex.from_product([symbols, stamps], names=["symbol", "timestamp"])
    bars = pd.DataFrame(np.concatenate(pieces), index=index, columns=["open", "high", "low", "close"])
    return bars, pd.Series(0.015, index=index)


def test_a_short_bracket_earns_when_prices_fall() -> None:
    bars, volatility = sessions_panel(["A"], 60)
    labels = triple_barrier(bars, volatility, CONFIG, side=-1)
    found = br.band_returns(labels, pd.Series(1.0, index=labels.index), bars)
    one = labels[labels["held"] > 1].iloc[:1]
    alone = br.band_returns(one, pd.Series(1.0, index=one.index), bars)["all"]
    own = bars.loc["A"]
    first = own.index.get_loc(one.index[0][1]) + 1
    assert alone.iloc[1] == pytest.approx(1.0 - own["close"].iloc[first] / own["open"].iloc[first])
    assert alone.sum() == pytest.approx(float(one["ret"].iloc[0]))
    assert np.sign(found["all"].sum()) == np.sign(labels["ret"].sum())


def by_hand(labels: pd.DataFrame, chosen: pd.Series, bars: pd.DataFrame) -> pd.Series:
    total: dict[pd.Timestamp, float] = {}
    for (symbol, stamp), row in labels[chosen].iterrows():
        own = bars.loc[symbol]
        first = own.index.get_loc(stamp) + 1
        value, held = 1.0, max(int(row["held"]), 1)
        for step in range(held):
            now = 1 + row["ret"] if step == held - 1 else own["close"].iloc[first + step] / own["open"].iloc[first]
            total[own.index[first + step]] = total.get(own.index[first + step], 0.0) + now - value
            value = now
    return pd.Series(total).sort_index()


def test_every_bracket_is_booked_as_by_hand() -> None:
    bars, volatility = sessions_panel(["A", "B"], 60)
    labels = triple_barrier(bars, volatility, CONFIG)
    rank = pd.Series(np.random.default_rng(1).random(len(labels)), index=labels.index)
    found = br.band_returns(labels, rank, bars)
    expected = {"all": rank >= 0, "top half": rank >= 0.5, "bottom tenth": rank < 0.1}
    capacity = by_hand(labels.assign(ret=0.0), rank >= 0, bars)
    assert len(capacity) > 50
    opened = pd.Series(0, index=found.index)
    for (_, stamp), row in labels.iterrows():
        place = found.index.get_loc(stamp) + 1
        opened.iloc[place : place + max(int(row["held"]), 1)] += 1
    for name, chosen in expected.items():
        hand = by_hand(labels, chosen, bars).reindex(found.index, fill_value=0.0) / opened.max()
        np.testing.assert_allclose(found[name], hand, atol=1e-12)
    # nothing is lost or made: the parts of all brackets add up to their returns
    assert found["all"].sum() * opened.max() == pytest.approx(labels["ret"].sum())


def test_ranks_use_no_later_score() -> None:
    bars, volatility = sessions_panel(["A", "B"], 80)
    labels = triple_barrier(bars, volatility, CONFIG)
    scores = pd.Series(np.random.default_rng(2).normal(size=len(labels)), index=labels.index)
    times = pd.DatetimeIndex(labels.index.get_level_values("timestamp"))
    fold = pd.Series((times >= times.unique()[40]).astype(int), index=labels.index)
    whole = br.trailing_rank(scores, fold)
    assert whole.between(0, 1).all()
    early = times < times.unique()[60]
    pd.testing.assert_series_equal(br.trailing_rank(scores[early], fold[early]), whole[early])
    first = labels.index[times == times.unique()[40]]
    assert set(whole[first]) <= {0.5, 1.0}, "each fold's ranks begin anew"


def test_what_a_foreseeing_score_adds_and_a_drift_does_not() -> None:
    bars, volatility = sessions_panel(["A", "B", "C"], 800, seed=3)
    drift = 1.001 ** np.arange(800)
    bars = bars.mul(np.tile(drift, 3), axis=0)
    labels = triple_barrier(bars, volatility, CONFIG)
    rng = np.random.default_rng(4)
    for score, lowest, highest in ((labels["ret"], 0.3, 5.0), (pd.Series(rng.normal(size=len(labels)), index=labels.index), -0.1, 0.1)):
        rank = br.trailing_rank(score)
        returns = br.band_returns(labels, rank, bars)
        extra = br.over_the_market(returns, br.exposure_of(labels, rank))
        sharpe = extra.mean() / extra.std()
        assert "all" not in extra
        assert lowest < sharpe["top quarter"] < highest
        if lowest > 0:
            assert sharpe["bottom quarter"] < -0.3


def test_a_bracket_without_its_bar_is_refused() -> None:
    bars, volatility = sessions_panel(["A"], 40)
    labels = triple_barrier(bars, volatility, CONFIG)
    with pytest.raises(ValueError, match="bar of every bracket"):
        br.band_returns(labels, pd.Series(0.5, index=labels.index), bars.iloc[10:])


def test_variants_keep_the_configured_bracket_first() -> None:
    variants = br.variants_of(CONFIG)
    assert next(iter(variants.values())) == CONFIG
    assert len({repr(one) for one in variants.values()}) == len(variants)
