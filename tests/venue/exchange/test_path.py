"""The path inside a bar: anchors, bounds, volume, repeatability, and what a finer path may not change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from venue_world import FLAT, PLAIN, D, bracket, buy, daily_bars, exchange, intraday_bars, random_bars, sell, until

from alphatrade_pipelines.venue import PESSIMISTIC, BarTape, ExchangeConfig, VenueError, VenueOrderRequest
from alphatrade_pipelines.venue.exchange import fills
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.path import bar_path, volume_shares, whole_sizes

BAR = (100.0, 104.0, 98.0, 101.0, 10_000.0)


def path(anchors: list[float], points: int, seed: int = 1, key: int = 2, bar: int = 3) -> list[float]:
    low, high = min(anchors), max(anchors)
    laid: list[float] = bar_path(np.array(anchors), points, low, high, seed, key, bar).tolist()
    return laid


def in_order(laid: list[float], anchors: list[float]) -> bool:
    """Does the path pass the anchors one after the other, each at a point of its own."""
    left = iter(laid)
    return all(anchor in left for anchor in anchors)


def prices_seen(points: int, profile: str = "plain") -> list[float]:
    """The prices of one bar as the exchange walks it."""
    tape = BarTape(daily_bars({"AAA": [FLAT, BAR]}), "1Day")
    chosen = PLAIN if profile == "plain" else profile
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[0].close, profile=chosen, path_points=points))
    seen = []
    while ex.advance() is not None:
        seen.append(ex.market.quotes["AAA"].price)
    return seen


@given(
    ticks=st.lists(st.integers(-400, 400), min_size=2, max_size=2),
    reach=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    points=st.integers(4, 400),
    low_first=st.booleans(),
    key=st.integers(0, 2**63 - 1),
)
@settings(deadline=None, max_examples=60)
def test_a_path_meets_its_anchors_and_never_leaves_the_bar(
    ticks: list[int], reach: tuple[int, int], points: int, low_first: bool, key: int
) -> None:
    open_, close = ((5_000 + tick) / 100 for tick in ticks)
    low, high = round(min(open_, close) - reach[0] / 100, 2), round(max(open_, close) + reach[1] / 100, 2)
    anchors = [open_, *((low, high) if low_first else (high, low)), close]
    laid = path(anchors, points, key=key)
    assert len(laid) == points
    assert (laid[0], laid[-1]) == (open_, close)
    assert in_order(laid, anchors)
    assert min(laid) >= low
    assert max(laid) <= high
    assert all(price == round(price, 2) for price in laid)  # on the tick, to the last bit


def test_equal_keys_give_equal_paths_and_different_keys_others() -> None:
    anchors = [100.0, 98.0, 104.0, 101.0]
    assert path(anchors, 61) == path(anchors, 61)
    assert len({tuple(path(anchors, 61, seed, key, bar)) for seed, key, bar in [(1, 2, 3), (9, 2, 3), (1, 9, 3), (1, 2, 9)]}) == 4


def test_no_moment_of_a_bar_is_known_to_be_its_extreme() -> None:
    """Buying below the open (selling above it) at a third of the bar's time and leaving at two thirds earned the whole range of every bar
    while the extremes came at those times; on walks that go nowhere it must earn nothing."""
    rng, gains = np.random.default_rng(5), []
    for key in range(2_000):
        walk = 100 + np.cumsum(np.r_[0, rng.normal(0, 0.05, 390)]).round(2)
        open_, low, high, close = walk[0], walk.min(), walk.max(), walk[-1]
        between = [low, high] if open_ - low <= high - open_ else [high, low]
        laid = path([open_, *between, close], 61, key=key)
        gains.append(np.sign(open_ - laid[20]) * (laid[40] - laid[20]))
    assert np.mean(gains) < 0.05  # dollars; it was 1.41


def test_steps_between_anchors_vary_like_a_bridge_of_the_bars_range() -> None:
    """The Parkinson deviation of a bar of range 6 over 390 steps: 6 / 1.596 / sqrt(389) = 0.19 dollars a step."""
    steps = [after - before for key in range(50) for before, after in pairwise(path([100.0, 97.0, 103.0, 100.0], 390, key=key))]
    assert np.std(steps) == pytest.approx(0.19, rel=0.1)


def test_four_points_are_the_open_the_extremes_and_the_close() -> None:
    assert prices_seen(4) == [100.0, 98.0, 104.0, 101.0]  # flat: the extreme nearer to the open first
    assert volume_shares(4, 0.4) == tuple(fills.volume_fraction(part, 0.4) for part in (0.0, 0.2, 0.5, 0.8, 1.0))


def test_a_finer_path_passes_the_same_anchors_in_the_same_order() -> None:
    seen = prices_seen(61)
    assert len(seen) == 61
    assert in_order(seen, [100.0, 98.0, 104.0, 101.0])


def test_fewer_points_than_anchors_are_refused() -> None:
    with pytest.raises(ValueError, match="expected path_points >= 4"):
        prices_seen(3)


@given(points=st.integers(4, 400), early=st.floats(0.05, 0.95), volume=st.integers(0, 10**8))
@settings(deadline=None)
def test_volume_follows_the_curve_at_any_resolution_and_adds_up(points: int, early: float, volume: int) -> None:
    shares = volume_shares(points, early)
    assert len(shares) == points + 1
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(before <= after for before, after in pairwise(shares))
    sizes = whole_sizes(float(volume), shares)
    assert sum(sizes) == volume
    assert min(sizes) >= 0


@pytest.mark.parametrize("points", [4, 5, 13, 61, 390])
def test_an_order_takes_the_same_part_of_a_bars_volume_at_any_resolution(points: int) -> None:
    tape = BarTape(daily_bars({"AAA": [FLAT, BAR]}), "1Day")
    profile = replace(PLAIN, participation=0.005)
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[0].close, profile=profile, path_points=points))
    ex.submit(buy(qty=200))
    while ex.advance() is not None:
        pass
    assert sum(fill.qty for fill in ex.fills()) == 50  # 0.5 % of 10,000


def test_an_order_meets_the_price_after_its_latency_where_the_path_shows_it() -> None:
    profile = replace(PESSIMISTIC, rejection_probability=0.0, participation=1.0)
    rows = [(100.0, 100.5, 99.5, 100.0, 1e6)] * 30
    tape = BarTape(intraday_bars("AAA", rows, minutes=1), "1Min")
    ex = Exchange(tape, ExchangeConfig(profile=profile, path_points=61))
    until(ex, "session_open")
    while (step := ex.advance()) is not None and step.at.minute < 35:
        pass
    sent = ex.now
    ex.submit(buy(qty=10))
    assert not ex.fills()
    while not ex.fills():
        ex.advance()
    assert (ex.fills()[0].at - sent).total_seconds() == 30.0


@pytest.mark.parametrize(
    ("order", "price"),
    [
        (sell(qty=10, type="stop", stop_price=D("99.20")), "98.00"),  # not at the 99.20 that had gone by
        (buy(qty=10, type="limit", limit_price=D("99.00")), "98.00"),
        (sell(qty=10), "98.00"),
    ],
)
def test_an_order_that_arrives_while_price_moves_has_no_part_in_the_move(order: VenueOrderRequest, price: str) -> None:
    """Sent at 100.00 and 30 seconds on its way; between the points 20 and 40 seconds later price falls from 100 to 98."""
    calm, falls = (100.0, 100.0, 100.0, 100.0, 1e6), (100.0, 100.0, 98.0, 98.0, 1e6)
    tape = BarTape(intraday_bars("AAA", [calm, falls, (98.0, 98.0, 98.0, 98.0, 1e6)], minutes=1), "1Min")
    ex = Exchange(tape, ExchangeConfig(profile=replace(PLAIN, latency_seconds=30.0)))
    until(ex, "session_open")
    for _ in range(4):
        ex.advance()
    ex.submit(order)
    while not ex.fills():
        ex.advance()
    assert (str(ex.fills()[0].price), ex.now.second) == (price, 40)


def test_on_a_coarser_path_the_order_trades_at_once_and_pays_the_expected_move() -> None:
    profile = replace(PESSIMISTIC, rejection_probability=0.0, participation=1.0, impact_coefficient=0.0)
    fast = replace(profile, latency_seconds=0.0)
    paid = []
    for chosen in (profile, fast):
        ex = exchange(intraday_bars("AAA", [(100.0, 105.0, 95.0, 100.0, 1e6)] * 10, minutes=5), chosen, "5Min", skip=0)
        until(ex, "session_open")
        ex.submit(buy(qty=10))
        paid.append(ex.fills()[0].price)
    assert paid[0] > paid[1]


def test_an_immediate_order_waits_for_its_latency_and_then_ends() -> None:
    profile = replace(PESSIMISTIC, rejection_probability=0.0, participation=0.0005)
    tape = BarTape(intraday_bars("AAA", [(100.0, 100.5, 99.5, 100.0, 1e6)] * 10, minutes=1), "1Min")
    ex = Exchange(tape, ExchangeConfig(profile=profile, path_points=61))
    until(ex, "session_open")
    order = ex.submit(buy(qty=100, time_in_force="ioc"))
    assert ex.order(order.id).is_live
    for _ in range(30):
        ex.advance()
    after = ex.order(order.id)
    assert after.status == "canceled"
    assert D(0) < after.filled_qty < D(100)


def random_play(points: int, seed: int) -> Exchange:
    """A random client on random bars: brackets, limits near the market, stops, cancels."""
    tape = BarTape(random_bars(2, 9, seed=seed), "1Day")
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[2].close, seed=seed, path_points=points, profile="base"))
    rng = np.random.default_rng(seed)
    while ex.advance() is not None:
        symbol = str(rng.choice(tape.symbols))
        price = ex.prices()[symbol]
        away = (price * D(str(round(float(rng.uniform(-0.03, 0.03)), 4)))).quantize(D("0.01"))
        try:
            match int(rng.integers(0, 12)):
                case 0:
                    stop, target = ((price * D(factor)).quantize(D("0.01")) for factor in ("0.97", "1.03"))
                    ex.submit(bracket(symbol, int(rng.integers(1, 300)), str(target), str(stop)))
                case 1:
                    ex.submit(buy(symbol, int(rng.integers(1, 300)), type="limit", limit_price=price + away, time_in_force="gtc"))
                case 2:
                    ex.submit(sell(symbol, int(rng.integers(1, 50)), type="stop", stop_price=price - abs(away) - D("0.01")))
                case 3:
                    ex.submit(sell(symbol, int(rng.integers(1, 50)), type="trailing_stop", trail_percent=D(2), time_in_force="gtc"))
                case 4 if ex.orders():
                    ex.cancel(ex.orders()[0].id)
        except VenueError:
            continue
    return ex


@pytest.mark.parametrize("points", [4, 31])
def test_fills_lie_inside_their_bar_and_replay_alike_at_any_resolution(points: int) -> None:
    for seed in range(3):
        ex = random_play(points, seed)
        assert all(fill.low <= fill.price <= fill.high for fill in ex.fills())
        assert ex.digest() == random_play(points, seed).digest()
    assert len(ex.fills()) > 0
