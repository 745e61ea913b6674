"""Whether a version becomes the champion: what the gate is told, what it decides, and the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alphatrade_pipelines.research import tracking
from alphatrade_pipelines.settings import Settings, project_root

if TYPE_CHECKING:
    import pandas as pd

    from alphatrade_pipelines.models.gate import GateReport, GateThresholds, Profile


@dataclass(frozen=True, slots=True)
class Decision:
    """What the promotion gate said: a report per profile, the profile passed (empty = refused), who was champion and who is now."""

    reports: tuple[GateReport, ...]
    profile: str
    version: str
    before: str
    champion: str

    @property
    def headline(self) -> str:
        """The decision in one sentence, with its reasons."""
        if self.profile and self.champion != self.version:
            real = "; ".join(line for report in self.reports if not report.passed for line in report.failures)
            return f"version {self.version} passed only the {self.profile} gate; champion stays {self.champion}, which passed more: {real}"
        if self.profile:
            over = f" after version {self.before}" if self.before and self.before != self.version else ""
            weaker = [line for report in self.reports if not report.passed for line in report.failures]
            return f"version {self.version} passed the {self.profile} gate and is champion{over}" + (
                f"; not for real money: {'; '.join(weaker)}" if weaker else ""
            )
        why = "; ".join(self.reports[0].failures)
        return f"version {self.version} was refused; champion stays {self.champion or 'nobody'}: {why}"

    def to_markdown(self) -> str:
        """The headline and every criterion of every profile."""
        return "\n\n".join([self.headline, *(report.to_markdown() for report in self.reports)])

    def to_json(self) -> str:
        """The same for machines."""
        facts = {"version": self.version, "profile": self.profile, "before": self.before, "champion": self.champion}
        return json.dumps({**facts, "reports": [json.loads(report.to_json()) for report in self.reports]}, indent=2)


def gate_thresholds() -> GateThresholds:
    """The gate's numbers: ``mlflow/gate.toml`` of the checkout where there is one, else the defaults."""
    from alphatrade_pipelines.models.gate import GateThresholds

    path = project_root() / "mlflow" / "gate.toml"
    return GateThresholds.load(path) if path.exists() else GateThresholds()


def evaluate_candidate(
    settings: Settings, version: str, metrics: Mapping[str, float], oof: pd.DataFrame, leak_free: bool
) -> dict[str, float]:
    """Everything the gate wants to know that training alone does not: the leak probe, and the champion, if another, on the same rows."""
    from alphatrade_pipelines.models.evaluation import compare_predictions

    models = tracking.registry(settings)
    champion = models.champion()
    compared = compare_predictions(oof, models.out_of_fold(champion)) if champion and champion.version != version else {}
    return {**metrics, "no_look_ahead": float(leak_free), **compared}


def decide_promotion(settings: Settings, version: str, metrics: dict[str, float], by: str = "") -> Decision:
    """Judge a version for both profiles and promote it by the strongest it passes; a refused version leaves the champion alone, and so does
    one that passed a weaker profile than the champion holds.

    The decision is attached to the version's MLflow run (``decision/``) and tagged on it. ``by`` goes into the trail of champions.
    """
    from alphatrade_pipelines.models.gate import PROFILES, evaluate_gate

    models = tracking.registry(settings)
    models.note_outside_move(by or "the promotion gate")
    before = models.champion()
    reports = tuple(evaluate_gate(metrics, profile, gate_thresholds()) for profile in PROFILES)
    passed = [report for report in reports if report.passed]
    for report in reports:
        models.record_report(version, report)
    # a version good enough for paper only must not take the place of one that real money follows: the next live session would find none
    weaker = bool(passed and before and before.profile and PROFILES.index(passed[-1].profile) < PROFILES.index(_profile(before.profile)))
    if passed and not weaker:
        models.promote(version, passed[-1], by)
    champion = models.champion()
    decision = Decision(
        reports, passed[-1].profile if passed else "", version, before.version if before else "", champion.version if champion else ""
    )
    models.record_decision(version, decision.headline, decision.to_markdown(), decision.to_json())
    return decision


def rollback_champion(settings: Settings, reason: str, by: str = "") -> str:
    """Make the previous champion champion again; returns its version. Raises ``NoPromotedModelError`` without one."""
    return tracking.registry(settings).rollback(reason, by).version


def _profile(name: str) -> Profile:
    return "live" if name == "live" else "paper"
