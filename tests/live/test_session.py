"""Whole sessions over the real venue server with the real SDK: equal to the backtest, robust to faults, clean in stopping."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, time
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from alphatrade_pipelines.live.bars import BarBuilder
from alphatrade_pipelines.live.control import ControlInbox
from alphatrade_pipelines.live.endpoints import ArmingError
from alphatrade_pipelines.live.health import read_heartbeat
from alphatrade_pipelines.live.launch import open_session
from alphatrade_pipelines.live.lock import SecondSessionError
from alphatrade_pipelines.live.lockstep import Lockstep
from alphatrade_pipelines.live.session import WallClock
from alphatrade_pipelines.live.status import SessionStatus, StopSwitch
from alphatrade_pipelines.live.transport import BrokerUnavailableError
from alphatrade_pipelines.market import GateConfig
from alphatrade_pipelines.reporting.book import OrderBook
from alphatrade_pipelines.reporting.protection import measure_protection
from alphatrade_pipelines.trading.domain import ModelRef, StopPolicy
from alphatrade_pipelines.trading.events import CorporateActionApplied, ModelSwapped, OperatorAsked, SessionEnded
from alphatrade_pipelines.venue.server.app import ServerConfig
from tests.live.world import CORE, intraday_world, journal_of, money, play, venue, world


async def test_paper_equals_backtest_to_the_cent(tmp_path: Path) -> None:
    """Same days, same seed, same cash: the same fills, one by one, and the same equity."""
    expected = world().backtest()
    seen: list[SessionStatus] = []
    async with venue(world()) as (server, url, admin):
        result = await play(world().setup(url, tmp_path, observers=(seen.append,)), admin, world().sessions)
        assert server.exchange.digest() == expected.digest
        assert server.exchange.ledger.duplicate_intents == []
        assert server.exchange.ledger.unprotected_seconds == {}
    events = journal_of(tmp_path)
    assert [fill.execution for fill in OrderBook.of(events).fills()] == [fill.execution for fill in expected.fills]
    assert len(expected.fills) > 20
    assert money(result.status.equity) == money(Decimal(repr(float(expected.equity.iloc[-1]))))
    assert result.clean
    assert result.status.discrepancies == 0
    assert result.status.seconds_unprotected == measure_protection(events).total == 0
    assert result.status.sessions == world().sessions
    assert result.status.progress == 1.0
    assert seen[-1] == result.status
    assert any(isinstance(event, CorporateActionApplied) for event in events)
    beat = read_heartbeat(tmp_path / "heartbeat.json")
    assert beat is not None
    assert beat.run_id == "run-1"


async def test_paper_equals_backtest_within_the_day(tmp_path: Path) -> None:
    """Half-hour bars: decisions while the market is open, exits by time inside the session."""
    small = intraday_world()
    expected = small.backtest()
    async with venue(small) as (server, url, admin):
        result = await play(small.setup(url, tmp_path), admin, small.sessions)
        assert server.exchange.digest() == expected.digest
        assert server.exchange.ledger.duplicate_intents == []
        # what the market does between two looks differs by nothing: the same naked seconds, if any, in both
        assert sum(server.exchange.ledger.unprotected_seconds.values()) == expected.venue_seconds_unprotected
    assert len(expected.fills) > 20
    assert {fill.execution.at.time() for fill in expected.fills} - {time(14, 30)}
    assert result.clean


@pytest.mark.parametrize("kind", ["mute_trade_updates", "duplicate_trade_updates", "cut_streams"])
async def test_lost_repeated_and_interrupted_streams_end_in_the_same_account(tmp_path: Path, kind: str) -> None:
    """Faults strike in the middle of the run; what the streams did not tell is read back, and nothing is counted twice."""
    small = world("2012-11-01", "2012-11-09")
    expected = small.backtest()
    async with venue(small) as (server, url, admin):
        playing = asyncio.create_task(play(small.setup(url, tmp_path), admin, small.sessions))
        while server.steps < 8:
            await asyncio.sleep(0.005)
        await admin.ask("POST", "fault", {"kind": kind, "count": 2})
        result = await playing
        assert result.clean
        assert result.status.fills == len(server.exchange.fills())
        assert dict(result.status.positions) == {p.symbol: p.qty for p in server.exchange.positions()}
        assert server.exchange.ledger.duplicate_intents == []
        assert server.exchange.ledger.unprotected_seconds == {}
        if kind == "duplicate_trade_updates":
            assert server.exchange.digest() == expected.digest


async def test_stop_leaves_protected_positions_and_the_next_run_goes_on(tmp_path: Path) -> None:
    switch = StopSwitch()
    expected = world().backtest()

    def stop_when_invested(status: SessionStatus) -> None:
        if status.positions:
            switch.request(StopPolicy.PROTECT, "enough for today")

    async with venue(world()) as (server, url, admin):
        setup = world().setup(url, tmp_path, observers=(stop_when_invested,))
        first = await play(setup, admin, world().sessions, switch)
        assert first.reason == "enough for today"
        assert first.clean
        assert first.status.positions
        assert server.exchange.next_step_at is not None
        second = await play(replace(setup, observers=()), admin, world().sessions)
        assert second.clean
        assert second.status.sessions == world().sessions
        assert server.exchange.ledger.duplicate_intents == []
        assert server.exchange.ledger.unprotected_seconds == {}
    assert len([event for event in journal_of(tmp_path) if isinstance(event, SessionEnded)]) == 2
    assert expected.fills


async def test_a_damaged_journal_blocks_nothing_positions_are_adopted_with_their_protection(tmp_path: Path) -> None:
    switch = StopSwitch()

    def stop_when_invested(status: SessionStatus) -> None:
        if status.positions:
            switch.request(StopPolicy.PROTECT, "invested")

    async with venue(world()) as (server, url, admin):
        setup = world().setup(url, tmp_path, observers=(stop_when_invested,))
        first = await play(setup, admin, world().sessions, switch)
        assert first.status.positions
        journal = tmp_path / "journal.sqlite"
        journal.write_bytes(journal.read_bytes()[:4096] + b"\xff" * 8192)
        second = await play(replace(setup, observers=()), admin, world().sessions)
        assert second.clean
        assert second.status.state == "halted", "what was lost may have been a halt: entries wait for a person"
        assert second.status.previous_run.startswith("damaged: the journal was damaged")
        assert second.status.discrepancies >= len(first.status.positions), "each adopted position is a finding"
        assert server.exchange.ledger.unprotected_seconds == {}
        assert server.exchange.ledger.duplicate_intents == []
    assert (tmp_path / "journal.sqlite.damaged-1").exists()


async def test_flatten_leaves_nothing(tmp_path: Path) -> None:
    switch = StopSwitch()

    def stop_when_invested(status: SessionStatus) -> None:
        if len(status.positions) >= 2:
            switch.request(StopPolicy.FLATTEN, "flatten")

    async with venue(world()) as (server, url, admin):
        result = await play(world().setup(url, tmp_path, observers=(stop_when_invested,)), admin, world().sessions, switch)
        assert result.reason == "flatten"
        assert result.clean
        assert server.exchange.positions() == []
        assert server.exchange.orders(status="open") == []


async def test_operator_requests_reach_the_core(tmp_path: Path) -> None:
    ControlInbox(tmp_path / "control").ask("halt", "somebody")
    async with venue(world("2012-11-01", "2012-11-06")) as (server, url, admin):
        result = await play(world("2012-11-01", "2012-11-06").setup(url, tmp_path), admin, 4)
        assert result.status.state == "halted"
        assert server.exchange.fills() == []
    assert [event.request for event in journal_of(tmp_path) if isinstance(event, OperatorAsked)] == ["halt"]
    assert ControlInbox(tmp_path / "control").take() == [], "what stands in the journal is not asked again"
    with pytest.raises(ValueError, match="expected one of flatten, halt, resume, reset_breakers"):
        ControlInbox(tmp_path / "control").ask("explode", "somebody")


async def test_a_new_champion_takes_over_between_bars(tmp_path: Path) -> None:
    small = world("2012-11-01", "2012-11-06")
    newer = ModelRef("rulebook", "8", "other-hash", "mlflow-run-2", "dagster-run-2", "data-hash-2", "commit-2", "paper")
    offers = iter([None, (small.bundle, newer)])
    async with venue(small) as (_, url, admin):
        result = await play(small.setup(url, tmp_path, provider=lambda _current: next(offers, None)), admin, small.sessions)
    assert result.status.model_version == "8"
    assert [event.model.version for event in journal_of(tmp_path) if isinstance(event, ModelSwapped)] == ["8"]


async def test_second_session_is_refused_while_one_runs(tmp_path: Path) -> None:
    small = world("2012-11-01", "2012-11-06")
    async with venue(small) as (server, url, admin):
        playing = asyncio.create_task(play(small.setup(url, tmp_path), admin, small.sessions))
        while server.steps < 2:
            await asyncio.sleep(0.005)
        with pytest.raises(SecondSessionError, match="run run-1"):
            await play(small.setup(url, tmp_path), admin, small.sessions)
        assert (await playing).clean


async def test_starting_without_a_broker_says_so(tmp_path: Path) -> None:
    async with venue(world()) as (_, url, admin):
        pass
    setup = world().setup(url, tmp_path)
    hasty = replace(setup, session=replace(setup.session, connect_patience_s=0.3))
    with pytest.raises(BrokerUnavailableError, match="streams not subscribed"):
        await play(hasty, admin, 1)


async def test_live_mode_refuses_an_unarmed_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode decides, not the host: here 'live' is played against the venue, and nothing may be sent."""
    from alphatrade_pipelines.live import endpoints

    for table in (endpoints.TRADING_HOSTS, endpoints.DATA_HOSTS, endpoints.DATA_STREAM_HOSTS):
        monkeypatch.setitem(table, "live", endpoints.LOOPBACK)
    monkeypatch.setattr("alphatrade_pipelines.live.launch.check_endpoints", lambda *_: None)
    monkeypatch.setattr("alphatrade_pipelines.live.gateway.check_endpoints", lambda *_: None)
    async with venue(world()) as (server, url, admin):
        setup = world().setup(url, tmp_path)
        armed = replace(setup, session=replace(setup.session, mode="live", core=CORE, armed_account=None))
        with pytest.raises(ArmingError, match="nothing was typed"):
            await play(armed, admin, 1)
        assert server.exchange.orders(status="all") == []


