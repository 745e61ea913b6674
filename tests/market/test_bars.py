"""Every kind of bad bar gets an error that says what was expected, what was found, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.market import BarDataError, Timeframe, check_bars, empty_bars, require_history, to_bars
from alphatrade_pipelines.market.bars import as_utc, between

Frame = pd.DataFrame


def test_good_bars_pass_and_are_canonical(bars: Frame, daily: Timeframe) -> None:
    check_bars(bars, daily)
    assert bars.index.names == ["symbol", "timestamp"]
    assert str(bars.index.levels[1].dtype) == "datetime64[ns, UTC]"
    assert (bars.dtypes == "float64").all()
    assert list(bars.columns) == ["open", "high", "low", "close", "volume", "split", "dividend"]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("close", np.nan, "a positive price in 'close', found close=nan"),
        ("open", 0.0, "a positive price in 'open', found open=0"),
        ("low", -3.0, "a positive price in 'low', found low=-3"),
        ("high", np.inf, "a positive price in 'high', found high=inf"),
        ("high", 1.0, "high >= low"),
        ("open", 1e6, "open within [low, high]"),
        ("close", 1e-3, "close within [low, high]"),
        ("volume", -1.0, "a volume of zero or more, found volume=-1"),
        ("volume", np.nan, "a volume of zero or more"),
        ("split", 0.0, "a positive split factor"),
        ("dividend", -0.1, "a dividend of zero or more"),
    ],
)
def test_a_bad_value_is_named_with_its_place(bars: Frame, daily: Timeframe, column: str, value: float, expected: str) -> None:
    bad = bars.copy()
    bad.iloc[23, bad.columns.get_loc(column)] = value
    with pytest.raises(BarDataError) as caught:
        check_bars(bad, daily, where="bars.csv")
    text = str(caught.value)
    assert expected in text
    assert text.startswith("bars.csv, BBB at 2013-01-07T14:30:00+00:00 (row 23): expected")
    assert caught.value.fix in text
    assert caught.value.fix


def test_several_bad_rows_are_counted(bars: Frame, daily: Timeframe) -> None:
    bad = bars.copy()
    bad.iloc[[3, 4, 9], bad.columns.get_loc("close")] = np.nan
    with pytest.raises(BarDataError, match=r"AAA at .*\(row 3\).*2 more such rows"):
        check_bars(bad, daily)


def test_a_misspelt_column_is_suggested(bars: Frame, daily: Timeframe) -> None:
    with pytest.raises(BarDataError, match=r"a column 'close'.*Did you mean 'Colse'"):
        check_bars(bars.rename(columns={"close": "Colse"}), daily)
    with pytest.raises(BarDataError, match="a column 'volume'"):
        check_bars(bars.drop(columns="volume"), daily)


def test_text_in_a_price_is_quoted(bars: Frame, daily: Timeframe) -> None:
    bad = bars.astype({"close": "object"})
    bad.iloc[5, bad.columns.get_loc("close")] = "1,234.5"
    with pytest.raises(BarDataError, match=r"numbers in 'close', found the text '1,234.5'"):
        check_bars(bad, daily)


def test_an_empty_frame_is_refused(daily: Timeframe) -> None:
    with pytest.raises(BarDataError, match="at least one bar, found none"):
        check_bars(empty_bars(), daily)


def test_duplicates_and_disorder_are_found(bars: Frame, daily: Timeframe) -> None:
    with pytest.raises(BarDataError, match=r"duplicate, found this row.*Remove the repeated"):
        check_bars(pd.concat([bars, bars.tail(1)]).sort_index(), daily)
    swapped = bars.iloc[[0, 2, 1, *range(3, len(bars))]]
    with pytest.raises(BarDataError, match=r"AAA at 2013-01-03T14:30:00\+00:00 \(row 2\).*sorted by symbol and time"):
        check_bars(swapped, daily)
    with pytest.raises(BarDataError, match=r"\(row 20\).*sorted by symbol"):
        check_bars(pd.concat([bars.loc[["BBB"]], bars.loc[["AAA"]]]), daily)


def test_time_stamps_must_be_aware_utc(bars: Frame, daily: Timeframe) -> None:
    stamps = bars.index.get_level_values("timestamp")
    symbols = bars.index.get_level_values("symbol")
    naive = bars.set_axis(pd.MultiIndex.from_arrays([symbols, stamps.tz_localize(None)], names=bars.index.names))
    with pytest.raises(BarDataError, match="aware UTC time stamps, found naive"):
        check_bars(naive, daily)
    local = bars.set_axis(pd.MultiIndex.from_arrays([symbols, stamps.tz_convert("America/New_York")], names=bars.index.names))
    with pytest.raises(BarDataError, match="time stamps in UTC, found zone America/New_York"):
        check_bars(local, daily)
    with pytest.raises(BarDataError, match="MultiIndex"):
        check_bars(bars.reset_index(), daily)


def test_daily_bars_start_at_an_open_and_intraday_bars_in_a_session(bars: Frame, daily: Timeframe) -> None:
    flat = bars.reset_index()
    midnight = to_bars(flat.assign(timestamp=flat["timestamp"].dt.normalize()))
    with pytest.raises(BarDataError, match="stamped at the open of an XNYS session"):
        check_bars(midnight, daily)
    minute = Timeframe.parse("1Min")
    check_bars(bars, minute)
    after = to_bars(flat.assign(timestamp=flat["timestamp"] + pd.Timedelta(hours=6.5)))  # the 16:00 print
    with pytest.raises(BarDataError, match="1Min bars inside XNYS sessions"):
        check_bars(after, minute)
    clock_hour = to_bars(flat.assign(timestamp=flat["timestamp"] - pd.Timedelta(minutes=30)))  # 09:00 covers 09:30 to 10:00
    check_bars(clock_hour, Timeframe.parse("1Hour"))
    with pytest.raises(BarDataError, match="inside XNYS sessions"):
        check_bars(clock_hour, Timeframe.parse("30Min"))


def test_ten_bars_are_too_few(make_daily: Callable[..., Frame]) -> None:
    mixed = pd.concat([make_daily(("AAA",), 300), make_daily(("NEW",), 10)])
    with pytest.raises(BarDataError, match="at least 250 bars a symbol for training, found NEW has 10") as caught:
        require_history(mixed, 250, purpose="training")
    assert "AAA" not in caught.value.found
    require_history(mixed, 10)
    with pytest.raises(BarDataError, match="no bars at all"):
        require_history(empty_bars(), 1)


def test_windows_are_half_open_and_never_naive(bars: Frame) -> None:
    part = between(bars, "2013-01-03", "2013-01-07")
    assert sorted(set(part.index.get_level_values("timestamp").strftime("%Y-%m-%d"))) == ["2013-01-03", "2013-01-04"]
    assert as_utc("2013-07-01") == pd.Timestamp("2013-07-01T04:00Z")
    with pytest.raises(BarDataError, match="aware time stamp or a bare date"):
        as_utc("2013-01-03 09:30")


@pytest.mark.parametrize(
    ("text", "minutes", "again"), [("1Day", 390, "1Day"), ("15min", 15, "15Min"), ("1Hour", 60, "1Hour"), ("60Min", 60, "1Hour")]
)
def test_timeframes_read_and_write(text: str, minutes: int, again: str) -> None:
    frame = Timeframe.parse(text)
    assert (frame.minutes, str(frame), frame.is_daily) == (minutes, again, text == "1Day")
    assert Timeframe.parse(str(frame)) == frame


@pytest.mark.parametrize("text", ["", "5", "2Day", "0Min", "1Week", "400Min", "-5Min"])
def test_nonsense_timeframes_are_refused(text: str) -> None:
    with pytest.raises(BarDataError, match="a timeframe such as"):
        Timeframe.parse(text)


def test_a_bar_count_of_a_session() -> None:
    assert [Timeframe.parse(t).bars_per_session for t in ("1Min", "5Min", "1Hour", "1Day")] == [390, 78, 7, 1]
