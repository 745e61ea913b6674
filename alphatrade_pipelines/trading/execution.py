"""One order or many? The pre-trade impact of an order decides how it is traded, unless the configuration does.

``auto``: an order whose slicing would not save ``saving_bps`` goes out whole. Otherwise the horizon with the least cost and risk sets the
pace: Almgren-Chriss (``shortfall``) where it is free to, ``vwap`` (``twap`` without a volume curve) where the session ends sooner, ``pov``
where the participation cap binds, because then real volume must lead. Without liquidity in the signal, ``auto`` sends single orders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from alphatrade_pipelines.risk import Impact, ImpactConfig, Liquidity, optimal_horizon, pre_trade_impact, urgency
from alphatrade_pipelines.trading.domain import ParentOrder, Side
from alphatrade_pipelines.trading.schedules import cumulative_shares, shortfall_weights, twap_weights, vwap_weights

REGULAR_SESSION_S = 23_400.0
CENT = Decimal("0.01")
# kappa T at the unbounded optimum of the default impact, sqrt(3 * 0.6): used when nothing is known of the market
FREE_URGENCY = 1.8**0.5


class Algo(StrEnum):
    """How an order is traded; AUTO lets its impact decide, SINGLE never slices."""

    AUTO = "auto"
    SINGLE = "single"
    TWAP = "twap"
    VWAP = "vwap"
    POV = "pov"
    SHORTFALL = "shortfall"


@dataclass(frozen=True, slots=True)
class ExecutionConfig:
    """``slice_s`` is the least time between slices, ``max_slices`` the most of them; a plan that fits only one slice is a single order.

    ``horizon_s``: how long an algorithm chosen by name works when the signal tells no liquidity. ``pov_rate``: share of the volume a POV
    chosen by name follows; ``impact.max_participation`` caps it. ``slice_collar``: how far beyond the last price the limit of a slice may
    be. ``passive``: slices but the last rest at the last price instead. ``exits``: time exits are worked too (stops, halts and flattening
    never are). ``at_close``: an unfinished parent is ``cancel``led or ``resume``d by the next session.
    """

    algo: Algo = Algo.AUTO
    impact: ImpactConfig = field(default_factory=ImpactConfig)
    saving_bps: float = 5.0
    slice_s: float = 300.0
    max_slices: int = 12
    horizon_s: float = 1800.0
    pov_rate: float = 0.05
    catch_up: float = 2.0
    smallest: int = 1
    slice_collar: float = 0.005
    passive: bool = False
    exits: bool = True
    at_close: str = "cancel"

    def __post_init__(self) -> None:
        if not (self.slice_s > 0 and self.horizon_s > 0 and self.max_slices >= 1 and self.smallest >= 1 and self.catch_up >= 1):
            raise ValueError("Expected slice_s and horizon_s above 0, max_slices, smallest and catch_up of at least 1")
        if not 0 < self.pov_rate <= self.impact.max_participation <= 1:
            raise ValueError(f"Expected 0 < pov_rate <= max_participation <= 1, was {self.pov_rate} and {self.impact.max_participation}")
        if self.at_close not in ("cancel", "resume"):
            raise ValueError(f"Expected at_close to be cancel or resume, was {self.at_close!r}")


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is to be traded, and when: ``left_s`` of a session of ``session_s`` seconds are left (all of it before the open)."""

    symbol: str
    side: Side
    qty: Decimal
    purpose: str
    decision_id: str
    decision_time: datetime
    limit_price: Decimal
    liquidity: Liquidity | None
    left_s: float
    session_s: float = REGULAR_SESSION_S


@dataclass(frozen=True, slots=True)
class _Choice:
    algo: Algo
    seconds: float
    why: str
    planned: Impact | None = None
    single: Impact | None = None


