"""Quality figures against frames whose defects are known."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from alphatrade_pipelines.market import Timeframe, quality_report

Frame = pd.DataFrame


def test_defects_are_counted(make_daily: Callable[..., Frame], daily: Timeframe) -> None:
    bars = make_daily(("AAA", "BBB"), 30)
    aaa = bars.loc[["AAA"]].copy()
    volume, split = aaa.columns.get_loc("volume"), aaa.columns.get_loc("split")
    aaa.iloc[[3, 4], volume] = 0.0
    aaa.iloc[10, split] = 4.0
    aaa.iloc[10:, :4] /= 4.0
    aaa.iloc[20, :4] = aaa.iloc[19]["close"]
    broken = pd.concat([aaa.drop(aaa.index[[7, 8]]), bars.loc[["BBB"]]])
    report = quality_report(broken, daily)
    assert list(report.index) == ["AAA", "BBB"]
    row = report.loc["AAA"]
    assert (row["rows"], row["missing_sessions"], row["zero_volume"], row["flat"], row["unchanged"], row["splits"]) == (28, 2, 2, 1, 1, 1)
    assert row["max_abs_return"] < 0.06  # the split is no return
    assert row["first"] == pd.Timestamp("2013-01-02T14:30Z")
    clean = report.loc["BBB"]
    assert (clean["rows"], clean["missing_sessions"], clean["zero_volume"], clean["flat"], clean["splits"]) == (30, 0, 0, 0, 0)
    returns = bars.loc["BBB"]["close"].pct_change().abs()
    assert clean["max_abs_return"] == pytest.approx(returns.max())
    assert clean["max_return_at"] == returns.idxmax()


def test_missing_intraday_bars_are_counted_and_half_days_known(make_daily: Callable[..., Frame]) -> None:
    from datetime import date

    from alphatrade_pipelines.market import SyntheticConfig, SyntheticSource

    frame = Timeframe.parse("15Min")
    bars = SyntheticSource(SyntheticConfig(1, ("AAA",), date(2012, 11, 19), date(2012, 11, 26), frame)).fetch()
    assert quality_report(bars, frame).loc["AAA", "missing_bars"] == 0
    assert quality_report(bars.drop(bars.index[[5, 6, 90]]), frame).loc["AAA", "missing_bars"] == 3


def test_one_bar_is_enough(make_daily: Callable[..., Frame], daily: Timeframe) -> None:
    report = quality_report(make_daily(("AAA",), 1), daily)
    assert report.loc["AAA", "rows"] == 1
    assert pd.isna(report.loc["AAA", "max_return_at"])
