"""How an exchange is set up, and what one step of it looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from alphatrade_pipelines.venue.exchange.fidelity import Fidelity
from alphatrade_pipelines.venue.exchange.profiles import FillProfile
from alphatrade_pipelines.venue.exchange.tape import CorporateAction, TapeBar

__all__ = ["ExchangeConfig", "Fidelity", "Step"]


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """``start``: venue time at the beginning, outside session hours (default: half an hour before the first session of the tape); ``end``:
    the last session played opens at or before it. ``multiplier``: leverage of buying power (1 = cash account). ``path_points``: points a
    bar is walked in, 4 (open, extremes, close) or more."""

    start: datetime | None = None
    end: datetime | None = None
    cash: Decimal = Decimal(100_000)
    profile: str | FillProfile = "pessimistic"
    seed: int = 0
    account_number: str | None = None
    multiplier: Decimal = Decimal(4)
    fidelity: Fidelity = field(default_factory=Fidelity)
    path_points: int = 4


@dataclass(frozen=True, slots=True)
class Step:
    """What one advance brought: ``kind`` is pre_open (corporate actions only), session_open, path or session_close; ``bars`` became
    known at ``at``; ``corporate_actions`` took effect."""

    at: datetime
    kind: str
    bars: tuple[TapeBar, ...] = ()
    corporate_actions: tuple[CorporateAction, ...] = ()
