"""What only a server can do to a journal: die, lose its memory, be configured badly, be taken over, be gone for a while."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from alphatrade_pipelines.journal import JournalError, JournalFencedError, JournalLockedError, JournalWriteError, RunEnd, start_from
from alphatrade_pipelines.journal.redis import RedisConfig, RedisJournal, RedisReader
from alphatrade_pipelines.live.memory import remember
from tests.journal.stories import RedisBackend, price, started
from tests.tools.redis_server import DURABLE, RedisServer


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A server this test may kill."""
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.kill()


def test_kill_9_of_the_server_loses_nothing_acknowledged(own: RedisServer, tmp_path: Path) -> None:
    """Appends go on in this process while the server is killed under it, four times."""
    backend = RedisBackend(tmp_path / "account", own)
    with backend.open() as journal:
        n = 0
        for _ in range(4):
            killer = threading.Timer(0.15, own.kill)
            killer.start()
            acknowledged = len(journal)
            failure = ""
            while not failure:
                try:
                    acknowledged = journal.append(price(n + 1))
                    n += 1
                except JournalWriteError as error:
                    failure = str(error)
            killer.join()
            assert "Cannot append" in failure
            assert len(journal) == acknowledged == n
            own.start()
            time.sleep(1.1)
            journal.append(price(n + 1))  # the very event whose answer was lost, offered again
            n += 1
        assert n > 20
        assert [seq for seq, _ in journal.events()] == list(range(1, n + 1))
        assert [event for _, event in journal.events()] == [price(k) for k in range(1, n + 1)], "none lost, none twice"
        assert journal.verify().sound


def test_an_answer_that_got_lost_is_recognised_when_the_events_are_offered_again(own: RedisServer, tmp_path: Path) -> None:
    backend = RedisBackend(tmp_path / "account", own)
    with backend.open() as journal:
        journal.append(started())
        before = journal.link
        journal.append_many([price(1), price(2)])
        journal._last = before  # as if the answer had never come
        assert journal.append_many([price(1), price(2), price(3)]) == 4
        assert [event for _, event in journal.events()] == [started(), price(1), price(2), price(3)]
        assert journal.verify().sound


def test_a_paused_writer_is_fenced_for_ever(own: RedisServer, tmp_path: Path) -> None:
    backend = RedisBackend(tmp_path / "account", own, lease_s=0.5)
    zombie = backend.open()
    zombie.append(started("first"))
    time.sleep(0.7)  # a long pause: the lease runs out
    with backend.open() as journal:
        assert journal.token == zombie.token + 1
        journal.append(started("second"))
        for _ in range(3):
            with pytest.raises(JournalFencedError, match="another writer took over"):
                zombie.append(price(1))
        with pytest.raises(JournalFencedError):
            zombie.set_aside(zombie.link)
        zombie.close()  # must not give back the lease of the other
        assert journal.append(price(2)) == 3
        assert backend.server.client().get(f"alphatrade:{{{tmp_path.joinpath('account').name}}}:lease") is not None
        assert [event for _, event in journal.events()] == [started("first"), started("second"), price(2)]


def test_a_fenced_writer_stays_fenced_when_the_other_has_ended_without_a_word(own: RedisServer, tmp_path: Path) -> None:
    """Same number of rows, same last hash: only the token tells them apart."""
    backend = RedisBackend(tmp_path / "account", own, lease_s=0.3)
    zombie = backend.open()
    zombie.append(started())
    time.sleep(0.5)
    backend.open().close()
    with pytest.raises(JournalFencedError):
        zombie.append(price(1))


def test_a_lease_that_is_renewed_is_respected_and_names_its_holder(own: RedisServer, tmp_path: Path) -> None:
    backend = RedisBackend(tmp_path / "account", own, lease_s=1.0)
    done = threading.Event()
    with backend.open() as journal:

        def trade() -> None:
            n = 0
            while not done.wait(0.05):
                n += 1
                journal.append(price(n))

        trader = threading.Thread(target=trade)
        trader.start()
        began = time.monotonic()
        with pytest.raises(JournalLockedError, match=f"process {os.getpid()} on "):
            backend.open()
        done.set()
        trader.join()
        assert time.monotonic() - began < 3


def _append_until_killed(url: str, folder: Path, ready: Any) -> None:
    journal = RedisJournal(RedisConfig(SecretStr(url), "account", lease_s=60.0), folder)
    journal.append(started("killed"))
    n = 0
    while True:
        n += 1
        journal.append(price(n))
        if n == 20:
            ready.set()


