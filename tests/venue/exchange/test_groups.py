"""Bracket, OCO and OTO orders: when legs work, what ends them, and the switches that make it worse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from venue_world import FLAT, PLAIN, D, bracket, buy, daily_bars, events, exchange, play, sell, trades, until

from alphatrade_pipelines.venue import Exchange, Fidelity

QUIET = (100.0, 101.0, 99.0, 100.0, 1e6)


def world(*rows: tuple[float, float, float, float, float], **config: Any) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT, *rows]}), **config)


class TestBracket:
    def test_target(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (101.0, 112.0, 100.0, 111.0, 1e6))
        ex.submit(bracket())
        play(ex)
        assert trades(ex) == [("buy", "10", "100.00"), ("sell", "10", "110.00")]
        assert events(ex) == [
            ("accepted", "accepted"),
            ("new", "new"),
            ("fill", "filled"),
            ("new", "new"),  # the profit leg; the stop stays held
            ("fill", "filled"),
            ("canceled", "canceled"),
        ]
        assert ex.account().equity == D("100100.00")

    def test_stop_inside_the_bar(self) -> None:
        ex = world((100.0, 101.0, 90.0, 92.0, 1e6))
        ex.submit(bracket())
        play(ex)
        assert trades(ex) == [("buy", "10", "100.00"), ("sell", "10", "95.00")]

    def test_a_gap_through_the_stop_fills_at_the_open(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (88.0, 99.0, 87.0, 97.0, 1e6))
        ex.submit(bracket())
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "88.00")

    def test_a_gap_over_the_target_fills_at_the_open(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (115.0, 116.0, 112.0, 113.0, 1e6))
        ex.submit(bracket())
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "115.00")

    def test_stop_before_target_when_one_bar_holds_both(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 112.0, 94.0, 111.0, 1e6))
        ex.submit(bracket())
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "95.00")

    def test_target_before_stop_in_the_optimistic_world(self) -> None:
        profile = replace(PLAIN, path="favourable_first")
        ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 112.0, 94.0, 111.0, 1e6)]}), profile)
        ex.submit(bracket())
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "110.00")

    def test_trade_through_is_needed_in_the_pessimistic_world(self) -> None:
        rows = {"AAA": [FLAT, (100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 110.0, 99.0, 100.0, 1e6), (100.0, 110.01, 99.0, 100.0, 1e6)]}
        ex = exchange(daily_bars(rows), replace(PLAIN, limit_through_ticks=1, queue_minutes=1e9))
        ex.submit(bracket())
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "110.00")
        assert ex.fills()[-1].at.date() == ex.tape.sessions[3].day

    def test_legs_stay_held_until_the_entry_is_complete_and_die_with_it(self) -> None:
        profile = replace(PLAIN, participation=0.005)
        rows = {"AAA": [FLAT, (100.0, 112.0, 90.0, 92.0, 1_000.0), (92.0, 93.0, 91.0, 92.0, 1_000.0)]}
        ex = exchange(daily_bars(rows), profile)
        answer = ex.submit(bracket(qty=10))
        until(ex, "session_close")
        order = ex.order(answer.id)
        assert order.status == "partially_filled"
        assert [leg.status for leg in order.legs] == ["held", "held"]
        assert {fill.side for fill in ex.fills()} == {"buy"}  # price fell through the stop, but no leg was active
        ex.cancel(answer.id)
        assert [leg.status for leg in ex.order(answer.id).legs] == ["canceled", "canceled"]
        assert ex.positions()[0].qty > 0  # naked, as at Alpaca
        until(ex, "session_close")
        assert ex.ledger.unprotected_seconds["AAA"] > 6.4 * 3600

    def test_cancelling_one_leg_cancels_the_other(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6))
        answer = ex.submit(bracket())
        until(ex, "session_open")
        ex.cancel(ex.order(answer.id).legs[0].id)
        assert [leg.status for leg in ex.order(answer.id).legs] == ["canceled", "canceled"]
        assert ex.orders(status="open") == []

    def test_a_partly_filled_target_reduces_the_stop(self) -> None:
        profile = replace(PLAIN, participation=0.005)
        rows = {
            "AAA": [FLAT, (100.0, 101.0, 99.0, 100.0, 100_000.0), (100.0, 112.0, 99.0, 111.0, 10_000.0), (100.0, 101.0, 90.0, 95.0, 1e6)]
        }
        ex = exchange(daily_bars(rows), profile)
        answer = ex.submit(bracket(qty=100))
        until(ex, "session_close")
        until(ex, "session_close")
        target, stop = ex.order(answer.id).legs
        assert D(0) < target.filled_qty < D(100)
        assert stop.qty == D(100) - target.filled_qty
        play(ex)
        assert ex.positions() == []
        assert [leg.status for leg in ex.order(answer.id).legs] == ["canceled", "filled"]

    def test_day_legs_die_at_the_close_and_leave_the_position_naked(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 101.0, 90.0, 92.0, 1e6))
        answer = ex.submit(bracket(time_in_force="day"))
        until(ex, "session_close")
        assert [leg.status for leg in ex.order(answer.id).legs] == ["expired", "expired"]
        play(ex)
        assert ex.positions()[0].qty == 10
        assert ex.ledger.unprotected_seconds == {"AAA": pytest.approx(6.5 * 3600)}

    def test_a_short_bracket_mirrors_the_long_one(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 107.0, 93.0, 101.0, 1e6))
        ex.submit(sell(time_in_force="gtc", order_class="bracket", take_profit=D(94), stop_loss=D(105)))
        play(ex)
        assert trades(ex) == [("sell", "10", "100.00"), ("buy", "10", "105.00")]
        assert ex.account().cash == D(100_000) - D(50)


def test_oco_protects_a_position_and_its_orders_share_the_quantity() -> None:
    ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 112.0, 99.0, 111.0, 1e6))
    ex.submit(buy(time_in_force="gtc"))
    until(ex, "session_close")
    oco = sell(type="limit", time_in_force="gtc", order_class="oco", take_profit=D(110), stop_loss=D(95))
    answer = ex.submit(oco)
    assert answer.limit_price == D(110)
    assert [leg.status for leg in answer.legs] == ["held"]
    assert ex.positions()[0].available == 0
    play(ex)
    assert trades(ex)[-1] == ("sell", "10", "110.00")
    assert ex.order(answer.id).legs[0].status == "canceled"


def test_oto_activates_its_single_leg() -> None:
    ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 101.0, 90.0, 92.0, 1e6))
    answer = ex.submit(buy(time_in_force="gtc", order_class="oto", stop_loss=D(95)))
    until(ex, "session_close")
    assert ex.order(answer.id).legs[0].status == "new"
    play(ex)
    assert trades(ex)[-1] == ("sell", "10", "95.00")


class TestLegsAndTheirSwitches:
    STOPPED = (100.0, 101.0, 90.0, 92.0, 1e6)
    WHIPSAW = (100.0, 112.0, 94.0, 111.0, 1e6)  # the low first, against the position, then the high

    def bracketed(self, second: tuple[float, float, float, float, float], **fidelity: Any) -> tuple[Exchange, str]:
        ex = world(QUIET, second, fidelity=Fidelity(**fidelity))
        answer = ex.submit(bracket())
        until(ex, "session_close")
        ex.drain()
        return ex, answer.id

    def test_a_stop_leg_keeps_its_id_by_default(self) -> None:
        ex, group = self.bracketed(self.STOPPED)
        legs = [leg.id for leg in ex.order(group).legs]
        play(ex)
        assert [leg.id for leg in ex.order(group).legs] == legs
        assert events(ex) == [("new", "new"), ("canceled", "canceled"), ("fill", "filled")]

    def test_a_stop_leg_can_get_a_new_id_when_it_triggers(self) -> None:
        ex, group = self.bracketed(self.STOPPED, sl_trigger_replaces_id=True)
        profit, stop = ex.order(group).legs
        play(ex)
        assert events(ex) == [("replaced", "replaced"), ("new", "new"), ("replaced", "replaced"), ("fill", "filled")]
        new = ex.order(group).legs[1]
        assert (new.status, new.replaces) == ("filled", stop.id)
        assert ex.order(stop.id).replaced_by == ex.order(profit.id).replaced_by == new.id
        assert ex.order_by_client_id(new.client_order_id).id == new.id
        assert trades(ex)[-1] == ("sell", "10", "95.00")
        assert ex.positions() == []

    @pytest.mark.parametrize(("second", "filled"), [(STOPPED, "stop_loss"), ((100.0, 112.0, 99.0, 111.0, 1e6), "take_profit")])
    def test_the_siblings_cancel_may_go_unstreamed(self, second: tuple[float, ...], filled: str) -> None:
        told, group = self.bracketed(second)  # type: ignore[arg-type]
        mute, _ = self.bracketed(second, stream_sibling_cancel=False)  # type: ignore[arg-type]
        play(told)
        play(mute)
        with_it, without = events(told), events(mute)
        with_it.remove(("canceled", "canceled"))
        assert with_it == without  # that one event and no other
        assert [leg.status for leg in mute.order(group).legs] == [leg.status for leg in told.order(group).legs]
        assert sorted(leg.status for leg in mute.order(group).legs) == ["canceled", "filled"], filled

    def test_both_legs_fill_in_a_whipsaw_when_the_cancel_comes_too_late(self) -> None:
        ex, group = self.bracketed(self.WHIPSAW, both_legs_may_fill=True)
        play(ex)
        assert trades(ex)[-2:] == [("sell", "10", "95.00"), ("sell", "10", "110.00")]
        assert [leg.status for leg in ex.order(group).legs] == ["filled", "filled"]
        assert ex.positions()[0].qty == D(-10)  # flipped

    def test_by_default_the_whipsaw_fills_one(self) -> None:
        ex, _ = self.bracketed(self.WHIPSAW)
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "95.00")
        assert ex.positions() == []

    def test_a_profit_leg_left_behind_ends_at_the_close(self) -> None:
        ex, group = self.bracketed(self.STOPPED, both_legs_may_fill=True)
        play(ex)
        assert [leg.status for leg in ex.order(group).legs] == ["canceled", "filled"]

    def test_legs_inherit_the_time_in_force_whatever_they_ask_for(self) -> None:
        for inherited, tif in ((True, "day"), (False, "gtc")):
            ex = world(QUIET, fidelity=Fidelity(leg_tif_inherited=inherited))
            answer = ex.submit(bracket(time_in_force="day", leg_time_in_force="gtc"))
            until(ex, "session_close")
            legs = ex.order(answer.id).legs
            assert [leg.time_in_force for leg in legs] == [tif, tif]
            assert [leg.status for leg in legs] == (["expired", "expired"] if inherited else ["new", "held"])


@pytest.mark.parametrize("inherited", [True, False])
def test_a_partly_filled_entry_that_expires_leaves_no_leg(inherited: bool) -> None:
    """F12: a DAY bracket whose entry did not fill completely; legs with a time in force of their own die as well."""
    bars = daily_bars({"AAA": [FLAT, (100.0, 101.0, 99.0, 100.0, 1_000.0), QUIET]})
    ex = exchange(bars, replace(PLAIN, participation=0.005), fidelity=Fidelity(leg_tif_inherited=inherited))
    answer = ex.submit(bracket(time_in_force="day", leg_time_in_force="gtc"))
    until(ex, "session_close")
    order = ex.order(answer.id)
    assert (order.status, [leg.status for leg in order.legs]) == ("expired", ["expired", "expired"])
    assert 0 < ex.positions()[0].qty < 10
    assert ex.book.live() == []
