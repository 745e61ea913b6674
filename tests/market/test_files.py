"""Files in several layouts and conventions give the same bars; bad files are named with their line."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from alphatrade_pipelines.market import BarDataError, BarSource, FilesConfig, FilesSource, SessionCalendar, Timeframe, to_bars

Frame = pd.DataFrame
NEW_YORK = "America/New_York"


@pytest.fixture
def intraday() -> Frame:
    """Hourly bars of two sessions from each open, the last of a session half as long; the second day is a half day."""
    rows = []
    for symbol, base in (("AAA", 100.0), ("BBB", 50.0)):
        for opened, closed in SessionCalendar().sessions("2012-11-21", "2012-11-23").itertuples(index=False):
            for step, stamp in enumerate(pd.date_range(opened, closed, freq="1h", inclusive="left")):
                price = base + step
                rows.append((symbol, stamp, price, price + 0.5, price - 0.25, price + 0.25, 100.0 + step))
    return to_bars(pd.DataFrame(rows, columns=["symbol", "timestamp", "open", "high", "low", "close", "volume"]))


def flat(bars: Frame) -> Frame:
    return bars.drop(columns=["split", "dividend"]).reset_index()


def test_long_csv_and_parquet_with_utc_stamps(tmp_path: Path, intraday: Frame) -> None:
    flat(intraday).to_csv(tmp_path / "bars.csv", index=False)
    flat(intraday).sort_values("timestamp", kind="stable").to_parquet(tmp_path / "bars.parquet")  # sorted by time first
    for name in ("bars.csv", "bars.parquet"):
        source = FilesSource(FilesConfig(tmp_path / name, Timeframe.parse("1Hour"), "symbol_column"))
        assert isinstance(source, BarSource)
        pd.testing.assert_frame_equal(source.fetch(), intraday, check_exact=True)
    assert source.symbols == ("AAA", "BBB")
    assert len(source.fetch(["BBB"], "2012-11-23")) == 4
    with pytest.raises(BarDataError, match=r"unknown symbol 'BBX'. Did you mean 'BBB'"):
        source.fetch(["BBX"])


def test_a_file_a_symbol_with_end_stamps_in_new_york(tmp_path: Path, intraday: Frame) -> None:
    known = SessionCalendar().known_at(pd.DatetimeIndex(intraday.index.get_level_values(1)), Timeframe.parse("1Hour"))
    ends = flat(intraday).assign(timestamp=known.tz_convert(NEW_YORK).tz_localize(None))
    for symbol, part in ends.groupby("symbol"):
        part.drop(columns="symbol").rename(columns={"timestamp": "Date", "open": "O"}).to_csv(
            tmp_path / f"{str(symbol).lower()}.csv", index=False
        )
    config = FilesConfig(
        tmp_path,
        Timeframe.parse("1Hour"),
        "file_per_symbol",
        columns={"timestamp": "Date", "open": "O"},
        stamp="end",
        timezone=NEW_YORK,
    )
    # the short last bar of a day starts where the one before it ended, not an hour before the close
    pd.testing.assert_frame_equal(FilesSource(config).fetch(), intraday, check_exact=True)
    with pytest.raises(BarDataError, match=r"aaa\.csv: expected a zone for naive time stamps.*Set `timezone`"):
        FilesSource(replace(config, timezone=None)).fetch()
    with pytest.raises(BarDataError, match="exist once in Mars/Olympus"):
        FilesSource(replace(config, timezone="Mars/Olympus")).fetch()


def test_lean_files_headerless_zipped_scaled_integers(tmp_path: Path) -> None:
    line = "20130102 00:00,5539900,5550000,5493300,5490300,140124866\n20130103 00:00,5478900,5496700,5410000,5421000,88240950\n"
    with zipfile.ZipFile(tmp_path / "aapl.zip", "w") as archive:
        archive.writestr("aapl.csv", line.replace("5493300", "5486000"))
    header = ("timestamp", "open", "high", "low", "close", "volume")
    config = FilesConfig(
        tmp_path, Timeframe.parse("1Day"), "file_per_symbol", header=header, timestamp_format="%Y%m%d %H:%M", price_scale=10_000
    )
    bars = FilesSource(config).fetch()
    assert list(bars.index) == [("AAPL", pd.Timestamp("2013-01-02T14:30Z")), ("AAPL", pd.Timestamp("2013-01-03T14:30Z"))]
    assert bars["close"].tolist() == [549.03, 542.10]
    assert bars["volume"].tolist() == [140124866, 88240950]


def test_split_files_of_one_symbol_are_joined(tmp_path: Path, make_daily: Callable[..., Frame], daily: Timeframe) -> None:
    bars = make_daily()
    stamps = bars.index.get_level_values(1)
    for name, keep in (("2013a.csv.gz", stamps < "2013-01-15"), ("2013b.csv.gz", stamps >= "2013-01-15")):
        with gzip.open(tmp_path / name, "wt") as file:
            bars[keep].reset_index().to_csv(file, index=False)
    source = FilesSource(FilesConfig(tmp_path, daily, "symbol_column", name="mine"))
    pd.testing.assert_frame_equal(source.fetch(), bars, check_exact=True)
    assert source.describe()["files"] == 2
    assert source.describe()["source"] == "mine"
    (tmp_path / "again.csv").write_bytes(gzip.decompress((tmp_path / "2013a.csv.gz").read_bytes()))
    with pytest.raises(BarDataError, match="not a duplicate"):
        FilesSource(source.config).fetch()


@pytest.mark.parametrize(
    ("stamps", "options"),
    [
        (["2013-07-01", "2013-07-02"], {}),
        (["2013-07-01T00:00:00Z", "2013-07-02T00:00:00Z"], {}),  # a vendor's date at midnight UTC
        (["2013-07-01T00:00:00-04:00", "2013-07-02T00:00:00-04:00"], {}),
        (["2013-07-01 16:00", "2013-07-02 16:00"], {"timezone": NEW_YORK}),
        (["20130701", "20130702"], {"timestamp_format": "%Y%m%d"}),
        (["1372651200", "1372737600"], {"timestamp_format": "s"}),
        (["1372651200000", "1372737600000"], {"timestamp_format": "ms"}),
    ],
)
def test_a_day_is_a_day_however_it_is_written(tmp_path: Path, daily: Timeframe, stamps: list[str], options: dict[str, str]) -> None:
    rows = "".join(f"{stamp},10,11,9,10,100\n" for stamp in stamps)
    (tmp_path / "xyz.csv").write_text("timestamp,open,high,low,close,volume\n" + rows)
    bars = FilesSource(FilesConfig(tmp_path, daily, "file_per_symbol", **options)).fetch()  # type: ignore[arg-type]
    assert list(bars.index.get_level_values(1)) == [pd.Timestamp("2013-07-01T13:30Z"), pd.Timestamp("2013-07-02T13:30Z")]


def test_offsets_may_change_with_daylight_saving(tmp_path: Path) -> None:
    (tmp_path / "xyz.csv").write_text(
        "timestamp,open,high,low,close,volume\n2013-03-08T09:30:00-05:00,10,11,9,10,1\n2013-03-11T09:30:00-04:00,10,11,9,10,1\n"
    )
    bars = FilesSource(FilesConfig(tmp_path, Timeframe.parse("1Min"), "file_per_symbol")).fetch()
    assert list(bars.index.get_level_values(1)) == [pd.Timestamp("2013-03-08T14:30Z"), pd.Timestamp("2013-03-11T13:30Z")]


def test_rows_outside_sessions_are_refused_or_counted(tmp_path: Path, daily: Timeframe) -> None:
    path = tmp_path / "xyz.csv"
    path.write_text("timestamp,open,high,low,close,volume\n2013-07-03,10,11,9,10,1\n2013-07-04,10,11,9,10,1\n2013-07-05,10,11,9,10,1\n")
    config = FilesConfig(path, daily, "file_per_symbol")
    with pytest.raises(BarDataError, match=r"XYZ at 2013-07-04.*\(line 3\).*XNYS session"):
        FilesSource(config).fetch()
    dropping = FilesSource(replace(config, off_session="drop"))
    assert len(dropping.fetch()) == 2
    assert dropping.describe()["rows_off_session_dropped"] == 1


GOOD = "symbol,timestamp,open,high,low,close,volume\n"
ROW = "XYZ,2013-07-0{},10,11,9,10,100\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"an empty file \(0 bytes\)"),
        (GOOD, "at least one row, found only column names"),
        ("symbol,timestamp,open,high,low,clsoe,volume\n" + ROW.format(1), "a column 'close'.*Did you mean 'clsoe'"),
        (GOOD + ROW.format(1) + "XYZ,2013-07-02,10,11,9,ten,100\n", "line 3: expected numbers in 'close', found the text 'ten'"),
        (GOOD + ROW.format(1) + 'XYZ,2013-07-02,10,11,9,"1,000",100\n', "line 3: expected numbers in 'close', found the text '1,000'"),
        (GOOD + ROW.format(1) + "XYZ,2013-07-02,10,11,9,,100\n", r"\(line 3\): expected a positive price in 'close', found close=nan"),
        (GOOD + ROW.format(1) + "XYZ,2013-07-02,10,11,9,NaN,100\n", r"\(line 3\): expected a positive price in 'close'"),
        (GOOD + "XYZ,2013-07-02,-10,11,9,10,100\n", r"\(line 2\): expected a positive price in 'open', found open=-10"),
        (GOOD + "XYZ,2013-07-02,10,9,11,10,100\n", r"\(line 2\): expected high >= low, found high=9, low=11"),
        (GOOD + ROW.format(2) + ROW.format(1), r"\(line 3\): expected rows sorted by symbol and time"),
        (GOOD + ROW.format(1) + ROW.format(1), r"\(line 3\): expected one bar for each symbol and time, not a duplicate"),
        (GOOD + "XYZ,yesterday,10,11,9,10,100\n", r"line 2: expected a time stamp \(ISO 8601\), found 'yesterday'"),
        (GOOD + "XYZ,,10,11,9,10,100\n", "line 2: expected a time stamp in each row"),
        (GOOD + ",2013-07-01,10,11,9,10,100\n", "line 2: expected a symbol in each row"),
        (GOOD + "XYZ,20130701,10,11,9,10,100\n", "found the number 20130701.*timestamp_format"),
        (GOOD + ROW.format(1) + "XYZ,2013-07-02,10,11,9,10,100,extra,fields\n", "a readable CSV file"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path: Path, daily: Timeframe, text: str, expected: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(BarDataError, match=expected) as caught:
        FilesSource(FilesConfig(path, daily, "symbol_column")).fetch()
    assert str(path) in str(caught.value)


def test_a_symbol_may_be_called_na(tmp_path: Path, daily: Timeframe) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(GOOD + ROW.format(1).replace("XYZ", "NA") + ROW.format(1).replace("XYZ", "TRUE"))
    assert FilesSource(FilesConfig(path, daily, "symbol_column")).symbols == ("NA", "TRUE")


def test_a_truncated_parquet_is_named(tmp_path: Path, daily: Timeframe, bars: Frame) -> None:
    path = tmp_path / "bars.parquet"
    bars.to_parquet(path)
    pd.testing.assert_frame_equal(FilesSource(FilesConfig(path, daily, "symbol_column")).fetch(), bars, check_exact=True)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BarDataError, match=r"bars\.parquet: expected a complete Parquet file.*truncated"):
        FilesSource(FilesConfig(path, daily, "symbol_column")).fetch()


def test_a_wrong_config_is_refused(tmp_path: Path, daily: Timeframe) -> None:
    with pytest.raises(BarDataError, match="a file or directory, found nothing"):
        FilesSource(FilesConfig(tmp_path / "nowhere", daily, "symbol_column")).fetch()
    with pytest.raises(BarDataError, match=r"files ending in \.csv"):
        FilesSource(FilesConfig(tmp_path, daily, "symbol_column")).fetch()
    with pytest.raises(BarDataError, match=r"`columns` to map .*found 'opne'"):
        FilesSource(FilesConfig(tmp_path, daily, "symbol_column", columns={"opne": "o"}))
    with pytest.raises(BarDataError, match="positive `price_scale`"):
        FilesSource(FilesConfig(tmp_path, daily, "symbol_column", price_scale=0))
