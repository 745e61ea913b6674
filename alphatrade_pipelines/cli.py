"""The `alphatrade` command. Each command is a thin door; errors a person can act on end in one red line and exit code 1."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.panel import Panel

from alphatrade_pipelines import __version__, logs
from alphatrade_pipelines.journal_cli import journal_app
from alphatrade_pipelines.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help="From bars to a protected trade.")
app.add_typer(journal_app, name="journal")
models_app = typer.Typer(help="Versions, aliases, gate profiles and why; the trail of champions.")
app.add_typer(models_app, name="models")
console = Console()
errors = Console(stderr=True)

JournalPath = Annotated[Path | None, typer.Option("--journal", help="journal file; default: the newest one under home")]


def _settings() -> Settings:
    settings = load_settings()
    for secret in (settings.alpaca.key_id, settings.alpaca.secret_key, settings.journal.redis_url):
        logs.hide(secret.get_secret_value() if secret else None)
    logs.configure(settings.log.level, settings.log.as_json)
    return settings


@journal_app.callback()
def _journal() -> None:
    """Look at, check, replay and export the append-only journal of an account."""
    _settings()


@app.command()
def demo() -> None:
    """Everything in one go: data, features, model, promotion, backtest, a protected simulated paper session."""
    from alphatrade_pipelines.demo import run_demo

    run_demo(_settings(), console)


@app.command()
def ui() -> None:
    """Start Dagster (webserver and daemon) and MLflow on loopback and print their addresses; Ctrl-C stops them."""
    from alphatrade_pipelines import servers, trader

    settings = _settings()
    console.print("starting Dagster and MLflow, about half a minute …")
    servers.run_until_stopped(
        servers.ui_servers(settings),
        settings,
        lambda server: console.print(f"[bold green]{server.name:8}[/] {server.url}   (log: {server.log})"),
    )
    running = trader.running_session(settings)
    if running:
        errors.print(f"[yellow]a live session is still trading: {running}. `alphatrade stop` ends it cleanly.[/]")


@app.command()
def trade(
    mode: Annotated[str, typer.Option(help="sim, paper or live; default: the mode in the settings")] = "",
    sessions: Annotated[int, typer.Option(help="stop after this many market sessions; 0 = no limit")] = 0,
    pace: Annotated[float, typer.Option(help="sim only: wall seconds per session")] = 0.0,
    on_stop: Annotated[str, typer.Option(help="protect or flatten")] = "protect",
    confirm_account: Annotated[str, typer.Option(help="live only: the account number arms real money")] = "",
) -> None:
    """Trade the promoted model without Dagster (same session, same journal, same lock)."""
    import uuid

    from alphatrade_pipelines import bootstrap, trader
    from alphatrade_pipelines.live.status import StopSwitch
    from alphatrade_pipelines.trading.domain import StopPolicy

    settings, switch, policy = _settings(), StopSwitch(), StopPolicy(on_stop)
    plan = trader.SessionPlan(
        mode=bootstrap.parse_mode(mode or settings.mode),
        run_id=f"cli-{uuid.uuid4().hex[:12]}",
        sessions=sessions or None,
        pace_s=pace,
        on_stop=policy,
        confirm_account=confirm_account,
    )
    with trader.stop_on_signals(switch, policy):
        result = trader.run_session(settings, plan, switch, lambda status: console.print(trader.headline(status)))
    console.print(f"{trader.headline(result.status)}\nended: {result.reason}")
    if not result.clean:
        _fail("open business", "\n".join(result.open_business))


@app.command()
def stop() -> None:
    """Ask the running live session to stop; it leaves every position protected (or flat, as it was launched)."""
    from alphatrade_pipelines import trader

    console.print(trader.stop(_settings()))


@app.command()
def flatten() -> None:
    """Close every position: by the running session, or directly at the broker when none runs."""
    from alphatrade_pipelines import trader

    console.print(trader.flatten(_settings(), who="cli"))


@app.command()
def resume() -> None:
    """Let entries go on after a halt (a person's, or the journal's): asks the running session."""
    from alphatrade_pipelines import trader

    console.print(trader.ask_session(_settings(), "resume", who="cli"))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def venue(context: typer.Context) -> None:
    """Start the local Alpaca-compatible exchange; `alphatrade venue --help` lists its options."""
    from alphatrade_pipelines.venue.entry import main as venue_main

    raise typer.Exit(venue_main(context.args))


@app.command()
def explain(client_order_id: str, journal: JournalPath = None) -> None:
    """Why was this traded? fill -> order -> decision -> features -> model version -> MLflow run -> Dagster run -> data hash; and which
    features made the model say so."""
    from alphatrade_pipelines import reasons
    from alphatrade_pipelines.reporting import explain as explaining
    from alphatrade_pipelines.research import past_sessions

    settings = _settings()
    path = journal or past_sessions.journal_with(settings, client_order_id)
    explanation = explaining.explain(past_sessions.read_events(settings, path), client_order_id)
    console.print(explaining.render(explanation))
    console.print(reasons.render(reasons.reasons_of(settings, explanation)))


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the versions of the model, newest first, and who was made champion when, how and by whom."""
    from alphatrade_pipelines.research import champions

    if context.invoked_subcommand is None:
        for part in champions.model_list(_settings()):
            console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, str))


