"""What the live brain tells of liquidity is what the backtest's signals carry: once a session, from the sessions before, to the bit."""

from __future__ import annotations

import pandas as pd

from alphatrade_pipelines.live.brain import Brain
from alphatrade_pipelines.models.liquidity import session_liquidity
from tests.live.rulebook import as_bundle
from tests.live.world import CALENDAR, MODEL, intraday_world


def test_live_signals_carry_the_liquidity_of_the_batch() -> None:
    world = intraday_world()
    batch = session_liquidity(world.bars, world.timeframe, CALENDAR)
    brain = Brain(as_bundle(world.bundle), MODEL, world.history, CALENDAR)
    stamps = world.bars.index.get_level_values("timestamp")
    played = world.bars[stamps >= pd.Timestamp(world.start)]
    told = [signal for _, bars in played.groupby(level="timestamp") for signal in brain.take(bars)]
    assert len(told) > 50
    assert len({signal.session_open for signal in told}) == 3
    for signal in told:
        assert signal.session_open is not None
        assert signal.session_open <= signal.decision_time
        assert signal.liquidity == batch[signal.symbol, pd.Timestamp(signal.session_open)]
