"""What a session says of its health, and what it does about bars, streams and clocks that fail."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from alphatrade_pipelines.live.bars import BarBuilder
from alphatrade_pipelines.live.inbox import BarArrived, ReadDone, StreamChanged
from alphatrade_pipelines.live.shell import Shell
from alphatrade_pipelines.live.streams import Streams
from alphatrade_pipelines.live.timekeeping import SteadyClock
from alphatrade_pipelines.live.transport import BrokerUnavailableError
from alphatrade_pipelines.live.vitals import BarWatch, Vitals
from alphatrade_pipelines.live.wire import BrokerClock, asset_state, corporate_actions
from alphatrade_pipelines.market import SessionCalendar, Timeframe
from alphatrade_pipelines.trading.ids import client_order_id, names_entry

OPEN = datetime(2024, 3, 5, 14, 30, tzinfo=UTC)
MINUTE = Timeframe.parse("1Min")
ROW = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 5.0}


def after(seconds: float) -> datetime:
    return OPEN + timedelta(seconds=seconds)


def test_a_part_that_works_again_is_no_trouble_any_more() -> None:
    vitals = Vitals()
    vitals.bad("reads", "no answer")
    vitals.bad("clock", "away")
    assert vitals.degraded == ("clock: away", "reads: no answer")
    vitals.good("reads")
    vitals.good("never was bad")
    assert vitals.degraded == ("clock: away",)


def test_silence_is_counted_from_the_open_and_from_the_last_bar() -> None:
    watch, close, tomorrow = BarWatch(MINUTE), after(23_400), after(109_800)
    assert watch.silence(after(-3600), market_open=False, close=close) is None
    assert watch.silence(after(0), market_open=True, close=close) is None
    assert watch.silence(after(150), market_open=True, close=close) is None
    assert watch.silence(after(151), market_open=True, close=close) == timedelta(seconds=151)
    watch.heard(after(160))
    assert watch.silence(after(300), market_open=True, close=close) is None
    assert watch.silence(after(9000), market_open=False, close=close) is None, "a closed market is silent"
    assert watch.silence(after(90_000), market_open=True, close=tomorrow) is None, "and its night does not count at the next open"
    watch.heard(after(90_010))
    assert watch.silence(after(176_400), market_open=True, close=after(196_200)) is None, "nor does one in which nobody looked"
    assert watch.silence(after(176_600), market_open=True, close=after(196_200)) == timedelta(seconds=200)
    daily = BarWatch(Timeframe.parse("1Day"))
    daily.silence(after(0), market_open=True, close=after(23_400))
    assert daily.silence(after(20_000), market_open=True, close=after(23_400)) is None


def frame(symbol: str, *minutes: int, close: float = 2.0) -> pd.DataFrame:
    index = pd.MultiIndex.from_tuples([(symbol, pd.Timestamp(after(60 * m))) for m in minutes], names=["symbol", "timestamp"])
    return pd.DataFrame([{**ROW, "close": close, "split": 1.0}] * len(minutes), index=index)


def test_bars_from_history_fill_the_gap_once_and_in_order() -> None:
    builder = BarBuilder(MINUTE, ("AAA",), SessionCalendar())
    builder.seen_until(after(60))
    builder.add(BarArrived("b", "AAA", after(240), ROW))
    builder.fill(frame("AAA", 1, 2, 3, 4))
    builder.add(BarArrived("u", "AAA", after(180), {**ROW, "close": 9.0}))
    done = builder.complete(after(600))
    assert [bars.index[0][1] for bars in done] == [pd.Timestamp(after(60 * minute)) for minute in (2, 3, 4)]
    assert [float(bars["close"].iloc[0]) for bars in done] == [2.0, 2.0, 2.0]
    builder.fill(frame("AAA", 2, 3, 4))
    assert builder.complete(after(600)) == []


def test_whole_bars_of_a_longer_frame_stand_in_place_of_their_minutes() -> None:
    builder = BarBuilder(Timeframe.parse("5Min"), ("AAA",), SessionCalendar())
    builder.add(BarArrived("b", "AAA", after(0), ROW))
    builder.fill(frame("AAA", 0, close=7.0))
    builder.add(BarArrived("b", "AAA", after(240), ROW))
    [bars] = builder.complete(after(600))
    assert (float(bars["close"].iloc[0]), float(bars["volume"].iloc[0])) == (7.0, 5.0)


class Refused:
    """A stream whose subscription the broker refuses: it ends by itself."""

    name = "market_data"

    def __init__(self, told: list[StreamChanged]) -> None:
        self.runs, self._up, self._told = 0, True, told

    async def _run_forever(self) -> None:
        self.runs += 1

    def _lost(self, detail: str) -> None:
        self._told.append(StreamChanged(self.name, connected=False, detail=detail))

    async def stop_ws(self) -> None:
        """Nothing to stop."""


async def test_a_stream_the_broker_ended_is_tried_again_slowly_for_ever() -> None:
    told: list[StreamChanged] = []
    refused: Any = Refused(told)
    streams = Streams(refused, refused)
    streams.slow_retry_s = 0.01
    streams.start()
    async with asyncio.timeout(20):
        while refused.runs < 6:
            await asyncio.sleep(0.01)
    await streams.stop()
    assert told[0].detail == "the subscription was refused"


async def test_time_goes_on_by_our_own_clock_while_the_brokers_is_away() -> None:
    shell: Any = object.__new__(Shell)
    answers: list[Any] = [BrokerClock(OPEN, True, after(86_400), after(100)), BrokerUnavailableError("away")]

    def clock(_attempts: int) -> BrokerClock:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        found: BrokerClock = answer
        return found

    async def call(function: Any) -> Any:
        return function()

    shell.tools, shell.vitals, shell.call = SimpleNamespace(broker=SimpleNamespace(clock=clock)), Vitals(), call
    shell._time, shell.free_running, shell.steady = SteadyClock(), False, False
    assert await shell.read_clock()
    assert not await shell.read_clock()
    assert shell.now == OPEN, "where a harness moves time, it stands"
    shell.free_running = shell.steady = True
    shell._time._read_at -= 30.0
    assert not await shell.read_clock()
    assert 30.0 <= (shell.now - OPEN).total_seconds() < 60.0
    assert shell._clock.is_open
    shell._time._read_at -= 200.0
    assert not await shell.read_clock()
    assert not shell._clock.is_open, "the session that was to close has closed"
    assert shell.vitals.degraded == ("clock: away",)


class Fatal(BaseException):
    """What no handler of an ordinary error may swallow."""


@pytest.mark.parametrize("work", ["find_bars", "look_up_assets"])
async def test_what_ends_a_background_read_ends_the_session(work: str) -> None:
    shell: Any = object.__new__(Shell)
    told: list[ReadDone] = []

    def fatal(*_: Any) -> Any:
        raise Fatal("out of the worker thread")

    shell.tools = SimpleNamespace(
        broker=SimpleNamespace(assets=fatal),
        builder=SimpleNamespace(symbols=("AAA",), done_until=OPEN, timeframe=MINUTE),
        calendar=SessionCalendar(),
    )
    shell.engine = SimpleNamespace(state=SimpleNamespace(market_open=True))
    shell._time = SteadyClock()
    shell._time.take(BrokerClock(OPEN, True, after(86_400), after(100)), 0.0, steady=True)
    shell._put, shell.catch_up = told.append, fatal
    shell._history = shell._listings = shell._assets_of = shell._reading = shell._finding = shell._listing = None
    getattr(shell, work)()
    await shell.finish_reading()
    with pytest.raises(Fatal):
        await shell.take(told.pop())
    assert all(task.exception() is None for task in (shell._finding, shell._listing) if task is not None)


def test_what_an_asset_allows_and_what_it_is_called() -> None:
    raw = {"symbol": "AAA", "status": "active", "tradable": True, "shortable": True, "easy_to_borrow": False}
    assert (asset_state(raw).tradable, asset_state(raw).easy_to_borrow) == (True, False)
    assert not asset_state({**raw, "status": "inactive"}).tradable
    assert not asset_state({"symbol": "AAA", "status": "active"}).tradable, "not saying so is a no"
    change = {"old_symbol": "AAA", "new_symbol": "BBB", "process_date": "2024-03-06"}
    split = {"symbol": "AAA", "ex_date": "2024-03-06", "new_rate": 2, "old_rate": 1}
    [action] = corporate_actions({"name_changes": [change], "forward_splits": [split]})
    assert (action.symbol, action.ex_date, action.renamed, action.split) == ("AAA", date(2024, 3, 6), "BBB", Decimal(2))


@pytest.mark.parametrize("purpose", ["entry", "protect", "exit"])
def test_the_name_of_an_order_says_whether_it_opens(purpose: str) -> None:
    assert names_entry(client_order_id("decision", "BRK.B", OPEN, purpose, 3)) is (purpose == "entry")
    assert not names_entry("flatten-AAA-e3a1b2c3d4e5")
