"""Impact against the published example of Almgren et al. 2005, the rules of thumb of 2000, and round trips that must not pay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from alphatrade_pipelines.risk import (
    ImpactConfig,
    ImpactModel,
    Liquidity,
    optimal_horizon,
    pre_trade_impact,
    sequence_cost_bps,
    urgency,
)

DEFAULT = ImpactConfig()
IBM = Liquidity(daily_volume=6.561e6, volatility=0.0157, spread=0.0, shares_outstanding=1728e6)
DRI = Liquidity(daily_volume=1.929e6, volatility=0.0226, spread=0.0, shares_outstanding=168e6)
CASUAL = Liquidity(daily_volume=5e6, volatility=0.02, spread=0.0004)
EVERY_MODEL = [ImpactConfig(model=model) for model in ImpactModel]


@pytest.mark.parametrize(
    ("stock", "permanent", "days", "temporary", "realized"),
    [
        (IBM, 20, 0.1, 22, 32),
        (IBM, 20, 0.2, 15, 25),
        (IBM, 20, 0.5, 8, 18),
        (DRI, 22, 0.1, 32, 43),
        (DRI, 22, 0.2, 21, 32),
        (DRI, 22, 0.5, 12, 23),
    ],
)
def test_the_worked_example_of_almgren_et_al_2005(stock: Liquidity, permanent: int, days: float, temporary: int, realized: int) -> None:
    """Ten per cent of the day's volume in a liquid and in a less liquid stock: whole basis points as in their table."""
    found = pre_trade_impact(0.1 * stock.daily_volume, stock, days, DEFAULT)
    assert round(found.shift_bps) == permanent
    assert round(found.temporary_bps) == temporary
    assert round(found.cost_bps) == realized


def test_the_rules_of_thumb_of_almgren_and_chriss_2000() -> None:
    """Their stock: 50 $, 5 million shares a day, a spread of 1/8: eta = 2.5e-6, gamma = 2.5e-7, epsilon = 1/16."""
    stock, price = Liquidity(daily_volume=5e6, volatility=0.019, spread=0.125 / 50), 50.0
    found = pre_trade_impact(200_000, stock, 1.0, ImpactConfig(model=ImpactModel.ALMGREN_CHRISS))
    assert found.shift_bps / 1e4 * price == pytest.approx(2.5e-7 * 200_000)
    assert found.permanent_bps / 1e4 * price == pytest.approx(2.5e-7 * 200_000 / 2)
    assert found.temporary_bps / 1e4 * price == pytest.approx(2.5e-6 * 200_000)
    assert found.spread_bps / 1e4 * price == pytest.approx(0.0625)
    assert found.timing_risk_bps / 1e4 == pytest.approx(0.019 / math.sqrt(3.0))


def test_the_formulas_of_the_brief_by_name() -> None:
    found = pre_trade_impact(500_000, CASUAL, 1.0, ImpactConfig(model=ImpactModel("review")))
    assert found.permanent_bps == pytest.approx(1e4 * 0.1 * 0.02 * math.sqrt(0.1))
    assert found.temporary_bps + found.spread_bps == pytest.approx(1e4 * (0.0004 + 0.2 * 0.02 * 0.1**0.6))


def test_half_a_spread_is_paid() -> None:
    assert pre_trade_impact(1, CASUAL, 1.0, DEFAULT).spread_bps == pytest.approx(2.0)


@pytest.mark.parametrize("config", EVERY_MODEL, ids=lambda config: str(config.model))
@pytest.mark.parametrize("shares", [500.0, 50_000.0, 400_000.0])
@pytest.mark.parametrize("aversion", [0.03, 0.1, 1.0])
def test_the_closed_form_horizon_is_the_numeric_optimum(config: ImpactConfig, shares: float, aversion: float) -> None:
    free = ImpactConfig(model=config.model, risk_aversion=aversion, max_participation=1e9, shortest_days=1e-12)

    def utility(log_days: float) -> float:
        return pre_trade_impact(shares, CASUAL, math.exp(log_days), free).utility_bps(aversion)

    best = optimize.minimize_scalar(utility, bounds=(-25.0, 10.0), method="bounded", options={"xatol": 1e-10})
    found = optimal_horizon(shares, CASUAL, free, longest_days=1e9)
    assert found.binding == "optimum"
    assert found.days == pytest.approx(math.exp(best.x), rel=1e-4)


def test_volatility_does_not_move_the_default_horizon() -> None:
    calm, wild = Liquidity(5e6, 0.005, 0.0004), Liquidity(5e6, 0.05, 0.0004)
    assert optimal_horizon(30_000, calm, DEFAULT).days == pytest.approx(optimal_horizon(30_000, wild, DEFAULT).days)


