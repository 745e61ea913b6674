"""F12 to F22, F24, F26 to F28: what really happens at the exchange, or is seen of it, with the shipped scenarios."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import CorporateActionsRequest
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import GetCalendarRequest, GetOrdersRequest, LimitOrderRequest, MarketOrderRequest, ReplaceOrderRequest
from fault_world import RawStream, Venue, venue
from served_world import SdkStreams, refused, wait_for
from venue_world import FLAT, PLAIN, daily_bars, exchange, until

from alphatrade_pipelines.market import SessionCalendar
from alphatrade_pipelines.venue import BarTape, Exchange, ExchangeConfig
from alphatrade_pipelines.venue.faults import tape_faults

FALL = (100.0, 101.0, 90.0, 92.0, 1e6)  # through a stop at 95
SWING = (100.0, 112.0, 90.0, 100.0, 1e6)  # through a stop at 95 and a target at 110


def days(*rows: tuple[float, float, float, float, float], symbol: str = "AAA") -> Exchange:
    """One session behind, then these."""
    return exchange(daily_bars({symbol: [FLAT, *rows]}))


def events(stream: RawStream, name: str | None = None) -> list[str]:
    """Events of the updates received, of one client order id or all."""
    return [update["event"] for update in stream.messages if name in (None, update["order"]["client_order_id"])]


def sell(v: Venue, name: str, qty: int = 10) -> Any:
    return v.trading.submit_order(
        MarketOrderRequest(symbol="AAA", qty=qty, side=OrderSide.SELL, time_in_force=TimeInForce.DAY, client_order_id=name)
    )


def legs(v: Venue, name: str) -> list[tuple[str, str]]:
    return [(leg.type.value, leg.status.value) for leg in v.order(name).legs or []]


def test_f12_an_entry_fills_in_part_and_its_legs_die_with_the_rest() -> None:
    with venue(days(FLAT, FLAT), "f12") as v, RawStream(v) as stream:
        v.bracket("entry", qty=100)
        v.until("session_open")
        order = v.order("entry")
        assert order.status.value == "canceled"
        filled = int(order.filled_qty or 0)
        assert 0 < filled < 100
        assert v.positions() == {"AAA": str(filled)}
        assert legs(v, "entry") == [("limit", "canceled"), ("stop", "canceled")]
        wait_for(lambda: events(stream, "entry")[-1:] == ["canceled"])
        assert events(stream, "entry") == ["accepted", "new", "partial_fill", "canceled"]
        v.until("session_close")
        assert v.ledger()["unprotected_seconds"]["AAA"] == pytest.approx(6.5 * 3600)
        v.bracket("second", qty=100)
        v.until("session_open")
        assert v.order("second").filled_qty == "100"  # once only


def test_f13_the_stop_leg_fills_under_a_new_id_and_its_sibling_ends_replaced() -> None:
    with venue(days(FLAT, FALL), "f13") as v, RawStream(v) as stream:
        v.bracket("entry")
        v.until("session_close")
        profit, stop = v.order("entry").legs or []
        v.until("session_close")
        assert v.positions() == {}
        old = v.trading.get_order_by_id(stop.id)
        assert (old.status.value, old.filled_qty) == ("replaced", "0")
        new = v.trading.get_order_by_id(str(old.replaced_by))
        assert (new.status.value, new.filled_qty, str(new.replaces)) == ("filled", "10", str(stop.id))
        assert v.trading.get_order_by_id(profit.id).status.value == "replaced"
        wait_for(lambda: events(stream)[-1:] == ["fill"])
        assert "canceled" not in events(stream)


def test_f13_when_the_target_fills_the_end_of_the_stop_is_not_streamed() -> None:
    with venue(days(FLAT, (100.0, 112.0, 99.0, 111.0, 1e6)), "f13") as v, RawStream(v) as stream:
        v.bracket("entry")
        v.until("session_close")
        v.until("session_close")
        assert legs(v, "entry") == [("limit", "filled"), ("stop", "canceled")]
        wait_for(lambda: events(stream).count("fill") == 2)
        assert "canceled" not in events(stream)


def test_f14_both_legs_fill_and_the_position_flips() -> None:
    with venue(days(FLAT, SWING), "f14") as v:
        v.bracket("entry")
        v.until("session_close")
        v.until("session_close")
        assert v.positions() == {"AAA": "-10"}
        ledger = v.ledger()
        assert [fill["side"] for fill in ledger["executions"]] == ["buy", "sell", "sell"]
        assert ledger["account"]["short_market_value"] == "-1000"


def test_f15_the_legs_go_at_the_close_and_gtc_ages_out_in_a_day() -> None:
    with venue(days(FLAT, FLAT, FLAT, FLAT), "f15") as v:
        v.bracket("entry")
        v.until("session_open")
        assert legs(v, "entry") == [("limit", "new"), ("stop", "held")]
        v.until("session_close")
        assert legs(v, "entry") == [("limit", "canceled"), ("stop", "canceled")]
        v.until("session_open")
        v.trading.submit_order(
            LimitOrderRequest(symbol="AAA", qty=1, side="buy", time_in_force="gtc", limit_price=50, client_order_id="short lived")
        )
        assert v.order("short lived").status.value == "new"
        v.until("session_close")
        v.until("session_open")
        v.until("session_close")
        v.step()
        assert v.order("short lived").status.value == "canceled"
        assert v.ledger()["unprotected_seconds"]["AAA"] > 6 * 3600


def test_f16_an_exit_meets_a_foreign_resting_order_until_it_is_cancelled() -> None:
    with venue(days(FLAT, FLAT), "f16") as v:
        v.buy("mine")
        v.until("session_open")
        v.step()
        with pytest.raises(APIError) as caught:
            sell(v, "exit")
        assert (caught.value.status_code, caught.value.code) == (403, 40310000)
        assert "potential wash trade detected" in str(caught.value)
        (foreign,) = v.trading.get_orders()
        assert str(foreign.id) in str(caught.value)
        assert foreign.side.value == "buy"
        v.trading.cancel_order_by_id(foreign.id)
        sell(v, "exit again")
        assert v.positions() == {}


def test_f17_shares_are_held_until_the_cancel_is_confirmed() -> None:
    with venue(days(FLAT, FLAT), "f17") as v, RawStream(v) as stream:
        v.bracket("entry")
        v.until("session_open")
        profit = (v.order("entry").legs or [])[0]
        v.trading.cancel_order_by_id(profit.id)
        assert v.trading.get_order_by_id(profit.id).status.value == "pending_cancel"
        status, code, message = refused(lambda: sell(v, "too early"))
        assert (status, code) == (403, 40310000)
        assert message == "insufficient qty available for order (requested: 10, available: 0)"
        v.step()  # two hours later
        wait_for(lambda: "canceled" in events(stream))
        sell(v, "in time")
        assert v.positions() == {}


def test_f18_an_order_fills_while_its_cancel_is_pending() -> None:
    with venue(days((100.0, 100.0, 90.0, 95.0, 1e6), FLAT), "f18") as v, RawStream(v) as stream:
        v.until("session_open")
        v.buy("racing", limit=95)
        v.trading.cancel_order_by_id(v.order("racing").id)
        v.until("session_close")
        order = v.order("racing")
        assert (order.status.value, order.filled_qty) == ("filled", "10")
        wait_for(lambda: "fill" in events(stream))
        assert events(stream, "racing") == ["pending_new", "new", "pending_cancel", "fill"]


def test_f19_a_replacement_is_answered_200_and_rejected_because_the_old_order_fills() -> None:
    with venue(days((100.0, 100.0, 90.0, 95.0, 1e6), FLAT, FLAT), "f19") as v, RawStream(v) as stream:
        v.until("session_open")
        old = v.buy("old", limit=95)
        new = v.trading.replace_order_by_id(old.id, ReplaceOrderRequest(limit_price=94, client_order_id="new"))
        assert str(new.replaces) == str(old.id)
        assert v.order("old").status.value == "pending_replace"
        v.until("session_close")
        assert (v.order("old").status.value, v.order("old").filled_qty) == ("filled", "10")
        v.until("session_close")
        assert (v.order("new").status.value, v.order("new").filled_qty) == ("rejected", "0")
        assert v.positions() == {"AAA": "10"}
        wait_for(lambda: "rejected" in events(stream, "new"))


def test_f20_an_accepted_order_is_rejected_without_a_reason() -> None:
    with venue(days(FLAT, FLAT), "f20") as v, RawStream(v) as stream:
        power = v.trading.get_account().buying_power
        assert v.buy("doomed", limit=50).status.value == "accepted"
        wait_for(lambda: "rejected" in events(stream))
        assert v.order("doomed").status.value == "rejected"
        assert v.trading.get_account().buying_power == power
        rejected = [update for update in stream.messages if update["event"] == "rejected"]
        assert not [key for key in rejected[0] if "reason" in key]
        v.buy("fine", limit=50)
        v.until("session_open")
        assert v.order("fine").status.value == "new"


def test_f21_a_halt_freezes_an_open_stop_and_reopens_below_it() -> None:
    with venue(days(FLAT, FALL, FLAT), "f21") as v, RawStream(v, "/v2/iex", statuses=["*"]) as data:
        v.bracket("entry")
        v.until("session_close")  # the halt of the first session fell between its points
        wait_for(lambda: len([m for m in data.messages if m["T"] == "s"]) == 2)
        data.frames.clear()
        v.until("session_open")
        v.admin("POST", "faults", {"kind": "halt", "symbol": "AAA", "for_seconds": 5 * 3600})
        v.step()
        v.step()
        assert v.positions() == {"AAA": "10"}  # the low of the day went by in the halt
        v.buy("during the halt")
        assert v.order("during the halt").filled_qty == "0"
        v.until("session_close")
        wait_for(lambda: len([m for m in data.messages if m["T"] == "s"]) >= 2)
        statuses = [(m["sc"], m["rc"]) for m in data.messages if m["T"] == "s"]
        assert statuses[0] == ("H", "T1")
        assert statuses[-1][0] == "T"
        stop = [fill for fill in v.ledger()["executions"] if fill["side"] == "sell"]
        assert len(stop) == 1
        assert float(stop[0]["price"]) < 95  # through the stop, not at it
        assert [order["request"]["client_order_id"] for order in v.ledger()["orders_while_halted"]] == ["during the halt"]


def test_f21_as_shipped_half_an_hour_after_the_open() -> None:
    with venue(days(FLAT, FLAT), "f21") as v, RawStream(v, "/v2/iex", statuses=["*"]) as data:
        v.until("session_open")
        v.until("session_close")
        wait_for(lambda: len(data.messages) == 2)
        halt, resumption = data.messages
        assert (halt["t"], halt["sc"], halt["rm"]) == ("2024-03-05T15:00:00Z", "H", "Halt - News Pending")
        assert resumption["t"] == "2024-03-05T17:00:00Z"
        assert v.admin("GET", "faults")["faults"][0]["struck_at"] == ["2024-03-05T15:00:00Z"]


def test_f22_views_show_the_state_of_a_while_ago() -> None:
    with venue(days(FLAT, FLAT), "f22") as v, SdkStreams(v) as streams:
        v.until("session_open")
        cash = v.trading.get_account().cash
        v.send(client_order_id="filled already")
        wait_for(lambda: streams.events[-1:] == ["fill"])
        assert v.positions() == {}
        assert v.trading.get_account().cash == cash
        assert v.trading.get_orders(GetOrdersRequest(status="all")) == []
        assert refused(lambda: v.order("filled already"))[0] == 404
        assert v.ledger()["positions"][0]["qty"] == "10"
        v.step()  # more than two seconds later
        assert v.positions() == {"AAA": "10"}
        assert float(v.trading.get_account().cash) == float(cash) - 1000
        assert v.order("filled already").status.value == "filled"


def test_f24_split_overnight_then_untradable_and_renamed() -> None:
    with venue(days(FLAT, FLAT, FLAT, FLAT), "f24") as v:
        v.buy("held")
        v.until("session_close")
        actions = CorporateActionsClient("sim", "sim", url_override=v.url)
        year = CorporateActionsRequest(start=date(2024, 1, 1), end=date(2024, 12, 31))
        split = actions.get_corporate_actions(year).data["forward_splits"][0]
        assert (split.symbol, split.new_rate, split.old_rate, split.ex_date) == ("AAA", 2.0, 1.0, date(2024, 3, 6))
        assert v.positions() == {"AAA": "10"}
        assert v.step()["kind"] == "pre_open"
        assert v.positions() == {"AAA": "20"}
        v.until("session_close")
        assert v.exchange.prices()["AAA"] == 50
        v.step()
        renamed = actions.get_corporate_actions(year).data["name_changes"][0]
        assert (renamed.old_symbol, renamed.new_symbol, renamed.process_date) == ("AAA", "NEWCO", date(2024, 3, 7))
        asset = v.trading.get_asset("AAA")
        assert (asset.tradable, asset.shortable, asset.easy_to_borrow) == (False, False, False)
        assert refused(lambda: v.buy("too late"))[0] == 422


def test_f26_the_slot_is_taken_and_foreign_orders_and_trades_appear() -> None:
    with venue(days(FLAT, FLAT), "f26") as v:
        with RawStream(v) as trading, RawStream(v, "/v2/iex", bars=["*"]) as data:
            wait_for(lambda: trading.closed is not None and data.closed is not None)
            assert "connection limit exceeded" in "".join(trading.frames)
            assert '"code":406' in "".join(data.frames)
        v.until("session_open")
        v.step()
        (foreign,) = v.trading.get_orders()
        ledger = v.ledger()
        assert ledger["orders"] == []  # nobody of ours sent it
        assert (foreign.side.value, foreign.limit_price) == ("buy", "1")
        assert v.positions() == {"AAA": "5"}
        assert [(trade["symbol"], trade["qty"]) for trade in ledger["outside_trades"]] == [("AAA", "5")]


def test_f27_the_clock_is_off_and_the_session_closes_at_one() -> None:
    with venue(days(FLAT, FLAT), "f27") as v:
        clock = v.trading.get_clock()
        assert clock.timestamp - v.exchange.now == timedelta(seconds=300)
        assert clock.next_close.isoformat() == "2024-03-05T13:00:00-05:00"
        (first, second) = v.trading.get_calendar(GetCalendarRequest(start=date(2024, 3, 5), end=date(2024, 3, 6)))
        assert (first.close.strftime("%H:%M"), second.close.strftime("%H:%M")) == ("13:00", "16:00")
        v.buy("day order", limit=50)
        closed = v.until("session_close")
        assert closed["at"] == "2024-03-05T18:00:00Z"
        assert v.order("day order").status.value == "expired"
        assert v.until("session_close")["at"] == "2024-03-06T21:00:00Z"


def test_f27_daylight_saving_is_in_the_tape() -> None:
    ex = exchange(daily_bars({"AAA": [FLAT] * 4}, first="2024-03-07"))
    with venue(ex) as v:
        v.until("session_open")
        assert v.trading.get_clock().timestamp.isoformat() == "2024-03-08T09:30:00-05:00"
        v.until("session_open")
        assert v.trading.get_clock().timestamp.isoformat() == "2024-03-11T09:30:00-04:00"


def test_f28_trading_is_blocked_for_an_hour_of_the_session() -> None:
    with venue(days(FLAT, FLAT), "f28") as v:
        v.until("session_open")
        assert v.buy("before").status.value == "pending_new"
        v.exchange.tick(v.exchange.now + timedelta(minutes=15))
        assert v.trading.get_account().trading_blocked is True
        assert refused(lambda: v.buy("blocked"))[0] == 403
        assert refused(lambda: sell(v, "exit too"))[0] == 403
        v.step()  # more than an hour later
        assert v.trading.get_account().trading_blocked is False
        assert v.buy("after").status.value == "pending_new"
        assert [refusal["count"] for refusal in v.ledger()["refusals"]] == [2]


def half_hours() -> Exchange:
    """Three days of 30-minute bars with extended hours; the first lies behind."""
    rows = []
    for day in ("2024-03-04", "2024-03-05", "2024-03-06"):
        opens = SessionCalendar().sessions(day, day)["open"].iloc[0]
        rows += [("AAA", opens + pd.Timedelta(minutes=30 * n), 100.0, 101.0, 99.0, 100.0, 1000.0) for n in range(-4, 17)]
    frame = pd.DataFrame(rows, columns=["symbol", "timestamp", "open", "high", "low", "close", "volume"]).set_index(["symbol", "timestamp"])
    tape = BarTape(frame, "30Min", extended_hours=True)
    return Exchange(tape, ExchangeConfig(start=tape.sessions[0].close + timedelta(hours=6), profile=PLAIN))


def test_days_to_come_change_on_intraday_tapes_with_extended_hours_too() -> None:
    ex = half_hours()
    tape_faults.early_close(ex, "13:00")
    until(ex, "session_open")
    tape_faults.split(ex, "AAA", 4.0)  # armed as the session opens: it is the next morning that splits
    seen = [(step.kind, step.at.strftime("%d %H:%M"), ex.prices()["AAA"]) for step in iter(ex.advance, None) if step.kind != "path"]
    regular = [entry for entry in seen if entry[0] in ("session_close", "pre_open", "session_open")]
    assert regular == [
        ("session_close", "05 18:00", 100),
        ("pre_open", "06 08:30", 25),
        ("session_open", "06 14:30", 25),
        ("session_close", "06 21:00", 25),
    ]
    after_hours = [at for kind, at, _ in seen if kind == "after_hours" and at.startswith("05")]
    assert (after_hours[0], after_hours[-1]) == ("05 18:00", "05 22:00")  # the bars between 13:00 and 17:00 now lie after the close
