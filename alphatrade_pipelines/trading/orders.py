"""One order's life as we know it: a monotone state machine fed by answers, updates, polls and reads in any order, any number of times.

Rules that make it monotone: a filled quantity never shrinks; a terminal status never becomes live again (a fill still upgrades it); an
older report (less filled, or not yet acknowledged) never overwrites a newer one; a status nobody knows counts as live.

A broker replaces an order by one with a NEW id. So an order of ours is a chain of broker orders (``chain``), and so is each of its legs;
fills count per broker order, the order's is their sum. An order reported as replaced by an id nobody has seen yet counts as live.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from alphatrade_pipelines.trading.domain import TERMINAL_STATUSES, BrokerOrder, OrderClass, OrderRequest, Side

NOT_YET_WORKING = frozenset({"", "pending_new", "accepted", "pending_review", "accepted_for_bidding"})
# Alpaca: "order cannot be replaced when the status is accepted, pending_new, pending_cancel or pending_replace"
REPLACEABLE = frozenset({"new", "held"})
# a replacement in one of these has taken effect; before, or ended unfilled, it may never have
_AT_WORK = frozenset({"new", "held", "partially_filled", "filled"})
_ENDED_UNFILLED = TERMINAL_STATUSES - {"filled"}
ZERO = Decimal(0)


class Phase(StrEnum):
    """What we know of an order of ours. INTENDED and UNKNOWN wait for the broker's word; ABSENT means it provably never arrived."""

    INTENDED = "intended"
    UNKNOWN = "unknown"
    LIVE = "live"
    CLOSED = "closed"
    REFUSED = "refused"
    ABSENT = "absent"


@dataclass(slots=True)
class Link:
    """One order as the broker keeps it: the order itself, a leg the broker made of it, or what replaced either."""

    broker_id: str
    side: Side
    qty: Decimal
    filled_qty: Decimal
    status: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    replaces: str = ""
    replaced_by: str = ""
    ended_at: datetime | None = None

    @property
    def is_live(self) -> bool:
        return self.status not in TERMINAL_STATUSES

    @property
    def is_stop(self) -> bool:
        return self.stop_price is not None


@dataclass(slots=True)
class Amendment:
    """A replacement on its way: which broker order is to make room for which name, and with what."""

    client_order_id: str
    broker_id: str
    asked_at: datetime
    qty: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    unknown: bool = False


