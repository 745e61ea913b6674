"""What a broker's refusal means and what is done about it. Alpaca shares codes between causes (403/40310000 alone has eight), so the body
decides. The table of docs/core.md is this module in words; a test holds the two together.

Entries get a cure with bounded attempts. Exits never stop (exits.py), protection is tried again or becomes an exit (protection.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum

BOARD_LOT = Decimal(100)


class Rejection(StrEnum):
    """Cause of a refusal."""

    BUYING_POWER = "buying_power"
    QUANTITY_HELD = "quantity_held"
    QUANTITY_INVALID = "quantity_invalid"
    TOO_SMALL = "too_small"
    WASH_TRADE = "wash_trade"
    DUPLICATE_ID = "duplicate_id"
    NOT_FOUND = "not_found"
    NOT_IN_STATE = "not_in_state"
    PRICE = "price"
    PRICE_INCREMENT = "price_increment"
    MARKET_CLOSED = "market_closed"
    HALTED = "halted"
    RATE_LIMITED = "rate_limited"
    NOT_TRADABLE = "not_tradable"
    DAY_TRADING = "day_trading"
    ACCOUNT = "account"
    INVALID = "invalid"
    OTHER = "other"


class Cure(StrEnum):
    """What an entry does about it."""

    HALVE = "halve"
    QUEUE = "queue"
    ROUND_LOT = "round_lot"
    ROUND_PRICE = "round_price"
    REQUOTE = "requote"
    WAIT = "wait"
    BACK_OFF = "back_off"
    LOOK_UP = "look_up"
    EXCLUDE = "exclude"
    HALT = "halt"
    GIVE_UP = "give_up"


@dataclass(frozen=True, slots=True)
class Strategy:
    """A cure and how many orders in all it may take; None: as many as ``CoreConfig.max_entry_attempts``."""

    cure: Cure
    attempts: int | None = None


STRATEGIES: dict[Rejection, Strategy] = {
    Rejection.BUYING_POWER: Strategy(Cure.HALVE),
    Rejection.QUANTITY_HELD: Strategy(Cure.WAIT),
    Rejection.QUANTITY_INVALID: Strategy(Cure.ROUND_LOT, 2),
    Rejection.TOO_SMALL: Strategy(Cure.GIVE_UP),
    Rejection.WASH_TRADE: Strategy(Cure.WAIT),
    Rejection.DUPLICATE_ID: Strategy(Cure.LOOK_UP),
    Rejection.NOT_FOUND: Strategy(Cure.GIVE_UP),
    Rejection.NOT_IN_STATE: Strategy(Cure.GIVE_UP),
    Rejection.PRICE: Strategy(Cure.REQUOTE, 3),
    Rejection.PRICE_INCREMENT: Strategy(Cure.ROUND_PRICE, 2),
    Rejection.MARKET_CLOSED: Strategy(Cure.QUEUE, 2),
    Rejection.HALTED: Strategy(Cure.WAIT, 10),
    Rejection.RATE_LIMITED: Strategy(Cure.BACK_OFF, 6),
    Rejection.NOT_TRADABLE: Strategy(Cure.EXCLUDE),
    Rejection.DAY_TRADING: Strategy(Cure.GIVE_UP),
    Rejection.ACCOUNT: Strategy(Cure.HALT),
    Rejection.INVALID: Strategy(Cure.GIVE_UP),
    Rejection.OTHER: Strategy(Cure.GIVE_UP),
}

# refusals that say nothing about the order itself: an exit tries the very same again and climbs no rung
PASSING = frozenset({Rejection.RATE_LIMITED, Rejection.HALTED, Rejection.MARKET_CLOSED, Rejection.ACCOUNT, Rejection.NOT_FOUND})

_PHRASES: tuple[tuple[str, Rejection], ...] = (
    ("client_order_id must be unique", Rejection.DUPLICATE_ID),
    ("insufficient qty", Rejection.QUANTITY_HELD),
    ("insufficient buying power", Rejection.BUYING_POWER),
    ("insufficient day trading buying power", Rejection.BUYING_POWER),
    ("insufficient funds", Rejection.BUYING_POWER),
    ("wash trade", Rejection.WASH_TRADE),
    ("opposite side", Rejection.WASH_TRADE),
    ("while a short sell order is open", Rejection.WASH_TRADE),
    ("while a long buy order is open", Rejection.WASH_TRADE),
    ("open closing position orders", Rejection.QUANTITY_HELD),
    ("pattern day trading", Rejection.DAY_TRADING),
    ("restricted to liquidation", Rejection.ACCOUNT),
    ("trading blocked", Rejection.ACCOUNT),
    ("account is blocked", Rejection.ACCOUNT),
    ("rejected by user request", Rejection.ACCOUNT),
    ("minimal amount of order", Rejection.TOO_SMALL),
    ("cannot replace order", Rejection.NOT_IN_STATE),
    ("order is already in", Rejection.NOT_IN_STATE),
    ("is not cancelable", Rejection.NOT_IN_STATE),
    ("not tradable", Rejection.NOT_TRADABLE),
    ("cannot be sold short", Rejection.NOT_TRADABLE),
    ("cannot open a short", Rejection.NOT_TRADABLE),
    ("not allowed to short", Rejection.NOT_TRADABLE),
    ("not eligible to trade", Rejection.NOT_TRADABLE),
    ("not fractionable", Rejection.QUANTITY_INVALID),
    ("fractional orders must be", Rejection.QUANTITY_INVALID),
    ("qty must be integer", Rejection.QUANTITY_INVALID),
    ("invalid qty", Rejection.QUANTITY_INVALID),
    ("invalid quantity", Rejection.QUANTITY_INVALID),
    ("lot size", Rejection.QUANTITY_INVALID),
    ("halt", Rejection.HALTED),
    ("market is closed", Rejection.MARKET_CLOSED),
    ("market closed", Rejection.MARKET_CLOSED),
    ("outside of trading hours", Rejection.MARKET_CLOSED),
    ("sub-penny", Rejection.PRICE_INCREMENT),
    ("minimum pricing criteria", Rejection.PRICE_INCREMENT),
    ("base_price", Rejection.PRICE),
    ("stop_price must be", Rejection.PRICE),
    ("limit_price must be", Rejection.PRICE),
    ("too far", Rejection.PRICE),
    ("price band", Rejection.PRICE),
)
_BASE_PRICE = re.compile(r'"base_price":\s*"?([0-9]*\.?[0-9]+)')


def classify(http_status: int | None, code: int | None, reason: str) -> Rejection:
    """The cause of a refusal from status, code and body text (any case)."""
    text = reason.lower()
    for phrase, rejection in _PHRASES:
        if phrase in text:
            return rejection
    if http_status == 429 or code == 42910000:
        return Rejection.RATE_LIMITED
    if code == 40310100:
        return Rejection.DAY_TRADING
    if http_status == 404 or code == 40410000:
        return Rejection.NOT_FOUND
    if http_status == 401 or (http_status == 403 and (code is None or text.startswith("forbidden"))):
        return Rejection.ACCOUNT
    return Rejection.INVALID if http_status in (400, 422) else Rejection.OTHER


def strategy(rejection: Rejection) -> Strategy:
    """What an entry refused for this cause does."""
    return STRATEGIES[rejection]


def base_price(reason: str) -> Decimal | None:
    """The price the broker measured against, when its body carries one."""
    found = _BASE_PRICE.search(reason)
    return Decimal(found.group(1)) if found else None


def rounded_to_lot(qty: Decimal) -> Decimal:
    """Whole shares; a quantity that was whole already is taken down to board lots of 100; 0 when nothing is left."""
    whole = qty.to_integral_value(ROUND_FLOOR)
    return whole if whole != qty else (qty / BOARD_LOT).to_integral_value(ROUND_FLOOR) * BOARD_LOT


def price_increment(price: Decimal) -> Decimal:
    """US equities quote in cents from one dollar on, in hundredths of a cent below."""
    return Decimal("0.01") if price >= 1 else Decimal("0.0001")
