"""What an order will cost before it is sent: permanent and temporary impact, half the spread, timing risk, and the best horizon.

For ``X`` shares traded evenly over ``T`` days (one day = one regular session) in a market of ``V`` shares a day, with size ``x = X / V``
and participation ``v = X / (V T)``; everything is a fraction of the arrival price, reported in basis points:

=================  ===================================  ===================================  ===========================
model              permanent shift of the price         temporary cost                       source
=================  ===================================  ===================================  ===========================
``almgren_2005``   0.314 sigma x (Theta / V)^(1/4)      s/2 + 0.142 sigma v^(3/5)            Almgren, Thum, Hauptmann, Li
``almgren_chriss`` 10 s x                               s/2 + 100 s v                        Almgren and Chriss 2000
``review``         0.1 sigma sqrt(x)                    s + 0.2 sigma v^0.6                  the product's own brief
=================  ===================================  ===================================  ===========================

sigma is the daily volatility, s the whole spread, Theta the shares outstanding. A linear permanent impact is met on the way, so half of
it is paid. It has to be linear: Huberman and Stanzl (2004) show that any other form lets somebody buy in pieces, sell at once (or the
other way round) and keep the difference. ``sequence_cost_bps`` prices such round trips; the square root of ``review`` loses money to
them, which is why it can be chosen but is not the default.

Almgren and Chriss size their coefficients by rules of thumb: trading one per cent of the day's volume costs one spread of temporary
impact; selling a tenth of it moves the price by one spread for good.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

BPS = 10_000.0


class ImpactModel(StrEnum):
    """Which formulas; see the module's text."""

    ALMGREN_2005 = "almgren_2005"
    ALMGREN_CHRISS = "almgren_chriss"
    REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Liquidity:
    """How a symbol trades, known before the decision: shares a day, daily volatility and full bid-ask spread as fractions of the price.

    Without ``shares_outstanding`` the turnover of ``ImpactConfig.inverse_turnover`` is assumed. ``volume_curve`` holds the usual share of
    the volume in each of equal parts of the session, from the open to the close; empty = unknown.
    """

    daily_volume: float
    volatility: float
    spread: float
    shares_outstanding: float | None = None
    volume_curve: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ImpactConfig:
    """``risk_aversion``: basis points of expected cost one would pay to be rid of one basis point of timing risk (standard deviation).

    ``max_participation`` bounds the share of volume at which a horizon is planned. ``shortest_days``: the horizon of an order sent at
    once, one minute. ``inverse_turnover``: days the market needs to trade all shares of a typical company once.
    """

    model: ImpactModel = ImpactModel.ALMGREN_2005
    risk_aversion: float = 0.1
    max_participation: float = 0.10
    shortest_days: float = 1.0 / 390.0
    inverse_turnover: float = 200.0


@dataclass(frozen=True, slots=True)
class Impact:
    """One estimate, in basis points of the arrival price: the buyer pays the first three, and risks the last (one standard deviation).

    ``permanent_bps`` is what the trade pays of the lasting shift ``shift_bps``; ``size`` is X / V, ``participation`` X / (V T).
    """

    size: float
    participation: float
    horizon_days: float
    shift_bps: float
    permanent_bps: float
    temporary_bps: float
    spread_bps: float
    timing_risk_bps: float

    @property
    def cost_bps(self) -> float:
        """Expected shortfall against the arrival price."""
        return self.permanent_bps + self.temporary_bps + self.spread_bps

    def utility_bps(self, risk_aversion: float) -> float:
        """What the horizon minimises: expected cost plus the price of its risk."""
        return self.cost_bps + risk_aversion * self.timing_risk_bps


@dataclass(frozen=True, slots=True)
class Horizon:
    """The best time to take, in days, and what set it: ``optimum``, ``participation``, ``session`` (no longer allowed) or ``shortest``."""

    days: float
    binding: str


@dataclass(frozen=True, slots=True)
class _Law:
    """``shift = permanent x^a``, ``temporary = scale v^b``, shares of shift and spread that are paid."""

    permanent: float
    permanent_power: float
    paid: float
    scale: float
    power: float
    spread: float


def pre_trade_impact(shares: float, liquidity: Liquidity, horizon_days: float, config: ImpactConfig) -> Impact:
    """Expected cost of trading ``shares`` (either sign) evenly over ``horizon_days``. Raises ValueError naming what cannot be used."""
    size = _size(shares, liquidity)
    if not (math.isfinite(horizon_days) and horizon_days > 0.0):
        raise ValueError(f"Expected a horizon above 0 days, was {horizon_days!r}")
    law, participation = _law(liquidity, config), size / horizon_days
    shift = law.permanent * size**law.permanent_power
    return Impact(
        size=size,
        participation=participation,
        horizon_days=horizon_days,
        shift_bps=BPS * shift,
        permanent_bps=BPS * shift * law.paid,
        temporary_bps=BPS * law.scale * participation**law.power,
        spread_bps=BPS * law.spread,
        timing_risk_bps=BPS * liquidity.volatility * math.sqrt(horizon_days / 3.0),
    )


