"""GET /admin/ledger: the whole truth, or a page of it."""

from __future__ import annotations

import pytest
from fault_world import venue
from venue_world import FLAT, buy, daily_bars, exchange


def test_the_whole_ledger_and_pages_of_it() -> None:
    with venue(exchange(daily_bars({"AAA": [FLAT] * 5}))) as v:
        for number in range(5):
            v.send(client_order_id=f"o{number}", qty="1")
        v.send(client_order_id="o0")
        v.until("session_close")
        noon = v.admin("GET", "state")["at"]
        v.bracket("later")
        v.until("session_close")
        whole = v.ledger()
        assert [order["number"] for order in whole["orders"]] == list(range(7))
        assert whole["orders"][5]["message"] == "client_order_id must be unique"
        assert whole["orders"][0]["request"]["qty"] == "1"
        assert whole["counts"] == {"orders": 7, "executions": 6, "coverage": 2, "flips": 0, "outside_trades": 0, "orders_while_halted": 0}
        assert whole["account"]["cash"] == "98500"
        assert [(c["position"], c["protected"]) for c in whole["coverage"]] == [("5", "0"), ("15", "10")]
        assert set(whole["unprotected_seconds"]) == {"AAA"}
        assert whole["refusals"] == [{"code": 40010001, "message": "client_order_id must be unique", "count": 1}]
        page = v.ledger("?parts=orders,executions&after=2&limit=3")
        assert set(page) == {"at", "digest", "counts", "orders", "executions"}
        assert [order["number"] for order in page["orders"]] == [2, 3, 4]
        assert page["executions"] == whole["executions"][2:5]
        assert page["digest"] == whole["digest"]
        since = v.ledger(f"?since={noon}")
        assert [order["request"]["client_order_id"] for order in since["orders"]] == ["later"]
        assert [fill["client_order_id"] for fill in since["executions"]] == ["later"]
        assert v.ledger("?after=99")["orders"] == []


@pytest.mark.parametrize("query", ["parts=moon", "after=-1", "after=x", "limit=0", "limit=10001", "since=someday"])
def test_bad_questions(query: str) -> None:
    with venue(exchange(daily_bars({"AAA": [FLAT] * 3}))) as v:
        answer = v.ask("GET", f"ledger?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_a_page_after_ten_thousand_orders() -> None:
    ex = exchange(daily_bars({"AAA": [FLAT] * 3}), cash=10**9)
    for number in range(10_000):
        ex.submit(buy(qty=1, client_order_id=f"n{number}"))
    with venue(ex) as v:
        v.until("session_open")
        page = v.ledger("?parts=orders,executions&after=9990&limit=10")
        assert page["counts"]["executions"] == 10_000
        assert [order["number"] for order in page["orders"]] == list(range(9990, 10_000))
        assert [fill["client_order_id"] for fill in page["executions"]] == [f"n{number}" for number in range(9990, 10_000)]
