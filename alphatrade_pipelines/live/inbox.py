"""Everything that can wake a session, in one queue with an order of precedence.

A stop comes first; then stream states, corporate actions, order updates, what a read brought, the clock, operators; bars and decisions
come last, so that a decision never overlooks a fill that has already arrived. A lockstep harness may hold kinds back until a step is
complete.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from itertools import count
from typing import Any

import pandas as pd

from alphatrade_pipelines.trading.domain import AssetState, StopPolicy
from alphatrade_pipelines.trading.events import BrokerSeen


class Kind(IntEnum):
    """Precedence: lower goes first."""

    STOP = 0
    STREAM = 1
    MORNING = 2
    UPDATE = 3
    READ = 4
    TICK = 5
    OPERATOR = 6
    BAR = 7
    DECIDE = 8


@dataclass(frozen=True, slots=True)
class StopSession:
    """End the session; ``policy`` says what may be left at the broker."""

    policy: StopPolicy
    reason: str


@dataclass(frozen=True, slots=True)
class StreamChanged:
    """A stream came or went. ``garbled`` marks a message that could not be read: what it said must be read back from the broker."""

    name: str
    connected: bool
    detail: str = ""
    garbled: bool = False


@dataclass(frozen=True, slots=True)
class UpdateArrived:
    """One raw ``trade_updates`` message."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReadDone:
    """What a reconciliation read brought: ``seen``, None when the broker did not answer, or an ``error`` of our own. ``again``: why it was
    asked for once more meanwhile, empty if it was not."""

    seen: BrokerSeen | None
    again: str = ""
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class BarArrived:
    """One bar off the wire: ``channel`` b, u or d; ``start`` UTC; values as floats."""

    channel: str
    symbol: str
    start: datetime
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AssetsFound:
    """What the broker lets us do with each symbol."""

    assets: tuple[AssetState, ...]


@dataclass(frozen=True, slots=True)
class BarsFound:
    """Complete bars the stream did not bring, read from the broker's history: index (symbol, timestamp)."""

    bars: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Morning:
    """Look whether a new session day began (corporate actions)."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Read the broker's clock."""


@dataclass(frozen=True, slots=True)
class Decide:
    """Decide on whatever bars are complete."""


@dataclass(frozen=True, slots=True)
class OperatorRequest:
    """A person or a job asks for something: flatten, halt, resume, reset_breakers. ``name``: of its file, if it came by one."""

    request: str
    who: str
    name: str = ""


Stimulus = (
    StopSession
    | StreamChanged
    | UpdateArrived
    | ReadDone
    | AssetsFound
    | BarArrived
    | BarsFound
    | Morning
    | Tick
    | Decide
    | OperatorRequest
)
KINDS: dict[type, Kind] = {
    StopSession: Kind.STOP,
    StreamChanged: Kind.STREAM,
    Morning: Kind.MORNING,
    UpdateArrived: Kind.UPDATE,
    ReadDone: Kind.READ,
    AssetsFound: Kind.READ,
    Tick: Kind.TICK,
    OperatorRequest: Kind.OPERATOR,
    BarArrived: Kind.BAR,
    BarsFound: Kind.BAR,
    Decide: Kind.DECIDE,
}


@dataclass
class Inbox:
    """A priority queue for one event loop. ``taken`` counts stimuli handed out per kind; use from the loop's thread only."""

    taken: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    _heap: list[tuple[int, int, Stimulus]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)
    _held: set[Kind] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, stimulus: Stimulus) -> None:
        """Add one stimulus; within a kind the order of arrival is kept."""
        heapq.heappush(self._heap, (KINDS[type(stimulus)], next(self._order), stimulus))
        self._idle.clear()
        self._changed.set()

    async def get(self) -> Stimulus:
        """The next stimulus that is not held back; asking for it says that the one before has been dealt with."""
        while True:
            chosen = self._pop()
            if chosen is not None:
                return chosen
            self._idle.set()
            self._changed.clear()
            await self._changed.wait()

    def _pop(self) -> Stimulus | None:
        if not self._held:
            if not self._heap:
                return None
            kind, _, stimulus = heapq.heappop(self._heap)
        else:
            free = [entry for entry in self._heap if entry[0] not in self._held]
            if not free:
                return None
            entry = min(free)
            self._heap.remove(entry)
            heapq.heapify(self._heap)
            kind, _, stimulus = entry
        self.taken[Kind(kind)] += 1
        return stimulus

    def hold(self, *kinds: Kind) -> None:
        """Keep these kinds waiting until they are released."""
        self._held.update(kinds)

    def release(self, *kinds: Kind) -> None:
        """Let these kinds through again."""
        self._held.difference_update(kinds)
        self._idle.clear()
        self._changed.set()

    def pick(self, kind: Kind) -> Stimulus | None:
        """The oldest waiting stimulus of one kind, held back or not; None when there is none."""
        entry = min((entry for entry in self._heap if entry[0] == kind), default=None)
        if entry is None:
            return None
        self._heap.remove(entry)
        heapq.heapify(self._heap)
        self.taken[kind] += 1
        return entry[2]

    def arrived(self, kind: Kind) -> int:
        """How many of this kind ever arrived: handed out or still waiting."""
        return self.taken[kind] + sum(1 for entry in self._heap if entry[0] == kind)

    @property
    def handed_out(self) -> int:
        """How many stimuli were ever handed out, of any kind."""
        return sum(self.taken.values())

    @property
    def is_idle(self) -> bool:
        """Everything that is not held back has been dealt with."""
        return self._idle.is_set()

    async def idle(self) -> None:
        """Wait until ``is_idle``."""
        await self._idle.wait()
