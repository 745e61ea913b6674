"""The retrain walk as jobs, and the nightly schedule."""

from zoneinfo import ZoneInfo

import dagster as dg

from alphatrade_pipelines.research import nightly, promoting
from alphatrade_pipelines.settings import Settings
from assets.data import latest_period

NEW_YORK = "America/New_York"

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets("raw_bars", "bars"),
    description="Fetch one period (or back-fill a range in a single run), check it, publish the bars",
    executor_def=dg.in_process_executor,
)

retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.groups("data", "features", "models", "research", "registry", "monitoring"),
    description="The whole walk: newest bars, checks, features, labels, candidate, evaluation, backtest, promotion; the champion's health",
    executor_def=dg.in_process_executor,
)


@dg.op(pool="registry")
def restore_previous_champion(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Give the alias back to the version that held it before; the live session swaps between bars."""
    restored = promoting.rollback_champion(settings, "job rollback_model", by=f"Dagster run {context.run.run_id}")
    context.log.warning("champion is now version %s", restored)
    context.add_output_metadata({"champion_version": restored})


@dg.job(description="Undo the last promotion", executor_def=dg.in_process_executor)
def rollback_model() -> None:
    restore_previous_champion()


@dg.schedule(
    job=retrain,
    cron_schedule="30 18 * * 1-5",
    execution_timezone=NEW_YORK,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="After each session of the exchange (holidays skipped): newest bars, and a new candidate if anything has changed",
)
def nightly_retrain(context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.RunRequest | dg.SkipReason:
    moment = context.scheduled_execution_time.astimezone(ZoneInfo(NEW_YORK))
    closed = nightly.no_session_ended(moment)
    if closed:
        return dg.SkipReason(closed)
    nothing_new = nightly.nothing_new_to_learn(settings)
    if nothing_new:
        return dg.SkipReason(nothing_new)
    return dg.RunRequest(
        run_key=f"nightly:{moment:%Y-%m-%d}", partition_key=latest_period(), tags={"alphatrade/trigger": "nightly_retrain"}
    )
