"""How kindly the market treats an order: the three fill profiles and the fee schedule, as plain numbers.

Every convention is listed in ``docs/fills.md``. ``pessimistic`` is the default of backtests, demo and paper session.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Regulatory fees on SELL executions, each rounded up to the cent; Alpaca charges no commission on stocks.

    ``sec_per_dollar`` is the SEC Section 31 rate, ``taf_per_share`` FINRA's trading activity fee, capped at ``taf_cap`` per execution.
    """

    commission_per_share: Decimal = Decimal("0")
    sec_per_dollar: Decimal = Decimal("0")
    taf_per_share: Decimal = Decimal("0")
    taf_cap: Decimal = Decimal("0")


US_FEES = FeeSchedule(sec_per_dollar=Decimal("0.0000278"), taf_per_share=Decimal("0.000166"), taf_cap=Decimal("8.30"))


@dataclass(frozen=True, slots=True)
class FillProfile:
    """One set of fill conventions. Prices in dollars, ``_bps`` in 1/10,000 of the price, probabilities and shares in [0, 1].

    ``half_spread_bps`` (times ``spread_multiplier``, at least ``minimum_half_spread``) is paid by every order that takes liquidity. It is
    wider by up to ``open_widening`` at the opening bell, up to ``volatility_widening`` in volatile stocks and times, and by
    ``extended_widening`` outside regular hours (see ``fills.spread_widening``).
    ``impact_coefficient`` is Y in the square-root law: impact = Y * volatility * sqrt(quantity / volume), volatility and volume lagged.
    ``latency_seconds``: an order meets the price so long after it was sent where the path is that fine; where it is coarser, takers lose
    ``adverse_fraction`` of a one-sigma move over that time (the honest form of "half of an adverse move").
    ``participation`` caps what one account may take of the volume of each stretch of a bar; ``early_volume_share`` is the part of a
    bar's volume that trades in the first fifth of its time. ``rejection_probability`` hits orders that open exposure.
    A resting limit fills once price trades through it by ``limit_through_ticks`` ticks, or at a touch by the volume beyond the shares ahead
    of it: on average ``queue_minutes`` of usual volume when it joins its level. ``adverse_selection`` of the fills at a touch after
    which the bar ends in its favour are denied.
    ``path`` orders the extremes inside a bar: ``adverse_first`` for the open position, ``nearest_first`` to the open, ``favourable_first``.
    """

    name: str
    half_spread_bps: float
    spread_multiplier: float
    minimum_half_spread: float
    open_widening: float
    volatility_widening: float
    extended_widening: float
    impact_coefficient: float
    latency_seconds: float
    adverse_fraction: float
    participation: float
    early_volume_share: float
    rejection_probability: float
    limit_through_ticks: int
    queue_minutes: float
    adverse_selection: float
    path: str
    fees: FeeSchedule = field(default_factory=FeeSchedule)

    def __post_init__(self) -> None:
        for name in ("participation", "early_volume_share", "rejection_probability", "adverse_selection", "adverse_fraction"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"expected {name} between 0 and 1, found {value}")
        for name in (
            "half_spread_bps",
            "spread_multiplier",
            "minimum_half_spread",
            "impact_coefficient",
            "latency_seconds",
            "queue_minutes",
        ):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"expected {name} >= 0, found {getattr(self, name)}")
        for name in ("open_widening", "volatility_widening", "extended_widening"):
            if not 1.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"expected {name} >= 1, found {getattr(self, name)}")
        if self.limit_through_ticks < 0:
            raise ValueError(f"expected limit_through_ticks >= 0, found {self.limit_through_ticks}")
        if self.path not in ("adverse_first", "nearest_first", "favourable_first"):
            raise ValueError(f"expected path adverse_first, nearest_first or favourable_first, found {self.path!r}")


OPTIMISTIC = FillProfile(
    name="optimistic",
    half_spread_bps=0.0,
    spread_multiplier=1.0,
    minimum_half_spread=0.0,
    open_widening=1.0,
    volatility_widening=1.0,
    extended_widening=1.0,
    impact_coefficient=0.0,
    latency_seconds=0.0,
    adverse_fraction=0.0,
    participation=1.0,
    early_volume_share=0.4,
    rejection_probability=0.0,
    limit_through_ticks=0,
    queue_minutes=0.0,
    adverse_selection=0.0,
    path="favourable_first",
)

BASE = FillProfile(
    name="base",
    half_spread_bps=1.0,
    spread_multiplier=1.0,
    minimum_half_spread=0.005,
    open_widening=1.5,
    volatility_widening=2.0,
    extended_widening=2.0,
    impact_coefficient=0.5,
    latency_seconds=2.0,
    adverse_fraction=0.5,
    participation=0.02,
    early_volume_share=0.4,
    rejection_probability=0.02,
    limit_through_ticks=1,
    queue_minutes=0.5,
    adverse_selection=0.25,
    path="nearest_first",
    fees=US_FEES,
)

PESSIMISTIC = FillProfile(
    name="pessimistic",
    half_spread_bps=1.0,
    spread_multiplier=1.5,
    minimum_half_spread=0.005,
    open_widening=2.0,
    volatility_widening=3.0,
    extended_widening=4.0,
    impact_coefficient=1.0,
    latency_seconds=30.0,
    adverse_fraction=0.5,
    participation=0.005,
    early_volume_share=0.4,
    rejection_probability=0.08,
    limit_through_ticks=1,
    queue_minutes=2.0,
    adverse_selection=0.5,
    path="adverse_first",
    fees=US_FEES,
)

PROFILES = {profile.name: profile for profile in (OPTIMISTIC, BASE, PESSIMISTIC)}


def profile_named(name: str) -> FillProfile:
    """The profile called ``name``.

    Raises:
        ValueError: for an unknown name.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(f"expected a fill profile out of {', '.join(PROFILES)}, found {name!r}") from None
