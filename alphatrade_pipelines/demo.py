"""`alphatrade demo`: the whole product in one go, through the same Dagster jobs that the UI shows afterwards."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from alphatrade_pipelines import bootstrap, servers, trader
from alphatrade_pipelines.live.health import read_heartbeat
from alphatrade_pipelines.research import past_sessions, tracking
from alphatrade_pipelines.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from alphatrade_pipelines.trading.events import Event

STAGES = {
    "bars: ingest and checks": ("raw_bars", "bars"),
    "features, point in time": ("feature_state", "features"),
    "labels, training, calibration": ("primary_model", "labels", "model_candidate"),
    "evaluation, backtest, promotion": ("model_evaluation", "backtest_report", "promotion", "model_health"),
}
LOOK_EVERY_S = 0.3


class DemoError(RuntimeError):
    """A stage of the demo failed; the message says which and where the details are."""


def run_demo(settings: Settings, console: Console) -> None:
    """Train on the past, promote, backtest, then trade later sessions the model never saw; ends with one table.

    Safe to repeat: what has not changed is kept (bars, features, the model), and each run trades on a fresh simulated account.
    Raises ``SetupError`` outside sim mode, ``SecondSessionError`` while a session runs, ``DemoError`` when a stage fails.
    """
    if settings.mode != "sim":
        raise bootstrap.SetupError(f"the demo trades the simulated exchange only, but the mode is {settings.mode}: unset ALPHATRADE_MODE")
    trader.discard_simulation(settings)
    began = time.monotonic()
    servers.prepare_dagster_home(settings)
    market = settings.market
    label = f"{market.source} data, {', '.join(market.symbols)}, {market.timeframe} bars; state in {settings.home}"
    console.print(f"[bold]AlphaTrade[/]: {label}", highlight=False)
    with _quiet(settings), _progress(console) as progress:
        _run_jobs(settings, progress)
    _print_outcome(settings, console, time.monotonic() - began)


def _run_jobs(settings: Settings, progress: Progress) -> None:
    start = progress.add_task("starting Dagster", total=1)
    import dagster as dg

    from alphatrade_pipelines.definitions import defs

    repository = defs.get_repository_def()
    try:
        with dg.DagsterInstance.get() as instance:
            progress.update(start, completed=1)
            _run_retrain(repository, instance, progress)
            _run_live(settings, repository, instance, progress)
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as stopped:
        raise DemoError(
            "stopped before the end; a simulated session leaves its positions protected, `make demo` starts afresh"
        ) from stopped


def _run_retrain(repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, progress: Progress) -> None:
    """The job `retrain` over all periods as one single-run back-fill."""
    from assets.data import PERIODS

    job, periods = repository.get_job("retrain"), PERIODS.get_partition_keys()
    steps = [node.name for node in job.nodes]
    tasks: dict[str, TaskID] = {}
    for stage, assets in STAGES.items():
        task = progress.add_task(stage, total=sum(_belongs(step, assets) for step in steps))
        tasks |= {step: task for step in steps if _belongs(step, assets)}
    tags = {
        "dagster/asset_partition_range_start": periods[0],
        "dagster/asset_partition_range_end": periods[-1],
        "alphatrade/trigger": "demo",
    }
    done: set[str] = set()

    def look(run_id: str) -> None:
        from dagster import DagsterEventType

        records = instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_SUCCESS).records
        for step in {str(record.event_log_entry.step_key) for record in records} - done:
            done.add(step)
            progress.advance(tasks[step])

    _execute(job, instance, look, tags=tags)


def _belongs(step: str, assets: tuple[str, ...]) -> bool:
    """A check's step is named after its asset."""
    return any(step == asset or step.startswith(f"{asset}_") for asset in assets)


def _run_live(settings: Settings, repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, progress: Progress) -> None:
    """The job `live_execution` with its default config, but as fast as the machine."""
    from alphatrade_pipelines.market import SessionCalendar

    bars = bootstrap.bar_store(settings).read()
    opens = SessionCalendar().sessions(bootstrap.training_cut(settings, bars), bars.index.get_level_values("timestamp").max())["close"]
    task = progress.add_task("live session on unseen days", total=len(opens))
    path = trader.heartbeat_path(settings, "sim")

    def look(run_id: str) -> None:
        beat = read_heartbeat(path)
        if beat is not None and beat.run_id == run_id and beat.venue_at is not None:
            progress.update(task, completed=int((opens <= beat.venue_at).sum()))

    config = {"ops": {"live_session": {"config": {"pace_s": 0.0}}}}
    _execute(repository.get_job("live_execution"), instance, look, run_config=config, tags={"alphatrade/trigger": "demo"})
    progress.update(task, completed=len(opens))


