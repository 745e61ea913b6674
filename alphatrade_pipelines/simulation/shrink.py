"""From a session that broke a rule to the shortest story that still breaks it: steps are taken out while the same rule stays broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from alphatrade_pipelines.simulation.story import Step, Story
from alphatrade_pipelines.simulation.world import Report

Play = Callable[[Story], Report]
MOST_PLAYS = 150


def shrink(story: Story, play: Play, most: int = MOST_PLAYS) -> Report:
    """The report of the shortest story found within ``most`` plays. ``story`` must break a rule; the first it breaks is the one kept."""
    best = play(story)
    if not best.violations:
        raise ValueError(f"expected a session that breaks a rule, found none broken with seed {story.seed}")
    rule = best.violations[0].invariant
    left = most

    def still_broken(candidate: Story) -> bool:
        nonlocal best, left
        if left <= 0:
            return False
        left -= 1
        report = play(candidate)
        if all(violation.invariant != rule for violation in report.violations):
            return False
        best = report
        return True

    _without_steps(best.story, still_broken)
    for simpler in _simpler(best.story):
        still_broken(simpler)
    return best


def _without_steps(story: Story, still_broken: Callable[[Story], bool]) -> None:
    """Delta debugging (Zeller, Hildebrandt 2002): leave out halves, then quarters, then single steps."""
    steps: tuple[Step, ...] = story.steps
    size = len(steps)
    while size >= 1:
        start = 0
        while start < len(steps):
            candidate = steps[:start] + steps[start + size :]
            if still_broken(story.with_steps(candidate)):
                steps = candidate
            else:
                start += size
        size //= 2


def _simpler(story: Story) -> Iterator[Story]:
    """The same steps in quieter surroundings."""
    yield replace(story, journal="memory")
    yield replace(story, partial_fills=0.0)
    yield replace(story, profile="optimistic")
    yield replace(story, latency=0.01)
    yield replace(story, allow_short=False)
