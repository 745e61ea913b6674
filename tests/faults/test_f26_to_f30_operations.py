"""F26 to F30: a second trader, a clock that is off, an account that is blocked, the wrong environment, a close-all that half fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from alpaca.trading.client import TradingClient

from alphatrade_pipelines.live.endpoints import Credentials, EndpointError, Endpoints
from alphatrade_pipelines.live.flatten import flatten_directly
from alphatrade_pipelines.live.gateway import AlpacaGateway, GatewayConfig
from alphatrade_pipelines.live.launch import open_session
from alphatrade_pipelines.live.lock import SecondSessionError
from alphatrade_pipelines.live.transport import BrokerUnavailableError
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.events import DiscrepancyFound, Outcome, SessionStarted, SubmitEnded
from tests.faults.stage import PATIENCE, Script, flat, play, serve

DAY = [{"AAA": flat(40), "BBB": flat(40)}]
ONE = [("AAA", 1, 2)]


async def test_f26_a_second_instance_on_this_machine_is_refused(tmp_path: Path) -> None:
    async with play(Script(DAY, ONE), tmp_path) as stage:
        await stage.until_minute(3)
        setup = Script(DAY, ONE).setup("http://127.0.0.1:9", tmp_path, "run-2")
        with pytest.raises(SecondSessionError, match="run run-1"), open_session(setup):
            pass
        stage.judge()
        assert (await stage.end()).clean


async def test_f26_a_second_instance_elsewhere_the_slot_is_taken(tmp_path: Path) -> None:
    """The stream's only slot is taken (406): the newcomer gives up before it has sent anything."""
    async with serve(Script(DAY, ONE, "f26", session={"connect_patience_s": 1.5}), tmp_path) as (stage, url):
        setup = Script(DAY, ONE, session={"connect_patience_s": 1.5}).setup(url, tmp_path)
        with pytest.raises(BrokerUnavailableError, match="no other connection uses these keys"):
            await stage.begin_play(setup)
        assert stage.ledger.receipts == []
        assert stage.journaled(SessionStarted) == []


async def test_f26_foreign_orders_freeze_entries_and_foreign_trades_are_adopted_and_protected(tmp_path: Path) -> None:
    async with play(Script(DAY, [("AAA", 1, 5), ("BBB", 1, 5)]), tmp_path) as stage:
        await stage.until_minute(1)
        await stage.arm(
            {"kind": "foreign_order", "symbol": "AAA", "side": "buy", "qty": 1, "limit_price": 1},
            {"kind": "manual_trade", "symbol": "BBB", "qty": 5},
        )
        await stage.until_minute(8)
        assert stage.denials() == ["SYMBOL_FOREIGN_ORDER", "SYMBOL_POSITION_OPEN"]
        assert stage.taken("buy", "AAA") == stage.taken("buy", "BBB") == 0
        found = {(found.kind, found.symbol) for found in stage.journaled(DiscrepancyFound)}
        assert ("unknown_order", "AAA") in found
        assert ("missing_position", "BBB") in found
        assert [(intent.request.symbol, intent.request.qty) for intent in stage.intents("protect")] == [("BBB", 5)]
        stage.judge(unprotected_s=60.0)
        assert (await stage.end()).clean


async def test_f27_a_clock_five_minutes_ahead_and_a_half_day(tmp_path: Path) -> None:
    """The broker's clock is the time, wherever it stands; the session that closes at 13:00 is over at 13:00, and protected overnight. To a
    clock that is five minutes ahead every bar is five minutes old: no entry on it."""
    days = [{"AAA": flat(20), "BBB": flat(20)}, {"AAA": flat(20), "BBB": flat(20)}]
    async with play(Script(days, [*ONE, ("BBB", 1, 8)]), tmp_path) as stage:
        await stage.arm({"kind": "early_close", "time": "13:00"})
        await stage.until(lambda: stage.positions())
        await stage.until_minute(5)
        await stage.arm({"kind": "clock_skew", "seconds": 300, "every": 1})
        await stage.step()
        ahead = (stage.state.clock - stage.exchange.now).total_seconds()
        assert ahead == pytest.approx(300.0)
        await stage.until_minute(10)
        assert stage.taken("buy", "BBB") == 0
        await stage.until_close()
        closed = pd.Timestamp(stage.exchange.now).tz_convert("America/New_York")
        assert (closed.hour, closed.minute) == (13, 0)
        await stage.settle()
        assert not stage.state.market_open
        await stage.until_open()
        assert stage.state.market_open
        await stage.until_minute(4)
        stage.judge()
        assert (await stage.end()).clean


async def test_f27_daylight_saving_begins_over_the_weekend(tmp_path: Path) -> None:
    """Friday opens at 14:30 UTC, Monday at 13:30: decisions, the time exit and protection follow New York."""
    days = [{"AAA": flat(12)}, {"AAA": flat(12)}]
    script = Script(days, [("AAA", 2, 2)], horizon=5, first_day="2024-03-07")
    async with play(script, tmp_path) as stage:
        await stage.until_open()
        assert (stage.exchange.now.day, stage.exchange.now.hour, stage.exchange.now.minute) == (8, 14, 30)
        await stage.until_close()
        await stage.until_open()
        assert (stage.exchange.now.day, stage.exchange.now.hour, stage.exchange.now.minute) == (11, 13, 30)
        await stage.until(lambda: stage.positions())
        assert (stage.fills()[0].at.hour, stage.fills()[0].at.minute) == (13, 32)
        await stage.until(lambda: not stage.positions())
        sold = stage.fills(side="sell")[0].at
        assert (sold.hour, sold.minute) in {(13, 37), (13, 38)}
        stage.judge(unprotected_s=60.0)
        assert (await stage.end()).clean


