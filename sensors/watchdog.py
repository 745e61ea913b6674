"""The live watchdog: Dagster's launcher cannot see that a trader hangs, so a stale heartbeat of a STARTED run is treated as its death."""

import dagster as dg

from alphatrade_pipelines import trader
from alphatrade_pipelines.settings import Settings
from jobs.live_execution import live_execution

_ALIVE = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports a live run as failed when its process is gone or its heartbeat is stale; positions stay protected at the broker",
)
def live_watchdog(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
    runs = context.instance.get_runs(dg.RunsFilter(job_name=live_execution.name, statuses=_ALIVE))
    failed = []
    for run in runs:
        finding = trader.dead_session_finding(settings, run.run_id, _started_at(context.instance, run.run_id))
        if finding.fires:
            ended = trader.end_stuck_process(settings, run.run_id)
            note = "; its stuck process was ended" if ended else ""
            context.instance.report_run_failed(run, message=f"live_watchdog: {finding.detail}{note}")
            context.log.error("run %s reported failed: %s", run.run_id, finding.detail)
            failed.append(run.run_id)
    if failed:
        return dg.SensorResult(skip_reason=f"reported as failed: {', '.join(failed)}; relaunch the job to reconcile and resume")
    return dg.SensorResult(skip_reason=f"{len(runs)} live run(s), each with a fresh heartbeat" if runs else "no live run")


def _started_at(instance: dg.DagsterInstance, run_id: str) -> float | None:
    """Wall time (epoch seconds) at which the run's process began, if Dagster knows it."""
    record = instance.get_run_record_by_id(run_id)
    return record.start_time if record else None