@dataclass(slots=True)
class LocalOrder:
    """An order of ours from its intent to its end. ``legs_known`` turns True once the broker has shown the nested legs."""

    request: OrderRequest
    purpose: str
    decision_id: str
    attempt: int
    intended_at: datetime
    phase: Phase = Phase.INTENDED
    chain: dict[str, Link] = field(default_factory=dict)
    legs: dict[str, Link] = field(default_factory=dict)
    legs_known: bool = False
    amendment: Amendment | None = None
    amend_refusals: int = 0
    amend_after: datetime | None = None
    asked_qty: Decimal | None = None  # what a later replacement, or somebody at the broker, made of the quantity
    part_filled_at: datetime | None = None
    cancel_asked_at: datetime | None = None
    cancel_since: datetime | None = None  # when its cancellation was asked for first
    sends: int = 1
    absences: int = 0
    unsent: bool = False  # the last attempt never left this machine
    next_try: datetime | None = None
    outdated: bool = False  # its prices or quantity predate a split
    reason: str = ""

    @property
    def head(self) -> Link | None:
        """The broker order that speaks for this one: the newest that was not rejected; a filled one once nothing is live."""
        links = list(self.chain.values())
        if len(links) <= 1:  # hardly any order is ever replaced, and this is asked all the time
            return links[0] if links else None
        if not any(link.is_live for link in links):
            filled = [link for link in links if link.status == "filled"]
            if filled:
                return filled[-1]
        standing = [link for link in links if link.status != "rejected"]
        superseded = {link.replaces for link in standing}
        newest = [link for link in standing if link.broker_id not in superseded]
        return (newest or standing or links)[-1] if links else None

    @property
    def broker_id(self) -> str:
        """The broker's id of the order as it stands now; empty before the broker has shown one."""
        head = self.head
        return head.broker_id if head else ""

    @property
    def status(self) -> str:
        """The broker's word on it; empty before there is one."""
        head = self.head
        return head.status if head else ""

    @property
    def filled_qty(self) -> Decimal:
        """Shares filled over the whole chain."""
        if len(self.chain) == 1:
            return next(iter(self.chain.values())).filled_qty
        return sum((link.filled_qty for link in self.chain.values()), ZERO)

    @property
    def wanted_qty(self) -> Decimal:
        """Shares it is meant to trade in all."""
        return self.request.qty if self.asked_qty is None else self.asked_qty

    @property
    def total_qty(self) -> Decimal:
        """Shares it will have traded at the broker when all that is open has filled."""
        head = self.head
        return self.wanted_qty if head is None else self.filled_qty - head.filled_qty + head.qty

    @property
    def open_qty(self) -> Decimal:
        """Shares of the order itself (not its legs) that may still fill."""
        if self.is_unsettled:
            return self.request.qty
        if not self.parent_live:
            return ZERO
        head = self.head
        return head.qty - head.filled_qty if head and head.is_live else self.request.qty - self.filled_qty

    @property
    def is_unsettled(self) -> bool:
        """The broker has not said whether it has this order."""
        return self.phase in (Phase.INTENDED, Phase.UNKNOWN)

    @property
    def parent_live(self) -> bool:
        return self.phase is Phase.LIVE and (any(link.is_live for link in self.chain.values()) or self._awaits(self.chain))

    @property
    def live_legs(self) -> list[Link]:
        """Legs that may still fill. Legs of a bracket whose entry ended unfilled or partly filled never wake up."""
        if self.request.order_class is OrderClass.BRACKET and self.status in _ENDED_UNFILLED:
            return []
        return [leg for leg in self.legs.values() if leg.is_live or self._awaited(leg)]

    @property
    def is_open(self) -> bool:
        """Something of it may still happen at the broker."""
        return self.is_unsettled or self.parent_live or bool(self.live_legs) or self._waits_for_legs or self.amendment is not None

    @property
    def opens(self) -> bool:
        """It opens a position or adds to one: an entry, or a slice of one."""
        return self.purpose in ("entry", "slice")

    @property
    def remaining_entry(self) -> Decimal:
        """Shares of an entry that may still be bought (0 once it ended)."""
        return self.open_qty if self.opens else ZERO

    @property
    def protective_qty(self) -> Decimal:
        """Shares this group protects with a live stop: an OCO counts once, a bracket only after its entry filled completely."""
        status, order_class = self.status, self.request.order_class  # asked of every order at every tick
        if (self.phase is not Phase.LIVE and status != "replaced") or self.outdated:
            return ZERO
        if order_class is OrderClass.BRACKET and status != "filled":
            return ZERO
        # an elected stop may end its profit order as "replaced" (by the stop): then the stop alone goes on
        if order_class is OrderClass.OCO and status != "replaced" and not self.parent_live:
            return ZERO
        group_left = self.request.qty
        for leg in self.legs.values():
            group_left -= leg.filled_qty
        if order_class is OrderClass.OCO:
            group_left -= self.filled_qty
        if not self.legs_known and order_class in (OrderClass.BRACKET, OrderClass.OCO):
            return group_left
        stops = sum((leg.qty - leg.filled_qty for leg in self.live_legs if leg.is_stop), ZERO)
        return min(stops, group_left)

    @property
    def stop_leg(self) -> Link | None:
        """The live stop that protects, if there is exactly one."""
        stops = [leg for leg in self.live_legs if leg.is_stop and leg.is_live]
        return stops[0] if len(stops) == 1 else None

    @property
    def is_cancelling(self) -> bool:
        """The broker says that a cancellation is under way."""
        return any(link.status == "pending_cancel" for group in (self.chain, self.legs) for link in group.values())

    @property
    def cancel_target(self) -> str | None:
        """The broker id whose cancellation ends the whole group, or None when nothing of it is live."""
        if self.parent_live:
            return next((link.broker_id for link in reversed(self.chain.values()) if link.is_live), self._successor(self.chain))
        legs = sorted(self.live_legs, key=lambda leg: (leg.is_stop, leg.broker_id))
        return (legs[0].broker_id if legs[0].is_live else legs[0].replaced_by) if legs else None

    def fills(self) -> Iterator[tuple[str, Decimal]]:
        """(broker id, shares filled) of every broker order behind this one."""
        for group in (self.chain, self.legs):
            for link in group.values():
                yield link.broker_id, link.filled_qty

    @property
    def _waits_for_legs(self) -> bool:
        return self.request.order_class is OrderClass.BRACKET and self.status == "filled" and not self.legs_known

    def _awaited(self, link: Link) -> bool:
        """Replaced by an id that nobody has shown yet: whatever it is, it lives."""
        return bool(link.replaced_by) and link.status == "replaced" and not self._knows(link.replaced_by)

    def _awaits(self, group: dict[str, Link]) -> bool:
        return any(self._awaited(link) for link in group.values())

    def _successor(self, group: dict[str, Link]) -> str | None:
        return next((link.replaced_by for link in group.values() if self._awaited(link)), None)

    def _knows(self, broker_id: str) -> bool:
        return broker_id in self.chain or broker_id in self.legs


