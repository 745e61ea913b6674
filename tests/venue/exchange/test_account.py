"""Money: margins, fees, dividends, splits, restrictions, and what an account may not do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from venue_world import FLAT, PLAIN, D, Row, bracket, buy, daily_bars, exchange, play, sell, until

from alphatrade_pipelines.venue import Exchange, Fidelity, VenueError
from alphatrade_pipelines.venue.exchange.margin import maintenance_of
from alphatrade_pipelines.venue.exchange.profiles import US_FEES


def world(*rows: Row, **config: Any) -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT, *rows]}), **config)


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


class TestMargins:
    @pytest.mark.parametrize(
        ("qty", "price", "margin"),
        [
            (10, "100", "300"),  # long: 30 %
            (10, "2.50", "7.50"),
            (10, "2.49", "24.90"),  # below $2.50: all of it
            (-10, "100", "300"),  # short: the larger of 30 % and $5 a share
            (-10, "10", "50"),
            (-10, "5", "50"),
            (-10, "4", "40"),  # below $5: the larger of all of it and $2.50 a share
            (-10, "2", "25"),
        ],
    )
    def test_maintenance_by_hand(self, qty: int, price: str, margin: str) -> None:
        assert maintenance_of(D(qty), D(price)) == D(margin)

    def test_the_account_shows_them(self) -> None:
        """300 shares at 100 in an account of $20,000: exposure 30,000, margins 15,000 and 9,000; 4 x and 2 x equity less the exposure."""
        ex = world(FLAT, FLAT, cash=D(20_000))
        ex.submit(buy(qty=300))
        until(ex, "session_open")
        ex.submit(buy(qty=10, type="limit", limit_price=D(90)))
        seen = ex.account()
        assert (seen.initial_margin, seen.maintenance_margin, seen.last_maintenance_margin) == (D(15_000), D(9_000), D(0))
        assert (seen.buying_power, seen.regt_buying_power) == (D(80_000 - 30_000 - 900), D(40_000 - 30_000 - 900))
        assert (seen.cash, seen.non_marginable_buying_power) == (D(-10_000), D(0))
        assert (seen.sma, seen.shorting_enabled, seen.day_trades) == (D(5_000), True, 0)
        until(ex, "session_close")
        assert ex.account().last_maintenance_margin == D(9_000)

    def test_the_credit_line_rises_with_the_close_and_never_falls_by_price(self) -> None:
        """SMA: 20,000 - 15,000 = 5,000; at 120 equity 26,000 exceeds the margin of 18,000 by 8,000; back at 100 it stays."""
        ex = world(FLAT, (100.0, 120.0, 100.0, 120.0, 1e6), FLAT, cash=D(20_000))
        ex.submit(buy(qty=300))
        until(ex, "session_close")
        assert ex.account().sma == D(5_000)
        until(ex, "session_close")
        assert ex.account().sma == D(8_000)
        until(ex, "session_close")
        assert ex.account().sma == D(8_000)

    def test_a_cash_account_has_no_leverage(self) -> None:
        seen = world(FLAT, cash=D(5_000), multiplier=D(1)).account()
        assert (seen.buying_power, seen.regt_buying_power, seen.shorting_enabled) == (D(5_000), D(5_000), False)

    def test_over_six_times_equity_only_closing_orders_are_taken(self) -> None:
        """40,000 dollars of stock on 10,000 of equity; a fall of 20 % leaves 2,000 of equity under 32,000 of stock."""
        ex = world(FLAT, (80.0, 80.0, 80.0, 80.0, 1e6), FLAT, cash=D(10_000))
        ex.submit(buy(qty=400))
        until(ex, "session_close")
        until(ex, "session_open")
        with pytest.raises(VenueError, match="account is restricted to liquidation") as caught:
            ex.submit(buy(qty=1))
        assert (caught.value.http_status, caught.value.code) == (403, 40310000)
        ex.close_position("AAA", D(100))
        assert ex.positions()[0].qty == D(300)

    def test_value_at_the_last_price_when_closed_and_at_the_ask_in_the_session(self) -> None:
        wide = replace(PLAIN, half_spread_bps=100.0)
        ex = world((100.0, 100.0, 100.0, 100.0, 0.0), profile=wide, cash=D(1000), multiplier=D(1))
        ex.submit(buy(qty=10))  # 10 x 100, the market is closed
        ex.cancel(ex.orders()[0].id)
        until(ex, "session_open")
        with pytest.raises(VenueError, match="insufficient buying power") as caught:
            ex.submit(buy(qty=10))  # 10 x 101
        assert caught.value.extra == {"buying_power": "1000.00", "cost_basis": "1010.00"}


class TestMarginCall:
    """30,000 dollars of stock on 10,000 of equity, required 9,000; at 90 the equity is 7,000 and the requirement 8,100."""

    CHEAPER: Row = (90.0, 90.0, 90.0, 90.0, 1e6)

    def after(self, days: int, **fidelity: Any) -> Exchange:
        ex = world(FLAT, *[self.CHEAPER] * 8, cash=D(10_000), fidelity=Fidelity(**fidelity))
        ex.submit(buy(qty=300))
        for _ in range(days + 1):
            until(ex, "session_close")
        return ex

    def test_a_deficit_unmet_for_five_sessions_freezes_the_account(self) -> None:
        assert self.after(0).account().margin_call == 0
        called = self.after(5)
        assert called.account().margin_call == D(1_100)
        assert not called.account().restrictions.closing_only
        frozen = self.after(6)
        assert frozen.account().restrictions.closing_only
        with pytest.raises(VenueError, match="account is restricted to liquidation"):
            frozen.submit(buy(qty=1))
        frozen.close_position("AAA", D(100))
        assert not self.after(6, margin_calls=False).account().restrictions.closing_only

    def test_meeting_the_call_ends_it(self) -> None:
        ex = self.after(3)
        ex.close_position("AAA", D(100))
        until(ex, "session_close")
        assert ex.account().margin_call == 0


class TestPatternDayTrader:
    def days(self, count: int, **config: Any) -> Exchange:
        """An account of $20,000 after ``count`` day trades, holding ten shares bought today."""
        ex = exchange(daily_bars({"AAA": [FLAT] * 12}), cash=D(20_000), **config)
        for number in range(count + 1):
            until(ex, "session_open")
            ex.submit(buy())
            if number < count:
                ex.close_position("AAA")
        return ex

    def test_it_is_gone(self) -> None:
        ex = self.days(4)
        ex.close_position("AAA")
        assert ex.account().day_trades == 5

    def test_as_a_legacy_switch_the_fourth_in_five_days_is_refused(self) -> None:
        ex = self.days(3, fidelity=Fidelity(pattern_day_trader=True))
        with pytest.raises(VenueError, match="trade denied due to pattern day trading protection") as caught:
            ex.close_position("AAA")
        assert (caught.value.http_status, caught.value.code) == (403, 40310100)
        until(ex, "session_open")
        ex.close_position("AAA")  # not a day trade any more
        assert ex.positions() == []

    def test_a_rich_account_is_exempt_and_old_trades_are_forgotten(self) -> None:
        rich = exchange(daily_bars({"AAA": [FLAT] * 6}), cash=D(30_000), fidelity=Fidelity(pattern_day_trader=True))
        until(rich, "session_open")
        for _ in range(5):
            rich.submit(buy())
            rich.close_position("AAA")
        ex = self.days(3, fidelity=Fidelity(pattern_day_trader=True))
        for _ in range(5):
            until(ex, "session_open")
        ex.submit(buy())
        ex.close_position("AAA")
        assert ex.account().day_trades == 1


class TestSplitsOfFractions:
    def test_a_third_of_a_fraction_keeps_nine_decimals(self) -> None:
        bars = daily_bars({"AAA": [FLAT, FLAT, (300.0, 300.0, 300.0, 300.0, 1e6)]}, split={"AAA": [1.0, 1.0, 1 / 3]})
        ex = exchange(bars)
        ex.submit(buy(qty="1.000000001"))
        until(ex, "session_close")
        ex.advance()
        assert ex.positions()[0].qty == D("0.333333333")
        assert ex.account().equity + D("0.01") >= D(100_000)

    def test_a_short_pays_the_dividend_and_splits_too(self) -> None:
        bars = daily_bars(
            {"AAA": [FLAT, FLAT, (50.0, 50.0, 50.0, 50.0, 1e6)]}, split={"AAA": [1.0, 1.0, 2.0]}, dividend={"AAA": [0.0, 0.0, 0.5]}
        )
        ex = exchange(bars)
        ex.submit(sell(qty=10))
        play(ex)
        assert (ex.positions()[0].qty, ex.account().cash) == (D(-20), D(100_000) + D(1000) - D(5))


def test_a_duplicate_id_has_the_status_of_the_switch() -> None:
    for status in (422, 409):
        ex = world(FLAT, fidelity=Fidelity(duplicate_client_id_status=status))
        ex.submit(buy(client_order_id="once"))
        ex.cancel(ex.order_by_client_id("once").id)
        with pytest.raises(VenueError, match="client_order_id must be unique") as caught:
            ex.submit(buy(client_order_id="once"))  # unique for ever, also after the cancel
        assert (caught.value.http_status, caught.value.code) == (status, 40010001)


def test_a_bracket_held_shares_and_reserve_are_released_step_by_step() -> None:
    ex = world((100.0, 101.0, 99.0, 100.0, 1e6), (100.0, 112.0, 99.0, 111.0, 1e6), cash=D(10_000), multiplier=D(1))
    ex.submit(bracket(type="limit", limit_price=D(100)))
    assert ex.book.claims.reserved == D(1000)
    until(ex, "session_close")
    assert (ex.book.claims.reserved, ex.book.claims.held("AAA", D(10)), ex.positions()[0].available) == (0, 10, 0)
    play(ex)
    assert (ex.book.claims.reserved, ex.book.claims.held("AAA", D(10))) == (0, 0)
