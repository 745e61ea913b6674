"""`alphatrade leaks` with settings applied: which bars are probed, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from alphatrade_pipelines.market import Timeframe


@dataclass(frozen=True, slots=True)
class BarFile:
    """A file of bars to probe: long form with a symbol column, time stamps are bar starts."""

    path: Path
    timeframe: str
    timezone: str
    time_column: str


@dataclass(frozen=True, slots=True)
class LeakHunt:
    """Tables to show, and why it failed: empty when nothing leaks and the detector is good enough."""

    tables: tuple[Any, ...]
    problems: tuple[str, ...]


def hunt_leaks(
    settings: Settings, file: BarFile | None, size: tuple[int, int], thorough: bool, planted: bool, tell: Callable[[str], None]
) -> LeakHunt:
    """Probe the house on the latest ``size`` (time stamps, symbols) of a file, of the bar store, or of the configured source."""
    from alphatrade_pipelines.leaks.arena import build_arena, recent
    from alphatrade_pipelines.leaks.house import audit_house
    from alphatrade_pipelines.leaks.render import alarm_table, score_table
    from alphatrade_pipelines.leaks.score import mutation_score

    name, timeframe, bars = _bars_to_probe(settings, file)
    chosen = recent(bars, *size)
    tell(f"{name}: probing {len(chosen)} of {len(bars)} {timeframe} bars")
    reports = audit_house(chosen, timeframe, thorough=thorough, progress=lambda report: tell(f"  {report}"))
    problems = [f"{report.subject}: {len(report.alarms)} alarms" for report in reports if report.alarms]
    problems += [f"{report.subject}: nothing could be compared" for report in reports if not report.values_checked]
    tables: list[Any] = [alarm_table(reports)] if any(report.alarms for report in reports) else []
    if planted:
        score = mutation_score([build_arena(name, chosen)], thorough=thorough)
        tables.append(score_table(score))
        problems += [f"missed: {one}" for one in score.missed if not score.passed]
        problems += [f"false alarm: {one}" for one in score.false_alarms]
    return LeakHunt(tuple(tables), tuple(problems))


def _bars_to_probe(settings: Settings, file: BarFile | None) -> tuple[str, Timeframe, pd.DataFrame]:
    from alphatrade_pipelines.market import FilesConfig, FilesSource, Timeframe

    if file is not None:
        timeframe = Timeframe.parse(file.timeframe)
        columns = {"timestamp": file.time_column} if file.time_column != "timestamp" else {}
        zone = file.timezone or None
        config = FilesConfig(file.path, timeframe, "symbol_column", columns=columns, timezone=zone, off_session="drop")
        return file.path.stem, timeframe, FilesSource(config).fetch()
    store, timeframe = bootstrap.bar_store(settings), bootstrap.timeframe(settings)
    if store.exists:
        return settings.market.source, timeframe, store.read(settings.market.symbols)
    start, end = bootstrap.ingest_span(settings)
    return settings.market.source, timeframe, bootstrap.bar_source(settings).fetch(settings.market.symbols, start, end)
