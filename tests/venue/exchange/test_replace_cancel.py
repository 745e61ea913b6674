"""Replacing and cancelling: chains, lags and the races they open."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from venue_world import FLAT, PLAIN, D, Row, bracket, buy, daily_bars, events, exchange, go_to, play, sell, trades, until

from alphatrade_pipelines.venue import Exchange, Fidelity, VenueError

QUIET: Row = (100.0, 101.0, 99.0, 100.0, 1e6)


def world(*rows: Row, **config: Any) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT, *rows]}), **config)


class TestReplace:
    def test_a_leg_gets_a_new_id_and_keeps_its_place(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 101.0, 96.0, 98.0, 1e6))
        answer = ex.submit(bracket())
        until(ex, "session_close")
        stop = ex.order(answer.id).legs[1]
        new = ex.replace(stop.id, stop_price=D(97), client_order_id="tighter")
        assert (new.replaces, new.status, new.stop_price) == (stop.id, "held", D(97))
        assert ex.order(stop.id).replaced_by == new.id
        assert [leg.id for leg in ex.order(answer.id).legs][1] == new.id
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "97.00")
        assert ex.order(answer.id).legs[0].status == "canceled"

    def test_a_limit_moved_to_the_market_fills(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6))
        answer = ex.submit(buy(type="limit", limit_price=D(50)))
        until(ex, "session_open")
        new = ex.replace(answer.id, limit_price=D(105), qty=D(5))
        assert trades(ex) == [("buy", "5", "100.00")]
        assert ex.order(new.id).status == "filled"
        assert ex.order(answer.id).status == "replaced"


class TestRules:
    def resting(self, ex: Exchange, **rest: Any) -> str:
        given: dict[str, Any] = {"type": "limit", "limit_price": D(50), "time_in_force": "gtc", **rest}
        answer = ex.submit(buy(**given))
        until(ex, "session_open")
        return answer.id

    def test_not_in_a_status_before_new(self) -> None:
        ex = world(QUIET)
        answer = ex.submit(buy(type="limit", limit_price=D(50)))
        with pytest.raises(VenueError, match="cannot replace order in accepted status") as caught:
            ex.replace(answer.id, limit_price=D(51))
        assert (caught.value.http_status, caught.value.code) == (422, 42210000)

    def test_something_must_change(self) -> None:
        ex = world(QUIET)
        order = self.resting(ex)
        for change in ({}, {"limit_price": D(50)}, {"qty": D(10), "time_in_force": "gtc"}):
            with pytest.raises(VenueError, match="order parameters are not changed"):
                ex.replace(order, **change)  # type: ignore[arg-type]

    def test_a_chain_keeps_its_links(self) -> None:
        ex = world(QUIET)
        first = self.resting(ex, client_order_id="a")
        second = ex.replace(first, limit_price=D(51), client_order_id="b")
        third = ex.replace(second.id, qty=D(20))
        assert (ex.order(first).replaced_by, ex.order(second.id).replaces, ex.order(second.id).replaced_by) == (second.id, first, third.id)
        assert (third.limit_price, third.qty, third.status) == (D(51), D(20), "new")
        assert third.client_order_id not in ("a", "b")
        assert [ex.order(order).status for order in (first, second.id)] == ["replaced", "replaced"]
        with pytest.raises(VenueError, match="client_order_id must be unique"):
            ex.replace(third.id, limit_price=D(52), client_order_id="a")
        with pytest.raises(VenueError, match="cannot replace order in replaced status"):
            ex.replace(first, limit_price=D(52))

    def test_its_own_client_id_is_taken_too(self) -> None:
        ex = world(QUIET)
        order = self.resting(ex, client_order_id="a")
        with pytest.raises(VenueError, match="client_order_id must be unique"):
            ex.replace(order, limit_price=D(51), client_order_id="a")
        assert (ex.order(order).status, ex.order(order).limit_price) == ("new", D(50))

    def test_notional_and_fractional_sizes_stay(self) -> None:
        ex = world(QUIET)
        order = self.resting(ex, qty="1.5", time_in_force="day")
        with pytest.raises(VenueError, match="fractional qty cannot be replaced"):
            ex.replace(order, qty=D(2))
        with pytest.raises(VenueError, match="fractional orders must be DAY orders"):
            ex.replace(order, time_in_force="gtc")
        assert ex.replace(order, limit_price=D(51)).qty == D("1.5")

    def test_legs_change_prices_only_and_stay_on_their_side(self) -> None:
        ex = world(QUIET, QUIET)
        answer = ex.submit(bracket())
        until(ex, "session_open")
        profit, stop = ex.order(answer.id).legs
        for change, text in (
            ({"qty": D(5)}, "qty of a complex order cannot be replaced"),
            ({"time_in_force": "day"}, "time_in_force of a complex order cannot be replaced"),
            ({"stop_price": D(100)}, r"stop_loss.stop_price must be <= base_price - 0.01"),  # at the market
        ):
            with pytest.raises(VenueError, match=text):
                ex.replace(stop.id, **change)  # type: ignore[arg-type]
        with pytest.raises(VenueError, match=r"stop_loss.stop_price must be <= base_price - 0.01"):
            ex.replace(profit.id, limit_price=D(95))  # onto its own stop
        ex.replace(profit.id, limit_price=D(99))  # through the market: closes the position
        assert trades(ex)[-1] == ("sell", "10", "100.00")
        assert ex.order(stop.id).status == "canceled"

    def test_an_entry_stays_between_its_legs(self) -> None:
        ex = world(QUIET)
        answer = ex.submit(bracket(type="limit", limit_price=D(98)))
        until(ex, "session_open")
        for price, text in ((D(110), "take_profit.limit_price"), (D(95), "stop_loss.stop_price")):
            with pytest.raises(VenueError, match=text):
                ex.replace(answer.id, limit_price=price)
        new = ex.replace(answer.id, limit_price=D(97))
        assert [leg.status for leg in new.legs] == ["held", "held"]

    def test_held_legs_and_otos_by_switch(self) -> None:
        ex = world(QUIET, fidelity=Fidelity(held_replaceable=False))
        answer = ex.submit(bracket())
        until(ex, "session_open")
        with pytest.raises(VenueError, match="cannot replace order in held status"):
            ex.replace(ex.order(answer.id).legs[1].id, stop_price=D(96))
        for allowed in (False, True):
            ex = world(QUIET, fidelity=Fidelity(oto_replaceable=allowed))
            answer = ex.submit(buy(time_in_force="gtc", order_class="oto", stop_loss=D(95)))
            until(ex, "session_open")
            leg = ex.order(answer.id).legs[0]
            if allowed:
                assert ex.replace(leg.id, stop_price=D(96)).stop_price == D(96)
            else:
                with pytest.raises(VenueError, match="oto orders cannot be replaced"):
                    ex.replace(leg.id, stop_price=D(96))

    def test_a_replacement_may_not_trade_with_oneself(self) -> None:
        ex = world(QUIET, QUIET)
        ex.submit(buy())
        until(ex, "session_close")
        ex.submit(sell(qty=5, type="limit", limit_price=D(120), time_in_force="gtc"))
        bid = self.resting(ex, qty=1)
        with pytest.raises(VenueError, match="potential wash trade"):
            ex.replace(bid, limit_price=D(120))

    def test_the_larger_of_the_two_is_reserved(self) -> None:
        ex = world(QUIET, cash=D(1000), multiplier=D(1))
        order = self.resting(ex)
        assert ex.account().buying_power == D(500)
        with pytest.raises(VenueError, match="insufficient buying power"):
            ex.replace(order, qty=D(21))
        ex.replace(order, qty=D(20))
        assert ex.account().buying_power == 0


class TestReplaceLag:
    def pending(self, *rows: Row, **change: Any) -> tuple[Exchange, str, str]:
        ex = world(*rows, fidelity=Fidelity(replace_lag_seconds=5 * 3600.0), cash=D(10_000), multiplier=D(1))
        old = ex.submit(buy(type="limit", limit_price=D(95), time_in_force="gtc"))
        until(ex, "session_open")
        ex.drain()
        new = ex.replace(old.id, **{"limit_price": D(96), **change})
        return ex, old.id, new.id

    def test_both_are_pending_and_then_the_new_one_works(self) -> None:
        ex, old, new = self.pending(QUIET, QUIET)
        assert [ex.order(order).status for order in (old, new)] == ["pending_replace", "pending_new"]
        assert ex.account().buying_power == D(10_000) - D(960)  # the larger of the two
        for act in (lambda: ex.cancel(old), lambda: ex.replace(old, qty=D(3)), lambda: ex.replace(new, qty=D(3)), lambda: ex.cancel(new)):
            with pytest.raises(VenueError) as caught:
                act()
            assert caught.value.http_status == 422
        until(ex, "session_close")
        assert [ex.order(order).status for order in (old, new)] == ["replaced", "new"]
        assert events(ex) == [
            ("pending_replace", "pending_replace"),
            ("pending_new", "pending_new"),
            ("replaced", "replaced"),
            ("new", "new"),
        ]
        assert ex.account().buying_power == D(10_000) - D(960)

    def test_the_new_one_is_rejected_when_the_old_one_fills_first(self) -> None:
        """F19: 200 is no promise."""
        ex, old, new = self.pending((100.0, 101.0, 90.0, 100.0, 1e6))
        play(ex)
        assert trades(ex) == [("buy", "10", "95.00")]
        assert [ex.order(order).status for order in (old, new)] == ["filled", "rejected"]
        assert ex.order(old).replaced_by is None
        assert events(ex)[-2:] == [("fill", "filled"), ("rejected", "rejected")]
        assert ex.book.claims.reserved == 0

    def test_the_new_one_takes_over_what_is_left(self) -> None:
        ex = exchange(
            daily_bars({"AAA": [FLAT, (94.0, 101.0, 93.0, 100.0, 1_000.0), (100.0, 101.0, 90.0, 100.0, 1e6)]}),
            replace(PLAIN, participation=0.005),
            fidelity=Fidelity(replace_lag_seconds=3 * 3600.0),
        )
        old = ex.submit(buy(type="limit", limit_price=D(95), time_in_force="gtc"))
        until(ex, "session_open")
        before = ex.order(old.id).filled_qty
        assert 0 < before < 10
        new = ex.replace(old.id, limit_price=D(96))
        assert new.qty == 10 - before
        until(ex, "session_close")
        old_now, new_now = ex.order(old.id), ex.order(new.id)
        assert old_now.status == "replaced"
        assert old_now.filled_qty + new_now.qty == 10
        play(ex)
        assert ex.positions()[0].qty == 10

    def test_a_leg_is_moved_after_the_lag(self) -> None:
        ex = world(QUIET, (100.0, 101.0, 96.5, 98.0, 1e6), fidelity=Fidelity(replace_lag_seconds=60.0))
        answer = ex.submit(bracket())
        until(ex, "session_open")
        stop = ex.order(answer.id).legs[1]
        new = ex.replace(stop.id, stop_price=D(97))
        assert ex.order(stop.id).status == "pending_replace"
        ex.tick(ex.now + timedelta(seconds=61))
        assert [leg.id for leg in ex.order(answer.id).legs][1] == new.id
        assert ex.order(new.id).status == "held"
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "97.00")

    def test_a_leg_whose_entry_fills_meanwhile_protects_from_then_on(self) -> None:
        rows = (100.0, 101.0, 96.0, 100.0, 1e6), (100.0, 100.0, 90.0, 91.0, 1e6)
        ex = world(*rows, fidelity=Fidelity(replace_lag_seconds=6 * 3600.0))
        answer = ex.submit(bracket(type="limit", limit_price=D(98)))
        until(ex, "session_open")
        profit, stop = ex.order(answer.id).legs
        moved = [ex.replace(profit.id, limit_price=D(111)).id, ex.replace(stop.id, stop_price=D(94)).id]
        until(ex, "session_close")
        assert ex.order(answer.id).status == "filled"
        assert [(leg.id, leg.status) for leg in ex.order(answer.id).legs] == [(moved[0], "new"), (moved[1], "held")]
        assert ex.positions()[0].available == 0
        play(ex)
        assert trades(ex) == [("buy", "10", "98.00"), ("sell", "10", "94.00")]

    def test_a_stop_reduced_meanwhile_stays_reduced(self) -> None:
        """The profit leg sells 2 of 10 while the stop's replacement is under way: 8 are left to protect, not 10."""
        rows = FLAT, (100.0, 110.5, 100.0, 109.0, 1e5), (109.0, 109.0, 90.0, 91.0, 1e6)
        few = replace(PLAIN, participation=0.00004)
        ex = exchange(daily_bars({"AAA": [FLAT, *rows]}), few, fidelity=Fidelity(replace_lag_seconds=8 * 3600.0))
        answer = ex.submit(bracket())
        until(ex, "session_open")
        until(ex, "session_open")
        moved = ex.replace(ex.order(answer.id).legs[1].id, stop_price=D(96))
        play(ex)
        assert trades(ex)[-3:] == [("sell", "1", "110.00"), ("sell", "1", "110.00"), ("sell", "8", "96.00")]
        assert ex.order(moved.id).status == "filled"
        assert not ex.positions()

    def test_a_trailing_stop_keeps_what_it_has_followed_meanwhile(self) -> None:
        ex = world((100.0, 120.0, 100.0, 118.0, 1e6), fidelity=Fidelity(replace_lag_seconds=6 * 3600.0))
        ex.submit(buy())
        until(ex, "session_open")
        old = ex.submit(sell(type="trailing_stop", trail_price=D(30), time_in_force="gtc"))
        new = ex.replace(old.id, trail=D(20))
        until(ex, "session_close")
        assert (ex.order(new.id).hwm, ex.order(new.id).stop_price) == (D(120), D(100))

    def test_it_is_rejected_when_the_group_ends(self) -> None:
        ex = world(QUIET, QUIET, fidelity=Fidelity(replace_lag_seconds=60.0))
        answer = ex.submit(bracket())
        until(ex, "session_open")
        profit, stop = ex.order(answer.id).legs
        new = ex.replace(stop.id, stop_price=D(97))
        ex.cancel(profit.id)
        ex.tick(ex.now + timedelta(seconds=61))
        assert [ex.order(order).status for order in (stop.id, new.id)] == ["canceled", "rejected"]
        assert ex.book.live() == []

    def test_a_replacement_that_will_be_rejected_holds_nothing(self) -> None:
        """The stop is elected and partly filled while its profit leg is being replaced: the rest can be sold as far as the stop allows."""
        rows = (100.0, 101.0, 94.0, 95.0, 1e5), FLAT
        few = replace(PLAIN, participation=0.00015)
        ex = exchange(daily_bars({"AAA": [FLAT, FLAT, *rows]}), few, fidelity=Fidelity(replace_lag_seconds=6 * 3600.0))
        answer = ex.submit(bracket())
        until(ex, "session_close")
        until(ex, "session_open")
        profit, stop = ex.order(answer.id).legs
        new = ex.replace(profit.id, limit_price=D(111))
        while not ex.order(stop.id).filled_qty:
            ex.advance()
        assert (ex.order(profit.id).status, ex.order(new.id).status) == ("canceled", "pending_new")
        position = ex.cash_account.quantity("AAA")
        assert 0 < position < 10
        assert ex.book.claims.held("AAA", position) == ex.order(stop.id).qty - ex.order(stop.id).filled_qty == position
        play(ex)
        assert (ex.order(new.id).status, ex.order(new.id).qty) == ("rejected", D(10))


