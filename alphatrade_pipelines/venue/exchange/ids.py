"""Names that look like Alpaca's and are the same in every replay: UUIDs and ULIDs made from counters, never from chance."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from uuid import UUID

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def stable_uuid(*parts: object) -> str:
    """A version-4-shaped UUID of ``parts``."""
    digest = blake2b("|".join(str(part) for part in parts).encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


def event_ulid(at: datetime, number: int) -> str:
    """A ULID of venue time and a counter: sorts in the order of the events."""
    value = int(at.timestamp() * 1000) << 80 | number
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
