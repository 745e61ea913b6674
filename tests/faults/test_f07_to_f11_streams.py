"""F7 to F9, F11: streams that repeat themselves, mix up the order, stop, or stammer. Nothing is lost, nothing counts twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from alphatrade_pipelines.trading.events import BrokerSeen, OrderUpdated, Outcome, StreamStateSeen, SubmitEnded
from tests.faults.stage import Script, flat, move, play

ROUND_TRIP = [{"AAA": flat(6) + move(100, 96) + flat(25, 96), "BBB": flat(32)}]
ONE = [("AAA", 1, 2)]


async def test_f07_duplicate_fills(tmp_path: Path) -> None:
    """The entry's fill is told twice at once, the exit's again later, with the same execution id: each counts once."""
    async with play(Script(ROUND_TRIP, [*ONE, ("BBB", 1, 9)], "f07"), tmp_path) as stage:
        await stage.until(lambda: stage.struck("duplicate_trade_updates") == 2)
        await stage.until_minute(14)
        told = Counter(update.execution.execution_id for update in stage.journaled(OrderUpdated) if update.execution)
        assert sorted(told.values()) == [1, 2, 2], "the streams really told two fills twice"
        assert stage.state.closed_trades == 1
        assert stage.state.realized == sum((1 if f.side == "sell" else -1) * f.qty * f.price for f in stage.fills("AAA"))
        stage.judge()
        assert (await stage.end()).clean


async def test_f08_updates_out_of_order(tmp_path: Path) -> None:
    """The fill is told before the answer to its POST, and "new" after the fill: the order only ever moves forward."""
    async with play(Script(ROUND_TRIP, ONE, "f08"), tmp_path) as stage:
        await stage.until_minute(4)
        assert (stage.struck("delay_answer"), stage.struck("reorder_trade_updates")) == (1, 1)
        events = stage.events()
        told = [event.event for event in events if isinstance(event, OrderUpdated) and event.order.order_class == "bracket"]
        assert told.index("fill") < told.index("new")
        [order] = stage.state.orders.values()
        assert (order.status, order.phase.value) == ("filled", "live")
        stage.judge()
        await stage.until(lambda: stage.state.closed_trades)
        stage.judge()
        assert (await stage.end()).clean


async def test_f11_messages_that_cannot_be_read(tmp_path: Path) -> None:
    """null, broken JSON, an unknown status, an unknown event, a broken frame of data, half an answer: all is read back, nothing lost."""
    async with play(Script(ROUND_TRIP, [*ONE, ("BBB", 1, 4)], "f11"), tmp_path) as stage:
        await stage.until(lambda: stage.state.closed_trades)
        assert stage.struck("garble_trade_updates") == 4
        assert (stage.struck("garble_data"), stage.struck("garble_answer")) == (1, 1)
        outcomes = {one.client_order_id[:3]: one.outcome for one in stage.journaled(SubmitEnded)}
        assert outcomes == {"AAA": Outcome.CONFIRMED, "BBB": Outcome.UNKNOWN}
        assert (stage.taken("buy", "AAA"), stage.taken("buy", "BBB")) == (1, 1)
        assert stage.intents("protect") == [], "an unknown name of a complete fill is no reason to protect what is protected"
        stage.judge()
        assert (await stage.end()).clean


async def test_f09_a_stream_gap_with_a_fill_inside(tmp_path: Path) -> None:
    """Both streams are aborted, their slots stay taken (406) for a while; a stop fills meanwhile and is never told. No entry until the
    broker has been read again; the fill is found by reading, the trade is closed."""
    cues = [*ONE, ("BBB", 1, 9)]
    days = [{"AAA": flat(6) + move(100, 96) + flat(40, 96), "BBB": flat(47)}]
    async with play(Script(days, cues), tmp_path) as stage:
        await stage.until_minute(5)
        await stage.arm({"kind": "cut_streams", "how": "abort", "zombie_seconds": 4})
        stage.streams_may_be_down = True
        await stage.until(lambda: stage.fills(side="sell"))
        assert not stage.session.streams.is_up  # type: ignore[union-attr]
        await stage.until(lambda: "AAA" not in stage.state.positions)
        assert stage.taken("buy", "BBB") == 0
        stage.streams_may_be_down = False
        await stage.settle()
        states = [(event.name, event.connected) for event in stage.journaled(StreamStateSeen)]
        assert Counter(states)["trade_updates", False] == 1
        assert ("trade_updates", True) in states
        back = [isinstance(event, StreamStateSeen) and event.connected for event in stage.events()].index(True)
        assert any(isinstance(event, BrokerSeen) for event in stage.events()[back:])
        stage.judge()
        assert (await stage.end()).clean
