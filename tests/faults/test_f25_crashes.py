"""F25: kill -9 of a real process between intent and submission, and between submission and record. One order, adopted or sent again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alphatrade_pipelines.live.health import read_heartbeat
from alphatrade_pipelines.trading.applying import apply
from alphatrade_pipelines.trading.events import OrderProbed, Outcome, SessionStarted, SubmitEnded
from alphatrade_pipelines.trading.state import CoreState
from tests.faults.child import SCRIPT
from tests.faults.stage import LONG_S, Stage, serve

ROOT = Path(__file__).resolve().parent.parent.parent


def start(folder: Path, url: str, run_id: str) -> subprocess.Popen[bytes]:
    log = (folder / f"{run_id}.log").open("wb")
    command = [sys.executable, "-m", "tests.faults.child", str(folder), url, run_id]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)})


async def until(child: subprocess.Popen[bytes], condition: Callable[[], object], folder: Path) -> None:
    """Wait in wall time for what must happen while the child lives."""
    async with asyncio.timeout(LONG_S):
        while not condition():
            assert child.poll() is None, "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
            await asyncio.sleep(0.01)


def reached(stage: Stage, run_id: str) -> bool:
    """The child's heartbeat shows the venue's present, with both streams up."""
    beat = read_heartbeat(stage.folder / "heartbeat.json")
    return beat is not None and beat.run_id == run_id and beat.venue_at == stage.exchange.now and beat.streams_up


def kill(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("held", "then", "sends"),
    [("before", "drop", 2), ("before", "continue", 1), ("after", "drop", 1)],
    ids=["never-arrived", "arrived-after-the-death", "taken-but-never-recorded"],
)
async def test_f25_crash_between_intent_submission_and_record(tmp_path: Path, held: str, then: str, sends: int) -> None:
    async with serve(SCRIPT, tmp_path) as (stage, url):
        child = start(tmp_path, url, "run-1")
        try:
            await until(child, lambda: reached(stage, "run-1"), tmp_path)
            await stage.arm({"kind": "hold", "stage": held, "seconds": 600})
            while not stage.server.injector.describe()["held"]:
                if stage.is_over(2):
                    await until(child, lambda: stage.server.injector.describe()["held"], tmp_path)
                    break
                await stage.admin.ask("POST", "step")
                await until(child, lambda: reached(stage, "run-1") or stage.server.injector.describe()["held"], tmp_path)
            kill(child)
            assert [event.outcome for event in stage.journaled(SubmitEnded)] == [], "killed before the answer was recorded"
            [intent] = stage.intents("entry")
            await stage.admin.ask("POST", "faults/release", {"then": then})
            child = start(tmp_path, url, "run-2")
            await until(child, lambda: reached(stage, "run-2"), tmp_path)
            await until(child, lambda: stage.journaled(OrderProbed) or len(stage.intents("entry")) > 1, tmp_path)
            for _ in range(6):
                await stage.admin.ask("POST", "step")
                await until(child, lambda: reached(stage, "run-2"), tmp_path)
            await until(child, lambda: _believed(stage) == stage.positions(), tmp_path)
        finally:
            if child.poll() is None:
                kill(child)
        assert len(stage.journaled(SessionStarted)) == 2
        assert stage.taken("buy") == 1, "exactly one order"
        assert stage.positions() == {"AAA": intent.request.qty}
        assert [one.request.client_order_id for one in stage.intents("entry")] == [intent.request.client_order_id] * sends
        assert stage.journaled(OrderProbed)[0].outcome is (Outcome.REFUSED if sends == 2 else Outcome.CONFIRMED)
        assert stage.ledger.duplicate_intents == []
        assert stage.ledger.unprotected_seconds == {}


def _believed(stage: Stage) -> dict[str, object]:
    """The positions a third process would start with."""
    state = CoreState.initial(SCRIPT.core)
    for event in stage.events():
        apply(state, event)
    return {symbol: held.qty for symbol, held in state.positions.items()}
