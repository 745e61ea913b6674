"""What else an account holds: crypto, options, whatever comes. None of it is ours to protect, to sell, to cancel or to count.

Positions, orders and trade updates say their class; a FILL activity does not, so the order or the symbol behind it must have been seen, or
the form of its symbol tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from alphatrade_pipelines.live.wire import US_EQUITY, Raw, asset_class
from alphatrade_pipelines.trading.domain import TERMINAL_STATUSES


@dataclass
class Bystanders:
    """Leaves everything but US equities out of what the broker lists, and remembers what that was. ``names`` as a person would look for
    them: "BTCUSD (crypto)"; orders that ended long ago are not among them."""

    names: dict[str, None] = field(default_factory=dict)
    _symbols: set[str] = field(default_factory=set)
    _orders: set[str] = field(default_factory=set)

    def leave_out(self, listed: Iterable[Raw]) -> list[Raw]:
        """Positions or orders, without those of another class."""
        return [raw for raw in listed if not self._is_other(raw)]

    def leave_out_fills(self, listed: Iterable[Raw]) -> list[Raw]:
        """FILL activities, without those of another class. Ask after the orders and the positions were listed."""
        return [raw for raw in listed if not self._is_other_fill(raw)]

    def _is_other(self, raw: Raw) -> bool:
        kind = asset_class(raw)
        if kind == US_EQUITY:
            return False
        others = [
            each for each in (raw, *(raw.get("legs") or ())) if asset_class(each) != US_EQUITY
        ]  # a multi-leg order may buy shares too
        symbols = [str(each["symbol"]) for each in others if each.get("symbol")]
        self._symbols.update(map(_compact, symbols))
        if "client_order_id" in raw:
            self._orders.update(str(each.get("id")) for each in others)
        if raw.get("status") not in TERMINAL_STATUSES:
            self.names[f"{symbols[0] if symbols else raw.get('id')} ({kind})"] = None
        return True

    def _is_other_fill(self, raw: Raw) -> bool:
        known = raw.get("order_id") in self._orders or _compact(raw.get("symbol")) in self._symbols
        return known or asset_class(raw) != US_EQUITY


def _compact(symbol: Any) -> str:
    """Alpaca writes a coin BTC/USD in orders and BTCUSD in positions."""
    return str(symbol).replace("/", "")
