"""Each refusal of the catalogue, provoked at the exchange itself: status, code and words."""

from __future__ import annotations

from typing import Any

import pytest
from venue_world import FLAT, PLAIN, D, bracket, buy, daily_bars, exchange, play, sell, until

from alphatrade_pipelines.venue import Exchange, Fidelity, FillProfile, VenueError, VenueOrderRequest, profile_named
from alphatrade_pipelines.venue.exchange.account import Account, execution_fee
from alphatrade_pipelines.venue.exchange.profiles import US_FEES

OCO: dict[str, Any] = {"type": "limit", "time_in_force": "gtc", "order_class": "oco", "take_profit": D(110), "stop_loss": D(95)}


def flat_world(sessions: int = 4, **config: Any) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT] * sessions, "BBB": [FLAT] * sessions}), **config)


def holding(qty: int = 10, **config: Any) -> Exchange:
    ex = flat_world(**config)
    ex.submit(buy(qty=qty))
    until(ex, "session_open")
    return ex


def refusal(ex: Exchange, request: VenueOrderRequest) -> tuple[int, int | None, str]:
    before = len(ex.book.orders)
    with pytest.raises(VenueError) as caught:
        ex.submit(request)
    assert len(ex.book.orders) == before
    assert ex.ledger.receipts[-1].order_id is None
    assert caught.value.body()["message"] == caught.value.message
    return caught.value.http_status, caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (VenueOrderRequest("AAA", "hold", D(1)), 40010001, "invalid side"),
        (buy(type="iceberg"), 40010001, "invalid type"),
        (buy(order_class="mleg"), 40010001, "invalid order_class"),
        (buy(time_in_force="gtd"), 40010001, "invalid time_in_force"),
        (buy(qty=0), 40010001, "qty must be > 0"),
        (buy(qty="0.0000000001"), 40010001, "9 decimal places"),
        (buy(qty="1.5", time_in_force="gtc"), 42210000, "fractional orders must be DAY orders"),
        (VenueOrderRequest("AAA", "buy", D("1.5"), "market", "day", "bracket"), 42210000, "fractional orders must be simple orders"),
        (buy(type="limit"), 40010001, "limit orders require limit_price"),
        (buy(type="stop"), 40010001, "stop orders require stop_price"),
        (buy(limit_price=D(99)), 42210000, "market orders must not have limit_price"),
        (buy(type="limit", limit_price=D(99), stop_price=D(98)), 42210000, "limit orders must not have stop_price"),
        (buy(type="limit", limit_price=D("290.123")), 42210000, "invalid limit_price 290.123. sub-penny increment"),
        (buy(type="limit", limit_price=D("-1")), 40010001, "limit_price must be > 0"),
        (buy(take_profit=D(110)), 40010001, "simple orders must not have"),
        (bracket(type="stop", stop_price=D(101)), 40010001, "bracket orders must be market or limit orders"),
        (bracket(stop_loss=None), 40010001, "bracket orders require stop_loss.stop_price"),
        (bracket(target="100.005"), 42210000, "sub-penny"),
        (bracket(target="100"), 42210000, "take_profit.limit_price must be >= base_price + 0.01"),
        (bracket(stop="100"), 42210000, "stop_loss.stop_price must be <= base_price - 0.01"),
        (bracket(type="limit", limit_price=D(94)), 42210000, "stop_loss.stop_price must be <= base_price - 0.01"),
        (buy(order_class="oto", take_profit=D(110), stop_loss=D(95)), 40010001, "oto orders require exactly one"),
        (sell(**{**OCO, "type": "market"}), 40010001, "oco orders must be limit orders"),
        (sell(**OCO), 42210000, "oco orders must be exit orders"),
        (buy(time_in_force="ioc"), 42210000, "ioc orders are only accepted while the market is open"),
        (buy(type="stop", stop_price=D(105), time_in_force="ioc"), 42210000, "ioc orders must be simple market or limit orders"),
        (buy("NONE"), 42210000, 'asset "NONE" not found'),
        (sell(qty="0.5"), 42210000, "fractional orders cannot be sold short"),
        (buy(stop_loss_limit=D(94)), 40010001, "stop_loss.limit_price requires"),
    ],
)
def test_refused_by_shape_or_price(request_: VenueOrderRequest, code: int, text: str) -> None:
    status, found, message = refusal(flat_world(), request_)
    assert (status, found) == (422, code)
    assert text in message


