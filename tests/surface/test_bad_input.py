"""What a person gets wrong, at the command line: one clear panel, exit code 1, nothing half-written."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from alphatrade_pipelines import cli, trader
from alphatrade_pipelines.live.lock import SessionLock
from alphatrade_pipelines.research import tracking
from tests.surface.house import settings_of

KEYS = {"ALPHATRADE_ALPACA__KEY_ID": "PKTESTKEY", "ALPHATRADE_ALPACA__SECRET_KEY": "very-secret-value"}


class Refused:
    """One refused command: what was printed, whitespace and frame taken away."""

    def __init__(self, code: object, text: str) -> None:
        self.code = code
        self.text = " ".join(text.replace("│", " ").split())


def refuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path, *arguments: str, **environment: str) -> Refused:
    """Run the command as typed; it must end in one panel and exit code 1, without a traceback."""
    for name, value in {"ALPHATRADE_HOME": str(home), **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["alphatrade", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    output = capsys.readouterr()
    assert ended.value.code == 1, output
    assert "Traceback" not in output.err
    assert output.err.count("╭") == 1, output.err
    return Refused(ended.value.code, output.err)


def test_unknown_mode(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refuse(monkeypatch, capsys, tmp_path, "trade", "--mode", "moon")
    assert "unknown mode 'moon': expected one of sim, paper, live" in said.text
    assert list(tmp_path.iterdir()) == []


def test_unknown_mode_in_the_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refuse(monkeypatch, capsys, tmp_path, "trade", ALPHATRADE_MODE="moon")
    assert "mode: Input should be 'sim', 'paper' or 'live'" in said.text


def test_misspelt_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refuse(monkeypatch, capsys, tmp_path, "trade", ALPHATRADE_MAKRET__SOURCE="files")
    assert "ALPHATRADE_MAKRET__SOURCE matches no setting" in said.text


def test_no_promoted_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refuse(monkeypatch, capsys, tmp_path, "trade")
    assert "expected a model 'alphatrade' with the alias 'champion' in MLflow, found none; train and promote one first" in said.text
    assert not (tmp_path / "mlflow" / "mlflow.db").exists()
    assert not list((tmp_path / "journals").glob("*"))


def test_paper_without_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    """The sample's model may not trade an account at all, so the refusal of that is set aside to see the next one."""
    said = refuse(monkeypatch, capsys, own_home, "trade", "--mode", "paper")
    assert "real" in said.text
    assert "sample" in said.text
    monkeypatch.setattr(trader, "check_real_data", lambda *_: None)
    said = refuse(monkeypatch, capsys, own_home, "trade", "--mode", "paper")
    assert "mode 'paper' needs Alpaca keys, missing: API key and secret key" in said.text
    assert not list((own_home / "journals").glob("paper-*"))


@pytest.mark.parametrize(
    ("url", "told"),
    [("", "trading URL is empty: mode 'paper' expects https://<paper-api.alpaca.markets>"), ("https://api.alpaca.markets", "is foreign")],
    ids=["empty", "the live host"],
)
def test_paper_url(url: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    monkeypatch.setattr(trader, "check_real_data", lambda *_: None)
    said = refuse(monkeypatch, capsys, own_home, "trade", "--mode", "paper", ALPHATRADE_ALPACA__PAPER_URL=url, **KEYS)
    assert told in said.text
    assert "very-secret-value" not in said.text
    assert not list((own_home / "journals").glob("paper-*"))


def test_real_money_with_a_paper_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    said = refuse(monkeypatch, capsys, own_home, "trade", "--mode", "live", **KEYS)
    assert "passed the live gate, found version 1 with paper" in said.text


def test_second_session(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    with SessionLock(own_home / "live" / "sim.lock", "the-first-run"):
        said = refuse(monkeypatch, capsys, own_home, "trade")
        assert f"a live session already runs (process {os.getpid()}, run the-first-run)" in said.text
    assert not list((own_home / "journals").glob("sim-*"))


@pytest.mark.parametrize("name", ["model.cbm", "sizing.json", "manifest.json"])
def test_tampered_bundle(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    settings = settings_of(own_home)
    champion = tracking.registry(settings).champion()
    assert champion is not None
    path = settings.folders.bundles / champion.tags["bundle_hash"][:16] / name
    path.chmod(0o644)
    content = path.read_bytes()
    changed = json.dumps(json.loads(content) | {"added": 1}).encode() if name.endswith(".json") else content[:-1] + bytes([content[-1] ^ 1])
    path.write_bytes(changed)
    said = refuse(monkeypatch, capsys, own_home, "trade")
    assert f"model bundle refused: {name}" in said.text
    assert not list((own_home / "journals").glob("sim-*"))
    assert trader.running_session(settings) == ""


def test_files_source_without_a_path(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refuse(monkeypatch, capsys, tmp_path, "trade", ALPHATRADE_MARKET__SOURCE="files")
    assert "set ALPHATRADE_MARKET__FILES__PATH" in said.text


@pytest.mark.parametrize("command", [("stop",), ("journal", "show"), ("explain", "AAPL-x")], ids=lambda command: command[0])
def test_nothing_to_talk_to(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = refuse(monkeypatch, capsys, tmp_path, *command)
    assert "no sim session runs" in said.text or "no journal of mode sim" in said.text


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only errors made for people are turned into a panel; anything else must stay loud."""

    def broken() -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_settings", broken)
    monkeypatch.setenv("ALPHATRADE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["alphatrade", "stop"])
    with pytest.raises(ZeroDivisionError):
        cli.main()
