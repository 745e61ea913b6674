"""The exchange's own ledger as ``/admin`` gives it: whole, or a page of it after ten thousand orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from alphatrade_pipelines.venue.exchange.errors import malformed
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.ledger import Receipt
from alphatrade_pipelines.venue.server import requests

Json = dict[str, Any]
PARTS = (
    *("orders", "executions", "coverage", "flips", "outside_trades", "orders_while_halted"),
    *("positions", "account", "protection", "refusals"),
)
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What part of the ledger is wanted. ``after``: entries of each list already seen; ``since``: venue time; ``limit`` of each list."""

    parts: frozenset[str] = frozenset(PARTS)
    after: int = 0
    limit: int | None = None
    since: datetime | None = None


def asked(query: Mapping[str, str]) -> Asked:
    """The query of GET /admin/ledger. Raises VenueError 422."""
    parts = frozenset(requests.names(query.get("parts"))) or frozenset(PARTS)
    if unknown := sorted(parts - set(PARTS)):
        raise malformed(f"unknown part {unknown[0]!r}: {', '.join(PARTS)}")
    after = query.get("after") or "0"
    if not after.isdecimal():
        raise malformed("after must be a whole number >= 0")
    limit = requests.whole(query.get("limit"), "limit", _MOST, _MOST) if query.get("limit") else None
    return Asked(parts, int(after), limit, requests.instant(query.get("since"), "since"))


def view(exchange: Exchange, wanted: Asked) -> Json:
    """The ledger, or the parts and the page of it that are ``wanted``; records as they are. ``counts`` and ``digest`` are of the whole."""
    ledger = exchange.ledger
    halted = ledger.orders_while_halted if "orders_while_halted" in wanted.parts else []
    lists: dict[str, Sequence[Any]] = {
        "orders": ledger.receipts,
        "executions": exchange.book.fills,
        "coverage": ledger.coverage,
        "flips": ledger.flips,
        "outside_trades": exchange.outside_trades,
        "orders_while_halted": halted,
    }
    body: Json = {"at": exchange.now, "digest": exchange.digest(), "counts": {name: len(rows) for name, rows in lists.items()}}
    for name in wanted.parts.intersection(lists):
        body[name] = [_receipt(*entry) if isinstance(entry[1], Receipt) else entry[1] for entry in _page(lists[name], wanted)]
    if "positions" in wanted.parts:
        body["positions"] = exchange.positions()
    if "account" in wanted.parts:
        body["account"] = exchange.account()
    if "refusals" in wanted.parts:
        body["refusals"] = [{"code": code, "message": text, "count": count} for (code, text), count in ledger.refusals.most_common()]
    if "protection" in wanted.parts:
        body |= {
            "unprotected_seconds": ledger.unprotected_seconds,
            "overprotected_seconds": ledger.overprotected_seconds,
            "duplicate_intents": ledger.duplicate_intents,
            "reused_client_ids": ledger.reused_client_ids,
        }
    return body


def _page(rows: Sequence[Any], wanted: Asked) -> list[tuple[int, Any]]:
    first = wanted.after
    if wanted.since is not None:
        first = max(first, _first_since(rows, wanted.since))
    last = len(rows) if wanted.limit is None else first + wanted.limit
    return list(enumerate(rows[first:last], first))


def _first_since(rows: Sequence[Any], since: datetime) -> int:
    """Position of the first row at or after ``since``; rows are in time order (a stretch counts by its end)."""
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        row = rows[middle]
        if (row.end if hasattr(row, "end") else row.at) < since:
            low = middle + 1
        else:
            high = middle
    return low


def _receipt(number: int, receipt: Receipt) -> Json:
    return {"number": number, **{field.name: getattr(receipt, field.name) for field in fields(receipt)}}
