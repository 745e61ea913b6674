"""How much to buy: fractional Kelly on a conservative probability, capped by equity and by the loss at the stop.

Kelly (1956): a bet that wins ``b`` for each unit lost, with probability ``p``, deserves the fraction ``f* = (p b - (1 - p)) / b`` of
wealth AT RISK. What a bracket risks is its distance to the stop, so the position's value is ``f / stop distance`` of equity. A stop
does not cap a gap; the cap on the position's value does (Thorp 2006; MacLean, Thorp and Ziemba 2010).

Which ``p``: the calibrated lower bound of THIS trade, moved down by what the record of past trades says about such claims. The record
is a Beta posterior of the win rate. Its lower credible bound alone would be 0.438 for the prior Beta(52, 48) and would stop all
trading for ever, so it never replaces the claim: it is compared with the lower bound of the SAME posterior had every past trade won as
often as the model claimed. No trades, or trades that keep their promise: no correction. Trades that win less often than promised pull
every later probability down by the difference of the two bounds; winning more than promised earns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from scipy.special import betaincinv


@dataclass(frozen=True, slots=True)
class SizingConfig:
    """Fractions are of equity. ``volatility_target`` (per bar) scales positions down when volatility exceeds it; None = off."""

    kelly_fraction: float = 0.5
    max_symbol_fraction: float = 0.15
    max_loss_at_stop: float = 0.01
    prior_win_rate: float = 0.52
    prior_strength: float = 100.0
    credible_interval: float = 0.90
    trade_correlation: float = 0.5
    volatility_target: float | None = None


@dataclass(frozen=True, slots=True)
class WinRecord:
    """Evidence from closed trades: effective number of wins and losses, and the effective number of wins the model had claimed."""

    wins: float = 0.0
    losses: float = 0.0
    claimed: float = 0.0

    def after(self, won: bool, claimed: float, concurrent: int, config: SizingConfig) -> WinRecord:
        """Learn from one closed trade. ``n`` overlapping trades with correlation rho weigh 1 / (1 + (n - 1) rho) each."""
        weight = 1.0 / (1.0 + max(concurrent - 1, 0) * config.trade_correlation)
        return WinRecord(
            wins=self.wins + (weight if won else 0.0),
            losses=self.losses + (0.0 if won else weight),
            claimed=self.claimed + weight * claimed,
        )


@dataclass(frozen=True, slots=True)
class PositionSize:
    """``qty`` whole shares; ``probability`` and ``payoff`` as used; ``kelly`` the full fraction; ``binding`` the rule that set the size."""

    qty: Decimal
    probability: float
    payoff: float
    kelly: float
    risk_fraction: float
    value_fraction: float
    binding: str


def kelly_fraction(probability: float, payoff: float) -> float:
    """Fraction of wealth to put at risk, ``(p b - (1 - p)) / b``; negative when the bet loses on average.

    Raises ValueError unless 0 <= p <= 1 and b > 0.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"Expected a probability in [0, 1], was {probability!r}")
    if not payoff > 0.0:
        raise ValueError(f"Expected a payoff ratio above 0, was {payoff!r}")
    return (probability * payoff - (1.0 - probability)) / payoff


def win_rate_interval(record: WinRecord, config: SizingConfig) -> tuple[float, float]:
    """Equal-tailed credible interval of the win rate under the Beta posterior of the record."""
    alpha, beta = _posterior(record, config)
    tail = (1.0 - config.credible_interval) / 2.0
    return float(betaincinv(alpha, beta, tail)), float(betaincinv(alpha, beta, 1.0 - tail))


def record_correction(record: WinRecord, config: SizingConfig) -> float:
    """What past trades take off a claimed probability: <= 0, exactly 0 without trades (see the module's text)."""
    trades = record.wins + record.losses
    if trades == 0.0:
        return 0.0
    as_claimed = WinRecord(wins=record.claimed, losses=trades - record.claimed)
    return min(0.0, win_rate_interval(record, config)[0] - win_rate_interval(as_claimed, config)[0])


def size_position(
    *,
    lower: float,
    payoff: float,
    payoff_error: float,
    price: Decimal,
    stop: Decimal,
    equity: Decimal,
    volatility: float,
    record: WinRecord,
    config: SizingConfig,
) -> PositionSize:
    """Whole shares to trade at ``price`` with the protective stop at ``stop`` (account currency); 0 when there is no edge.

    ``payoff`` is lowered by its standard error ``payoff_error``; both are net of cost. Raises ValueError when the price is not
    positive or equals the stop.
    """
    if price <= 0 or price == stop:
        raise ValueError(f"Expected a positive price away from its stop, was price {price} with stop {stop}")
    probability = min(1.0, max(0.0, lower + record_correction(record, config)))
    cautious_payoff = payoff - payoff_error
    edge = kelly_fraction(probability, cautious_payoff) if cautious_payoff > 0.0 else 0.0
    if not edge > 0.0:
        return PositionSize(Decimal(0), probability, cautious_payoff, edge, 0.0, 0.0, "no_edge")
    stop_distance = float(abs(price - stop) / price)
    risk, value, binding = _capped(edge, stop_distance, volatility, config)
    # 12 digits: the last bits of binary fractions must not decide about a share
    qty = (equity * Decimal(repr(round(value, 12))) / price).to_integral_value(ROUND_FLOOR)
    if qty <= 0:
        binding = "below_one_share"
    return PositionSize(max(qty, Decimal(0)), probability, cautious_payoff, edge, risk, value, binding)


def _capped(edge: float, stop_distance: float, volatility: float, config: SizingConfig) -> tuple[float, float, str]:
    risk, binding = edge * config.kelly_fraction, "kelly"
    if risk > config.max_loss_at_stop:
        risk, binding = config.max_loss_at_stop, "loss_at_stop"
    value = risk / stop_distance
    if config.volatility_target is not None and volatility > config.volatility_target:
        value *= config.volatility_target / volatility
    if value > config.max_symbol_fraction:
        value, binding = config.max_symbol_fraction, "symbol_cap"
    return value * stop_distance, value, binding


def _posterior(record: WinRecord, config: SizingConfig) -> tuple[float, float]:
    alpha = config.prior_win_rate * config.prior_strength + record.wins
    beta = (1.0 - config.prior_win_rate) * config.prior_strength + record.losses
    return alpha, beta
