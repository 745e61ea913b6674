"""Each kind of order played by hand: when it trades, at what price, how it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from venue_world import FLAT, PLAIN, D, Row, buy, daily_bars, events, exchange, go_to, intraday_bars, play, sell, trades, until

from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.venue import BarTape, Exchange, ExchangeConfig, Fidelity, VenueError, VenueOrderRequest

THIN = replace(PLAIN, participation=0.005)


def world(*rows: Row, **config: Any) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT, *rows]}), **config)


def holding(*rows: Row, **config: Any) -> Exchange:
    """Ten shares bought at 100 on a flat day; ``rows`` follow."""
    ex = world(FLAT, *rows, **config)
    ex.submit(buy())
    until(ex, "session_close")
    ex.drain()
    return ex


def evening(ex: Exchange) -> Exchange:
    """Seven in the evening: orders for the auctions of the next day are taken again."""
    go_to(ex, ex.now + timedelta(hours=3))
    return ex


class TestTrailingStop:
    def test_it_follows_the_path_and_sells_when_price_falls_by_the_trail(self) -> None:
        """Opens 100 (hwm 100, stop 95), low 97 first, up to 110 (hwm 110, stop 105), down to 104: sells at 105."""
        ex = holding((100.0, 110.0, 97.0, 104.0, 1e6))
        answer = ex.submit(sell(type="trailing_stop", trail_price=D(5)))
        assert (answer.trail_price, answer.hwm, answer.stop_price) == (D(5), None, None)
        until(ex, "session_open")
        order = ex.order(answer.id)
        assert (order.hwm, order.stop_price, order.status) == (D(100), D(95), "new")
        until(ex, "path")  # the low comes first, against the long position
        assert ex.order(answer.id).hwm == D(100)
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "105.00")
        assert (ex.order(answer.id).hwm, ex.order(answer.id).stop_price) == (D(110), D(105))

    def test_a_percentage_and_a_buy(self) -> None:
        """A short at 100 covered 10 % above the lowest price: low 80, stop 88."""
        ex = world(FLAT, (100.0, 101.0, 80.0, 95.0, 1e6), profile=replace(PLAIN, path="favourable_first"))
        ex.submit(sell())
        until(ex, "session_close")
        ex.submit(buy(type="trailing_stop", trail_percent=D(10), time_in_force="gtc"))
        play(ex)
        assert trades(ex)[-1] == ("buy", "10", "88.00")

    def test_a_gap_over_night_does_not_lift_the_stop_before_it_is_tested(self) -> None:
        """GTC: hwm 110 on day one; day two opens at 90, through the stop of 105: fills at the gap."""
        ex = holding((100.0, 110.0, 99.0, 109.0, 1e6), (90.0, 120.0, 89.0, 91.0, 1e6))
        ex.submit(sell(type="trailing_stop", trail_price=D(5), time_in_force="gtc"))
        until(ex, "session_close")
        assert len(trades(ex)) == 1
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "90.00")

    def test_a_day_order_ends_at_the_close_and_a_gtc_order_keeps_its_mark(self) -> None:
        ex = holding((100.0, 104.0, 99.0, 104.0, 1e6), (104.0, 104.0, 104.0, 104.0, 1e6))
        day = ex.submit(sell(qty=5, type="trailing_stop", trail_price=D(20)))
        gtc = ex.submit(sell(qty=5, type="trailing_stop", trail_price=D(20), time_in_force="gtc"))
        play(ex)
        assert ex.order(day.id).status == "expired"
        assert (ex.order(gtc.id).status, ex.order(gtc.id).hwm, ex.order(gtc.id).stop_price) == ("new", D(104), D(84))

    def test_replace_of_the_trail_keeps_the_mark(self) -> None:
        ex = holding((100.0, 110.0, 99.0, 109.0, 1e6), (109.0, 109.0, 107.0, 108.0, 1e6))
        answer = ex.submit(sell(type="trailing_stop", trail_price=D(8), time_in_force="gtc"))
        until(ex, "session_close")
        new = ex.replace(answer.id, trail=D(2))
        assert (new.trail_price, new.hwm, new.stop_price, new.replaces) == (D(2), D(110), D(108), answer.id)
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "108.00")

    def test_other_orders_have_no_trail_to_replace(self) -> None:
        ex = world(FLAT)
        resting = ex.submit(buy(type="limit", limit_price=D(50)))
        until(ex, "session_open")
        with pytest.raises(VenueError, match="limit orders must not have trail"):
            ex.replace(resting.id, trail=D(1))

    def test_it_protects_in_the_eyes_of_the_ledger(self) -> None:
        ex = holding(FLAT)
        ex.submit(sell(type="trailing_stop", trail_price=D(5)))
        before = dict(ex.ledger.unprotected_seconds)
        play(ex)
        assert ex.ledger.unprotected_seconds == before


class TestFillOrKill:
    @pytest.mark.parametrize(("qty", "status"), [(20, "filled"), (21, "canceled")])
    def test_all_or_nothing(self, qty: int, status: str) -> None:
        """0.5 % of 10,000 shares a day, 40 % of them at the open: 20 shares."""
        ex = world((100.0, 102.0, 99.0, 101.0, 10_000.0), profile=THIN)
        until(ex, "session_open")
        answer = ex.submit(buy(qty=qty, time_in_force="fok"))
        order = ex.order(answer.id)
        assert (order.status, order.filled_qty) == (status, D(qty if status == "filled" else 0))

    def test_a_limit_that_is_not_marketable_dies(self) -> None:
        ex = world((100.0, 102.0, 99.0, 101.0, 1e6))
        until(ex, "session_open")
        for tif in ("fok", "ioc"):
            answer = ex.submit(buy(type="limit", limit_price=D("99.50"), time_in_force=tif))
            assert ex.order(answer.id).status == "canceled"
        assert trades(ex) == []


def test_an_immediate_order_between_two_prices_waits_for_the_next_one() -> None:
    """At the close of a bar no price prints; the next bar's open does."""
    bars = intraday_bars("AAA", [(100.0, 100.0, 100.0, 100.0, 1e5), (103.0, 104.0, 102.0, 103.0, 1e5)])
    ex = Exchange(BarTape(bars, "5Min"), ExchangeConfig(profile=PLAIN))
    go_to(ex, ex.next_open + timedelta(minutes=5) - timedelta(microseconds=1))
    ex.advance()  # the close of the first bar
    good = ex.submit(buy(time_in_force="ioc"))
    bad = ex.submit(buy(type="limit", limit_price=D(101), time_in_force="ioc"))
    assert [ex.order(order.id).status for order in (good, bad)] == ["new", "new"]
    ex.advance()
    assert [ex.order(order.id).status for order in (good, bad)] == ["filled", "canceled"]
    assert trades(ex) == [("buy", "10", "103.00")]