def test_a_killed_writer_is_replaced_at_once_on_the_same_machine(own: RedisServer, tmp_path: Path) -> None:
    """Its lease of a minute is not waited for: the process is provably gone, and the token fences it anyway."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_append_until_killed, args=(own.url.get_secret_value(), tmp_path / "account", ready))
    writer.start()
    assert ready.wait(60)
    assert writer.pid is not None
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    began = time.monotonic()
    with RedisBackend(tmp_path / "account", own).open() as journal:
        assert time.monotonic() - began < 5
        found = start_from(journal, dict, lambda _p, _e: None).previous
        assert (found.end, found.run_id) == (RunEnd.CRASHED, "killed")
        assert found.events >= 21
        assert [seq for seq, _ in journal.events()] == list(range(1, found.events + 1))


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (("--appendonly", "no"), "appendonly yes, was no"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "appendfsync always, was everysec"),
        ((*DURABLE, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "maxmemory-policy noeviction, was allkeys-lru"),
        ((*DURABLE, "--no-appendfsync-on-rewrite", "yes"), "no-appendfsync-on-rewrite no, was yes"),
        ((*DURABLE, "--rename-command", "CONFIG", ""), "allow CONFIG GET"),
        ((*DURABLE, "--replicaof", "127.0.0.1", "1"), "a master, was a slave"),
    ],
)
def test_a_server_that_is_not_durable_is_refused(tmp_path: Path, options: tuple[str, ...], missing: str) -> None:
    server = RedisServer(tmp_path / "redis", *options).start()
    try:
        with pytest.raises(JournalError, match=missing):
            RedisBackend(tmp_path / "account", server).open()
    finally:
        server.kill()


def test_a_server_that_comes_back_less_durable_is_not_trusted_again(own: RedisServer, tmp_path: Path) -> None:
    with RedisBackend(tmp_path / "account", own).open() as journal:
        journal.append(started())
        own.kill()
        with pytest.raises(JournalWriteError):
            journal.append(price(1))
        own.options = ("--appendonly", "yes", "--appendfsync", "no")
        own.start()
        time.sleep(1.1)
        with pytest.raises(JournalWriteError, match="appendfsync always, was no"):
            journal.append(price(1))
        own.client().config_set("appendfsync", "always")
        time.sleep(1.1)
        assert journal.append(price(1)) == 2


def test_a_server_that_lost_its_memory_under_us_gets_nothing_more(own: RedisServer, tmp_path: Path) -> None:
    """Failed over to an empty or older replica, or flushed by somebody: entries halt, and the next start says DAMAGED."""
    backend = RedisBackend(tmp_path / "account", own)
    with backend.open() as journal:
        journal.append_many([started(), price(1), price(2)])
        own.client().flushall()
        for _ in range(2):
            with pytest.raises(JournalWriteError, match="lost acknowledged events, we are at row 3"):
                journal.append(price(3))
        assert own.client().llen(backend.rows) == 0
    with backend.open() as journal:
        found = start_from(journal, dict, lambda _p, _e: None).previous
        assert found.end is RunEnd.DAMAGED
        assert "row 3 had been acknowledged" in found.detail


def test_rows_lost_under_us_with_the_token_intact_are_noticed_too(own: RedisServer, tmp_path: Path) -> None:
    backend = RedisBackend(tmp_path / "account", own)
    with backend.open() as journal:
        journal.append_many([started(), price(1), price(2)])
        backend.cut(2)
        with pytest.raises(JournalWriteError, match="it has 2 rows"):
            journal.append(price(3))
    backend = RedisBackend(tmp_path / "other", own)
    with backend.open() as journal:
        journal.append_many([started(), price(1)])
        backend.cut(1)
        own.client().rpush(backend.rows, "f" * 64 + "{}")
        with pytest.raises(JournalWriteError, match="row 2 is another one"):
            journal.append(price(3))


def test_a_frozen_server_costs_a_bounded_time_and_then_nothing_until_it_is_looked_at_again(own: RedisServer, tmp_path: Path) -> None:
    config = RedisConfig(own.url, "account", timeout_s=0.3)
    with RedisJournal(config, tmp_path / "account") as journal:
        journal.append(started())
        own.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(JournalWriteError):
                journal.append(price(1))
            assert time.monotonic() - began < 2
            began = time.monotonic()
            for _ in range(50):
                with pytest.raises(JournalWriteError):
                    journal.append(price(1))
            assert time.monotonic() - began < 0.5
        finally:
            own.signal(signal.SIGCONT)
        time.sleep(1.1)
        assert journal.append(price(1)) == 2, "the script the frozen server had received is recognised"
        assert [event for _, event in journal.events()] == [started(), price(1)]


def test_a_server_that_stays_frozen_takes_a_quarter_of_the_time_at_most(own: RedisServer, tmp_path: Path) -> None:
    """A session looks at everything between its appends, exits too: those must not wait for the server every other second."""
    with RedisJournal(RedisConfig(own.url, "account", timeout_s=1.5), tmp_path / "account") as journal:
        journal.append(started())
        own.signal(signal.SIGSTOP)
        try:
            waited, until = 0.0, time.monotonic() + 8
            while (began := time.monotonic()) < until:
                with pytest.raises(JournalWriteError):
                    journal.append(price(1))
                waited += time.monotonic() - began
                time.sleep(0.02)
        finally:
            own.signal(signal.SIGCONT)
        assert waited < 3.5


def test_a_full_server_refuses_and_recovers(own: RedisServer, tmp_path: Path) -> None:
    with RedisBackend(tmp_path / "account", own).open() as journal:
        journal.append(started())
        own.client().config_set("maxmemory", "100kb")
        with pytest.raises(JournalWriteError, match="OOM"):
            journal.append(price(1))
        own.client().config_set("maxmemory", "0")
        time.sleep(1.1)
        assert journal.append(price(1)) == 2


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    config = RedisConfig(SecretStr("redis://somebody:hunter2@127.0.0.1:1/3"), "account")
    with pytest.raises(JournalError) as found:
        RedisJournal(config, tmp_path)
    for text in (str(found.value), repr(found.value), repr(config), repr(found.value.__cause__)):
        assert "hunter2" not in text
        assert "somebody" not in text
    assert "127.0.0.1:1/3" in str(found.value)
    with pytest.raises(JournalError, match="redis://host"):
        RedisReader(RedisConfig(SecretStr("http://hunter2@nowhere"), "account"))


def test_without_the_package_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(JournalError, match=r"alphatrade\[redis\]"):
        RedisJournal(RedisConfig(SecretStr("redis://127.0.0.1:1"), "account"), tmp_path)


def test_two_writers_with_the_same_token_cannot_both_go_on(own: RedisServer, tmp_path: Path) -> None:
    """The server failed over to a replica that did not know of the first writer yet: the second one is given the same token."""
    backend = RedisBackend(tmp_path / "account", own)
    with backend.open() as journal:
        journal.append(started())
    first = backend.open()
    key = backend.rows.removesuffix("rows")
    own.client().set(key + "fence", first.token - 1)
    own.client().delete(key + "lease")
    with backend.open() as second:
        assert second.token == first.token
        with pytest.raises(JournalFencedError):
            first.append(price(1))
        assert second.append(started("second")) == 2
        with pytest.raises(JournalFencedError):
            first.append(price(1))
        first.close()
        assert second.append(price(2)) == 3


def test_a_server_made_less_durable_under_a_session_is_noticed_in_time(
    own: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CONFIG SET appendfsync everysec`, meant well: answers no longer mean that anything is durable."""
    with RedisBackend(tmp_path / "account", own).open() as journal:
        journal.append(started())
        own.client().config_set("appendfsync", "everysec")
        clock = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 61)
        with pytest.raises(JournalWriteError, match="appendfsync always, was everysec"):
            journal.append(price(1))
        own.client().config_set("appendfsync", "always")
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 63)
        assert journal.append(price(1)) == 2


