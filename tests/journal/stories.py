"""Events for journal tests, and the two stores behind one handle."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from alphatrade_pipelines.journal import JournalReader, JournalReading, JournalStore, SqliteJournal
from alphatrade_pipelines.journal.redis import RedisConfig, RedisJournal, RedisReader
from alphatrade_pipelines.trading.domain import AccountState, ModelRef
from alphatrade_pipelines.trading.events import PriceSeen, SessionStarted
from tests.tools.redis_server import RedisServer

T0 = datetime(2013, 1, 2, 14, 30, tzinfo=UTC)
ACCOUNT = AccountState("PA1", Decimal("100000"), Decimal("100000"), Decimal("200000"))
MODEL = ModelRef("model", "3", "bundle", "mlflow-run", "dagster-run", "data", "commit", "paper")


def started(run_id: str = "run-1") -> SessionStarted:
    return SessionStarted(T0, run_id, "sim", MODEL, ACCOUNT, "{}")


def price(n: int) -> PriceSeen:
    return PriceSeen(T0 + timedelta(seconds=n), "AAPL", Decimal(n) + Decimal("0.10"))


class Backend(Protocol):
    """One kind of store, as tests handle it."""

    def open(self) -> JournalStore: ...

    def read(self) -> JournalReading: ...

    def corrupt(self, seq: int, body: str) -> None:
        """Change a row's text the way someone with access and no scruples would."""
        ...

    def cut(self, seq: int) -> None:
        """Lose every row after ``seq``, as a failover to an old replica or a restored old copy would."""
        ...


class SqliteBackend:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.sqlite"

    def open(self) -> SqliteJournal:
        return SqliteJournal(self.path)

    def read(self) -> JournalReader:
        return JournalReader(self.path)

    @contextmanager
    def _by_hand(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute("DROP TRIGGER IF EXISTS events_no_update")
            connection.execute("DROP TRIGGER IF EXISTS events_no_delete")
            yield connection
        connection.close()

    def corrupt(self, seq: int, body: str) -> None:
        with self._by_hand() as connection:
            connection.execute("UPDATE events SET body = ? WHERE seq = ?", (body, seq))

    def cut(self, seq: int) -> None:
        with self._by_hand() as connection:
            connection.execute("DELETE FROM events WHERE seq > ?", (seq,))


class RedisBackend:
    def __init__(self, folder: Path, server: RedisServer, lease_s: float = 5.0) -> None:
        self.folder, self.server = folder, server
        self.config = RedisConfig(server.url, folder.name, lease_s=lease_s)
        self.rows = f"alphatrade:{{{folder.name}}}:rows"

    def open(self) -> RedisJournal:
        return RedisJournal(self.config, self.folder)

    def read(self) -> RedisReader:
        return RedisReader(self.config, self.folder)

    def corrupt(self, seq: int, body: str) -> None:
        client = self.server.client()
        old = client.lindex(self.rows, seq - 1)
        client.lset(self.rows, seq - 1, old[:64] + body.encode())

    def cut(self, seq: int) -> None:
        client = self.server.client()
        if seq:
            client.ltrim(self.rows, 0, seq - 1)
        else:
            client.delete(self.rows)