class TestAuctions:
    def test_market_on_open_gets_the_opening_print_only(self) -> None:
        ex = evening(world((101.0, 105.0, 99.0, 104.0, 1e6)))
        ex.submit(buy(time_in_force="opg"))
        until(ex, "session_open")
        assert trades(ex) == [("buy", "10", "101.00")]

    def test_limit_on_open_that_is_not_reached_ends_with_the_opening(self) -> None:
        ex = evening(world((101.0, 105.0, 90.0, 104.0, 1e6)))
        answer = ex.submit(buy(type="limit", limit_price=D(100), time_in_force="opg"))
        until(ex, "session_open")
        assert ex.order(answer.id).status == "canceled"
        play(ex)
        assert trades(ex) == []  # price was at 90 later in the day

    def test_what_the_opening_leaves_of_a_large_order_ends(self) -> None:
        ex = evening(world((100.0, 102.0, 99.0, 101.0, 10_000.0), profile=THIN))
        answer = ex.submit(buy(qty=60, time_in_force="opg"))
        play(ex)
        order = ex.order(answer.id)
        assert (order.status, order.filled_qty) == ("canceled", D(20))

    def test_market_on_close_gets_the_closing_print_only(self) -> None:
        ex = evening(world((101.0, 105.0, 99.0, 104.0, 1e6)))
        ex.submit(buy(time_in_force="cls"))
        until(ex, "path")
        assert trades(ex) == []
        play(ex)
        assert trades(ex) == [("buy", "10", "104.00")]
        assert ex.fills()[0].at == ex.tape.sessions[1].close

    def test_limit_on_close_looks_at_the_close_only(self) -> None:
        """Down to 99 and back to 104: a bid of 102 would have traded in the day, at the close it does not; an offer of 103 does, at 104."""
        ex = evening(holding((101.0, 105.0, 99.0, 104.0, 1e6)))
        bid = ex.submit(buy(type="limit", limit_price=D(102), time_in_force="cls"))
        offer = ex.submit(sell(type="limit", limit_price=D(103), time_in_force="cls"))
        play(ex)
        assert trades(ex)[1:] == [("sell", "10", "104.00")]
        assert (ex.order(bid.id).status, ex.order(offer.id).status) == ("canceled", "filled")


