"""The session's parts one by one: inbox, bars, streams' frames, lock, control, health, metrics, venue process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgpack
import pandas as pd
import pytest
from structlog.testing import capture_logs

from alphatrade_pipelines.live.bars import BarBuilder, merge
from alphatrade_pipelines.live.control import ControlInbox
from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
from alphatrade_pipelines.live.health import Heartbeat, read_heartbeat, write_heartbeat
from alphatrade_pipelines.live.inbox import (
    BarArrived,
    Decide,
    Inbox,
    Kind,
    Morning,
    Stimulus,
    StopSession,
    StreamChanged,
    Tick,
    UpdateArrived,
)
from alphatrade_pipelines.live.launch import unfinished
from alphatrade_pipelines.live.lock import SecondSessionError, SessionLock
from alphatrade_pipelines.live.sim import VenueProcessError, VenueSpec, attach, attach_or_launch, launch
from alphatrade_pipelines.live.status import SessionStatus, StopSwitch
from alphatrade_pipelines.live.streams import BarStream, UpdateStream
from alphatrade_pipelines.live.telemetry import Telemetry
from alphatrade_pipelines.live.wire import WireError, broker_order, corporate_actions, instant, trade_update
from alphatrade_pipelines.market import SessionCalendar, Timeframe
from alphatrade_pipelines.trading.config import CoreConfig
from alphatrade_pipelines.trading.domain import StopPolicy
from alphatrade_pipelines.trading.state import CoreState, Stranger
from tests.journal.test_full_disk import fill, small_disk  # noqa: F401 - a fixture
from tests.live.hostile import order_json
from tests.live.world import CALENDAR, world

AT = datetime(2024, 3, 4, 15, 0, tzinfo=UTC)
OPEN = datetime(2024, 3, 4, 14, 30, tzinfo=UTC)
SIM = Endpoints.of_venue("http://127.0.0.1:9")
KEYS = Credentials.of(None, None, "sim")


# ---- inbox


async def test_inbox_serves_by_precedence_then_arrival_and_holds_back() -> None:
    inbox = Inbox()
    late = UpdateArrived({"n": 2})
    for stimulus in (Decide(), Tick(), UpdateArrived({"n": 1}), late, Morning(), StopSession(StopPolicy.PROTECT, "x")):
        inbox.put(stimulus)
    inbox.hold(Kind.UPDATE)
    assert [type(await inbox.get()) for _ in range(4)] == [StopSession, Morning, Tick, Decide]
    assert inbox.arrived(Kind.UPDATE) == 2
    waiting = asyncio.create_task(inbox.get())
    await inbox.idle()
    assert not waiting.done()
    inbox.release(Kind.UPDATE)
    assert await waiting == UpdateArrived({"n": 1})
    assert not inbox.is_idle
    assert await inbox.get() == late


# ---- bars


def minute(at: datetime, price: float, volume: float = 100.0, symbol: str = "SPY", channel: str = "b") -> BarArrived:
    values = {"open": price, "high": price + 1, "low": price - 1, "close": price + 0.5, "volume": volume, "vwap": price, "trade_count": 3.0}
    return BarArrived(channel, symbol, at, values)


def test_minutes_become_five_minute_bars_as_pandas_would_make_them() -> None:
    builder = BarBuilder(
        Timeframe.parse("5Min"), ("SPY",), SessionCalendar(), timedelta(0), ("open", "high", "low", "close", "volume", "vwap")
    )
    messages = [minute(OPEN + timedelta(minutes=n), 100.0 + (n * 7 % 5), 100.0 + n) for n in range(10)]
    for message in messages:
        builder.add(message)
    frames = builder.complete(OPEN + timedelta(minutes=10))
    table = pd.DataFrame([dict(m.values) for m in messages], index=pd.DatetimeIndex([m.start for m in messages]))
    rule = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    expected = table.resample("5min").agg(rule)
    found = pd.concat(frames).droplevel("symbol")
    assert found[list(rule)].to_numpy().tolist() == expected.to_numpy().tolist()
    weighted = (table["vwap"] * table["volume"]).resample("5min").sum() / table["volume"].resample("5min").sum()
    assert found["vwap"].tolist() == pytest.approx(weighted.tolist())


def test_a_correction_replaces_its_minute_and_a_late_one_is_only_counted() -> None:
    builder = BarBuilder(Timeframe.parse("5Min"), ("SPY",), SessionCalendar(), timedelta(0))
    builder.add(minute(OPEN, 100.0))
    builder.add(minute(OPEN, 200.0, channel="u"))
    (frame,) = builder.complete(OPEN + timedelta(minutes=5))
    assert frame["open"].tolist() == [200.0]
    builder.add(minute(OPEN, 300.0, channel="u"))
    assert builder.complete(OPEN + timedelta(minutes=10)) == []
    assert builder.late["SPY"] == 1


def test_stragglers_are_waited_for_but_not_for_ever() -> None:
    builder = BarBuilder(Timeframe.parse("5Min"), ("QQQ", "SPY"), SessionCalendar(), timedelta(seconds=20))
    builder.add(minute(OPEN, 100.0))
    end = OPEN + timedelta(minutes=5)
    assert builder.complete(end + timedelta(seconds=19)) == []
    (frame,) = builder.complete(end + timedelta(seconds=20))
    assert frame.index.get_level_values("symbol").tolist() == ["SPY"]


def test_outside_sessions_and_foreign_symbols_are_ignored_and_half_days_end_early() -> None:
    builder = BarBuilder(Timeframe.parse("30Min"), ("SPY",), SessionCalendar(), timedelta(0))
    builder.add(minute(OPEN - timedelta(hours=2), 1.0))
    builder.add(minute(OPEN, 1.0, symbol="XYZ"))
    assert builder.complete(OPEN + timedelta(days=1)) == []
    eve = datetime(2024, 7, 3, 16, 45, tzinfo=UTC)
    builder.add(minute(eve, 5.0))
    assert builder.complete(datetime(2024, 7, 3, 16, 59, tzinfo=UTC)) == []
    assert len(builder.complete(datetime(2024, 7, 3, 17, 0, tzinfo=UTC))) == 1


def test_a_clock_hour_holds_the_first_half_hour_of_the_session() -> None:
    builder = BarBuilder(Timeframe.parse("1Hour"), ("SPY",), SessionCalendar(), timedelta(0))
    builder.add(minute(OPEN, 100.0))
    (frame,) = builder.complete(OPEN + timedelta(minutes=30))
    assert frame.index.get_level_values("timestamp")[0] == pd.Timestamp("2024-03-04 14:00", tz="UTC")


def test_a_day_named_by_midnight_or_by_its_open_is_the_same_day_and_carries_its_split_once() -> None:
    builder = BarBuilder(Timeframe.parse("1Day"), ("QQQ", "SPY"), SessionCalendar(), timedelta(0))
    builder.corporate_action("SPY", OPEN.date(), 2.0, 0.5)
    builder.add(minute(datetime(2024, 3, 4, 5, 0, tzinfo=UTC), 100.0, channel="d"))
    builder.add(minute(OPEN, 50.0, symbol="QQQ", channel="d"))
    assert builder.complete(datetime(2024, 3, 4, 20, 59, tzinfo=UTC)) == []
    (frame,) = builder.complete(datetime(2024, 3, 4, 21, 0, tzinfo=UTC))
    assert frame.index.tolist() == [("QQQ", pd.Timestamp(OPEN)), ("SPY", pd.Timestamp(OPEN))]
    assert frame["split"].tolist() == [1.0, 2.0]
    assert frame["dividend"].tolist() == [0.0, 0.5]


def test_a_single_part_keeps_its_bits() -> None:
    only = {"open": 0.1 + 0.2, "volume": 1e-9}
    assert merge([only]) == only


# ---- what a former run left


def test_the_first_read_asks_for_orders_of_others_too() -> None:
    """One that ended while no session ran is in no list: not asked for by its id, it would freeze its symbol for ever."""
    legs = [order_json("x-leg", id="leg", status="held"), order_json("x-gone", id="gone", status="canceled")]
    state = CoreState.initial(CoreConfig())
    state.strangers = {"parent": Stranger(broker_order(order_json("x", id="parent", order_class="bracket", status="filled", legs=legs)))}
    state.strangers["alone"] = Stranger(broker_order(order_json("y", id="alone")))
    assert sorted(unfinished(state)[1]) == ["alone", "leg"]


# ---- what the streams take in


def test_one_unreadable_message_hides_no_other() -> None:
    seen: list[Stimulus] = []
    stream = UpdateStream(SIM, KEYS, seen.append)
    frames = [
        b'{"stream":"listening","data":{"streams":["trade_updates"]}}',
        b'{"stream":"trade_updates","data":null}',
        b"{broken",
        json.dumps({"stream": "trade_updates", "data": {"event": "fill"}}).encode(),
    ]
    for frame in frames:
        stream._take(frame)
    assert [type(one).__name__ for one in seen] == ["StreamChanged", "StreamChanged", "StreamChanged", "UpdateArrived"]
    assert [one.garbled for one in seen if isinstance(one, StreamChanged)] == [False, True, True]
    assert stream.received == 2


def test_an_error_message_that_repeats_our_keys_is_told_without_them() -> None:
    seen: list[Stimulus] = []
    keys = Credentials.of("AKIDSECRET0001", "TOP/SECRET+value", "sim")
    error = {"stream": "authorization", "action": "error", "data": {"sent": ["AKIDSECRET0001", "TOP/SECRET+value"]}}
    with capture_logs() as logs:
        UpdateStream(SIM, keys, seen.append)._take(json.dumps(error).encode())
        UpdateStream(SIM, keys, seen.append)._take(b'{broken "TOP/SECRET+value"')
    assert len(seen) == len(logs) == 2
    assert "SECRET" not in f"{seen} {logs}"
    assert "***" in f"{seen}"


def test_a_silently_ignored_subscription_does_not_count_as_connected() -> None:
    seen: list[Stimulus] = []
    UpdateStream(SIM, KEYS, seen.append)._take(b'{"stream":"listening","data":{"streams":[]}}')
    assert seen == []


def test_a_bad_bar_does_not_take_its_frame_with_it() -> None:
    seen: list[Stimulus] = []
    stream = BarStream(SIM, KEYS, ["SPY"], True, seen.append)
    bar = {"T": "d", "S": "SPY", "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 100, "n": 5, "vw": 1.2, "t": AT}
    stream._take(msgpack.packb([bar, {**bar, "o": "text"}, {**bar, "c": 1.75}, {"T": "error", "code": 406, "msg": "limit"}], datetime=True))
    bars = [one for one in seen if isinstance(one, BarArrived)]
    assert [one.values["close"] for one in bars] == [1.5, 1.75]
    assert bars[0].start == AT
    assert len([one for one in seen if isinstance(one, StreamChanged) and one.garbled]) == 2


def test_a_status_nobody_knows_still_delivers_its_fill() -> None:
    data = {
        "event": "fill",
        "execution_id": "e1",
        "price": "10.5",
        "qty": "10",
        "timestamp": "2026-07-24T14:42:50.130680372Z",
        "order": order_json("cid", status="quantum_filled", filled_qty="10"),
    }
    update = trade_update(data, AT)
    assert update.execution is not None
    assert (update.execution.price, update.execution.qty) == (Decimal("10.5"), 10)
    assert update.order.is_live
    with pytest.raises(WireError, match="finite number for qty"):
        trade_update({**data, "qty": "NaN"}, AT)


def test_wire_times_and_corporate_actions() -> None:
    assert instant("2024-03-10T09:30:00.123456789-04:00") == datetime(2024, 3, 10, 13, 30, 0, 123456, tzinfo=UTC)
    with pytest.raises(WireError, match="with a zone"):
        instant("2024-03-10T09:30:00")
    raw = {
        "forward_splits": [{"symbol": "A", "ex_date": "2024-06-10", "new_rate": 10, "old_rate": 1}],
        "cash_dividends": [{"symbol": "A", "ex_date": "2024-06-10", "rate": 0.4}, {"symbol": "A", "ex_date": "2024-06-10", "rate": 0.1}],
        "stock_dividends": [{"symbol": "B", "ex_date": "2024-06-11", "rate": 0.05}],
        "reverse_splits": [{"symbol": "C", "ex_date": "2024-06-11", "new_rate": 1, "old_rate": 8}],
    }
    found = {action.symbol: (action.split, action.dividend) for action in corporate_actions(raw)}
    assert found == {"A": (10, Decimal("0.5")), "B": (Decimal("1.05"), 0), "C": (Decimal("0.125"), 0)}


# ---- lock, control, health, metrics, switch


def test_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "session.lock"
    code = f"""
