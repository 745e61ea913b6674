"""Reports for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alphatrade_pipelines.leaks.report import Report
from alphatrade_pipelines.leaks.score import Score

if TYPE_CHECKING:
    from rich.table import Table


def alarm_table(reports: Sequence[Report]) -> Table:
    """Every alarm: what, where, before and after, what to do."""
    from rich.table import Table

    table = Table("what", "probe", "where", "before → after", "what to do", title="What knows too much", show_lines=True)
    for report in reports:
        for alarm in report.alarms:
            count = f" (and {alarm.count - 1} more)" if alarm.count > 1 else ""
            what, where = f"{alarm.subject}: {alarm.column}", f"{alarm.where}{count}\n{alarm.cut}"
            table.add_row(what, alarm.probe, where, f"{alarm.before} → {alarm.after}", alarm.advice)
    return table


def score_table(score: Score) -> Table:
    """Caught and planted by kind and data set, and the probes that found them."""
    from rich.table import Table

    arenas = list(dict.fromkeys(trial.arena for trial in score.trials))
    table = Table("planted leaks", *arenas, "false alarms", title=str(score))
    for kind in score.by_kind():
        trials = [trial for trial in score.trials if trial.plant.kind == kind]
        cells = []
        for arena in arenas:
            own = [trial for trial in trials if trial.arena == arena]
            cells.append(f"{sum(trial.caught for trial in own)} / {len(own)}")
        table.add_row(kind, *cells, str(sum(trial.false_alarm or trial.vacuous for trial in trials)))
    return table