def is_leg(order: LocalOrder, seen: BrokerOrder) -> bool:
    """Does this report speak of a leg (or of what replaced a leg) rather than of the order itself?"""
    if seen.client_order_id == order.request.client_order_id or seen.broker_id in order.chain:
        return False
    if seen.broker_id in order.legs or (seen.replaces or "") in order.legs:
        return True
    if order.request.order_class is OrderClass.SIMPLE:
        return False
    named_after_parent = (seen.replaces or "") in order.chain or any(link.replaced_by == seen.broker_id for link in order.chain.values())
    # Alpaca books an elected stop of an OCO by replacing its profit order: the stop that follows is still the stop
    elected_stop = order.request.order_class is OrderClass.OCO and seen.stop_price is not None
    return not named_after_parent or elected_stop


def observe(order: LocalOrder, seen: BrokerOrder, *, nested: bool, at: datetime) -> None:
    """Merge what the broker reports about the order itself. ``nested``: the report shows the legs, so having none is a fact."""
    _merge(order.chain, seen, at)
    order.unsent = False
    order.phase = Phase.LIVE if order.status == "filled" else Phase.CLOSED
    if any(link.is_live for link in order.chain.values()) or order._awaits(order.chain):
        order.phase = Phase.LIVE
    for leg in seen.legs:
        observe_leg(order, leg, at=at)
    order.legs_known = order.legs_known or nested or bool(seen.legs)
    _settle_amendment(order, seen)


def observe_leg(order: LocalOrder, seen: BrokerOrder, *, at: datetime) -> None:
    """Merge what the broker reports about one leg; a replacing leg inherits nothing but its place in the group."""
    _merge(order.legs, seen, at)
    _settle_amendment(order, seen)


def _settle_amendment(order: LocalOrder, seen: BrokerOrder) -> None:
    """The replacement has been shown: it exists, so it is no longer merely asked for. Rejected afterwards, it counts as a refusal."""
    asked = order.amendment
    if asked is not None and seen.client_order_id == asked.client_order_id:
        order.amendment = None
        order.amend_refusals = order.amend_refusals + 1 if seen.status == "rejected" else 0
        if asked.qty is not None and seen.status != "rejected":
            order.asked_qty = order.total_qty


def _merge(group: dict[str, Link], seen: BrokerOrder, at: datetime) -> None:
    link = group.get(seen.broker_id)
    if link is None:
        link = Link(seen.broker_id, seen.side, seen.qty, ZERO, "", seen.limit_price, seen.stop_price)
        group[seen.broker_id] = link
    link.status = merged_status(link.status, link.filled_qty, seen)
    link.filled_qty = max(link.filled_qty, seen.filled_qty)
    link.qty = seen.qty
    link.limit_price, link.stop_price = seen.limit_price, seen.stop_price
    link.replaces, link.replaced_by = link.replaces or seen.replaces or "", link.replaced_by or seen.replaced_by or ""
    if not link.is_live and link.ended_at is None:
        link.ended_at = at
    old = group.get(link.replaces)
    if old is not None and old.is_live and link.status in _AT_WORK:  # it took that one's place, whether or not anybody says so of that one
        old.status, old.replaced_by, old.ended_at = "replaced", link.broker_id, at


def contradicts(order: LocalOrder, seen: BrokerOrder, before: datetime) -> bool:
    """The report shows something alive that ended for us before then (cancelled, expired, rejected): it is old news, or we are wrong."""
    for item in (seen, *seen.legs):
        link = order.chain.get(item.broker_id) or order.legs.get(item.broker_id)
        if link is None or not item.is_live or link.status not in ("canceled", "expired", "rejected"):
            continue
        if link.ended_at is not None and link.ended_at < before:
            return True
    return False


def revive(order: LocalOrder, seen: BrokerOrder) -> None:
    """Believe the broker that what had ended for us is alive."""
    for item in (seen, *seen.legs):
        link = order.chain.get(item.broker_id) or order.legs.get(item.broker_id)
        if link is not None and item.is_live and not link.is_live:
            link.status, link.ended_at = item.status, None


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