@pytest.mark.parametrize("how", ["replica", "misconf", "no password", "gone user", "paused writes"])
def test_every_refusal_of_a_server_is_a_trouble_that_may_pass(own: RedisServer, tmp_path: Path, how: str) -> None:
    config = RedisConfig(own.url, "account", timeout_s=0.3)
    with RedisJournal(config, tmp_path / "account") as journal:
        journal.append(started())
        admin = own.client()
        if how == "replica":
            admin.replicaof("127.0.0.1", 1)
        elif how == "misconf":
            admin.config_set("min-replicas-to-write", 1)
        elif how == "no password":
            admin.config_set("requirepass", "x")
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        elif how == "gone user":
            admin.execute_command("ACL", "SETUSER", "default", "-evalsha", "-eval")
        else:
            admin.execute_command("CLIENT", "PAUSE", "2000", "WRITE")
        with pytest.raises(JournalWriteError):
            journal.append(price(1))
        if how == "replica":
            admin.replicaof("NO", "ONE")
        elif how == "misconf":
            admin.config_set("min-replicas-to-write", 0)
        elif how == "no password":
            admin.config_set("requirepass", "")
        elif how == "gone user":
            admin.execute_command("ACL", "SETUSER", "default", "+evalsha", "+eval")
        else:
            admin.execute_command("CLIENT", "UNPAUSE")
        time.sleep(1.1)
        assert journal.append(price(1)) == 2
        assert [event for _, event in journal.events()] == [started(), price(1)]


