"""What positions require: Regulation T overnight, and the maintenance margin by price (Alpaca's table, notes in ``docs/venue.md``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alphatrade_pipelines.venue.exchange.account import Holding

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


def maintenance_margin(holdings: Iterable[Holding], prices: Mapping[str, Decimal]) -> Decimal:
    """Sum of ``maintenance_of`` over all positions, in cents."""
    return sum((maintenance_of(held.qty, prices[held.symbol]) for held in holdings), ZERO).quantize(CENT)


def initial_margin(exposure: Decimal, multiplier: Decimal) -> Decimal:
    """Regulation T: half of the gross exposure, all of it in a cash account."""
    return (exposure / min(REG_T, multiplier)).quantize(CENT)
