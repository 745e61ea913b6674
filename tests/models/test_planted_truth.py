"""Does the walk find what is there, refuse what is not, and notice what cannot be? Bars to gate, on planted markets.

Short here; ``make prove-models`` takes 200 noises and 20 edges and prints the rates.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import beta

from tests.models.truth import judge, settings_for

NOISES = int(os.environ.get("MODELS_SEEDS", "10"))
EDGES = max(NOISES // 10, 2)
EDGE = 0.25


def say(line: str) -> None:
    sys.stdout.write(f"\n{line}")


def interval(found: int, tried: int) -> str:
    """A count as a rate with its exact 95 % confidence interval (Clopper & Pearson 1934)."""
    low = beta.ppf(0.025, found, tried - found + 1) if found else 0.0
    high = beta.ppf(0.975, found + 1, tried - found) if found < tried else 1.0
    return f"{found} of {tried} = {found / tried:.1%} (95 % interval {low:.1%} to {high:.1%})"


def test_noise_hardly_ever_passes_for_real_money(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    verdicts = [judge(settings, seed, 0.0, whole=seed < 2) for seed in range(NOISES)]
    passed = sum(verdict.live.passed for verdict in verdicts)
    single = Counter(c.name for verdict in verdicts for c in verdict.live.criteria if c.passed and c.name in ("log_loss_gain_z", "pbo"))
    say(f"noise through the live gate: {interval(passed, NOISES)}")
    say(f"  by log_loss_gain_z alone: {interval(single['log_loss_gain_z'], NOISES)}; by pbo alone: {interval(single['pbo'], NOISES)}")
    say(f"  through the paper gate (integrity, not economics): {interval(sum(v.paper.passed for v in verdicts), NOISES)}")
    assert passed <= max(0.05 * NOISES, 1)


def test_an_edge_is_found_calibrated_and_passes(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    verdicts = [judge(settings, 1000 + seed, EDGE) for seed in range(EDGES)]
    passed = sum(verdict.live.passed for verdict in verdicts)
    say(f"edge of {EDGE} through the live gate: {interval(passed, EDGES)}")
    for verdict in verdicts:
        for failure in verdict.live.failures:
            say(f"  refused: {failure}")
        assert verdict.metrics["ece"] <= max(0.02, verdict.metrics["ece_noise_95"]) or not verdict.paper.passed
        assert verdict.metrics["log_loss_gain"] > 0
        assert verdict.metrics["pbo_columns"] == 48, "trees and baseline, six bands, four brackets"
        assert verdict.trained.importance.index[0] == "news"
    assert passed >= 0.8 * EDGES


@pytest.mark.parametrize(("leak", "probed", "criterion"), [("close", True, "no_look_ahead"), ("outcome", False, "auc")])
def test_a_leak_is_refused_however_well_it_earns(leak: str, probed: bool, criterion: str, tmp_path: Path) -> None:
    """A feature that knows the next close is caught by the probe; one that knows the outcome, even if nobody probed, by being too good."""
    verdict = judge(settings_for(tmp_path), 0, 0.0, leak, probed)
    assert verdict.metrics["deflated_sharpe"] > 0.99
    assert verdict.metrics["backtest_return"] > 0.3
    for report in (verdict.paper, verdict.live):
        assert not report.passed
        assert criterion in [c.name for c in report.criteria if not c.passed]
