"""Parents through the SDK and the server: the slices of the live session are those of the backtest, fill by fill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alphatrade_pipelines.trading import CoreConfig
from alphatrade_pipelines.trading.events import ParentEnded, ParentOpened
from alphatrade_pipelines.trading.execution import Algo, ExecutionConfig
from tests.live.world import intraday_world, journal_of, play, venue


@pytest.mark.parametrize("algo", [Algo.TWAP, Algo.POV])
async def test_worked_orders_are_the_same_live_as_in_the_backtest(tmp_path: Path, algo: Algo) -> None:
    """Half-hour bars, hours of slices, exits worked too."""
    execution = ExecutionConfig(algo=algo, slice_s=1800.0, max_slices=6, impact=replace(ExecutionConfig().impact, risk_aversion=0.001))
    small = replace(intraday_world(), core=CoreConfig(execution=execution))
    expected = small.backtest()
    async with venue(small) as (server, url, admin):
        result = await play(small.setup(url, tmp_path), admin, small.sessions)
        assert server.exchange.digest() == expected.digest
        assert server.exchange.ledger.duplicate_intents == []
    assert result.clean
    live, backtest = journal_of(tmp_path), expected.events
    opened = [event for event in live if isinstance(event, ParentOpened)]
    ended = [event for event in live if isinstance(event, ParentEnded)]
    assert opened
    assert all(event.parent.algo == algo.value for event in opened)
    assert any(event.filled > 0 for event in ended)
    assert all(event.filled <= event.qty for event in ended)
    assert [event.parent for event in opened] == [event.parent for event in backtest if isinstance(event, ParentOpened)]
    assert [event.filled for event in ended] == [event.filled for event in backtest if isinstance(event, ParentEnded)]