async def test_f28_trading_blocked_in_mid_session(tmp_path: Path) -> None:
    """Entries stop at once, a person is told, exits are attempted all the time, and go through when the block is lifted."""
    script = Script(DAY, [*ONE, ("BBB", 1, 6), ("BBB", 1, 8)], horizon=6, core=replace(CoreConfig(), retry_longest_s=20.0))
    async with play(script, tmp_path) as stage:
        await stage.until_minute(5)
        asked = len(stage.ledger.receipts)
        await stage.arm({"kind": "restrict", "what": "trading_blocked", "for_seconds": 480})
        await stage.until_minute(11)
        assert stage.taken("buy", "BBB") == 0
        assert set(stage.denials()) <= {"STATE_HALTED"}
        assert stage.alerts >= 1
        tried = [one for one in stage.journaled(SubmitEnded) if one.outcome is Outcome.REFUSED and "-x" in one.client_order_id]
        assert len(tried) >= 2, "the time exit is tried again and again"
        assert len(stage.ledger.receipts) - asked <= 20, "but not in a storm"
        await stage.until(lambda: not stage.positions(), steps=60)
        stage.judge(unprotected_s=600.0)
        assert (await stage.end()).clean


async def test_f29_keys_of_another_environment(tmp_path: Path) -> None:
    async with serve(Script(DAY, ONE, "f29"), tmp_path) as (stage, url):
        setup = Script(DAY, ONE, session={"connect_patience_s": 1.5}).setup(url, tmp_path)
        with pytest.raises(BrokerUnavailableError, match="check the keys"):
            await stage.begin_play(setup)
        assert stage.ledger.receipts == []
        assert stage.journaled(SessionStarted) == []


async def test_f29_an_address_that_answers_with_a_web_page(tmp_path: Path) -> None:
    async with serve(Script(DAY, ONE), tmp_path) as (stage, url):
        await stage.arm({"kind": "redirect", "every": 1})
        with pytest.raises(BrokerUnavailableError, match="clock could not be read"):
            await stage.begin_play(Script(DAY, ONE).setup(url, tmp_path))
        assert stage.ledger.receipts == []


@pytest.mark.parametrize("wrong", ["", "https://api.alpaca.markets", "https://paper-api.alpaca.markets.evil.example"])
async def test_f29_an_empty_or_foreign_url_is_refused_before_anything_is_built(tmp_path: Path, wrong: str) -> None:
    setup = Script(DAY, ONE).setup("http://127.0.0.1:9", tmp_path)
    setup = replace(setup, endpoints=replace(setup.endpoints, trading=wrong))
    with pytest.raises(EndpointError), open_session(setup):
        pass
    assert not (tmp_path / "journal.sqlite").exists()


async def test_f30_somebodys_close_all_fails_in_part(tmp_path: Path) -> None:
    """A person closes all from elsewhere: 207, one position (its orders too) fails inside and stays. The session takes note of what is
    gone and keeps the rest protected."""
    async with play(Script(DAY, [("AAA", 1, 2), ("BBB", 1, 2)]), tmp_path) as stage:
        await stage.until_minute(4)
        await stage.arm({"kind": "close_all_fails", "symbol": "AAA", "times": 3})  # the shipped f30 strikes one item: two legs come first
        assert set(stage.positions()) == {"AAA", "BBB"}
        answers = await stage.in_thread(lambda: TradingClient("sim", "sim", url_override=stage.url).close_all_positions(cancel_orders=True))
        assert {answer.symbol: answer.status for answer in answers} == {"AAA": 500, "BBB": 200}
        await stage.until_minute(8)
        assert set(stage.positions()) == {"AAA"}
        stage.judge(unprotected_s=90.0)
        assert (await stage.end()).clean


async def test_f30_our_own_flatten_goes_item_by_item_until_flat_is_verified(tmp_path: Path) -> None:
    """Without a session: the first close fails with a 500, the second is dropped after it was taken; looked at until both are flat."""
    async with play(Script(DAY, [("AAA", 1, 2), ("BBB", 1, 2)]), tmp_path) as stage:
        await stage.until_minute(4)
        assert (await stage.end()).clean
        await stage.arm(
            {"kind": "http_error", "endpoint": "POST /v2/orders", "status": 500},
            {"kind": "drop", "endpoint": "POST /v2/orders", "after_count": 2},
        )
        gateway = AlpacaGateway(GatewayConfig("sim", Endpoints.of_venue(stage.url), Credentials.of(None, None, "sim"), PATIENCE))
        assert stage.session is not None
        run = stage.in_thread(lambda: flatten_directly(gateway, patience_s=40.0))
        while not run.done():
            if any(order.type == "market" for order in stage.exchange.orders(status="open")):
                await stage.admin.ask("POST", "step")
            await asyncio.sleep(0.02)
        left = await run
        gateway.close()
        assert left.left == ()
        assert stage.positions() == {}
        assert (stage.struck("http_error"), stage.struck("drop")) == (1, 1)
        assert stage.ledger.flips == []
        assert {fill.symbol for fill in stage.exchange.fills() if fill.side == "sell"} == {"AAA", "BBB"}