class TestFundsAndShares:
    def test_buying_power(self) -> None:
        ex = flat_world(cash=D(1000), multiplier=D(1))
        status, code, message = refusal(ex, buy(qty=11))
        assert (status, code, message) == (403, 40310000, "insufficient buying power")
        ex.submit(buy(qty=6, type="limit", limit_price=D(100)))
        assert ex.account().buying_power == D(400)  # the open order reserves its value
        assert refusal(ex, buy(qty=6))[2] == "insufficient buying power"

    def test_below_two_thousand_there_is_no_margin_and_no_shorting(self) -> None:
        ex = flat_world(cash=D(1999))
        assert ex.account().buying_power == D(1999)
        assert refusal(ex, sell(qty=1)) == (403, 40310000, "account is not allowed to short")

    def test_less_than_a_dollar(self) -> None:
        assert refusal(flat_world(), buy(qty="0.009"))[2] == "cost basis must be >= minimal amount of order 1"

    def test_a_short_reserves_three_percent_more(self) -> None:
        ex = flat_world(cash=D(10_000), multiplier=D(2))
        assert refusal(ex, sell(qty=195))[2] == "insufficient buying power"  # 195 x 103 > 20,000
        ex.submit(sell(qty=190))

    def test_shares_held_for_orders(self) -> None:
        ex = holding(10)
        ex.submit(sell(qty=4, type="limit", limit_price=D(120), time_in_force="gtc"))
        with pytest.raises(VenueError) as caught:
            ex.submit(sell(qty=7))
        assert caught.value.message == "insufficient qty available for order (requested: 7, available: 6)"
        assert caught.value.extra["held_for_orders"] == "4"
        assert caught.value.extra["existing_qty"] == "10"
        assert len(caught.value.extra["related_orders"]) == 1  # type: ignore[arg-type]

    def test_crossing_zero_takes_two_orders(self) -> None:
        assert refusal(holding(10), sell(qty=15))[2] == "insufficient qty available for order (requested: 15, available: 10)"

    def test_a_bracket_only_opens(self) -> None:
        request = sell(order_class="bracket", take_profit=D(90), stop_loss=D(105))
        assert refusal(holding(10), request)[1:] == (42210000, "bracket orders must be entry orders")

    def test_an_oco_stop_must_be_off_the_market(self) -> None:
        assert refusal(holding(10), sell(**{**OCO, "stop_loss": D(100)}))[2] == "stop_loss.stop_price must be <= base_price - 0.01"

    def test_opening_both_ways(self) -> None:
        ex = flat_world()
        ex.submit(buy(type="limit", limit_price=D(90)))
        request = sell(order_class="bracket", take_profit=D(90), stop_loss=D(105))
        assert refusal(ex, request)[2] == "cannot open a short sell while a long buy order is open"

    def test_a_symbol_without_a_price_yet_is_not_tradable(self) -> None:
        ex = exchange(daily_bars({"AAA": [FLAT] * 3}), skip=0)
        assert refusal(ex, buy())[2] == "asset AAA is not tradable"


class TestWashTrades:
    @pytest.mark.parametrize(
        ("resting", "new", "wash"),
        [
            ({"type": "limit", "limit_price": D(90)}, {}, True),
            ({"type": "limit", "limit_price": D(90)}, {"type": "limit", "limit_price": D(110)}, False),
            ({"type": "limit", "limit_price": D(99)}, {"type": "limit", "limit_price": D(99)}, True),
            ({"type": "stop", "stop_price": D(120)}, {"type": "limit", "limit_price": D(130)}, True),
        ],
    )
    def test_against_a_simple_order(self, resting: dict[str, Any], new: dict[str, Any], wash: bool) -> None:
        ex = holding(10)
        first = ex.submit(buy(qty=1, time_in_force="gtc", **resting))
        if not wash:
            ex.submit(sell(qty=5, **new))
            return
        with pytest.raises(VenueError) as caught:
            ex.submit(sell(qty=5, **new))
        assert caught.value.extra["existing_order_id"] == first.id
        assert caught.value.message == "potential wash trade detected. use complex orders"

    def test_complex_orders_are_exempt_and_the_rule_has_a_switch(self) -> None:
        ex = holding(10)
        ex.submit(buy(qty=1, type="limit", limit_price=D(90), time_in_force="gtc"))
        ex.submit(sell(**OCO))
        free = holding(10, fidelity=Fidelity(wash_check=False))
        free.submit(buy(qty=1, type="limit", limit_price=D(90), time_in_force="gtc"))
        free.submit(sell(qty=5))


