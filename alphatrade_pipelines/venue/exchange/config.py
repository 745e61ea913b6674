"""How an exchange is set up, and what one step of it looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from alphatrade_pipelines.venue.exchange.profiles import FillProfile
from alphatrade_pipelines.venue.exchange.tape import CorporateAction, TapeBar

_DAY_END_STATUSES = ("expired", "canceled")


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Rules of Alpaca that its documentation leaves open. ``held_in_open_list``: are held legs listed under status=open;
    ``day_end_status``: how a DAY order ends at the close; ``wash_check``: refuse orders that could trade with one's own."""

    held_in_open_list: bool = True
    day_end_status: str = "expired"
    wash_check: bool = True

    def __post_init__(self) -> None:
        if self.day_end_status not in _DAY_END_STATUSES:
            raise ValueError(f"expected day_end_status out of {_DAY_END_STATUSES}, found {self.day_end_status!r}")


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """``start``: venue time at the beginning, outside session hours (default: half an hour before the first session of the tape); ``end``:
    the last session played opens at or before it. ``multiplier``: leverage of buying power (1 = cash account)."""

    start: datetime | None = None
    end: datetime | None = None
    cash: Decimal = Decimal(100_000)
    profile: str | FillProfile = "pessimistic"
    seed: int = 0
    account_number: str | None = None
    multiplier: Decimal = Decimal(4)
    fidelity: Fidelity = field(default_factory=Fidelity)


@dataclass(frozen=True, slots=True)
class Step:
    """What one advance brought: ``kind`` is pre_open (corporate actions only), session_open, path or session_close; ``bars`` became
    known at ``at``; ``corporate_actions`` took effect."""

    at: datetime
    kind: str
    bars: tuple[TapeBar, ...] = ()
    corporate_actions: tuple[CorporateAction, ...] = ()
