"""What happens to an account and a market from outside: each lever does what its fault needs, and is told as Alpaca would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from venue_world import FLAT, PLAIN, D, Row, bracket, buy, daily_bars, events, exchange, play, sell, trades, until

from alphatrade_pipelines.venue import Exchange, VenueError

QUIET: Row = (100.0, 101.0, 99.0, 100.0, 1e6)


def world(*rows: Row, **config: Any) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT, *rows], "BBB": [FLAT] * (len(rows) + 1)}), **config)


def refusal(act: Callable[[], object]) -> tuple[int, int | None, str]:
    with pytest.raises(VenueError) as caught:
        act()
    return caught.value.http_status, caught.value.code, caught.value.message


class TestHalt:
    def held(self, second: Row) -> Exchange:
        """Ten shares of AAA under a bracket 110 / 95, at the open of the second day."""
        ex = world(QUIET, second, QUIET)
        ex.submit(bracket())
        until(ex, "session_close")
        until(ex, "session_open")
        ex.drain()
        return ex

    def test_nothing_fills_and_the_price_stands_still(self) -> None:
        ex = self.held((100.0, 112.0, 90.0, 111.0, 1e6))
        ex.levers.halt("AAA", "LUDP", "Volatility pause")
        market = ex.submit(buy(qty=1, order_class="oto", stop_loss=D(95)))
        play_day(ex)
        assert len(trades(ex)) == 1
        assert ex.prices()["AAA"] == D("100.00")
        assert ex.order(market.id).status == "expired"
        kinds = [(notice.kind, notice.symbol, notice.data["sc"], notice.data["rc"]) for notice in ex.drain_notices()]
        assert kinds == [("status", "AAA", "H", "LUDP")]
        assert ex.drain_notices() == []

    def test_it_resumes_with_a_jump_over_the_stop(self) -> None:
        """F21: halted at 100, the next price after the resumption is 90: the stop at 95 fills there."""
        ex = self.held((100.0, 100.5, 90.0, 91.0, 1e6))
        ex.levers.halt("AAA", until=ex.now + timedelta(hours=1))
        until(ex, "path")
        assert trades(ex)[-1] == ("sell", "10", "90.00")
        codes = [notice.data["sc"] for notice in ex.drain_notices()]
        assert codes == ["H", "T"]
        assert ex.halts == {}

    def test_other_symbols_trade_on(self) -> None:
        ex = self.held(QUIET)
        ex.levers.halt("AAA")
        ex.submit(buy("BBB"))
        assert trades(ex)[-1] == ("buy", "10", "100.00")
        waits = ex.submit(buy("AAA", qty=1, type="limit", limit_price=D(200)))
        assert ex.order(waits.id).status == "new"
        ex.levers.resume("AAA")
        until(ex, "session_close")
        assert ex.order(waits.id).status == "filled"

    def test_an_immediate_order_dies_at_once(self) -> None:
        ex = self.held(QUIET)
        ex.levers.halt("AAA")
        answer = ex.submit(buy("AAA", time_in_force="ioc"))
        assert ex.order(answer.id).status == "canceled"

    def test_what_cannot_be(self) -> None:
        ex = self.held(QUIET)
        assert refusal(lambda: ex.levers.halt("NONE"))[0] == 404
        assert refusal(lambda: ex.levers.resume("AAA"))[2] == "AAA is not halted"
        assert "expected until after" in refusal(lambda: ex.levers.halt("AAA", until=ex.now))[2]

    def test_a_second_halt_is_not_lifted_by_the_end_of_the_first(self) -> None:
        ex = self.held(QUIET)
        ex.levers.halt("AAA", until=ex.now + timedelta(minutes=5))
        ex.levers.resume("AAA")
        ex.levers.halt("AAA")
        ex.tick(ex.now + timedelta(minutes=6))
        assert "AAA" in ex.halts

    def test_bands_are_announced(self) -> None:
        ex = self.held(QUIET)
        ex.levers.luld("AAA", D(105), D(95))
        (notice,) = ex.drain_notices()
        assert (notice.kind, notice.data) == ("luld", {"u": D(105), "d": D(95), "i": "B"})


def play_day(ex: Exchange) -> None:
    until(ex, "session_close")


class TestRestrictions:
    @pytest.mark.parametrize(
        ("name", "text", "closes"),
        [
            ("trading_blocked", "trading blocked for this account", False),
            ("account_blocked", "account is blocked", False),
            ("trade_suspended_by_user", "new orders are rejected by user request", False),
            ("closing_only", "account is restricted to liquidation", True),
        ],
    )
    def test_orders_are_refused(self, name: str, text: str, closes: bool) -> None:
        ex = world(QUIET)
        ex.submit(buy())
        until(ex, "session_open")
        ex.levers.restrict(**{name: True})
        assert refusal(lambda: ex.submit(buy("BBB"))) == (403, 40310000, text)
        assert getattr(ex.account().restrictions, name) is True
        if closes:
            ex.close_position("AAA")
        else:
            assert refusal(lambda: ex.close_position("AAA")) == (403, 40310000, text)
        ex.levers.restrict(**{name: False})
        ex.submit(buy("BBB"))

    def test_no_shorting(self) -> None:
        ex = world(QUIET)
        ex.levers.restrict(no_shorting=True)
        assert refusal(lambda: ex.submit(sell()))[2] == "account is not allowed to short"
        assert not ex.account().shorting_enabled


class TestAssets:
    def test_flags(self) -> None:
        ex = world(QUIET)
        for change, order, expected in (
            ({"tradable": False}, buy(), (422, 42210000, "asset AAA is not tradable")),
            ({"tradable": True, "shortable": False}, sell(), (422, 42210000, 'asset "AAA" cannot be sold short')),
            ({"shortable": True, "easy_to_borrow": False}, sell(), (422, 42210000, 'asset "AAA" cannot be sold short')),
            ({"fractionable": False}, buy(qty="0.5"), (422, 42210000, "requested asset is not fractionable")),
        ):
            ex.levers.asset("AAA", **change)
            assert refusal(lambda order=order: ex.submit(order)) == expected  # type: ignore[misc]
        ex.submit(buy())

    def test_hard_to_borrow_over_night_cancels_open_shorts_before_the_open(self) -> None:
        ex = world(QUIET, QUIET)
        short = ex.submit(sell(type="limit", limit_price=D(120), time_in_force="gtc"))
        other = ex.submit(sell("BBB", type="limit", limit_price=D(120), time_in_force="gtc"))
        until(ex, "session_close")
        ex.levers.asset("AAA", easy_to_borrow=False)
        assert ex.order(short.id).status == "new"
        until(ex, "session_open")
        assert (ex.order(short.id).status, ex.order(other.id).status) == ("canceled", "new")

    def test_a_short_position_may_still_be_covered(self) -> None:
        ex = world(QUIET, QUIET)
        ex.submit(sell())
        until(ex, "session_close")
        ex.levers.asset("AAA", easy_to_borrow=False, shortable=False)
        until(ex, "session_open")
        ex.close_position("AAA")
        assert ex.positions() == []


class TestOrders:
    def test_accepted_and_later_rejected(self) -> None:
        """F20."""
        ex = world(QUIET)
        answer = ex.submit(bracket(type="limit", limit_price=D(98)))
        until(ex, "session_open")
        ex.drain()
        ex.levers.reject(answer.id)
        order = ex.order(answer.id)
        assert (order.status, [leg.status for leg in order.legs]) == ("rejected", ["canceled", "canceled"])
        assert order.failed_at == ex.now
        assert events(ex)[0] == ("rejected", "rejected")
        assert ex.account().buying_power == D(400_000)
        assert refusal(lambda: ex.levers.reject(answer.id))[0] == 422
        assert refusal(lambda: ex.levers.reject("nothing"))[0] == 404

    def test_a_rejected_leg_ends_its_group(self) -> None:
        ex = world(QUIET)
        answer = ex.submit(bracket(type="limit", limit_price=D(98)))
        ex.levers.reject(answer.legs[1].id)
        order = ex.order(answer.id)
        assert (order.status, [leg.status for leg in order.legs]) == ("canceled", ["canceled", "rejected"])

    def test_the_rest_of_a_partly_filled_entry_is_cancelled_with_its_legs(self) -> None:
        """F12."""
        ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 101.0, 99.0, 100.0, 1_000.0)]}), replace(PLAIN, participation=0.005))
        answer = ex.submit(bracket())
        until(ex, "session_open")
        ex.levers.cancel(answer.id)
        order = ex.order(answer.id)
        assert (order.status, [leg.status for leg in order.legs]) == ("canceled", ["canceled", "canceled"])
        assert ex.positions()[0].qty == order.filled_qty > 0

    def test_an_order_nobody_of_ours_sent(self) -> None:
        """F26: it trades and is streamed, but is no receipt of ours."""
        ex = world(QUIET)
        until(ex, "session_open")
        foreign = ex.levers.foreign_order(buy("BBB", qty=3))
        assert ex.order(foreign.id).status == "filled"
        assert ex.ledger.receipts == []
        assert [event for event, _ in events(ex)] == ["pending_new", "new", "fill"]
        assert refusal(lambda: ex.levers.foreign_order(buy("NONE")))[0] == 422

    def test_a_position_changes_by_no_order(self) -> None:
        ex = world(QUIET)
        until(ex, "session_open")
        trade = ex.levers.manual_trade("AAA", D(7))
        assert (ex.positions()[0].qty, ex.account().cash) == (D(7), D(100_000) - D(700))
        assert (trade.qty, trade.price, ex.outside_trades) == (D(7), D("100.00"), [trade])
        assert (ex.drain(), ex.fills(), ex.orders(status="all")) == ([], [], [])
        ex.levers.manual_trade("AAA", D(-7))
        assert ex.positions() == []
        assert refusal(lambda: ex.levers.manual_trade("NONE", D(1)))[0] == 404
        assert refusal(lambda: ex.levers.manual_trade("AAA", D(0)))[0] == 422

    def test_both_legs_once(self) -> None:
        """F14: the lever works for the next elected stop and no more."""
        whipsaw: Row = (100.0, 112.0, 94.0, 111.0, 1e6)
        ex = world(QUIET, whipsaw, QUIET, whipsaw)
        ex.submit(bracket())
        until(ex, "session_close")
        ex.levers.both_legs("AAA")
        until(ex, "session_close")
        assert trades(ex)[-2:] == [("sell", "10", "95.00"), ("sell", "10", "110.00")]
        assert ex.positions()[0].qty == D(-10)
        ex.close_position("AAA")
        until(ex, "session_open")
        ex.submit(bracket())
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "95.00")
        assert ex.positions() == []

    def test_both_legs_can_be_disarmed(self) -> None:
        ex = world(QUIET, (100.0, 112.0, 94.0, 111.0, 1e6))
        ex.submit(bracket())
        until(ex, "session_close")
        ex.levers.both_legs("AAA")
        ex.levers.both_legs("AAA", on=False)
        play(ex)
        assert ex.positions() == []


def test_a_dry_market_fills_less() -> None:
    filled = {}
    for factor in (1.0, 0.5, 0.0):
        ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 102.0, 99.0, 101.0, 10_000.0)]}), replace(PLAIN, participation=0.005))
        ex.levers.scale_volume("AAA", factor)
        ex.submit(buy(qty=100))
        until(ex, "session_open")
        filled[factor] = sum((fill.qty for fill in ex.fills()), D(0))
    assert filled == {1.0: D(20), 0.5: D(10), 0.0: D(0)}
    assert refusal(lambda: ex.levers.scale_volume("AAA", -1.0))[0] == 422
