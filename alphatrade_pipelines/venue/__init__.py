"""The local exchange: fills, matching, accounts, and a server that speaks Alpaca's protocol."""

from __future__ import annotations

from alphatrade_pipelines.venue.config import ExchangeConfig, Fidelity, Step
from alphatrade_pipelines.venue.errors import VenueError
from alphatrade_pipelines.venue.exchange import Exchange
from alphatrade_pipelines.venue.order_entry import OrderQuery
from alphatrade_pipelines.venue.orders import Fill, TradeUpdate, VenueOrder, VenueOrderRequest
from alphatrade_pipelines.venue.profiles import BASE, OPTIMISTIC, PESSIMISTIC, FillProfile, profile_named
from alphatrade_pipelines.venue.tape import BarTape, CorporateAction, TapeBar
from alphatrade_pipelines.venue.views import VenueAccount, VenuePosition

__all__ = [
    "BASE",
    "OPTIMISTIC",
    "PESSIMISTIC",
    "BarTape",
    "CorporateAction",
    "Exchange",
    "ExchangeConfig",
    "Fidelity",
    "Fill",
    "FillProfile",
    "OrderQuery",
    "Step",
    "TapeBar",
    "TradeUpdate",
    "VenueAccount",
    "VenueError",
    "VenueOrder",
    "VenueOrderRequest",
    "VenuePosition",
    "profile_named",
]
