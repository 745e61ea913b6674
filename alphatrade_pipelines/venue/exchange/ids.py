"""Names that look like Alpaca's and are the same in every replay: UUIDs and ULIDs made from counters, never from chance."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from hashlib import blake2b

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def stable_uuid(*parts: object) -> str:
    """A version-4-shaped UUID of ``parts``."""
    digest = bytearray(blake2b("|".join(map(str, parts)).encode(), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x40
    digest[8] = digest[8] & 0x3F | 0x80
    name = digest.hex()
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"


def event_ulid(at: datetime, number: int) -> str:
    """A ULID of venue time and a counter: sorts in the order of the events."""
    return _time_part(at) + _base32(number).rjust(16, "0")


@lru_cache(maxsize=64)
def _time_part(at: datetime) -> str:
    return _base32(int(at.timestamp() * 1000)).rjust(10, "0")


def _base32(value: int) -> str:
    digits = ""
    while value:
        digits = _CROCKFORD[value & 31] + digits
        value >>= 5
    return digits