def plan_parent(occasion: Occasion, config: ExecutionConfig) -> ParentOrder | None:
    """The parent order for this occasion, or None when it should be one order."""
    if int(occasion.left_s // config.slice_s) < 2:  # no room for two slices
        return None
    choice = _choose(occasion, config)
    seconds = min(choice.seconds, occasion.left_s)
    slices = min(config.max_slices, int(seconds // config.slice_s))
    if choice.algo is Algo.SINGLE or slices < 2 or occasion.qty < 2 * config.smallest or occasion.qty != occasion.qty.to_integral_value():
        return None
    by_volume = choice.algo is Algo.POV
    cap = Decimal(repr(config.impact.max_participation))
    return ParentOrder(
        symbol=occasion.symbol,
        side=occasion.side,
        qty=occasion.qty,
        purpose=occasion.purpose,
        algo=choice.algo.value,
        decision_id=occasion.decision_id,
        decision_time=occasion.decision_time,
        duration_s=seconds,
        interval_s=config.slice_s if by_volume else seconds / slices,
        path=() if by_volume else _path(occasion, choice, slices, config),
        rate=Decimal(repr(config.pov_rate)) if config.algo is Algo.POV else cap,
        cap=cap,
        catch_up=Decimal(repr(config.catch_up)),
        limit_price=occasion.limit_price,
        at_close=config.at_close,
        why=choice.why,
        planned_bps=choice.planned.cost_bps if choice.planned else 0.0,
        single_bps=choice.single.cost_bps if choice.single else 0.0,
    )


def slice_limit(side: Side, mark: Decimal, limit_price: Decimal, config: ExecutionConfig, *, last: bool) -> Decimal:
    """Limit of a slice, in whole cents: marketable by the collar (or at the last price, ``passive``), never beyond the parent's limit."""
    collar = Decimal(0) if config.passive and not last else Decimal(repr(config.slice_collar))
    if side is Side.BUY:
        return min((mark * (1 + collar)).quantize(CENT, ROUND_CEILING), limit_price)
    return max((mark * (1 - collar)).quantize(CENT, ROUND_FLOOR), limit_price)


def _choose(occasion: Occasion, config: ExecutionConfig) -> _Choice:
    liquidity, shares = occasion.liquidity, float(occasion.qty)
    if config.algo is Algo.SINGLE:
        return _Choice(Algo.SINGLE, 0.0, "by configuration")
    if liquidity is None or occasion.left_s <= 0.0:
        algo = Algo.SINGLE if config.algo is Algo.AUTO else config.algo
        return _Choice(algo, config.horizon_s, "the signal tells no liquidity")
    left_days = occasion.left_s / occasion.session_s
    best = optimal_horizon(shares, liquidity, config.impact, left_days)
    planned = pre_trade_impact(shares, liquidity, best.days, config.impact)
    single = pre_trade_impact(shares, liquidity, config.impact.shortest_days, config.impact)
    seconds = best.days * occasion.session_s
    if config.algo is not Algo.AUTO:
        if config.algo is Algo.POV:  # twice as long as the usual volume would need: on a thin day it needs more
            seconds = 2.0 * planned.size / config.pov_rate * occasion.session_s
        return _Choice(config.algo, max(seconds, 2.0 * config.slice_s), "by configuration", planned, single)
    aversion = config.impact.risk_aversion
    saving = single.utility_bps(aversion) - planned.utility_bps(aversion)
    if saving < config.saving_bps:
        return _Choice(Algo.SINGLE, seconds, f"slicing would save {saving:.1f} bps", planned, single)
    why = f"slicing saves {saving:.1f} bps, the horizon of {seconds:.0f} s is set by {best.binding}"
    if best.binding == "participation" or planned.participation > config.impact.max_participation * (1 + 1e-9):
        return _Choice(Algo.POV, max(2.0 * seconds, 2.0 * config.slice_s), why, planned, single)
    if best.binding == "session":
        return _Choice(Algo.VWAP if liquidity.volume_curve else Algo.TWAP, seconds, why, planned, single)
    return _Choice(Algo.SHORTFALL, seconds, why, planned, single)


def _path(occasion: Occasion, choice: _Choice, slices: int, config: ExecutionConfig) -> tuple[Decimal, ...]:
    seconds, liquidity = min(choice.seconds, occasion.left_s), occasion.liquidity
    weights = twap_weights(slices)
    if choice.algo is Algo.VWAP and liquidity is not None:
        start = min(max(1.0 - occasion.left_s / occasion.session_s, 0.0), 1.0)
        end = min(start + seconds / occasion.session_s, 1.0)
        if start < end:
            weights = vwap_weights(liquidity.volume_curve, start, end, slices)
    elif choice.algo is Algo.SHORTFALL:
        haste = FREE_URGENCY
        if liquidity is not None:
            haste = urgency(float(occasion.qty), liquidity, seconds / occasion.session_s, config.impact)
        weights = shortfall_weights(haste, slices)
    return cumulative_shares(occasion.qty, weights, smallest=Decimal(config.smallest))
