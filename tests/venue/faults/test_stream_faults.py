"""F6 to F11 and F23: what the streams do not say, say twice, late, wrong or unreadably, with the shipped scenarios."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import requests
from fault_world import RawStream, Venue, venue
from served_world import SdkStreams, wait_for
from venue_world import FLAT, daily_bars, exchange

from alphatrade_pipelines.venue import BarTape, Exchange, ExchangeConfig

RISING = [FLAT, *[(100.0 + day, 102.0 + day, 99.0 + day, 101.0 + day, 1e6) for day in range(6)]]


def rising() -> Exchange:
    """Four sessions that differ; the first lies behind."""
    return exchange(daily_bars({"AAA": RISING}))


def short(update: Any) -> tuple[str, str]:
    return update["event"], update["order"]["status"]


def test_f06_no_update_on_a_healthy_socket_while_rest_shows_the_fill() -> None:
    with venue(rising(), "f06") as v, SdkStreams(v) as streams:
        v.buy("silent")
        sent = v.until("session_open")["trade_updates_sent"]
        wait_for(lambda: len(streams.updates) == sent)
        assert streams.events == ["accepted", "new"]
        assert v.order("silent").status.value == "filled"
        assert v.positions() == {"AAA": "10"}
        assert v.done("mute_trade_updates") == 1
        assert SdkStreams.listening(v.server.trade_updates)
        assert v.trading.cancel_orders() == []


def test_f07_fills_are_told_twice_at_once_and_later() -> None:
    with venue(rising(), "f07") as v, SdkStreams(v) as streams:
        for name in ("a", "b", "c", "d"):
            v.buy(name)
        sent = v.until("session_open")["trade_updates_sent"]
        wait_for(lambda: len(streams.updates) == sent)
        told = [update.order.client_order_id for update in streams.updates if update.event == "fill"]
        assert told == ["a", "a", "b", "c", "d", "b"]
        again = [update for update in streams.updates if update.event == "fill" and update.order.client_order_id == "b"]
        assert again[0].execution_id == again[1].execution_id
        assert len(v.ledger()["executions"]) == 4


def test_f08_the_fill_is_told_before_the_answer_and_before_new() -> None:
    with venue(rising(), "f08") as v, RawStream(v) as stream:
        v.until("session_open")
        seen: list[int] = []

        def answered(*_: object, **__: object) -> None:
            seen.append(len(stream.messages))

        answer = requests.post(
            f"{v.url}/v2/orders",
            json={"symbol": "AAA", "side": "buy", "qty": "10"},
            headers={"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"},
            hooks={"response": answered},
            timeout=10,
        )
        assert answer.json()["status"] == "pending_new"
        assert [short(update) for update in stream.messages] == [("pending_new", "pending_new"), ("fill", "filled"), ("new", "new")]
        assert seen == [3]


def test_f09_a_gap_with_fills_inside_zombie_slots_then_a_close() -> None:
    with venue(rising(), "f09") as v, RawStream(v) as trading, RawStream(v, "/v2/iex", dailyBars=["*"]) as data:
        v.until("session_close")
        v.buy("in the gap")
        v.until("session_open")
        wait_for(lambda: trading.closed is not None and data.closed is not None)
        assert (trading.closed, data.closed) == ("abort", "abort")
        assert trading.messages[-1]["event"] == "accepted"
        assert v.order("in the gap").status.value == "filled"
        with RawStream(v) as again, RawStream(v, "/v2/iex", dailyBars=["*"]) as data_again:
            wait_for(lambda: again.closed is not None and data_again.closed is not None)
            assert "connection limit exceeded" in "".join(again.frames)
            assert '"code":406' in "".join(data_again.frames)
        v.admin("DELETE", "faults/fault-1")
        v.server.injector._zombies.clear()
        with RawStream(v) as later:
            assert later.messages == []
            v.step()
            wait_for(lambda: later.closed is not None)
            assert later.closed == 1001


def test_f09_the_sdk_comes_back_and_knows_nothing_of_the_fill() -> None:
    with venue(rising()) as v, SdkStreams(v) as streams:
        before = set(v.server.trade_updates.connections)
        v.until("session_open")
        v.admin("POST", "faults", {"kind": "cut_streams", "how": "abort"})
        v.send(client_order_id="unheard")
        wait_for(lambda: any(c.symbols for c in v.server.trade_updates.connections - before))
        v.send(client_order_id="heard")
        wait_for(lambda: bool(streams.updates) and streams.updates[-1].event == "fill")
        assert {update.order.client_order_id for update in streams.updates} == {"heard"}
        assert v.positions() == {"AAA": "20"}


def test_f10_the_data_socket_is_open_and_mute() -> None:
    with venue(rising(), "f10") as v, RawStream(v, "/v2/iex", dailyBars=["*"]) as data, RawStream(v) as trading:
        v.until("session_close")
        v.send()
        wait_for(lambda: bool(trading.messages))
        assert data.messages == []
        assert data.closed is None
        assert v.admin("GET", "state")["data_connections"] == 1
        v.until("session_close")  # more than two hours later: it speaks again
        wait_for(lambda: len(data.messages) == 1)
        assert data.messages[0]["c"] == RISING[2][3]


def test_f11_null_broken_and_unknown_messages_and_a_cut_answer() -> None:
    with venue(rising(), "f11") as v, RawStream(v) as trading, RawStream(v, "/v2/iex", dailyBars=["*"]) as data:
        v.send(client_order_id="first")
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            v.send(client_order_id="second").json()
        assert v.order("second").status.value == "accepted"
        v.until("session_close")
        wait_for(lambda: len(trading.frames) >= 8 and len(data.frames) >= 4)
        frames = [frame for frame in trading.frames if "authorization" not in frame and "listening" not in frame]
        assert frames[0] == '{"stream":"trade_updates","data":null}'
        with pytest.raises(ValueError, match="Expecting"):
            requests.compat.json.loads(frames[1])
        updates = [message for message in trading.messages if message]
        assert updates[0]["order"]["status"] == "pending_review_by_compliance"
        assert updates[1]["event"] == "quantum_fill"
        assert [update["event"] for update in updates[2:]] == ["fill", "fill"]
        assert data.messages == []
        with pytest.raises(ValueError, match="Expecting"):
            requests.compat.json.loads(data.frames[-1])


def test_f11_the_sdk_loses_what_it_cannot_read_and_says_so_in_its_log_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "alpaca.trading.stream")
    with venue(rising(), "f11") as v, SdkStreams(v) as streams:
        for name in ("a", "b"):
            v.send(client_order_id=name)
        v.until("session_open")
        wait_for(lambda: len(streams.updates) == 3)
        assert streams.events == ["quantum_fill", "fill", "fill"]
        assert len(caplog.records) == 3
        assert len(v.ledger()["executions"]) == 2


def minutes() -> Exchange:
    """Two days of 30-minute bars, so that bars and their corrections travel as on a minute feed."""
    import pandas as pd
    from venue_world import PLAIN

    from alphatrade_pipelines.market.sessions import SessionCalendar

    rows = []
    for day in ("2024-03-04", "2024-03-05"):
        start = SessionCalendar().sessions(day, day)["open"].iloc[0]
        rows += [("AAA", start + pd.Timedelta(minutes=30 * n), 100.0 + n, 101.0 + n, 99.0 + n, 100.5 + n, 1000.0) for n in range(13)]
    frame = pd.DataFrame(rows, columns=["symbol", "timestamp", "open", "high", "low", "close", "volume"]).set_index(["symbol", "timestamp"])
    tape = BarTape(frame, "30Min")
    return Exchange(tape, ExchangeConfig(start=tape.sessions[0].close, profile=PLAIN))


def played(v: Venue, bars: int) -> None:
    while v.admin("GET", "state")["data_messages_sent"] < bars:
        v.step()


def test_f23_bars_are_corrected_repeated_late_and_out_of_order() -> None:
    with venue(minutes(), "f23") as v, RawStream(v, "/v2/iex", bars=["AAA"], updatedBars=["AAA"]) as data:
        played(v, 7)
        wait_for(lambda: len(data.messages) >= 7)
        told = [(message["T"], message["t"][11:16], message["c"], message["v"]) for message in data.messages]
        assert told[:7] == [
            ("b", "14:30", 102.51, 500),  # wrong by two percent, half its volume
            ("u", "14:30", 100.5, 1000),  # corrected just before the next bar
            ("b", "15:00", 101.5, 1000),
            ("b", "15:30", 102.5, 1000),
            ("b", "15:30", 102.5, 1000),  # repeated
            ("b", "16:30", 104.5, 1000),
            ("b", "16:00", 103.5, 1000),  # late: after its successor
        ]
        bars = v.raw("GET", "/v2/stocks/bars?symbols=AAA&timeframe=30Min&start=2024-03-05&limit=3").json()["bars"]["AAA"]
        assert [bar["c"] for bar in bars] == [100.5, 101.5, 102.5]


def test_f23_a_trade_is_corrected_on_its_own_channel() -> None:
    with venue(minutes(), "f23") as v, RawStream(v, "/v2/iex", trades=["AAA"]) as data:
        v.until("session_open")
        v.step()
        wait_for(lambda: len(data.messages) >= 2)
        wrong, correction = data.messages[:2]
        assert (wrong["T"], correction["T"]) == ("t", "c")
        assert (correction["op"], correction["oi"], correction["ci"]) == (wrong["p"], wrong["i"], wrong["i"])
        assert wrong["p"] == pytest.approx(correction["cp"] * 1.01)


def test_f23_the_sdk_delivers_the_correction_to_those_who_asked() -> None:
    with venue(minutes(), "f23") as v, SdkStreams(v, trading=False, data=True) as streams:
        v.until("session_open")
        for _ in range(8):
            v.step()
        wait_for(lambda: len(streams.bars) >= 5)
        told = [(bar.timestamp.strftime("%H:%M"), bar.close) for bar in streams.bars]
        assert [close for at, close in told if at == "14:30"] == [102.51, 100.5]
