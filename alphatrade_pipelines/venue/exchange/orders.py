"""The venue's own words: what is asked (``VenueOrderRequest``), what is reported (``VenueOrder``, ``TradeUpdate``, ``Fill``) and the
mutable order in the book. Money and quantities are ``Decimal``, times aware UTC, enumerations the strings of Alpaca's wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

TERMINAL = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})
STOP_TYPES = ("stop", "stop_limit", "trailing_stop")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class VenueOrderRequest:
    """An order as a client sends it: ``qty`` shares or ``notional`` dollars. ``take_profit`` is the limit price of the profit leg,
    ``stop_loss`` the stop price of the loss leg, ``stop_loss_limit`` its limit (stop-limit leg). An OCO's profit price may also stand in
    ``limit_price``. A trailing stop has ``trail_price`` (dollars) or ``trail_percent``. ``position_intent`` (buy_to_open ...) is checked
    against what the order does; ``leg_time_in_force`` counts only with the fidelity switch ``leg_tif_inherited`` off."""

    symbol: str
    side: str
    qty: Decimal | None = None
    type: str = "market"
    time_in_force: str = "day"
    order_class: str = "simple"
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    stop_loss_limit: Decimal | None = None
    client_order_id: str | None = None
    notional: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    position_intent: str | None = None
    leg_time_in_force: str | None = None


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """A snapshot of one order. ``legs`` holds the snapshots of its legs (bracket, OCO, OTO). For an order in ``notional`` dollars ``qty``
    is the number of shares it stands for now (Alpaca's wire sends null there). ``hwm`` is the best price a trailing stop has seen."""

    id: str
    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    type: str
    order_class: str
    time_in_force: str
    status: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    created_at: datetime
    updated_at: datetime
    submitted_at: datetime
    filled_at: datetime | None = None
    expired_at: datetime | None = None
    canceled_at: datetime | None = None
    failed_at: datetime | None = None
    replaced_at: datetime | None = None
    expires_at: datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    position_intent: str = "buy_to_open"
    legs: tuple[VenueOrder, ...] = ()
    notional: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None
    extended_hours: bool = False

    @property
    def is_live(self) -> bool:
        """True while it may still trade (held legs included)."""
        return self.status not in TERMINAL


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. ``fee`` is what the account paid on top, ``reference`` the market price before cost, ``low`` and ``high`` the
    extremes of the bar it traded in."""

    execution_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    at: datetime
    fee: Decimal
    reference: Decimal
    leaves_qty: Decimal
    cum_qty: Decimal
    order_status: str
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class TradeUpdate:
    """One message of ``trade_updates``. ``price`` and ``qty`` are this execution's; ``position_qty`` is signed, after it."""

    event: str
    event_id: str
    at: datetime
    order: VenueOrder
    execution_id: str | None = None
    price: Decimal | None = None
    qty: Decimal | None = None
    position_qty: Decimal | None = None


@dataclass(slots=True, eq=False)
class BookOrder:
    """An order in the book. ``role`` is entry, take_profit or stop_loss; ``sign`` +1 buys. ``active`` = may trade now; ``routed`` = has
    met the market once (that is when a rejection is drawn); ``draw_key`` seeds its fate and depends on the client's id only.
    ``ahead``: shares before it in the queue of its price level, None until it rests there. ``reserve_price``: dollars of buying power a
    share that is still to be filled holds (0 for closing orders). While a replacement is pending, the old order has it as ``successor``
    and is its ``predecessor``."""

    id: str
    client_order_id: str
    symbol: str
    sign: int
    qty: Decimal
    type: str
    order_class: str
    time_in_force: str
    status: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    created_at: datetime
    draw_key: int
    sequence: int
    role: str = "entry"
    opening: bool = True
    active: bool = False
    routed: bool = False
    ahead: float | None = None
    triggered: bool = False
    stop_cap: Decimal | None = None
    notional: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None
    extended_hours: bool = False
    reserve_price: Decimal = ZERO
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    updated_at: datetime | None = None
    filled_at: datetime | None = None
    expired_at: datetime | None = None
    canceled_at: datetime | None = None
    failed_at: datetime | None = None
    replaced_at: datetime | None = None
    expires_at: datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    parent: BookOrder | None = None
    legs: list[BookOrder] = field(default_factory=list)
    predecessor: BookOrder | None = None
    successor: BookOrder | None = None

    @property
    def side(self) -> str:
        return "buy" if self.sign > 0 else "sell"

    @property
    def is_live(self) -> bool:
        return self.status not in TERMINAL

    @property
    def remaining(self) -> Decimal:
        return self.qty - self.filled_qty

    @property
    def root(self) -> BookOrder:
        return self.parent or self

    @property
    def members(self) -> list[BookOrder]:
        """The whole group: the root and its legs."""
        root = self.root
        return [root, *root.legs]

    @property
    def standing(self) -> str:
        """``held`` while a leg waits for its entry, and the stop of a pair until it is elected; else ``new``."""
        paired = self.role == "stop_loss" and any(member.role == "take_profit" for member in self.members)
        return "new" if self.active and (self.triggered or not paired) else "held"

    @property
    def is_exit_leg(self) -> bool:
        """True for the members of a group that close the position: legs, and both orders of an OCO."""
        return self.role != "entry"

    def snapshot(self) -> VenueOrder:
        average = (self.filled_value / self.filled_qty).quantize(Decimal("0.0001")) if self.filled_qty else None
        way = "open" if self.opening else "close"
        return VenueOrder(
            id=self.id,
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            qty=self.qty,
            filled_qty=self.filled_qty,
            filled_avg_price=average,
            type=self.type,
            order_class=self.order_class,
            time_in_force=self.time_in_force,
            status=self.status,
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            created_at=self.created_at,
            updated_at=self.updated_at or self.created_at,
            submitted_at=self.created_at,
            filled_at=self.filled_at,
            expired_at=self.expired_at,
            canceled_at=self.canceled_at,
            failed_at=self.failed_at,
            replaced_at=self.replaced_at,
            expires_at=self.expires_at,
            replaced_by=self.replaced_by,
            replaces=self.replaces,
            position_intent=f"{self.side}_to_{way}",
            legs=tuple(leg.snapshot() for leg in self.legs) if self.legs else (),
            notional=self.notional,
            trail_price=self.trail_price,
            trail_percent=self.trail_percent,
            hwm=self.hwm,
            extended_hours=self.extended_hours,
        )
