"""The embedded sample: its splits and dividends against history, our adjustment against the vendor's adjusted closes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import BarDataError, BarSource, SampleSource, adjust, check_bars, quality_report
from alphatrade_pipelines.market.corporate_actions import derive_actions

SOURCE = SampleSource()


def on(symbol: str, day: str, column: str) -> float:
    bars = SOURCE.fetch([symbol], day, pd.Timestamp(day) + pd.Timedelta(days=1))
    assert len(bars) == 1
    return float(bars[column].iloc[0])


def test_it_is_a_source_of_checked_raw_bars() -> None:
    assert isinstance(SOURCE, BarSource)
    bars = SOURCE.fetch()
    check_bars(bars, SOURCE.timeframe)
    assert len(bars) == SOURCE.describe()["rows"] == 12154
    assert on("AAPL", "2012-09-19", "close") == 702.10  # the price it traded at
    assert on("AAPL", "2005-02-25", "close") > 80 > 45 > on("AAPL", "2005-02-28", "close")
    assert SOURCE.describe()["rows_off_session_dropped"] == 0


def test_splits_are_those_of_history() -> None:
    bars = SOURCE.fetch()
    splits = bars[bars["split"] != 1.0]
    days = [(symbol, stamp.strftime("%Y-%m-%d"), row) for (symbol, stamp), row in splits["split"].items()]
    assert days == [("AAPL", "2000-06-21", 2.0), ("AAPL", "2005-02-28", 2.0), ("MSFT", "2003-02-18", 2.0)]


@pytest.mark.parametrize(
    ("symbol", "day", "cash"),
    [
        ("MSFT", "2003-02-19", 0.08),  # Microsoft's first dividend, a day after its split
        ("MSFT", "2004-11-15", 3.08),  # special 3.00 with the quarterly 0.08
        ("AAPL", "2012-08-09", 2.65),
        ("AAPL", "2013-02-07", 2.65),
        ("IBM", "2012-05-08", 0.85),
        ("IBM", "2004-02-06", 0.16),
    ],
)
def test_dividends_are_those_of_history(symbol: str, day: str, cash: float) -> None:
    assert on(symbol, day, "dividend") == pytest.approx(cash, abs=1e-6)


def test_no_dividend_is_invented() -> None:
    counts = SOURCE.fetch().groupby("symbol")["dividend"].agg(lambda cash: int((cash > 0).sum()))
    assert counts.to_dict() == {"AAPL": 3, "FB": 0, "GOOG": 0, "IBM": 52, "MSFT": 37}


def test_our_adjustment_reproduces_the_vendor() -> None:
    bars, theirs = SOURCE.fetch(), SOURCE.adjusted_close()

    def worst(reinvest: str) -> float:
        ours = adjust(bars, as_of="2013-03-01", reinvest=reinvest)["close"]  # type: ignore[arg-type]
        ratio = ours / theirs
        # the vendor also adjusted for events after the sample: a constant for each symbol
        return float((ratio / ratio.groupby("symbol").transform("last") - 1).abs().max())

    assert worst("ex_close") < 1e-9
    assert worst("previous_close") < 0.0025  # another, morning-known reinvestment price: second order, largest for the 10 % dividend


def test_returns_have_no_split_left_in_them() -> None:
    report = quality_report(SOURCE.fetch(), SOURCE.timeframe)
    assert report.loc["AAPL", "max_abs_return"] == pytest.approx(0.5187, abs=1e-4)  # 2000-09-29, a true fall
    assert report.loc["AAPL", "max_return_at"] == pd.Timestamp("2000-09-29T13:30Z")
    assert report.loc["MSFT", "max_abs_return"] < 0.2
    assert report["missing_sessions"].sum() == 0


def test_unknown_symbols_are_named_with_the_nearest() -> None:
    with pytest.raises(BarDataError, match=r"unknown symbol 'APPL'. Did you mean 'AAPL'"):
        SOURCE.fetch(["APPL"])


def test_derivation_withstands_rounded_adjusted_closes() -> None:
    bars, theirs = SOURCE.fetch(["AAPL"]), SOURCE.adjusted_close().loc[["AAPL"]]
    close = bars["close"].to_numpy()
    split, dividend = derive_actions(close, np.round(theirs.to_numpy(), 2))
    assert np.flatnonzero(split != 1).tolist() == np.flatnonzero(bars["split"] != 1).tolist()
    assert np.flatnonzero(dividend).tolist() == np.flatnonzero(bars["dividend"]).tolist()
    assert dividend[dividend > 0] == pytest.approx([2.65] * 3, abs=0.11)  # half a cent on 57 dollars is 0.06 on a close of 620


def test_derivation_knows_ratios_and_refuses_riddles() -> None:
    close = np.array([100.0, 67.0, 66.0, 660.0, 650.0, 13.0])
    steps = np.array([1.0, 1.5, 1.0, 0.1, 1.0, 50.0])
    split, dividend = derive_actions(close, close * np.cumprod(steps))
    assert split == pytest.approx(steps)
    assert not dividend.any()
    with pytest.raises(BarDataError, match=r"XYZ, bar 1: expected an adjustment that is a split or a dividend, found a step of 1.7345"):
        derive_actions(np.array([100.0, 100.0]), np.array([10.0, 17.345678]), where="XYZ")
    with pytest.raises(BarDataError, match=r"a step of 0\.9712"):
        derive_actions(np.array([100.0, 100.0]), np.array([10.0, 9.7123]))
