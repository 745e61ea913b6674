"""The kernels against arithmetic done by hand and against an independent implementation of the generator."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrade_pipelines.venue.exchange import fills

MASK = (1 << 64) - 1


def splitmix(state: int) -> int:
    """SplitMix64 in plain integers (Steele, Lea, Flood 2014)."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_generator_is_splitmix64() -> None:
    assert splitmix(1234567) == 6457827717110365317  # first output of the reference implementation for seed 1234567
    state = 0
    for word in (7, 11, 1_700_000_000_000_000_000, 13, 1):
        state = splitmix(state ^ word)
    assert fills.uniform_draw(7, 11, 1_700_000_000_000_000_000, 13, 1) == (state >> 11) / 2**53


def test_draws_are_uniform_and_depend_on_every_part_of_the_key() -> None:
    draws = [fills.uniform_draw(7, 3, bar, order, 1) for bar in range(100) for order in range(100)]
    assert abs(sum(draws) / len(draws) - 0.5) < 0.01
    assert abs(sum(draw < 0.08 for draw in draws) / len(draws) - 0.08) < 0.01
    key = [7, 3, 5, 9, 1]
    assert len({fills.uniform_draw(*[k + (i == j) for j, k in enumerate(key)]) for i in range(6)}) == 6


def test_volume_curve_has_forty_percent_in_the_first_fifth() -> None:
    assert fills.volume_fraction(0.2, 0.4) == pytest.approx(0.4)
    assert fills.volume_fraction(0.0, 0.4) == 0.0
    assert fills.volume_fraction(1.0, 0.4) == 1.0


def test_half_spread_impact_and_latency_by_hand() -> None:
    assert fills.half_spread(200.0, 1.0, 1.5, 0.005) == pytest.approx(0.03)
    assert fills.half_spread(20.0, 1.0, 1.5, 0.005) == pytest.approx(0.0075)  # the cent-wide market is wider than a basis point
    assert fills.square_root_impact(100.0, 100.0, 0.02, 1_000_000.0, 1.0) == pytest.approx(0.02)  # 100 * 0.02 * sqrt(1e-4)
    assert fills.adverse_move(100.0, 0.02, 234.0, 23_400.0, 0.5) == pytest.approx(0.1)  # 100 * 0.5 * 0.02 * sqrt(0.01)


@pytest.mark.parametrize(
    ("side", "reference", "cost", "low", "high", "bound", "price"),
    [
        (1, 100.0, 0.011, 90.0, 110.0, math.nan, 100.02),  # rounded up for a buyer
        (-1, 100.0, 0.011, 90.0, 110.0, math.nan, 99.98),  # and down for a seller
        (1, 100.0, 0.5, 90.0, 100.2, math.nan, 100.2),  # never above the high of the bar
        (-1, 100.0, 0.5, 99.9, 110.0, math.nan, 99.9),  # never below its low
        (1, 100.0, 0.5, 90.0, 110.0, 100.1, 100.1),  # never beyond the limit
        (1, 0.5, 0.00011, 0.1, 1.0, math.nan, 0.5002),  # a hundredth of a cent below one dollar
    ],
)
def test_taker_price(side: int, reference: float, cost: float, low: float, high: float, bound: float, price: float) -> None:
    assert fills.taker_price(side, reference, cost, low, high, bound) == pytest.approx(price)


@pytest.mark.parametrize(
    ("side", "stop", "start", "end", "jump", "reference"),
    [
        (-1, 95.0, 100.0, 90.0, False, 95.0),  # crossed: elected at the stop
        (-1, 95.0, 100.0, 95.0, False, 95.0),  # a touch elects
        (-1, 95.0, 100.0, 95.01, False, math.nan),
        (-1, 95.0, 100.0, 90.0, True, 90.0),  # gapped through: elected at the gap
        (-1, 95.0, 100.0, 96.0, True, math.nan),
        (1, 105.0, 100.0, 107.0, False, 105.0),
        (1, 105.0, 100.0, 107.0, True, 107.0),
    ],
)
def test_stop_reference(side: int, stop: float, start: float, end: float, jump: bool, reference: float) -> None:
    assert fills.stop_reference(side, stop, start, end, jump) == pytest.approx(reference, nan_ok=True)


@pytest.mark.parametrize(
    ("side", "limit", "start", "end", "jump", "through", "won", "reference"),
    [
        (1, 95.0, 100.0, 94.99, False, 0.01, False, 95.0),  # traded through by a tick
        (1, 95.0, 100.0, 95.0, False, 0.01, False, math.nan),  # a touch is not enough
        (1, 95.0, 100.0, 95.0, False, 0.01, True, 95.0),  # unless its place in the queue was good
        (1, 95.0, 100.0, 95.0, False, 0.0, False, 95.0),  # optimistic: a touch fills
        (1, 95.0, 100.0, 93.0, True, 0.01, False, 93.0),  # opened below: better than the limit
        (1, 95.0, 100.0, 96.0, True, 0.0, True, math.nan),
        (-1, 105.0, 100.0, 105.01, False, 0.01, False, 105.0),
        (-1, 105.0, 100.0, 104.99, False, 0.0, True, math.nan),
    ],
)
def test_limit_reference(
    side: int, limit: float, start: float, end: float, jump: bool, through: float, won: bool, reference: float
) -> None:
    assert fills.limit_reference(side, limit, start, end, jump, through, won) == pytest.approx(reference, nan_ok=True)


def test_available_shares_are_whole_and_shrink_with_what_was_taken() -> None:
    assert fills.shares_available(100_000.0, 0.4, 0.005, 0.0) == 200.0
    assert fills.shares_available(100_000.0, 0.4, 0.005, 150.0) == 50.0
    assert fills.shares_available(100_000.0, 0.4, 0.005, 300.0) == 0.0
    assert fills.shares_available(math.nan, 0.4, 0.005, 0.0) == 0.0


def test_path_order() -> None:
    assert fills.low_comes_first(5.0, 100.0, 101.0, 90.0, 0)  # long: the low hurts, so it comes first
    assert not fills.low_comes_first(-5.0, 100.0, 110.0, 99.0, 0)
    assert fills.low_comes_first(0.0, 100.0, 110.0, 99.0, 0)  # flat: the nearer extreme first
    assert not fills.low_comes_first(5.0, 100.0, 101.0, 99.0, 2)


@given(
    side=st.sampled_from([1, -1]),
    low=st.integers(100, 50_000),
    spread=st.integers(0, 5_000),
    place=st.floats(0, 1),
    cost=st.floats(0, 50),
)
def test_taker_price_stays_in_the_bar_and_never_helps(side: int, low: int, spread: int, place: float, cost: float) -> None:
    bottom, top = low / 100, (low + spread) / 100
    reference = round(bottom + place * (top - bottom), 2)
    price = fills.taker_price(side, reference, cost, bottom, top, math.nan)
    assert bottom - 1e-9 <= price <= top + 1e-9
    assert side * (price - reference) >= -1e-9
