"""The venue as a process, and the bars it can be started with."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.client import TradingClient
from venue_world import daily_bars, play, random_bars

from alphatrade_pipelines.market import BarDataError, BarStore, Timeframe
from alphatrade_pipelines.venue import Exchange, ExchangeConfig, entry
from alphatrade_pipelines.venue.entry import config_of, main
from alphatrade_pipelines.venue.run import BarsConfig, default_start, load_tape, parse_instant, path_points
from alphatrade_pipelines.venue.server.pacing import Pace

FLAT = (100.0, 100.0, 100.0, 100.0, 1e6)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    BarStore(tmp_path / "bars").write(random_bars(sessions=30), Timeframe.parse("1Day"), "test", synthetic=True)
    return tmp_path / "bars"


def test_a_venue_process_announces_itself_steps_and_ends_on_ctrl_c(store: Path, tmp_path: Path) -> None:
    state = tmp_path / "venue.json"
    args = ["--bars", str(store), "--step", "--state-file", str(state), "--account", "PA7", "--cash", "5000", "--idle-exit", "60"]
    command = [sys.executable, "-m", "alphatrade_pipelines.venue", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert json.loads(state.read_text()) == line
        assert state.stat().st_mode & 0o777 == 0o600
        token_file = Path(line["admin_token_file"])
        assert token_file.stat().st_mode & 0o777 == 0o600
        assert "token" not in {key for key in line if line[key] == token_file.read_text()}
        admin = {"X-Admin-Token": token_file.read_text()}
        step = requests.post(f"{line['url']}/admin/step", headers=admin, timeout=10).json()
        assert (step["kind"], step["done"], line["account_number"]) == ("session_open", False, "PA7")
        account = requests.get(
            f"{line['url']}/v2/account", headers={"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}, timeout=10
        ).json()
        assert account["cash"] == "5000"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        _, errors = process.communicate()
    assert errors == ""
    assert not state.exists()
    assert not token_file.exists()


def test_a_stranger_at_a_terminal_pastes_the_code_and_trades() -> None:
    """Five invented symbols, open within seconds, with months of history; the greeting's own code runs; Ctrl-C ends it all."""
    terminal, ours = pty.openpty()
    command = [sys.executable, "-m", "alphatrade_pipelines.venue", "--bars", "synthetic", "--timeframe", "15Min", "--idle-exit", "60"]
    venue = subprocess.Popen(command, stdin=ours, stdout=ours, stderr=subprocess.PIPE, start_new_session=True)
    os.close(ours)
    pasted = None
    try:
        text = _read_until(terminal, "Ctrl-C ends it.")
        url = re.search(r"http://127\.0\.0\.1:\d+", text)
        assert url is not None
        assert "ALFA, BRAV, CHAR, DELT, ECHO; 15Min bars (synthetic)" in text
        assert requests.get(re.search(r"page +(\S+)", text)[1], timeout=10).status_code == 200  # type: ignore[index]
        trading = TradingClient("sim", "sim", url_override=url[0])
        until(lambda: trading.get_clock().is_open, 60)
        day = StockBarsRequest(symbol_or_symbols="ECHO", timeframe=TimeFrame.Day, start=datetime(2020, 1, 1))
        assert len(StockHistoricalDataClient("sim", "sim", url_override=url[0]).get_stock_bars(day)["ECHO"]) >= 60
        code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
        pasted = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert pasted.stdout is not None
        assert pasted.stdout.readline().startswith("OrderStatus.")
        assert " ALFA " in pasted.stdout.readline()  # a trade of the tape
        until(lambda: trading.get_open_position("ALFA").qty == "10", 150, APIError)
        os.killpg(venue.pid, signal.SIGINT)
        assert venue.wait(10) == 0
        assert venue.stderr is not None
        assert b"Traceback" not in venue.stderr.read()
    finally:
        for process in (pasted, venue):
            if process is not None:
                process.kill()
                process.wait()
        os.close(terminal)


def _read_until(terminal: int, word: str) -> str:
    text = ""
    while word not in text:
        assert select.select([terminal], [], [], 60)[0], f"{word!r} did not come after {text!r}"
        text += os.read(terminal, 65_536).decode()
    return text.replace("\r\n", "\n")


