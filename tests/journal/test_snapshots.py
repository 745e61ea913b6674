"""A snapshot is a cache: a start from it equals a replay from the first row, and one that does not fit in every respect is not used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrade_pipelines.journal import RunEnd, Snapshotter, SqliteJournal, Start
from alphatrade_pipelines.journal.snapshots import fingerprint, newest_snapshot, write_snapshot
from alphatrade_pipelines.live.memory import remember
from alphatrade_pipelines.trading.events import Event
from tests.trading.shell import Shell


def day(seed: int = 3) -> list[Event]:
    """A session with entries, partial fills, an exit, a restart and a stop, as its engine journaled it."""
    shell = Shell(seed=seed)
    for name in ("start", "open_market"):
        getattr(shell, name)()
    for symbol, price in (("AAPL", 100), ("IBM", 200), ("MSFT", 40)):
        shell.price(symbol, price)
        shell.signal(symbol)
    shell.tick()
    shell.price("AAPL", 94)
    shell.reconnect()
    shell.restart()
    shell.tick(60.0)
    shell.signal("AAPL")
    shell.operator("flatten")
    for _ in range(4):
        shell.tick()
    shell.operator("resume")
    shell.stop("protect")
    return [event for _, event in shell.log.events()]


EVENTS = day()


def started(path: Path) -> tuple[SqliteJournal, Start]:
    journal = SqliteJournal(path)
    return journal, remember(journal)


def marks(start: Start) -> dict[str, str]:
    return {name: fingerprint(part) for name, part in start.parts.items()}


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, len(EVENTS)), more=st.integers(0, len(EVENTS)))
def test_snapshot_and_tail_equal_a_replay_from_the_first_row(tmp_path_factory: pytest.TempPathFactory, cut: int, more: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "j.sqlite"
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[:cut])
        Snapshotter(journal).take(remember(journal).parts)
        if EVENTS[cut : cut + more]:
            journal.append_many(EVENTS[cut : cut + more])
    journal, quick = started(path)
    journal.close()
    assert (quick.snapshot_seq, quick.replayed) == (cut, len(EVENTS[cut : cut + more]))
    for snapshot in path.parent.glob("*.snapshot-*"):
        snapshot.unlink()
    journal, slow = started(path)
    journal.close()
    assert (slow.snapshot_seq, slow.replayed) == (0, len(journal))
    assert marks(quick) == marks(slow)
    assert quick.parts == slow.parts
    assert quick.previous == slow.previous
    assert list(quick.parts["core"].orders) == list(slow.parts["core"].orders), "the order of a dictionary is part of the state"


def with_snapshot(path: Path) -> dict[str, Any]:
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[:40])
        Snapshotter(journal).take(remember(journal).parts)
        journal.append_many(EVENTS[40:50])
    (snapshot,) = path.parent.glob("*.snapshot-40")
    content: dict[str, Any] = json.loads(snapshot.read_text())
    return content


def state_changed(record: dict[str, Any]) -> None:
    record["parts"]["core"]["halted"] = "somebody edited this"


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(code="0" * 64),
        lambda record: record.update(schema=1),
        lambda record: record.update(format=9),
        lambda record: record.update(head="0" * 64),
        lambda record: record.update(seq=39),
        lambda record: record["parts"].pop("meter"),
        state_changed,
        lambda record: record["parts"]["core"].pop("orders"),
        lambda record: record["parts"]["core"].update(colour="red"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_passed_over(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "j.sqlite"
    record = with_snapshot(path)
    change(record)
    (tmp_path / "j.sqlite.snapshot-40").write_text(json.dumps(record))
    journal, start = started(path)
    journal.close()
    assert (start.snapshot_seq, start.replayed) == (0, 50)
    assert start.previous.end is RunEnd.CRASHED, "the journal itself is sound"


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\xff\xfe\x00", b"[]"])
def test_a_torn_snapshot_is_passed_over_and_the_older_one_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j.sqlite"
    with_snapshot(path)
    (tmp_path / "j.sqlite.snapshot-50").write_bytes(content)
    journal, start = started(path)
    journal.close()
    assert (start.snapshot_seq, start.replayed) == (40, 10)


def test_a_snapshot_of_rows_that_were_lost_is_not_used(tmp_path: Path) -> None:
    """The journal was replaced by an older copy; the snapshot beside it knows a future that no longer exists."""
    path = tmp_path / "j.sqlite"
    with_snapshot(path)
    record = (tmp_path / "j.sqlite.snapshot-40").read_text()
    path.unlink()
    with SqliteJournal(path) as journal:
        journal.append_many(EVENTS[:20])
    (tmp_path / "j.sqlite.snapshot-40").write_text(record)
    journal, start = started(path)
    journal.close()
    assert (start.snapshot_seq, start.replayed) == (0, 20)


def test_a_snapshot_of_the_core_carries_the_states_own_fingerprint(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "j.sqlite") as journal:
        journal.append_many(EVENTS)
        parts = remember(journal).parts
        journal.save_snapshot(len(journal), write_snapshot(journal.link, parts))
        found = newest_snapshot(journal, {name: type(part) for name, part in parts.items()})
    assert found is not None
    assert found.fingerprints["core"] == parts["core"].fingerprint()
    assert found.parts["core"].fingerprint() == parts["core"].fingerprint()


def test_only_the_newest_two_snapshots_are_kept_and_one_is_taken_when_due(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with SqliteJournal(path) as journal:
        keeper = Snapshotter(journal, every=10)
        taken = []
        for event in EVENTS[:45]:
            journal.append(event)
            if keeper.offer(lambda: remember(journal).parts):
                taken.append(len(journal))
    assert taken == [10, 20, 30, 40]
    assert sorted(p.name for p in tmp_path.glob("*.snapshot-*")) == ["j.sqlite.snapshot-30", "j.sqlite.snapshot-40"]


def test_the_quick_fold_of_a_start_equals_looking_after_every_event(tmp_path: Path) -> None:
    from alphatrade_pipelines.live.memory import blank, fold
    from tests.trading.test_protection import partly_filled

    shell = partly_filled()  # naked until its remainder is cancelled and an OCO is in place
    for _ in range(4):
        shell.tick(4.5)
    events = [event for _, event in shell.log.events()]
    with SqliteJournal(tmp_path / "j.sqlite") as journal:
        journal.append_many(events)
        quick = remember(journal).parts
    slow = blank()
    for event in events:
        fold(slow, event)
    assert {name: quick[name] for name in slow} == slow
    assert slow["meter"].total > 0, "something stood naked, or the comparison shows nothing"
