"""Every rule can fail: each deliberate bug is caught within 200 seeds, most within the first few."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alphatrade_pipelines.simulation.story import draw_story
from alphatrade_pipelines.simulation.world import play
from tests.simulation.mutants import MUTANTS

SEEDS = 200
# where looking through the seeds from 1 on takes longest, it begins with the one that was found so
KNOWN = {
    "a halt is ignored": 19,
    "a refused exit waits for up to a minute": 59,
    "a restart forgets the last row": 12,
    "a start takes a snapshot for the whole journal": 13,
    "nobody looks at legs": 6,
}


def broken(seed: int) -> str:
    """The rule a session breaks, or what ended it; empty when it keeps them all."""
    try:
        violations = play(draw_story(seed)).violations
    except Exception as error:  # noqa: BLE001 - a mutant may break anything
        return f"{type(error).__name__}: {error}"
    return str(violations[0]) if violations else ""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_deliberate_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]) -> None:
    MUTANTS[name](monkeypatch)
    for seed in (KNOWN.get(name, 1), *range(1, SEEDS + 1)):
        rule = broken(seed)
        if rule:
            record_property("caught", f"seed {seed}: {rule[:200]}")
            return
    pytest.fail(f"nothing noticed in {SEEDS} seeds that {name}")
