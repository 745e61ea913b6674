"""/v2/positions through the unmodified SDK and through raw HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alpaca.trading.enums import OrderSide
from alpaca.trading.requests import ClosePositionRequest
from rest_world import Venue, bracket
from served_world import refused
from venue_world import FLAT, daily_bars, exchange

from alphatrade_pipelines.venue import Fidelity

ROWS = [FLAT, (100.0, 104.0, 99.0, 102.0, 1e6), (102.0, 103.0, 100.0, 101.0, 1e6)]


@pytest.fixture
def venue() -> Iterator[Venue]:
    with Venue(exchange(daily_bars({"AAA": ROWS, "BBB": [FLAT] * 3}))) as one:
        one.until("session_open")
        yield one


def test_a_long_and_a_short(venue: Venue) -> None:
    venue.buy(qty=10)
    venue.buy("BBB", qty=4, side=OrderSide.SELL)
    venue.until("session_close")
    long, short = venue.trading.get_all_positions()
    assert (long.qty, long.side.value, long.market_value, long.unrealized_pl, long.unrealized_plpc) == ("10", "long", "1020", "20", "0.02")
    assert (long.avg_entry_price, long.cost_basis, long.current_price, long.lastday_price) == ("100", "1000", "102", "102")
    assert (short.qty, short.side.value, short.market_value, short.qty_available) == ("-4", "short", "-400", "-4")
    account = venue.get("/v2/account")
    assert (account["equity"], account["last_equity"]) == ("100020", "100000")  # the day's gain is still seen in the evening
    assert venue.trading.get_open_position(long.asset_id) == long
    assert venue.get("/v2/positions/BBB")["cost_basis"] == "-400"
    assert refused(lambda: venue.trading.get_open_position("ZZZ")) == (404, 40410000, "position does not exist")


def test_closing_a_part(venue: Venue) -> None:
    venue.buy(qty=9)
    half = venue.trading.close_position("AAA", ClosePositionRequest(percentage="50"))
    assert (half.qty, half.side.value, half.type.value, half.time_in_force.value) == (
        "4",
        "sell",
        "market",
        "day",
    )  # whole shares stay whole
    two = venue.trading.close_position("AAA", ClosePositionRequest(qty="2"))
    assert two.qty == "2"
    assert venue.trading.get_open_position("AAA").qty == "3"
    too_many = refused(lambda: venue.trading.close_position("AAA", ClosePositionRequest(qty="5")))
    assert too_many == (403, 40310000, "insufficient qty available for order (requested: 5, available: 3)")
    rest = venue.trading.close_position(venue.trading.get_asset("AAA").id)
    assert rest.qty == "3"
    assert venue.trading.get_all_positions() == []


def test_a_fractional_position_is_closed_in_fractions(venue: Venue) -> None:
    venue.buy(qty=1.5)
    assert venue.trading.close_position("AAA", ClosePositionRequest(percentage="50")).qty == "0.75"


@pytest.mark.parametrize(
    "query", ["qty=1&percentage=5", "percentage=0", "percentage=101", "qty=x", "qty=-1", "qty=nan", "qty=inf", "qty=0"]
)
def test_bad_ways_to_close(venue: Venue, query: str) -> None:
    venue.buy(qty=9)
    answer = venue.raw("DELETE", f"/v2/positions/AAA?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001), answer.text
    assert venue.trading.get_open_position("AAA").qty == "9"


def test_closing_all_reports_item_by_item(venue: Venue) -> None:
    venue.trading.submit_order(bracket())
    venue.buy("BBB", qty=8)
    status, code, message = refused(lambda: venue.trading.close_position("AAA"))
    assert (status, code, message) == (403, 40310000, "insufficient qty available for order (requested: 10, available: 0)")
    mixed = venue.trading.close_all_positions()
    assert [(answer.symbol, answer.status) for answer in mixed] == [("AAA", 403), ("BBB", 200)]
    assert mixed[0].body.held_for_orders == 10
    answer = venue.raw("DELETE", "/v2/positions?cancel_orders=True")
    assert (answer.status_code, [item["status"] for item in answer.json()]) == (207, [200])
    assert venue.trading.get_all_positions() == []
    assert venue.trading.close_all_positions(cancel_orders=True) == []


def test_rest_may_lag_behind_by_venue_time() -> None:
    """F22 as a switch: what was filled at the open is seen after the lag has passed."""
    rows = {"AAA": ROWS}
    with Venue(exchange(daily_bars(rows), fidelity=Fidelity(rest_lag_seconds=3600.0))) as venue:
        venue.until("session_open")
        venue.buy()
        assert venue.trading.get_all_positions() == []
        assert venue.trading.get_account().cash == "100000"
        assert [order.status.value for order in [venue.trading.get_order_by_id(venue.exchange.fills()[0].order_id)]] == ["filled"]
        venue.step()
        assert venue.trading.get_open_position("AAA").qty == "10"
        assert venue.trading.get_account().cash == "99000"
