"""The promotion gate: a pure function from metrics to a readable decision.

Profile ``paper`` asks for integrity: nothing leaks, the same data give the same model, probabilities are calibrated and not worse than the
base rate. Profile ``live`` asks for economics on top: better than the base rate, a deflated Sharpe ratio, a probability of backtest
overfitting, a positive net backtest, and not worse than the champion. A metric nobody measured fails its criterion.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from alphatrade_pipelines.models.errors import ModelDataError

Profile = Literal["paper", "live"]
# a log loss difference below this (nats) is arithmetic, not knowledge
_ROUNDING = 1e-7
PROFILES: tuple[Profile, ...] = ("paper", "live")


@dataclass(frozen=True, slots=True)
class GateThresholds:
    """Numbers of the gate; ``mlflow/gate.toml`` overrides them by name. ``z`` values are one-sided standard scores.

    ``max_ece`` is tolerated whatever the noise level: with a million rows every model is detectably imperfect. ``max_auc`` is an
    alarm, not an aim: on market data anything above it is a leak until shown otherwise. ``min_champion_confidence``: how often the
    candidate must be no worse than the champion when history is drawn anew; at 0.95 a nightly retrain, which knows one day more, would
    never pass.
    """

    min_effective_rows: float = 100.0
    worse_than_base_z: float = -1.645
    better_than_base_z: float = 1.645
    max_ece: float = 0.02
    max_auc: float = 0.75
    min_deflated_sharpe: float = 0.95
    max_pbo: float = 0.2
    min_champion_confidence: float = 0.5
    min_champion_folds_won: float = 0.5

    @classmethod
    def load(cls, path: Path) -> GateThresholds:
        """Read a TOML file with some or all of the names. Raises ModelDataError for an unknown name or a value that is no number."""
        data = tomllib.loads(path.read_text())
        known = {field.name for field in fields(cls)}
        wrong = sorted(name for name, value in data.items() if name not in known or not isinstance(value, int | float))
        if wrong:
            raise ModelDataError(f"numbers named {sorted(known)} in {path.name}", f"{wrong}")
        return cls(**{name: float(value) for name, value in data.items()})


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of a decision; ``value`` is None when nobody measured it."""

    name: str
    value: float | None
    relation: str
    threshold: float
    passed: bool


@dataclass(frozen=True, slots=True)
class GateReport:
    """The whole decision about one candidate for one profile."""

    profile: Profile
    criteria: tuple[Criterion, ...]

    @property
    def passed(self) -> bool:
        """True when every criterion is."""
        return all(criterion.passed for criterion in self.criteria)

    @property
    def failures(self) -> list[str]:
        """The failed criteria, one readable line each."""
        return [
            f"{c.name} is {'not measured' if c.value is None else f'{c.value:.4g}'}, needs {c.relation} {c.threshold:g}"
            for c in self.criteria
            if not c.passed
        ]

    def to_json(self) -> str:
        """For tags and artifacts."""
        return json.dumps({"profile": self.profile, "passed": self.passed, "criteria": [asdict(c) for c in self.criteria]})

    @classmethod
    def from_json(cls, text: str) -> GateReport:
        """The inverse of :meth:`to_json`."""
        data: dict[str, Any] = json.loads(text)
        return cls(data["profile"], tuple(Criterion(**item) for item in data["criteria"]))

    def to_markdown(self) -> str:
        """A table for the Dagster and MLflow pages."""
        lines = [
            f"**Profile {self.profile}: {'passed' if self.passed else 'refused'}**",
            "",
            "| criterion | value | needs | |",
            "|---|---|---|---|",
        ]
        for c in self.criteria:
            value = "not measured" if c.value is None else f"{c.value:.4g}"
            lines.append(f"| {c.name} | {value} | {c.relation} {c.threshold:g} | {'pass' if c.passed else 'FAIL'} |")
        return "\n".join(lines)


def evaluate_gate(metrics: Mapping[str, float], profile: Profile, thresholds: GateThresholds | None = None) -> GateReport:
    """Judge a candidate.

    Reads the metrics of :func:`~alphatrade_pipelines.models.evaluation.evaluate` and ``reproducible``, and from others: ``no_look_ahead``
    (1 when the features' truncation check passed); for ``live`` also ``deflated_sharpe``, ``pbo``, ``backtest_return`` (net, pessimistic
    fills) and, when there is a champion, the figures of :func:`~alphatrade_pipelines.models.evaluation.compare_predictions`.
    """
    t = thresholds or GateThresholds()
    gain_z = _z(metrics, "log_loss_gain")
    criteria = [
        _at_least("no_look_ahead", metrics.get("no_look_ahead"), 1.0),
        _at_least("reproducible", metrics.get("reproducible"), 1.0),
        _at_least("n_effective", metrics.get("n_effective"), t.min_effective_rows),
        _at_least("log_loss_gain", metrics.get("log_loss_gain"), _tolerated_loss(metrics, t)),
        _at_most("ece", metrics.get("ece"), max(t.max_ece, metrics.get("ece_noise_95", math.nan))),
        _at_most("auc", metrics.get("auc"), t.max_auc),
    ]
    if profile == "live":
        criteria += [
            _at_least("log_loss_gain_z", gain_z, t.better_than_base_z),
            _at_least("deflated_sharpe", metrics.get("deflated_sharpe"), t.min_deflated_sharpe),
            _at_most("pbo", metrics.get("pbo"), t.max_pbo),
            _at_least("backtest_return", metrics.get("backtest_return"), 0.0),
        ]
        if "champion_rows" in metrics:
            criteria.append(_at_least("champion_gain_confidence", metrics.get("champion_gain_confidence"), t.min_champion_confidence))
            criteria.append(_at_least("champion_folds_won", metrics.get("champion_folds_won"), t.min_champion_folds_won))
    return GateReport(profile, tuple(criteria))


def _tolerated_loss(metrics: Mapping[str, float], t: GateThresholds) -> float:
    """The least gain over the base rate that noise explains: its standard error, and what estimating a calibration's three parameters
    costs out of sample, 3 / (2 n) nats (Wilks 1938); without the second a model that honestly knows nothing would be refused."""
    error, size = metrics.get("log_loss_gain_error", math.nan), metrics.get("n_effective", math.nan)
    return t.worse_than_base_z * error - 1.5 / size if size > 0 else math.nan


def _z(metrics: Mapping[str, float], name: str) -> float | None:
    value, error = metrics.get(name), metrics.get(f"{name}_error")
    if value is None or error is None:
        return None
    if abs(value) < _ROUNDING:
        return 0.0
    return value / error if error > 0.0 else math.copysign(math.inf, value)


def _at_least(name: str, value: float | None, threshold: float) -> Criterion:
    known = _known(value)
    return Criterion(name, known, ">=", threshold, known is not None and known >= threshold)


def _at_most(name: str, value: float | None, threshold: float) -> Criterion:
    known = _known(value)
    return Criterion(name, known, "<=", threshold, known is not None and known <= threshold)


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
