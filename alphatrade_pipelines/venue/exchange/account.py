"""Cash, positions and buying power of one account. Exact: every number is a ``Decimal`` and every cent has a cause in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from fractions import Fraction

from alphatrade_pipelines.venue.exchange import margin
from alphatrade_pipelines.venue.exchange.profiles import FeeSchedule

CENT = Decimal("0.01")
ZERO = Decimal(0)
MARGIN_MINIMUM = Decimal(2000)  # below this equity an account has no margin and may not go short


def execution_fee(fees: FeeSchedule, sign: int, qty: Decimal, price: Decimal) -> Decimal:
    """Commission plus, for a sale, the SEC and TAF fees, each rounded up to the cent."""
    total = (fees.commission_per_share * qty).quantize(CENT, ROUND_CEILING)
    if sign < 0:
        total += (fees.sec_per_dollar * qty * price).quantize(CENT, ROUND_CEILING)
        total += min((fees.taf_per_share * qty).quantize(CENT, ROUND_CEILING), fees.taf_cap)
    return total


@dataclass(slots=True)
class Holding:
    """An open position: ``qty`` negative when short, ``cost`` = qty x average entry price (same sign as qty)."""

    symbol: str
    qty: Decimal = ZERO
    cost: Decimal = ZERO
    realized: Decimal = ZERO

    @property
    def average(self) -> Decimal:
        return self.cost / self.qty if self.qty else ZERO

    def trade(self, signed_qty: Decimal, price: Decimal) -> None:
        """Add an execution. Reducing realises profit against the average; crossing zero opens the rest at ``price``."""
        if self.qty == ZERO or (self.qty > 0) == (signed_qty > 0):
            self.qty += signed_qty
            self.cost += signed_qty * price
            return
        closing = min(abs(signed_qty), abs(self.qty))
        direction = 1 if self.qty > 0 else -1
        average = self.average
        self.realized += direction * closing * (price - average)
        rest = signed_qty + direction * closing
        self.qty -= direction * closing
        self.cost = self.qty * average
        if rest:
            self.qty, self.cost = rest, rest * price


class Account:
    """One margin account. ``multiplier`` is the leverage of its buying power (Alpaca's margin accounts: 4; 1 = cash account)."""

    def __init__(self, number: str, cash: Decimal, multiplier: Decimal, fees: FeeSchedule) -> None:
        self.number = number
        self.cash = cash
        self.initial_cash = cash
        self.multiplier = multiplier
        self.fees = fees
        self.fees_paid = ZERO
        self.dividends = ZERO
        self.cash_in_lieu = ZERO
        self.realized = ZERO
        self.sma = cash  # special memorandum account: Regulation T's credit line
        self.last_maintenance = ZERO
        self.margin_call = margin.MarginCall()
        self.holdings: dict[str, Holding] = {}

    def quantity(self, symbol: str) -> Decimal:
        """Signed position, zero when flat."""
        holding = self.holdings.get(symbol)
        return holding.qty if holding else ZERO

    def positions(self) -> dict[str, Decimal]:
        """Signed positions by symbol."""
        return {symbol: holding.qty for symbol, holding in self.holdings.items()}

    def trade(self, symbol: str, sign: int, qty: Decimal, price: Decimal) -> Decimal:
        """Book one execution; returns the fee it cost."""
        fee = execution_fee(self.fees, sign, qty, price)
        holding = self.holdings.setdefault(symbol, Holding(symbol))
        before, exposure = holding.realized, abs(holding.qty)
        holding.trade(sign * qty, price)
        self.realized += holding.realized - before
        self.cash -= sign * qty * price + fee
        self.fees_paid += fee
        self.sma -= (abs(holding.qty) - exposure) * price / 2  # opening takes half its value out of the line, closing gives it back
        if holding.qty == ZERO:
            del self.holdings[symbol]
        return fee

    def split(self, symbol: str, ratio: Fraction, price_after: Decimal) -> None:
        """Convert a position: ``ratio`` new shares for each old one; what is left of a share (of a billionth, where the position was
        fractional) is paid in cash at ``price_after``."""
        holding = self.holdings.get(symbol)
        if holding is None:
            return
        unit = Decimal(1) if holding.qty == holding.qty.to_integral_value() else Decimal("1e-9")
        qty = holding.qty * ratio.numerator / ratio.denominator
        kept = qty.quantize(unit, ROUND_DOWN)
        if qty != kept:
            payment = ((qty - kept) * price_after).quantize(CENT)
            self.cash += payment
            self.cash_in_lieu += payment
            part = holding.cost * (qty - kept) / qty
            self.realized += payment - part
            holding.cost -= part
            qty = kept
        holding.qty = qty
        if qty == ZERO:
            del self.holdings[symbol]

    def dividend(self, symbol: str, per_share: Decimal) -> Decimal:
        """Credit (a short pays) the dividend on the shares held into the ex-date; returns the amount."""
        amount = (self.quantity(symbol) * per_share).quantize(CENT)
        self.cash += amount
        self.dividends += amount
        return amount

    def market_value(self, prices: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        """Value of the long and of the short positions (the latter negative)."""
        long = sum((h.qty * prices[h.symbol] for h in self.holdings.values() if h.qty > 0), ZERO)
        short = sum((h.qty * prices[h.symbol] for h in self.holdings.values() if h.qty < 0), ZERO)
        return long, short

    def equity(self, prices: Mapping[str, Decimal]) -> Decimal:
        long, short = self.market_value(prices)
        return self.cash + long + short

    def leverage(self, equity: Decimal) -> Decimal:
        """The multiplier in force: 1 below the margin minimum of $2,000."""
        return self.multiplier if equity >= MARGIN_MINIMUM else Decimal(1)

    def close_session(self, prices: Mapping[str, Decimal]) -> bool:
        """Mark the day: maintenance margin, and the credit line at least at what equity exceeds the initial margin by. True when a margin
        call has been unmet for so long that the account is to be frozen."""
        long, short = self.market_value(prices)
        equity = self.cash + long + short
        self.last_maintenance = margin.maintenance_margin(self.positions(), prices)
        self.sma = max(self.sma, equity - margin.initial_margin(long - short, self.leverage(equity)))
        return self.margin_call.mark(self.last_maintenance, equity)

    def buying_power(self, prices: Mapping[str, Decimal], reserved: Decimal) -> Decimal:
        """multiplier x equity - gross exposure - what open orders reserve, never negative."""
        long, short = self.market_value(prices)
        equity = self.cash + long + short
        return max(ZERO, (self.leverage(equity) * equity - long + short - reserved).quantize(CENT, ROUND_FLOOR))
