"""Schedules: the trajectories of Almgren and Chriss to the printed digit and against a quadratic programme, shares that always add up."""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import solveh_banded

from alphatrade_pipelines.trading.schedules import (
    AlmgrenChriss,
    ParticipationRule,
    cumulative_shares,
    hyperbolic_holdings,
    participation_due,
    scheduled_due,
    shortfall_weights,
    twap_weights,
    vwap_weights,
)

RULE = ParticipationRule(Decimal("0.05"), Decimal("0.10"))


def problem(aversion: float, **changes: float) -> AlmgrenChriss:
    values: dict[str, float] = {
        "shares": 1e6,
        "time": 5.0,
        "intervals": 5,
        "volatility": 0.95,
        "fixed_cost": 0.0625,
        "permanent": 2.5e-7,
        "temporary": 2.5e-6,
        "risk_aversion": aversion,
    }
    return AlmgrenChriss(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("aversion", "kappa", "holdings", "cost", "variance", "deviation"),
    [
        (2e-6, ".846297", "428598.85 182932.81 76295.72 27643.38", "1140715.17", "2.019313e+11", "449367.65"),
        (1e-6, ".607076", "541955.55 289854.22 147897.49 62141.80", "911226.99", "3.641286e+11", "603430.67"),
        (1e-7, ".194629", "757882.39 544564.31 351939.68 172688.75", "670057.46", "9.247186e+11", "961622.90"),
        (0.0, ".000000", "800000.00 600000.00 400000.00 200000.00", "662500.00", "1.083000e+12", "1040672.86"),
        (-2e-7, ".276562", "910056.44 750948.58 534768.64 277946.28", "717958.10", "1.584211e+12", "1258654.32"),
    ],
)
def test_reference_trajectories(aversion: float, kappa: str, holdings: str, cost: str, variance: str, deviation: str) -> None:
    found = problem(aversion).solve()
    assert f"{found.kappa:.6f}".removeprefix("0") == kappa
    assert " ".join(f"{shares:.2f}" for shares in found.holdings[1:-1]) == holdings
    assert (f"{found.expected_cost:.2f}", f"{found.variance:.6e}") == (cost, variance)
    assert f"{math.sqrt(found.variance):.2f}" == deviation
    assert (found.holdings[0], found.holdings[-1]) == (1e6, 0.0)


def test_all_at_once() -> None:
    found = problem(0.0).cost_of((1e6, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert (found.expected_cost, found.variance) == (2_562_500.0, 0.0)


@pytest.mark.parametrize("aversion", [2e-6, 1e-6, 1e-7, 0.0, -2e-7])
@pytest.mark.parametrize("intervals", [3, 5, 50])
def test_trajectory_is_the_solution_of_the_quadratic_programme(aversion: float, intervals: int) -> None:
    """First order: -x_(j-1) + (2 + lambda sigma^2 tau^2 / eta~) x_j - x_(j+1) = 0, a tridiagonal system."""
    task = problem(aversion, intervals=intervals)
    diagonal = 2.0 + aversion * task.volatility**2 * task.interval**2 / task.effective_temporary
    banded = np.vstack([np.full(intervals - 1, -1.0), np.full(intervals - 1, diagonal)])
    right = np.zeros(intervals - 1)
    right[0] = task.shares
    oracle = solveh_banded(banded, right)
    np.testing.assert_allclose(task.solve().holdings[1:-1], oracle, rtol=1e-9)


@given(aversion=st.floats(0.0, 1e-5), seed=st.integers(0, 1000))
def test_no_other_trajectory_is_better(aversion: float, seed: int) -> None:
    task = problem(aversion)
    best = task.solve()
    nudge = np.random.default_rng(seed).normal(0.0, 5e4, 4)
    other = task.cost_of((best.holdings[0], *(np.array(best.holdings[1:-1]) + nudge).tolist(), 0.0))
    # fixed costs count every share traded; a path that buys back pays them twice, so the comparison is fair
    assert other.expected_cost + aversion * other.variance >= (best.expected_cost + aversion * best.variance) * (1 - 1e-12)


def test_problems_without_a_solution_say_so() -> None:
    with pytest.raises(ValueError, match="kappa T below pi"):
        problem(-5e-6).solve()
    with pytest.raises(ValueError, match="shorter intervals"):
        problem(1e-6, intervals=1, permanent=1e-5)
    with pytest.raises(ValueError, match="at least one interval"):
        problem(1e-6, intervals=0)


def test_weights_are_the_trajectory_in_other_units() -> None:
    found = problem(1e-6).solve()
    weights = shortfall_weights(found.kappa * 5.0, 5)
    np.testing.assert_allclose(weights, np.array(found.trades) / 1e6, rtol=1e-12)


@given(st.floats(0.0, 5000.0), st.integers(1, 200))
def test_holdings_fall_from_all_to_nothing_at_any_urgency(urgency: float, slices: int) -> None:
    left = hyperbolic_holdings(urgency, slices)
    assert (left[0], left[-1]) == (1.0, 0.0)
    assert all(before >= after for before, after in pairwise(left))


def test_vwap_follows_the_curve() -> None:
    curve = (0.5, 0.1, 0.1, 0.3)
    assert vwap_weights(curve, 0.0, 1.0, 4) == pytest.approx(curve)
    assert vwap_weights(curve, 0.125, 0.375, 2) == pytest.approx((0.25 / 0.3, 0.05 / 0.3))
    assert vwap_weights((0.5, 0.0, 0.0), 0.5, 1.0, 3) == twap_weights(3)
    assert vwap_weights((), 0.0, 1.0, 2) == twap_weights(2)
    with pytest.raises(ValueError, match="start < end"):
        vwap_weights(curve, 0.6, 0.6, 3)
    with pytest.raises(ValueError, match="finite shares"):
        vwap_weights((0.5, math.nan), 0.0, 1.0, 3)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30), st.floats(0.0, 0.9), st.floats(0.01, 0.1), st.integers(1, 40))