def around_the_session() -> Exchange:
    """Thirty-minute bars from 8:00 to 17:30 New York on two days: the market drifts from 100 to 119 and on."""
    frames = []
    for number, day in enumerate(("2024-03-04", "2024-03-05")):
        start = SessionCalendar().sessions(day, day)["open"].iloc[0] - pd.Timedelta(minutes=90)
        rows = [(p, p + 0.5, p - 0.5, p, 1e5) for p in (100.0 + number * 20 + step for step in range(19))]
        index = pd.MultiIndex.from_product(
            [["AAA"], pd.DatetimeIndex([start + pd.Timedelta(minutes=30 * bar) for bar in range(len(rows))])], names=["symbol", "timestamp"]
        )
        frames.append(pd.DataFrame(rows, index=index, columns=["open", "high", "low", "close", "volume"], dtype=float))
    tape = BarTape(pd.concat(frames), "30Min", extended_hours=True)
    return Exchange(tape, ExchangeConfig(profile=PLAIN, start=tape.sessions[0].close + timedelta(hours=10)))


class TestExtendedHours:
    def test_only_orders_marked_for_it_trade_before_the_open(self) -> None:
        ex = around_the_session()
        plain = ex.submit(buy(type="limit", limit_price=D(150)))
        marked = ex.submit(buy(qty=5, type="limit", limit_price=D(150), extended_hours=True))
        assert (plain.status, marked.status, marked.extended_hours) == ("accepted", "accepted", True)
        go_to(ex, ex.next_open - timedelta(minutes=61))
        assert ex.hours.phase(ex.now) == "pre_market"
        assert ex.order(plain.id).status == "accepted"
        assert (ex.order(marked.id).status, trades(ex)) == ("filled", [("buy", "5", "120.00")])
        until(ex, "session_open")
        assert trades(ex)[1:] == [("buy", "10", "123.00")]

    def test_stops_sleep_outside_the_session(self) -> None:
        ex = around_the_session()
        ex.submit(buy())
        until(ex, "session_open")
        stop = ex.submit(sell(qty=9, type="trailing_stop", trail_price=D(1), time_in_force="gtc"))
        until(ex, "session_close")
        marked = ex.submit(sell(qty=1, type="limit", limit_price=D(110), extended_hours=True))
        assert marked.status == "pending_new"
        hwm = ex.order(stop.id).hwm
        play(ex)
        assert ex.order(marked.id).status == "filled"
        assert (ex.order(stop.id).status, ex.order(stop.id).hwm) == ("new", hwm)  # price rose on after hours

    def test_a_marked_order_ends_with_after_hours(self) -> None:
        ex = around_the_session()
        answer = ex.submit(buy(type="limit", limit_price=D(50), extended_hours=True))
        assert answer.expires_at == ex.next_close + timedelta(hours=4)
        until(ex, "session_close")
        assert ex.order(answer.id).status == "new"
        while ex.advance() is not None:
            pass
        ex.tick(answer.expires_at)
        assert ex.order(answer.id).status == "expired"

    def test_without_such_bars_it_waits_for_the_session(self) -> None:
        ex = world((101.0, 105.0, 99.0, 104.0, 1e6))
        go_to(ex, ex.next_open - timedelta(hours=8))
        answer = ex.submit(buy(type="limit", limit_price=D(102), extended_hours=True))
        assert answer.status == "accepted"
        go_to(ex, ex.next_open - timedelta(minutes=10))
        assert ex.order(answer.id).status == "new"
        until(ex, "session_open")
        assert trades(ex) == [("buy", "10", "101.00")]


