"""Money: margins, fees, dividends, splits, restrictions, and what an account may not do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from venue_world import PLAIN, D, Row, bracket, buy, daily_bars, exchange, play, until

from alphatrade_pipelines.venue import Exchange
from alphatrade_pipelines.venue.exchange.profiles import US_FEES

FLAT: Row = (100.0, 100.0, 100.0, 100.0, 1e6)


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