def optimal_horizon(shares: float, liquidity: Liquidity, config: ImpactConfig, longest_days: float = 1.0) -> Horizon:
    """The horizon with the least expected cost plus ``risk_aversion`` times timing risk, within the bounds.

    Shares still to be traded carry the risk ``sigma sqrt(T / 3)`` when the rate is even, so the derivative of
    ``scale (x / T)^b + lambda sigma sqrt(T / 3)`` vanishes at ``T = (2 sqrt(3) b scale x^b / (lambda sigma))^(1 / (b + 1/2))``. For
    ``almgren_2005`` sigma cancels: only the size and the aversion matter. Raises ValueError naming what cannot be used.
    """
    size = _size(shares, liquidity)
    if not (math.isfinite(longest_days) and longest_days > 0.0):
        raise ValueError(f"Expected more than 0 days to trade in, was {longest_days!r}")
    law = _law(liquidity, config)
    if size == 0.0:
        return Horizon(min(config.shortest_days, longest_days), "shortest")
    days, binding = _unbounded(size, law, liquidity.volatility, config.risk_aversion), "optimum"
    if days < config.shortest_days:
        days, binding = config.shortest_days, "shortest"
    if size / days > config.max_participation:
        days, binding = size / config.max_participation, "participation"
    return Horizon(days, binding) if days <= longest_days else Horizon(longest_days, "session")


def urgency(shares: float, liquidity: Liquidity, horizon_days: float, config: ImpactConfig) -> float:
    """``kappa T`` of the Almgren-Chriss trajectory that fits this order: 0 trades evenly, 1 and more clearly earlier than later.

    Their mean-variance aversion is taken where it equals ours at the even trajectory (``risk_aversion / (2 sd)``), and the temporary
    impact linearised at its participation: ``(kappa T)^2 = sqrt(3) lambda sigma T^(1/2 + b) / (2 scale x^b)``; at the unbounded optimum
    it is 3 b.
    """
    impact = pre_trade_impact(shares, liquidity, horizon_days, config)
    temporary = impact.temporary_bps / BPS
    if temporary <= 0.0:
        return 0.0
    return math.sqrt(math.sqrt(3.0) * config.risk_aversion * liquidity.volatility * math.sqrt(horizon_days) / (2.0 * temporary))


def sequence_cost_bps(trades: Iterable[tuple[float, float]], liquidity: Liquidity, config: ImpactConfig) -> float:
    """Expected cost of trades one after the other, in basis points of the value of all that was bought or sold, whichever is more.

    ``trades``: (signed shares, days it takes). Each moves the price for good by the model's permanent impact, pays the mean of that move
    on its own way (``shift / (1 + a)``), its temporary impact and its spread. A negative cost of a round trip (shares summing to 0) is a
    price manipulation: the model is wrong.
    """
    law = _law(liquidity, config)
    price, cost, bought, sold = 0.0, 0.0, 0.0, 0.0
    for shares, days in trades:
        size, side = _size(shares, liquidity), math.copysign(1.0, shares)
        if not days > 0.0:
            raise ValueError(f"Expected a trade to take more than 0 days, was {days!r}")
        shift = law.permanent * size**law.permanent_power
        paid = side * price + shift / (1.0 + law.permanent_power) + law.scale * (size / days) ** law.power + law.spread
        cost += size * paid
        price += side * shift
        bought, sold = bought + max(side, 0.0) * size, sold + max(-side, 0.0) * size
    largest = max(bought, sold)
    return BPS * cost / largest if largest else 0.0


def _size(shares: float, liquidity: Liquidity) -> float:
    """|X| / V, after checking everything the formulas divide by."""
    volume, sigma, spread, outstanding = liquidity.daily_volume, liquidity.volatility, liquidity.spread, liquidity.shares_outstanding
    if not math.isfinite(shares):
        raise ValueError(f"Expected a finite number of shares, was {shares!r}")
    if not (math.isfinite(volume) and volume > 0.0):
        raise ValueError(f"Expected a daily volume above 0 shares, was {volume!r}: without it no impact can be told")
    if not (math.isfinite(sigma) and sigma > 0.0):
        raise ValueError(f"Expected a daily volatility above 0, was {sigma!r}")
    if not (math.isfinite(spread) and 0.0 <= spread < 1.0):
        raise ValueError(f"Expected a spread as a fraction of the price in [0, 1), was {spread!r}")
    if outstanding is not None and not (math.isfinite(outstanding) and outstanding > 0.0):
        raise ValueError(f"Expected shares outstanding above 0 or None, was {outstanding!r}")
    return abs(shares) / volume


def _law(liquidity: Liquidity, config: ImpactConfig) -> _Law:
    sigma, spread = liquidity.volatility, liquidity.spread
    if config.model is ImpactModel.ALMGREN_CHRISS:
        return _Law(10.0 * spread, 1.0, 0.5, 100.0 * spread, 1.0, spread / 2.0)
    if config.model is ImpactModel.REVIEW:  # as written: the whole shift is paid, and the whole spread
        return _Law(0.1 * sigma, 0.5, 1.0, 0.2 * sigma, 0.6, spread)
    outstanding = liquidity.shares_outstanding
    turnover = outstanding / liquidity.daily_volume if outstanding is not None else config.inverse_turnover
    return _Law(0.314 * sigma * turnover**0.25, 1.0, 0.5, 0.142 * sigma, 0.6, spread / 2.0)


def _unbounded(size: float, law: _Law, volatility: float, risk_aversion: float) -> float:
    temporary = law.scale * size**law.power
    if temporary <= 0.0:
        return 0.0
    if risk_aversion <= 0.0:
        return math.inf
    ratio: float = 2.0 * math.sqrt(3.0) * law.power * temporary / (risk_aversion * volatility)
    days: float = ratio ** (1.0 / (law.power + 0.5))
    return days
