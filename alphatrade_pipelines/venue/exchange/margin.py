"""What positions require: Regulation T overnight, the maintenance margin by price (Alpaca's table), and what follows a deficit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

CENT, ZERO = Decimal("0.01"), Decimal(0)
_SHARE = Decimal("0.30")
_LONG_FULL_BELOW = Decimal("2.50")
_SHORT_HIGH_FROM, _SHORT_HIGH, _SHORT_LOW = Decimal(5), Decimal(5), Decimal("2.50")
REG_T = Decimal(2)  # overnight leverage of a margin account


def maintenance_of(qty: Decimal, price: Decimal) -> Decimal:
    """Maintenance margin of one position in dollars: long 30 %, all of it below $2.50; short the larger of 30 % and $5 a share, from $5 on,
    else the larger of all of it and $2.50 a share."""
    size = abs(qty)
    value = size * price
    if qty > 0:
        return value if price < _LONG_FULL_BELOW else value * _SHARE
    if price >= _SHORT_HIGH_FROM:
        return max(size * _SHORT_HIGH, value * _SHARE)
    return max(size * _SHORT_LOW, value)


def maintenance_margin(positions: Mapping[str, Decimal], prices: Mapping[str, Decimal]) -> Decimal:
    """Sum of ``maintenance_of`` over all positions, in cents."""
    return sum((maintenance_of(qty, prices[symbol]) for symbol, qty in positions.items()), ZERO).quantize(CENT)


def initial_margin(exposure: Decimal, multiplier: Decimal) -> Decimal:
    """Regulation T: half of the gross exposure, all of it in a cash account."""
    return (exposure / min(REG_T, multiplier)).quantize(CENT)


FREEZE = timedelta(days=90)
_CALL_SESSIONS = 5
_SMALL, _SMALL_SHARE = Decimal(1000), Decimal("0.05")


@dataclass(slots=True)
class MarginCall:
    """The Intraday Margin Rule (FINRA 2026): a deficit at the close is a call, due in two sessions; unmet after five it freezes the account
    to closing orders for 90 days. Deficits up to the smaller of $1,000 and 5 % of equity are let pass."""

    amount: Decimal = ZERO
    sessions: int = 0

    def mark(self, maintenance: Decimal, equity: Decimal) -> bool:
        """Look at the account at a close; True when it is to be frozen now."""
        deficit = maintenance - equity
        if deficit <= min(_SMALL, max(ZERO, equity) * _SMALL_SHARE):
            self.amount, self.sessions = ZERO, 0
            return False
        self.amount = deficit
        self.sessions += 1
        return self.sessions == _CALL_SESSIONS + 1
