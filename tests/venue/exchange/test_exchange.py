"""Days played by hand: what fills, when, at which price, and what the account says afterwards."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from venue_world import PLAIN, D, bracket, buy, daily_bars, events, exchange, intraday_bars, play, sell, trades, until

from alphatrade_pipelines.venue import PESSIMISTIC, BarTape, Exchange, ExchangeConfig, OrderQuery
from alphatrade_pipelines.venue.exchange.profiles import US_FEES

FLAT = (100.0, 100.0, 100.0, 100.0, 1e6)


def world(*rows: tuple[float, float, float, float, float], **config: object) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT, *rows]}), **config)  # type: ignore[arg-type]


def test_an_order_accepted_overnight_fills_at_the_opening_print() -> None:
    ex = world((101.0, 105.0, 99.0, 104.0, 1e6))
    answer = ex.submit(buy(client_order_id="a"))
    assert answer.status == "accepted"
    assert not ex.market_open
    until(ex, "session_open")
    assert trades(ex) == [("buy", "10", "101.00")]
    assert ex.fills()[0].at == ex.now == ex.tape.sessions[1].open
    assert events(ex) == [("accepted", "accepted"), ("new", "new"), ("fill", "filled")]
    assert ex.account().cash == D(100_000) - D("1010.00")
    assert [(p.symbol, p.qty, p.avg_entry_price) for p in ex.positions()] == [("AAA", D(10), D(101))]


def test_a_day_has_four_prices_and_the_bar_is_known_at_the_close_only() -> None:
    ex = world((101.0, 105.0, 99.0, 104.0, 1e6))
    seen = []
    while (step := ex.advance()) is not None:
        seen.append((step.kind, ex.prices()["AAA"], len(step.bars), ex.market_open))
    assert seen == [
        ("session_open", D("101.00"), 0, True),
        ("path", D("99.00"), 0, True),  # flat: the nearer extreme first
        ("path", D("105.00"), 0, True),
        ("session_close", D("104.00"), 1, False),
    ]


def test_an_order_during_the_session_fills_at_once_at_the_price_of_the_path() -> None:
    ex = world((101.0, 105.0, 99.0, 104.0, 1e6))
    until(ex, "path")
    answer = ex.submit(buy())
    assert answer.status == "pending_new"
    assert trades(ex) == [("buy", "10", "99.00")]
    assert events(ex) == [("pending_new", "pending_new"), ("new", "new"), ("fill", "filled")]


def test_pessimistic_costs_by_hand() -> None:
    """Spread at the open 100 x 1.5 bp x 2 = 0.03; impact 100 x 0.02 x sqrt(100/1e6) = 0.02; latency 50 x 0.02 x sqrt(30/23400) = 0.0358."""
    profile = replace(PESSIMISTIC, rejection_probability=0.0)
    ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 105.0, 95.0, 100.0, 1e6)]}), profile)
    ex.submit(buy(qty=100))
    play(ex)
    assert trades(ex) == [("buy", "100", "100.09")]  # 100.0858 rounded up


def test_participation_fills_in_parts_over_the_stretches_of_the_bar() -> None:
    """0.5 % of 10,000 = 50 shares a day; 40 % of it, so 20, at the open."""
    profile = replace(PLAIN, participation=0.005)
    ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 102.0, 99.0, 101.0, 10_000.0), (101.0, 101.0, 101.0, 101.0, 10_000.0)]}), profile)
    ex.submit(buy(qty=60, time_in_force="gtc"))
    until(ex, "session_open")
    assert trades(ex) == [("buy", "20", "100.00")]
    assert [event for event, _ in events(ex)] == ["accepted", "new", "partial_fill"]
    until(ex, "session_close")
    assert sum(fill.qty for fill in ex.fills()) == 50
    play(ex)
    assert sum(fill.qty for fill in ex.fills()) == 60
    assert ex.orders(status="closed")[0].status == "filled"


def test_two_orders_share_one_stretch() -> None:
    profile = replace(PLAIN, participation=0.005)
    ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 102.0, 99.0, 101.0, 10_000.0)]}), profile)
    ex.submit(buy(qty=15))
    ex.submit(buy(qty=15))
    until(ex, "session_open")
    assert [str(fill.qty) for fill in ex.fills()] == ["15", "5"]


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


class TestSimpleOrders:
    def test_limit_waits_and_fills_at_its_price(self) -> None:
        ex = world((100.0, 103.0, 96.0, 101.0, 1e6))
        ex.submit(buy(type="limit", limit_price=D(97)))
        play(ex)
        assert trades(ex) == [("buy", "10", "97.00")]

    def test_a_limit_that_opens_better_gets_the_open(self) -> None:
        ex = world((95.0, 103.0, 94.0, 101.0, 1e6))
        ex.submit(buy(type="limit", limit_price=D(97)))
        play(ex)
        assert trades(ex) == [("buy", "10", "95.00")]

    def test_a_marketable_limit_left_over_never_pays_outside_the_bar(self) -> None:
        ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 103.0, 99.0, 101.0, 4_000.0)]}), replace(PLAIN, participation=0.005))
        ex.submit(buy(qty=20, type="limit", limit_price=D(200)))
        play(ex)
        assert sum(fill.qty for fill in ex.fills()) > 10
        assert all(D(99) <= fill.price <= D(103) for fill in ex.fills())

    def test_buy_stop_becomes_a_limit_two_and_a_half_percent_above(self) -> None:
        ex = world((106.0, 112.0, 105.0, 110.0, 1e6), (101.0, 104.0, 100.0, 103.0, 1e6))
        ex.submit(buy(type="stop", stop_price=D(102), time_in_force="gtc"))
        until(ex, "session_close")
        assert trades(ex) == []  # opened at 106, above 102 x 1.025 = 104.55
        play(ex)
        assert trades(ex) == [("buy", "10", "101.00")]

    def test_stop_limit_rests_at_its_limit_after_a_gap(self) -> None:
        rows = {"AAA": [FLAT, (100.0, 100.0, 100.0, 100.0, 1e6), (90.0, 91.0, 89.0, 90.0, 1e6), (92.0, 96.0, 92.0, 95.0, 1e6)]}
        ex = exchange(daily_bars(rows))
        ex.submit(buy())
        until(ex, "session_close")
        ex.submit(sell(type="stop_limit", stop_price=D(97), limit_price=D(94), time_in_force="gtc"))
        until(ex, "session_close")
        assert len(trades(ex)) == 1
        play(ex)
        assert trades(ex)[-1] == ("sell", "10", "94.00")

    def test_day_orders_expire_and_gtc_orders_after_ninety_days(self) -> None:
        ex = exchange(daily_bars({"AAA": [FLAT] * 70}))
        day = ex.submit(buy(type="limit", limit_price=D(50)))
        gtc = ex.submit(buy(type="limit", limit_price=D(50), time_in_force="gtc"))
        until(ex, "session_close")
        assert ex.order(day.id).status == "expired"
        assert ex.order(gtc.id).status == "new"
        play(ex)
        ended = ex.order(gtc.id)
        assert ended.status == "canceled"
        assert ended.canceled_at is not None
        assert ended.canceled_at == ended.expires_at
        local = ended.canceled_at.astimezone(ZoneInfo("America/New_York"))
        assert (local.date() - ended.created_at.date()).days == 90
        assert (local.hour, local.minute) == (16, 15)

    def test_ioc_takes_what_there_is_and_cancels_the_rest(self) -> None:
        ex = exchange(daily_bars({"AAA": [FLAT, (100.0, 102.0, 99.0, 101.0, 10_000.0)]}), replace(PLAIN, participation=0.005))
        until(ex, "session_open")
        answer = ex.submit(buy(qty=60, time_in_force="ioc"))
        order = ex.order(answer.id)
        assert (order.status, order.filled_qty) == ("canceled", D(20))

    def test_a_fraction_of_a_share(self) -> None:
        ex = world((100.0, 101.0, 99.0, 100.0, 1e6))
        ex.submit(buy(qty="0.5"))
        play(ex)
        assert trades(ex) == [("buy", "0.5", "100.00")]


def test_rejection_is_drawn_once_for_the_order_and_does_not_depend_on_the_others() -> None:
    bars = daily_bars({"AAA": [FLAT] * 3})
    profile = replace(PLAIN, rejection_probability=0.5)

    def fates(ids: list[str]) -> dict[str, str]:
        ex = exchange(bars, profile, seed=7)
        for name in ids:
            ex.submit(buy(qty=1, client_order_id=name))
        play(ex)
        return {name: ex.order_by_client_id(name).status for name in ids}

    names = [f"order-{number}" for number in range(40)]
    all_fates = fates(names)
    assert set(all_fates.values()) == {"filled", "rejected"}
    assert fates(names[::-1]) == all_fates
    assert fates(names[5:6]) == {names[5]: all_fates[names[5]]}


def test_a_rejected_bracket_leaves_nothing_behind() -> None:
    ex = world((100.0, 101.0, 99.0, 100.0, 1e6), profile=replace(PLAIN, rejection_probability=1.0))
    answer = ex.submit(bracket())
    play(ex)
    order = ex.order(answer.id)
    assert order.status == "rejected"
    assert [leg.status for leg in order.legs] == ["canceled", "canceled"]
    assert ex.orders(status="open") == []


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


class TestCorporateActions:
    def test_a_split_converts_the_position_and_cancels_the_orders_before_the_open(self) -> None:
        bars = daily_bars({"AAA": [FLAT, FLAT, (50.0, 51.0, 49.0, 50.0, 2e6)]}, split={"AAA": [1.0, 1.0, 2.0]})
        ex = exchange(bars)
        answer = ex.submit(bracket(qty=11))
        until(ex, "session_close")
        ex.drain()
        step = ex.advance()
        assert step is not None
        assert (step.kind, step.corporate_actions[0].split) == ("pre_open", 2.0)
        assert step.at < ex.next_open
        assert [leg.status for leg in ex.order(answer.id).legs] == ["canceled", "canceled"]
        position = ex.positions()[0]
        assert (position.qty, position.avg_entry_price, position.price) == (D(22), D(50), D("50.00"))
        assert ex.account().equity == D("100000.00")
        play(ex)
        assert len(ex.fills()) == 1

    def test_three_for_two_pays_the_odd_half_in_cash(self) -> None:
        bars = daily_bars({"AAA": [FLAT, FLAT, (66.67, 66.67, 66.67, 66.67, 1e6)]}, split={"AAA": [1.0, 1.0, 1.5]})
        ex = exchange(bars)
        ex.submit(buy(qty=11))
        until(ex, "session_close")
        ex.advance()
        assert ex.positions()[0].qty == D(16)
        assert ex.cash_account.cash_in_lieu == (D("0.5") * D("66.6667")).quantize(D("0.01"))

    def test_one_for_three_keeps_whole_thirds_whole(self) -> None:
        bars = daily_bars({"AAA": [FLAT, FLAT, (300.0, 300.0, 300.0, 300.0, 1e6)]}, split={"AAA": [1.0, 1.0, 1 / 3]})
        ex = exchange(bars)
        ex.submit(buy(qty=300))
        until(ex, "session_close")
        ex.advance()
        assert ex.positions()[0].qty == D(100)
        assert ex.cash_account.cash_in_lieu == 0

    def test_a_dividend_is_paid_on_the_shares_held_into_the_ex_date(self) -> None:
        bars = daily_bars({"AAA": [FLAT, FLAT, FLAT]}, dividend={"AAA": [0.0, 0.0, 0.25]})
        ex = exchange(bars)
        ex.submit(buy(qty=10))
        play(ex)
        assert ex.account().cash == D(100_000) - D(1000) + D("2.50")


def test_fees_on_a_sale_by_hand() -> None:
    """SEC 0.0000278 x 10,000 = 0.278 -> 0.28; TAF 0.000166 x 100 = 0.0166 -> 0.02."""
    ex = world((100.0, 101.0, 99.0, 100.0, 1e6), FLAT, profile=replace(PLAIN, fees=US_FEES))
    ex.submit(buy(qty=100))
    until(ex, "session_close")
    ex.close_position("AAA")
    play(ex)
    assert ex.account().fees_paid == D("0.30")
    assert ex.account().cash == D(100_000) - D("0.30")


class TestIntraday:
    def test_nothing_trades_on_the_close_it_was_decided_on(self) -> None:
        bars = intraday_bars(
            "AAA", [(100.0, 100.0, 100.0, 100.0, 1e5), (100.0, 101.0, 99.0, 100.5, 1e5), (103.0, 104.0, 102.0, 103.0, 1e5)]
        )
        ex = Exchange(BarTape(bars, "5Min"), ExchangeConfig(profile=PLAIN))
        known = 0
        while known < 2:
            step = ex.advance()
            assert step is not None
            known += len(step.bars)
        assert ex.prices()["AAA"] == D("100.50")
        ex.submit(buy())
        assert trades(ex) == []
        ex.advance()
        assert trades(ex) == [("buy", "10", "103.00")]
        assert ex.now == step.at  # the open of the next bar is the same instant as the close of the last

    def test_the_session_ends_at_the_calendar_close_though_the_bars_end_before(self) -> None:
        bars = intraday_bars("AAA", [(100.0, 100.0, 100.0, 100.0, 1e5)])
        ex = Exchange(BarTape(bars, "5Min"), ExchangeConfig(profile=PLAIN))
        kinds = []
        while (step := ex.advance()) is not None:
            kinds.append(step.kind)
        assert kinds == ["session_open", "path", "path", "path", "session_close"]
        assert ex.now == ex.tape.sessions[0].close


def test_listing_orders_as_alpaca_does() -> None:
    ex = world((100.0, 101.0, 99.0, 100.0, 1e6))
    entry = ex.submit(bracket())
    limit = ex.submit(buy(type="limit", limit_price=D(90), time_in_force="gtc"))
    assert {order.id for order in ex.orders()} == {entry.id, limit.id, *(leg.id for leg in entry.legs)}
    assert [order.id for order in ex.orders(OrderQuery(nested=True))] == [limit.id, entry.id]
    until(ex, "session_close")
    nested = ex.orders(OrderQuery(nested=True, direction="asc"))
    assert [(order.id, order.status) for order in nested] == [(entry.id, "filled"), (limit.id, "new")]  # its legs are open, so it is listed
    assert [order.id for order in ex.orders(OrderQuery(status="closed"))] == [entry.id]
    assert [order.id for order in ex.orders(OrderQuery(limit=1))] == [limit.id]


@pytest.mark.parametrize("start", [pd.Timestamp("2024-03-05 15:00", tz="UTC"), pd.Timestamp("2024-03-05 15:00")])
def test_a_bad_start_is_refused(start: pd.Timestamp) -> None:
    tape = BarTape(daily_bars({"AAA": [FLAT] * 3}), "1Day")
    with pytest.raises(ValueError, match=r"expected a(n aware)? start"):
        Exchange(tape, ExchangeConfig(start=start))


def test_nothing_to_play_is_said() -> None:
    tape = BarTape(daily_bars({"AAA": [FLAT] * 3}), "1Day")
    with pytest.raises(ValueError, match="nothing to play"):
        Exchange(tape, ExchangeConfig(start=tape.sessions[-1].close))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda bars: bars.drop(columns="close"), "columns"),
        (lambda bars: bars.iloc[:0], "at least one bar"),
        (lambda bars: bars.reset_index(level=0, drop=True), "index"),
        (lambda bars: bars.tz_localize(None, level=1), "aware"),
    ],
)
def test_a_bad_tape_is_refused(change: object, text: str) -> None:
    bars = daily_bars({"AAA": [FLAT]})
    with pytest.raises(ValueError, match=text):
        BarTape(change(bars), "1Day")  # type: ignore[operator]


def test_duplicate_intents_are_counted() -> None:
    ex = world((100.0, 101.0, 99.0, 100.0, 1e6))
    ex.submit(bracket(client_order_id="one"))
    ex.submit(bracket(client_order_id="two"))
    assert ex.ledger.duplicate_intents == [("one", "two")]


def test_equity_history_is_kept_by_session() -> None:
    ex = world((100.0, 101.0, 99.0, 101.0, 1e6), (101.0, 103.0, 99.0, 102.0, 1e6))
    ex.submit(buy(qty=100))
    play(ex)
    assert [equity for _, _, equity in ex.equity_history] == [Decimal("100100.00"), Decimal("100200.00")]
