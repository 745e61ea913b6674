"""The gate is a pure, readable decision; what nobody measured fails."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from alphatrade_pipelines.models import GateReport, GateThresholds, ModelDataError, evaluate_gate

GOOD = {
    "no_look_ahead": 1.0,
    "reproducible": 1.0,
    "n_effective": 900.0,
    "log_loss_gain": 0.002,
    "log_loss_gain_error": 0.001,
    "ece": 0.03,
    "ece_noise_95": 0.05,
    "auc": 0.55,
    "deflated_sharpe": 0.97,
    "pbo": 0.1,
    "backtest_return": 0.05,
}
CHAMPION = {"champion_rows": 500.0, "champion_gain_confidence": 0.8, "champion_folds_won": 0.6}


def test_good_metrics_pass_both_profiles() -> None:
    assert evaluate_gate(GOOD, "paper").passed
    assert evaluate_gate({**GOOD, **CHAMPION}, "live").passed


@pytest.mark.parametrize(
    ("change", "criterion"),
    [
        ({"no_look_ahead": 0.0}, "no_look_ahead"),
        ({"reproducible": 0.0}, "reproducible"),
        ({"n_effective": 20.0}, "n_effective"),
        ({"log_loss_gain": -0.004}, "log_loss_gain"),
        ({"ece": 0.06}, "ece"),
        ({"auc": 0.9}, "auc"),
        ({"auc": math.nan}, "auc"),
        ({"ece": math.nan}, "ece"),
    ],
)
def test_integrity_criteria_fail_alone(change: dict[str, float], criterion: str) -> None:
    report = evaluate_gate({**GOOD, **change}, "paper")
    assert [c.name for c in report.criteria if not c.passed] == [criterion]
    assert not evaluate_gate({**GOOD, **change}, "live").passed


@pytest.mark.parametrize(
    ("change", "criterion"),
    [
        ({"log_loss_gain": 0.0}, "log_loss_gain_z"),
        ({"deflated_sharpe": 0.9}, "deflated_sharpe"),
        ({"pbo": 0.5}, "pbo"),
        ({"backtest_return": -0.01}, "backtest_return"),
        ({"champion_gain_confidence": 0.4}, "champion_gain_confidence"),
        ({"champion_folds_won": 0.2}, "champion_folds_won"),
    ],
)
def test_economic_criteria_fail_live_only(change: dict[str, float], criterion: str) -> None:
    metrics = {**GOOD, **CHAMPION, **change}
    assert [c.name for c in evaluate_gate(metrics, "live").criteria if not c.passed] == [criterion]
    assert evaluate_gate(metrics, "paper").passed


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"log_loss_gain_error", "ece_noise_95"}))
def test_what_was_not_measured_fails(name: str) -> None:
    report = evaluate_gate({key: value for key, value in GOOD.items() if key != name}, "live")
    assert not report.passed
    assert any("not measured" in line for line in report.failures)


def test_a_champion_that_cannot_be_compared_blocks_live_only() -> None:
    metrics = {**GOOD, "champion_rows": 0.0}
    assert not evaluate_gate(metrics, "live").passed
    assert evaluate_gate(metrics, "paper").passed


def test_noise_level_never_tightens_the_tolerated_ece() -> None:
    assert evaluate_gate({**GOOD, "ece": 0.015, "ece_noise_95": 0.001}, "paper").passed


def test_report_round_trip_and_table() -> None:
    report = evaluate_gate({**GOOD, "ece": 0.5}, "paper")
    assert GateReport.from_json(report.to_json()) == report
    assert "| ece | 0.5 | <= 0.05 | FAIL |" in report.to_markdown()
    assert report.failures == ["ece is 0.5, needs <= 0.05"]


def test_thresholds_file_of_the_repository_is_the_default(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "mlflow" / "gate.toml"
    assert GateThresholds.load(shipped) == GateThresholds()
    (tmp_path / "gate.toml").write_text("max_ece = 0.5\n")
    assert evaluate_gate({**GOOD, "ece": 0.4}, "paper", GateThresholds.load(tmp_path / "gate.toml")).passed
    (tmp_path / "gate.toml").write_text("max_ecee = 0.5\n")
    with pytest.raises(ModelDataError, match="max_ecee"):
        GateThresholds.load(tmp_path / "gate.toml")
