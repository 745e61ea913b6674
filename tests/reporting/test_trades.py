"""Lots, splits, dividends and attribution on hand-made journals whose answers can be worked out on paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrade_pipelines.reporting.book import Fill, OrderBook
from alphatrade_pipelines.reporting.protection import measure_protection
from alphatrade_pipelines.reporting.summary import Summary
from alphatrade_pipelines.reporting.trades import TradeLedger, merged, trade_ledger
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import (
    AccountState,
    BrokerOrder,
    Execution,
    ModelRef,
    OrderClass,
    OrderKind,
    OrderRequest,
    Side,
    TimeInForce,
)
from alphatrade_pipelines.trading.events import (
    BrokerSeen,
    ClockTicked,
    CorporateActionApplied,
    Event,
    OrderIntended,
    OrderUpdated,
    SessionStarted,
)

T0 = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
ACCOUNT = AccountState("PA1", Decimal(1000), Decimal(1000), Decimal(4000))
MODEL = ModelRef("m", "1", "b", "run", "dag", "data", "git", "paper")
D = Decimal


def fill(side: Side, qty: str, price: str, reference: str | None = None, number: Iterator[int] = count()) -> Fill:
    execution = Execution(f"x{next(number)}", "order", "SPY", side, D(qty), D(price), T0)
    return Fill(execution, "cid", "entry", None if reference is None else D(reference))


def test_first_in_first_out_over_partial_fills() -> None:
    ledger = TradeLedger()
    for one in (fill(Side.BUY, "10", "100"), fill(Side.BUY, "10", "110"), fill(Side.SELL, "15", "120"), fill(Side.SELL, "5", "90")):
        ledger.fill(one)
    assert [(trip.qty, trip.pnl) for trip in ledger.round_trips] == [(10, 200), (5, 50), (5, -100)]
    assert ledger.open_qty("SPY") == 0
    assert (ledger.bought, ledger.sold) == (2100, 2250)


def test_selling_more_than_held_opens_a_short() -> None:
    ledger = TradeLedger()
    for one in (fill(Side.BUY, "10", "100"), fill(Side.SELL, "25", "110"), fill(Side.BUY, "15", "105")):
        ledger.fill(one)
    assert [(trip.side, trip.pnl) for trip in ledger.round_trips] == [(Side.BUY, 100), (Side.SELL, 75)]


def test_split_and_dividend_between_entry_and_exit() -> None:
    """100 shares at 90, 2 dollars dividend on the old shares, 3:1 split, sold at 35: profit 300 x (35 - 30), dividend 200."""
    ledger = TradeLedger()
    ledger.fill(fill(Side.BUY, "100", "90", "90"))
    action = CorporateActionApplied(T0, "SPY", D(3), D(2))
    ledger.corporate_action(action)
    ledger.corporate_action(action)
    ledger.fill(fill(Side.SELL, "300", "35", "36"))
    (trip,) = ledger.round_trips
    assert (trip.qty, trip.entry_price, trip.pnl, trip.dividends) == (300, 30, 1500, 200)
    assert (trip.market, trip.exit_slippage) == (1800, -300)


@given(
    st.lists(st.tuples(st.sampled_from(list(Side)), st.integers(1, 50), st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=30)
)
def test_cash_and_components_always_add_up(trades: list[tuple[Side, int, int, int]]) -> None:
    """Whatever is traded: realised = cash flow + cost of what is still open, and the components sum to it exactly."""
    ledger = TradeLedger()
    for side, qty, price, reference in trades:
        ledger.fill(fill(side, str(qty), f"{price}.01", f"{reference}.07"))
    attribution = ledger.attribution()
    still_open = sum((lot.qty * lot.price for lot in ledger.lots["SPY"]), D(0))
    assert attribution.realised == ledger.sold - ledger.bought + still_open
    assert attribution.residual == 0
    assert sum((trip.pnl for trip in merged(ledger.round_trips)), D(0)) == attribution.realised


def test_shortfall_is_positive_when_it_costs() -> None:
    assert fill(Side.BUY, "1", "101", "100").shortfall_bps == 100
    assert fill(Side.SELL, "1", "101", "100").shortfall_bps == -100
    assert fill(Side.SELL, "1", "101").shortfall_bps is None


def journal() -> list[Event]:
    """A bracket bought in two parts, its stop filled; the second part and the stop are also reported by a read."""
    request = OrderRequest("cid", "SPY", Side.BUY, D(10), OrderKind.MARKET, OrderClass.BRACKET, TimeInForce.GTC, None, None, D(110), D(95))
    parent = BrokerOrder("o1", "cid", "SPY", Side.BUY, D(10), D(10), D(100), "market", "bracket", "gtc", "filled")
    stop = BrokerOrder("o2", "leg", "SPY", Side.SELL, D(10), D(10), D(94), "stop", "bracket", "gtc", "filled", stop_price=D(95))
    parts = [Execution("e1", "o1", "SPY", Side.BUY, D(4), D(100), T0), Execution("e2", "o1", "SPY", Side.BUY, D(6), D(101), T0)]
    out = Execution("e3", "o2", "SPY", Side.SELL, D(10), D(94), T0 + timedelta(days=1))
    again = tuple(replace(one, execution_id=f"20240304143000000::{one.execution_id}") for one in (parts[1], out))
    later = T0 + timedelta(days=1)
    return [
        SessionStarted(T0, "run", "sim", MODEL, ACCOUNT, CoreConfig().to_json()),
        OrderIntended(T0, request, "entry", "d", 0),
        OrderUpdated(T0, "partial_fill", replace(parent, filled_qty=D(4), status="partially_filled"), parts[0]),
        OrderUpdated(T0, "fill", parent, parts[1]),
        BrokerSeen(later, later, (), (replace(parent, legs=(stop,)),), again, T0, ACCOUNT),
        OrderUpdated(later, "fill", stop, out),
    ]


def test_a_fill_told_twice_counts_once_and_a_leg_belongs_to_its_order() -> None:
    events = journal()
    fills = OrderBook.of(events).fills()
    assert [(one.execution.execution_id.rsplit(":", 1)[-1], one.role, one.client_order_id) for one in fills] == [
        ("e1", "entry", "cid"),
        ("e2", "entry", "cid"),
        ("e3", "stop", "cid"),
    ]
    assert fills[2].shortfall_bps == pytest.approx(D(10_000) / 95)
    assert trade_ledger(events).attribution().realised == 4 * -6 + 6 * -7
    assert len(Summary.of(events).fills) == 3
    (row,) = merged(trade_ledger(events).round_trips)
    assert (row.qty, row.entry_price, row.pnl) == (10, D("100.6"), -66)


def test_foreign_fills_are_named_so() -> None:
    foreign = Execution("z", "unknown", "SPY", Side.BUY, D(1), D(5), T0)
    other = BrokerOrder("unknown", "manual", "SPY", Side.BUY, D(1), D(1), D(5), "market", "simple", "day", "filled")
    (one,) = OrderBook.of([*journal()[:1], OrderUpdated(T0, "fill", other, foreign)]).fills()
    assert (one.role, one.client_order_id) == ("foreign", "")


def test_a_naked_position_is_counted_in_open_hours_only() -> None:
    """Bought without a stop at 19:30, market open until 20:00, found again the next morning: 1800 seconds, then 60 more."""
    close, morning = T0.replace(hour=20, minute=0), T0.replace(hour=14, minute=30) + timedelta(days=1)
    bought = T0.replace(hour=19, minute=30)
    order = BrokerOrder("manual", "by hand", "SPY", Side.BUY, D(10), D(10), D(100), "market", "simple", "day", "filled")
    execution = Execution("m1", "manual", "SPY", Side.BUY, D(10), D(100), bought)
    protect = BrokerOrder("s", "stop by hand", "SPY", Side.SELL, D(10), D(0), None, "stop", "simple", "gtc", "new", stop_price=D(90))
    events: list[Event] = [
        journal()[0],
        ClockTicked(T0, True, morning, close),
        OrderUpdated(bought, "fill", order, execution),
        ClockTicked(T0.replace(hour=23), False, morning, close + timedelta(days=1)),
        ClockTicked(morning, True, morning + timedelta(days=1), close + timedelta(days=1)),
        OrderUpdated(morning + timedelta(seconds=60), "new", protect),
        ClockTicked(morning + timedelta(hours=1), True, morning + timedelta(days=1), close + timedelta(days=1)),
    ]
    assert measure_protection(events[:4]).seconds == {"SPY": 1800.0}
    assert measure_protection(events[:4]).naked_now == ("SPY",)
    assert measure_protection(events).seconds == {"SPY": 1860.0}
    assert measure_protection(events).naked_now == ()
