"""Deterministic names: the same decision always asks for the same order, so a crash or a timeout can never buy twice.

Recipe: ``client_order_id = SYMBOL-YYYYMMDDTHHMM-<leg><attempt>-<hash>`` where the hash is the first 16 hex digits of SHA-256 over
``<decision id>|<time, ISO, UTC>|<leg>|<attempt>`` and an entry's decision id is ``strategy|model version|symbol|decision time``. At most
48 characters (Alpaca allows 128), unique for ever as Alpaca demands, readable in a broker's order list.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

MAX_LENGTH = 48
EXIT_REASON = "exit:"
_ENTRY = re.compile(r"\w+-\d{8}T\d{4}-[es]\d+-[0-9a-f]{16}")
_LETTER = {"entry": "e", "protect": "p", "exit": "x", "trim": "t", "replace": "r", "slice": "s", "unwind": "u"}


def decision_id(strategy: str, model_version: str, symbol: str, decision_time: datetime) -> str:
    """The name of one decision: who decided, with which model, on what, when."""
    return f"{strategy}|{model_version}|{symbol}|{decision_time.isoformat()}"


def client_order_id(decision: str, symbol: str, at: datetime, purpose: str, attempt: int) -> str:
    """The broker-side name of attempt ``attempt`` of one leg of a decision. ``purpose`` is a key of ``_LETTER``; a slice of a
    parent order counts its slices as attempts."""
    digest = hashlib.sha256(f"{decision}|{at.isoformat()}|{purpose}|{attempt}".encode()).hexdigest()[:16]
    ticker = "".join(letter for letter in symbol if letter.isalnum())[:10]
    name = f"{ticker}-{at:%Y%m%dT%H%M}-{_LETTER[purpose]}{attempt}-{digest}"
    if len(name) > MAX_LENGTH:
        raise ValueError(f"Expected a client order id of at most {MAX_LENGTH} characters, was {len(name)}: {name}")
    return name


def names_entry(name: str) -> bool:
    """Whether a client order id of ours belongs to an order that opens a position."""
    return _ENTRY.fullmatch(name) is not None


def exit_decision(reason: str, decision: str) -> str:
    """Decision id of an exit: why it leaves, and which entry decision it ends (``exit:time|<entry decision>``)."""
    return f"{EXIT_REASON}{reason}|{decision}"


def exit_reason(text: str) -> str:
    """The reason inside an exit's decision id or cancel reason."""
    return text.removeprefix(EXIT_REASON).split("|", 1)[0]
