"""Limits and breakers: small state machines that can say no to an entry. Exits, cancels and protection never ask them."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from alphatrade_pipelines.risk.denials import Denial

VOLATILITY_SPAN = 60
VOLATILITY_MINIMUM = 20


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """``max_daily_loss`` and the exposures are fractions of equity; an order's value is in account currency, its quantity in shares;
    ``volatility_spike`` is a multiple of the symbol's average."""

    max_trades_a_day: int = 100
    max_consecutive_losses: int = 5
    loss_cooldown_sessions: int = 1
    max_daily_loss: float = 0.03
    max_gross_exposure: float = 1.0
    max_net_exposure: float = 1.0
    max_symbol_exposure: float = 0.25
    max_order_value: float = 1_000_000.0
    max_order_qty: int = 100_000
    max_positions: int = 10
    volatility_spike: float = 3.0


@dataclass(slots=True)
class Average:
    """Exponentially weighted mean of one symbol's volatility, and how many values it has seen."""

    value: float
    count: int


@dataclass(slots=True)
class LimitState:
    """What the limits remember. Changed only by the functions of this module, which the core calls while applying events."""

    session: str = ""
    trades: int = 0
    losses_in_a_row: int = 0
    cooldown: int = 0
    opening_equity: Decimal | None = None
    tripped: dict[str, str] = field(default_factory=dict)
    volatility: dict[str, Average] = field(default_factory=dict)


def begin_session(state: LimitState, session: str) -> None:
    """A new trading session (named by its date): daily counters restart, a loss breaker serves its cool-down."""
    if session == state.session:
        return
    state.session, state.trades, state.opening_equity = session, 0, None
    state.tripped.pop("LIMIT_DAILY_LOSS", None)
    if "LIMIT_CONSECUTIVE_LOSSES" in state.tripped:
        state.cooldown -= 1
        if state.cooldown < 0:
            del state.tripped["LIMIT_CONSECUTIVE_LOSSES"]
            state.losses_in_a_row = 0


def record_equity(state: LimitState, equity: Decimal, config: LimitsConfig) -> None:
    """The session's first equity is its yardstick; a loss beyond the limit trips the daily breaker until the next session."""
    if state.opening_equity is None:
        state.opening_equity = equity
    floor = state.opening_equity * (1 - Decimal(repr(config.max_daily_loss)))
    if equity < floor and "LIMIT_DAILY_LOSS" not in state.tripped:
        state.tripped["LIMIT_DAILY_LOSS"] = f"equity {equity} fell below {floor:.2f}, the session began with {state.opening_equity}"


def record_entry(state: LimitState) -> None:
    """One more decision became an order."""
    state.trades += 1


def record_closed_trade(state: LimitState, won: bool, config: LimitsConfig) -> None:
    """Count losses in a row; at the limit the breaker trips for this session and the cool-down sessions after it."""
    state.losses_in_a_row = 0 if won else state.losses_in_a_row + 1
    if state.losses_in_a_row >= config.max_consecutive_losses and "LIMIT_CONSECUTIVE_LOSSES" not in state.tripped:
        state.tripped["LIMIT_CONSECUTIVE_LOSSES"] = f"{state.losses_in_a_row} losing trades in a row"
        state.cooldown = config.loss_cooldown_sessions


def record_volatility(state: LimitState, symbol: str, volatility: float) -> None:
    """Keep each symbol's usual volatility; NaN and non-positive values are not evidence."""
    if not volatility > 0.0:
        return
    seen = state.volatility.get(symbol)
    if seen is None:
        state.volatility[symbol] = Average(volatility, 1)
        return
    seen.count += 1
    weight = 2.0 / (min(seen.count, VOLATILITY_SPAN) + 1.0)
    seen.value += weight * (volatility - seen.value)


def reset(state: LimitState) -> None:
    """A person took responsibility: every breaker closes and the losing streak is forgotten."""
    state.tripped.clear()
    state.losses_in_a_row = state.cooldown = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What an entry asks for: shares, their value and side (+1 long, -1 short), and the volatility it was sized with.

    ``counted``: its decision is among the session's entries already (it is tried again)."""

    symbol: str
    qty: Decimal
    value: Decimal
    sign: int
    volatility: float
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Book:
    """What there is already, entries on their way included: values of all positions, longs minus shorts, this symbol's, their number."""

    gross: Decimal
    net: Decimal
    symbol: Decimal
    positions: int
    equity: Decimal


def check_entry(state: LimitState, config: LimitsConfig, claim: Claim, book: Book) -> Denial | None:
    """The first limit an entry would break, or None."""
    for code, detail in state.tripped.items():
        return Denial(code, detail)
    if state.trades - claim.counted >= config.max_trades_a_day:
        return Denial("LIMIT_TRADES_A_DAY", f"{state.trades} entries this session, at most {config.max_trades_a_day}")
    if book.positions >= config.max_positions:
        return Denial("LIMIT_POSITIONS", f"{book.positions} positions open or on their way, at most {config.max_positions}")
    return _order_denial(config, claim) or _exposure_denial(config, claim, book) or _volatility_denial(state, config, claim)


def _order_denial(config: LimitsConfig, claim: Claim) -> Denial | None:
    if claim.qty > config.max_order_qty:
        return Denial("LIMIT_ORDER_QTY", f"{claim.qty} shares, at most {config.max_order_qty}")
    if claim.value > Decimal(repr(config.max_order_value)):
        return Denial("LIMIT_ORDER_VALUE", f"{claim.value:.2f}, at most {config.max_order_value:.2f}")
    return None


def _exposure_denial(config: LimitsConfig, claim: Claim, book: Book) -> Denial | None:
    asked = (
        ("LIMIT_SYMBOL_EXPOSURE", book.symbol + claim.value, config.max_symbol_exposure),
        ("LIMIT_GROSS_EXPOSURE", book.gross + claim.value, config.max_gross_exposure),
        ("LIMIT_NET_EXPOSURE", abs(book.net + claim.sign * claim.value), config.max_net_exposure),
    )
    for code, value, fraction in asked:
        ceiling = book.equity * Decimal(repr(fraction))
        if value > ceiling:
            return Denial(code, f"{value:.2f} would exceed {ceiling:.2f}")
    return None


def _volatility_denial(state: LimitState, config: LimitsConfig, claim: Claim) -> Denial | None:
    symbol, volatility = claim.symbol, claim.volatility
    if not volatility > 0.0:
        return Denial("LIMIT_VOLATILITY_UNKNOWN", f"expected a positive volatility, was {volatility!r}")
    usual = state.volatility.get(symbol)
    if usual is None or usual.count < VOLATILITY_MINIMUM or volatility <= config.volatility_spike * usual.value:
        return None
    detail = f"volatility {volatility:.4f} is over {config.volatility_spike} x its average {usual.value:.4f}"
    return Denial("LIMIT_VOLATILITY_SPIKE", detail)
