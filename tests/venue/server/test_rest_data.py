"""/v2/stocks and /v1/corporate-actions through the unmodified SDK and through raw HTTP: never a bar of the future."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from alpaca.common.enums import Sort
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.requests import (
    CorporateActionsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from rest_world import Venue
from venue_world import FLAT, daily_bars, exchange, intraday_bars, random_bars

from alphatrade_pipelines.market import SessionCalendar, adjust
from alphatrade_pipelines.venue.faults import tape_faults

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


def minute_bars(days: int = 3, symbols: tuple[str, ...] = ("AAA", "BBB"), seed: int = 3) -> pd.DataFrame:
    """Bars of every minute of some sessions."""
    rng = np.random.default_rng(seed)
    sessions = SessionCalendar().sessions("2024-03-04", "2024-03-20").iloc[:days]
    starts = pd.DatetimeIndex([at for opens in sessions["open"] for at in pd.date_range(opens, periods=390, freq="1min")])
    frames = []
    for symbol in symbols:
        close = np.round(100 + rng.normal(0, 0.05, len(starts)).cumsum(), 2)
        open_ = np.concatenate([[100.0], close[:-1]])
        high, low = np.maximum(open_, close) + 0.01, np.minimum(open_, close) - 0.01
        index = pd.MultiIndex.from_product([[symbol], starts], names=["symbol", "timestamp"])
        volume = rng.integers(1000, 9000, len(starts)).astype(float)
        columns = {"open": open_, "high": high, "low": low, "close": close, "volume": volume, "trade_count": 7.0}
        frames.append(pd.DataFrame(columns, index=index))
    return pd.concat(frames).sort_index()


@pytest.fixture(scope="module")
def minutes() -> Iterator[Venue]:
    """Two and a half sessions of minute bars are known: it is 12:45 of the third day."""
    with Venue(exchange(minute_bars(), timeframe="1Min", skip=2)) as venue:
        venue.until("session_open")
        while venue.exchange.now < datetime(2024, 3, 6, 17, 45, tzinfo=UTC):
            venue.exchange.advance()
        yield venue


class TestBars:
    def test_pages_across_symbols_and_knows_only_the_past(self) -> None:
        bars = random_bars(symbols=2, sessions=30)
        with Venue(exchange(bars, skip=20)) as venue:
            request = StockBarsRequest(symbol_or_symbols=["AAA", "BBB", "ZZZZ"], timeframe=TimeFrame.Day, start=LONG_AGO)
            found = venue.data.get_stock_bars(request)
            assert {symbol: len(rows) for symbol, rows in found.data.items()} == {"AAA": 20, "BBB": 20}
            first = found["AAA"][0]
            assert (first.open, first.close) == (bars["open"].iloc[0], bars["close"].iloc[0])
            assert first.timestamp.isoformat() == "2024-03-04T05:00:00+00:00"  # midnight in New York, as Alpaca stamps its days
            venue.until("session_close")
            assert len(venue.data.get_stock_bars(request)["AAA"]) == 21
            latest = venue.data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAA"))
            assert latest["AAA"].close == bars.loc["AAA", "close"].iloc[20]

    @pytest.mark.parametrize("sort", ["asc", "desc"])
    def test_a_token_resumes_exactly(self, minutes: Venue, sort: str) -> None:
        url = f"/v2/stocks/bars?symbols=BBB,AAA&timeframe=15Min&start=2024-03-05&sort={sort}"
        whole = minutes.get(url + "&limit=10000")
        assert whole["next_page_token"] is None
        pages, token = [], ""
        while True:
            page = minutes.get(f"{url}&limit=7" + (f"&page_token={quote(token)}" if token else ""))
            pages.append(page["bars"])
            if (token := page["next_page_token"]) is None:
                break
        glued = {symbol: [bar for page in pages for bar in page.get(symbol, [])] for symbol in ("AAA", "BBB")}
        assert glued == whole["bars"]
        assert {sum(len(rows) for rows in page.values()) for page in pages[:-1]} == {7}
        stamps = [bar["t"] for bar in glued["AAA"]]
        assert stamps == sorted(stamps, reverse=sort == "desc")

    def test_a_limit_of_the_sdk_counts_across_symbols(self, minutes: Venue) -> None:
        request = StockBarsRequest(symbol_or_symbols=["AAA", "BBB"], timeframe=TimeFrame.Minute, start=LONG_AGO, limit=975 + 3)
        assert {symbol: len(rows) for symbol, rows in minutes.data.get_stock_bars(request).data.items()} == {"AAA": 975, "BBB": 3}
        latest = StockBarsRequest(symbol_or_symbols="AAA", timeframe=TimeFrame.Minute, start=LONG_AGO, limit=2, sort=Sort.DESC)
        assert [bar.timestamp.minute for bar in minutes.data.get_stock_bars(latest)["AAA"]] == [44, 43]

    @pytest.mark.parametrize(
        ("frame", "rule", "count"),
        [("5Min", "5min", 195), ("15Min", "15min", 65), ("1Hour", "1h", 18), ("4Hour", "4h", 6), ("1Day", "1D", 3), ("1Week", "7D", 1)],
    )
    def test_any_timeframe_out_of_minutes(self, minutes: Venue, frame: str, rule: str, count: int) -> None:
        """Against pandas: windows counted from midnight in New York, only bars that are complete."""
        found = minutes.get(f"/v2/stocks/bars?symbols=AAA&timeframe={frame}&start=2024-03-01&limit=10000")["bars"]["AAA"]
        known = minute_bars().loc["AAA"]
        known = known[known.index < minutes.exchange.now].tz_convert("America/New_York").tz_localize(None)
        origin = pd.Timestamp("2024-03-04")
        wanted = (
            known.resample(rule, origin=origin)
            .agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "trade_count": "sum"})
            .dropna()
        )
        assert len(found) == len(wanted) == count
        assert [pd.Timestamp(bar["t"]) for bar in found] == [at.tz_localize("America/New_York").tz_convert("UTC") for at in wanted.index]
        for key, column in {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "n": "trade_count"}.items():
            assert [bar[key] for bar in found] == wanted[column].tolist(), column

    def test_the_sdks_timeframes(self, minutes: Venue) -> None:
        for frame, expected in (
            (TimeFrame.Minute, 975),
            (TimeFrame(5, TimeFrameUnit.Minute), 195),
            (TimeFrame.Hour, 18),
            (TimeFrame.Day, 3),
            (TimeFrame.Week, 1),
            (TimeFrame.Month, 1),
            (TimeFrame(3, TimeFrameUnit.Month), 1),
        ):
            request = StockBarsRequest(symbol_or_symbols="AAA", timeframe=frame, start=LONG_AGO, feed=DataFeed.IEX)
            assert len(minutes.data.get_stock_bars(request)["AAA"]) == expected
        month = minutes.get("/v2/stocks/bars?symbols=AAA&timeframe=3Month&start=2024-01-01")["bars"]["AAA"][0]
        assert month["t"] == "2024-01-01T05:00:00Z"

    def test_bounds_are_inclusive_and_today_is_the_default(self, minutes: Venue) -> None:
        url = "/v2/stocks/bars?symbols=AAA&timeframe=1Min"
        exact = minutes.get(f"{url}&start=2024-03-05T15:00:00Z&end=2024-03-05T15:02:00Z")["bars"]["AAA"]
        assert [bar["t"][11:16] for bar in exact] == ["15:00", "15:01", "15:02"]
        today = minutes.get(url)["bars"]["AAA"]
        assert (len(today), today[0]["t"]) == (195, "2024-03-06T14:30:00Z")
        future = minutes.get(f"{url}&start=2024-03-06T17:40:00Z&end=2030-01-01")["bars"]["AAA"]
        assert [bar["t"][11:16] for bar in future] == ["17:40", "17:41", "17:42", "17:43", "17:44"]
        assert minutes.get(f"{url}&start=0001-01-01&end=0001-01-02")["bars"] == {}
        assert minutes.get(f"{url}&start=9999-12-31")["bars"] == {}

    def test_a_day_out_of_intraday_bars_grows(self) -> None:
        rows = [(100.0, 103.0, 99.0, 101.0, 100.0), (101.0, 105.0, 98.0, 104.0, 300.0)]
        with Venue(exchange(intraday_bars("AAA", rows), timeframe="5Min", skip=0)) as venue:
            request = StockBarsRequest(symbol_or_symbols="AAA", timeframe=TimeFrame.Day, start=LONG_AGO)
            venue.until("session_open")
            assert venue.data.get_stock_bars(request).data == {}
            while not venue.step()["at"].endswith("14:35:00Z"):
                pass
            assert [(day.high, day.volume) for day in venue.data.get_stock_bars(request)["AAA"]] == [(103.0, 100.0)]
            venue.until("session_close")
            day = venue.data.get_stock_bars(request)["AAA"][0]
            assert (day.open, day.high, day.low, day.close, day.volume) == (100.0, 105.0, 98.0, 104.0, 400.0)


class TestAdjustment:
    @pytest.fixture
    def bars(self) -> pd.DataFrame:
        rows = [
            (100.0, 101.0, 99.0, 100.0, 1e6),
            (100.0, 104.0, 98.0, 102.0, 1e6),
            (51.0, 52.0, 50.0, 51.0, 2e6),
            (50.0, 52.0, 49.0, 50.0, 2e6),
        ]
        return daily_bars({"AAA": rows}, split={"AAA": [1.0, 1.0, 2.0, 1.0]}, dividend={"AAA": [0.0, 0.0, 0.0, 0.5]})

    def _closes(self, venue: Venue, adjustment: Adjustment) -> list[float]:
        request = StockBarsRequest(symbol_or_symbols="AAA", timeframe=TimeFrame.Day, start=LONG_AGO, adjustment=adjustment)
        return [round(bar.close, 6) for bar in venue.data.get_stock_bars(request)["AAA"]]

    def test_all_four_against_the_house(self, bars: pd.DataFrame) -> None:
        with Venue(exchange(bars, skip=3)) as venue:
            venue.until("session_close")
            assert self._closes(venue, Adjustment.RAW) == [100.0, 102.0, 51.0, 50.0]
            assert self._closes(venue, Adjustment.SPLIT) == [50.0, 51.0, 51.0, 50.0]
            as_of = bars.index[-1][1]
            assert self._closes(venue, Adjustment.ALL) == adjust(bars, as_of)["close"].round(6).tolist()
            only_dividends = bars["close"] * [50.5 / 51, 50.5 / 51, 50.5 / 51, 1.0]
            assert self._closes(venue, Adjustment.DIVIDEND) == only_dividends.round(6).tolist()
            volumes = [
                row["v"] for row in venue.get("/v2/stocks/bars?symbols=AAA&timeframe=1Day&start=2024-01-01&adjustment=all")["bars"]["AAA"]
            ]
            assert volumes == [2e6, 2e6, 2e6, 2e6]

    def test_a_split_is_in_the_prices_from_its_morning_on(self, bars: pd.DataFrame) -> None:
        with Venue(exchange(bars, skip=2)) as venue:
            assert self._closes(venue, Adjustment.SPLIT) == [100.0, 102.0]
            assert venue.step()["kind"] == "pre_open"
            assert self._closes(venue, Adjustment.SPLIT) == [50.0, 51.0]
            assert self._closes(venue, Adjustment.RAW) == [100.0, 102.0]
            assert venue.data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAA"))["AAA"].price == 51.0

    def test_a_split_that_a_fault_sprang_is_in_the_prices_too(self) -> None:
        with Venue(exchange(daily_bars({"AAA": [FLAT] * 5}), skip=2)) as venue:
            assert self._closes(venue, Adjustment.SPLIT) == [100.0, 100.0]
            tape_faults.split(venue.exchange, "AAA", 4.0)
            assert self._closes(venue, Adjustment.SPLIT) == [100.0, 100.0]
            venue.until("session_close")
            assert self._closes(venue, Adjustment.SPLIT) == [25.0, 25.0, 25.0]
            assert self._closes(venue, Adjustment.RAW) == [100.0, 100.0, 25.0]


class TestTradesAndQuotes:
    def test_history_is_what_was_printed(self) -> None:
        rows = [(100.0, 103.0, 99.0, 101.0, 1000.0), (101.0, 105.0, 98.0, 104.0, 3000.0)]
        with Venue(exchange(intraday_bars("AAA", rows), timeframe="5Min", skip=0)) as venue:
            printed: list[Any] = []
            while (step := venue.exchange.next_step_at) is not None and step <= datetime(2024, 3, 4, 14, 40, tzinfo=UTC):
                venue.step()
                printed += venue.exchange.market.prints()
            trades = venue.data.get_stock_trades(StockTradesRequest(symbol_or_symbols="AAA", start=LONG_AGO))["AAA"]
            assert [(t.timestamp, t.price, t.size) for t in trades] == [(p.at, p.price, p.size) for p in printed]
            assert sum(t.size for t in trades) == 4000
            assert [t.id for t in trades] == sorted({t.id for t in trades})
            quotes = venue.data.get_stock_quotes(StockQuotesRequest(symbol_or_symbols="AAA", start=LONG_AGO, limit=3))["AAA"]
            assert [(q.bid_price, q.ask_price) for q in quotes] == [(p.bid, p.ask) for p in printed[:3]]
            latest = venue.data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAA"))["AAA"]
            assert (latest.price, latest.timestamp) == (104.0, datetime(2024, 3, 4, 14, 40, tzinfo=UTC))

    def test_pages_split_prints_of_one_moment(self) -> None:
        """The close of a bar and the open of the next are printed at the same time; a page may end between them."""
        rows = [(100.0, 103.0, 99.0, 101.0, 1000.0)] * 3
        with Venue(exchange(intraday_bars("AAA", rows), timeframe="5Min", skip=0)) as venue:
            venue.until("session_close")
            url = "/v2/stocks/trades?symbols=AAA&start=2024-03-04"
            whole = venue.get(url)["trades"]["AAA"]
            for more in ("", "&sort=desc"):
                seen, token = [], ""
                while token is not None:
                    page = venue.get(f"{url}&limit=1{more}" + (f"&page_token={quote(token)}" if token else ""))
                    seen += page["trades"]["AAA"]
                    token = page["next_page_token"]
                assert seen == (whole[::-1] if more else whole)

    def test_before_the_venue_began_bars_stand_in_for_prints(self) -> None:
        with Venue(exchange(daily_bars({"AAA": [(100.0, 103.0, 99.0, 101.0, 1000.0), FLAT]}), profile="base")) as venue:
            trades = venue.data.get_stock_trades(StockTradesRequest(symbol_or_symbols="AAA", start=LONG_AGO))["AAA"]
            assert [(t.price, t.size) for t in trades] == [(100.0, 200), (99.0, 300), (103.0, 300), (101.0, 200)]
            quotes = venue.data.get_stock_quotes(StockQuotesRequest(symbol_or_symbols="AAA", start=LONG_AGO))["AAA"]
            assert all(q.bid_price < t.price < q.ask_price for q, t in zip(quotes, trades, strict=True))

    def test_latest_quote_lies_around_the_price(self) -> None:
        with Venue(exchange(daily_bars({"AAA": [FLAT] * 3}), profile="base")) as venue:
            for _ in range(3):
                latest = venue.data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=["AAA", "ZZZ"]))
                assert set(latest) == {"AAA"}
                assert latest["AAA"].bid_price < 100.0 < latest["AAA"].ask_price
                assert latest["AAA"].timestamp <= venue.exchange.now
                venue.step()


class TestSnapshots:
    def test_minute_day_and_the_day_before(self, minutes: Venue) -> None:
        snapshot = minutes.data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["AAA"]))["AAA"]
        bars = minute_bars().loc["AAA"]
        today = bars[(bars.index >= "2024-03-06") & (bars.index < minutes.exchange.now)]
        yesterday = bars[(bars.index >= "2024-03-05") & (bars.index < "2024-03-06")]
        assert snapshot.minute_bar.timestamp == datetime(2024, 3, 6, 17, 44, tzinfo=UTC)
        assert (snapshot.daily_bar.open, snapshot.daily_bar.volume) == (today["open"].iloc[0], today["volume"].sum())
        assert (snapshot.previous_daily_bar.close, snapshot.previous_daily_bar.high) == (
            yesterday["close"].iloc[-1],
            yesterday["high"].max(),
        )
        assert snapshot.latest_trade.price == pytest.approx(float(minutes.exchange.prices()["AAA"]))

    def test_days_only_on_a_daily_tape(self) -> None:
        with Venue(exchange(daily_bars({"AAA": [FLAT] * 4}), skip=2)) as venue:
            raw = venue.get("/v2/stocks/snapshots?symbols=AAA,ZZZ")
            assert set(raw) == {"AAA"}
            assert set(raw["AAA"]) == {"latestTrade", "latestQuote", "dailyBar", "prevDailyBar"}
            assert (raw["AAA"]["dailyBar"]["t"], raw["AAA"]["prevDailyBar"]["t"]) == ("2024-03-05T05:00:00Z", "2024-03-04T05:00:00Z")


class TestCorporateActions:
    @pytest.fixture
    def venue(self) -> Iterator[Venue]:
        rows = {"AAA": [FLAT, FLAT, FLAT, (50.0, 50.0, 50.0, 50.0, 2e6), (50.0, 50.0, 50.0, 50.0, 2e6)], "BBB": [FLAT] * 5}
        dividends = {"AAA": [0.0, 0.0, 0.5, 0.0, 0.0], "BBB": [0.0, 0.2, 0.2, 0.0, 0.0]}
        with Venue(exchange(daily_bars(rows, split={"AAA": [1.0, 1.0, 1.0, 2.0, 1.0]}, dividend=dividends))) as one:
            yield one

    def test_announced_one_session_ahead(self, venue: Venue) -> None:
        request = CorporateActionsRequest(symbols=["AAA"], start=date(2024, 1, 1), end=date(2024, 12, 31))

        def announced() -> dict[str, list[str]]:
            found = venue.actions.get_corporate_actions(request)
            return {kind: [str(entry.ex_date) for entry in entries] for kind, entries in found.data.items()}

        assert announced() == {}
        venue.until("session_close")
        assert announced() == {"cash_dividends": ["2024-03-06"]}
        venue.until("session_close")
        split = venue.actions.get_corporate_actions(request).data["forward_splits"][0]
        assert (split.new_rate, split.old_rate) == (2.0, 1.0)
        assert venue.step()["kind"] == "pre_open"

    def test_filters_and_pages(self, venue: Venue) -> None:
        for _ in range(3):
            venue.until("session_close")
        url = "/v1/corporate-actions?start=2024-01-01&end=2024-12-31"

        def ids(query: str) -> list[str]:
            found, token = [], ""
            while token is not None:
                page = venue.get(f"{url}&{query}" + (f"&page_token={quote(token)}" if token else ""))
                found += [entry["id"] for entries in page["corporate_actions"].values() for entry in entries]
                token = page["next_page_token"]
            return found

        everything = ids("limit=1000")
        assert len(set(everything)) == 4
        assert sorted(ids("limit=1")) == sorted(everything)
        assert len(ids("types=forward_split")) == 1
        assert len(ids("symbols=BBB&types=cash_dividend,stock_merger")) == 2
        assert venue.get(f"/v1/corporate-actions?ids={everything[0]}")["corporate_actions"]
        assert set(venue.get("/v1/corporate-actions")["corporate_actions"]) == {"forward_splits"}  # of today, unless told
        cusip = venue.get(f"{url}&symbols=BBB")["corporate_actions"]["cash_dividends"][0]["cusip"]
        assert len(ids(f"cusips={cusip}")) == 2
        assert len(ids("limit=1000&sort=desc")) == 4


@pytest.mark.parametrize(
    "path",
    [
        "stocks/bars?symbols=AAA",
        "stocks/bars?symbols=AAA&timeframe=7Sec",
        "stocks/bars?symbols=AAA&timeframe=60Min",
        "stocks/bars?symbols=AAA&timeframe=2Day",
        "stocks/bars?symbols=AAA&timeframe=5Min",
        "stocks/bars?timeframe=1Day",
        "stocks/bars?symbols=,&timeframe=1Day",
        "stocks/bars?symbols=AAA&timeframe=1Day&page_token=@@",
        "stocks/bars?symbols=AAA&timeframe=1Day&page_token=QUFB",
        "stocks/bars?symbols=AAA&timeframe=1Day&adjustment=other",
        "stocks/bars?symbols=AAA&timeframe=1Day&limit=10001",
        "stocks/bars?symbols=AAA&timeframe=1Day&sort=up",
        "stocks/bars?symbols=AAA&timeframe=1Day&start=x",
        "stocks/bars?symbols=AAA&timeframe=1Day&asof=x",
        "stocks/bars?symbols=AAA&timeframe=1Day&feed=x",
        "stocks/bars?symbols=AAA&timeframe=1Day&currency=EUR",
        "stocks/trades",
        "stocks/quotes?symbols=AAA&limit=x",
        "stocks/snapshots",
        "stocks/bars/latest?feed=iex",
    ],
)
def test_bad_queries_are_refused_as_the_data_api_does(daily: Venue, path: str) -> None:
    answer = daily.raw("GET", f"/v2/{path}")
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"message"}


@pytest.fixture(scope="module")
def daily() -> Iterator[Venue]:
    with Venue(exchange(daily_bars({"AAA": [FLAT] * 3}))) as one:
        yield one


def test_a_date_as_of_is_taken(minutes: Venue) -> None:
    request = StockBarsRequest(
        symbol_or_symbols=["AAA"], timeframe=TimeFrame.Minute, start=LONG_AGO, end=LONG_AGO + timedelta(days=365), asof="2024-03-01"
    )
    assert len(minutes.data.get_stock_bars(request)["AAA"]) == 975