@models_app.command("show")
def models_show(version: Annotated[str, typer.Argument(help="a version number")]) -> None:
    """One version: lineage, every criterion of the gate, the figures of its run."""
    from alphatrade_pipelines.research import champions

    for part in champions.model_details(_settings(), version):
        console.print(part)


@app.command()
def leaks(
    bars: Annotated[Path | None, typer.Option(help="a .csv or .parquet file with a symbol column; default: the configured bars")] = None,
    timeframe: Annotated[str, typer.Option(help="bar length of the file")] = "1Day",
    timezone: Annotated[str, typer.Option(help="zone of naive time stamps in the file")] = "",
    time_column: Annotated[str, typer.Option(help="the file's column of bar starts")] = "timestamp",
    rows: Annotated[int, typer.Option(help="latest time stamps to probe")] = 1100,
    symbols: Annotated[int, typer.Option(help="symbols to probe, those with most bars")] = 5,
    thorough: Annotated[bool, typer.Option(help="every sort of garbage, not a short selection")] = False,
    planted: Annotated[bool, typer.Option(help="also measure the detector itself on the planted leaks")] = True,
) -> None:
    """Does anything know the future? Probes the house on real bars, then counts which planted leaks the probes catch."""
    from alphatrade_pipelines.research import leak_hunt

    spec = leak_hunt.BarFile(bars, timeframe, timezone, time_column) if bars else None
    found = leak_hunt.hunt_leaks(_settings(), spec, (rows, symbols), thorough, planted, lambda line: console.print(line, markup=False))
    for table in found.tables:
        console.print(table)
    if found.problems:
        _fail("leaks", "\n".join(found.problems))


@app.command()
def simulate(
    sessions: Annotated[int, typer.Option(help="how many sessions to play", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="seed of the first; the others follow it by one", min=0)] = 1,
    jobs: Annotated[int, typer.Option(help="processes; 0 = one a core")] = 0,
    story: Annotated[Path | None, typer.Option(help="replay this story instead of drawing one")] = None,
    shrink: Annotated[bool, typer.Option(help="cut the story of the first failing seed down to what matters")] = True,
) -> None:
    """Deterministic simulation: whole sessions with every fault on one virtual clock; exit code 1 when a rule is broken."""
    from functools import partial

    from alphatrade_pipelines.simulation import command

    say = partial(print, flush=True)
    failed = command.replay(story, say) if story else command.simulate(seed, sessions, jobs, shrink, _settings().home, say)
    if failed:
        raise typer.Exit(1)


@app.command()
def settings() -> None:
    """Print the settings in force, secrets masked."""
    console.print_json(_settings().model_dump_json())


@app.command()
def version() -> None:
    """Print the version."""
    console.print(__version__)


def main() -> None:
    """Entry point: known errors become one clear line; anything else keeps its traceback."""
    os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost")
    try:
        app()
    except ValidationError as error:
        details = "\n".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_input=False))
        _fail("settings", details)
    except Exception as error:
        if not _is_for_people(error):
            raise
        _fail(type(error).__name__, str(error))


def _is_for_people(error: Exception) -> bool:
    """Errors our own rooms raise on purpose carry their own advice; a traceback would only hide it."""
    return type(error).__module__.startswith("alphatrade_pipelines") or isinstance(error, FileNotFoundError | ValueError)


def _fail(title: str, details: Any) -> None:
    errors.print(Panel(str(details), title=title, border_style="red", expand=False))
    sys.exit(1)


if __name__ == "__main__":
    main()
