"""Composition root of trading: settings and the promoted model become a session, for Dagster's job and for the command line alike."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import structlog

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.live.health import Heartbeat, read_heartbeat
from alphatrade_pipelines.live.lock import SecondSessionError, SessionLock
from alphatrade_pipelines.live.status import SessionResult, SessionStatus, StopSwitch
from alphatrade_pipelines.research import champions, nightly, past_sessions
from alphatrade_pipelines.settings import Mode, Settings
from alphatrade_pipelines.trading.domain import StopPolicy

if TYPE_CHECKING:
    import pandas as pd

    from alphatrade_pipelines.live.brain import ModelProvider
    from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
    from alphatrade_pipelines.live.gateway import AlpacaGateway
    from alphatrade_pipelines.live.launch import Setup
    from alphatrade_pipelines.live.sim import VenueSpec
    from alphatrade_pipelines.models.bundle import Bundle
    from alphatrade_pipelines.trading.domain import ModelRef

log = structlog.get_logger(__name__)
# a run that has not beaten yet may still be importing; after this it is called dead
STARTUP_GRACE_S = 300.0
# the heartbeat ends with the session, but its run goes on to write the reports; after this it is called stuck
WRAP_UP_S = 300.0
LOOK_FOR_NEW_CHAMPION_S = 30.0


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """One launch. ``sessions`` None = no limit; ``pace_s`` is wall time per simulated session; ``confirm_account`` arms real money."""

    mode: Mode
    run_id: str
    sessions: int | None = None
    pace_s: float = 0.0
    on_stop: StopPolicy = StopPolicy.PROTECT
    confirm_account: str = ""


Observe = Callable[[SessionStatus], None]


def run_session(settings: Settings, plan: SessionPlan, switch: StopSwitch, observe: Observe) -> SessionResult:
    """Trade the champion until told to stop or the simulated market ends; blocks.

    Raises, before anything is sent: ``NoPromotedModelError``, ``ProfileTooWeakError``, ``TamperedBundleError``, ``SecondSessionError``,
    ``MissingKeysError``, ``EndpointError``, ``ArmingError``.
    """
    settings.folders.create()
    with SessionLock(_lock_path(settings, plan.mode), plan.run_id):
        bundle, model = champions.champion_to_trade(settings, plan.mode, f"session {plan.run_id}")
        check_real_data(plan.mode, settings.market.source, str(bundle.manifest["data_source"]), bool(bundle.manifest["synthetic"]))
        log.info("trading", mode=plan.mode, model=model.name, version=model.version, run_id=plan.run_id)
        session = _simulate if plan.mode == "sim" else _trade
        return asyncio.run(session(settings, plan, bundle, model, switch, observe))


def check_real_data(mode: str, source: str, trained_on: str, synthetic: bool) -> None:
    """A broker's account is never traded on the embedded sample or an invented market: neither as history nor as training data.

    Raises ``SetupError``.
    """
    if mode == "sim":
        return
    for what, name in (("market.source is", source), ("the champion was trained on", trained_on)):
        if name in ("sample", "synthetic"):
            raise bootstrap.SetupError(
                f"mode {mode} needs real, current data, but {what} {name!r}: use alpaca or files, ingest and retrain"
            )
    if synthetic:
        raise bootstrap.SetupError(f"mode {mode} refuses the champion: it was trained on synthetic data")


async def _simulate(
    settings: Settings, plan: SessionPlan, bundle: Bundle, model: ModelRef, switch: StopSwitch, observe: Observe
) -> SessionResult:
    from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
    from alphatrade_pipelines.live.launch import trade_lockstep
    from alphatrade_pipelines.live.sim import attach_or_launch

    bars = bootstrap.bar_store(settings).read()
    cut = bootstrap.training_cut(settings, bars)
    spec = venue_spec(settings, bars, cut, plan.sessions)
    venue = attach_or_launch(settings.folders.journals, spec)
    history = bars[bars.index.get_level_values("timestamp") < cut]
    endpoints, keys = Endpoints.of_venue(venue.url), Credentials.of("sim", "sim", "sim")
    setup = _setup(settings, plan, venue.folder, endpoints, keys, bundle, model, history, observe)
    return await trade_lockstep(setup, venue, spec, switch, plan.pace_s)


async def _trade(
    settings: Settings, plan: SessionPlan, bundle: Bundle, model: ModelRef, switch: StopSwitch, observe: Observe
) -> SessionResult:
    from alphatrade_pipelines.live.launch import trade

    endpoints, keys = alpaca_access(settings, plan.mode)
    history = bootstrap.bar_store(settings).read()
    folder = settings.folders.journals / account_folder(plan.mode, keys)
    setup = _setup(settings, plan, folder, endpoints, keys, bundle, model, history, observe)
    return await trade(setup, switch, plan.sessions)


def _setup(
    settings: Settings,
    plan: SessionPlan,
    folder: Path,
    endpoints: Endpoints,
    keys: Credentials,
    bundle: Bundle,
    model: ModelRef,
    history: pd.DataFrame,
    observe: Observe,
) -> Setup:
    from alphatrade_pipelines.live.launch import Setup
    from alphatrade_pipelines.live.session import SessionConfig

    session = SessionConfig(
        mode=plan.mode,
        run_id=plan.run_id,
        core=bootstrap.core_config(settings),
        armed_account=plan.confirm_account or None,
        heartbeat=heartbeat_path(settings, plan.mode),
    )
    return Setup(
        session=session,
        endpoints=endpoints,
        credentials=keys,
        folder=folder,
        bundle=bundle,
        model=model,
        history=history,
        timeframe=bootstrap.timeframe(settings),
        provider=_champion_watcher(settings, plan),
        observers=(observe,),
        feed=settings.alpaca.feed,
        journal=bootstrap.journal_opener(settings),
    )


def venue_spec(settings: Settings, bars: pd.DataFrame, cut: pd.Timestamp, sessions: int | None) -> VenueSpec:
    """The simulated exchange over the sessions kept back from training: same cash, fills and seed as the backtest of these days.

    Raises ``SetupError`` when no session was kept back.
    """
    from alphatrade_pipelines.live.sim import VenueSpec
    from alphatrade_pipelines.market import SessionCalendar

    last = bars.index.get_level_values("timestamp").max()
    opens = SessionCalendar().sessions(cut, last)["open"]
    if cut > last or opens.empty:
        raise bootstrap.SetupError(
            "no session was kept back from training, so nothing unseen can be simulated: set research.holdout_sessions"
        )
    end = opens.iloc[min(sessions, len(opens)) - 1] if sessions else last
    config = bootstrap.exchange_config(settings, cut, end + timedelta(microseconds=1))
    assert config.start is not None
    return VenueSpec(
        bars=str(bootstrap.bar_store(settings).root),
        start=config.start,
        end=config.end,
        symbols=settings.market.symbols,
        cash=config.cash,
        profile=settings.research.profile,
        seed=config.seed,
        idle_exit_s=settings.live.venue_idle_exit_s,
    )


def alpaca_access(settings: Settings, mode: str) -> tuple[Endpoints, Credentials]:
    """Addresses and keys of paper or live. Raises ``MissingKeysError``, ``EndpointError`` (empty or foreign URL)."""
    from urllib.parse import urlsplit

    from alphatrade_pipelines.live.endpoints import Credentials, Endpoints, check_endpoints

    alpaca = settings.alpaca
    base = (alpaca.paper_url if mode == "paper" else alpaca.live_url).rstrip("/")
    data = alpaca.data_url.rstrip("/")
    streams = f"wss://{urlsplit(base).netloc}/stream", f"wss://stream.{urlsplit(data).netloc}/v2/{alpaca.feed}"
    endpoints = Endpoints(trading=base, data=data, trading_stream=streams[0], data_stream=streams[1])
    check_endpoints(mode, endpoints)
    key, secret = (item.get_secret_value() if item else None for item in (alpaca.key_id, alpaca.secret_key))
    return endpoints, Credentials.of(key, secret, mode)


def account_folder(mode: str, keys: Credentials) -> str:
    """A name for the account these keys open, without showing them: its journal must be found again before any connection."""
    return f"{mode}-{hashlib.sha256(keys.key.get_secret_value().encode()).hexdigest()[:12]}"


def _champion_watcher(settings: Settings, plan: SessionPlan) -> ModelProvider:
    """Between bars: the new champion, if any, whoever made it so. Asked at most every half minute of wall time; a registry that fails, or
    a champion this mode may not trade, changes nothing and is said once."""
    asked, said = time.monotonic(), ""

    def newer(current: ModelRef) -> tuple[Bundle, ModelRef] | None:
        nonlocal asked, said
        if time.monotonic() - asked < LOOK_FOR_NEW_CHAMPION_S:
            return None
        asked = time.monotonic()
        from alphatrade_pipelines.models.errors import ModelError

        try:
            found = champions.champion_to_trade(settings, plan.mode, f"session {plan.run_id}")
        except ModelError as error:
            if str(error) != said:
                said = str(error)
                log.error("the champion cannot be followed; going on with the present model", version=current.version, error=said)
            return None
        said = ""
        if found[1].version == current.version:
            return None
        log.warning("another champion", version=found[1].version, before=current.version, promotion=found[1].promotion)
        return found

    return newer


@contextmanager
def stop_on_signals(switch: StopSwitch, policy: StopPolicy = StopPolicy.PROTECT) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM ask the session to stop and do nothing else; afterwards the previous handlers are back."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread only; whoever runs a session elsewhere holds the switch
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        switch.request(policy, f"signal {signal.Signals(number).name}")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def headline(status: SessionStatus) -> str:
    """One line for a person."""
    held = ", ".join(f"{qty:f} {symbol}" for symbol, qty in status.positions) or "flat"
    progress = "" if status.progress is None else f" ({status.progress:.0%})"
    return (
        f"{status.at:%Y-%m-%d %H:%M} {status.state}{progress}: {status.sessions} sessions, {status.orders} orders, {status.fills} fills, "
        f"{status.rejected} rejected, P&L {status.pnl:+,.2f}, {held}, unprotected {status.seconds_unprotected:.1f} s"
    )


def describe(status: SessionStatus) -> dict[str, Any]:
    """A status as plain metadata for Dagster."""
    return {
        "venue_time": status.at.isoformat(),
        "state": status.state,
        "model_version": status.model_version,
        "sessions": status.sessions,
        "signals": status.signals,
        "orders": status.orders,
        "fills": status.fills,
        "rejected": status.rejected,
        "denied": status.denied,
        "unknown_outcomes": status.unknown_outcomes,
        "discrepancies": status.discrepancies,
        "seconds_unprotected": round(status.seconds_unprotected, 3),
        "unprotected_now": ", ".join(status.naked) or "none",
        "positions": ", ".join(f"{qty:f} {symbol}" for symbol, qty in status.positions) or "flat",
        "equity": float(status.equity),
        "pnl": float(status.pnl),
        "realized": float(status.realized),
        "streams_up": status.streams_up,
        "reconnects": status.reconnects,
        "alerts": status.alerts,
        "previous_run": status.previous_run,
        "journal": status.journal,
        **({} if status.progress is None else {"progress": round(status.progress, 4)}),
    }


def heartbeat_path(settings: Settings, mode: str) -> Path:
    """Where the session of a mode beats."""
    return settings.folders.live / f"{mode}.heartbeat.json"


def _lock_path(settings: Settings, mode: str) -> Path:
    return settings.folders.live / f"{mode}.lock"


def running_session(settings: Settings, mode: str | None = None) -> str:
    """Who trades in this mode now (process and run), or an empty string. The lock decides: it dies with its process."""
    path = _lock_path(settings, mode or settings.mode)
    if not path.exists():
        return ""
    try:
        with SessionLock(path, "probe"):
            return ""
    except SecondSessionError as error:
        return str(error).partition("(")[2].partition(")")[0]


def dead_session_finding(settings: Settings, run_id: str, started_at: float | None) -> nightly.Finding:
    """Is the process behind a live run gone or stuck? Judged by its heartbeat file, or by its absence long after the start."""
    now = datetime.now(UTC)
    beat = _heartbeat_of(settings, run_id)
    if beat is None:
        age = now.timestamp() - started_at if started_at else 0.0
        return nightly.Finding(age > STARTUP_GRACE_S, f"no heartbeat {age:.0f} s after the start", run_id)
    age = beat.age_s(now)
    limit = settings.live.heartbeat_timeout_s
    if _exists(beat.pid) and not _holds_lock(settings, beat):
        limit = max(limit, WRAP_UP_S)
    return nightly.Finding(age > limit, f"last heartbeat {age:.0f} s ago (limit {limit:.0f} s), process {beat.pid}", run_id)


def end_stuck_process(settings: Settings, run_id: str) -> bool:
    """Kill the process of a run that no longer beats, if it still holds the lock: a trader that wakes up later must not act on old news.

    Positions stay protected at the broker. Returns whether a process was ended.
    """
    beat = _heartbeat_of(settings, run_id)
    if beat is None or not _holds_lock(settings, beat):
        return False
    os.kill(beat.pid, signal.SIGKILL)
    return True


def _holds_lock(settings: Settings, beat: Heartbeat) -> bool:
    return f"process {beat.pid}," in running_session(settings, beat.mode)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process got the number
    return True


def _heartbeat_of(settings: Settings, run_id: str) -> Heartbeat | None:
    for path in settings.folders.live.glob("*.heartbeat.json"):
        beat = read_heartbeat(path)
        if beat is not None and beat.run_id == run_id:
            return beat
    return None


def stop(settings: Settings) -> str:
    """Ask the running session of the mode in force to stop as it was launched to. Raises ``SetupError`` when none runs."""
    beat = read_heartbeat(heartbeat_path(settings, settings.mode))
    if not running_session(settings) or beat is None:
        raise bootstrap.SetupError(f"no {settings.mode} session runs")
    os.kill(beat.pid, signal.SIGTERM)
    return f"asked process {beat.pid} (run {beat.run_id}) to stop; it first leaves every position protected or flat"


def ask_session(settings: Settings, request: str, who: str) -> str:
    """Leave a request (flatten, halt, resume, reset_breakers) for the running session. Raises ``SetupError`` when none runs."""
    from alphatrade_pipelines.live.control import ControlInbox

    holder = running_session(settings)
    journals = past_sessions.journal_files(settings)
    if not holder or not journals:
        raise bootstrap.SetupError(f"no {settings.mode} session runs that could {request.replace('_', ' ')}")
    ControlInbox(journals[0].parent / "control").ask(request, who)
    return f"asked the running session ({holder}) to {request.replace('_', ' ')}"


def discard_simulation(settings: Settings) -> None:
    """End a simulated exchange that an earlier, stopped session left running, so that the next one starts afresh.

    Raises ``SecondSessionError`` while a session trades on it.
    """
    from alphatrade_pipelines.live.sim import attach

    with SessionLock(_lock_path(settings, "sim"), "fresh simulation"):
        venue = attach(settings.folders.journals)
        if venue is not None:
            venue.shut_down()


def flatten(settings: Settings, who: str) -> str:
    """Close every position: by the running session, which owns the orders, or directly at the broker when none runs."""
    if running_session(settings):
        return ask_session(settings, "flatten", who)
    from alphatrade_pipelines.live.flatten import flatten_directly

    gateway = _gateway(settings)
    if gateway is None:
        return "nothing to flatten: no simulated exchange is running"
    try:
        with SessionLock(_lock_path(settings, settings.mode), f"flatten by {who}"):
            return flatten_directly(gateway).headline
    finally:
        gateway.close()


def _gateway(settings: Settings) -> AlpacaGateway | None:
    from alphatrade_pipelines.live.endpoints import Credentials, Endpoints
    from alphatrade_pipelines.live.gateway import AlpacaGateway, GatewayConfig
    from alphatrade_pipelines.live.sim import attach

    if settings.mode != "sim":
        return AlpacaGateway(GatewayConfig(settings.mode, *alpaca_access(settings, settings.mode)))
    venue = attach(settings.folders.journals)
    return (
        None if venue is None else AlpacaGateway(GatewayConfig("sim", Endpoints.of_venue(venue.url), Credentials.of("sim", "sim", "sim")))
    )
