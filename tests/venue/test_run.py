"""The venue as a process, and the bars it can be started with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
import requests
from venue_world import PLAIN, D, bracket, daily_bars, play, random_bars

from alphatrade_pipelines.market import BarDataError, BarStore, SampleSource, Timeframe
from alphatrade_pipelines.venue import PESSIMISTIC, BarTape, Exchange, ExchangeConfig
from alphatrade_pipelines.venue.entry import config_of, main
from alphatrade_pipelines.venue.run import BarsConfig, default_start, load_tape, parse_instant

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


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--bars", "nowhere"], "nowhere"),
        (["--bars", "sample", "--symbols", "AAPPL"], "unknown symbol 'AAPPL'"),
        (["--bars", "sample", "--start", "2012-12-04 15:00"], "a time with its zone"),
        (["--bars", "sample", "--start", "2012-12-04T15:00:00Z"], "outside session hours"),
        (["--bars", "sample", "--cash", "0"], "cash > 0"),
        (["--bars", "sample", "--speed", "0"], "speed > 0"),
        (["--bars", "sample", "--start", "2013-03-02"], "nothing to play"),
    ],
)
def test_a_bad_command_line_is_one_clear_line(args: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    errors = capsys.readouterr().err
    assert text in errors
    assert errors.startswith("alphatrade venue: ")


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


def test_years_of_brackets_on_real_prices_stay_inside_the_bars_and_survive_the_splits() -> None:
    """Thirteen years of the sample: every fill inside its bar, every split passes without a jump in equity beyond the market's."""
    tape = BarTape(SampleSource().fetch(), "1Day")
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[30].close, profile=replace(PESSIMISTIC, participation=1.0), seed=4))
    sent = 0
    while (step := ex.advance()) is not None:
        if step.kind == "pre_open" and any(action.split != 1.0 for action in step.corporate_actions):
            symbols = {action.symbol for action in step.corporate_actions if action.split != 1.0}
            assert not [order for order in ex.book.live() if order.symbol in symbols]
        if step.kind != "session_close":
            continue
        symbol = tape.symbols[sent % 5]
        price = ex.prices().get(symbol)
        if price is None:
            sent += 1
            continue
        target, stop = (str((price * factor).quantize(D("0.01"))) for factor in (D("1.05"), D("0.95")))
        ex.submit(bracket(symbol, 10, target, stop, client_order_id=f"b{sent}"))
        sent += 1
    assert len(ex.fills()) > 2000
    assert all(fill.low <= fill.price <= fill.high for fill in ex.fills())
    cost = sum(abs(fill.price - fill.reference) / fill.reference for fill in ex.fills()) / len(ex.fills())
    assert D("0.0001") < cost < D("0.002")  # one to twenty basis points a fill, targets included
    rejected = sum(order.status == "rejected" for order in ex.book.orders.values())
    entries = sum(order.role == "entry" for order in ex.book.orders.values())
    assert abs(rejected / entries - 0.08) < 0.02


def test_real_intraday_bars_play(market_data: Path) -> None:
    frame = pd.read_parquet(market_data / "spy_1min_2024" / "spy_1min.parquet").rename(columns={"ts": "timestamp"})
    bars = frame.set_index(["symbol", "timestamp"]).astype(float)
    tape = BarTape(bars.iloc[: 391 * 6], "1Min")
    assert tape.ignored_bars == 6  # the closing prints stamped 16:00
    ex = Exchange(tape, ExchangeConfig(start=tape.sessions[0].close, profile=PLAIN))
    price = ex.prices()["SPY"]
    ex.submit(bracket("SPY", 10, str(price * 2), str((price / 2).quantize(D("0.01")))))
    play(ex)
    assert len(ex.fills()) == 1
    assert len(ex.equity_history) == 5
    assert ex.ledger.unprotected_seconds == {}
