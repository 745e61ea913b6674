"""The choice between one order and many: every plan is whole, in time and within its caps; settings reach the core."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrade_pipelines.bootstrap import core_config
from alphatrade_pipelines.risk import ImpactConfig, ImpactModel, Liquidity
from alphatrade_pipelines.settings import load_settings
from alphatrade_pipelines.trading import CoreConfig
from alphatrade_pipelines.trading.domain import Side
from alphatrade_pipelines.trading.execution import Algo, ExecutionConfig, Occasion, plan_parent, slice_limit

NOW = datetime(2024, 3, 1, 15, 0, tzinfo=UTC)
MARKET = Liquidity(daily_volume=1e6, volatility=0.02, spread=0.0005, volume_curve=(3.0, 1.0, 1.0, 2.0))


def occasion(qty: int, **changes: object) -> Occasion:
    plain = Occasion("AAPL", Side.BUY, Decimal(qty), "entry", "decision", NOW, Decimal("110.00"), MARKET, 20_000.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


@given(
    qty=st.integers(1, 10**7),
    algo=st.sampled_from(list(Algo)),
    volume=st.floats(1e3, 1e9),
    left=st.floats(0.0, 23_400.0),
    known=st.booleans(),
    smallest=st.sampled_from([1, 50]),
)
def test_every_plan_is_whole_and_in_time(qty: int, algo: Algo, volume: float, left: float, known: bool, smallest: int) -> None:
    config = ExecutionConfig(algo=algo, smallest=smallest)
    market = replace(MARKET, daily_volume=volume) if known else None
    plan = plan_parent(occasion(qty, liquidity=market, left_s=left), config)
    assert plan == plan_parent(occasion(qty, liquidity=market, left_s=left), config)
    if algo is Algo.SINGLE or (algo is Algo.AUTO and not known) or left < 2 * config.slice_s:
        assert plan is None
    if plan is None:
        return
    assert plan.duration_s <= left
    assert plan.interval_s >= config.slice_s * (1 - 1e-12)
    assert plan.rate <= plan.cap
    if plan.algo == "pov":
        assert plan.path == ()
    else:
        assert 2 <= len(plan.path) <= config.max_slices
        assert plan.path[-1] == qty
        assert list(plan.path) == sorted(plan.path)


def test_shortfall_is_early_twap_is_even_vwap_follows_the_curve() -> None:
    def path(algo: Algo) -> list[int]:
        plan = plan_parent(occasion(1200, left_s=23_400.0), ExecutionConfig(algo=algo, max_slices=4))
        assert plan is not None
        return [int(shares) for shares in plan.path]

    assert path(Algo.TWAP) == [300, 600, 900, 1200]
    early = path(Algo.SHORTFALL)
    assert early[0] > 400
    assert early[1] > 700
    patient = ExecutionConfig(algo=Algo.VWAP, max_slices=4, impact=ImpactConfig(risk_aversion=0.0))  # takes the whole session
    vwap = plan_parent(occasion(1400, left_s=23_400.0), patient)
    assert vwap is not None
    assert [int(shares) for shares in vwap.path] == [600, 800, 1000, 1400]
    half_day = plan_parent(occasion(1400, left_s=12_600.0, session_s=12_600.0), patient)
    assert half_day is not None
    assert half_day.path == vwap.path, "a half day runs through the same curve"
    assert half_day.interval_s == 12_600.0 / 4


def test_the_next_slice_limit_never_passes_the_parent_limit() -> None:
    config = ExecutionConfig()
    assert slice_limit(Side.BUY, Decimal(100), Decimal("110"), config, last=False) == Decimal("100.50")
    assert slice_limit(Side.BUY, Decimal("109.90"), Decimal("110.00"), config, last=True) == Decimal("110.00")
    assert slice_limit(Side.SELL, Decimal(100), Decimal("90"), config, last=False) == Decimal("99.50")
    assert slice_limit(Side.SELL, Decimal(100), Decimal("99.80"), config, last=False) == Decimal("99.80")
    assert slice_limit(Side.BUY, Decimal(100), Decimal("110"), replace(config, passive=True), last=False) == Decimal("100.00")
    assert slice_limit(Side.BUY, Decimal(100), Decimal("110"), replace(config, passive=True), last=True) == Decimal("100.50")


@pytest.mark.parametrize(
    "wrong", [{"slice_s": 0.0}, {"pov_rate": 0.5}, {"at_close": "hope"}, {"max_slices": 0}, {"impact": ImpactConfig(max_participation=2.0)}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        ExecutionConfig(**wrong)  # type: ignore[arg-type]


def test_the_configuration_travels_with_the_session() -> None:
    config = CoreConfig(execution=ExecutionConfig(algo=Algo.POV, impact=ImpactConfig(ImpactModel.REVIEW), at_close="resume"))
    assert CoreConfig.from_json(config.to_json()) == config


def test_settings_choose_the_algorithm_and_daily_bars_send_whole_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHATRADE_EXECUTION__ALGO", "vwap")
    monkeypatch.setenv("ALPHATRADE_EXECUTION__IMPACT", "almgren_chriss")
    assert core_config(load_settings()).execution.algo is Algo.SINGLE
    monkeypatch.setenv("ALPHATRADE_MARKET__TIMEFRAME", "5Min")
    chosen = core_config(load_settings()).execution
    assert (chosen.algo, chosen.impact.model) == (Algo.VWAP, ImpactModel.ALMGREN_CHRISS)
    monkeypatch.delenv("ALPHATRADE_EXECUTION__ALGO")
    assert core_config(load_settings()).execution.algo is Algo.AUTO
