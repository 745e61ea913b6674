"""Reading a journal in Redis: where it is, its rows, its snapshots, the note of its last head on this machine."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from alphatrade_pipelines.journal.chain import Row, Verification, event_of, verify_rows
from alphatrade_pipelines.journal.errors import JournalDamagedError, JournalError, JournalNewerError
from alphatrade_pipelines.journal.headnote import HeadNote
from alphatrade_pipelines.trading.events import Event

FORMAT = 1
HASH = 64
NOTE = "journal.redis.head"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """Where the journal is. ``account`` names it among others; ``url`` may hold a password and is never shown.

    Seconds: ``lease_s`` without an append until another writer may take over, ``timeout_s`` a call may take.
    """

    url: SecretStr
    account: str
    lease_s: float = 5.0
    timeout_s: float = 2.0


class RedisRows:
    """Reading, the same for the writer and for everybody else."""

    def __init__(self, config: RedisConfig, folder: Path | None) -> None:
        self.config = config
        self._note = HeadNote(folder / NOTE) if folder else None
        self._client: Any = _connect(config)
        self._key = f"alphatrade:{{{config.account}}}:"

    @property
    def where(self) -> str:
        """Host, port and key; no user, no password."""
        found = self._client.connection_pool.connection_kwargs
        place = found.get("path") or f"{found.get('host', 'localhost')}:{found.get('port', 6379)}/{found.get('db', 0)}"
        return f"redis {place} {self._key}rows"

    def rows(self, from_seq: int = 1, to_seq: int | None = None) -> Generator[Row]:
        """Stored rows with ``from_seq <= seq <= to_seq``, in order. Raises JournalDamagedError for what is no row."""
        start = max(from_seq, 1) - 1
        while True:
            stop = start + _PAGE - 1 if to_seq is None else min(start + _PAGE, to_seq) - 1
            page = self._ask("LRANGE", self._key + "rows", start, stop) if stop >= start else []
            for number, raw in enumerate(page, start + 1):
                yield _row(number, raw)
            if len(page) < _PAGE:
                return
            start += _PAGE

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Stored events with sequence numbers >= ``from_seq``, in order."""
        return ((row.seq, event_of(row)) for row in self.rows(max(from_seq, 1)))

    def verify(self) -> Verification:
        """Check every row of the chain, and that its end is not missing."""
        noted = self._note.read_settled() if self._note else None  # before the rows: a session may be appending
        return verify_rows(self.where, self.rows(), noted=noted)

    def snapshots(self) -> Iterator[tuple[int, str]]:
        """Stored snapshots, newest first."""
        for seq in reversed(self._snapshot_seqs()):
            text = self._ask("HGET", self._key + "snapshots", seq)
            if text is not None:
                yield seq, text.decode(errors="replace")

    def _snapshot_seqs(self) -> list[int]:
        return sorted(int(name) for name in self._ask("HKEYS", self._key + "snapshots") if name.isdigit())

    def __len__(self) -> int:
        return int(self._ask("LLEN", self._key + "rows"))

    def close(self) -> None:
        """Let go of the connection. Safe to call twice."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, *command: Any) -> Any:
        import redis

        try:
            return self._client.execute_command(*command)
        except redis.RedisError as error:
            raise JournalError(f"{self.where} cannot be read: {error}") from error

    def _check_format(self) -> None:
        found = self._ask("HGET", self._key + "meta", "format")
        if found is not None and (not found.isdigit() or int(found) > FORMAT):
            raise JournalNewerError(f"{self.where}: expected journal format {FORMAT}, was {found.decode()}: use the newer release")


class RedisReader(RedisRows):
    """Read-only view for reports and people; ``folder`` is where a writer of this machine left its note of the last head, if any.

    Raises JournalError when the account has no journal there.
    """

    def __init__(self, config: RedisConfig, folder: Path | None = None) -> None:
        super().__init__(config, folder)
        self._check_format()
        if not len(self):
            raise JournalError(f"Expected a journal at {self.where}, found nothing; a live or paper session creates it")


def _connect(config: RedisConfig) -> Any:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise JournalError("the Redis journal needs the package redis: pip install 'alphatrade[redis]'") from error
    try:
        return redis.Redis.from_url(
            config.url.get_secret_value(),
            socket_timeout=config.timeout_s,
            socket_connect_timeout=config.timeout_s,
            # a lost answer is not asked for again blindly: the engine goes on without the journal meanwhile
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise JournalError(f"Expected a URL like redis://host:6379/0 for the journal: {error}") from error


def _row(seq: int, raw: bytes) -> Row:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise JournalDamagedError(f"row {seq} is no text: {error}", seq) from error
    return Row(seq, text[HASH:], text[:HASH])