import sys, time
from pathlib import Path
from alphatrade_pipelines.live.lock import SessionLock
with SessionLock(Path({str(path)!r}), "run-7"):
    print("held", flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(SecondSessionError, match=f"process {child.pid}, run run-7"), SessionLock(path, "mine"):
        pass
    child.kill()
    child.wait()
    with SessionLock(path, "mine"):
        assert json.loads(path.read_text())["run_id"] == "mine"


def test_control_hands_out_each_request_once_in_order(tmp_path: Path) -> None:
    control = ControlInbox(tmp_path)
    assert control.take() == []
    for request in ("halt", "resume", "flatten"):
        control.ask(request, "me")
    (tmp_path / "00000009-broken.json").write_text("{")
    found = control.take()
    assert [one.request for one in found] == ["halt", "resume", "flatten"]
    assert control.take() == []
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["00000009-broken.json"]
    control.settle(found[0].name)
    assert len(list((tmp_path / "taken").iterdir())) == 2
    assert [one.request for one in ControlInbox(tmp_path).take()] == ["resume", "flatten"], "a crash came before they were journaled"
    assert len(control.dismiss()) == 2
    assert ControlInbox(tmp_path).take() == [], "a session that ended carries nothing over"


def test_heartbeat_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "live" / "beat.json"
    assert read_heartbeat(path) is None
    beat = Heartbeat(AT, AT, 12, "run", "sim", "active", True, ("SPY",))
    write_heartbeat(path, beat)
    assert read_heartbeat(path) == beat
    assert beat.age_s(AT + timedelta(seconds=90)) == 90
    path.write_text("[]")
    with pytest.raises(ValueError, match="expected a heartbeat"):
        read_heartbeat(path)


def test_a_heartbeat_goes_on_beating_on_a_full_disk(small_disk: Path) -> None:  # noqa: F811
    """Or the watchdog would end a session that is just leaving its positions."""
    path = small_disk / "live" / "beat.json"
    beat = Heartbeat(AT, AT, 12, "run", "sim", "active", True, ("SPY",))
    write_heartbeat(path, beat)
    fill(small_disk)
    for later in (replace(beat, at=AT + timedelta(seconds=1), naked=("SPY", "QQQ", "IWM")), replace(beat, at=AT + timedelta(seconds=2))):
        write_heartbeat(path, later)
        assert read_heartbeat(path) == later


def test_a_session_is_locked_and_looked_for_on_a_full_disk(small_disk: Path) -> None:  # noqa: F811
    fill(small_disk)
    with SessionLock(small_disk / "session.lock", "run-1"), pytest.raises(SecondSessionError, match="already runs"):
        SessionLock(small_disk / "session.lock", "run-2").__enter__()


def test_a_request_reaches_the_session_on_a_full_disk(small_disk: Path) -> None:  # noqa: F811
    control = ControlInbox(small_disk / "control")
    control.ask("halt", "me")
    fill(small_disk)
    control.ask("flatten", "me")
    assert [one.request for one in ControlInbox(small_disk / "control").take()] == ["halt", "flatten"]
    assert [one.request for one in ControlInbox(small_disk / "control").take()] == ["halt", "flatten"], "until they stand in the journal"


def test_metrics_are_served_on_loopback() -> None:
    status = SessionStatus(
        "run", "sim", AT, True, "active", "1", True, 1, 2, 3, 4, 5, 6, 7, 8, 1.5, (), (("SPY", Decimal(-3)),), Decimal("1000.5"),
        Decimal(1), Decimal("-2.5"), Decimal(0), 0, 0, 0,
    )  # fmt: skip
    with Telemetry(0) as telemetry:
        telemetry.observe(status)
        assert telemetry.address is not None
        assert telemetry.address.startswith("http://127.0.0.1:")
        text = urllib.request.urlopen(telemetry.address, timeout=5).read().decode()
    assert "alphatrade_equity 1000.5" in text
    assert 'alphatrade_position{symbol="SPY"} -3.0' in text


def test_a_stop_asked_before_the_session_listens_is_kept_and_only_the_first_counts() -> None:
    switch, heard = StopSwitch(), list[StopSession]()
    switch.request(StopPolicy.FLATTEN, "first")
    switch.request(StopPolicy.PROTECT, "second")
    switch.listen(heard.append)
    assert [(one.policy, one.reason) for one in heard] == [(StopPolicy.FLATTEN, "first")]
    assert switch.is_asked


# ---- the venue process


def spec(**changes: object) -> VenueSpec:
    small = world("2012-11-01", "2012-11-06")
    values = {"bars": "sample", "start": small.start, "end": small.end, "symbols": ("IBM",), "idle_exit_s": 60.0, **changes}
    return VenueSpec(**values)  # type: ignore[arg-type]


def test_a_running_venue_is_found_again_and_another_wish_gets_another_venue(tmp_path: Path) -> None:
    first = attach_or_launch(tmp_path, spec())
    try:
        again = attach_or_launch(tmp_path, spec())
        assert (again.pid, again.attached, again.journal) == (first.pid, True, first.journal)
        other = attach_or_launch(tmp_path, spec(seed=8))
        assert other.pid != first.pid
        assert other.state()["seed"] == 8
        with pytest.raises(VenueProcessError, match="does not answer"):
            first.state()
    finally:
        left = attach(tmp_path)
        if left is not None:
            left.shut_down()
    assert CALENDAR.is_open(spec().start) is False


def test_a_venue_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(VenueProcessError, match=r"did not come up \(exit code 2\)[\s\S]*alphatrade venue:"):
        launch(tmp_path, spec(symbols=("NOSUCH",)))
    assert attach(tmp_path) is None
