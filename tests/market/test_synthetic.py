"""The invented market: repeatable, consistent between time frames, and with the properties it claims."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import BarDataError, BarSource, BarStore, SyntheticConfig, SyntheticSource, Timeframe, check_bars, ingest

Frame = pd.DataFrame
BASE = SyntheticConfig(7, ("AAA", "BBB", "CCC"), date(2012, 10, 1), date(2012, 12, 31), Timeframe.parse("5Min"))


@cache
def fetched(config: SyntheticConfig) -> Frame:
    return SyntheticSource(config).fetch()


def test_equal_configs_give_equal_bars_in_any_process(tmp_path: Path) -> None:
    code = """
import sys
from datetime import date
from alphatrade_pipelines.market import *
from alphatrade_pipelines.market.store import content_hash
config = SyntheticConfig(7, ("AAA", "BBB", "CCC"), date(2012, 10, 1), date(2012, 12, 31), Timeframe.parse("5Min"))
print(content_hash(SyntheticSource(config).fetch()))
"""
    from alphatrade_pipelines.market.store import content_hash

    environment = os.environ | {"PYTHONHASHSEED": "99", "PYTHONPATH": os.getcwd()}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == content_hash(fetched(BASE))
    assert content_hash(fetched(replace(BASE, seed=8))) != content_hash(fetched(BASE))


def test_a_symbol_does_not_depend_on_its_company() -> None:
    alone = fetched(replace(BASE, symbols=("BBB",)))
    pd.testing.assert_frame_equal(alone, fetched(BASE).loc[["BBB"]], check_exact=True)


@pytest.mark.parametrize("text", ["1Min", "15Min", "1Hour", "1Day"])
def test_every_time_frame_is_the_same_market(text: str) -> None:
    frame = Timeframe.parse(text)
    bars, five = fetched(replace(BASE, timeframe=frame)), fetched(BASE)
    check_bars(bars, frame)

    def by_day(some: Frame) -> Frame:
        days = some.index.get_level_values(1).normalize()
        how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        return some.groupby([some.index.get_level_values(0), days]).agg(how)

    pd.testing.assert_frame_equal(by_day(bars), by_day(five), check_exact=True)


def test_half_days_are_short() -> None:
    days = fetched(BASE).loc["AAA"].groupby(lambda stamp: stamp.date()).size()
    assert days[date(2012, 11, 23)] == 42
    assert days[date(2012, 11, 26)] == 78
    assert date(2012, 10, 29) not in days.index  # hurricane Sandy


def test_the_crisis_raises_volatility_and_correlation() -> None:
    config = replace(
        BASE,
        start=date(2005, 1, 3),
        end=date(2012, 12, 31),
        timeframe=Timeframe.parse("1Day"),
        crises=((date(2008, 7, 1), date(2009, 6, 30)),),
    )
    returns = np.log(fetched(config)["close"].unstack(0)).diff().dropna()
    crisis = (returns.index >= "2008-07-02") & (returns.index < "2009-07-01")

    def mean_correlation(some: Frame) -> float:
        matrix = some.corr().to_numpy()
        return float(matrix[np.triu_indices(3, 1)].mean())

    calm = float(returns[~crisis].std().mean() * 252**0.5)
    assert calm == pytest.approx(np.hypot(0.12, 0.20) * 1.25**0.5, rel=0.2)  # the session's and the night's variance
    assert float(returns[crisis].std().mean() * 252**0.5) > 2 * calm
    assert mean_correlation(returns[crisis]) > mean_correlation(returns[~crisis]) + 0.15


def test_days_are_u_shaped_and_volatility_clusters() -> None:
    bars = fetched(BASE).loc["AAA"]
    minute = (bars.index - bars.index.normalize()).total_seconds() // 60
    opens = pd.Series(minute, bars.index).groupby(bars.index.normalize()).transform("min")
    position = pd.Series(minute, bars.index) - opens
    inside = np.log(bars["close"] / bars["open"])
    volume, spread = (values.groupby(position).agg(how) for values, how in ((bars["volume"], "mean"), (inside, "std")))
    for curve in (volume, spread):
        assert curve.loc[:25].mean() > 1.3 * curve.loc[180:240].mean()
        assert curve.loc[360:].mean() > 1.1 * curve.loc[180:240].mean()
    daily = inside.groupby(bars.index.normalize()).std()
    assert daily.autocorr(1) > 0.3


def test_highs_and_lows_are_those_of_a_diffusion() -> None:
    """E[(ln high/low)^2] of a driftless Brownian day is 4 ln 2 times its variance (Parkinson 1980)."""
    plain = replace(BASE, start=date(2010, 1, 4), variance_spread=0.0, jumps_a_year=0.0, overnight_share=0.0)
    bars = fetched(plain)
    bars = bars[bars["close"] > 20]  # the cent is a small part of the range
    parkinson = (np.log(bars["high"] / bars["low"]) ** 2).mean() / (4 * np.log(2))
    assert parkinson == pytest.approx((np.log(bars["close"] / bars["open"]) ** 2).mean(), rel=0.03)


def test_it_is_labelled_synthetic_everywhere(tmp_path: Path) -> None:
    source = SyntheticSource(BASE)
    assert isinstance(source, BarSource)
    assert source.synthetic
    assert source.describe()["synthetic"] is True
    assert source.describe()["seed"] == 7
    store = BarStore(tmp_path / "bars")
    ingest(store, source, end="2012-11-01")
    assert store.describe()["synthetic"] is True
    assert store.describe()["source"] == "synthetic-7"
    with pytest.raises(BarDataError, match="expected synthetic True, found False"):
        store.append(source.fetch(), source.timeframe, source.name, synthetic=False)
    ingest(store, source)
    pd.testing.assert_frame_equal(store.read(), source.fetch(), check_exact=True)


def test_wrong_configs_are_refused(tmp_path: Path, make_daily: Callable[..., Frame]) -> None:
    with pytest.raises(BarDataError, match="start <= end and distinct symbols"):
        SyntheticSource(replace(BASE, end=date(2000, 1, 1)))
    with pytest.raises(BarDataError, match="start <= end and distinct symbols"):
        SyntheticSource(replace(BASE, symbols=("A", "A")))
    with pytest.raises(BarDataError, match="unknown symbol 'AAB'"):
        SyntheticSource(BASE).fetch(["AAB"])
    with pytest.raises(BarDataError, match="a span with XNYS sessions"):
        SyntheticSource(replace(BASE, start=date(2012, 12, 22), end=date(2012, 12, 23))).fetch()
