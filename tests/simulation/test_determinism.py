"""The same seed is the same journal: twice in a process, in other processes with other hash seeds, after other sessions."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import structlog

from alphatrade_pipelines.simulation.runner import quietly, session

SEED = 7
CODE = "import sys; from alphatrade_pipelines.simulation.runner import be_quiet, session; be_quiet(); " + (
    "[print(session(int(seed)).journal_hash) for seed in sys.argv[1:]]"
)


def _elsewhere(hash_seed: str, *seeds: int) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", CODE, *map(str, seeds)], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_same_seed_gives_the_same_journal() -> None:
    first, again = session(SEED), session(SEED)
    assert first.journal_hash == again.journal_hash
    assert (first.events, first.struck, first.checks) == (again.events, again.struck, again.checks)
    assert first.events > 100
    assert session(SEED + 1).journal_hash != first.journal_hash


def test_neither_the_process_nor_its_hash_seed_nor_its_past_matters() -> None:
    here = session(SEED).journal_hash
    assert _elsewhere("1", SEED) == [here]
    other, after = _elsewhere("2", SEED + 3, SEED)
    assert after == here
    assert other != here


def test_who_plays_sessions_has_its_logs_back() -> None:
    before = logging.root.manager.disable, structlog.get_config()["wrapper_class"]
    logging.disable(logging.NOTSET)
    with quietly():
        assert not logging.getLogger("a library").isEnabledFor(logging.CRITICAL)
    assert logging.getLogger("a library").isEnabledFor(logging.CRITICAL)
    logging.disable(before[0])
    assert structlog.get_config()["wrapper_class"] is before[1]


def test_what_a_rate_limit_asks_for_does_not_depend_on_the_wall_clock() -> None:
    """Seed 15 is refused with 429: how long that is to last stands in the journal."""
    assert session(15).journal_hash == session(15).journal_hash
