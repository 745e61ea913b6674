"""Sensors that ask for the retrain walk when the champion has aged or its inputs have drifted.

One cause asks once: it has one run key. After a retrain that a sensor asked for, whatever became of it, both sensors wait for
``model.retrain_cooldown_hours``. What cannot have changed is not worked out again: the cursor remembers champion, bars and journals.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg

from alphatrade_pipelines import monitoring
from alphatrade_pipelines.research.nightly import Finding
from alphatrade_pipelines.settings import Settings
from assets.data import latest_period
from jobs.retraining import retrain

TRIGGERS = ("model_staleness", "feature_drift")
REASON_LENGTH = 500


def _look(context: dg.SensorEvaluationContext, settings: Settings, find: Callable[[Settings], Finding], why: str) -> dg.SensorResult:
    seen = json.loads(context.cursor) if context.cursor and context.cursor.startswith("{") else {}
    signature = monitoring.signature(settings)
    if signature and seen.get("signature") == signature:
        return dg.SensorResult(skip_reason=f"nothing new since: {seen['detail']}", cursor=context.cursor)
    finding = find(settings)
    if finding.alarm:
        context.log.error("ALERT %s", finding.alarm)
    cursor = json.dumps({"signature": signature, "detail": finding.detail})
    if not finding.fires:
        return dg.SensorResult(skip_reason=finding.detail, cursor=cursor)
    waiting = _cooling_down(context.instance, timedelta(hours=settings.model.retrain_cooldown_hours))
    if waiting:  # the cursor stays: the cause is looked at again
        return dg.SensorResult(skip_reason=f"{finding.detail}; but {waiting}", cursor=context.cursor)
    request = dg.RunRequest(
        run_key=f"{why}:{finding.key}",
        partition_key=latest_period(),
        tags={"alphatrade/trigger": why, "alphatrade/reason": finding.detail[:REASON_LENGTH]},
    )
    return dg.SensorResult(run_requests=[request], cursor=cursor)


def _cooling_down(instance: dg.DagsterInstance, pause: timedelta) -> str:
    """Why it is too early to ask again, or empty."""
    since = datetime.now(UTC) - pause
    for trigger in TRIGGERS:
        filters = dg.RunsFilter(job_name=retrain.name, tags={"alphatrade/trigger": trigger}, created_after=since)
        for run in instance.get_runs(filters=filters, limit=1):
            return f"a retrain ({run.run_id[:8]}, {trigger}) was asked for less than {pause} ago"
    return ""


@dg.sensor(
    job=retrain,
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Retrains when the champion is older than the data allow or its resolved live predictions speak against its probabilities",
)
def model_staleness(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
    return _look(context, settings, monitoring.staleness_finding, "model_staleness")


@dg.sensor(
    job=retrain,
    minimum_interval_seconds=600,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Retrains when recent features differ from the training distribution (KS, false-discovery control, effective sample size)",
)
def feature_drift(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
    return _look(context, settings, monitoring.drift_finding, "feature_drift")
