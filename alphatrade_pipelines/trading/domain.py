"""The words the core and its shells share: orders, positions, fills, accounts, signals.

Prices and quantities are ``Decimal``; times are timezone-aware UTC. Nothing here does I/O or reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from alphatrade_pipelines.risk import Liquidity

TERMINAL_STATUSES = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderKind(StrEnum):
    """Price condition of an order, as Alpaca's ``type``."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class OrderClass(StrEnum):
    """How orders hang together, as Alpaca's ``order_class``."""

    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


class TimeInForce(StrEnum):
    """How long an order lives, as Alpaca's ``time_in_force``."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"


class StopPolicy(StrEnum):
    """What a requested stop leaves behind: positions protected at the broker, or none."""

    PROTECT = "protect"
    FLATTEN = "flatten"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The promoted model a session trades with, and where it came from (for ``alphatrade explain``)."""

    name: str
    version: str
    bundle_hash: str
    mlflow_run_id: str
    dagster_run_id: str
    data_hash: str
    git_commit: str
    profile: str  # gate profile it passed: "paper" or "live"
    promotion: str = ""  # how it became champion, by whom and when


@dataclass(frozen=True, slots=True)
class Signal:
    """One calibrated opinion on one symbol at one decision time.

    ``probability`` is P(target before stop, or gain at the horizon); ``lower`` and ``upper`` bound it. ``payoff`` is the
    expected win over the expected loss, net of cost, and ``payoff_error`` its standard error. ``hold_until`` is the vertical
    barrier: from then on the position is closed at the next open market. ``features`` are (name, value) pairs kept for lineage.
    ``liquidity``: how the symbol traded in the sessions before this one, which began at ``session_open``; without it orders are sent
    whole.
    """

    symbol: str
    decision_time: datetime
    side: Side
    probability: float
    lower: float
    upper: float
    payoff: float
    payoff_error: float
    reference_price: Decimal
    stop_price: Decimal
    target_price: Decimal
    volatility: float
    hold_until: datetime
    model_version: str
    feature_hash: str
    features: tuple[tuple[str, float], ...] = ()
    liquidity: Liquidity | None = None
    session_open: datetime | None = None


@dataclass(frozen=True, slots=True)
class ParentOrder:
    """A large order that reaches the market in slices, planned once and journaled, so that a replay needs no algorithm.

    ``purpose``: ``entry`` or ``exit``. ``path``: shares that should be done after each of the slices, which begin every ``interval_s``
    seconds of open market; empty for POV, which follows ``rate`` of the traded volume up to ``cap``. ``limit_price``: no slice is sent
    while the market is beyond it. ``at_close``: ``cancel`` or ``resume`` with the next session. The basis points are the pre-trade
    estimates for the plan and for a single order (NaN is not allowed in a journal: 0 where nothing was known).
    """

    symbol: str
    side: Side
    qty: Decimal
    purpose: str
    algo: str
    decision_id: str
    decision_time: datetime
    duration_s: float
    interval_s: float
    path: tuple[Decimal, ...]
    rate: Decimal
    cap: Decimal
    catch_up: Decimal
    limit_price: Decimal
    at_close: str
    why: str
    planned_bps: float = 0.0
    single_bps: float = 0.0


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as the core wants it at the broker. ``take_profit`` and ``stop_loss`` are the legs of a bracket or an OCO.

    For an OCO (exit only) ``side`` is the exit side, ``kind`` is LIMIT and ``limit_price`` is None: the prices are in the legs.
    """

    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    kind: OrderKind
    order_class: OrderClass
    time_in_force: TimeInForce
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BrokerOrder:
    """An order as the broker reports it. ``status`` stays a plain string: a status nobody knows yet must not lose an update."""

    broker_id: str
    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    kind: str
    order_class: str
    time_in_force: str
    status: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    submitted_at: datetime | None = None
    legs: tuple[BrokerOrder, ...] = ()

    @property
    def is_live(self) -> bool:
        """True while the broker may still fill it (``held`` legs included)."""
        return self.status not in TERMINAL_STATUSES


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill, as the broker reports it; ``execution_id`` is unique and the key against counting twice."""

    execution_id: str
    broker_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """An open position as the broker reports it; ``qty`` is negative for a short."""

    symbol: str
    qty: Decimal
    avg_entry_price: Decimal


@dataclass(frozen=True, slots=True)
class AssetState:
    """What the broker lets us do with a symbol; ``detail``: why not, where it says so (a change of name)."""

    symbol: str
    tradable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AccountState:
    """The account as the broker reports it, in account currency."""

    account_number: str
    equity: Decimal
    cash: Decimal
    buying_power: Decimal
    trading_blocked: bool = False
