"""F1, F2, F5, F6: answers that lie, do not come, or come as a web page; updates that do not come. One decision stays one order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alphatrade_pipelines.trading.domain import Side
from alphatrade_pipelines.trading.events import DiscrepancyFound, OrderProbed, OrderUpdated, Outcome, SubmitEnded
from tests.faults.stage import PATIENCE, Script, flat, move, play

QUIET = [{"AAA": flat(30), "BBB": flat(30)}]
ONE, BOTH = [("AAA", 1, 2)], [("AAA", 1, 2), ("BBB", 1, 2)]


async def test_f01_504_after_accept(tmp_path: Path) -> None:
    """A 504 although the order is live: ask for the client order id, adopt what is there. Exactly one order, and no second POST."""
    async with play(Script(QUIET, ONE, "f01"), tmp_path) as stage:
        await stage.until_minute(4)
        assert stage.struck("error_after_accept") == 1
        assert stage.taken("buy") == 1
        assert stage.ledger.reused_client_ids == 0, "nobody posted it again, not even the SDK"
        [intent], [ended] = stage.intents("entry"), stage.journaled(SubmitEnded)
        assert ended.outcome is Outcome.UNKNOWN
        assert (ended.http_status, ended.client_order_id) == (504, intent.request.client_order_id)
        assert [probe.outcome for probe in stage.journaled(OrderProbed)] == [Outcome.CONFIRMED]
        assert stage.positions() == {"AAA": intent.request.qty}
        stage.judge()
        assert (await stage.end()).clean


async def test_f02_connection_dropped_or_read_timeout_after_accept(tmp_path: Path) -> None:
    """The first POST meets a cut connection, the second an answer that does not come. Both are live; neither is sent twice."""
    script = Script(QUIET, BOTH, "f02", patience=replace(PATIENCE, read_timeout=1.0))
    async with play(script, tmp_path) as stage:
        await stage.until_minute(4)
        assert (stage.struck("drop"), stage.struck("hang")) == (1, 1)
        assert (stage.taken("buy", "AAA"), stage.taken("buy", "BBB")) == (1, 1)
        assert stage.ledger.reused_client_ids == 0
        ended = stage.journaled(SubmitEnded)
        assert [(one.outcome, one.http_status) for one in ended] == [(Outcome.UNKNOWN, None)] * 2
        assert {one.reason for one in ended} == {"no answer: ConnectionError", "no answer: ReadTimeout"}
        assert {probe.outcome for probe in stage.journaled(OrderProbed)} == {Outcome.CONFIRMED}
        assert set(stage.positions()) == {"AAA", "BBB"}
        stage.judge()
        assert (await stage.end()).clean


async def test_f05_html_error_pages(tmp_path: Path) -> None:
    """502 before the exchange saw it, 500 after: both unknown. The first is provably absent and sent again under the same name; that answer
    is lost as well, and the order adopted."""
    async with play(Script(QUIET, BOTH, "f05"), tmp_path) as stage:
        await stage.until_minute(6)
        assert (stage.struck("http_error"), stage.struck("error_after_accept")) == (1, 1)
        assert (stage.taken("buy", "AAA"), stage.taken("buy", "BBB")) == (1, 1)
        assert stage.ledger.reused_client_ids == 0
        first = [one for one in stage.journaled(SubmitEnded) if one.client_order_id.startswith("AAA")]
        assert [(one.outcome, one.http_status) for one in first] == [(Outcome.UNKNOWN, 502), (Outcome.UNKNOWN, 500)]
        assert len({intent.request.client_order_id for intent in stage.intents("entry")}) == 2, "sent again under the same name"
        stage.judge()
        assert (await stage.end()).clean


async def test_f06_trade_updates_missing_on_a_healthy_socket(tmp_path: Path) -> None:
    """Neither the entry's fill nor the stop's is told. A read finds each within the reconciliation interval, and the books agree."""
    days = [{"AAA": flat(6) + move(100, 96) + flat(20, 96)}]
    async with play(Script(days, ONE, "f06"), tmp_path) as stage:
        await stage.until(lambda: stage.fills(side="buy"))
        told = stage.exchange.now
        await stage.until(lambda: "AAA" in stage.state.positions)
        assert (stage.exchange.now - told).total_seconds() <= stage.state.config.reconcile_interval_s + 15
        await stage.until(lambda: stage.fills(side="sell"))
        sold = stage.exchange.now
        await stage.until(lambda: "AAA" not in stage.state.positions)
        assert (stage.exchange.now - sold).total_seconds() <= stage.state.config.reconcile_interval_s + 15
        assert stage.struck("mute_trade_updates") == 2
        assert not [update for update in stage.journaled(OrderUpdated) if update.event == "fill"]
        assert [fill.side for fill in stage.fills()] == [Side.BUY, Side.SELL]
        assert {found.kind for found in stage.journaled(DiscrepancyFound)} <= {"missed_fill"}
        stage.judge()
        assert (await stage.end()).clean
