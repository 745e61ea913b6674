"""The composition of trading: what is refused before anything is sent, and how a dead session is told from a living one."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alphatrade_pipelines import bootstrap, trader
from alphatrade_pipelines.live.endpoints import EndpointError, MissingKeysError
from alphatrade_pipelines.live.health import Heartbeat, write_heartbeat
from alphatrade_pipelines.live.lock import SecondSessionError, SessionLock
from alphatrade_pipelines.live.status import StopSwitch
from alphatrade_pipelines.models.errors import NoPromotedModelError
from alphatrade_pipelines.settings import Settings, load_settings
from alphatrade_pipelines.trading.domain import StopPolicy


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load_settings(home=tmp_path / "home")
    made.folders.create()
    return made


def beat(settings: Settings, age_s: float, run_id: str = "run-1") -> None:
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    write_heartbeat(trader.heartbeat_path(settings, "sim"), Heartbeat(at, at, os.getpid(), run_id, "sim", "active", True))


@pytest.mark.parametrize(
    ("mode", "source", "trained_on", "synthetic", "wrong"),
    [
        ("paper", "sample", "alpaca", False, "market.source is 'sample'"),
        ("live", "synthetic", "alpaca", False, "market.source is 'synthetic'"),
        ("paper", "alpaca", "sample", False, "trained on 'sample'"),
        ("live", "files", "files", True, "synthetic data"),
    ],
)
def test_no_broker_is_traded_on_data_that_are_not_the_market(mode: str, source: str, trained_on: str, synthetic: bool, wrong: str) -> None:
    with pytest.raises(bootstrap.SetupError, match=wrong):
        trader.check_real_data(mode, source, trained_on, synthetic)


def test_simulation_may_use_anything_and_real_modes_real_data() -> None:
    trader.check_real_data("sim", "synthetic", "synthetic", True)
    trader.check_real_data("live", "alpaca", "alpaca", False)


def test_unknown_mode_is_named() -> None:
    with pytest.raises(bootstrap.SetupError, match="unknown mode 'yolo': expected one of sim, paper, live"):
        bootstrap.parse_mode("yolo")


def test_paper_without_keys_says_what_is_missing(settings: Settings) -> None:
    with pytest.raises(MissingKeysError, match="API key and secret key"):
        trader.alpaca_access(settings, "paper")


@pytest.mark.parametrize(
    ("url", "said"), [("", "empty"), ("https://api.alpaca.markets", "foreign"), ("http://127.0.0.1:8000", "scheme|foreign")]
)
def test_empty_or_foreign_url_is_refused(tmp_path: Path, url: str, said: str) -> None:
    keys = {"key_id": "key-of-paper", "secret_key": "secret-of-paper", "paper_url": url}
    with pytest.raises(EndpointError, match=said):
        trader.alpaca_access(load_settings(home=tmp_path, alpaca=keys), "paper")


def test_account_folder_does_not_show_the_key(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, alpaca={"key_id": "PKABCDEFGH", "secret_key": "very-secret"})
    _, keys = trader.alpaca_access(settings, "paper")
    folder = trader.account_folder("paper", keys)
    assert folder.startswith("paper-")
    assert "PKABC" not in folder
    assert folder == trader.account_folder("paper", keys)


def test_no_promoted_model_is_a_clear_error_and_leaves_no_venue_behind(settings: Settings) -> None:
    plan = trader.SessionPlan("sim", "run-1")
    with pytest.raises(NoPromotedModelError, match="champion"):
        trader.run_session(settings, plan, StopSwitch(), lambda status: None)
    assert list(settings.folders.journals.iterdir()) == []
    assert trader.running_session(settings) == ""


def test_second_session_is_refused_and_the_first_is_named(settings: Settings) -> None:
    with SessionLock(settings.folders.live / "sim.lock", "first-run"):
        assert "run first-run" in trader.running_session(settings)
        with pytest.raises(SecondSessionError, match=f"process {os.getpid()}, run first-run"):
            trader.run_session(settings, trader.SessionPlan("sim", "second-run"), StopSwitch(), lambda status: None)
    assert trader.running_session(settings) == ""


def test_requests_need_a_running_session(settings: Settings) -> None:
    with pytest.raises(bootstrap.SetupError, match="no sim session runs that could reset breakers"):
        trader.ask_session(settings, "reset_breakers", "test")
    with pytest.raises(bootstrap.SetupError, match="no sim session runs"):
        trader.stop(settings)


def test_watchdog_finding_follows_the_heartbeat(settings: Settings) -> None:
    assert not trader.dead_session_finding(settings, "run-1", time.time() - 60).fires, "a starting run has not beaten yet"
    assert trader.dead_session_finding(settings, "run-1", time.time() - 3600).fires, "an hour without a first beat"
    beat(settings, age_s=2)
    assert not trader.dead_session_finding(settings, "run-1", time.time() - 3600).fires
    beat(settings, age_s=120)
    assert not trader.dead_session_finding(settings, "run-1", time.time() - 3600).fires, "alive without the lock: it writes its reports"
    with SessionLock(settings.folders.live / "sim.lock", "run-1"):
        finding = trader.dead_session_finding(settings, "run-1", time.time() - 3600)
    assert finding.fires
    assert "last heartbeat 120 s ago" in finding.detail


def test_a_process_that_does_not_hold_the_lock_is_never_killed(settings: Settings) -> None:
    beat(settings, age_s=120)  # names this very process: were the lock not asked, the test run would die here
    assert trader.end_stuck_process(settings, "run-1") is False


def test_stop_switch_can_be_asked_from_a_handler_that_interrupts_it() -> None:
    switch = StopSwitch()
    asked = []

    def listener(stop: object) -> None:
        switch.request(StopPolicy.FLATTEN, "again, from inside")
        asked.append(stop)

    switch.listen(listener)
    switch.request(StopPolicy.PROTECT, "first")
    assert len(asked) == 1
