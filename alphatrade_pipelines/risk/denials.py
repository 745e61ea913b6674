"""Every reason why an entry may be denied before it is sent: a code CATEGORY_CONDITION and its meaning, as docs/core.md prints them."""

from __future__ import annotations

from dataclasses import dataclass

DENIALS: dict[str, str] = {
    "SESSION_NOT_STARTED": "no session has started, or the account has not been seen",
    "SESSION_STOPPING": "a stop was requested",
    "SESSION_NOT_RECONCILED": "the broker has not been read since the session, or its stream, (re)started",
    "SESSION_BROKER_STALE": "the last read of the broker that succeeded is older than `read_max_age_s`",
    "SESSION_CLOSED": "the market is closed and entries may not queue for the open (`entries_when_closed`)",
    "SESSION_CLOSING": "the session ends within `no_entry_before_close_s`",
    "STATE_HALTED": "trading is halted: by a person, by the broker's word on the account, or by a journal that cannot be written",
    "STATE_REDUCING": "a person asked to reduce only",
    "SIGNAL_NOT_FINITE": "a number of the signal is NaN or infinite",
    "SIGNAL_BOUNDS": "probability and bounds are not ordered within [0, 1]",
    "SIGNAL_PRICES": "stop, price and target are not ordered for the side",
    "SIGNAL_FROM_FUTURE": "decided later than now",
    "SIGNAL_STALE": "decided longer ago than `signal_max_age_s`",
    "SIDE_SHORT_DISABLED": "short entries are switched off (`allow_short`)",
    "DECISION_DUPLICATE": "this decision, or a later one, has been acted upon already",
    "SYMBOL_ORDER_UNKNOWN": "the broker has not answered for an earlier order of the symbol",
    "SYMBOL_EXITING": "the position is on its way out",
    "SYMBOL_POSITION_OPEN": "shares are held already",
    "SYMBOL_ORDER_OPEN": "an order of ours is open",
    "SYMBOL_PARENT_OPEN": "a parent order is being worked in the symbol",
    "SYMBOL_FOREIGN_ORDER": "an order this core did not send rests in the symbol",
    "SYMBOL_NOT_TRADABLE": "the broker says the asset may not be traded (looked up before and at each open)",
    "SYMBOL_NOT_SHORTABLE": "the broker says the asset may not be sold short, or is hard to borrow",
    "SYMBOL_EXCLUDED": "the broker said this session that the asset may not be traded",
    "PRICE_STALE": "the last price is older than `price_max_age_s`",
    "PRICE_COLLAR": "the last price is further from the signal's than `price_collar`",
    "PRICE_BEYOND_BARRIER": "the last price is outside stop and target",
    "SIZE_NO_EDGE": "Kelly finds no edge at the lower bound",
    "SIZE_BELOW_ONE_SHARE": "the size comes to less than one share",
    "LIMIT_DAILY_LOSS": "breaker: the session has lost more than `max_daily_loss`",
    "LIMIT_CONSECUTIVE_LOSSES": "breaker: `max_consecutive_losses` losing trades in a row",
    "LIMIT_TRADES_A_DAY": "`max_trades_a_day` entries were made this session",
    "LIMIT_POSITIONS": "`max_positions` are open or on their way",
    "LIMIT_ORDER_QTY": "more shares than `max_order_qty`",
    "LIMIT_ORDER_VALUE": "a larger value than `max_order_value`",
    "LIMIT_SYMBOL_EXPOSURE": "the symbol would exceed `max_symbol_exposure` of equity",
    "LIMIT_GROSS_EXPOSURE": "all positions and entries on their way would exceed `max_gross_exposure` of equity",
    "LIMIT_NET_EXPOSURE": "longs minus shorts would exceed `max_net_exposure` of equity",
    "LIMIT_VOLATILITY_UNKNOWN": "the signal carries no positive volatility",
    "LIMIT_VOLATILITY_SPIKE": "volatility is over `volatility_spike` times the symbol's average",
    "FUNDS_BUYING_POWER": "more than the buying power that is not already spoken for",
}


@dataclass(frozen=True, slots=True)
class Denial:
    """Why an entry may not happen: a code of ``DENIALS`` and one sentence. Raises ValueError for a code the table does not have."""

    code: str
    detail: str

    def __post_init__(self) -> None:
        if self.code not in DENIALS:
            raise ValueError(f"Expected a denial code of risk/denials.py, was {self.code!r}: add it there and to docs/core.md")
