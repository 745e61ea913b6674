"""Days played by hand: what fills, when, at which price, and what the account says afterwards."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from venue_world import FLAT, PLAIN, D, bracket, buy, daily_bars, events, exchange, intraday_bars, play, sell, trades, until

from alphatrade_pipelines.venue import PESSIMISTIC, BarTape, Exchange, ExchangeConfig, OrderQuery


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