async def test_late_bars_feed_the_features_but_decide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every day's bars are handed over a day late."""
    small = world("2012-11-01", "2012-11-06")
    prompt, waiting = BarBuilder.complete, list[list[pd.DataFrame]]()

    def tardy(builder: BarBuilder, now: datetime) -> list[pd.DataFrame]:
        waiting.append(prompt(builder, now))
        return waiting.pop(0) if len(waiting) > 1 else []

    monkeypatch.setattr(BarBuilder, "complete", tardy)
    async with venue(small) as (_, url, admin):
        with open_session(small.setup(url, tmp_path)) as session:
            result = await session.run(Lockstep(admin, small.sessions))
            taken = len(session.tools.brain.bars) - len(small.history)
    assert taken == (small.sessions - 1) * 5
    assert (result.status.signals, result.status.orders, result.status.bars_quarantined) == (0, 0, 0)


async def test_by_the_clock_the_session_trades_and_keeps_its_books(tmp_path: Path) -> None:
    """The pace of paper and live trading: nobody waits for the session. A session passes in eight seconds."""
    small, switch = intraday_world(), StopSwitch()
    async with venue(small, ServerConfig(mode="accelerated", speed=3000.0, closed_seconds=0.5)) as (server, url, _):
        setup = small.setup(url, tmp_path, gate=GateConfig(max_delay_seconds=1800.0))
        slow = replace(setup, session=replace(setup.session, core=replace(CORE, reconcile_interval_s=900.0)))
        with open_session(slow) as session:
            running = asyncio.create_task(session.run(WallClock(tick_s=0.01), switch))
            while server.exchange.next_step_at is not None and len(server.exchange.fills()) < 6 and not running.done():
                await asyncio.sleep(0.01)
            switch.request(StopPolicy.FLATTEN, "seen enough")
            result = await running
        assert result.reason == "seen enough"
        assert result.status.signals > 0
        assert len(server.exchange.fills()) >= 6
        assert server.exchange.ledger.duplicate_intents == []
        assert dict(result.status.positions) == {p.symbol: p.qty for p in server.exchange.positions()}
        assert result.status.fills == len(server.exchange.fills())
    assert result.clean
    assert result.status.positions == ()


async def test_by_the_clock_the_session_ends_after_the_sessions_it_was_given(tmp_path: Path) -> None:
    small = intraday_world()
    async with venue(small, ServerConfig(mode="accelerated", speed=12000.0, closed_seconds=0.3)) as (_, url, _):
        setup = small.setup(url, tmp_path, gate=GateConfig(max_delay_seconds=7200.0))
        slow = replace(setup, session=replace(setup.session, core=replace(CORE, reconcile_interval_s=3600.0)))
        with open_session(slow) as session:
            result = await asyncio.wait_for(session.run(WallClock(tick_s=0.01, sessions=1, linger_s=0.1)), 240)
    assert result.reason == "1 market sessions are over"
    assert result.clean
    assert 1 <= result.status.sessions <= 2
