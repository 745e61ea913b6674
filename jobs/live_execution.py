"""The long-running trading job, as an asset job, so that its observations and its result have a page of their own.

One process, one run: in-process executor, no retries, a tag with concurrency limit 1, a pool and a file lock of its own. Dagster
delivers a stop from the UI as SIGINT, and its own handler would raise inside whatever code runs; so ours only asks the session to
stop, and the interrupt Dagster waits for is raised once positions are protected or flat.
"""

from datetime import date

import dagster as dg
from pydantic import Field

from alphatrade_pipelines import bootstrap, trader
from alphatrade_pipelines.live.status import SessionStatus, StopSwitch
from alphatrade_pipelines.settings import Settings
from alphatrade_pipelines.trading.domain import StopPolicy

LIVE_TAG = "alphatrade/live"
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class LiveConfig(dg.Config):
    """What a person may set in the launchpad; the defaults trade the simulated exchange."""

    mode: str = Field("", description="sim, paper or live; empty = the mode in the settings")
    sessions: int = Field(0, ge=0, description="stop after this many market sessions; 0 = no limit")
    pace_s: float = Field(-1.0, description="sim: wall seconds per session, for watching; -1 = setting live.sim_pace_s")
    on_stop: StopPolicy = Field(StopPolicy.PROTECT, description="what a stop leaves: positions protected at the broker, or none")
    confirm_account: str = Field("", description="live only: the account number, typed by you, arms real money")


@dg.asset(
    group_name="live",
    owners=["team:trading"],
    kinds={"alpaca", "python"},
    code_version="1",
    deps=["promotion"],
    pool="live_session",
    op_tags={"dagster/max_runtime": 0},
)
def live_session(context: dg.AssetExecutionContext, config: LiveConfig, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult[None]:
    """Trades the champion: streams, signals, protected orders, reconciliation. Observed about once a minute and on change."""
    switch = StopSwitch()

    def observe(status: SessionStatus) -> None:
        context.log.info(trader.headline(status))  # the run page shows a line at a glance, the observation has the figures
        context.log_event(dg.AssetObservation("live_session", metadata=trader.describe(status), description=trader.headline(status)))

    plan = trader.SessionPlan(
        mode=bootstrap.parse_mode(config.mode or settings.mode),
        run_id=context.run.run_id,
        sessions=config.sessions or None,
        pace_s=settings.live.sim_pace_s if config.pace_s < 0 else config.pace_s,
        on_stop=config.on_stop,
        confirm_account=config.confirm_account,
    )
    with trader.stop_on_signals(switch, config.on_stop):
        result = trader.run_session(settings, plan, switch, observe)
        context.log.info(f"{trader.headline(result.status)}; ended: {result.reason}")
        if not result.clean:
            context.log.error(f"ended with open business: {'; '.join(result.open_business)}")
        if switch.is_asked:
            raise dg.DagsterExecutionInterruptedError
    return dg.MaterializeResult(metadata={**trader.describe(result.status), "ended": result.reason, "settled": result.clean})


live_execution = dg.define_asset_job(
    "live_execution",
    selection=dg.AssetSelection.assets("live_session", "execution_quality", "pnl_attribution"),
    description="Trade the promoted model until stopped. Default: the simulated exchange, on sessions the model never saw",
    executor_def=dg.in_process_executor,
    tags={LIVE_TAG: "session", "dagster/max_retries": "0", "dagster/priority": "10"},
)


@dg.schedule(
    job=live_execution,
    cron_schedule="15 9 * * 1-5",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="One live run a session, from before the open until after the close; off until you switch it on",
)
def market_open(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    from alphatrade_pipelines.market import SessionCalendar

    today: date = context.scheduled_execution_time.date()
    if SessionCalendar().sessions(today, today).empty:
        return dg.SkipReason(f"{today} is not a trading session of XNYS")
    alive = dg.RunsFilter(job_name=live_execution.name, statuses=_UNFINISHED)
    if context.instance.get_runs(alive, limit=1):
        return dg.SkipReason("a live session is already running or queued")
    config = {"ops": {live_session.op.name: {"config": {"sessions": 1}}}}
    return dg.RunRequest(run_key=f"market_open:{today}", run_config=config, tags={"alphatrade/trigger": "market_open"})


@dg.op
def ask_to_flatten(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Close every position: by the running session if there is one (it owns the orders), else directly at the broker."""
    context.add_output_metadata({"outcome": trader.flatten(settings, who=f"dagster run {context.run.run_id}")})


@dg.job(
    description="Close every position and stay out, through the running session or directly",
    executor_def=dg.in_process_executor,
)
def flatten_all() -> None:
    ask_to_flatten()


@dg.op
def ask_to_reset_breakers(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Let entries resume after a breaker tripped; refused when no session runs, since breakers live in it."""
    context.add_output_metadata({"outcome": trader.ask_session(settings, "reset_breakers", f"dagster run {context.run.run_id}")})


@dg.job(description="Re-arm tripped circuit breakers of the running session", executor_def=dg.in_process_executor)
def reset_breakers() -> None:
    ask_to_reset_breakers()