def test_vwap_weights_are_a_partition(curve: list[float], start: float, length: float, slices: int) -> None:
    weights = vwap_weights(curve, start, start + length, slices)
    assert math.fsum(weights) == pytest.approx(1.0)
    assert all(weight >= -1e-9 for weight in weights)


weights_of = st.lists(st.floats(0.0, 1e3), min_size=1, max_size=60).filter(lambda items: math.fsum(items) > 1e-6)


@given(st.integers(1, 10**9), weights_of, st.sampled_from([1, 5, 100]), st.sampled_from([1, 10, 100]))
def test_slices_sum_exactly_and_respect_lot_and_minimum(qty: int, weights: list[float], lot: int, smallest: int) -> None:
    path = cumulative_shares(Decimal(qty), weights, Decimal(lot), Decimal(smallest))
    slices = [after - before for before, after in pairwise((Decimal(0), *path))]
    assert len(path) == len(weights)
    assert sum(slices) == qty == path[-1]
    assert all(shares >= 0 for shares in slices)
    assert all(shares == 0 or shares >= min(smallest, qty) for shares in slices)
    traded = [shares for shares in slices if shares]
    assert all(shares % lot == 0 for shares in traded[:-1])
    assert path == cumulative_shares(Decimal(qty), weights, Decimal(lot), Decimal(smallest))


@given(st.integers(1, 10**7), weights_of)
def test_rounding_never_runs_ahead_of_the_exact_path(qty: int, weights: list[float]) -> None:
    path, total = cumulative_shares(Decimal(qty), weights), math.fsum(weights)
    for k, done in enumerate(path[:-1], 1):
        exact = qty * math.fsum(weights[:k]) / total
        assert exact - 1 - 1e-4 <= float(done) <= exact + 1e-4


@pytest.mark.parametrize(("qty", "weights"), [("0", [1.0]), ("1.5", [1.0]), ("-3", [1.0]), ("5", []), ("5", [0.0]), ("5", [-1.0, 2.0])])
def test_what_is_not_a_parent_is_refused(qty: str, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        cumulative_shares(Decimal(qty), weights)


@given(
    st.integers(1, 100_000),
    weights_of,
    st.lists(st.tuples(st.booleans(), st.floats(0.0, 1.0)), min_size=60, max_size=60),
    st.sampled_from(["1", "1.5", "3"]),
)
def test_scheduled_slices_catch_up_and_finish_without_exceeding(
    qty: int, weights: list[float], luck: list[tuple[bool, float]], catch_up: str
) -> None:
    """Slices are skipped or filled in part; the last always asks for all that is left and nothing ever asks for more."""
    path, done = cumulative_shares(Decimal(qty), weights), Decimal(0)
    largest = max(after - before for before, after in pairwise((Decimal(0), *path)))
    for begun in range(1, len(path) + 1):
        due = scheduled_due(path, begun, done, Decimal(catch_up))
        assert 0 <= due <= qty - done
        if begun < len(path):
            assert due <= largest * Decimal(catch_up)
            assert done + due <= path[begun - 1]
            skipped, share = luck[begun - 1]
            done += Decimal(0) if skipped else (due * Decimal(share)).to_integral_value(rounding="ROUND_FLOOR")
        else:
            assert done + due == qty
    assert scheduled_due(path, 0, Decimal(0), Decimal(2)) == 0


volumes = st.lists(st.tuples(st.integers(0, 50_000), st.floats(0.0, 1.0)), min_size=1, max_size=60)


@given(st.integers(1, 20_000), volumes, st.sampled_from([1, 10, 100]), st.sampled_from([1, 5, 50]), st.sampled_from(["1", "2", "10"]))
def test_participation_stays_under_the_cap_of_the_volume_seen(
    qty: int, bars: list[tuple[int, float]], lot: int, smallest: int, catch_up: str
) -> None:
    rule = ParticipationRule(Decimal("0.05"), Decimal("0.10"), Decimal(catch_up))
    done, volume = Decimal(0), Decimal(0)
    for fresh, filled in bars:
        volume += fresh
        due = participation_due(Decimal(qty), done, volume, Decimal(fresh), rule, Decimal(lot), Decimal(smallest))
        assert due >= 0
        assert due == 0 or done + due <= rule.cap * volume
        assert due <= rule.rate * fresh * rule.catch_up
        assert done + due <= qty
        assert due == 0 or due >= min(smallest, qty - done)
        done += (due * Decimal(filled)).to_integral_value(rounding="ROUND_FLOOR")


def test_participation_follows_and_catches_up() -> None:
    parent = Decimal(1000)
    assert participation_due(parent, Decimal(0), Decimal(0), Decimal(0), RULE) == 0, "nobody traded: nothing to follow"
    assert participation_due(parent, Decimal(0), Decimal(1000), Decimal(1000), RULE) == 50
    assert participation_due(parent, Decimal(0), Decimal(9000), Decimal(1000), RULE) == 100, "late: two normal slices, not nine"
    assert participation_due(parent, Decimal(80), Decimal(1000), Decimal(1000), RULE) == 0, "ahead: wait"
    assert participation_due(parent, Decimal(990), Decimal(90_000), Decimal(5000), RULE) == 10, "the parent's last shares"


def test_participation_rules_are_checked() -> None:
    with pytest.raises(ValueError, match="rate <= cap"):
        ParticipationRule(Decimal("0.2"), Decimal("0.1"))
    with pytest.raises(ValueError, match="catch_up"):
        ParticipationRule(Decimal("0.1"), Decimal("0.1"), Decimal("0.5"))