class TestCancel:
    def test_without_lag_it_is_done_at_once(self) -> None:
        ex = world(QUIET)
        answer = ex.submit(buy(type="limit", limit_price=D(50)))
        ex.cancel(answer.id)
        assert ex.order(answer.id).status == "canceled"
        with pytest.raises(VenueError, match='order is already in "canceled" state') as caught:
            ex.cancel(answer.id)
        assert (caught.value.http_status, caught.value.code) == (422, 42210000)

    def test_a_pending_cancel_may_still_fill(self) -> None:
        """F18."""
        ex = world((100.0, 101.0, 90.0, 100.0, 1e6), fidelity=Fidelity(cancel_lag_seconds=5 * 3600.0))
        answer = ex.submit(bracket(type="limit", limit_price=D(96), stop="80"))
        until(ex, "session_open")
        ex.drain()
        ex.cancel(answer.id)
        assert ex.order(answer.id).status == "pending_cancel"
        with pytest.raises(VenueError, match='order is already in "pending_cancel" state'):
            ex.cancel(answer.id)
        with pytest.raises(VenueError, match="cannot replace order in pending_cancel status"):
            ex.replace(answer.id, limit_price=D(97))
        play(ex)
        order = ex.order(answer.id)
        assert (order.status, [leg.status for leg in order.legs]) == ("filled", ["new", "held"])  # filled first: it is protected
        assert events(ex)[:2] == [("pending_cancel", "pending_cancel"), ("fill", "filled")]

    def test_a_pending_cancel_that_does_not_fill_ends(self) -> None:
        ex = world(QUIET, fidelity=Fidelity(cancel_lag_seconds=5.0))
        answer = ex.submit(bracket(type="limit", limit_price=D(96)))
        until(ex, "session_open")
        ex.cancel(answer.id)
        ex.tick(ex.now + timedelta(seconds=4))
        assert ex.order(answer.id).status == "pending_cancel"
        ex.tick(ex.now + timedelta(seconds=2))
        order = ex.order(answer.id)
        assert (order.status, [leg.status for leg in order.legs]) == ("canceled", ["canceled", "canceled"])

    def test_shares_stay_held_while_a_cancel_is_pending(self) -> None:
        """F17."""
        ex = world(QUIET, QUIET, fidelity=Fidelity(cancel_lag_seconds=5.0))
        ex.submit(buy())
        until(ex, "session_open")
        resting = ex.submit(sell(type="limit", limit_price=D(120)))
        ex.cancel(resting.id)
        with pytest.raises(VenueError, match=r"insufficient qty available for order \(requested: 10, available: 0\)"):
            ex.close_position("AAA")
        ex.tick(ex.now + timedelta(seconds=5))
        ex.close_position("AAA")
        assert ex.positions() == []

    def test_after_hours_a_cancel_may_wait_for_the_open(self) -> None:
        for waits in (False, True):
            ex = world(QUIET, QUIET, fidelity=Fidelity(overnight_cancel_waits=waits))
            answer = ex.submit(buy(type="limit", limit_price=D(50), time_in_force="gtc"))
            until(ex, "session_close")
            ex.cancel(answer.id)
            assert ex.order(answer.id).status == ("pending_cancel" if waits else "canceled")
            go_to(ex, ex.next_open)
            assert ex.order(answer.id).status == "canceled"
