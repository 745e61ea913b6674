"""F3, F4: a broker that hangs, and one that has had enough. Waits are bounded, exits go first."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from alphatrade_pipelines.live.throttle import Lane
from alphatrade_pipelines.live.transport import ThrottledError
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.events import Outcome, SubmitEnded
from tests.faults.stage import PATIENCE, Script, flat, play

DAY = [{"AAA": flat(40), "BBB": flat(40), "CCC": flat(40)}]


async def test_f03_requests_that_hang_for_ever(tmp_path: Path) -> None:
    """A POST and every read hang for an hour. The POST's wait is bounded; the heartbeat says degraded; entries are denied once the last
    good read is too old; an exit goes out while a read is still hanging."""
    script = Script(
        DAY,
        [("AAA", 1, 2), ("BBB", 1, 5), ("CCC", 1, 9)],
        core=replace(CoreConfig(), read_max_age_s=100.0, signal_max_age_s=30.0),
        patience=replace(PATIENCE, read_timeout=2.5, read_attempts=8),
    )
    async with play(script, tmp_path) as stage:
        await stage.until_minute(4)
        assert stage.beat().degraded == ()
        await stage.arm({"kind": "hang", "endpoint": "GET /v2/positions", "every": 1}, {"kind": "hang", "endpoint": "POST /v2/orders"})
        stage.reads_may_hang = True
        await stage.until_minute(6)
        hung, again = [one for one in stage.journaled(SubmitEnded) if one.client_order_id.startswith("BBB")]
        assert (hung.outcome, hung.http_status, hung.reason) == (Outcome.UNKNOWN, None, "no answer: ReadTimeout")
        assert (again.client_order_id, again.outcome) == (hung.client_order_id, Outcome.CONFIRMED), "provably absent: the same order again"
        await stage.until_minute(10)
        assert stage.denials() == ["SESSION_BROKER_STALE"]
        assert (stage.taken("buy", "AAA"), stage.taken("buy", "BBB")) == (1, 1)
        await stage.soon(lambda: any(line.startswith("reads: ") for line in stage.beat().degraded))
        shell = stage.session.shell  # type: ignore[union-attr]
        assert shell.is_reading, "a read hangs at this very moment"
        await stage.ask("flatten")
        await stage.until(lambda: not stage.positions(), steps=6)
        assert shell.is_reading, "and it still does: the exit did not wait for it"
        await stage.admin.ask("DELETE", "faults")
        stage.reads_may_hang = False
        await stage.settle()
        await stage.until(lambda: stage.beat().degraded == ())
        stage.judge(unprotected_s=60.0)
        assert (await stage.end()).clean


async def test_f04_a_burst_of_429_with_handshakes(tmp_path: Path) -> None:
    """Everything is refused for four seconds, and the streams are cut. The exit asked for meanwhile is the first to get through after the
    reset; until then the broker is left in peace; the streams come back."""
    script = Script(DAY, [("AAA", 1, 2)], patience=replace(PATIENCE, requests_per_minute=2400))
    async with play(script, tmp_path) as stage:
        await stage.until_minute(4)
        stage.streams_may_be_down = True
        await stage.arm_scenario("f04")
        before = stage.server.gate.requests
        await stage.ask("flatten")
        await stage.soon(lambda: stage.struck("rate_limited"))
        await stage.until(lambda: not stage.positions())
        refused = stage.struck("rate_limited")
        assert refused <= 12, f"{refused} requests and handshakes were refused, of {stage.server.gate.requests - before}"
        outcomes = Counter(one.outcome for one in stage.journaled(SubmitEnded))
        assert outcomes[Outcome.UNKNOWN] == 0
        stage.streams_may_be_down = False
        await stage.settle()
        assert stage.taken("sell") == 1
        stage.judge(unprotected_s=60.0)
        assert (await stage.end()).clean


async def test_f04_our_own_limit_keeps_below_the_brokers(tmp_path: Path) -> None:
    """The venue allows 720 requests a minute, the session itself 600. Reads have used up what they may and wait for their turn: the exit
    does not wait with them, and the venue never has to refuse."""
    script = Script(DAY, [("AAA", 1, 2)], patience=replace(PATIENCE, requests_per_minute=600), server={"requests_per_minute": 720})
    async with play(script, tmp_path) as stage:
        await stage.until_minute(4)
        assert stage.positions()
        stage.reads_may_hang = True
        throttle = stage.session.tools.broker._throttle  # type: ignore[union-attr]
        with suppress(ThrottledError):
            while True:
                throttle.take(Lane.READ, patience_s=0.0)
        stage.session.shell.reread("it has to wait for its turn")  # type: ignore[union-attr]
        await stage.ask("flatten")
        await stage.until(lambda: not stage.positions(), steps=6)
        assert stage.taken("sell") == 1
        assert all(limit._taken < 720 for limit in stage.server.gate._limits.values())
        assert all(one.http_status != 429 for one in stage.journaled(SubmitEnded))
