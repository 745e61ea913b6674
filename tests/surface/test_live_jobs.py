"""The jobs around a live session: one at a time, stop, flatten, re-arm, roll back; each with and without a session to talk to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from alphatrade_pipelines import trader
from alphatrade_pipelines.live.lock import SecondSessionError
from alphatrade_pipelines.live.sim import RunningVenue, attach
from alphatrade_pipelines.live.status import SessionResult, SessionStatus, StopSwitch
from alphatrade_pipelines.models.gate import PROFILES, evaluate_gate
from alphatrade_pipelines.research import past_sessions, promoting, tracking
from alphatrade_pipelines.settings import Settings
from alphatrade_pipelines.trading.events import OperatorAsked, ProtectionBreached
from tests.surface.house import failure_text, instance_of, run, settings_of

WITHIN_S = 90.0


@dataclass
class Running:
    """A session in a thread of this process, as the job would run it in its own."""

    settings: Settings
    pace_s: float
    switch: StopSwitch = field(default_factory=StopSwitch)
    seen: list[SessionStatus] = field(default_factory=list)
    results: list[SessionResult] = field(default_factory=list)
    stop_when_holding: bool = False

    def start(self) -> threading.Thread:
        plan = trader.SessionPlan("sim", "run-of-the-test", pace_s=self.pace_s)
        thread = threading.Thread(target=lambda: self.results.append(trader.run_session(self.settings, plan, self.switch, self.observe)))
        thread.start()
        return thread

    def observe(self, status: SessionStatus) -> None:
        self.seen.append(status)
        if self.stop_when_holding and status.positions:
            self.switch.request()

    def wait_for_positions(self) -> None:
        until = time.monotonic() + WITHIN_S
        while not (self.seen and self.seen[-1].positions):
            assert time.monotonic() < until, "the session never held a position"
            time.sleep(0.05)


@pytest.fixture
def settings(own_home: Path) -> Settings:
    return settings_of(own_home)


@pytest.fixture
def house(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with instance_of(settings.home) as instance:
        yield instance


@pytest.fixture
def trading(settings: Settings) -> Iterator[Running]:
    """A session that trades, slowly enough to be spoken to, and holds something."""
    running = Running(settings, pace_s=0.3)
    thread = running.start()
    try:
        running.wait_for_positions()
        yield running
    finally:
        running.switch.request(reason="end of the test")
        thread.join(WITHIN_S)
        assert not thread.is_alive()


def output(result: dg.ExecuteInProcessResult) -> str:
    """What the op of a control job said."""
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return str(event.event_specific_data.metadata["outcome"].value)  # type: ignore[union-attr]


def test_requests_reach_the_running_session_and_a_second_one_is_refused(
    settings: Settings, house: dg.DagsterInstance, trading: Running
) -> None:
    import os

    with pytest.raises(SecondSessionError, match=rf"process {os.getpid()}, run run-of-the-test"):
        trader.run_session(settings, trader.SessionPlan("sim", "second"), StopSwitch(), trading.observe)
    second = run(settings, house, "live_execution")
    assert not second.success
    assert "run run-of-the-test" in failure_text(second)

    for job in ("reset_breakers", "flatten_all"):
        result = run(settings, house, job)
        assert result.success
        assert "asked the running session" in output(result)
    until = time.monotonic() + WITHIN_S
    while trading.seen[-1].positions and time.monotonic() < until:
        time.sleep(0.05)
    assert trading.seen[-1].positions == ()
    fills = trading.seen[-1].fills
    trading.switch.request()
    until = time.monotonic() + WITHIN_S
    while not trading.results and time.monotonic() < until:
        time.sleep(0.05)
    (ended,) = trading.results
    assert ended.clean, ended.open_business
    events = past_sessions.read_events(settings, past_sessions.newest_journal(settings))
    # asked between two steps of an open market, the closing orders wait for the next one: no stop stands meanwhile, yet nothing is exposed
    assert not [event for event in events if isinstance(event, ProtectionBreached)]
    asked = [(event.request, event.who) for event in events if isinstance(event, OperatorAsked)]
    assert [request for request, _ in asked] == ["reset_breakers", "flatten"]
    assert all(who.startswith("dagster run ") for _, who in asked)
    assert ended.status.fills >= fills
    venue = attach(settings.folders.journals)
    assert venue is not None
    assert held(venue) == {}


def held(venue: RunningVenue) -> dict[str, str]:
    return {position["symbol"]: position["qty"] for position in venue.ledger()["positions"] if float(position["qty"])}


def test_flatten_without_a_session_closes_everything_at_the_broker(settings: Settings, house: dg.DagsterInstance) -> None:
    stopped = Running(settings, pace_s=0.0, stop_when_holding=True)
    stopped.start().join(WITHIN_S)
    assert stopped.results[0].clean
    venue = attach(settings.folders.journals)
    assert venue is not None
    before = held(venue)
    assert before, "a stop with the policy protect leaves the positions, protected"
    assert trader.running_session(settings) == ""

    result = run(settings, house, "flatten_all")
    assert result.success
    said = output(result)
    assert said.startswith(("flat:", "closing orders wait for the next open:"))
    for _ in range(12):
        if not held(venue):
            break
        venue._ask("POST", "step")
    assert held(venue) == {}, said
    assert venue.ledger()["duplicate_intents"] == []
    again = run(settings, house, "flatten_all")
    assert output(again) == "flat: no position is left at the broker"


def test_without_a_session_or_a_venue_the_jobs_say_so(settings: Settings, house: dg.DagsterInstance) -> None:
    refused = run(settings, house, "reset_breakers")
    assert not refused.success
    assert "no sim session runs that could reset breakers" in failure_text(refused)
    assert output(run(settings, house, "flatten_all")) == "nothing to flatten: no simulated exchange is running"


def test_roll_back_needs_an_earlier_champion_and_returns_to_it(settings: Settings, house: dg.DagsterInstance) -> None:
    refused = run(settings, house, "rollback_model")
    assert not refused.success
    assert "expected an earlier champion" in failure_text(refused)
    models = tracking.registry(settings)
    first = models.champion()
    assert first is not None

    from mlflow import MlflowClient

    tags = {name: value for name, value in first.tags.items() if not name.startswith("gate.")}
    store = MlflowClient(settings.tracking_uri, registry_uri=settings.tracking_uri)
    files = store.get_run(first.run_id).info.artifact_uri
    newer = store.create_model_version(first.name, files, first.run_id, tags=tags)
    measured = models.metrics(first) | {"no_look_ahead": 1.0}
    report = evaluate_gate(measured, PROFILES[0], promoting.gate_thresholds())
    assert report.passed, report.failures
    models.promote(str(newer.version), report)
    champion = models.champion()
    assert champion is not None
    assert champion.version == "2"

    assert run(settings, house, "rollback_model").success
    back = models.champion()
    assert back is not None
    assert back.version == "1"
    assert models.version("2").tags["rolled_back"].endswith(": job rollback_model")
    assert models.trail()[-1].by.startswith("Dagster run ")
