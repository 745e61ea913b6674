"""The Alpaca source against the local venue: what was put on its tape comes back through the SDK unchanged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from alphatrade_pipelines.market import AlpacaConfig, AlpacaSource, SampleSource, SessionCalendar
from alphatrade_pipelines.venue.exchange.config import ExchangeConfig
from alphatrade_pipelines.venue.exchange.exchange import Exchange
from alphatrade_pipelines.venue.exchange.tape import BarTape
from alphatrade_pipelines.venue.server.app import ServerConfig, VenueServer

NOW = pd.Timestamp("2012-12-03T21:00Z").to_pydatetime()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    exchange = Exchange(BarTape(SampleSource().fetch(), SampleSource.timeframe), ExchangeConfig(start=NOW))
    loop, address, stop = asyncio.new_event_loop(), "", asyncio.Event()
    ready = threading.Event()

    async def serve() -> None:
        nonlocal address
        server = VenueServer(exchange, ServerConfig())
        address = await server.start()
        ready.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(30)
    yield address
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    loop.close()


def test_twelve_years_of_bars_splits_and_dividends_survive_the_wire(url: str) -> None:
    symbols = SampleSource.symbols
    config = AlpacaConfig(SecretStr("sim"), SecretStr("sim"), symbols, SampleSource.timeframe, start=date(2000, 3, 1), url=url)
    bars = AlpacaSource(config, now=lambda: NOW).fetch()
    sample = SampleSource().fetch()
    known = SessionCalendar().known_at(pd.DatetimeIndex(sample.index.get_level_values("timestamp")), SampleSource.timeframe)
    expected = sample[np.asarray(known <= NOW)]
    assert len(expected) > 11_000
    pd.testing.assert_frame_equal(bars[list(expected.columns)], expected, check_exact=True)
