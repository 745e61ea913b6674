"""Every kind of difference between us and the broker: how loud it is, and what is done about it. docs/core.md prints this table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from alphatrade_pipelines.trading.commands import Command, RaiseAlert
from alphatrade_pipelines.trading.events import DiscrepancyFound, Event
from alphatrade_pipelines.trading.state import CoreState


@dataclass(frozen=True, slots=True)
class Kind:
    """``level`` of the alert, what was seen, and the policy that resolves it."""

    level: str
    seen: str
    policy: str


KINDS: dict[str, Kind] = {
    "phantom_position": Kind("WARNING", "we hold shares, the broker has none", "the broker's word is adopted"),
    "missing_position": Kind("WARNING", "the broker has shares, we have none", "adopted, then protected at the default stop"),
    "quantity_mismatch": Kind("WARNING", "both hold shares, not the same number", "adopted, then protection is grown or shrunk to it"),
    "split_position": Kind("WARNING", "number and price differ by one simple ratio: a split nobody announced", "position and plan convert"),
    "renamed_position": Kind("INFO", "the broker has the shares under the name that was announced", "position and plan go along"),
    "missed_fill": Kind("INFO", "a fill of the history that the stream never brought", "counted, once"),
    "unconfirmed_fill": Kind("CRITICAL", "a fill of the stream that the history does not know", "named; the position follows the broker's"),
    "foreign_fill": Kind("WARNING", "a fill of an order that is not ours", "counted, protection follows"),
    "execution_disputed": Kind("CRITICAL", "the broker busts, corrects or restates a trade", "the broker is read, its position adopted"),
    "unknown_order": Kind("WARNING", "an order at the broker that is not ours", "entries in its symbol are frozen while it lives"),
    "orphaned_order": Kind("WARNING", "an order we believe alive; asked by name, the broker has none", "closed, protection renewed"),
    "missed_end": Kind("INFO", "an order ended at the broker and no update said so", "taken over, protection audited"),
    "revived_order": Kind("CRITICAL", "an order we believe ended; asked by name, the broker has it alive", "it is alive again for us too"),
    "order_changed": Kind("WARNING", "an order of ours asks for another quantity than we did", "the broker's number counts"),
    "missing_protection": Kind("WARNING", "shares without a live stop", "an OCO for exactly their number, or an exit"),
    "excess_protection": Kind("WARNING", "stops for more shares than are held", "the youngest are cancelled"),
    "stop_moved": Kind("WARNING", "a stop is not where it was planned", "a looser one is moved back, a tighter one becomes the plan"),
    "target_moved": Kind("INFO", "a target is not where it was planned", "it becomes the plan"),
}


def name(
    state: CoreState,
    kind: str,
    symbol: str,
    detail: str,
    action: str,
    qty: Decimal | None = None,
    price: Decimal | None = None,
) -> Iterator[Event | Command]:
    """The fact for the journal and the alert for a person. ``kind`` is one of ``KINDS``."""
    level = KINDS[kind].level
    yield DiscrepancyFound(state.clock, kind, symbol, detail, action, qty, price)
    yield RaiseAlert(level, f"DISCREPANCY_{kind.upper()}", f"{symbol}: {detail} ({action})")