@pytest.mark.parametrize(
    ("shares", "longest", "binding"),
    [(1, 1.0, "shortest"), (0, 1.0, "shortest"), (5_000, 1.0, "optimum"), (450_000, 1.0, "participation"), (2_000_000, 1.0, "session")],
)
def test_what_sets_the_horizon(shares: float, longest: float, binding: str) -> None:
    found = optimal_horizon(shares, CASUAL, DEFAULT, longest)
    assert found.binding == binding
    assert found.days <= longest
    if binding in ("optimum", "participation"):
        assert shares / (CASUAL.daily_volume * found.days) <= DEFAULT.max_participation + 1e-12


def test_who_fears_nothing_takes_all_the_time_there_is() -> None:
    patient = ImpactConfig(risk_aversion=0.0)
    assert optimal_horizon(5_000, CASUAL, patient, 0.7) == optimal_horizon(5e5, CASUAL, patient, 0.7)
    assert urgency(5_000, CASUAL, 0.7, patient) == 0.0


def test_urgency_at_the_free_optimum_is_the_root_of_three_powers() -> None:
    days = optimal_horizon(5_000, CASUAL, DEFAULT).days
    assert urgency(5_000, CASUAL, days, DEFAULT) == pytest.approx(math.sqrt(3.0 * 0.6))


@given(
    size=st.floats(1.0, 1e6),
    buys=st.integers(1, 40),
    sells=st.integers(1, 40),
    days=st.floats(0.001, 1.0),
    model=st.sampled_from([ImpactModel.ALMGREN_2005, ImpactModel.ALMGREN_CHRISS]),
)
def test_no_round_trip_earns_money_with_linear_permanent_impact(
    size: float, buys: int, sells: int, days: float, model: ImpactModel
) -> None:
    trip = [(size / buys, days)] * buys + [(-size / sells, days)] * sells
    assert sequence_cost_bps(trip, CASUAL, ImpactConfig(model=model)) >= -1e-6


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.01, 1.0)), min_size=1, max_size=12))
def test_no_round_trip_of_any_shape_earns_money(legs: list[tuple[float, float]]) -> None:
    trip = [*legs, (-math.fsum(shares for shares, _ in legs), 0.5)]
    assert sequence_cost_bps(trip, CASUAL, DEFAULT) >= -1e-6


def test_the_square_root_pays_whoever_buys_in_pieces_and_sells_at_once() -> None:
    """The review's formula, its temporary impact and whole spreads included: the manipulation the default rules out."""
    trip = [(500.0, 0.001)] * 1000 + [(-500_000.0, 1.0)]  # ten per cent of a day's volume: pieces on one day, sold evenly on the next
    review, default = ImpactConfig(model=ImpactModel.REVIEW), ImpactConfig()
    assert sequence_cost_bps(trip, CASUAL, review) < -50.0
    assert sequence_cost_bps(trip, CASUAL, default) > 0.0


@given(shares=st.floats(1.0, 1e6), days=st.floats(0.01, 1.0))
def test_one_trade_costs_the_same_either_way_of_counting(shares: float, days: float) -> None:
    single = pre_trade_impact(shares, CASUAL, days, DEFAULT)
    assert sequence_cost_bps([(shares, days)], CASUAL, DEFAULT) == pytest.approx(single.cost_bps)
    assert pre_trade_impact(-shares, CASUAL, days, DEFAULT) == single


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"daily_volume": 0.0}, "daily volume"),
        ({"daily_volume": math.nan}, "daily volume"),
        ({"volatility": 0.0}, "volatility"),
        ({"volatility": math.inf}, "volatility"),
        ({"spread": -0.1}, "spread"),
        ({"spread": 1.0}, "spread"),
        ({"shares_outstanding": 0.0}, "outstanding"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, float], says: str) -> None:
    values: dict[str, float] = {"daily_volume": 5e6, "volatility": 0.02, "spread": 0.0004, **changes}
    with pytest.raises(ValueError, match=f"Expected.*{says}"):
        pre_trade_impact(100, Liquidity(**values), 0.5, DEFAULT)  # type: ignore[arg-type]


def test_horizons_and_shares_are_checked_too() -> None:
    with pytest.raises(ValueError, match="horizon above 0"):
        pre_trade_impact(100, CASUAL, 0.0, DEFAULT)
    with pytest.raises(ValueError, match="more than 0 days"):
        optimal_horizon(100, CASUAL, DEFAULT, 0.0)
    with pytest.raises(ValueError, match="finite number of shares"):
        optimal_horizon(math.nan, CASUAL, DEFAULT)
    with pytest.raises(ValueError, match="more than 0 days"):
        sequence_cost_bps([(100.0, 0.0)], CASUAL, DEFAULT)
