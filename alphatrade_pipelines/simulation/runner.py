"""Many sessions on all cores, and what they say together."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import structlog

from alphatrade_pipelines.simulation.shrink import shrink
from alphatrade_pipelines.simulation.story import Story, draw_story
from alphatrade_pipelines.simulation.truth import INVARIANTS
from alphatrade_pipelines.simulation.world import Report, play

Say = Callable[[str], None]


@dataclass(slots=True)
class Outcome:
    """All sessions of a run. ``digest`` stands for all their journals."""

    sessions: int = 0
    failed: list[Report] = field(default_factory=list)
    events: int = 0
    requests: int = 0
    processes: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    sessions_struck: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    longest: dict[str, float] = field(default_factory=dict)
    digest: str = ""

    def add(self, report: Report) -> None:
        """Count one session."""
        self.sessions += 1
        self.events += report.events
        self.requests += report.requests
        self.processes += report.processes
        self.struck.update(report.struck)
        self.sessions_struck.update(dict.fromkeys(report.struck, 1))
        self.checks.update(report.checks)
        self.orders.update(report.orders)
        for name, value in report.longest.items():
            self.longest[name] = max(value, self.longest.get(name, 0.0))
        if report.violations:
            self.failed.append(report)
        self.digest = hashlib.sha256(f"{self.digest}\n{report.story.seed} {report.journal_hash}".encode()).hexdigest()


def be_quiet() -> None:
    """Sessions full of faults warn and complain all the time; here that is what they are for."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@contextmanager
def quietly() -> Iterator[None]:
    """Quiet for a while: who plays sessions inside a larger process has its logs back afterwards."""
    disabled, configured = logging.root.manager.disable, structlog.get_config()
    be_quiet()
    try:
        yield
    finally:
        logging.disable(disabled)
        structlog.configure(**configured)


def session(seed: int) -> Report:
    """The session of one seed."""
    return play(draw_story(seed))


def run(first_seed: int, sessions: int, jobs: int, say: Say) -> Outcome:
    """Play ``sessions`` seeds from ``first_seed`` on in ``jobs`` processes; ``say`` hears a line a session, in order of the seeds."""
    outcome = Outcome()
    for report in _reports(range(first_seed, first_seed + sessions), jobs):
        outcome.add(report)
        say(line(report))
    return outcome


def _reports(seeds: range, jobs: int) -> Iterator[Report]:
    if jobs <= 1 or len(seeds) <= 1:
        with quietly():
            yield from map(session, seeds)
        return
    # a fresh interpreter each: nothing of this process (threads, caches, a patched module) leaks into a session
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=be_quiet) as pool:
        yield from pool.map(session, seeds, chunksize=4)


def line(report: Report) -> str:
    """One session in a line."""
    state = "ok" if not report.violations else f"VIOLATED {report.violations[0].invariant}"
    return f"{report.story.seed:>8}  {report.journal_hash}  {report.events:>5} events  {report.processes} processes  {state}"


def explain(report: Report, most: int | None = None) -> tuple[Report, str]:
    """The shortest story that breaks the same rule, and what to say about it."""
    with quietly():
        small = shrink(report.story, play) if most is None else shrink(report.story, play, most)
    broken = "\n".join(f"  {violation}" for violation in small.violations[:5])
    kept = f"{len(small.story.steps)} of {len(report.story.steps)} steps"
    return small, f"seed {report.story.seed} breaks a rule ({kept} are enough):\n{broken}\n{small.story.to_json()}"


def replay(story: Story) -> Report:
    """One session from a story."""
    with quietly():
        return play(story)


def table(outcome: Outcome) -> list[tuple[str, int, int]]:
    """(what, how often it struck, in how many sessions): every failure F1 to F30, then crashes, people and the rest, by name."""
    failures = [f"F{number:02d}" for number in range(1, 31)]
    others = sorted(name for name in outcome.struck if name not in failures)
    look = partial(Counter.get, outcome.struck)
    return [(name, look(name, 0) or 0, outcome.sessions_struck.get(name, 0)) for name in [*failures, *others]]


def summary(outcome: Outcome) -> list[str]:
    """The run in a few lines."""
    checks = ", ".join(f"{name} {outcome.checks.get(name, 0)}" for name in INVARIANTS)
    orders = ", ".join(f"{count} {name}" for name, count in sorted(outcome.orders.items()))
    longest = outcome.longest
    return [
        f"{outcome.sessions} sessions, {outcome.events} events, {outcome.requests} requests, {outcome.processes} processes, {orders}",
        f"judged: {checks}",
        f"longest without protection: {longest.get('aware', 0.0):.1f} s known, {longest.get('all', 0.0):.1f} s in all",
        f"{len(outcome.failed)} sessions broke a rule",
        f"run hash {outcome.digest}",
    ]
