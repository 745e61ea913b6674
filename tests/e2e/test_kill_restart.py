"""kill -9 in mid-session, again and again: the market goes on where it was, no decision is ordered twice, no position stands naked."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alphatrade_pipelines.journal import JournalReader
from alphatrade_pipelines.live.sim import RunningVenue, VenueProcessError, attach, launch
from alphatrade_pipelines.reporting.book import OrderBook
from alphatrade_pipelines.trading.events import OrderIntended, SessionEnded, SessionStarted
from tests.e2e.live_child import spec_of
from tests.live.world import money, world

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = (11,)
KILLS = 3


def start_child(folder: Path, run_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.live_child", str(folder), run_id],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def kill_at(child: subprocess.Popen[str], venue: RunningVenue, step: int, delay: float) -> None:
    """SIGKILL once the venue has taken ``step`` steps, ``delay`` seconds into it."""
    until = time.monotonic() + 60
    while venue.state()["steps"] < step:
        assert child.poll() is None, f"the session ended by itself:\n{child.stdout.read() if child.stdout else ''}"
        assert time.monotonic() < until, "the session does not move the venue"
        time.sleep(0.001)
    time.sleep(delay)
    child.send_signal(signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL


@pytest.mark.e2e
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_sessions_leave_one_order_a_decision_and_no_naked_position(tmp_path: Path, seed: int) -> None:
    chance, small = random.Random(seed), world("2012-11-01", "2012-11-16")
    expected = small.backtest()
    venue = launch(tmp_path, spec_of(small))
    try:
        for number, step in enumerate(sorted(chance.sample(range(3, 42), KILLS))):
            child = start_child(tmp_path, f"run-{number}")
            kill_at(child, venue, step, chance.uniform(0.0, 0.02))
        last = start_child(tmp_path, "run-last")
        ledger = check_ledger(venue)
        while last.poll() is None:
            ledger = check_ledger(venue) or ledger
            time.sleep(0.01)
        output, _ = last.communicate(timeout=60)
        result = json.loads(output.strip().splitlines()[-1])
    finally:
        left = attach(tmp_path)
        if left is not None:
            left.shut_down()
    assert result["clean"], output
    assert len(ledger["executions"]) > len(expected.fills) // 2
    judge(venue.journal, expected, result)


def check_ledger(venue: RunningVenue) -> dict[str, Any]:
    """The venue's ground truth must be spotless at every look; empty once the venue has ended with its tape."""
    try:
        ledger = venue.ledger()
    except VenueProcessError:
        return {}
    assert ledger["duplicate_intents"] == []
    assert ledger["reused_client_ids"] == 0
    assert ledger["unprotected_seconds"] == {}
    return ledger


def judge(journal: Path, expected: Any, result: dict[str, Any]) -> None:
    with JournalReader(journal) as reader:
        assert reader.verify().sound
        events = [event for _, event in reader.events()]
    assert sum(isinstance(event, SessionStarted) for event in events) == KILLS + 1
    assert sum(isinstance(event, SessionEnded) for event in events) == 1
    entries = {e.request.client_order_id: e.decision_id for e in events if isinstance(e, OrderIntended) and e.purpose == "entry"}
    refused = {cid for cid, record in OrderBook.of(events).orders.items() if record.refused or record.status in ("rejected", "")}
    alive = Counter(decision for cid, decision in entries.items() if cid not in refused)
    assert max(alive.values()) == 1
    # the strongest statement: five lives gave the very fills of an undisturbed run
    fills = {fill.execution.execution_id: fill.execution for fill in OrderBook.of(events).fills()}
    assert {(f.symbol, f.side, f.qty, f.price, f.at) for f in fills.values()} == {
        (f.execution.symbol, f.execution.side, f.execution.qty, f.execution.price, f.execution.at) for f in expected.fills
    }
    assert money(expected.summary.account.equity) == money(type(expected.summary.account.equity)(result["equity"]))
