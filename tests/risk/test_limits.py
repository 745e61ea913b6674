"""Limits say no when they should, and only then."""

from __future__ import annotations

from decimal import Decimal

import pytest

from alphatrade_pipelines.risk import Denial, LimitsConfig, LimitState
from alphatrade_pipelines.risk import limits as lim

CONFIG = LimitsConfig()


def denied(state: LimitState, config: LimitsConfig = CONFIG, **changes: object) -> str:
    claim: dict[str, object] = {"symbol": "AAPL", "qty": Decimal(100), "value": Decimal("10000"), "sign": 1, "volatility": 0.02}
    book: dict[str, object] = {"gross": Decimal(0), "net": Decimal(0), "own": Decimal(0), "positions": 0, "equity": Decimal("100000")}
    for name, value in changes.items():
        (claim if name in claim else book)[name] = value
    there = lim.Book(book["gross"], book["net"], book["own"], book["positions"], book["equity"])  # type: ignore[arg-type]
    denial = lim.check_entry(state, config, lim.Claim(**claim), there)  # type: ignore[arg-type]
    return denial.code if denial else ""


def test_a_quiet_day_passes() -> None:
    assert denied(LimitState()) == ""


def test_trades_a_day_restart_with_the_session() -> None:
    state = LimitState()
    lim.begin_session(state, "2013-01-02")
    for _ in range(99):
        lim.record_entry(state)
    assert denied(state) == ""
    lim.record_entry(state)
    assert denied(state) == "LIMIT_TRADES_A_DAY"
    lim.begin_session(state, "2013-01-02")
    assert denied(state) == "LIMIT_TRADES_A_DAY"
    lim.begin_session(state, "2013-01-03")
    assert denied(state) == ""


def test_five_losses_in_a_row_pause_this_and_the_next_session() -> None:
    state = LimitState()
    lim.begin_session(state, "1")
    for won in (False, False, False, False, True, False, False, False, False):
        lim.record_closed_trade(state, won, CONFIG)
    assert denied(state) == ""
    lim.record_closed_trade(state, False, CONFIG)
    assert denied(state) == "LIMIT_CONSECUTIVE_LOSSES"
    lim.begin_session(state, "2")
    assert denied(state) == "LIMIT_CONSECUTIVE_LOSSES"
    lim.begin_session(state, "3")
    assert denied(state) == ""
    assert state.losses_in_a_row == 0


def test_daily_loss_trips_below_the_floor_until_the_next_session() -> None:
    state = LimitState()
    lim.begin_session(state, "1")
    lim.record_equity(state, Decimal("100000"), CONFIG)
    lim.record_equity(state, Decimal("97000"), CONFIG)
    assert denied(state) == ""
    lim.record_equity(state, Decimal("96999.99"), CONFIG)
    lim.record_equity(state, Decimal("99000"), CONFIG)
    assert denied(state) == "LIMIT_DAILY_LOSS"
    lim.begin_session(state, "2")
    lim.record_equity(state, Decimal("96999.99"), CONFIG)
    assert denied(state) == ""


def test_exposure_and_positions() -> None:
    assert denied(LimitState(), gross=Decimal("90000")) == ""
    assert denied(LimitState(), gross=Decimal("90000.01")) == "LIMIT_GROSS_EXPOSURE"
    assert denied(LimitState(), own=Decimal("15000")) == ""
    assert denied(LimitState(), own=Decimal("15000.01")) == "LIMIT_SYMBOL_EXPOSURE"
    assert denied(LimitState(), positions=9) == ""
    assert denied(LimitState(), positions=10) == "LIMIT_POSITIONS"


def test_net_exposure_counts_longs_against_shorts() -> None:
    config = LimitsConfig(max_net_exposure=0.5)
    assert denied(LimitState(), config, net=Decimal("40000")) == ""
    assert denied(LimitState(), config, net=Decimal("40000.01")) == "LIMIT_NET_EXPOSURE"
    assert denied(LimitState(), config, net=Decimal("50000"), sign=-1) == ""
    assert denied(LimitState(), config, net=Decimal("-45000"), sign=-1) == "LIMIT_NET_EXPOSURE"


def test_one_order_has_a_largest_size() -> None:
    config = LimitsConfig(max_order_qty=100, max_order_value=10_000.0)
    assert denied(LimitState(), config) == ""
    assert denied(LimitState(), config, qty=Decimal(101)) == "LIMIT_ORDER_QTY"
    assert denied(LimitState(), config, value=Decimal("10000.01")) == "LIMIT_ORDER_VALUE"


def test_a_code_nobody_has_written_down_is_refused() -> None:
    with pytest.raises(ValueError, match=r"denials\.py"):
        Denial("LIMIT_MOON_PHASE", "full")


def test_volatility_spike_is_judged_against_the_symbols_own_past() -> None:
    state = LimitState()
    for _ in range(lim.VOLATILITY_MINIMUM - 1):
        lim.record_volatility(state, "AAPL", 0.01)
    assert denied(state, volatility=0.5) == ""  # too little past to judge
    lim.record_volatility(state, "AAPL", 0.01)
    assert denied(state, volatility=0.0299) == ""
    assert denied(state, volatility=0.031) == "LIMIT_VOLATILITY_SPIKE"
    assert denied(state, symbol="IBM", volatility=0.031) == ""


@pytest.mark.parametrize("volatility", [float("nan"), 0.0, -1.0])
def test_unknown_volatility_is_denied_and_not_remembered(volatility: float) -> None:
    state = LimitState()
    lim.record_volatility(state, "AAPL", volatility)
    assert state.volatility == {}
    assert denied(state, volatility=volatility) == "LIMIT_VOLATILITY_UNKNOWN"


def test_reset_closes_every_breaker() -> None:
    state = LimitState()
    for _ in range(5):
        lim.record_closed_trade(state, False, CONFIG)
    lim.record_equity(state, Decimal("100000"), CONFIG)
    lim.record_equity(state, Decimal("1"), CONFIG)
    assert len(state.tripped) == 2
    lim.reset(state)
    assert denied(state) == ""
    lim.record_closed_trade(state, False, CONFIG)
    assert denied(state) == ""
