"""The whole walk with a primary model, through Dagster, on the sample: proposed, labelled, trained, judged, watched, kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.models import Bundle
from alphatrade_pipelines.models.labels import PRIMARY_SCORE, score_side
from alphatrade_pipelines.research import tracking
from assets.data import PERIODS
from tests.surface.house import failure_text, instance_of, run, settings_of

MODEL = {"label": "meta", "primary": "model", "primary_refit_sessions": 900, "iterations": 10, "folds": 2, "inner_folds": 2}


def test_the_walk_with_a_primary_model(own_home: Path) -> None:
    settings = settings_of(own_home, model=MODEL, research={"cpcv_groups": 0})
    with instance_of(own_home) as instance:
        outcome = run(settings, instance, "retrain", partition_key=PERIODS.get_last_partition_key())
        assert outcome.success, failure_text(outcome)
        again = run(settings, instance, "retrain", partition_key=PERIODS.get_last_partition_key())
        assert again.success, failure_text(again)
    version, first = tracking.registry(settings).versions()
    assert (version.version, first.version) == ("2", "1"), "nothing was trained again when nothing had changed"
    bundle = Bundle.load(settings.folders.bundles / version.tags["bundle_hash"][:16])
    assert bundle.primary is not None
    assert 3 <= len(bundle.primary.fits) <= 4
    bars = bootstrap.bar_store(settings).read()
    cut = bootstrap.training_cut(settings, bars)
    assert pd.Timestamp(bundle.primary.fits[-1].after, unit="ns", tz="UTC") < cut
    labels = pd.read_parquet(settings.folders.assets / "labels.parquet")
    features = pd.read_parquet(settings.folders.assets / "features.parquet")
    assert (score_side(bundle.primary.score(features))[labels.index] == 1).all(), "long only, and only where the primary says so"
    assert bundle.manifest["primary"]["columns"] == list(bundle.primary.columns)
    assert {"fracdiff", "vol_percentile", "vol_regime"}.isdisjoint(bundle.primary.columns)
    trials = tracking.trial_ledger(settings).trials()
    assert len(trials) == 3, "the first model, the primary's fits, and the training they led to"
    assert {trial.status for trial in trials} == {"FINISHED"}
    assert tracking.trial_ledger(settings).summary().count == 2, "which are one trial"
    health = outcome.asset_materializations_for_node("model_health")[0].metadata
    assert health["alarm"].value == "none"
    if version.aliases and "champion" in version.aliases:
        assert PRIMARY_SCORE in str(health["features_table"].value)
