"""Sensors that ask for the retrain walk when the champion has aged or its inputs have drifted."""

import dagster as dg

from alphatrade_pipelines import research
from alphatrade_pipelines.settings import Settings
from assets.data import latest_period
from jobs.retraining import retrain


def _ask(finding: research.Finding, why: str) -> dg.SensorResult:
    if not finding.fires:
        return dg.SensorResult(skip_reason=finding.detail, cursor=finding.key)
    # the same finding on the same champion asks once; a new champion or new data makes a new key
    request = dg.RunRequest(
        run_key=f"{why}:{finding.key}",
        partition_key=latest_period(),
        tags={"alphatrade/trigger": why, "alphatrade/reason": finding.detail[:200]},
    )
    return dg.SensorResult(run_requests=[request], cursor=finding.key)


@dg.sensor(
    job=retrain,
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Retrains when the champion is older than the data allow or scores worse than the base rate on resolved predictions",
)
def model_staleness(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
    return _ask(research.staleness_finding(settings), "model_staleness")


@dg.sensor(
    job=retrain,
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Retrains when recent features differ from the training distribution (KS, false-discovery control, effect size)",
)
def feature_drift(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
    return _ask(research.drift_finding(settings), "feature_drift")
