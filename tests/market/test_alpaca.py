"""The Alpaca source: the unmodified SDK against a small HTTP server on loopback that speaks the data API's JSON."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
import requests
from pydantic import SecretStr

from alphatrade_pipelines.market import (
    AlpacaConfig,
    AlpacaSource,
    BarDataError,
    BarSource,
    BarStore,
    MarketDataUnavailableError,
    SessionCalendar,
    Timeframe,
    ingest,
)
from alphatrade_pipelines.market.sources.polite import PoliteAdapter, TokenBucket

KEY, SECRET = "PKTESTKEY", "very-secret-value"
PAGE = 7


class FakeVenue:
    """Bars, corporate actions, paging, and faults to order: ``faults`` is a list of (status, body) answered before the truth."""

    def __init__(self) -> None:
        self.bars: dict[str, list[dict[str, Any]]] = {}
        self.actions: dict[str, list[dict[str, Any]]] = {}
        self.faults: list[tuple[int, str]] = []
        self.hang_seconds = 0.0
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any) -> tuple[int, str]:
        self.requests.append((method, path, query))
        time.sleep(self.hang_seconds)
        if self.faults:
            return self.faults.pop(0)
        if headers["APCA-API-KEY-ID"] != KEY or headers["APCA-API-SECRET-KEY"] != SECRET:
            return 401, '{"message":"unauthorized."}'
        if path == "/v2/stocks/bars":
            return 200, json.dumps(self._bars(query))
        if path == "/v2/stocks/bars/latest":
            return 200, json.dumps({"bars": {s: self.bars[s][-1] for s in query["symbols"].split(",") if self.bars.get(s)}})
        if path == "/v1/corporate-actions":
            return 200, json.dumps(self._actions(query))
        return 404, '{"code":40410000,"message":"endpoint not found"}'

    def _bars(self, query: dict[str, str]) -> dict[str, Any]:
        assert query["adjustment"] == "raw"
        start, end = (pd.Timestamp(query[name]) for name in ("start", "end"))
        rows = [
            (symbol, bar)
            for symbol in sorted(query["symbols"].split(","))
            for bar in self.bars.get(symbol, [])
            if start <= pd.Timestamp(bar["t"]) <= end
        ]
        offset = int(query.get("page_token", 0))
        page: dict[str, list[dict[str, Any]]] = {}
        for symbol, bar in rows[offset : offset + PAGE]:
            page.setdefault(symbol, []).append(bar)
        return {"bars": page, "next_page_token": str(offset + PAGE) if offset + PAGE < len(rows) else None}

    def _actions(self, query: dict[str, str]) -> dict[str, Any]:
        """Filters by process date and pages by one, as the real one may."""
        found = [
            (kind, item)
            for kind, items in self.actions.items()
            for item in items
            if kind[:-1] in query["types"].split(",")
            and item["symbol"] in query["symbols"].split(",")
            and query["start"] <= item["process_date"] <= query["end"]
        ]
        offset = int(query.get("page_token", 0))
        page = {kind: [item] for kind, item in found[offset : offset + 1]}
        return {"corporate_actions": page, "next_page_token": str(offset + 1) if offset + 1 < len(found) else None}


@pytest.fixture
def venue() -> FakeVenue:
    return FakeVenue()


@pytest.fixture
def url(venue: FakeVenue) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, body = venue.answer(self.command, parts.path, query, self.headers)
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 429:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(body.encode())
            except BrokenPipeError:  # the client timed out, as one test wants
                self.close_connection = True

        do_GET = respond  # noqa: N815 - names fixed by http.server
        do_POST = respond  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make(url: str) -> Callable[..., AlpacaSource]:
    def build(timeframe: str = "1Day", now: str = "2024-06-20 00:00", **changes: Any) -> AlpacaSource:
        config = AlpacaConfig(
            SecretStr(KEY),
            SecretStr(SECRET),
            ("NVDA", "MSFT"),
            Timeframe.parse(timeframe),
            start=date(2024, 6, 3),
            url=url,
            requests_per_minute=60_000,
        )
        return AlpacaSource(replace(config, **changes), now=lambda: pd.Timestamp(now, tz="UTC").to_pydatetime())

    return build


def daily_bars(start: str, end: str, price: float) -> list[dict[str, Any]]:
    """As on the wire: stamped midnight New York."""
    days = SessionCalendar().sessions(start, end).index
    stamps = days.tz_localize("America/New_York").tz_convert("UTC")
    return [bar(stamp.strftime("%Y-%m-%dT%H:%M:%SZ"), price + step) for step, stamp in enumerate(stamps)]


def bar(stamp: str, price: float) -> dict[str, Any]:
    return {"t": stamp, "o": price, "h": price + 1, "l": price - 1, "c": price, "v": 1000, "n": 10, "vw": price}


@pytest.fixture
def filled(venue: FakeVenue) -> FakeVenue:
    venue.bars = {
        "NVDA": daily_bars("2024-06-03", "2024-06-07", 1150) + daily_bars("2024-06-10", "2024-06-21", 120),
        "MSFT": daily_bars("2024-06-03", "2024-06-21", 420),
    }
    venue.actions = {
        "forward_splits": [
            {"symbol": "NVDA", "cusip": "1", "new_rate": 10, "old_rate": 1, "process_date": "2024-06-10", "ex_date": "2024-06-10"}
        ],
        "cash_dividends": [
            {"symbol": "NVDA", "rate": 0.01, "special": False, "foreign": False, "process_date": "2024-06-28", "ex_date": "2024-06-11"},
            {"symbol": "MSFT", "rate": 0.75, "special": False, "foreign": False, "process_date": "2024-06-13", "ex_date": "2024-05-15"},
        ],
    }
    return venue


def test_daily_bars_arrive_paged_normalised_and_with_their_actions(filled: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    source = make()
    assert isinstance(source, BarSource)
    bars = source.fetch()
    assert len(bars) == 2 * 12  # 3 to 18 June; the 19th was a holiday
    assert bars.index[0] == ("MSFT", pd.Timestamp("2024-06-03T13:30Z"))
    nvda = bars.loc["NVDA"]
    assert nvda["split"].to_dict() == {stamp: 10.0 if stamp == pd.Timestamp("2024-06-10T13:30Z") else 1.0 for stamp in nvda.index}
    assert nvda.loc["2024-06-11", "dividend"].item() == 0.01  # processed after the window, still found
    assert (bars.loc["MSFT"]["dividend"] == 0).all()  # its ex-date lies before the window
    assert nvda.loc["2024-06-03", "vwap"].item() == 1150
    assert nvda.loc["2024-06-03", "trade_count"].item() == 10
    pages = [query for _, path, query in filled.requests if path == "/v2/stocks/bars"]
    assert len(pages) == 4
    assert {query["feed"] for query in pages} == {"iex"}
    assert {query["timeframe"] for query in pages} == {"1Day"}


def test_a_day_in_progress_is_not_a_bar(filled: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    before, after = (make(now=f"2024-06-18 {hour}").fetch(["MSFT"]) for hour in ("19:59", "20:00"))
    assert before.index[-1][1] == pd.Timestamp("2024-06-17T13:30Z")
    assert after.index[-1][1] == pd.Timestamp("2024-06-18T13:30Z")


def test_intraday_bars_keep_to_the_session(venue: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    stamps = ["13:25", "13:30", "13:35", "19:55", "20:00"]
    venue.bars = {"NVDA": [bar(f"2024-06-10T{stamp}:00Z", 120) for stamp in stamps]}
    venue.actions = {
        "reverse_splits": [{"symbol": "NVDA", "new_rate": 1, "old_rate": 4, "process_date": "2024-06-10", "ex_date": "2024-06-10"}]
    }
    bars = make("5Min").fetch(["NVDA"])
    assert [stamp.strftime("%H:%M") for _, stamp in bars.index] == ["13:30", "13:35", "19:55"]
    assert bars["split"].tolist() == [0.25, 1.0, 1.0]
    assert venue.requests[0][2]["timeframe"] == "5Min"
    later = make("5Min").fetch(["NVDA"], start=datetime(2024, 6, 10, 13, 30, 1, tzinfo=UTC))
    assert later["split"].tolist() == [1.0, 1.0]  # the split stands on a bar fetched earlier


def test_ingestion_is_incremental(filled: FakeVenue, make: Callable[..., AlpacaSource], tmp_path: Path) -> None:
    store = BarStore(tmp_path / "bars")
    first = ingest(store, make(now="2024-06-10 12:00"))
    assert first.added == 10
    filled.requests.clear()
    second = ingest(store, make(now="2024-06-20 00:00"))
    assert (second.added, second.unchanged, second.replaced) == (14, 0, 0)
    assert {query["start"][:10] for _, path, query in filled.requests if path == "/v2/stocks/bars"} == {"2024-06-07"}
    pd.testing.assert_frame_equal(store.read(), make().fetch(), check_exact=True)  # nothing lost, the split not counted twice
    third = ingest(store, make(now="2024-06-20 00:00"))
    assert (third.added, third.data_hash) == (0, second.data_hash)


def test_a_symbol_without_any_bar_is_unknown_and_a_quiet_one_is_not(filled: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    source = make(symbols=("MSFT", "ZZZZ"))
    with pytest.raises(BarDataError, match="unknown symbol 'ZZZZ'"):
        source.fetch()
    with pytest.raises(BarDataError, match=r"unknown symbol 'MSTF'. Did you mean 'MSFT'"):
        source.fetch(["MSTF"])
    assert source.fetch(["MSFT"], "2024-06-15", "2024-06-17").empty  # a weekend
    filled.faults = [(400, '{"message":"invalid symbol: ZZ ZZ"}')]
    with pytest.raises(BarDataError, match=r"invalid symbol: ZZ ZZ"):
        source.fetch(["ZZZZ"])


def test_reads_are_retried_through_transient_faults(filled: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    filled.faults = [(429, '{"code":42910000,"message":"rate limit exceeded"}'), (429, "{}")]
    assert len(make().fetch(["MSFT"])) == 12


def test_when_the_venue_stays_down_it_says_so(filled: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    filled.faults = [(502, "<html>bad gateway</html>")] * 2
    with pytest.raises(MarketDataUnavailableError, match=r"127\.0\.0\.1.* answered 502: <html>bad gateway"):
        make(attempts=2).fetch()
    assert len(filled.requests) == 2
    filled.faults = [(200, '{"something":"else"}')]
    with pytest.raises(MarketDataUnavailableError, match="did not answer as Alpaca's data API does"):
        make(attempts=1).fetch()
    with pytest.raises(MarketDataUnavailableError, match="did not answer: ConnectionError"):
        make(attempts=1, url="http://127.0.0.1:9").fetch()


def test_a_hanging_venue_times_out(filled: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    filled.hang_seconds = 0.6
    with pytest.raises(MarketDataUnavailableError, match=r"did not answer: ReadTimeout|did not answer: ConnectionError"):
        make(attempts=1, read_timeout_seconds=0.1).fetch()


def test_refused_keys_are_explained_and_never_shown(filled: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    source = make(secret_key=SecretStr("wrong-secret"))
    with pytest.raises(MarketDataUnavailableError, match=r"401.*Check the API keys") as caught:
        source.fetch()
    shown = f"{caught.value!r} {source.config!r} {source.describe()!r} {make().config!r}"
    for secret in ("wrong-secret", SECRET, KEY):
        assert secret not in shown


def test_keys_that_a_page_echoes_or_that_cannot_be_headers_are_not_shown(filled: FakeVenue, make: Callable[..., AlpacaSource]) -> None:
    filled.faults = [(502, f"<html>you sent {KEY} and {SECRET}</html>")]
    with pytest.raises(MarketDataUnavailableError, match=r"you sent \*\*\* and \*\*\*"):
        make(attempts=1).fetch()
    with pytest.raises(MarketDataUnavailableError, match=r"InvalidHeader.*\*\*\*") as caught:
        make(attempts=1, secret_key=SecretStr(f"{SECRET}\n")).fetch()
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"url": ""}, "a URL such as https://data.alpaca.markets, found ''"),
        ({"url": "data.alpaca.markets"}, "a URL such as"),
        ({"url": "http://data.alpaca.markets"}, "https .http on loopback only."),
        ({"url": "https://data.alpaca.markets/v2"}, "without a path"),
        ({"url": "https://data.alpaca.markets/"}, "trailing slash"),
        ({"feed": "sipp"}, "a feed among iex, sip, delayed_sip"),
        ({"secret_key": SecretStr("")}, "an API key and a secret key, found an empty one"),
        ({"symbols": ()}, "at least one symbol"),
        ({"timeframe": Timeframe.parse("90Min")}, "1Min to 59Min, whole hours or 1Day, found 90Min"),
    ],
)
def test_a_wrong_config_is_refused_before_any_request(make: Callable[..., AlpacaSource], changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(BarDataError, match=expected):
        make(**changes)


def test_only_reads_are_repeated(url: str, venue: FakeVenue) -> None:
    session, slept = requests.Session(), []
    session.mount("http://", PoliteAdapter(TokenBucket(60_000, 10), 1.0, 1.0, attempts=3, sleep=slept.append))
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    venue.faults = [(503, "")] * 9
    assert session.post(f"{url}/v2/orders", json={}, headers=headers).status_code == 503
    assert [method for method, _, _ in venue.requests] == ["POST"]
    assert session.get(f"{url}/v2/stocks/bars", headers=headers).status_code == 503
    assert [method for method, _, _ in venue.requests] == ["POST", "GET", "GET", "GET"]
    assert len(slept) == 2
    assert 0 < slept[0] < slept[1] < 3
    venue.faults = [(429, "")]
    slept.clear()
    assert session.get(f"{url}/v2/stocks/bars/latest?symbols=A", headers=headers).status_code == 200
    assert slept == [0]  # what Retry-After asked for


def test_the_bucket_holds_the_rate() -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    bucket = TokenBucket(per_minute=60, burst=5, now=lambda: clock[0], sleep=sleep)
    waits = [bucket.acquire() for _ in range(65)]
    assert waits[:5] == [0.0] * 5
    assert clock[0] == pytest.approx(60.0)
    clock[0] += 3600
    assert [bucket.acquire() for _ in range(6)] == pytest.approx([0.0] * 5 + [1.0])
    with pytest.raises(ValueError, match="positive rate"):
        TokenBucket(0, 1)
