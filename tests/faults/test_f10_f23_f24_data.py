"""F10, F23, F24: market data that is mute, wrong, late or repeated, and assets that change overnight."""

from __future__ import annotations

from pathlib import Path

from alphatrade_pipelines.market import GateConfig
from alphatrade_pipelines.trading.events import AssetSeen, PriceSeen, SignalReceived, StreamStateSeen
from tests.faults.stage import Script, flat, play

DAY = [{"AAA": flat(40), "BBB": flat(40)}]


async def test_f10_a_mute_data_socket(tmp_path: Path) -> None:
    """The socket is open and silent: noticed within a bar and a half, said aloud, another connection taken, the gap filled from history. No
    entry on what is stale: the cue inside the gap comes too late to act on, the one after it trades."""
    script = Script(DAY, [("AAA", 1, 7), ("AAA", 1, 20)], gate=GateConfig(max_delay_seconds=60.0))
    async with play(script, tmp_path) as stage:
        await stage.until_minute(6)
        mute = stage.exchange.now
        await stage.arm({"kind": "mute_data", "for_seconds": 480})
        await stage.until(lambda: any(not event.connected for event in stage.journaled(StreamStateSeen)))
        [noticed] = [event.at for event in stage.journaled(StreamStateSeen) if event.detail.startswith("no bar for")]
        assert 60 < (noticed - mute).total_seconds() <= 60 + 90 + 20
        assert any(line.startswith("bars: no bar for") for line in stage.session.degraded)  # type: ignore[union-attr]
        await stage.soon(lambda: [event.connected for event in stage.journaled(StreamStateSeen)][-1])
        await stage.settle()
        assert len(stage.session.tools.brain.bars.loc["AAA"]) > 5 + 6, "read from history over the new connection's head"  # type: ignore[union-attr]
        await stage.until_minute(16)
        assert stage.taken("buy") == 0
        assert [event.signal.decision_time for event in stage.journaled(SignalReceived)] == []
        await stage.until_minute(23)
        assert stage.beat().degraded == ()
        assert stage.taken("buy") == 1
        taken = stage.session.tools.brain.bars.loc["AAA"]  # type: ignore[union-attr]
        assert len(taken.index.unique()) == len(taken)
        assert len(taken) >= 5 + 22, "history, and every minute of today, those of the gap included"
        stage.judge()
        assert (await stage.end()).clean


async def test_f23_bars_corrected_late_repeated_out_of_order(tmp_path: Path) -> None:
    """Whatever comes twice or late: each minute is taken in once, in order, and decided on once."""
    cues = [("AAA", 1, minute) for minute in range(1, 9)]
    async with play(Script(DAY, cues, "f23"), tmp_path) as stage:
        await stage.until_minute(14)
        assert stage.struck("corrected_bars") == stage.struck("duplicate_bars") == stage.struck("late_bars") == 1
        taken = stage.session.tools.brain.bars.loc["AAA"].index  # type: ignore[union-attr]
        assert taken.is_monotonic_increasing
        assert taken.is_unique
        decided = [event.signal.decision_time for event in stage.journaled(SignalReceived)]
        assert len(set(decided)) == len(decided)
        assert stage.taken("buy") == 1
        assert set(stage.denials()) <= {"SYMBOL_POSITION_OPEN", "SYMBOL_ORDER_OPEN"}
        assert [price.price for price in stage.journaled(PriceSeen) if price.symbol == "AAA"]
        stage.judge()
        assert (await stage.end()).clean


async def test_f24_split_untradable_and_a_new_name_overnight(tmp_path: Path) -> None:
    """Session 2 opens after a 2-for-1 split, session 3 with a symbol that may not be traded: known before the open, the split position
    protected in its new quantity, no entry into what cannot be traded."""
    days = [{"AAA": flat(8), "BBB": flat(8)} for _ in range(3)]
    script = Script(days, [("AAA", 1, 2), ("AAA", 3, 2), ("BBB", 3, 2)], "f24")
    async with play(script, tmp_path) as stage:
        await stage.until_open()
        await stage.until(lambda: stage.positions())
        bought = stage.positions()["AAA"]
        await stage.until_close()
        await stage.until_open()
        await stage.until_minute(3)
        assert stage.positions() == {"AAA": 2 * bought}
        assert stage.state.positions["AAA"].qty == 2 * bought
        await stage.until_close()
        await stage.until_open()
        await stage.until_minute(5)
        seen = [event.asset for event in stage.journaled(AssetSeen)]
        assert seen
        assert not seen[-1].tradable
        assert any("NEWCO" in asset.detail for asset in seen)
        assert "AAA" in stage.state.assets
        assert stage.alerts >= 1, "shares are held that cannot be traded: a person must know"
        assert (stage.taken("buy", "AAA"), stage.taken("buy", "BBB")) == (1, 1)
        stage.judge(unprotected_s=20.0)


async def test_f24_no_entry_into_what_may_not_be_traded(tmp_path: Path) -> None:
    """Untradable and hard to borrow from the second session on, nothing held: denied by us, before the broker has to refuse."""
    days = [{"AAA": flat(8), "BBB": flat(8)} for _ in range(2)]
    async with play(Script(days, [("AAA", 2, 2), ("BBB", 2, 2)]), tmp_path) as stage:
        await stage.arm(
            {"kind": "asset", "symbol": "AAA", "at": "session 1 close", "tradable": False, "shortable": False, "easy_to_borrow": False}
        )
        await stage.until_open()
        await stage.until_close()
        await stage.until_open()
        await stage.until_minute(5)
        assert stage.denials() == ["SYMBOL_NOT_TRADABLE"]
        assert stage.ledger.refusals == {}
        assert (stage.taken("buy", "AAA"), stage.taken("buy", "BBB")) == (0, 1)
        stage.judge()
        assert (await stage.end()).clean
