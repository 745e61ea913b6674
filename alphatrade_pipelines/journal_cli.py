"""`alphatrade journal …`: look at, check, replay and export the journal of an account. Nothing here writes to it."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from alphatrade_pipelines.journal import Filter, JournalReading

journal_app = typer.Typer(no_args_is_help=True, help="Look at, check, replay and export the append-only journal of an account.")
console = Console()
errors = Console(stderr=True)
_PARQUET_ROWS = 50_000

Place = Annotated[Path | None, typer.Option("--journal", help="journal file; default: the newest one of the mode in force")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help="an event type, e.g. OrderIntended; may be given several times")]
Symbol = Annotated[str, typer.Option(help="one symbol")]
Since = Annotated[str, typer.Option(help="from this time on (ISO 8601; UTC unless an offset is given)")]
Until = Annotated[str, typer.Option(help="up to this time")]
Containing = Annotated[str, typer.Option("--text", help="only events that contain this text, e.g. a client order id")]
FromSeq = Annotated[int, typer.Option(min=1, help="first sequence number")]
ToSeq = Annotated[int | None, typer.Option(min=1, help="last sequence number; default: all")]


@journal_app.command("show")
def show(
    journal: Place = None,
    last: Annotated[int, typer.Option(min=0, help="newest events to show; 0 = all")] = 50,
    kind: Kinds = None,
    symbol: Symbol = "",
    since: Since = "",
    until: Until = "",
    text: Containing = "",
    from_seq: FromSeq = 1,
) -> None:
    """List events of a journal, oldest first."""
    from alphatrade_pipelines.journal import show_events
    from alphatrade_pipelines.trading.codec import to_plain

    wanted = _filter(kind, symbol, since, until, text)
    with _reading(journal) as reader:
        found = show_events(reader, wanted, last or None, from_seq)
        where, total = reader.where, len(reader)
    table = Table(title=f"{where}: {len(found)} of {total} events", title_justify="left", expand=console.is_terminal)
    for name, style in (("seq", "dim"), ("time (UTC)", ""), ("event", "bold"), ("content", "")):
        table.add_column(name, style=style, no_wrap=name != "content", overflow="fold", justify="right" if name == "seq" else "left")
    for shown in found:
        table.add_row(str(shown.seq), f"{shown.at:%Y-%m-%d %H:%M:%S}", shown.kind, Text(_content(to_plain(shown.event))))
    console.print(table)


@journal_app.command("verify")
def verify(journal: Place = None) -> None:
    """Check every row of a journal: numbers, contents, hash chain, across all segments."""
    from alphatrade_pipelines import bootstrap
    from alphatrade_pipelines.journal import verify_journal

    place = _place(journal)
    if place.name == bootstrap.REDIS_NOTE:
        with _reading(place) as reader:
            checked = reader.verify()
    else:
        checked = verify_journal(place)  # also says what is wrong with a file that is no journal at all
    if not checked.sound:
        _fail("journal damaged", f"{checked.where}: {checked.problem}")
    console.print(f"[green]sound[/]: {checked.events} events, head {checked.head[:16]}, {checked.where}", soft_wrap=True)


@journal_app.command("replay")
def replay(journal: Place = None, to_seq: ToSeq = None) -> None:
    """Rebuild the state from the first event on, print what it comes to, and compare it with the snapshots on the way."""
    from alphatrade_pipelines.journal.replaying import replay as run

    with _reading(journal) as reader:
        if to_seq is not None and to_seq > len(reader):
            raise typer.BadParameter(f"the journal ends with event {len(reader)}, was {to_seq}", param_hint="--to-seq")
        result = run(reader, to_seq, *_memory())
        where = reader.where
    state, summary = result.parts["core"], result.parts["summary"]
    held = ", ".join(f"{position.qty:f} {symbol}" for symbol, position in sorted(state.positions.items())) or "flat"
    table = Table(title=where, title_justify="left", show_header=False)
    for name, value in (
        ("events", f"{result.link.seq} in {result.seconds:.2f} s ({result.link.seq / max(result.seconds, 1e-9):,.0f} events/s)"),
        ("time reached", str(state.now)),
        ("last run", result.previous.headline),
        ("state", f"{state.trading}{f': {state.halted}' if state.halted else ''}"),
        ("positions", held),
        ("orders", f"{len(state.orders)}, of which {sum(map(len, state.live.values()))} may still act at the broker"),
        ("exits under way", ", ".join(sorted(state.exits)) or "none"),
        ("fills", str(len(summary.fills))),
        ("realized P&L", f"{state.realized:,.2f}"),
        ("chain head", result.link.hash),
        ("fingerprint", state.fingerprint()),
    ):
        table.add_row(name, Text(value))
    for compared in result.snapshots:
        table.add_row(f"snapshot {compared.seq}", Text(compared.verdict, style="green" if compared.equal else "yellow"))
    console.print(table)
    if any(compared.wrong for compared in result.snapshots):
        _fail("snapshot", "a snapshot of this very release differs from the replay: delete the snapshot files and report this")


@journal_app.command("export")
def export(
    output: Annotated[Path, typer.Argument(help="a .jsonl or .parquet file, or - for JSON lines on standard output")],
    journal: Place = None,
    kind: Kinds = None,
    symbol: Symbol = "",
    since: Since = "",
    until: Until = "",
    text: Containing = "",
    from_seq: FromSeq = 1,
    overwrite: Annotated[bool, typer.Option(help="replace an existing file")] = False,
) -> None:
    """Write events to a file: one JSON object a line (seq, hash, type, at, data), or Parquet (seq, at, type, symbol, body, hash)."""
    wanted = _filter(kind, symbol, since, until, text)
    if str(output) == "-":
        with _reading(journal) as reader:
            _write_lines(reader, wanted, from_seq, sys.stdout)
        return
    writers = {".jsonl": _export_lines, ".parquet": _export_parquet}
    writer = writers.get(output.suffix)
    if writer is None:
        raise typer.BadParameter(f"expected a name ending in .jsonl or .parquet, was {output.name!r}", param_hint="OUTPUT")
    if output.exists() and not overwrite:
        raise typer.BadParameter(f"{output} exists: choose another name, or --overwrite", param_hint="OUTPUT")
    if not output.parent.is_dir():
        raise typer.BadParameter(f"the folder {output.parent} does not exist", param_hint="OUTPUT")
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with _reading(journal) as reader:
            count = writer(reader, wanted, from_seq, temporary)
        os.replace(temporary, output)
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written: {error.strerror or error}", param_hint="OUTPUT") from error
    finally:
        temporary.unlink(missing_ok=True)
    console.print(f"{count} events written to {output}", soft_wrap=True)


def _records(reader: JournalReading, wanted: Filter, from_seq: int) -> Iterator[tuple[Any, Any]]:
    """Rows to export, each checked against the one before it. Raises JournalDamagedError: a changed row is not handed out as the truth."""
    from alphatrade_pipelines.journal.chain import START, Link, checked_events

    before = next(reader.rows(from_seq - 1, from_seq - 1), None) if from_seq > 1 else None
    if before is None and from_seq > 1:  # its segment is lost: the first row there is has nothing to be checked against
        before = next(reader.rows(from_seq), None)
    after = Link(before.seq, before.hash) if before is not None else START
    for row, event in checked_events(reader.rows(after.seq + 1), after):
        if wanted.admits(event):
            yield row, event


def _write_lines(reader: JournalReading, wanted: Filter, from_seq: int, target: TextIO) -> int:
    count = 0
    for row, event in _records(reader, wanted, from_seq):
        line = {"seq": row.seq, "hash": row.hash, "at": event.at.isoformat(), **json.loads(row.body)}
        target.write(json.dumps(line, separators=(",", ":")) + "\n")
        count += 1
    return count


def _export_lines(reader: JournalReading, wanted: Filter, from_seq: int, path: Path) -> int:
    with path.open("w", encoding="utf-8") as target:
        return _write_lines(reader, wanted, from_seq, target)


def _export_parquet(reader: JournalReading, wanted: Filter, from_seq: int, path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from alphatrade_pipelines.journal import symbol_of

    kinds = {"seq": pa.int64(), "at": pa.timestamp("us", tz="UTC"), "type": pa.string(), "symbol": pa.string()}
    schema = pa.schema(list({**kinds, "body": pa.string(), "hash": pa.string()}.items()))
    count, waiting = 0, list[dict[str, Any]]()
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        for row, event in _records(reader, wanted, from_seq):
            values = (row.seq, event.at, type(event).__name__, symbol_of(event), row.body, row.hash)
            waiting.append(dict(zip(schema.names, values, strict=True)))
            count += 1
            if len(waiting) >= _PARQUET_ROWS:
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                waiting.clear()
        writer.write_table(pa.Table.from_pylist(waiting, schema))
    return count


@contextmanager
def _reading(place: Path | None) -> Iterator[JournalReading]:
    from alphatrade_pipelines import bootstrap
    from alphatrade_pipelines.settings import load_settings

    with bootstrap.journal_reader(load_settings(), _place(place)) as reader:
        yield reader


def _place(given: Path | None) -> Path:
    """The journal a person means. Raises SetupError when there is none yet."""
    from alphatrade_pipelines import bootstrap
    from alphatrade_pipelines.journal.segment import find_segments
    from alphatrade_pipelines.research import past_sessions
    from alphatrade_pipelines.settings import load_settings

    if given is None:
        return past_sessions.newest_journal(load_settings())
    if given.name != bootstrap.REDIS_NOTE and not find_segments(given):
        raise typer.BadParameter(f"expected a journal at {given}, found nothing", param_hint="--journal")
    return given


def _memory() -> tuple[Callable[[], Any], Callable[[Any, Any], None]]:
    from alphatrade_pipelines.live.memory import blank, fold

    return blank, fold


def _content(fields: dict[str, Any]) -> str:
    """An event's fields for the eye: its time has a column of its own, what is empty is left out."""
    shown = {name: value for name, value in fields.items() if name != "at" and value not in (None, "", [])}
    return " ".join(f"{name}={_short(value)}" for name, value in shown.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_content(value)})"
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    return str(value).removesuffix("+00:00")


def _filter(kinds: list[str] | None, symbol: str, since: str, until: str, text: str) -> Filter:
    from alphatrade_pipelines.journal import Filter
    from alphatrade_pipelines.trading.codec import EVENT_TYPES

    for kind in kinds or ():
        if kind not in EVENT_TYPES:
            near = difflib.get_close_matches(kind, EVENT_TYPES, 3, 0.4)
            hint = f"; did you mean {' or '.join(near)}?" if near else f": expected one of {', '.join(sorted(EVENT_TYPES))}"
            raise typer.BadParameter(f"there is no event type {kind!r}{hint}", param_hint="--kind")
    begin, end = _moment("--since", since), _moment("--until", until)
    if begin and end and begin > end:
        raise typer.BadParameter(f"--since {since} lies after --until {until}", param_hint="--since")
    return Filter(frozenset(kinds or ()), symbol, begin, end, text)


def _moment(option: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"expected a time like 2013-01-02 or 2013-01-02T14:30, was {text!r}", param_hint=option) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _fail(title: str, details: str) -> None:
    errors.print(Panel(details, title=title, border_style="red", expand=False))
    raise typer.Exit(1)
