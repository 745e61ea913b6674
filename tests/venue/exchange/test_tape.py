"""The tape: points in order, extended hours, half days, and what the exchange prints on its way along them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from venue_world import PLAIN, D, Row, buy, daily_bars, exchange, intraday_bars, play, sell, trades, until

from alphatrade_pipelines.venue import PESSIMISTIC, BarTape, ExchangeConfig
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.quotes import Print

NEW_YORK = ZoneInfo("America/New_York")
QUIET: Row = (100.0, 100.5, 99.5, 100.0, 60_000.0)


def bars_at(rows: dict[str, Row], day: str = "2024-03-04") -> pd.DataFrame:
    """Bars of AAA that start at clock times of New York."""
    starts = pd.DatetimeIndex([pd.Timestamp(f"{day} {clock}", tz=NEW_YORK).tz_convert("UTC") for clock in rows])
    index = pd.MultiIndex.from_product([["AAA"], starts], names=["symbol", "timestamp"])
    return pd.DataFrame(list(rows.values()), index=index, columns=["open", "high", "low", "close", "volume"], dtype=float)


def day_and_night(day: str = "2024-03-04") -> pd.DataFrame:
    """Two bars before the open, two in the session, two after it, and two nobody trades."""
    clocks = ("03:55", "04:00", "09:25", "09:30", "15:55", "16:00", "19:55", "20:00")
    return bars_at(dict.fromkeys(clocks, QUIET), day)


def clock(at: datetime) -> str:
    return at.astimezone(NEW_YORK).strftime("%H:%M")


def test_bars_outside_regular_sessions_are_left_out_unless_asked_for() -> None:
    tape = BarTape(day_and_night(), "5Min")
    assert tape.ignored_bars == 6
    assert {point.kind for point in tape.points(0)} == {"session_open", "path", "session_close"}
    wide = BarTape(day_and_night(), "5Min", extended_hours=True)
    assert wide.ignored_bars == 2  # 3:55 and 20:00
    kinds = [(point.kind, clock(point.at)) for point in wide.points(0) if point.phase == 0]
    assert kinds == [
        ("pre_market", "04:00"),
        ("pre_market", "09:25"),
        ("session_open", "09:30"),
        ("path", "15:55"),
        ("after_hours", "16:00"),
        ("after_hours", "19:55"),
    ]
    times = [point.at for point in wide.points(0)]
    assert times == sorted(times)


def test_points_of_the_regular_session_are_the_same_with_and_without_extended_hours() -> None:
    plain, wide = (BarTape(day_and_night(), "5Min", extended_hours=extended) for extended in (False, True))
    regular = [point for point in wide.points(0, 7) if point.kind not in ("pre_market", "after_hours")]
    assert regular == list(plain.points(0, 7))


def test_lagged_statistics_of_the_session_do_not_see_thin_bars_before_it() -> None:
    rng = np.random.default_rng(1)
    rows: dict[str, Row] = {}
    for number in range(120):
        price = 100 + round(float(rng.normal()), 2)
        at = datetime(2024, 3, 4, 8) + timedelta(minutes=5 * number)
        volume = 50_000.0 if 9.5 <= at.hour + at.minute / 60 < 16 else 100.0
        rows[at.strftime("%H:%M")] = (price, price + 1, price - 1, price, volume)
    plain, wide = (BarTape(bars_at(rows), "5Min", extended_hours=extended).series["AAA"] for extended in (False, True))
    at = [wide.index[start] for start in plain.starts]
    assert [wide.volatility[position] for position in at] == plain.volatility
    assert [wide.average_volume[position] for position in at] == plain.average_volume
    assert wide.average_volume[wide.index[plain.starts[0]] - 1] == 100.0


def test_half_days_close_early_and_have_four_hours_after() -> None:
    day = "2024-11-29"
    bars = bars_at(dict.fromkeys(("12:55", "13:00", "16:55", "17:00"), QUIET), day)
    tape = BarTape(bars, "5Min", extended_hours=True)
    assert tape.ignored_bars == 1
    points = list(tape.points(0))
    assert [clock(point.at) for point in points if point.kind == "session_close"] == ["13:00"]
    assert [clock(point.at) for point in points if point.kind == "after_hours" and point.phase == 0] == ["13:00", "16:55"]


def test_a_bar_longer_than_what_is_left_of_the_session_ends_with_it() -> None:
    tape = BarTape(bars_at({"09:30": QUIET, "15:30": QUIET}), "1Hour")
    last = list(tape.points(0))[-1]
    assert (last.kind, clock(last.at), last.is_last) == ("session_close", "16:00", True)


def test_corporate_actions_come_before_the_first_print_of_the_day() -> None:
    bars = day_and_night()
    bars["dividend"] = [0.5 if stamp == bars.index[3][1] else 0.0 for stamp in bars.index.get_level_values(1)]
    for extended, at in ((False, "08:30"), (True, "03:30")):
        first = next(iter(BarTape(bars, "5Min", extended_hours=extended).points(0)))
        assert (first.kind, clock(first.at)) == ("pre_open", at)


def test_only_limit_orders_for_extended_hours_trade_outside_the_session() -> None:
    low: Row = (95.0, 95.5, 94.5, 95.0, 60_000.0)
    monday = bars_at(dict.fromkeys(("09:30", "15:55"), QUIET))
    rows = {"08:00": low, "09:30": QUIET, "15:55": QUIET, "16:00": low}
    tape = BarTape(pd.concat([monday, bars_at(rows, "2024-03-05")]), "5Min", extended_hours=True)
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[0].close + timedelta(hours=8), profile=PLAIN))
    ex.submit(buy(qty=3, type="limit", limit_price=D("96.00")))
    wide = ex.submit(buy(qty=2, type="limit", limit_price=D("96.00"), extended_hours=True))
    play(ex)
    assert trades(ex) == [("buy", "2", "95.00")]
    fill = ex.fills()[0]
    assert fill.order_id == wide.id
    assert clock(fill.at) == "08:00"


def test_stops_do_not_trigger_outside_the_session() -> None:
    low: Row = (90.0, 90.5, 89.5, 90.0, 60_000.0)
    rows = {"09:30": QUIET, "15:55": QUIET, "16:00": low}
    nights = pd.concat([bars_at(rows), bars_at({"08:00": low, "09:30": QUIET, "15:55": QUIET}, "2024-03-05")])
    ex = Exchange(BarTape(nights, "5Min", extended_hours=True), ExchangeConfig(profile=PLAIN))
    until(ex, "session_open")
    ex.submit(buy(qty=10))
    ex.submit(sell(qty=10, type="stop", stop_price=D("95.00"), time_in_force="gtc"))
    play(ex)
    assert trades(ex) == [("buy", "10", "100.00")]


# --- what is printed --------------------------------------------------------------------------------------------------------------------


def printed(ex: Exchange) -> list[Print]:
    found: list[Print] = []
    while ex.advance() is not None:
        found += ex.market.prints()
    return found


@pytest.mark.parametrize("points", [4, 31])
def test_prints_carry_the_volume_of_the_bar_and_a_quote_around_the_price(points: int) -> None:
    tape = BarTape(intraday_bars("AAA", [QUIET, (100.0, 101.0, 99.0, 100.5, 12_345.0)]), "5Min")
    ex = Exchange(tape, ExchangeConfig(profile="pessimistic", path_points=points))
    found = printed(ex)
    assert sum(one.size for one in found) == 60_000 + 12_345
    assert all(one.bid < one.price < one.ask for one in found)
    assert all(one.bid_size >= 100 and one.ask_size % 100 == 0 for one in found)
    assert all(one.at <= later.at for one, later in pairwise(found))
    assert found[0].conditions == ("@", "O")
    again = Exchange(tape, ExchangeConfig(profile="pessimistic", path_points=points))
    assert printed(again) == found


def test_the_last_print_of_a_session_and_prints_out_of_hours_are_marked() -> None:
    ex = Exchange(BarTape(day_and_night(), "5Min", extended_hours=True), ExchangeConfig(start=datetime(2024, 3, 4, 5, tzinfo=NEW_YORK)))
    found = printed(ex)
    assert {one.conditions for one in found if "09:30" < clock(one.at) < "15:59"} == {("@",)}
    assert [one.conditions for one in found if clock(one.at) == "09:30"][-1] == ("@", "O")
    assert {one.conditions for one in found if clock(one.at) > "16:00"} == {("@", "T")}


def test_the_spread_is_wider_at_the_open_and_out_of_hours() -> None:
    rows = dict.fromkeys(("08:00", "09:30", "12:00", "15:50"), QUIET)
    start = datetime(2024, 3, 4, 5, tzinfo=NEW_YORK)
    ex = Exchange(BarTape(bars_at(rows), "5Min", extended_hours=True), ExchangeConfig(start=start, profile=PESSIMISTIC))
    halves: dict[str, Decimal] = {}
    while (step := ex.advance()) is not None:
        halves.setdefault(clock(step.at), ex.market.half_spread(D(100), "AAA"))
    assert ex.market.half_spread(D(100)) == D("0.015")
    assert halves["08:00"] == D("0.06")
    assert halves["09:30"] == D("0.03")
    assert halves["12:00"] == D("0.015")


def test_a_halted_symbol_prints_nothing_and_comes_back_with_a_jump() -> None:
    rows = [QUIET, (100.0, 100.0, 90.0, 92.0, 1e6), (92.0, 92.5, 91.5, 92.0, 1e6), QUIET]
    ex = exchange(intraday_bars("AAA", rows), PLAIN, "5Min", skip=0)
    until(ex, "session_open")
    ex.submit(buy(qty=10))
    ex.submit(sell(qty=10, type="stop", stop_price=D("95.00")))
    while (step := ex.advance()) is not None and not step.bars:
        pass
    ex.levers.halt("AAA")
    quiet = [ex.advance() for _ in range(5)]  # the second bar, and the open of the third
    assert all(step is not None and not step.bars for step in quiet)
    assert ex.market.prints() == ()
    assert ex.prices()["AAA"] == D("100.00")
    ex.levers.resume("AAA")
    ex.advance()
    assert trades(ex) == [("buy", "10", "100.00"), ("sell", "10", "91.50")]
    assert ex.market.prints()[0].conditions == ("@", "O")


def test_a_market_that_is_dried_up_fills_less_and_prints_less() -> None:
    ex = exchange(daily_bars({"AAA": [QUIET, (100.0, 101.0, 99.0, 100.0, 10_000.0)]}), PLAIN)
    ex.levers.scale_volume("AAA", 0.01)
    ex.submit(buy(qty=900))
    assert sum(one.size for one in printed(ex)) == 100
    assert sum(fill.qty for fill in ex.fills()) == 100


def test_auction_orders_pay_the_auction_price_without_a_spread() -> None:
    profile = replace(PESSIMISTIC, rejection_probability=0.0, impact_coefficient=0.0)
    tape = BarTape(daily_bars({"AAA": [QUIET, (100.0, 103.0, 97.0, 101.5, 1e6)]}), "1Day")
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[0].close + timedelta(hours=8), profile=profile))
    for number, tif in enumerate(("opg", "cls", "day")):
        ex.submit(buy(qty=number + 1, time_in_force=tif))
    play(ex)
    assert sorted(trades(ex)) == [("buy", "1", "100.00"), ("buy", "2", "101.50"), ("buy", "3", "100.07")]


def test_fill_or_kill_takes_all_or_nothing() -> None:
    ex = exchange(daily_bars({"AAA": [QUIET, (100.0, 101.0, 99.0, 100.0, 10_000.0)]}), replace(PLAIN, participation=0.005))
    until(ex, "session_open")  # 20 shares may be had
    assert ex.order(ex.submit(buy(qty=21, time_in_force="fok")).id).status == "canceled"
    assert ex.order(ex.submit(buy(qty=20, time_in_force="fok")).id).status == "filled"


def test_a_trailing_stop_follows_the_path_and_is_elected_at_its_own_price() -> None:
    """Up to 110 first (the extreme nearer to the open): the stop rises to 105 and is met on the way down."""
    row: Row = (108.0, 110.0, 90.0, 100.0, 1e6)
    ex = exchange(daily_bars({"AAA": [QUIET, QUIET, row]}), replace(PLAIN, path="nearest_first"))
    ex.submit(buy(qty=10))
    until(ex, "session_open")
    ex.submit(sell(qty=10, type="trailing_stop", trail_price=D("5.00"), time_in_force="gtc"))
    play(ex)
    assert trades(ex)[-1] == ("sell", "10", "105.00")


def test_fractions_trade_whole_when_there_is_room() -> None:
    ex = exchange(daily_bars({"AAA": [QUIET, (100.0, 101.0, 99.0, 100.0, 10_000.0)]}), PLAIN)
    until(ex, "session_open")
    ex.submit(buy(qty="0.25"))
    ex.submit(buy(qty="2.5"))
    assert [fill.qty for fill in ex.fills()] == [D("0.25"), D("2.5")]
