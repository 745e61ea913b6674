"""Kelly against its published form and against simulated wealth; the record's correction; caps."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from alphatrade_pipelines.risk import SizingConfig, WinRecord, kelly_fraction, record_correction, size_position, win_rate_interval
from alphatrade_pipelines.risk.sizing import PositionSize

CONFIG = SizingConfig()


def size(**changes: object) -> PositionSize:
    values: dict[str, object] = {
        "lower": 0.55,
        "payoff": 1.2,
        "payoff_error": 0.1,
        "price": Decimal("100"),
        "stop": Decimal("96"),
        "equity": Decimal("100000"),
        "volatility": 0.02,
        "record": WinRecord(),
        "config": CONFIG,
    }
    return size_position(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("p", "b", "expected"), [(0.6, 1.0, 0.2), (0.4, 2.0, 0.1), (0.6, 0.5, -0.2), (0.5, 1.0, 0.0), (1.0, 3.0, 1.0)])
def test_kelly_at_known_points(p: float, b: float, expected: float) -> None:
    assert kelly_fraction(p, b) == pytest.approx(expected, abs=1e-12)


@given(st.floats(0.05, 0.95), st.floats(0.2, 5.0))
def test_kelly_maximises_expected_log_growth(p: float, b: float) -> None:
    found = optimize.minimize_scalar(
        lambda f: -(p * math.log1p(b * f) + (1 - p) * math.log1p(-f)), bounds=(0.0, 1 - 1e-9), method="bounded", options={"xatol": 1e-10}
    )
    assert max(kelly_fraction(p, b), 0.0) == pytest.approx(found.x, abs=2e-5)


@pytest.mark.parametrize(("p", "b"), [(-0.1, 1.0), (1.1, 1.0), (math.nan, 1.0), (0.5, 0.0), (0.5, -1.0), (0.5, math.nan)])
def test_kelly_refuses_impossible_inputs(p: float, b: float) -> None:
    with pytest.raises(ValueError, match="Expected"):
        kelly_fraction(p, b)


def test_prior_alone_has_the_known_lower_bound_and_corrects_nothing() -> None:
    lower, upper = win_rate_interval(WinRecord(), CONFIG)
    assert lower == pytest.approx(stats.beta(52, 48).ppf(0.05), rel=1e-9)
    assert upper == pytest.approx(stats.beta(52, 48).ppf(0.95), rel=1e-9)
    assert round(lower, 3) == 0.438  # alone it would forbid every even-money trade for ever
    assert record_correction(WinRecord(), CONFIG) == 0.0
    assert size().qty > 0


@given(st.integers(1, 400), st.floats(0.35, 0.75), st.data())
def test_record_never_raises_and_falls_with_broken_promises(trades: int, claimed: float, data: st.DataObject) -> None:
    wins = data.draw(st.integers(0, trades))
    correction = record_correction(WinRecord(wins, trades - wins, trades * claimed), CONFIG)
    assert correction <= 0.0
    if wins >= trades * claimed:
        assert correction == 0.0
    elif wins < trades * claimed - 1e-6:
        assert correction < 0.0
    if wins:
        assert record_correction(WinRecord(wins - 1, trades - wins + 1, trades * claimed), CONFIG) <= correction


def test_a_model_that_keeps_its_promise_goes_on_trading_and_one_that_does_not_stops() -> None:
    honest, liar = WinRecord(), WinRecord()
    rng = np.random.default_rng(7)
    for _ in range(500):
        honest = honest.after(bool(rng.random() < 0.60), 0.58, 1, CONFIG)
        liar = liar.after(bool(rng.random() < 0.40), 0.58, 1, CONFIG)
    assert size(record=honest).qty == size().qty
    assert size(record=liar).qty == 0
    assert size(record=liar).binding == "no_edge"


def test_overlapping_trades_are_less_evidence() -> None:
    alone, crowded = WinRecord().after(True, 0.6, 1, CONFIG), WinRecord().after(True, 0.6, 5, CONFIG)
    assert alone == WinRecord(1.0, 0.0, 0.6)
    assert crowded.wins == pytest.approx(1 / 3)  # effective size n / (1 + (n - 1) rho) of n = 5, rho = 0.5, per trade
    assert crowded.claimed == pytest.approx(0.2)


def test_size_by_hand() -> None:
    """p .52, b 1.0: f* = .04; half Kelly risks 2 %, capped at 1 % lost at a stop 10 % away: 10 % of equity in shares of 100."""
    sized = size(lower=0.52, payoff=1.1, payoff_error=0.1, stop=Decimal("90"))
    assert sized.kelly == pytest.approx(0.04)
    assert (sized.qty, sized.binding) == (Decimal(100), "loss_at_stop")
    smaller = size(lower=0.505, payoff=1.1, payoff_error=0.1, stop=Decimal("90"))
    assert smaller.kelly == pytest.approx(0.01)
    assert (smaller.qty, smaller.binding) == (Decimal(50), "kelly")  # 0.5 % at risk = 5 % of equity
    near = size(stop=Decimal("99"))
    assert (near.qty, near.binding) == (Decimal(150), "symbol_cap")


def test_uncertain_payoff_shrinks_and_finally_forbids() -> None:
    sizes = [size(lower=0.5, payoff_error=error, stop=Decimal("80")).qty for error in (0.0, 0.1, 0.19, 0.21, 2.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-2:] == [0, 0]


def test_losing_bet_with_high_probability_is_not_bought() -> None:
    assert size(lower=0.6, payoff=0.5, payoff_error=0.0).qty == 0  # 2p - 1 would have bought it


def test_high_volatility_only_shrinks() -> None:
    config = SizingConfig(volatility_target=0.02)
    base = size(config=config, stop=Decimal("90"))
    assert size(config=config, volatility=0.01, stop=Decimal("90")) == base
    assert size(config=config, volatility=0.04, stop=Decimal("90")).qty == base.qty // 2


@given(st.floats(0, 1), st.floats(0.1, 5), st.floats(0, 1), st.integers(2, 5000), st.floats(0.2, 0.99), st.integers(1000, 10_000_000))
def test_caps_hold_for_any_input(lower: float, payoff: float, error: float, price: int, stop_at: float, equity: int) -> None:
    stop = (Decimal(price) * Decimal(repr(stop_at))).quantize(Decimal("0.01"))
    if stop == price:
        return
    sized = size(lower=lower, payoff=payoff, payoff_error=error, price=Decimal(price), stop=stop, equity=Decimal(equity))
    assert sized.qty == sized.qty.to_integral_value()
    assert 0 <= sized.qty * price <= Decimal("0.15001") * equity
    assert sized.qty * (price - stop) <= Decimal("0.010001") * equity


@pytest.mark.parametrize(("price", "stop"), [("0", "1"), ("-1", "1"), ("5", "5")])
def test_impossible_prices_are_refused(price: str, stop: str) -> None:
    with pytest.raises(ValueError, match="Expected a positive price"):
        size(price=Decimal(price), stop=Decimal(stop))
