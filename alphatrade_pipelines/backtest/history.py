"""What a backtest remembers of its events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alphatrade_pipelines.reporting.book import OrderBook
from alphatrade_pipelines.reporting.summary import Summary
from alphatrade_pipelines.trading.events import AccountSeen, EntryDenied, Event, PriceSeen, SignalReceived


class History:
    """The engine's log of a backtest, in memory: reports are fed as events pass.

    With ``whole`` every event is kept. Without, prices, looks at the account and signals nobody acted on are counted and let go: over
    decades of a wide panel they are nearly all there is, gigabytes of it, and no report asks for them again.
    """

    def __init__(self, whole: bool = True) -> None:
        self.book, self.summary = OrderBook(), Summary()
        self.kept: list[Event] = []
        self._whole, self._count = whole, 0

    def append(self, event: Event) -> int:
        """Take one event."""
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        """Take what was decided together."""
        self._count += len(events)
        refused = not self._whole and len(events) == 2 and isinstance(events[0], SignalReceived) and isinstance(events[1], EntryDenied)
        for event in events:
            self.summary.add(event)
            if refused:
                continue
            self.book.add(event)
            if self._whole or not isinstance(event, PriceSeen | AccountSeen):
                self.kept.append(event)
        return self._count

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """The events kept, by their place among those."""
        start = max(from_seq, 1)
        yield from enumerate(self.kept[start - 1 :], start)
