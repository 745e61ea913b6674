"""One order's life as we know it: a monotone state machine fed by answers, updates, polls and reads in any order, any number of times.

Rules that make it monotone: a filled quantity never shrinks; a terminal status never becomes live again (a fill still upgrades it); an
older report (less filled, or not yet acknowledged) never overwrites a newer one; a status nobody knows counts as live.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from alphatrade_pipelines.trading.domain import TERMINAL_STATUSES, BrokerOrder, OrderClass, OrderRequest, Side

NOT_YET_WORKING = frozenset({"", "pending_new", "accepted", "pending_review", "accepted_for_bidding"})


class Phase(StrEnum):
    """What we know of an order of ours. INTENDED and UNKNOWN wait for the broker's word; ABSENT means it provably never arrived."""

    INTENDED = "intended"
    UNKNOWN = "unknown"
    LIVE = "live"
    CLOSED = "closed"
    REFUSED = "refused"
    ABSENT = "absent"


@dataclass(slots=True)
class Leg:
    """A broker-made child of a bracket or an OCO."""

    broker_id: str
    side: Side
    qty: Decimal
    filled_qty: Decimal
    status: str
    limit_price: Decimal | None
    stop_price: Decimal | None

    @property
    def is_live(self) -> bool:
        return self.status not in TERMINAL_STATUSES

    @property
    def is_stop(self) -> bool:
        return self.stop_price is not None


@dataclass(slots=True)
class LocalOrder:
    """An order of ours from its intent to its end. ``legs_known`` turns True once the broker has shown the nested legs."""

    request: OrderRequest
    purpose: str
    decision_id: str
    attempt: int
    intended_at: datetime
    phase: Phase = Phase.INTENDED
    broker_id: str = ""
    status: str = ""
    filled_qty: Decimal = Decimal(0)
    legs: dict[str, Leg] = field(default_factory=dict)
    legs_known: bool = False
    part_filled_at: datetime | None = None
    cancel_asked_at: datetime | None = None
    sends: int = 1
    absences: int = 0
    next_try: datetime | None = None
    outdated: bool = False  # its prices or quantity predate a split
    reason: str = ""

    @property
    def is_unsettled(self) -> bool:
        """The broker has not said whether it has this order."""
        return self.phase in (Phase.INTENDED, Phase.UNKNOWN)

    @property
    def parent_live(self) -> bool:
        return self.phase is Phase.LIVE and self.status not in TERMINAL_STATUSES

    @property
    def live_legs(self) -> list[Leg]:
        """Legs that may still fill. Legs of a bracket whose entry ended unfilled or partly filled never wake up."""
        if self.request.order_class is OrderClass.BRACKET and self.status in TERMINAL_STATUSES and self.status != "filled":
            return []
        return [leg for leg in self.legs.values() if leg.is_live]

    @property
    def is_open(self) -> bool:
        """Something of it may still happen at the broker."""
        return self.is_unsettled or self.parent_live or bool(self.live_legs) or self._waits_for_legs

    @property
    def remaining_entry(self) -> Decimal:
        """Shares of an entry that may still be bought (0 once it ended)."""
        if self.purpose != "entry" or not (self.is_unsettled or self.parent_live):
            return Decimal(0)
        return self.request.qty - self.filled_qty

    @property
    def protective_qty(self) -> Decimal:
        """Shares this group protects with a live stop: an OCO counts once, a bracket only after its entry filled completely."""
        if self.phase is not Phase.LIVE or self.outdated:
            return Decimal(0)
        if self.request.order_class is OrderClass.BRACKET and self.status != "filled":
            return Decimal(0)
        if self.request.order_class is OrderClass.OCO and not self.parent_live:
            return Decimal(0)
        group_left = self.request.qty - sum((leg.filled_qty for leg in self.legs.values()), Decimal(0))
        if self.request.order_class is OrderClass.OCO:
            group_left -= self.filled_qty
        if self._waits_for_legs or (self.request.order_class is OrderClass.OCO and not self.legs_known):
            return group_left
        stops = sum((leg.qty - leg.filled_qty for leg in self.live_legs if leg.is_stop), Decimal(0))
        return min(stops, group_left)

    @property
    def cancel_target(self) -> str | None:
        """The broker id whose cancellation ends the whole group, or None when nothing of it is live."""
        if self.parent_live:
            return self.broker_id
        legs = sorted(self.live_legs, key=lambda leg: (leg.is_stop, leg.broker_id))
        return legs[0].broker_id if legs else None

    @property
    def _waits_for_legs(self) -> bool:
        return self.request.order_class is OrderClass.BRACKET and self.status == "filled" and not self.legs_known


def observe(order: LocalOrder, seen: BrokerOrder, *, nested: bool) -> None:
    """Merge what the broker reports about the order itself. ``nested``: the report shows the legs, so having none is a fact."""
    order.broker_id = order.broker_id or seen.broker_id
    if seen.broker_id != order.broker_id and seen.replaces == order.broker_id:
        order.broker_id, order.status = seen.broker_id, ""
    if seen.broker_id == order.broker_id:
        order.status = merged_status(order.status, order.filled_qty, seen)
        order.filled_qty = max(order.filled_qty, seen.filled_qty)
        order.phase = Phase.CLOSED if order.status in TERMINAL_STATUSES - {"filled"} else Phase.LIVE
    for leg in seen.legs:
        observe_leg(order, leg)
    order.legs_known = order.legs_known or nested or bool(seen.legs)


def observe_leg(order: LocalOrder, seen: BrokerOrder) -> None:
    """Merge what the broker reports about one leg; a replacing leg inherits nothing but its place in the group."""
    leg = order.legs.get(seen.broker_id)
    if leg is None:
        leg = Leg(seen.broker_id, seen.side, seen.qty, Decimal(0), "", seen.limit_price, seen.stop_price)
        order.legs[seen.broker_id] = leg
    leg.status = merged_status(leg.status, leg.filled_qty, seen)
    leg.filled_qty = max(leg.filled_qty, seen.filled_qty)
    leg.qty = seen.qty
    leg.limit_price, leg.stop_price = seen.limit_price, seen.stop_price


def merged_status(known: str, known_filled: Decimal, seen: BrokerOrder) -> str:
    """The status to believe after a report that may be late or repeated."""
    whole = seen.qty > 0 and seen.filled_qty >= seen.qty and seen.status not in TERMINAL_STATUSES
    if seen.status == "filled" or whole:  # also under a name nobody knows: there is nothing left to fill
        return "filled"
    if known in TERMINAL_STATUSES:
        return known
    if seen.status in TERMINAL_STATUSES:
        return seen.status
    older = seen.filled_qty < known_filled or (seen.status in NOT_YET_WORKING and known not in NOT_YET_WORKING)
    return known if older else seen.status
