"""`alphatrade simulate`: a line a session, a table of what struck, the run's hash; a failing seed as a story that can be replayed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from alphatrade_pipelines.simulation import runner
from alphatrade_pipelines.simulation.story import Story

Say = Callable[[str], None]


def simulate(seed: int, sessions: int, jobs: int, shrink: bool, home: Path, say: Say) -> bool:
    """Play sessions and say what came of them; True when a rule was broken. Stories of failing seeds go to ``home``/stories."""
    began = time.monotonic()
    outcome = runner.run(seed, sessions, jobs or os.cpu_count() or 1, say)
    seconds = time.monotonic() - began
    say("")
    for name, times, within in runner.table(outcome):
        say(f"{name:32} {times:>7} times in {within:>6} sessions")
    say("")
    for text in runner.summary(outcome):
        say(text)
    say(f"{seconds:.0f} s, {outcome.sessions / seconds:.2f} sessions/s")
    for number, report in enumerate(outcome.failed):
        for violation in report.violations[:3]:
            say(f"seed {report.story.seed}: {violation}")
        if number == 0 and shrink:
            small, text = runner.explain(report)
            path = home / "stories" / f"{report.story.seed}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(small.story.to_json())
            say(text)
            say(f"replay it with: alphatrade simulate --story {path}")
    return bool(outcome.failed)


def replay(path: Path, say: Say) -> bool:
    """Play one story and say what came of it; True when a rule was broken."""
    report = runner.replay(Story.load(path))
    say(runner.line(report))
    for name, times in sorted(report.struck.items()):
        say(f"{name:32} {times:>7} times")
    for violation in report.violations:
        say(str(violation))
    return bool(report.violations)
