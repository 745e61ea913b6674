"""F12 to F22: what really happens to orders at the exchange, or is seen of it too late. Protected, flat when it should be, bought once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.events import CancelIntended, DiscrepancyFound, OrderUpdated, Outcome, SubmitEnded
from tests.faults.stage import Script, flat, move, play

ONE = [("AAA", 1, 2)]
CORE = CoreConfig()
DAY = [{"AAA": flat(40), "BBB": flat(40)}]
FALL = [{"AAA": flat(6) + move(100, 96) + flat(30, 96)}]


async def test_f12_partial_entry_then_cancelled(tmp_path: Path) -> None:
    """The entry fills in part, its remainder is cancelled, its legs are dead: the filled part gets its own protection at once."""
    async with play(Script(DAY, ONE, "f12"), tmp_path) as stage:
        await stage.until(lambda: stage.fills())
        part = stage.positions()["AAA"]
        assert 0 < part < stage.intents("entry")[0].request.qty
        assert [order.status for order in stage.entries()] == ["canceled"]
        await stage.settle()
        [repair] = stage.intents("protect")
        assert (repair.request.qty, repair.request.stop_loss) == (part, stage.intents("entry")[0].request.stop_loss)
        await stage.until_minute(12)
        stage.judge(unprotected_s=0.0)
        assert stage.taken("buy") == 1
        assert (await stage.end()).clean


@pytest.mark.parametrize("leaving", [False, True], ids=["protected", "flattened"])
async def test_f12_partial_entry_whose_cancellation_hangs(tmp_path: Path, leaving: bool) -> None:
    """Little trades, so the entry fills bit by bit, and its cancellation is pending for ten minutes: what it has bought gets its stops
    beside it (a complex order is no wash trade); a flatten sells all of it once the venue lets it (a market order is one)."""
    day = [{"AAA": [*flat(2), *flat(40, volume=40.0)]}]
    async with play(Script(day, ONE), tmp_path) as stage:
        await stage.arm({"kind": "cancel_lag", "seconds": 600})
        await stage.until(lambda: stage.fills())
        if leaving:
            await stage.ask("flatten")
        else:
            await stage.until(lambda: stage.intents("protect"), steps=3)
            assert [order.status for order in stage.entries()] == ["pending_cancel"]
            assert stage.intents("protect")[0].request.qty == stage.positions()["AAA"]
        await stage.until(lambda: [order.status for order in stage.entries()] == ["filled"])
        await stage.until(lambda: bool(stage.positions()) is not leaving and not stage.state.exits)
        await stage.until_minute(12)
        stage.judge(unprotected_s=700.0 if leaving else 100.0)
        assert (await stage.end()).clean


async def test_f13_stop_leg_gets_a_new_id_and_the_siblings_end_is_not_streamed(tmp_path: Path) -> None:
    """The stop fills under an id nobody has seen: followed by ``replaces``; no phantom order, no second exit, flat."""
    async with play(Script(FALL, ONE, "f13"), tmp_path) as stage:
        await stage.until(lambda: stage.fills(side="sell"))
        await stage.until_minute(14)
        assert stage.struck("stop_gets_new_id") == 1
        assert "canceled" not in [update.event for update in stage.journaled(OrderUpdated)]
        assert stage.positions() == {}
        assert stage.taken("sell") == 0, "the stop sold; nobody sold again"
        assert stage.state.closed_trades == 1
        assert stage.state.live_orders("AAA") == [], "no phantom order is believed alive"
        assert stage.state.strangers == {}
        assert [found.kind for found in stage.journaled(DiscrepancyFound)] == []
        stage.judge()
        assert (await stage.end()).clean


async def test_f14_both_legs_fill(tmp_path: Path) -> None:
    """Stop and target both sell: the flip is seen, bought back at once, an alarm is raised."""
    day = [{"AAA": flat(6) + [(100.0, 104.0, 96.0, 100.0, 1e6)] + flat(20)}]
    async with play(Script(day, ONE, "f14"), tmp_path) as stage:
        await stage.until(lambda: len(stage.fills(side="sell")) == 2)
        assert stage.struck("both_legs_fill") == 1
        assert stage.ledger.flips
        await stage.until(lambda: not stage.positions(), steps=6)
        await stage.until_minute(12)
        assert stage.positions() == {}
        assert stage.alerts >= 1
        [cover] = stage.intents("exit")
        assert (cover.request.side, cover.request.qty) == ("buy", stage.fills(side="sell")[0].qty)
        stage.judge(flips=len(stage.ledger.flips), unprotected_s=60.0)
        assert (await stage.end()).clean


async def test_f15_legs_gone_at_the_close_and_gtc_aged_out(tmp_path: Path) -> None:
    """The legs die at the close as DAY legs do, and what replaces them ages out after a day: each time protection is armed again before
    the market trades."""
    days = [{"AAA": flat(10)}, {"AAA": flat(10)}, {"AAA": flat(10)}]
    async with play(Script(days, ONE, "f15"), tmp_path) as stage:
        for _ in range(3):
            await stage.until_open()
            await stage.until_close()
        assert stage.struck("legs_gone") == 1
        assert len(stage.intents("protect")) >= 2, "once for the legs of the bracket, once for the aged OCO"
        assert stage.positions() != {}
        stage.judge(unprotected_s=0.0)
        assert (await stage.end()).clean


async def test_f16_wash_trade_refusal_of_an_exit(tmp_path: Path) -> None:
    """A resting buy order of somebody else makes every exit a wash trade: it is cancelled, its end awaited, the exit repeated."""
    async with play(Script(DAY, ONE, horizon=6), tmp_path) as stage:
        await stage.until_minute(4)
        await stage.arm({"kind": "foreign_order", "symbol": "AAA", "side": "buy", "qty": 1, "limit_price": 1, "time_in_force": "gtc"})
        await stage.until(lambda: not stage.positions())
        refused = [one for one in stage.journaled(SubmitEnded) if one.outcome is Outcome.REFUSED]
        assert refused, "the venue did refuse"
        assert all("wash trade" in one.reason for one in refused)
        foreign = next(order for order in stage.orders() if order.limit_price == 1)
        assert foreign.status == "canceled"
        events = stage.events()
        gone = next(
            i for i, e in enumerate(events) if isinstance(e, OrderUpdated) and e.event == "canceled" and e.order.broker_id == foreign.id
        )
        assert stage.intents("exit")[-1] in events[gone:], "the exit that sold was sent after the cancellation was confirmed"
        stage.judge(unprotected_s=120.0)
        assert (await stage.end()).clean


async def test_f17_shares_still_held_after_a_cancel(tmp_path: Path) -> None:
    """The legs stay pending_cancel for half a minute and hold the shares: the exit waits for the word, not for a while."""
    async with play(Script(DAY, ONE, "f17", horizon=6), tmp_path) as stage:
        await stage.until(lambda: stage.fills())
        await stage.until(lambda: not stage.positions())
        events = stage.events()
        [exit_] = stage.intents("exit")
        before = events[: events.index(exit_)]
        assert any(isinstance(e, OrderUpdated) and e.event == "canceled" for e in before)
        assert any(isinstance(e, CancelIntended) for e in before)
        assert not [one for one in stage.journaled(SubmitEnded) if one.outcome is Outcome.REFUSED], "nothing was tried in vain"
        stage.judge(unprotected_s=60.0)
        assert (await stage.end()).clean


async def test_f18_a_cancel_loses_its_race_against_a_fill(tmp_path: Path) -> None:
    """While the time exit waits for its cancel, the stop fills: the fill is accepted, no second exit goes out."""
    day = [{"AAA": flat(9) + move(100, 96) + flat(20, 96)}]
    async with play(Script(day, ONE, "f18", horizon=5), tmp_path) as stage:
        await stage.until(lambda: stage.fills(side="sell"))
        assert stage.journaled(CancelIntended), "the exit had begun"
        await stage.until_minute(16)
        assert stage.positions() == {}
        assert sum(fill.qty for fill in stage.fills(side="sell")) == stage.fills(side="buy")[0].qty
        assert stage.intents("exit") == []
        assert stage.state.exits == {}
        stage.judge(unprotected_s=0.0)
        assert (await stage.end()).clean


async def test_f19_a_replace_answered_then_rejected_while_the_old_order_fills(tmp_path: Path) -> None:
    """Somebody moves the stop; while that is pending the old stop fills: the new one is rejected, the position follows the fills."""
    async with play(Script(FALL, ONE), tmp_path) as stage:
        await stage.until_minute(4)
        await stage.arm({"kind": "replace_lag", "seconds": 300})  # the shipped f19 says six hours
        stop = next(order for order in stage.orders() if order.type == "stop")
        stage.exchange.replace(stop.id, stop_price=Decimal("97.50"))
        await stage.server.publish()
        await stage.until(lambda: stage.fills(side="sell"))
        await stage.until_minute(14)
        statuses = {order.status for order in stage.orders() if order.type == "stop"}
        assert "rejected" in statuses, stage.picture()
        assert "filled" in statuses
        assert stage.positions() == {}
        assert stage.state.closed_trades == 1
        assert (stage.intents("exit"), stage.state.live_orders("AAA"), stage.state.strangers) == ([], [], {})
        stage.judge(unprotected_s=0.0)
        assert (await stage.end()).clean


async def test_f20_an_accepted_order_is_rejected_later(tmp_path: Path) -> None:
    """The reservation is released, the same decision is not tried for ever, and the next decision trades."""
    async with play(Script(DAY, [*ONE, ("AAA", 1, 8)], "f20"), tmp_path) as stage:
        await stage.until(lambda: stage.struck("reject_later"))
        await stage.until_minute(7)
        assert stage.entries()[0].status == "rejected"
        first = stage.intents("entry")
        assert len({intent.decision_id for intent in first}) == 1
        assert len(first) <= CORE.max_entry_attempts
        assert stage.state.plans == {}
        assert stage.state.live_orders("AAA") == []
        await stage.until_minute(11)
        assert stage.positions() != {}
        stage.judge()
        assert (await stage.end()).clean


async def test_f21_a_halt_with_an_open_stop_and_a_gap(tmp_path: Path) -> None:
    """Two hours without a trade, then a reopening through the stop: no order piles up meanwhile, what the gap cost is on record."""
    day = [{"AAA": flat(6) + flat(20, 90.0), "BBB": flat(26)}]
    async with play(Script(day, ONE, horizon=9), tmp_path) as stage:
        await stage.until_minute(5)
        await stage.arm({"kind": "halt", "symbol": "AAA", "for_seconds": 600})
        asked = len(stage.ledger.receipts)
        await stage.until_minute(14)
        assert stage.fills(side="sell") == []
        assert len(stage.ledger.orders_while_halted) <= 2, "the time exit fell into the halt: its own order, no pile"
        await stage.until(lambda: not stage.positions())
        assert len(stage.ledger.receipts) - asked <= 2
        [sold] = stage.fills(side="sell")
        assert sold.price == 90
        stop = stage.intents("entry")[0].request.stop_loss
        assert stop is not None
        assert stage.state.realized == (sold.price - 100) * sold.qty
        stage.judge(unprotected_s=600.0)
        assert (await stage.end()).clean


async def test_f22_views_that_lag_behind_the_fills(tmp_path: Path) -> None:
    """Account, positions and orders show what was two seconds ago: the books follow the fills, nothing is bought again, nothing adopted."""
    days = [{"AAA": flat(6) + move(100, 96) + flat(20, 96)}]
    async with play(Script(days, [*ONE, ("AAA", 1, 3), ("AAA", 1, 4)], "f22"), tmp_path) as stage:
        await stage.until(lambda: stage.state.closed_trades)
        await stage.until_minute(12)
        assert stage.struck("stale_views") > 10
        assert stage.taken("buy") == 1
        assert stage.journaled(DiscrepancyFound) == []
        assert stage.denials() == ["SYMBOL_POSITION_OPEN"] * 2
        stage.judge()
        assert (await stage.end()).clean
