"""Every order type with every time in force, class and size: taken or refused as Alpaca's tables say."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from venue_world import FLAT, D, buy, daily_bars, exchange, go_to, until

from alphatrade_pipelines.venue import Exchange, Fidelity, VenueError, VenueOrderRequest

TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
TIMES = ("day", "gtc", "ioc", "fok", "opg", "cls")
PRICES: dict[str, dict[str, Decimal]] = {
    "market": {},
    "limit": {"limit_price": D(90)},
    "stop": {"stop_price": D(105)},
    "stop_limit": {"stop_price": D(105), "limit_price": D(106)},
    "trailing_stop": {"trail_price": D(5)},
}
LEGS: dict[str, dict[str, Decimal]] = {
    "simple": {},
    "bracket": {"take_profit": D(110), "stop_loss": D(80)},
    "oto": {"stop_loss": D(80)},
}


def opened() -> Exchange:
    """In the session, 12:47 New York of a flat day, nothing held."""
    ex = exchange(daily_bars({"AAA": [FLAT] * 3}))
    until(ex, "path")
    return ex


def before_open() -> Exchange:
    """An hour and a half before the open."""
    ex = exchange(daily_bars({"AAA": [FLAT] * 3}))
    ex.tick(ex.next_open.replace(hour=13, minute=0))
    return ex


def verdict(ex: Exchange, request: VenueOrderRequest) -> str:
    try:
        ex.submit(request)
    except VenueError as error:
        return error.message if error.http_status == 422 else f"{error.http_status}: {error.message}"
    return "taken"


@pytest.mark.parametrize(("kind", "tif"), list(product(TYPES, TIMES)))
def test_whole_shares(kind: str, tif: str) -> None:
    """notes 3.3: DAY and GTC for every type; IOC, FOK, OPG and CLS for market and limit."""
    world = before_open() if tif == "opg" else opened()
    found = verdict(world, buy(type=kind, time_in_force=tif, **PRICES[kind]))
    if tif in ("day", "gtc") or kind in ("market", "limit"):
        assert found == "taken"
    else:
        assert found == f"{tif} orders must be simple market or limit orders"


@pytest.mark.parametrize(("kind", "tif", "size"), list(product(TYPES, TIMES, ("qty", "notional"))))
def test_fractions(kind: str, tif: str, size: str) -> None:
    given: dict[str, Any] = {"qty": D("1.5")} if size == "qty" else {"notional": D("150.25")}
    request = VenueOrderRequest("AAA", "buy", type=kind, time_in_force=tif, **given, **PRICES[kind])
    found = verdict(opened(), request)
    if tif != "day":
        assert found == "fractional orders must be DAY orders"
    elif kind == "trailing_stop":
        assert found == "fractional orders must be market, limit, stop or stop_limit orders"
    else:
        assert found == "taken"


@pytest.mark.parametrize(("kind", "tif", "order_class"), list(product(TYPES, TIMES, ("bracket", "oto"))))
def test_complex_orders(kind: str, tif: str, order_class: str) -> None:
    ex = before_open() if tif == "opg" else opened()
    request = buy(type=kind, time_in_force=tif, order_class=order_class, **PRICES[kind], **LEGS[order_class])
    found = verdict(ex, request)
    if tif not in ("day", "gtc"):
        assert found == f"{tif} orders must be simple market or limit orders"
    elif kind == "trailing_stop":
        assert found == "trailing stop orders must be simple orders"
    elif order_class == "bracket" and kind not in ("market", "limit"):
        assert found == "bracket orders must be market or limit orders"
    else:
        assert found == "taken"


@pytest.mark.parametrize(("kind", "tif", "order_class"), list(product(TYPES, TIMES, ("simple", "bracket"))))
def test_extended_hours(kind: str, tif: str, order_class: str) -> None:
    ex = before_open()
    request = buy(type=kind, time_in_force=tif, order_class=order_class, extended_hours=True, **PRICES[kind], **LEGS[order_class])
    found = verdict(ex, request)
    if (kind, tif, order_class) == ("limit", "day", "simple"):
        assert found == "taken"
    else:
        assert found != "taken"


@pytest.mark.parametrize(
    "request_", [buy(qty="1.5", order_class="bracket", **LEGS["bracket"]), buy(qty="1.5", order_class="oto", stop_loss=D(80))]
)
def test_fractions_are_simple(request_: VenueOrderRequest) -> None:
    assert verdict(opened(), request_) == "fractional orders must be simple orders"


@pytest.mark.parametrize(
    ("request_", "status", "code", "text"),
    [
        (VenueOrderRequest("AAA", "buy"), 422, 40010001, "qty is required"),
        (VenueOrderRequest("AAA", "buy", D(1), notional=D(10)), 400, 40010001, "only one of qty or notional is accepted"),
        (VenueOrderRequest("AAA", "buy", notional=D("10.005")), 422, 40010001, "notional value must be limited to 2 decimal places"),
        (VenueOrderRequest("AAA", "buy", notional=D(0)), 422, 40010001, "notional must be > 0"),
        (VenueOrderRequest("AAA", "buy", notional=D("0.99")), 403, 40310000, "cost basis must be >= minimal amount of order 1"),
        (VenueOrderRequest("AAA", "sell", notional=D(50)), 422, 42210000, "fractional orders cannot be sold short"),
        (buy(type="trailing_stop"), 422, 40010001, "trailing stop orders must specify one of trail_price or trail_percent"),
        (buy(type="trailing_stop", trail_price=D(1), trail_percent=D(1)), 422, 40010001, "must specify one of"),
        (buy(type="trailing_stop", trail_percent=D(100)), 422, 40010001, "trail_percent must be > 0 and < 100"),
        (buy(type="trailing_stop", trail_price=D("0.00001")), 422, 42210000, "invalid trail_price"),
        (buy(type="trailing_stop", trail_price=D(1), limit_price=D(90)), 422, 42210000, "must not have limit_price"),
        (buy(trail_price=D(1)), 422, 42210000, "market orders must not have trail_price or trail_percent"),
        (buy(position_intent="sell_to_close"), 422, 42210000, "position intent mismatch, inferred: buy_to_open, specified: sell_to_close"),
        (buy(position_intent="hold"), 422, 40010001, "invalid position_intent"),
        (buy(leg_time_in_force="ioc"), 422, 40010001, "of a leg"),
    ],
)
def test_other_refusals(request_: VenueOrderRequest, status: int, code: int, text: str) -> None:
    with pytest.raises(VenueError) as caught:
        opened().submit(request_)
    assert (caught.value.http_status, caught.value.code) == (status, code)
    assert text in caught.value.message


def test_special_times_in_force_are_a_switch() -> None:
    ex = opened()
    ex.fidelity = Fidelity(special_tif=False)
    assert verdict(ex, buy(time_in_force="ioc")) == "ioc orders are not enabled for this account"


@pytest.mark.parametrize(
    ("tif", "hour", "minute", "taken"),
    [
        ("opg", 9, 27, True),
        ("opg", 9, 28, False),
        ("opg", 18, 59, False),
        ("opg", 19, 0, True),
        ("cls", 9, 27, True),
        ("cls", 15, 49, True),
        ("cls", 15, 50, False),
        ("cls", 18, 59, False),
        ("cls", 19, 0, True),
    ],
)
def test_windows_of_the_auctions(tif: str, hour: int, minute: int, taken: bool) -> None:
    """Refused 9:28 to 19:00 (OPG) and 15:50 to 19:00 (CLS), New York; 2024-03-05 is on standard time."""
    ex = exchange(daily_bars({"AAA": [FLAT] * 4}))
    go_to(ex, ex.next_open.replace(hour=5, minute=0) + timedelta(hours=hour, minutes=minute))
    found = verdict(ex, buy(time_in_force=tif))
    assert (found == "taken") == taken, found
    if not taken:
        assert "are not accepted between" in found


def test_on_a_half_day_the_closing_auction_shuts_ten_minutes_before_one() -> None:
    ex = exchange(daily_bars({"AAA": [FLAT] * 3}, first="2024-07-02"))
    close = ex.next_close
    assert (close.hour, close.minute) == (17, 0)  # 13:00 in New York
    go_to(ex, close - timedelta(minutes=11))
    ex.submit(buy(time_in_force="cls"))
    go_to(ex, close - timedelta(minutes=10))
    assert "are not accepted" in verdict(ex, buy(time_in_force="cls"))


# --- wash trades (Alpaca "User Protection", 2026-09) ----------------------------------------------------------------------------------

BUYS: dict[str, dict[str, Any]] = {
    "market": {},
    "limit": {"type": "limit", "limit_price": D(90)},
    "stop": {"type": "stop", "stop_price": D(105)},
    "stop_limit": {"type": "stop_limit", "stop_price": D(105), "limit_price": D(106)},
    "trailing_stop": {"type": "trailing_stop", "trail_price": D(5)},
}
SELLS: dict[str, dict[str, Any]] = {
    "market": {},
    "limit at 90": {"type": "limit", "limit_price": D(90)},
    "limit at 106.01": {"type": "limit", "limit_price": D("106.01")},
    "stop": {"type": "stop", "stop_price": D(95)},
    "stop_limit at 94": {"type": "stop_limit", "stop_price": D(95), "limit_price": D(94)},
    "trailing_stop": {"type": "trailing_stop", "trail_price": D(5)},
}


@pytest.mark.parametrize(("resting", "new"), list(product(BUYS, SELLS)))
def test_the_wash_trade_table(resting: str, new: str) -> None:
    """By night, with ten shares held, a buy order rests: market and stop orders collide with anything, limits by price, trailing never."""
    ex = exchange(daily_bars({"AAA": [FLAT] * 4}))
    ex.submit(buy())
    until(ex, "session_close")
    first = ex.submit(buy(qty=1, time_in_force="gtc", **BUYS[resting]))
    expected = None
    if "trailing_stop" not in (resting, new):
        limits = [spec.get("limit_price") for spec in (BUYS[resting], SELLS[new])]
        if None in limits:
            expected = "opposite side market/stop order exists"
        elif limits[0] >= limits[1]:  # type: ignore[operator]
            expected = "opposite side limit order exists"
    order = VenueOrderRequest("AAA", "sell", D(5), time_in_force="gtc", **SELLS[new])
    if expected is None:
        ex.submit(order)
        return
    with pytest.raises(VenueError) as caught:
        ex.submit(order)
    body = caught.value.body()
    assert (caught.value.http_status, body["code"]) == (403, 40310000)
    assert (body["reject_reason"], body["existing_order_id"]) == (expected, first.id)
    ex.fidelity = Fidelity(wash_check=False)
    ex.submit(order)


def test_of_several_limits_the_best_one_decides() -> None:
    ex = exchange(daily_bars({"AAA": [FLAT] * 4}))
    ex.submit(buy())
    until(ex, "session_close")
    _, best, _ = [ex.submit(buy(qty=1, type="limit", limit_price=D(price), time_in_force="gtc")) for price in (80, 95, 90)]
    order = VenueOrderRequest("AAA", "sell", D(5), "limit", "gtc", limit_price=D(93))
    with pytest.raises(VenueError) as caught:
        ex.submit(order)
    assert caught.value.extra["existing_order_id"] == best.id
    ex.cancel(best.id)
    ex.submit(order)
