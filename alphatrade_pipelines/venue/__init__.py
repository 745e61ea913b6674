"""The local exchange: fills, matching, accounts, and a server that speaks Alpaca's protocol."""

from __future__ import annotations

from alphatrade_pipelines.venue.exchange.config import ExchangeConfig, Fidelity, Step
from alphatrade_pipelines.venue.exchange.errors import VenueError
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.order_entry import OrderQuery
from alphatrade_pipelines.venue.exchange.orders import Fill, TradeUpdate, VenueOrder, VenueOrderRequest
from alphatrade_pipelines.venue.exchange.profiles import BASE, OPTIMISTIC, PESSIMISTIC, FillProfile, profile_named
from alphatrade_pipelines.venue.exchange.tape import BarTape, CorporateAction, TapeBar
from alphatrade_pipelines.venue.exchange.views import VenueAccount, VenuePosition

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
