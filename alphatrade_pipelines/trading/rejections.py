"""What a broker's refusal means. Alpaca shares codes between causes (403/40310000 alone has eight), so the body decides.

Entries get a cure with bounded attempts. Exits and protection need none here: whatever the refusal, they are tried again (exits.py,
protection.py) until the position is flat or protected.
"""

from __future__ import annotations

from enum import StrEnum


class Rejection(StrEnum):
    """Cause of a refusal."""

    BUYING_POWER = "buying_power"
    QUANTITY_HELD = "quantity_held"
    WASH_TRADE = "wash_trade"
    DUPLICATE_ID = "duplicate_id"
    NOT_FOUND = "not_found"
    PRICE = "price"
    MARKET_CLOSED = "market_closed"
    HALTED = "halted"
    RATE_LIMITED = "rate_limited"
    NOT_TRADABLE = "not_tradable"
    ACCOUNT = "account"
    INVALID = "invalid"
    OTHER = "other"


class Cure(StrEnum):
    """What an entry does about it."""

    HALVE = "halve"
    WAIT = "wait"
    GIVE_UP = "give_up"


_PHRASES: tuple[tuple[str, Rejection], ...] = (
    ("client_order_id must be unique", Rejection.DUPLICATE_ID),
    ("insufficient qty", Rejection.QUANTITY_HELD),
    ("insufficient buying power", Rejection.BUYING_POWER),
    ("insufficient day trading buying power", Rejection.BUYING_POWER),
    ("wash trade", Rejection.WASH_TRADE),
    ("opposite side", Rejection.WASH_TRADE),
    ("while a short sell order is open", Rejection.WASH_TRADE),
    ("open closing position orders", Rejection.QUANTITY_HELD),
    ("restricted to liquidation", Rejection.ACCOUNT),
    ("trading blocked", Rejection.ACCOUNT),
    ("rejected by user request", Rejection.ACCOUNT),
    ("not tradable", Rejection.NOT_TRADABLE),
    ("cannot be sold short", Rejection.NOT_TRADABLE),
    ("not allowed to short", Rejection.NOT_TRADABLE),
    ("not fractionable", Rejection.NOT_TRADABLE),
    ("halt", Rejection.HALTED),
    ("market is closed", Rejection.MARKET_CLOSED),
    ("market closed", Rejection.MARKET_CLOSED),
    ("sub-penny", Rejection.PRICE),
    ("base_price", Rejection.PRICE),
    ("stop_price must be", Rejection.PRICE),
    ("limit_price must be", Rejection.PRICE),
)

_CURES = {
    Rejection.BUYING_POWER: Cure.HALVE,
    Rejection.MARKET_CLOSED: Cure.WAIT,
    Rejection.HALTED: Cure.WAIT,
    Rejection.RATE_LIMITED: Cure.WAIT,
    Rejection.OTHER: Cure.WAIT,
}


def classify(http_status: int | None, code: int | None, reason: str) -> Rejection:
    """The cause of a refusal from status, code and body text (any case)."""
    text = reason.lower()
    for phrase, rejection in _PHRASES:
        if phrase in text:
            return rejection
    if http_status == 429 or code == 42910000:
        return Rejection.RATE_LIMITED
    if http_status == 404 or code == 40410000:
        return Rejection.NOT_FOUND
    if http_status == 401 or (http_status == 403 and (code is None or text.startswith("forbidden"))):
        return Rejection.ACCOUNT
    return Rejection.INVALID if http_status in (400, 422) else Rejection.OTHER


def cure(rejection: Rejection) -> Cure:
    """What an entry refused for this cause should do."""
    return _CURES.get(rejection, Cure.GIVE_UP)