class TestReplaceAndCancel:
    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"qty": D(5)}, "qty of a complex order cannot be replaced"),
            ({"stop_price": D(90)}, "market orders must not have stop_price"),
            ({"time_in_force": "opg"}, "invalid time_in_force"),
        ],
    )
    def test_what_a_bracket_entry_cannot_change(self, change: dict[str, Any], text: str) -> None:
        ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 101.0, 99.0, 100.0, 0.0)]}))
        answer = ex.submit(bracket())
        until(ex, "session_open")
        with pytest.raises(VenueError, match=text):
            ex.replace(answer.id, **change)

    def test_more_than_there_is(self) -> None:
        ex = holding(10)
        resting = ex.submit(sell(qty=10, type="limit", limit_price=D(120), time_in_force="gtc"))
        with pytest.raises(VenueError, match="insufficient qty available"):
            ex.replace(resting.id, qty=D(11))
        entry = ex.submit(buy(symbol="BBB", qty=1, type="limit", limit_price=D(90), time_in_force="gtc"))
        with pytest.raises(VenueError, match="insufficient buying power"):
            ex.replace(entry.id, qty=D(1_000_000))
        assert ex.order(entry.id).status == "new"

    def test_terminal_and_unknown(self) -> None:
        ex = holding(10)
        done = ex.orders(status="closed")[0]
        with pytest.raises(VenueError, match='already in "filled" state'):
            ex.cancel(done.id)
        with pytest.raises(VenueError, match="cannot replace order in filled status"):
            ex.replace(done.id, qty=D(3))
        with pytest.raises(VenueError, match="order not found for nothing"):
            ex.cancel("nothing")
        with pytest.raises(VenueError, match="position does not exist"):
            ex.close_position("BBB")


def test_the_day_end_status_is_a_switch() -> None:
    ex = flat_world(fidelity=Fidelity(day_end_status="canceled"))
    order = ex.submit(buy(type="limit", limit_price=D(50)))
    play(ex)
    assert ex.order(order.id).status == "canceled"
    with pytest.raises(ValueError, match="day_end_status"):
        Fidelity(day_end_status="gone")


def test_held_legs_in_the_open_list_are_a_switch() -> None:
    ex = flat_world(fidelity=Fidelity(held_in_open_list=False))
    ex.submit(bracket())
    until(ex, "session_open")
    assert [order.status for order in ex.orders()] == ["new"]


class TestAccount:
    def test_profit_is_realised_against_the_average(self) -> None:
        account = Account("PA1", D(10_000), D(1), PLAIN.fees)
        account.trade("AAA", 1, D(10), D(100))
        account.trade("AAA", 1, D(10), D(110))
        assert account.holdings["AAA"].average == D(105)
        account.trade("AAA", -1, D(5), D(115))
        assert (account.realized, account.holdings["AAA"].average) == (D(50), D(105))
        account.trade("AAA", -1, D(15), D(95))
        assert account.realized == D(50) - D(150)
        assert account.holdings == {}
        assert account.cash == D(10_000) + account.realized

    def test_crossing_zero_opens_the_rest_at_the_new_price(self) -> None:
        account = Account("PA1", D(10_000), D(4), PLAIN.fees)
        account.trade("AAA", 1, D(10), D(100))
        account.trade("AAA", -1, D(15), D(110))
        assert account.realized == D(100)
        assert (account.holdings["AAA"].qty, account.holdings["AAA"].average) == (D(-5), D(110))

    def test_fees_round_up_and_the_taf_is_capped(self) -> None:
        assert execution_fee(US_FEES, 1, D(100), D(100)) == 0
        assert execution_fee(US_FEES, -1, D(1), D(10)) == D("0.02")
        assert execution_fee(US_FEES, -1, D(100_000), D(1)) == D("2.78") + D("8.30")


def test_profiles_by_name_and_by_hand() -> None:
    assert profile_named("pessimistic").rejection_probability == 0.08
    assert profile_named("pessimistic").participation == 0.005
    with pytest.raises(ValueError, match="optimistic, base, pessimistic"):
        profile_named("kind")
    fields = {name: getattr(PLAIN, name) for name in FillProfile.__slots__}
    for change, text in (({"participation": 1.5}, "participation"), ({"latency_seconds": -1.0}, "latency"), ({"path": "x"}, "path")):
        with pytest.raises(ValueError, match=text):
            FillProfile(**{**fields, **change})
