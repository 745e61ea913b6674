"""`alphatrade journal`: what a person sees, and what bad input gets: one clear message and exit code 2, never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from alphatrade_pipelines.cli import app
from alphatrade_pipelines.journal import JournalDamagedError, JournalError, Snapshotter, SqliteJournal
from alphatrade_pipelines.journal.chain import row_hash
from alphatrade_pipelines.live.memory import remember
from alphatrade_pipelines.trading.codec import decode_event, encode_event
from tests.journal.stories import RedisBackend, SqliteBackend
from tests.journal.test_contract import _push
from tests.journal.test_full_disk import fill, small_disk  # noqa: F401 - a fixture
from tests.journal.test_snapshots import EVENTS
from tests.tools.redis_server import RedisServer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "journal.sqlite"
    with SqliteJournal(place) as journal:
        journal.append_many(EVENTS[:50])
        Snapshotter(journal).take(remember(journal).parts)
        journal.append_many(EVENTS[50:])
    return place


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["journal", *map(str, words)], env={"COLUMNS": "300"})


def test_show_lists_and_filters(path: Path) -> None:
    done = run("show", "--journal", path)
    assert done.exit_code == 0, done.output
    assert f"50 of {len(EVENTS)} events" in done.output
    done = run("show", "--journal", path, "--kind", "OrderIntended", "--symbol", "AAPL", "--last", 0)
    expected = [e for e in EVENTS if type(e).__name__ == "OrderIntended" and e.request.symbol == "AAPL"]  # type: ignore[union-attr]
    assert done.output.count("OrderIntended") == len(expected) > 0
    assert "SessionStarted" not in done.output
    cid = expected[0].request.client_order_id  # type: ignore[union-attr]
    assert f"{sum(cid in repr(e) for e in EVENTS)} of" in run("show", "--journal", path, "--text", cid, "--last", 0).output
    at = EVENTS[30].at
    since = sum(event.at >= at for event in EVENTS)
    assert f"{since} of" in run("show", "--journal", path, "--since", at.isoformat(), "--last", 0).output
    assert "1 of" in run("show", "--journal", path, "--from-seq", len(EVENTS)).output


@pytest.mark.parametrize("command", [("show",), ("verify",), ("replay",), ("export", "x.jsonl")])
def test_a_missing_journal_is_said(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(*command, "--journal", tmp_path / "nothing.sqlite")
    assert done.exit_code == 2
    assert "expected a journal at" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "--kind", "OrderIntend"), "did you mean OrderIntended"),
        (("show", "--kind", "Nonsense"), "there is no event type 'Nonsense'"),
        (("show", "--since", "yesterday"), "expected a time like"),
        (("show", "--since", "2014-01-01", "--until", "2013-01-01"), "lies after"),
        (("show", "--last", "-1"), "greater than or equal to 0"),
        (("show", "--from-seq", "0"), "greater than or equal to 1"),
        (("replay", "--to-seq", "9999"), "the journal ends with event"),
        (("replay", "--to-seq", "none"), "valid integer"),
        (("export", "events.csv"), "ending in .jsonl or .parquet"),
        (("export", "/no/such/folder/events.jsonl"), "does not exist"),
        (("export", "journal.sqlite.jsonl", "--until", "13"), "expected a time like"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_code_2(path: Path, words: tuple[str, ...], said: str) -> None:
    done = run(*words, "--journal", path)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
    assert "Traceback" not in done.output


def test_verify_says_sound_and_names_a_bad_row(path: Path) -> None:
    done = run("verify", "--journal", path)
    assert done.exit_code == 0
    assert f"sound: {len(EVENTS)} events" in done.output
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    done = run("verify", "--journal", path)
    assert done.exit_code == 1
    assert "journal damaged" in done.output
    path.write_text("no journal at all")
    assert run("verify", "--journal", path).exit_code == 1


def test_replay_rebuilds_the_state_and_compares_it_with_the_snapshot(path: Path) -> None:
    with SqliteJournal(path) as journal:
        state = remember(journal).parts["core"]
    done = run("replay", "--journal", path)
    assert done.exit_code == 0, done.output
    assert state.fingerprint() in done.output
    assert "equal to the replay" in done.output
    early = run("replay", "--journal", path, "--to-seq", 10)
    assert state.fingerprint() not in early.output
    assert "snapshot" not in early.output
    snapshot = path.with_name(path.name + ".snapshot-50")
    record = json.loads(snapshot.read_text())
    snapshot.write_text(json.dumps(record | {"code": "older"}))
    assert "equal to the replay" in run("replay", "--journal", path).output, "another release, the same outcome"
    record["parts"]["core"]["halted"] = "edited"
    snapshot.write_text(json.dumps(record | {"fingerprints": {**record["fingerprints"], "core": "0" * 64}}))
    assert "differs, and is not used" in run("replay", "--journal", path).output


def test_export_gives_back_every_event(path: Path, tmp_path: Path) -> None:
    lines, table = tmp_path / "events.jsonl", tmp_path / "events.parquet"
    assert run("export", lines, "--journal", path).exit_code == 0
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [record["seq"] for record in records] == list(range(1, len(EVENTS) + 1))
    again = [decode_event(json.dumps({name: record[name] for name in ("v", "type", "data")})) for record in records]
    assert again == EVENTS
    assert run("export", table, "--journal", path).exit_code == 0
    rows = pq.read_table(table).to_pylist()
    assert [decode_event(row["body"]) for row in rows] == EVENTS
    assert [row["at"] for row in rows] == [event.at for event in EVENTS]
    done = run("export", lines, "--journal", path)
    assert done.exit_code == 2
    assert "--overwrite" in done.output
    assert run("export", lines, "--journal", path, "--overwrite", "--symbol", "IBM").exit_code == 0
    assert 0 < len(lines.read_text().splitlines()) < len(EVENTS)
    piped = run("export", "-", "--journal", path, "--kind", "SessionStarted")
    assert all(json.loads(line)["type"] == "SessionStarted" for line in piped.output.splitlines())


def test_a_damaged_export_leaves_no_half_file(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    done = run("export", tmp_path / "events.jsonl", "--journal", path)
    assert done.exit_code != 0
    assert not list(tmp_path.glob("*jsonl*"))


def test_the_commands_read_redis_when_told_so(redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "home" / "journals" / "sim-cli"
    folder.mkdir(parents=True)
    with RedisBackend(folder, redis_server).open() as journal:
        journal.append_many(EVENTS)
    monkeypatch.setenv("ALPHATRADE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHATRADE_JOURNAL__BACKEND", "redis")
    done = run("verify")
    assert done.exit_code == 1
    monkeypatch.setenv("ALPHATRADE_JOURNAL__REDIS_URL", redis_server.url.get_secret_value())
    done = run("verify")
    assert f"sound: {len(EVENTS)} events" in done.output
    assert f"of {len(EVENTS)} events" in run("show", "--last", 5).output
    assert "fingerprint" in run("replay").output


def hostile(path: Path, seq: int, body: str) -> None:
    backend = SqliteBackend(path.parent)
    backend.path = path
    backend.corrupt(seq, body)


@pytest.mark.parametrize("name", ["events.jsonl", "events.parquet", "-"])
@pytest.mark.parametrize("from_seq", [1, 7, 8, 9])
def test_an_export_never_hands_out_a_changed_row(path: Path, tmp_path: Path, name: str, from_seq: int) -> None:
    """The row is a sound event and only its hash tells: whoever reads the export would take it for the truth."""
    hostile(path, 8, encode_event(EVENTS[7]).replace("AAPL", "IBM") if "AAPL" in encode_event(EVENTS[7]) else encode_event(EVENTS[20]))
    output = name if name == "-" else tmp_path / name
    done = run("export", output, "--journal", path, "--from-seq", from_seq)
    assert done.exit_code == (1 if from_seq <= 8 else 0), "the rows after it are sound"
    assert from_seq > 8 or "row 8 does not match its hash" in str(done.exception)
    assert from_seq > 8 or not list(tmp_path.glob("*events*"))


def test_export_may_begin_anywhere_in_a_sound_journal(path: Path, tmp_path: Path) -> None:
    for first in (1, 2, len(EVENTS), len(EVENTS) + 1):
        done = run("export", tmp_path / f"{first}.jsonl", "--journal", path, "--from-seq", first)
        assert done.exit_code == 0, done.output
        assert len((tmp_path / f"{first}.jsonl").read_text().splitlines()) == len(EVENTS) + 1 - first


def test_an_export_onto_a_full_disk_is_one_message_and_leaves_nothing(small_disk: Path, path: Path) -> None:  # noqa: F811
    fill(small_disk)
    for name in ("events.jsonl", "events.parquet"):
        done = run("export", small_disk / name, "--journal", path)
        assert done.exit_code == 2
        assert "No space left" in " ".join(done.output.replace("│", " ").split())
    assert [item.name for item in small_disk.iterdir()] == ["ballast"]


def test_verify_says_that_the_end_is_missing(path: Path) -> None:
    backend = SqliteBackend(path.parent)
    backend.path = path
    backend.cut(60)
    done = run("verify", "--journal", path)
    assert done.exit_code == 1
    assert f"row {len(EVENTS)} had been acknowledged" in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("change", ["parts", "fingerprints", "head", "list", "deep"])
def test_replay_passes_over_a_hostile_snapshot(path: Path, change: str) -> None:
    snapshot = path.with_name(path.name + ".snapshot-50")
    record = json.loads(snapshot.read_text())
    if change == "parts":
        record = {**record, "parts": {"core": 3}, "fingerprints": {}}
    elif change == "fingerprints":
        record["fingerprints"] = []
    elif change == "head":
        record["head"] = {}
    text = {"list": "[]", "deep": "[" * 100_000}.get(change, json.dumps(record))
    snapshot.write_text(text)
    done = run("replay", "--journal", path)
    assert done.exit_code == 0, done.exception
    assert "not used" in done.output


def test_replay_of_a_journal_that_cannot_be_applied_names_the_row(path: Path) -> None:
    with SqliteJournal(path) as journal:
        body = encode_event(EVENTS[0]).replace('"config":"', '"config":"x')
        _push(journal, len(EVENTS) + 1, body, row_hash(journal.head, len(EVENTS) + 1, body))
    done = run("replay", "--journal", path)
    assert isinstance(done.exception, JournalDamagedError)
    assert f"row {len(EVENTS) + 1} cannot be applied" in str(done.exception)


@pytest.mark.parametrize("command", [("verify",), ("show",), ("replay",), ("export", "-")])
@pytest.mark.parametrize("place", ["folder", "socket", "loop", "journal.sqlite-wal"])
def test_what_is_no_file_is_said(tmp_path: Path, command: tuple[str, ...], place: str) -> None:
    path = tmp_path / place
    if place == "folder":
        path.mkdir()
    elif place == "socket":
        os.mkfifo(path)
    elif place == "loop":
        path.symlink_to(path)
    else:
        path.write_bytes(b"x" * 5000)
    done = run(*command, "--journal", path)
    assert done.exit_code in (1, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit | JournalError), repr(done.exception)