def _execute(job: dg.JobDefinition, instance: dg.DagsterInstance, look: Callable[[str], None], **arguments: Any) -> None:
    """Run a job in this process (so that Ctrl-C reaches it) while a thread moves the progress bars."""
    run_id, over = str(uuid.uuid4()), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            look(run_id)

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        outcome = job.execute_in_process(instance=instance, run_id=run_id, raise_on_error=True, **arguments)
    finally:
        over.set()
        watcher.join()
    look(run_id)
    failed = [check.check_name for check in outcome.get_asset_check_evaluations() if not check.passed]
    if not outcome.success or failed:
        raise DemoError(
            f"job {job.name} (run {run_id}) failed{': checks ' + ', '.join(failed) if failed else ''}; `alphatrade ui` shows it"
        )


def _print_outcome(settings: Settings, console: Console, seconds: float) -> None:
    table = Table(title="what happened", show_header=False, title_justify="left", padding=(0, 1))
    table.add_column(style="bold")
    table.add_column()
    events = past_sessions.read_events(settings, past_sessions.newest_journal(settings))
    for name, text in outcome_rows(settings, events):
        table.add_row(name, text)
    console.print(table)
    console.print(
        f"took {seconds:.0f} s. Next: [bold]make ui[/] (Dagster and MLflow; launch live_execution from the browser)", highlight=False
    )
    order = _last_order(events)
    if order:
        console.print(f"      and  [bold].venv/bin/alphatrade explain {order}[/]", highlight=False)


def outcome_rows(settings: Settings, events: list[Event]) -> list[tuple[str, str]]:
    """The rows of the final table, from stores, registry and the journal's events; nothing is carried over in memory."""
    from alphatrade_pipelines.reporting.protection import measure_protection
    from alphatrade_pipelines.reporting.summary import Summary

    store = bootstrap.bar_store(settings).describe()
    state, candidate, metrics, backtest = (
        _stored(settings, name) for name in ("feature_state", "model_candidate", "model_evaluation", "backtest_report")
    )
    version = tracking.registry(settings).version(str(candidate["version"]))
    summary, unprotected = Summary.of(events), measure_protection(events).total
    difference = float(summary.pnl) - float(backtest["unseen_pnl"])
    synthetic = " (SYNTHETIC)" if store["synthetic"] else ""
    features = len(json.loads(state["state"])["config"]["features"])
    base = f"base rate {metrics['base_log_loss']:.5f}, gain {metrics['log_loss_gain']:+.5f} ± {metrics['log_loss_gain_error']:.5f}"
    aliases = " and ".join(sorted(version.aliases)) or "none"
    counts = f"{len(summary.orders)} orders, {len(summary.fills)} fills, {len(summary.rejected)} rejected"
    return [
        ("data", f"{store['rows']} bars, {store['first'][:10]} to {store['last'][:10]}{synthetic}, hash {store['data_hash'][:12]}"),
        ("features", f"{features} point-in-time features, fitted on bars before {state['fitted_until'][:10]}"),
        ("model", f"{version.name} version {version.version}, alias {aliases}, gate profile {version.profile or 'refused'}"),
        ("log loss", f"{metrics['log_loss']:.5f} against {base}"),
        ("calibration error", f"ECE {metrics['ece']:.4f} (a perfect model shows up to {metrics['ece_noise_95']:.4f})"),
        ("backtest, out of fold", _backtest_line(backtest, "research")),
        ("backtest, unseen days", _backtest_line(backtest, "unseen")),
        ("live session", f"{len(summary.sessions)} sessions, {counts}"),
        (
            "live P&L",
            f"{summary.pnl:+,.2f}; backtest of the same days {float(backtest['unseen_pnl']):+,.2f}; difference {difference:+,.2f}",
        ),
        ("safety", f"{summary.discrepancies.total()} discrepancies, {unprotected:.1f} s unprotected"),
    ]


def _backtest_line(facts: dict[str, Any], name: str) -> str:
    trials = f"{facts['trials']} trial{'' if facts['trials'] == 1 else 's'}"
    sharpe, deflated = (f"{facts[f'{name}_{figure}']:.3f}" if f"{name}_{figure}" in facts else "undefined" for figure in ("sharpe", "dsr"))
    return (
        f"net {facts[f'{name}_return']:+.2%} in {facts[f'{name}_sessions']} sessions, Sharpe {sharpe}, "
        f"deflated Sharpe ratio {deflated} ({trials}), {facts['profile']} fills"
    )


def _stored(settings: Settings, asset: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((settings.folders.assets / f"{asset}.json").read_text())
    return value


def _last_order(events: list[Event]) -> str:
    """The last filled entry: the most telling argument for `explain`."""
    from alphatrade_pipelines.reporting.book import OrderBook

    fills = OrderBook.of(events).fills()
    return next((fill.client_order_id for fill in reversed(fills) if fill.client_order_id), "")


def _progress(console: Console) -> Progress:
    return Progress(TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)


@contextmanager
def _quiet(settings: Settings) -> Iterator[None]:
    """Let the progress bars have the screen: everything libraries print goes to a log file, kept for when something fails."""
    path = settings.folders.home / "logs" / "demo.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("w") as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            logging.getLogger().handlers.clear()
            os.dup2(kept, 2)
            os.close(kept)
