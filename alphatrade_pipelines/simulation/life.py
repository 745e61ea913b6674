"""The life of one simulated process. It ends as a whole: whichever task meets the point of its death, none of it acts from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from alphatrade_pipelines.journal.errors import JournalWriteError
from alphatrade_pipelines.simulation.journals import Store
from alphatrade_pipelines.simulation.virtual import VirtualLoop
from alphatrade_pipelines.trading.events import Event


class Killed(BaseException):
    """The process dies here, as by ``kill -9``: no handler of its own may run, so it is no ``Exception``."""


class Life:
    """``trap`` is told of every point at which the process may die, and raises Killed where it does.

    A request on its way when its process dies is still underneath in the stack while the next process runs: it belongs to the dead one.
    """

    def __init__(self, loop: VirtualLoop, trap: Callable[[str], None]) -> None:
        self._loop, self._trap = loop, trap
        self.death: Killed | None = None
        self.over = loop.create_future()

    def boundary(self, point: str) -> None:
        """A point at which the process may die. Raises: Killed, here and at every later one of the same process."""
        self.check()
        try:
            self._trap(point)
        except Killed as death:
            self.death = death
            self.over.set_result(None)
            raise

    def check(self) -> None:
        """Raises: Killed when the process is dead."""
        if self.death is not None:
            raise type(self.death)(*self.death.args)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass, from code that blocks; the dead do not wake up."""
        self._loop.drive(lambda: self.death is not None, self._loop.time() + seconds)
        self.check()


class OwnJournal:
    """The journal in the hands of one process: once that is dead, it appends nothing. ``is_full``: there is no room for more."""

    def __init__(self, store: Store, life: Life, is_full: Callable[[], bool]) -> None:
        self._store, self._life, self._is_full = store, life, is_full

    def append(self, event: Event) -> int:
        """See ``EventLog``."""
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        """See ``EventLog``."""
        self._life.check()
        if self._is_full():
            raise JournalWriteError("no space left on the simulated disk")
        return self._store.append_many(events)

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """See ``EventLog``."""
        return self._store.events(from_seq)
