"""The live gate: what is bad is kept out and counted; what is only unusual gets in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from alphatrade_pipelines.market import BarDataError, BarGate, Fault, GateConfig, LiveBar, SampleSource, SessionCalendar, Timeframe

MINUTE = Timeframe.parse("1Min")
START = datetime(2024, 6, 10, 13, 30, tzinfo=UTC)
GOOD = LiveBar("AAA", START, 100.0, 101.0, 99.0, 100.5, 1000.0)


def nth(n: int, **changes: float) -> LiveBar:
    return replace(GOOD, timestamp=START + timedelta(minutes=n), **changes)  # type: ignore[arg-type]


def offer(gate: BarGate, bar: LiveBar, delay: float = 0.5) -> tuple[Fault, ...]:
    return gate.check(bar, bar.timestamp + timedelta(seconds=60 + delay)).faults


@pytest.fixture
def gate() -> BarGate:
    gate = BarGate(MINUTE)
    for n in range(30):
        assert offer(gate, nth(n)) == ()
    return gate


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"close": math.nan}, Fault.NOT_A_NUMBER),
        ({"volume": math.nan}, Fault.NOT_A_NUMBER),
        ({"high": math.inf}, Fault.NOT_A_NUMBER),
        ({"low": 0.0}, Fault.NOT_POSITIVE),
        ({"open": -1.0}, Fault.NOT_POSITIVE),
        ({"volume": -5.0}, Fault.NOT_POSITIVE),
        ({"high": 98.0}, Fault.OHLC),
        ({"close": 105.0}, Fault.OHLC),
        ({"high": 121.0}, Fault.PRICE_JUMP),
        ({"low": 79.0}, Fault.PRICE_JUMP),
        ({"volume": 50_001.0}, Fault.VOLUME_SPIKE),
    ],
)
def test_bad_numbers_are_quarantined(gate: BarGate, changes: dict[str, float], fault: Fault) -> None:
    bad = nth(30, **changes)
    assert offer(gate, bad) == (fault,)
    assert gate.summary() == {"accepted": 30, "rejected": 1, f"rejected_{fault.value}": 1}
    assert [verdict.bar for verdict in gate.quarantine] == [bad]
    assert offer(gate, nth(31)) == ()  # the next good bar is judged against the last good one


def test_just_inside_the_limits_is_accepted(gate: BarGate) -> None:
    assert offer(gate, nth(30, high=120.5, low=80.5, volume=49_999.0)) == ()


def test_bad_times_are_quarantined(gate: BarGate) -> None:
    assert offer(gate, nth(29)) == (Fault.DUPLICATE,)
    assert offer(gate, nth(12)) == (Fault.OUT_OF_ORDER,)
    assert offer(gate, replace(GOOD, timestamp=START + timedelta(minutes=29, seconds=30))) == (Fault.TOO_FAST,)
    assert offer(gate, nth(30), delay=121) == (Fault.LATE,)
    assert offer(gate, nth(30), delay=-10) == (Fault.FROM_THE_FUTURE,)
    assert offer(gate, nth(390)) == (Fault.OFF_SESSION,)  # the 16:00 print
    naive = replace(GOOD, timestamp=datetime(2024, 6, 10, 14, 30))
    assert gate.check(naive, START).faults == (Fault.NAIVE_TIME,)
    with pytest.raises(BarDataError, match="an aware arrival time"):
        gate.check(nth(30), datetime(2024, 6, 10, 14, 30))
    assert offer(gate, nth(30)) == ()


def test_a_known_split_or_dividend_is_no_bad_tick(gate: BarGate) -> None:
    halved = {"open": 50.0, "high": 50.5, "low": 49.5, "close": 50.0}
    assert offer(gate, nth(30, **halved)) == (Fault.PRICE_JUMP,)
    assert offer(gate, nth(31, **halved, split=2.0, volume=2000.0 * 49)) == ()  # volume is judged in new shares too
    assert offer(gate, nth(32, **{name: price - 12 for name, price in halved.items()}, dividend=12.0)) == ()


def test_a_true_jump_does_not_silence_the_symbol(gate: BarGate) -> None:
    crashed = {"open": 60.0, "high": 61.0, "low": 59.0, "close": 60.0}
    assert offer(gate, nth(30, **crashed)) == (Fault.PRICE_JUMP,)
    verdict = gate.check(nth(31, **crashed), nth(31).timestamp + timedelta(seconds=61))
    assert verdict.accepted
    assert verdict.confirmed_jump
    assert offer(gate, nth(32, **crashed)) == ()


def test_two_different_bad_ticks_do_not_confirm_each_other(gate: BarGate) -> None:
    assert offer(gate, nth(30, high=160.0, close=160.0)) == (Fault.PRICE_JUMP,)
    assert offer(gate, nth(31, low=40.0, close=40.0)) == (Fault.PRICE_JUMP,)
    assert offer(gate, nth(32)) == ()
    assert offer(gate, nth(33, low=40.0, close=40.0)) == (Fault.PRICE_JUMP,)  # the accepted bar forgot the suspect


def test_symbols_are_judged_apart_and_a_new_one_has_no_history(gate: BarGate) -> None:
    other = replace(nth(30), symbol="BBB", open=5.0, high=5.1, low=4.9, close=5.0, volume=1e9)
    assert offer(gate, other) == ()


def test_the_quarantine_is_bounded_but_the_count_is_not() -> None:
    gate = BarGate(MINUTE, GateConfig(quarantine_size=3))
    for n in range(10):
        offer(gate, nth(n, close=math.nan))
    assert len(gate.quarantine) == 3
    assert gate.summary()["rejected"] == 10


def test_it_starts_from_checked_history(make_daily: Callable[..., pd.DataFrame], daily: Timeframe) -> None:
    bars = make_daily(("AAA",), 30)
    gate = BarGate(daily)
    gate.seed(bars.iloc[:-1])
    row, stamp = bars.iloc[-1], bars.index[-1][1].to_pydatetime()
    prices = {name: float(row[name]) for name in ("open", "high", "low", "close", "volume")}
    bar = LiveBar("AAA", stamp, **prices)
    close = SessionCalendar().session_bounds(stamp)[1]
    assert gate.check(replace(bar, close=bar.close * 2, high=bar.high * 2), close).faults == (Fault.PRICE_JUMP,)
    assert gate.check(replace(bar, volume=1e9), close).faults == (Fault.VOLUME_SPIKE,)
    assert gate.check(bar, close).accepted
    assert gate.check(bar, close).faults == (Fault.DUPLICATE,)


def test_thirteen_real_years_pass_but_for_true_jumps(daily: Timeframe) -> None:
    gate, calendar, rejected = BarGate(daily), SessionCalendar(), []
    for (symbol, stamp), *numbers in SampleSource().fetch().itertuples(name=None):
        verdict = gate.check(LiveBar(symbol, stamp.to_pydatetime(), *numbers), calendar.session_bounds(stamp)[1])
        if not verdict.accepted:
            rejected.append((symbol, stamp.strftime("%Y-%m-%d"), verdict.faults))
    assert ("AAPL", "2000-09-29", (Fault.PRICE_JUMP,)) in rejected  # -52 % in a day
    assert {faults for _, _, faults in rejected} == {(Fault.PRICE_JUMP,)}
    assert len(rejected) < 10
    assert gate.summary()["accepted"] == 12154 - len(rejected)
