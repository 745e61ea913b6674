"""The kernels against arithmetic done by hand and against an independent implementation of the generator."""

from __future__ import annotations

import math
from itertools import pairwise

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
    ("side", "limit", "start", "end", "through", "expected"),
    [
        (1, 95.0, 100.0, 94.99, 0.01, True),  # traded through by a tick
        (1, 95.0, 100.0, 95.0, 0.01, False),  # a touch is not enough
        (1, 95.0, 100.0, 95.0, 0.0, True),  # optimistic: a touch is
        (1, 95.0, 94.0, 96.0, 0.01, True),  # was through already
        (-1, 105.0, 100.0, 105.01, 0.01, True),
        (-1, 105.0, 100.0, 104.99, 0.0, False),
    ],
)
def test_traded_through(side: int, limit: float, start: float, end: float, through: float, expected: bool) -> None:
    assert fills.traded_through(side, limit, start, end, through) is expected


def test_marketable_means_reaching_the_other_sides_quote() -> None:
    assert fills.marketable(1, 100.02, 100.0, 0.02)
    assert not fills.marketable(1, 100.01, 100.0, 0.02)  # inside the spread: rests
    assert fills.marketable(-1, 99.98, 100.0, 0.02)
    assert fills.marketable(1, 100.0, 100.0, 0.0)


def test_available_shares_are_whole_and_shrink_with_what_was_taken() -> None:
    assert fills.shares_available(100_000.0, 0.0, 0.4, 0.005, 0.0) == 200.0
    assert fills.shares_available(100_000.0, 0.0, 0.4, 0.005, 150.0) == 50.0
    assert fills.shares_available(100_000.0, 0.0, 0.4, 0.005, 300.0) == 0.0
    assert fills.shares_available(math.nan, 0.0, 0.4, 0.005, 0.0) == 0.0
    assert fills.shares_available(40.0, 0.0, 1.0, 0.005, 0.0) == 1.0


@given(
    volume=st.floats(0, 1e9),
    participation=st.floats(0, 1),
    cuts=st.lists(st.floats(0, 1), max_size=30),
)
def test_stretches_add_up_to_the_same_shares_however_a_bar_is_cut(volume: float, participation: float, cuts: list[float]) -> None:
    edges = [0.0, *sorted(cuts), 1.0]
    parts = [fills.shares_available(volume, a, b, participation, 0.0) for a, b in pairwise(edges)]
    least = min(volume, 1.0) if participation > 0 else 0.0  # a bar that traded lets one share through, however thin it is
    assert sum(parts) == math.floor(max(volume * participation, least) + 1e-9)


@given(
    minutes=st.floats(-400, 400),
    volatile=st.floats(1, 5),
    relative=st.one_of(st.floats(0, 100), st.just(math.nan)),
    at_open=st.floats(1, 5),
    extended=st.floats(1, 5),
    regular=st.booleans(),
)
def test_spread_widening_is_bounded_and_monotone(
    minutes: float, volatile: float, relative: float, at_open: float, extended: float, regular: bool
) -> None:
    def factor(at: float = minutes, sigma: float = relative) -> float:
        return fills.spread_widening(at, sigma, regular, at_open, volatile, extended)

    assert 1.0 <= factor() <= max(at_open, extended) * volatile * (1 + 1e-12)
    assert factor(minutes + 1.0) <= factor()  # narrower as the day goes on
    if not math.isnan(relative):
        assert factor(sigma=relative * 1.1) >= factor()  # wider when volatile


def test_spread_widening_by_hand() -> None:
    assert fills.spread_widening(0.0, 1.0, True, 2.0, 3.0, 4.0) == 2.0
    assert fills.spread_widening(15.0, 1.0, True, 2.0, 3.0, 4.0) == 1.5  # half of the excess is gone
    assert fills.spread_widening(1e9, 2.0, True, 2.0, 3.0, 4.0) == 2.0  # twice the usual volatility
    assert fills.spread_widening(1e9, 9.0, True, 2.0, 3.0, 4.0) == 3.0  # capped
    assert fills.spread_widening(-60.0, 1.0, False, 2.0, 3.0, 4.0) == 4.0


def test_queue_by_hand() -> None:
    assert fills.queue_ahead(0.5, 2.0, 1_000.0) == 2_000.0
    assert fills.queue_ahead(0.0, 2.0, 1_000.0) == 0.0
    # 40 % of 110,000 shares over the eleven ticks from 100.00 to 100.10: 4,000 at each
    assert fills.volume_at_price(110_000.0, 0.4, 100.10, 100.00, 100.10) == pytest.approx(4_000.0)
    assert fills.volume_at_price(110_000.0, 0.4, 100.11, 100.00, 100.10) == 0.0
    assert fills.volume_at_price(math.nan, 0.4, 100.10, 100.00, 100.10) == 0.0


@given(ticks=st.integers(0, 300), start=st.integers(1_000, 50_000), up=st.booleans(), volume=st.floats(0, 1e8), share=st.floats(0, 1))
def test_the_volume_of_a_stretch_is_spread_over_the_prices_it_passes(ticks: int, start: int, up: bool, volume: float, share: float) -> None:
    end = start + ticks if up else max(start - ticks, 100)
    prices = range(min(start, end), max(start, end) + 1)
    total = sum(fills.volume_at_price(volume, share, price / 100, start / 100, end / 100) for price in prices)
    assert total == pytest.approx(volume * share, rel=1e-9, abs=1e-9)


def test_only_good_fills_are_denied() -> None:
    assert fills.fill_denied(1, 95.0, 95.01, 0.5, 0.49)
    assert not fills.fill_denied(1, 95.0, 95.01, 0.5, 0.5)
    assert not fills.fill_denied(1, 95.0, 95.0, 1.0, 0.0)
    assert not fills.fill_denied(1, 95.0, 94.0, 1.0, 0.0)  # the bad ones never
    assert fills.fill_denied(-1, 105.0, 104.0, 1.0, 0.9)


def test_markout_is_signed_by_side() -> None:
    assert fills.markout(1, 100.0, 101.0) == 1.0
    assert fills.markout(-1, 100.0, 101.0) == -1.0


@given(quantity=st.integers(1, 10**6), chance=st.floats(0.01, 1), draw=st.floats(0, 1, exclude_max=True))
def test_a_random_part_is_whole_and_never_more(quantity: int, chance: float, draw: float) -> None:
    part = fills.random_part(float(quantity), chance, draw)
    assert 1.0 <= part <= quantity
    assert part == int(part)
    assert draw < chance or part == quantity


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
