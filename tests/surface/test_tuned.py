"""The whole walk with tuning switched on over a home that was trained without: noticed, recorded, counted, and then left alone."""

from __future__ import annotations

import json
from pathlib import Path

from alphatrade_pipelines.models import Bundle
from alphatrade_pipelines.models.knobs import KNOBS
from alphatrade_pipelines.research import tracking
from tests.surface.house import instance_of, settings_of
from tests.surface.test_unchanged import night


def test_tuning_is_noticed_counted_deflated_by_and_kept(own_home: Path) -> None:
    model = {"tuning_trials": 2, "iterations": 40, "folds": 3, "inner_folds": 2}
    settings = settings_of(own_home, model=model)
    ledger = tracking.trial_ledger(settings)
    assert ledger.summary().count == 1
    with instance_of(own_home) as instance:
        found = night(settings, instance)
        assert "kept_from_run" in found["features"]
        assert "kept_from_run" not in found["model_candidate"]
        summary = ledger.summary()
        assert (summary.count, summary.series.shape[1], summary.tuned) == (4, 2, 2)
        assert found["backtest_report"]["effective_trials"] == 4
        candidate = json.loads((settings.folders.assets / "model_candidate.json").read_text())
        tuned = Bundle.load(Path(candidate["bundle"])).manifest["tuning"]
        assert (tuned["sampler"], tuned["trials"], tuned["distinct"], len(tuned["folds"])) == ("sobol", 8, 2, 3)
        assert all(name in str(found["model_candidate"]["folds"]) for name in KNOBS)
        again = night(settings, instance)
        assert "kept_from_run" in again["model_candidate"]
    assert ledger.summary().count == 4