class TestFractions:
    def test_nine_decimals(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 101.0, 99.0, 100.0, 1e6))
        ex.submit(buy(qty="0.123456789"))
        until(ex, "session_close")
        assert ex.positions()[0].qty == D("0.123456789")
        ex.close_position("AAA")
        play(ex)
        assert ex.positions() == []
        assert ex.account().cash == D(100_000)

    def test_dollars_buy_what_they_buy_at_the_price_of_the_execution(self) -> None:
        ex = world((80.0, 81.0, 79.0, 80.0, 1e6))
        answer = ex.submit(VenueOrderRequest("AAA", "buy", notional=D("100.00")))
        assert (answer.notional, answer.qty) == (D("100.00"), D("1"))  # at the last price of 100
        assert ex.account().buying_power == D(400_000) - D(100)
        play(ex)
        order = ex.order(answer.id)
        assert (order.status, order.filled_qty, order.filled_avg_price) == ("filled", D("1.25"), D(80))
        assert ex.account().cash == D(99_900)

    def test_dollars_over_several_executions_are_not_overspent(self) -> None:
        ex = world((100.0, 110.0, 90.0, 95.0, 1_000.0), (80.0, 90.0, 70.0, 75.0, 1_000.0), profile=THIN)
        answer = ex.submit(VenueOrderRequest("AAA", "buy", notional=D("380.00")))
        until(ex, "session_close")
        order = ex.order(answer.id)
        spent = sum((fill.qty * fill.price for fill in ex.fills()), D(0))
        assert len(ex.fills()) > 1
        assert order.status in ("filled", "expired")
        assert D(0) <= D("380.00") - spent < D("380.00") if order.status == "expired" else D(0) <= D(380) - spent < D("0.0001")

    def test_a_sale_in_dollars_never_sells_more_than_there_is(self) -> None:
        ex = world(FLAT, (10.0, 10.0, 10.0, 10.0, 1e6))
        ex.submit(buy(qty=2))
        until(ex, "session_close")
        answer = ex.submit(VenueOrderRequest("AAA", "sell", notional=D("150.00")))
        play(ex)
        assert ex.order(answer.id).filled_qty == D(2)  # at 10 dollars 150 would be fifteen shares
        assert ex.positions() == []

    def test_a_price_that_halves_does_not_double_its_part_of_the_volume(self) -> None:
        ex = exchange(daily_bars({"AAA": [FLAT, (50.0, 50.0, 50.0, 50.0, 1e6)]}), replace(PLAIN, participation=0.0001))
        answer = ex.submit(VenueOrderRequest("AAA", "buy", notional=D("3900.00")))
        assert answer.qty == 39  # at the last price of 100; at 50 it takes 78
        until(ex, "session_open")
        assert trades(ex) == [("buy", "40", "50.00")]  # of the 40 there are
        play(ex)
        assert ex.order(answer.id).filled_qty == 78

    def test_a_new_notional_order_waits_for_closing_ones(self) -> None:
        ex = holding(FLAT)
        ex.submit(sell(type="limit", limit_price=D(120)))
        with pytest.raises(VenueError, match="unable to open new notional orders while having open closing position orders") as caught:
            ex.submit(VenueOrderRequest("AAA", "buy", type="limit", limit_price=D(90), notional=D(50)))
        assert (caught.value.http_status, caught.value.code) == (403, 40310000)


def test_a_random_part_fills_first_when_alpacas_habit_is_switched_on() -> None:
    ex = world((100.0, 101.0, 99.0, 100.0, 1e6), fidelity=Fidelity(partial_fill_probability=1.0))
    answer = ex.submit(buy(qty=100))
    until(ex, "session_open")
    part = ex.order(answer.id).filled_qty
    assert D(0) < part < D(100)
    play(ex)
    assert ex.order(answer.id).status == "filled"
    assert [event for event, _ in events(ex)] == ["accepted", "new", "partial_fill", "fill"]


def test_a_buy_stop_stays_a_stop_when_the_conversion_is_off() -> None:
    rows = ((106.0, 112.0, 105.0, 110.0, 1e6),)
    converted, plain = world(*rows), world(*rows, fidelity=Fidelity(buy_stop_converts=False))
    for ex in (converted, plain):
        ex.submit(buy(type="stop", stop_price=D(102)))
        play(ex)
    assert trades(converted) == []  # opened beyond 102 x 1.025
    assert trades(plain) == [("buy", "10", "106.00")]


def test_orders_out_of_hours_are_queued_or_refused() -> None:
    ex = world(FLAT, fidelity=Fidelity(market_closed="reject"))
    with pytest.raises(VenueError, match="market is closed") as caught:
        ex.submit(buy())
    assert (caught.value.http_status, caught.value.code) == (403, 40310000)
    evening(ex).submit(buy(time_in_force="opg"))
    until(ex, "session_open")
    ex.submit(buy())
