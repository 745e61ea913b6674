"""Time as the admin sees it: steps, pauses, the end of the tape, and the end of the venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from alpaca.trading.client import TradingClient
from served_world import serving
from stream_world import feed, listener, until
from venue_world import FLAT, PLAIN, bracket, daily_bars, exchange, intraday_bars

from alphatrade_pipelines.venue import BarTape, Exchange, ExchangeConfig
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer
from alphatrade_pipelines.venue.server.pacing import Pace

Admin = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


def world() -> Exchange:
    return exchange(daily_bars({"AAA": [FLAT] * 4}))


@asynccontextmanager
async def admin(server: VenueServer, at: str) -> AsyncIterator[Admin]:
    """``await ask(method, path, body)`` -> (status, answer)"""
    async with aiohttp.ClientSession(headers={"X-Admin-Token": server.admin_token}) as session:

        async def ask(method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
            async with session.request(method, f"http://{at}/admin/{path}", json=body) as answer:
                return answer.status, await answer.json()

        yield ask


class TestStepped:
    async def test_state_and_the_end_of_the_tape(self) -> None:
        async with serving(world()) as (server, at), admin(server, at) as ask:
            _, state = await ask("GET", "state")
            assert (state["mode"], state["sessions_in_tape"], state["sessions_played"], state["done"]) == ("stepped", 4, 0, False)
            while not (step := (await ask("POST", "step", {"acks": True}))[1])["done"]:
                pass
            assert step["kind"] == "end"
            assert (await ask("GET", "state"))[1]["sessions_played"] == 3

    async def test_a_step_may_go_up_to_the_next_open_or_close_or_the_end(self) -> None:
        async with serving(world()) as (server, at), admin(server, at) as ask, feed(at, dailyBars=["*"]) as bars:
            _, step = await ask("POST", "step", {"until": "session_close"})
            assert (step["kind"], step["done"], step["data_messages_sent"]) == ("session_close", False, 1)
            assert step["clock"]["timestamp"] == "2024-03-05T16:00:00-05:00"
            assert (await bars.hear())[0]["T"] == "d"
            _, step = await ask("POST", "step", {"until": "session_open"})
            assert (step["kind"], step["clock"]["timestamp"]) == ("session_open", "2024-03-06T09:30:00-05:00")
            _, step = await ask("POST", "step", {"until": "end"})
            assert (step["kind"], step["done"], step["data_messages_sent"]) == ("end", True, 3)

    @pytest.mark.parametrize("body", [{"until": "lunch"}, {"until": 7}, ["until"], {"until": ["session_open"]}])
    async def test_other_goals_are_refused_and_nothing_moves(self, body: object) -> None:
        async with serving(world()) as (server, at), admin(server, at) as ask:
            status, answer = await ask("POST", "step", body)
            assert (status, answer["code"], server.steps) == (422, 40010001, 0)

    async def test_there_is_nothing_to_pause(self) -> None:
        async with serving(world()) as (server, at), admin(server, at) as ask:
            for path in ("pause", "resume"):
                status, answer = await ask("POST", path)
                assert status == 409
                assert "stepped" in answer["message"]


class TestByTheClock:
    async def test_time_flows_orders_fill_and_updates_come(self) -> None:
        ex = world()
        async with serving(ex, mode="accelerated", speed=46_800.0, closed_seconds=0.1) as (server, at), listener(at) as one:
            await until(lambda: ex.market_open)
            first = ex.now
            ex.submit(bracket())
            await server.publish()
            await until(lambda: ex.next_step_at is None)
            assert ex.now - first > timedelta(days=1)
            assert len(ex.equity_history) == 3
            assert [(await one.hear())["data"]["event"] for _ in range(3)] == ["pending_new", "new", "fill"]
        assert [str(fill.price) for fill in ex.fills()] == ["100.00"]

    async def test_on_the_wire_time_flows_between_two_steps(self) -> None:
        async with serving(world(), mode="accelerated", speed=390.0, closed_seconds=0.05) as (server, at), admin(server, at) as ask:
            trading = TradingClient("sim", "sim", url_override=f"http://{at}")
            await until(lambda: server.exchange.market_open)
            stamps = []
            for _ in range(3):
                stamps.append(datetime.fromisoformat((await ask("GET", "state"))[1]["clock"]["timestamp"]))
                clock = await asyncio.to_thread(trading.get_clock)
                assert clock.is_open
                stamps.append(clock.timestamp)
            assert stamps == sorted(set(stamps))
            assert server.steps == 1

    async def test_paused_it_can_be_stepped_and_goes_on_where_it_is_left(self) -> None:
        async with serving(world(), mode="accelerated", speed=46_800.0, closed_seconds=0.05) as (server, at), admin(server, at) as ask:
            status, answer = await ask("POST", "step")
            assert (status, "pause it" in answer["message"]) == (409, True)
            _, state = await ask("POST", "pause")
            assert (state["paused"], state["mode"]) == (True, "accelerated")
            steps, stood = server.steps, server.exchange.now
            await asyncio.sleep(0.3)
            assert (server.steps, server.exchange.now) == (steps, stood)
            _, step = await ask("POST", "step", {"until": "session_close"})
            assert step["kind"] == "session_close"
            _, state = await ask("POST", "resume")
            assert state["paused"] is False
            await until(lambda: server.exchange.next_step_at is None)

    async def test_extended_hours_pass_like_the_session_and_only_the_night_is_short(self) -> None:
        """Bars of an hour from two hours before the open to two hours after the close: only what comes then is night."""
        row = (100.0, 101.0, 99.0, 100.0, 1000.0)
        bars = intraday_bars("AAA", [row] * 10, minutes=60)
        shifted = bars.reset_index()
        shifted["timestamp"] = shifted["timestamp"].min() + (shifted.index - 2) * timedelta(hours=1)
        tape = BarTape(shifted.set_index(["symbol", "timestamp"]), "1Hour", extended_hours=True)
        ex = Exchange(tape, ExchangeConfig(profile=PLAIN, start=tape.sessions[0].open - timedelta(hours=6)))
        server = VenueServer(ex, ServerConfig(mode="accelerated", speed=10.0))
        assert not server._trades_until_next_step()
        kinds = set()
        while (step := ex.advance()) is not None:
            kinds.add(step.kind)
            assert server._trades_until_next_step() == (ex.next_step_at is not None)
        assert kinds == {"pre_market", "session_open", "path", "session_close", "after_hours"}


class TestTheEnd:
    async def test_an_abandoned_venue_ends_itself_but_not_while_somebody_listens(self) -> None:
        async with serving(world(), idle_exit_seconds=0.2) as (server, at):
            async with listener(at):
                await asyncio.sleep(0.4)
                assert not server.closed.is_set()
            await until(server.closed.is_set)

    async def test_shutdown_by_the_admin(self) -> None:
        async with serving(world()) as (server, at), admin(server, at) as ask:
            assert await ask("POST", "shutdown") == (200, {"closing": True})
            await until(server.closed.is_set)
            await server.stop()
            with pytest.raises(aiohttp.ClientConnectionError):
                await ask("GET", "state")

    async def test_a_taken_port_is_an_error(self) -> None:
        async with serving(world()) as (server, at):
            with pytest.raises(OSError, match="address already in use"):
                await VenueServer(server.exchange, ServerConfig(port=int(at.split(":")[1]))).start()


@pytest.mark.parametrize("change", [{"mode": "warp"}, {"speed": 0.0}, {"closed_seconds": 0.0}, {"key": ""}, {"secret": ""}])
def test_bad_settings(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ServerConfig(**change)


def test_the_pace_of_each_mode() -> None:
    assert ServerConfig().pace is None
    assert ServerConfig(mode="accelerated").pace == Pace(390.0, 3.0)
    assert ServerConfig(mode="real_time", speed=99.0, closed_seconds=None).pace == Pace(1.0, None)


@pytest.mark.parametrize(
    ("host", "outside", "shown"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("::1", False, "[::1]"),
        ("0.0.0.0", True, "127.0.0.1"),
        ("192.0.2.1", True, "192.0.2.1"),
        ("box", True, "box"),
    ],
)
def test_who_can_reach_it(host: str, outside: bool, shown: str) -> None:
    config = ServerConfig(host=host)
    assert (config.is_reachable_from_outside, config.shown_host) == (outside, shown)
