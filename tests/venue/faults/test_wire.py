"""F1 to F5, F25, F29, F30: requests and answers. Each test serves a venue that has loaded the shipped scenario of its failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from fault_world import RawStream, Venue, venue
from served_world import wait_for
from venue_world import FLAT, daily_bars, exchange


def flat(symbols: str = "AAA", sessions: int = 5) -> Any:
    """An exchange on which nothing moves; the first session lies behind."""
    return exchange(daily_bars({name: [FLAT] * sessions for name in symbols.split()}))


def status_of(call: Callable[[], object]) -> int:
    with pytest.raises(APIError) as caught:
        call()
    return int(caught.value.status_code)


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Run a blocking call elsewhere; what it returned or raised ends up in the list."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def test_f01_the_sdks_own_retry_of_a_504_meets_the_order_it_made() -> None:
    with venue(flat(), "f01") as v:
        with pytest.raises(APIError) as caught:
            v.buy("one")
        assert (caught.value.status_code, caught.value.code, caught.value.message) == (422, 40010001, "client_order_id must be unique")
        assert v.order("one").status.value == "accepted"
        ledger = v.ledger()
        assert [order["code"] for order in ledger["orders"]] == [None, 40010001]
        assert ledger["reused_client_ids"] == 1


def test_f01_without_a_client_id_the_retry_makes_two_orders() -> None:
    with venue(flat(), "f01") as v:
        v.trading.submit_order(_market(None))
        assert len(v.trading.get_orders()) == 2
        assert len(v.ledger()["duplicate_intents"]) == 1


def _market(name: str | None) -> Any:
    from alpaca.trading.requests import MarketOrderRequest

    return MarketOrderRequest(symbol="AAA", qty=10, side="buy", time_in_force="day", client_order_id=name)


def test_f02_a_dropped_connection_and_a_read_timeout_leave_live_orders() -> None:
    with venue(flat(), "f02") as v:
        with pytest.raises(requests.exceptions.ConnectionError) as caught:
            v.buy("dropped")
        assert "RemoteDisconnected" in repr(caught.value)
        assert v.order("dropped").status.value == "accepted"
        with pytest.raises(requests.exceptions.ReadTimeout):
            v.send(client_order_id="late", timeout=0.3)
        assert v.order("late").status.value == "accepted"
        assert v.buy("fine").status.value == "accepted"
        assert [v.done("drop"), v.done("hang")] == [1, 1]


def test_f03_a_request_hangs_and_the_sdk_has_no_timeout() -> None:
    with venue(flat(), "f03") as v:
        post, answers = in_thread(lambda: v.buy("lost"))
        get, _ = in_thread(v.trading.get_all_positions)
        wait_for(lambda: v.done("hang") == 2)
        post.join(0.3)
        assert post.is_alive()
        assert get.is_alive()
        assert answers == []
        assert v.ledger()["orders"] == []
        assert v.trading.get_orders() == []


def test_f04_a_burst_of_429_reaches_requests_and_handshakes_and_passes() -> None:
    with RawStreamBefore(flat(), "f04") as (v, before):
        wait_for(lambda: before.closed is not None)
        answer = v.raw("GET", "/v2/account")
        assert (answer.status_code, answer.json()) == (429, {"code": 42910000, "message": "rate limit exceeded"})
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert int(answer.headers["X-RateLimit-Reset"]) > time.time() - 1
        with RawStream(v) as refused, RawStream(v, "/v2/iex", bars=["*"]) as refused_data:
            assert (refused.closed, refused_data.closed) == (429, 429)
        before_sdk = v.done("rate_limited")
        assert status_of(v.trading.get_account) == 429
        assert v.done("rate_limited") - before_sdk == 4  # one call and three repeats
        wait_for(lambda: v.raw("GET", "/v2/account").status_code == 200)
        with RawStream(v) as again:
            assert again.closed is None


class RawStreamBefore:
    """A venue whose trade stream was up before the scenario is armed."""

    def __init__(self, ex: Any, scenario: str) -> None:
        from alphatrade_pipelines.venue.faults.scenario import load

        self._faults = [self._plain(fault) for fault in load(scenario).faults]
        self._context = venue(ex)

    @staticmethod
    def _plain(fault: Any) -> dict[str, Any]:
        keys = {key: getattr(fault, key) for key in ("at", "symbol", "for_seconds")}
        return {"kind": fault.kind.name, **{key: value for key, value in keys.items() if value is not None}, **fault.params}

    def __enter__(self) -> tuple[Venue, RawStream]:
        self.venue = self._context.__enter__()
        self.stream = RawStream(self.venue).__enter__()
        self.venue.admin("POST", "faults", self._faults)
        return self.venue, self.stream

    def __exit__(self, *error: Any) -> None:
        self.stream.__exit__()
        self._context.__exit__(*error)


def test_f05_html_bodies_break_the_code_of_an_api_error() -> None:
    with venue(flat(), "f05") as v:
        with pytest.raises(APIError) as caught:
            v.buy("never seen")
        assert caught.value.status_code == 502
        with pytest.raises(ValueError, match="Expecting value"):
            _ = caught.value.code
        assert v.ledger()["orders"] == []
        answer = v.send(client_order_id="taken")
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (500, "text/html")
        assert answer.text.startswith("<html>")
        assert v.order("taken").status.value == "accepted"


def test_f25_a_client_dies_before_its_order_is_seen_and_after_it_was_taken() -> None:
    with venue(flat(), "f25") as v:
        first, _ = in_thread(lambda: v.send(client_order_id="intent"))
        wait_for(lambda: len(v.admin("GET", "faults")["held"]) == 1)
        (held,) = v.admin("GET", "faults")["held"]
        assert (held["client_order_id"], held["stage"]) == ("intent", "before")
        assert v.ledger()["orders"] == []
        v.admin("POST", "faults/release", {"id": held["id"], "then": "drop"})
        first.join(5)
        assert v.ledger()["orders"] == []
        second, answers = in_thread(lambda: v.send(client_order_id="sent"))
        wait_for(lambda: len(v.admin("GET", "faults")["held"]) == 1)
        assert v.admin("GET", "faults")["held"][0]["stage"] == "after"
        assert v.order("sent").status.value == "accepted"
        assert answers == []
        assert v.admin("POST", "faults/release")["released"] != []
        second.join(5)
        (answer,) = answers
        assert isinstance(answer, requests.Response)
        assert answer.json()["client_order_id"] == "sent"


def test_f25_what_nobody_releases_goes_on_after_its_time() -> None:
    with venue(flat()) as v:
        v.admin("POST", "faults", {"kind": "hold", "seconds": 0.2})
        assert v.send(client_order_id="patient").json()["status"] == "accepted"


def test_f29_a_web_page_then_refused_keys() -> None:
    with venue(flat(), "f29") as v:
        page = v.raw("GET", "/v2/account")
        assert (page.status_code, page.headers["Location"]) == (302, "/login")
        assert status_of(v.trading.get_account) == 403
        assert v.raw("GET", "/v2/clock").json() == {"message": "forbidden."}
        with RawStream(v) as trading:
            wait_for(lambda: bool(trading.frames))
            assert '"unauthorized"' in trading.frames[0]
        with RawStream(v, "/v2/iex", bars=["*"]) as data:
            wait_for(lambda: any('"code":402' in frame for frame in data.frames))


def test_f29_the_sdk_chokes_on_the_page() -> None:
    with venue(flat(), "f29") as v, pytest.raises(requests.exceptions.JSONDecodeError):
        TradingClient("sim", "sim", url_override=v.url).get_account()


def test_f30_close_all_answers_207_and_one_position_stays() -> None:
    with venue(flat("AAA BBB CCC"), "f30") as v:
        for name in ("AAA", "BBB", "CCC"):
            v.buy(name, name)
        v.until("session_open")
        answers = v.trading.close_all_positions()
        assert [(answer.symbol, answer.status) for answer in answers] == [("AAA", 500), ("BBB", 200), ("CCC", 200)]
        assert answers[0].body.code == 50010000
        assert v.positions() == {"AAA": "10"}
        assert [answer.status for answer in v.trading.close_all_positions()] == [200]
        assert v.positions() == {}
