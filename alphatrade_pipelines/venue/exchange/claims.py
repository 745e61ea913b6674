"""What open orders hold: buying power, shares, the right to trade in one direction. Kept up to date order by order, so that taking an
order never looks at all the others; a property test holds the figures against a plain recomputation."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from heapq import heappop, heappush

from alphatrade_pipelines.venue.exchange.orders import ZERO, BookOrder

Side = tuple[str, int]  # symbol and sign
_NOTHING: tuple[Side, Decimal, Decimal] = (("", 0), ZERO, ZERO)
LIMIT_TYPES = ("limit", "stop_limit")


@dataclass(slots=True)
class RestingSide:
    """Live simple orders of one symbol and side, by what the wash-trade rule asks: any that takes at any price, and the best limit."""

    all: dict[str, BookOrder] = field(default_factory=dict)
    takers: dict[str, BookOrder] = field(default_factory=dict)
    _limits: list[tuple[Decimal, int, BookOrder]] = field(default_factory=list)

    def add(self, order: BookOrder) -> None:
        self.all[order.id] = order
        if order.type not in LIMIT_TYPES:
            self.takers[order.id] = order
        elif order.limit_price is not None:
            heappush(self._limits, (-order.sign * order.limit_price, order.sequence, order))

    def remove(self, order: BookOrder) -> None:
        self.all.pop(order.id, None)
        self.takers.pop(order.id, None)

    def best_limit(self) -> BookOrder | None:
        """The highest bid or the lowest offer."""
        while self._limits and self._limits[0][2].id not in self.all:
            heappop(self._limits)
        return self._limits[0][2] if self._limits else None


class Claims:
    """Totals over the live orders. ``refresh`` after any change to a member of a group."""

    def __init__(self) -> None:
        self.reserved = ZERO
        self.versions: dict[str, int] = {}  # how often the orders of a symbol have changed
        self._held: dict[Side, Decimal] = {}
        self._opening: dict[Side, dict[str, BookOrder]] = {}
        self._closing: dict[Side, dict[str, BookOrder]] = {}
        self._resting: dict[Side, RestingSide] = {}
        self._groups: dict[str, tuple[Side, Decimal, Decimal]] = {}

    def add(self, order: BookOrder) -> None:
        """A live order entered the book."""
        side = (order.symbol, order.sign)
        (self._opening if order.opening else self._closing).setdefault(side, {})[order.id] = order
        if order.order_class == "simple" and order.type != "trailing_stop":
            self._resting.setdefault(side, RestingSide()).add(order)
        self.refresh(order)

    def remove(self, order: BookOrder) -> None:
        """A live order left the book."""
        side = (order.symbol, order.sign)
        (self._opening if order.opening else self._closing).get(side, {}).pop(order.id, None)
        if resting := self._resting.get(side):
            resting.remove(order)
        self.refresh(order)

    def refresh(self, order: BookOrder) -> None:
        """Recount the group of ``order`` (and the replacement that waits for it)."""
        self.versions[order.symbol] = self.versions.get(order.symbol, 0) + 1
        self._recount(order.root)
        if order.successor is not None:
            self._recount(order.successor)

    def _recount(self, root: BookOrder) -> None:
        side, held, reserved = self._groups.get(root.id, _NOTHING)
        if held:
            self._held[side] -= held
        self.reserved -= reserved
        side, held, reserved = group_claim(root)
        if held:
            self._held[side] = self._held.get(side, ZERO) + held
        self.reserved += reserved
        if held or reserved:
            self._groups[root.id] = (side, held, reserved)
        else:
            self._groups.pop(root.id, None)

    def held(self, symbol: str, position: Decimal) -> Decimal:
        """Shares of ``position`` that open closing orders hold; a group counts once."""
        return self._held.get((symbol, -1 if position > 0 else 1), ZERO) if position else ZERO

    def holders(self, symbol: str, position: Decimal) -> list[str]:
        """The ids of the groups behind ``held``."""
        orders = self._closing.get((symbol, -1 if position > 0 else 1), {}).values()
        return sorted({order.root.id for order in orders if order.active})

    def opening(self, symbol: str, sign: int) -> list[BookOrder]:
        """Live opening orders of one symbol and side."""
        return list(self._opening.get((symbol, sign), {}).values())

    def has_opening(self, symbol: str, sign: int) -> bool:
        """True while an opening order of this side is live."""
        return bool(self._opening.get((symbol, sign)))

    def has_closing(self, symbol: str) -> bool:
        """True while an active closing order of the symbol is live."""
        return any(order.active for sign in (1, -1) for order in self._closing.get((symbol, sign), {}).values())

    def resting(self, symbol: str, sign: int) -> RestingSide | None:
        """Live simple orders of one symbol and side."""
        return self._resting.get((symbol, sign))


def group_claim(root: BookOrder) -> tuple[Side, Decimal, Decimal]:
    """(side, shares held, buying power reserved) of a group: the largest of its active closing members, the sum of its opening ones. A
    replacement that waits counts for what it asks beyond the order it replaces, for nothing once that has ended (it will be rejected)."""
    side, held, reserved = (root.symbol, root.sign), ZERO, ZERO
    old = root.predecessor
    if old is not None and not old.is_live:
        return _NOTHING
    for order in root.members:
        if not order.is_live:
            continue
        if order.opening:
            reserved += order.reserve_price * order.remaining
        elif order.active or (old is not None and order.order_class == "simple"):  # a leg cannot ask for more shares
            side, held = (order.symbol, order.sign), max(held, order.remaining)
    if old is not None:
        reserved = max(ZERO, reserved - old.reserve_price * old.remaining)
        held = max(ZERO, held - old.remaining)
    return side, held, reserved
