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


async def test_f06_the_list_of_fills_fails_too_and_nothing_waits_for_it(tmp_path: Path) -> None:
    """Updates missing, and the broker does not list its fills: orders and positions are read all the same, what was sold is known within
    the interval, a person sees what is missing, and a flatten goes through. Once the fills are listed, none of them counts twice."""
    days = [{"AAA": flat(6) + move(100, 96) + flat(20, 96), "BBB": flat(27)}]
    async with play(Script(days, BOTH, "f06"), tmp_path) as stage:
        await stage.arm({"kind": "http_error", "endpoint": "GET /v2/account/activities", "status": 500, "every": 1})
        for condition in (lambda: stage.fills(side="buy"), lambda: stage.fills(side="sell")):
            await stage.until(condition)
            happened = stage.exchange.now
            await stage.until(lambda: {name: held.qty for name, held in stage.state.positions.items()} == stage.positions())
            assert (stage.exchange.now - happened).total_seconds() <= stage.state.config.reconcile_interval_s + 15
        assert stage.struck("http_error") > 2
        await stage.soon(lambda: any(line.startswith("fills: ") for line in stage.beat().degraded))
        assert set(stage.positions()) == {"BBB"}
        await stage.ask("flatten")
        await stage.until(lambda: not stage.positions() and not stage.state.active_symbols())
        await stage.admin.ask("DELETE", "faults")
        await stage.until(lambda: {fill.execution_id for fill in stage.exchange.fills()} <= set(stage.state.executions))
        await stage.soon(lambda: stage.beat().degraded == ())
        stage.judge(unprotected_s=30.0)  # between the cancelled legs and the exit's fill
        assert (await stage.end()).clean
