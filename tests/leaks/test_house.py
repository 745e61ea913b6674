"""The house is clean under its own probes, and a planted fault in any of its parts is found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from alphatrade_pipelines.cli import app
from alphatrade_pipelines.features import FeaturePipeline
from alphatrade_pipelines.features.base import FloatArray, IntArray, Series, SymbolFeature
from alphatrade_pipelines.features.catalogue.regime import Regime
from alphatrade_pipelines.features.catalogue.returns import Momentum
from alphatrade_pipelines.features.catalogue.volatility import EwmaVolatility
from alphatrade_pipelines.leaks import house, probe_learner
from alphatrade_pipelines.leaks.arena import recent
from alphatrade_pipelines.leaks.house import audit_features, audit_house, audit_nightly, audit_pipeline
from alphatrade_pipelines.market import SampleSource, Timeframe
from alphatrade_pipelines.models.folds import FoldConfig, Rows, out_of_fold
from alphatrade_pipelines.models.learner import LearnerConfig
from alphatrade_pipelines.models.weights import WeightConfig, evidence_weights, weigher


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    return recent(SampleSource().fetch(), 1000, 3)


def test_the_house_is_clean(bars) -> None:
    reports = audit_house(bars, Timeframe.parse("1Day"))
    parts = [
        "features",
        "events",
        "labels",
        "trend labels",
        "primary",
        "folds",
        "combinatorial folds",
        "walk forward",
        "weights",
        "predictions",
        "fold features",
    ]
    assert [report.subject for report in reports] == parts
    for report in reports:
        assert report.alarms == ()
        assert report.clean, str(report)
    assert reports[0].values_checked > 500_000


@dataclass(frozen=True)
class KnowsTomorrow(SymbolFeature):
    """A feature of the catalogue's own kind with the commonest mistake."""

    @property
    def warmup(self) -> int:
        return 2

    def compute(self, series: Series, first: int, symbol: str, state: Any) -> FloatArray:
        return np.append(series.ret[1:], np.nan)[first:]


@dataclass(frozen=True)
class HiddenStatistic(SymbolFeature):
    """Keeps a training mean without saying so (``frozen`` is False)."""

    @property
    def warmup(self) -> int:
        return 2

    def fit(self, series: Any) -> dict[str, float]:
        return {symbol: float(np.nanmean(one.ret)) for symbol, one in series.items()}

    def compute(self, series: Series, first: int, symbol: str, state: Any) -> FloatArray:
        return (series.ret - state[symbol])[first:]


def test_a_leaking_feature_is_named_and_its_neighbours_are_not(bars) -> None:
    pipeline = FeaturePipeline("1Day", {"plain": Momentum(5), "tomorrow": KnowsTomorrow(), "vol": EwmaVolatility(20)})
    report = audit_features(pipeline.fit(bars), bars, cuts=2)
    assert report.offending == ("tomorrow",)
    assert {alarm.probe for alarm in report.alarms} >= {"truncation", "poison wild", "poison huge"}
    assert audit_nightly(pipeline.fit(bars), bars).offending == ("tomorrow",)


def test_a_night_probes_the_latest_bars_of_a_wide_panel(bars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "_STAMPS", 500)
    monkeypatch.setattr(house, "_SYMBOLS", 2)
    fitted, few = FeaturePipeline("1Day", {"plain": Momentum(5), "vol": EwmaVolatility(20)}).fit(bars), recent(bars, 500, 2)
    report = audit_nightly(fitted, bars)
    assert report.clean
    assert report.values_checked == audit_features(fitted, few, cuts=3).values_checked < audit_features(fitted, bars, cuts=3).values_checked


def test_statistics_that_claim_to_be_point_in_time_are_found_out(bars) -> None:
    class RegimeOfTheWholeSample(Regime):
        """Point-in-time by its claim, but its models are those of the end of the training span, declared known from the start."""

        def fit(self, times: IntArray, market: FloatArray) -> dict[str, Any]:
            state = super().fit(times, market)
            return state | {"models": [state["models"][-1] | {"known_from": int(times[0])}]}

    features = {"plain": Momentum(5), "regime": RegimeOfTheWholeSample(min_bars=200), "hidden": HiddenStatistic()}
    report = audit_pipeline(FeaturePipeline("1Day", features), bars, cuts=2)
    assert set(report.offending) >= {"hidden", "regime_low_vol", "regime_high_vol"}
    assert "plain" not in report.offending
    assert {alarm.probe for alarm in report.alarms} == {"refit"}


def test_weights_of_all_rows_would_reach_the_calibration_of_a_fold(arena, monkeypatch) -> None:
    """The fault the probe once found in this house: put back, it is found again."""
    monkeypatch.setattr(Rows, "reweighted", lambda self: self)

    def with_weights_of_all_rows(rows, train, test):
        every = replace(rows, weight=evidence_weights(rows.y, rows.t1))
        predicted, _ = out_of_fold(every, LearnerConfig(iterations=10, stage=10, threads=1), FoldConfig(outer=3, inner=2))
        return predicted.iloc[test].drop(columns="fold")

    report = probe_learner(with_weights_of_all_rows, arena.rows, arena.folds[:1], splits_itself=True)
    assert "test labels" in {alarm.probe for alarm in report.alarms}
    assert {"lower", "upper"} & set(report.offending)


@pytest.mark.parametrize("config", [WeightConfig(True), WeightConfig(decay="linear"), WeightConfig(True, "exponential")])
def test_no_fold_learns_of_its_test_rows_by_its_weights(arena, config: WeightConfig) -> None:
    returns = np.log(arena.adjusted["close"]).groupby(level="symbol", sort=False).diff()

    def weights(rows: Any, train: Any, test: Any) -> pd.Series:
        return weigher(config, returns)(rows.y.iloc[train], rows.t1.iloc[train])

    report = probe_learner(weights, arena.rows, arena.folds, name="weights")
    assert report.clean, str(report)
    # returns after the last training life are not read either
    train, _ = arena.folds[-1]
    known = returns.where(returns.index.get_level_values("timestamp") < arena.rows.t1.iloc[train].max(), 9.9)
    pd.testing.assert_series_equal(
        weigher(config, returns)(arena.rows.y.iloc[train], arena.rows.t1.iloc[train]),
        weigher(config, known)(arena.rows.y.iloc[train], arena.rows.t1.iloc[train]),
        check_exact=True,
    )


def test_the_command_reports_and_fails_on_too_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHATRADE_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["leaks", "--rows", "900", "--symbols", "2", "--no-planted"])
    assert done.exit_code == 0, done.output
    assert "features: clean" in done.output
    assert "predictions: clean" in done.output
    short = CliRunner().invoke(app, ["leaks", "--rows", "100", "--symbols", "2", "--no-planted"])
    assert short.exit_code != 0
