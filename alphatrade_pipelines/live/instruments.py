"""What a session's shell works with, and what it may ask of its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from alphatrade_pipelines.journal import Snapshotter, Start
from alphatrade_pipelines.journal.runs import LastRun
from alphatrade_pipelines.journal.snapshots import Parts
from alphatrade_pipelines.live.bars import BarBuilder
from alphatrade_pipelines.live.brain import Brain, ModelProvider
from alphatrade_pipelines.live.gateway import Broker
from alphatrade_pipelines.live.memory import blank, fold
from alphatrade_pipelines.market.gate import BarGate, GateConfig
from alphatrade_pipelines.market.sessions import SessionCalendar
from alphatrade_pipelines.market.timeframe import Timeframe
from alphatrade_pipelines.reporting.summary import Summary
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.engine import EventLog
from alphatrade_pipelines.trading.events import Event


class TalliedLog:
    """A journal whose every durable event also feeds the counters."""

    def __init__(self, inner: EventLog, summary: Summary, run: LastRun | None = None) -> None:
        self._inner, self._summary, self._run = inner, summary, run

    @property
    def trouble(self) -> str:
        """Why entries must halt although the journal still takes events."""
        return str(getattr(self._inner, "trouble", ""))

    def append(self, event: Event) -> int:
        """Store one event durably, then count it."""
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        """Store a batch durably, then count it."""
        last = self._inner.append_many(events)
        for seq, event in enumerate(events, last - len(events) + 1):
            self._summary.add(event)
            if self._run is not None:
                self._run.add(seq, event)
        return last

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Stored events with sequence numbers >= ``from_seq``."""
        return self._inner.events(from_seq)


def read_all(journal: EventLog, core: CoreConfig) -> Parts:
    memory = blank(core)
    for _, event in journal.events():
        fold(memory, event)
    return memory


def gate_for(timeframe: Timeframe, history: pd.DataFrame, calendar: SessionCalendar, config: GateConfig | None = None) -> BarGate:
    """The gate of a time frame, seeded with history. A day may gap by an earnings surprise: daily bars may move 60 %, others 20 %."""
    gate = BarGate(timeframe, config or (GateConfig(max_jump=0.60) if timeframe.is_daily else GateConfig()), calendar)
    gate.seed(history)
    return gate


@dataclass(frozen=True, slots=True)
class Instruments:
    """What the shell works with. ``start`` is what the journal comes to (None: the shell reads it all itself)."""

    broker: Broker
    journal: EventLog
    brain: Brain
    builder: BarBuilder
    calendar: SessionCalendar
    gate: BarGate
    provider: ModelProvider | None = None
    start: Start | None = None
    snapshotter: Snapshotter | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """What the shell may ask of its surroundings: complete bars after a time from the broker's history, another data connection."""

    catch_up: Callable[[pd.Timestamp, datetime], pd.DataFrame]
    reconnect_data: Callable[[], None]
