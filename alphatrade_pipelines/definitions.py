"""Composition root for Dagster: everything the UI shows, put together once."""

from __future__ import annotations

import dagster as dg

from alphatrade_pipelines import logs
from alphatrade_pipelines.settings import load_settings
from assets.data import bars, bars_are_sound, raw_bars, raw_bars_are_sound
from assets.features import feature_state, features, no_look_ahead
from assets.health import champion_is_fit, inputs_are_comparable, model_health
from assets.live import execution_quality, pnl_attribution
from assets.models import calibrated, labels, model_candidate, model_evaluation, primary_model
from assets.registry import candidate_accepted, promotion
from assets.research import backtest_report
from assets.storage import HouseIOManager
from jobs.live_execution import flatten_all, live_execution, live_session, market_open, reset_breakers
from jobs.retraining import ingest, nightly_retrain, retrain, rollback_model
from sensors.retraining import feature_drift, model_staleness
from sensors.watchdog import live_watchdog

_settings = load_settings()
logs.configure(_settings.log.level, _settings.log.as_json)

defs = dg.Definitions(
    assets=[
        raw_bars,
        bars,
        feature_state,
        features,
        primary_model,
        labels,
        model_candidate,
        model_evaluation,
        backtest_report,
        promotion,
        model_health,
        live_session,
        execution_quality,
        pnl_attribution,
    ],
    asset_checks=[
        raw_bars_are_sound,
        bars_are_sound,
        no_look_ahead,
        calibrated,
        candidate_accepted,
        champion_is_fit,
        inputs_are_comparable,
    ],
    jobs=[ingest, retrain, live_execution, flatten_all, reset_breakers, rollback_model],
    schedules=[nightly_retrain, market_open],
    sensors=[model_staleness, feature_drift, live_watchdog],
    resources={"settings": _settings, "io_manager": HouseIOManager(_settings.folders.assets)},
    executor=dg.in_process_executor,
)