def until(condition: Callable[[], object], seconds: float, *not_yet: type[Exception]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(*not_yet):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--bars", "nowhere"], "found 'nowhere'"),
        (["--bars", "sample", "--symbols", "AAPPL"], "unknown symbol 'AAPPL'"),
        (["--bars", "sample", "--start", "2012-12-04 15:00"], "a time with its zone"),
        (["--bars", "sample", "--start", "2012-12-04T15:00:00Z"], "outside session hours"),
        (["--bars", "sample", "--start", "2013-03-02"], "nothing to play"),
        (["--cash", "0"], "cash > 0"),
        (["--cash", "much"], "expected a number, found 'much'"),
        (["--cash", "nan"], "expected a number, found 'nan'"),
        (["--multiplier", "0"], "multiplier >= 1"),
        (["--rate-limit", "-5"], "requests_per_minute >= 0"),
        (["--connection-limit", "-1"], "connection_limit >= 0"),
        (["--idle-exit", "-1"], "idle_exit_seconds >= 0"),
        (["--speed", "0"], "speed > 0"),
        (["--speed", "nan"], "speed > 0"),
        (["--speed", "fast"], "invalid float value: 'fast'"),
        (["--speed", "2", "--step"], "not allowed with"),
        (["--nights", "long"], "expected seconds of wall clock or full, found 'long'"),
        (["--path-points", "2"], "expected path_points >= 4"),
        (["--fidelity", "wash_chek=false"], "expected a fidelity switch out of held_in_open_list, stream_sibling_cancel"),
        (["--fidelity", "wash_check"], "expected name=value"),
        (["--fidelity", "wash_check=perhaps"], "expected wash_check to be true or false"),
        (["--faults", "f99"], "no scenario 'f99'"),
        (["--port", "70000"], "expected a port from 0 to 65535"),
        (["--key", ""], "a key and a secret"),
        (["--warp"], "unrecognized arguments: --warp"),
    ],
)
def test_a_bad_command_line_is_one_clear_line(args: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    errors = capsys.readouterr().err
    assert text in errors
    assert errors.startswith("alphatrade venue: ")
    assert errors.count("\n") == 1


def test_a_taken_port_is_one_clear_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--bars", str(store), "--port", str(port)]) == 2
    assert capsys.readouterr().err == f"alphatrade venue: port {port} is taken; give another --port, or 0 for any free one\n"


def test_only_loopback_unless_told_otherwise_and_then_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry, "serve", lambda _config: 0)
    for host in ([], ["--host", "localhost"], ["--host", "::1"], ["--host", "127.0.0.2"]):
        assert main(host) == 0
    assert capsys.readouterr().err == ""
    assert main(["--host", "0.0.0.0"]) == 0
    assert "warning: --host 0.0.0.0 lets other machines in" in capsys.readouterr().err


def test_interrupted_while_it_reads_its_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_config: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "serve", interrupted)
    assert main([]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("timeframe", "args", "points"),
    [
        ("1Day", [], 60),  # a session a minute
        ("5Min", [], 4),
        ("1Min", ["--real-time"], 60),
        ("5Min", ["--speed", "10"], 30),
        ("1Day", ["--speed", "1"], 3600),
        ("1Min", ["--step"], 4),
        ("1Day", ["--step"], 4),
    ],
)
def test_prices_come_about_once_a_second_of_the_wall(timeframe: str, args: list[str], points: int) -> None:
    assert path_points(Timeframe.parse(timeframe), config_of(args).server.pace) == points


def test_the_command_line_reaches_the_configuration() -> None:
    args = [
        "--bars",
        "synthetic",
        "--profile",
        "base",
        "--seed",
        "9",
        "--step",
        "--start",
        "2024-02-01",
        "--symbols",
        "X,Y",
        "--multiplier",
        "1",
    ]
    config = config_of(args)
    assert config.bars == BarsConfig("synthetic", ("X", "Y"), seed=9)
    assert (config.exchange.profile, config.exchange.seed, config.exchange.multiplier) == ("base", 9, Decimal(1))
    assert config.exchange.start == datetime(2024, 2, 1, 5, tzinfo=UTC)
    assert config.server.mode == "stepped"
    assert config.server.pace is None
    switched = config_of(
        ["--fidelity", "gtc_days=30", "--fidelity", "wash_check=false", "--faults", "f06", "--nights", "full", "--real-time"]
    )
    assert (switched.exchange.fidelity.gtc_days, switched.exchange.fidelity.wash_check) == (30, False)
    assert switched.server.scenario is not None
    assert switched.server.pace == Pace(1.0, None)


def test_bars_by_name_and_by_path(store: Path, tmp_path: Path) -> None:
    assert load_tape(BarsConfig("sample", ("IBM",))).symbols == ("IBM",)
    synthetic = load_tape(BarsConfig("synthetic", ("X",), timeframe="1Hour", seed=1))
    assert (synthetic.symbols, str(synthetic.timeframe)) == (("X",), "1Hour")
    stored = load_tape(BarsConfig(str(store)))
    assert stored.frame.equals(BarStore(store).read())
    file = tmp_path / "bars.parquet"
    daily_bars({"AAA": [FLAT] * 3}).reset_index().to_parquet(file)
    assert len(load_tape(BarsConfig(str(file), timeframe="1Day")).sessions) == 3
    with pytest.raises(BarDataError, match="length of the bars"):
        load_tape(BarsConfig(str(file)))


def test_sixty_sessions_are_played_by_default() -> None:
    tape = load_tape(BarsConfig("sample", ("IBM",)))
    ex = Exchange(tape, ExchangeConfig(start=default_start(tape)))
    play(ex)
    assert len(ex.equity_history) == 60


def test_instants_need_a_zone_unless_they_are_days() -> None:
    assert parse_instant("2024-07-04T20:00:00Z") == datetime(2024, 7, 4, 20, tzinfo=UTC)
    assert parse_instant("2024-07-04") == datetime(2024, 7, 4, 4, tzinfo=UTC)
    with pytest.raises(ValueError, match="zone"):
        parse_instant("2024-07-04 20:00")