class Torn:
    """A wire between writer and server that breaks after so many bytes, in one direction."""

    def __init__(self, port: int, up: int | None = None, down: int | None = None) -> None:
        self.left = {"up": up, "down": down}
        self.target, self.server = port, socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            behind = socket.create_connection(("127.0.0.1", self.target))
            self.open += [client, behind]
            for one, other, way in ((client, behind, "up"), (behind, client, "down")):
                threading.Thread(target=self._pass, args=(one, other, way), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, way: str) -> None:
        try:
            while data := one.recv(65536):
                left = self.left[way]
                if left is not None:
                    data = data[:left]
                    self.left[way] = left - len(data)
                if data:
                    other.sendall(data)
                if self.left[way] == 0:
                    break
        except OSError:
            pass
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in (self.server, *self.open):
            end.close()


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_connection_cut_at_any_byte_of_an_append_neither_loses_nor_doubles(own: RedisServer, tmp_path: Path, way: str) -> None:
    """Was it written? The writer cannot know; what it offers again must be stored exactly once."""
    wire = Torn(own.port)
    url = SecretStr(f"redis://127.0.0.1:{wire.port}/0")
    with RedisJournal(RedisConfig(url, f"cut-{way}", timeout_s=0.5), tmp_path) as journal:
        journal.append(started())
        n = 0
        for cut in (1, 2, 3, 5, 17, 60, 200, 700, 900) if way == "up" else (1, 2, 3, 4):
            journal._look_at = float("-inf")
            wire.left[way] = cut
            batch = [price(n + 1), price(n + 2), price(n + 3)]
            try:
                journal.append_many(batch)
            except JournalWriteError:
                wire.left[way] = None
                journal._look_at = float("-inf")
                journal.append_many([*batch, price(n + 4)])
                n += 1
            wire.left[way] = None
            n += 3
        assert [event for _, event in journal.events()] == [started(), *(price(k) for k in range(1, n + 1))]
        assert journal.verify().sound
    wire.close()


def test_a_server_restarted_from_an_older_file_is_noticed(own: RedisServer, tmp_path: Path) -> None:
    """Acknowledged, then gone: a restored backup of its folder."""
    backend = RedisBackend(tmp_path / "account", own)
    with backend.open() as journal:
        journal.append_many([started(), price(1)])
        own.kill()
        shutil.copytree(own.folder, tmp_path / "backup")
        own.start()
        time.sleep(1.1)
        with contextlib.suppress(JournalWriteError):
            journal.append(price(2))
        time.sleep(1.1)
        while len(journal) < 4:
            journal.append(price(len(journal)))
        own.kill()
        shutil.rmtree(own.folder)
        shutil.copytree(tmp_path / "backup", own.folder)
        own.start()
        with contextlib.suppress(JournalWriteError):
            journal.append(price(9))
        time.sleep(1.1)
        with pytest.raises(JournalWriteError, match="lost acknowledged events, we are at row 4"):
            journal.append(price(9))
    with backend.open() as journal:
        assert start_from(journal, dict, lambda _p, _e: None).previous.end is RunEnd.DAMAGED


def test_a_hostile_key_among_the_snapshots_blocks_nothing(own: RedisServer, tmp_path: Path) -> None:
    backend = RedisBackend(tmp_path / "account", own)
    with backend.open() as journal:
        journal.append(started())
        own.client().hset(backend.rows.removesuffix("rows") + "snapshots", mapping={"latest": "x", "-1": "[" * 100_000, "²": "x"})
    with backend.open() as journal:
        assert remember(journal).previous.end is RunEnd.CRASHED
        journal.save_snapshot(1, "{}")
        assert next(iter(journal.snapshots())) == (1, "{}")


def test_a_process_number_says_nothing_about_another_machine_of_the_same_name(own: RedisServer, tmp_path: Path) -> None:
    """Two machines that are both called `trader`: the other one's lease is waited for, whatever runs under that number here."""
    backend = RedisBackend(tmp_path / "account", own, lease_s=0.8)
    with backend.open() as journal:
        journal.append(started())
        key = backend.rows.removesuffix("rows") + "lease"
        owner = own.client().get(key).decode()
    host, pid, unique = owner.split("|")
    assert int(pid) == os.getpid()
    dead = subprocess.Popen(["true"])
    dead.wait()
    own.client().set(key, f"{host}|{dead.pid}|{unique}", px=5000)
    began = time.monotonic()
    backend.open().close()
    assert time.monotonic() - began < 1, "the same machine: provably gone"
    own.client().set(key, f"{socket.gethostname()}|{dead.pid}|{unique}", px=1500)
    began = time.monotonic()
    backend.open().close()
    assert time.monotonic() - began > 1
