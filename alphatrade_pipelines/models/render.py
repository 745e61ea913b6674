"""The registry for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alphatrade_pipelines.models.gate import PROFILES, GateReport
from alphatrade_pipelines.models.registry import REPORT_TAG, VersionInfo
from alphatrade_pipelines.models.succession import Crowning

if TYPE_CHECKING:
    from rich.table import Table

TRAIL_SHOWN = 10
_LINEAGE = ("dagster.run_id", "dagster.url", "data_source", "data_hash", "feature_hash", "git_commit", "bundle_hash", "rolled_back")


def reports_of(info: VersionInfo) -> list[GateReport]:
    """The gate's reports on a version, weakest profile first; empty when it was never judged."""
    return [GateReport.from_json(info.tags[f"{REPORT_TAG}.{profile}"]) for profile in PROFILES if f"{REPORT_TAG}.{profile}" in info.tags]


def version_table(versions: Sequence[VersionInfo]) -> Table:
    """Newest first: aliases, the profile passed, and why it passed no more."""
    from rich.table import Table

    table = Table("version", "alias", "profile", "made", "why not more", title=f"model {versions[0].name}", show_lines=False)
    for info in versions:
        failed = [report for report in reports_of(info) if not report.passed]
        judged = bool(reports_of(info))
        why = "; ".join(failed[0].failures) if failed else "" if judged else "not judged yet"
        profile = info.profile or ("refused" if judged else "")
        table.add_row(info.version, " ".join(sorted(info.aliases)), profile, f"{info.created:%Y-%m-%d %H:%M}", why)
    return table


def trail_lines(trail: Sequence[Crowning], unnoted: Crowning | None) -> list[str]:
    """The newest changes of champion, oldest first, and a move that is in no trail yet."""
    lines = [f"  {change}" for change in trail[-TRAIL_SHOWN:]]
    if unnoted is not None:
        lines.append(f"  {unnoted}")
    return ["champions:", *lines] if lines else ["no version has been champion yet"]


def criteria_table(report: GateReport) -> Table:
    """One row a criterion."""
    from rich.table import Table

    table = Table("criterion", "value", "needs", "", title=f"gate {report.profile}: {'passed' if report.passed else 'refused'}")
    for c in report.criteria:
        value = "not measured" if c.value is None else f"{c.value:.4g}"
        table.add_row(c.name, value, f"{c.relation} {c.threshold:g}", "pass" if c.passed else "FAIL")
    return table


def details(info: VersionInfo, metrics: Mapping[str, float], pages: str) -> list[Any]:
    """Everything known of one version; ``pages`` is the address of an MLflow server, or empty."""
    from rich.table import Table

    facts = Table("fact", title=f"{info.name} version {info.version}", show_header=False)
    facts.add_column("value", overflow="fold")
    facts.add_row("aliases", " ".join(sorted(info.aliases)) or "none")
    facts.add_row("profile", info.profile or "none")
    facts.add_row("made", f"{info.created:%Y-%m-%d %H:%M:%S} UTC")
    facts.add_row("MLflow run", info.run_id)
    if pages:
        facts.add_row("MLflow page", f"{pages}/#/models/{info.name}/versions/{info.version}")
    for name in _LINEAGE:
        if info.tags.get(name):
            facts.add_row(name, info.tags[name])
    figures = Table("figure", "value", title="figures of its run")
    for name, value in sorted(metrics.items()):
        figures.add_row(name, f"{value:.6g}")
    return [facts, *(criteria_table(report) for report in reports_of(info)), figures]
