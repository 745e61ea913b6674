"""The journal in Redis, for a fleet: the same rows, the same chain, the same head as in SQLite; one writer by a fenced lease.

Durable means ``appendonly yes`` and ``appendfsync always``, without a pause while the file is rewritten: Redis then answers after fsync.
That is checked at the start, after every failure and once a minute.
Every append is one script on the server that checks the writer's token, the number of rows and the hash of the last one, and only then
pushes, so there is no gap, no second writer and no append onto a server that lost events (failed over to an older replica, flushed).

The token grows with every writer. A writer that was paused longer than its lease finds a greater token, or another writer under its own
(from a server that had forgotten it), and is told so (JournalFencedError): it can never append again and must end. Answers that got lost
do no harm: rows offered again that are there already are recognised by their hash.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from alphatrade_pipelines.journal.chain import START, Link, link_events
from alphatrade_pipelines.journal.errors import (
    JournalError,
    JournalFencedError,
    JournalLockedError,
    JournalWriteError,
)
from alphatrade_pipelines.journal.headnote import HeadNote
from alphatrade_pipelines.journal.port import SetAside
from alphatrade_pipelines.journal.redis_reading import FORMAT, HASH, NOTE, RedisConfig, RedisReader, RedisRows
from alphatrade_pipelines.journal.redis_scripts import SCRIPTS
from alphatrade_pipelines.trading.events import Event

__all__ = ["RedisConfig", "RedisJournal", "RedisReader"]

log = structlog.get_logger(__name__)
SNAPSHOTS_KEPT = 2
_LOOK_AGAIN_S = 1.0  # after a failure, the server is not asked again before this
_LOOK_AGAIN_TIMES = 3.0  # and not before so many times what the failure cost: a frozen server may take a quarter of our time at most
_TRUST_S = 60.0  # for so long the server's settings are believed to be what they were
_POLL_S = 0.1


class RedisJournal(RedisRows):
    """The single writer of one account's journal; also an ``EventLog`` for the engine.

    ``folder`` gets the note of the last head. Raises JournalLockedError while another writer's lease is alive, JournalError for a server
    that is not durable or not there, JournalNewerError for a journal of a newer release.
    """

    def __init__(self, config: RedisConfig, folder: Path) -> None:
        super().__init__(config, None)
        folder.mkdir(parents=True, exist_ok=True)
        self._note: HeadNote = HeadNote(folder / NOTE)
        self._owner = f"{_machine()}|{os.getpid()}|{uuid.uuid4().hex}"
        self._scripts = {name: self._client.register_script(text) for name, text in SCRIPTS.items()}
        self._look_at, self._trusted_until, self._why = float("-inf"), float("-inf"), ""
        self._token = ""
        try:
            self._check_format()
            self._check_durability()
            self._token = self._acquire()
            self._last = self._end()
        except BaseException:
            self.close()
            raise

    # ---- what it says of itself

    @property
    def head(self) -> str:
        """Hash of the last row: it stands for the whole journal."""
        return self._last.hash

    @property
    def link(self) -> Link:
        """The end of the chain."""
        return self._last

    @property
    def token(self) -> int:
        """This writer's place among all writers there ever were."""
        return int(self._token)

    @property
    def trouble(self) -> str:
        """A server either takes events or not."""
        return ""

    def noted(self) -> Link | None:
        """The last head a writer on this machine noted."""
        return self._note.read()

    def damage_found(self) -> tuple[SetAside, ...]:
        """Opening sets nothing aside."""
        return ()

    def __len__(self) -> int:
        return self._last.seq

    # ---- append

    def append(self, event: Event) -> int:
        """Store one event; durable when this returns. Its sequence number, counted from 1."""
        return self.append_many((event,))

    def append_many(self, events: Sequence[Event]) -> int:
        """Store a batch with one fsync: all or nothing. The last sequence number.

        Raises JournalWriteError (server gone, not durable, out of memory, behind us), JournalFencedError (another writer took over).
        """
        rows = link_events(self._last, events)
        if not rows:
            return self._last.seq
        self._look_again()
        packed = [row.hash + row.body for row in rows]
        lease = (self._owner, round(self.config.lease_s * 1000))
        self._run("append", ("fence", "rows", "lease", "meta"), (self._token, *lease, self._last.seq, self._last.hash, *packed))
        self._last = Link(rows[-1].seq, rows[-1].hash)
        self._note.write(self._last)
        return self._last.seq

    def _look_again(self) -> None:
        """Make sure that what answers is durable before it is trusted, now and then anew; after a failure, fail quickly for a moment."""
        now = time.monotonic()
        if self._why and now < self._look_at:
            raise JournalWriteError(self._why)
        if not self._why and now < self._trusted_until:
            return
        try:
            self._check_durability()
        except JournalError as error:
            self._failed(str(error), now)
            raise JournalWriteError(str(error)) from error
        self._why, self._trusted_until = "", now + _TRUST_S

    def _run(self, script: str, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> Any:
        import redis

        began = time.monotonic()
        try:
            return self._scripts[script](keys=[self._key + key for key in keys], args=arguments)
        except redis.ResponseError as error:
            text = str(error)
            if "FENCED" in text:
                raise JournalFencedError(f"{self.where}: {text}: another writer took over; this process must end") from error
            if "REGRESSED" in text:
                text = f"the server lost acknowledged events, we are at row {self._last.seq}: {text.partition('REGRESSED ')[2]}"
            self._failed(f"Cannot append to {self.where}: {text}", began)
            raise JournalWriteError(self._why) from error
        except redis.RedisError as error:
            self._failed(f"Cannot append to {self.where}: {error}", began)
            raise JournalWriteError(self._why) from error

    def _failed(self, why: str, began: float) -> None:
        now = time.monotonic()
        self._look_at, self._why = now + max(_LOOK_AGAIN_S, _LOOK_AGAIN_TIMES * (now - began)), why
        self._client.connection_pool.disconnect()

    # ---- the rest of the port

    def rotate(self) -> bool:
        """Redis keeps one list."""
        return False

    def set_aside(self, link: Link) -> str:
        """Go back to row ``link.seq``: later rows are kept under a key of their own."""
        number = 1
        while self._ask("EXISTS", f"{self._key}damaged:{number}"):
            number += 1
        self._note.write_loss(link.seq, self._last.seq)
        self._run("set_aside", ("fence", "rows", f"damaged:{number}", "meta"), (self._token, self._owner, link.seq))
        self._last = link
        return f"{self._key}damaged:{number}"

    def save_snapshot(self, seq: int, text: str) -> None:
        """Keep a snapshot and the one before it."""
        try:
            self._ask("HSET", self._key + "snapshots", seq, text)
            for old in self._snapshot_seqs()[:-SNAPSHOTS_KEPT]:
                self._ask("HDEL", self._key + "snapshots", old)
        except JournalError as error:
            log.warning("snapshot not kept", error=str(error))

    def close(self) -> None:
        """Give the lease back and let go of the connection. Safe to call twice."""
        import redis

        if self._token:
            try:
                self._scripts["release"](keys=[self._key + "lease"], args=[self._owner])
            except redis.RedisError as error:
                log.warning("lease not given back; it expires by itself", seconds=self.config.lease_s, error=str(error))
            self._token = ""
        self._note.close()
        super().close()

    # ---- opening

    def _end(self) -> Link:
        count = int(self._ask("LLEN", self._key + "rows"))
        if not count:
            return START
        # a last row that is no row is found by whoever reads; until then its place is what counts
        raw = self._ask("LINDEX", self._key + "rows", -1)
        return Link(count, raw[:HASH].decode(errors="replace"))

    def _acquire(self) -> str:
        """Take the lease; wait for one that is not renewed any more. Raises JournalLockedError when it is, naming the holder."""
        keys, dead, shortest = ("lease", "fence", "meta"), "", float("inf")
        while True:
            arguments = (self._owner, round(self.config.lease_s * 1000), dead, FORMAT)
            granted, answer, left_ms = self._run("acquire", keys, arguments)
            text = answer.decode(errors="replace")
            if granted:
                return str(text)
            if left_ms > shortest:
                raise JournalLockedError(f"{self.where} is held by {_person(text)}, who renews it: stop that session first")
            shortest = min(shortest, float(left_ms))
            dead = text if _is_dead(text) else ""
            if not dead:
                time.sleep(_POLL_S)

    def _check_durability(self) -> None:
        """Raises JournalError unless the server answers after fsync, never evicts and is no replica."""
        wanted = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
        try:
            found = {name: self._setting(name) for name in (*wanted, "maxmemory", "maxmemory-policy")}
        except JournalError as error:
            raise JournalError(f"{error}. The journal must read appendonly and appendfsync: allow CONFIG GET for its user") from error
        wrong = [f"{name} {expected}, was {found[name] or 'unknown'}" for name, expected in wanted.items() if found[name] != expected]
        if found["maxmemory"] not in ("0", "") and found["maxmemory-policy"] != "noeviction":
            wrong.append(f"maxmemory-policy noeviction, was {found['maxmemory-policy']}")
        role = self._ask("ROLE")[0]
        if role not in (b"master", "master"):
            wrong.append(f"a master, was a {role.decode() if isinstance(role, bytes) else role}")
        if wrong:
            raise JournalError(
                f"{self.where} is not durable enough for a journal: expected {'; expected '.join(wrong)}. Set it in redis.conf, or by "
                "`redis-cli CONFIG SET appendonly yes` and `CONFIG SET appendfsync always`"
            )

    def _setting(self, name: str) -> str:
        answer = self._ask("CONFIG GET", name)
        pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
        return {_text(key): _text(value) for key, value in pairs}.get(name, "")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _person(owner: str) -> str:
    host, _, rest = owner.partition("|")
    return f"process {rest.partition('|')[0]} on {host}"


def _machine() -> str:
    """This machine, since it was switched on, as a process sees it: containers and namesakes have process numbers of their own."""
    try:
        mark = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8] + f"-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # not Linux: the name must do
        mark = "?"
    return f"{socket.gethostname()}/{mark}"


def _is_dead(owner: str) -> bool:
    """A process of this very machine that no longer exists: its lease need not be waited for."""
    machine, _, rest = owner.partition("|")
    pid = rest.partition("|")[0]
    if machine != _machine() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
