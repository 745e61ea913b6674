"""Composition root of research: settings become sources, stores, pipelines and configs. Rooms stay free of settings, assets of wiring."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from urllib.request import ProxyHandler, build_opener

from alphatrade_pipelines.settings import Mode, Settings, project_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from alphatrade_pipelines.features import FeaturePipeline
    from alphatrade_pipelines.journal import JournalReading, JournalStore
    from alphatrade_pipelines.journal.redis import RedisConfig
    from alphatrade_pipelines.market import BarSource, BarStore, Timeframe
    from alphatrade_pipelines.models.labels import LabelConfig
    from alphatrade_pipelines.models.primary_fit import PrimaryConfig
    from alphatrade_pipelines.models.training import Provenance, TrainConfig
    from alphatrade_pipelines.trading.config import CoreConfig
    from alphatrade_pipelines.trading.execution import ExecutionConfig
    from alphatrade_pipelines.venue.exchange.config import ExchangeConfig

PRE_OPEN = timedelta(minutes=30)
SAMPLE_SPAN = (date(2000, 1, 1), date(2013, 12, 31))


class SetupError(ValueError):
    """The settings cannot be acted on; the message says what was expected and what to set."""


def parse_mode(name: str) -> Mode:
    """A known mode of use. Raises ``SetupError`` for anything else."""
    for mode in get_args(Mode):
        if name == mode:
            return mode  # type: ignore[no-any-return]
    raise SetupError(f"unknown mode {name!r}: expected one of {', '.join(get_args(Mode))}")


def timeframe(settings: Settings) -> Timeframe:
    """Length of the bars the house lives on."""
    from alphatrade_pipelines.market import Timeframe

    return Timeframe.parse(settings.market.timeframe)


def ingest_span(settings: Settings) -> tuple[date, date | None]:
    """First and last day that may be ingested; no last day means it grows with the calendar."""
    market = settings.market
    if market.source == "sample":
        return max(market.history_start, SAMPLE_SPAN[0]), min(market.history_end or SAMPLE_SPAN[1], SAMPLE_SPAN[1])
    if market.source == "synthetic":
        return market.synthetic.start, market.synthetic.end
    return market.history_start, market.history_end


def bar_source(settings: Settings) -> BarSource:
    """The configured source. Raises ``SetupError`` or ``BarDataError`` saying what to set."""
    from alphatrade_pipelines import market as m

    market = settings.market
    if market.source == "sample":
        return m.SampleSource()
    if market.source == "synthetic":
        crisis = market.synthetic
        crises = ((crisis.crisis_start, crisis.crisis_end),) if crisis.crisis_start and crisis.crisis_end else ()
        config = m.SyntheticConfig(crisis.seed, market.symbols, crisis.start, crisis.end, timeframe(settings), crises)
        return m.SyntheticSource(config)
    if market.source == "files":
        if market.files.path is None:
            raise SetupError("market.source is files but no path is set: set ALPHATRADE_MARKET__FILES__PATH")
        return m.FilesSource(m.FilesConfig(timeframe=timeframe(settings), **market.files.model_dump()))
    return _alpaca_source(settings)


def _alpaca_source(settings: Settings) -> BarSource:
    from alphatrade_pipelines.market import AlpacaConfig, AlpacaSource

    alpaca = settings.alpaca
    if alpaca.key_id is None or alpaca.secret_key is None:
        raise SetupError("market.source is alpaca but keys are missing: set ALPHATRADE_ALPACA__KEY_ID and ALPHATRADE_ALPACA__SECRET_KEY")
    return AlpacaSource(
        AlpacaConfig(
            api_key=alpaca.key_id,
            secret_key=alpaca.secret_key,
            symbols=settings.market.symbols,
            timeframe=timeframe(settings),
            start=settings.market.history_start,
            feed=alpaca.feed,
            url=alpaca.data_url,
        )
    )


def raw_store(settings: Settings) -> BarStore:
    """Bars as delivered; one store per source and time frame, so that switching the source cannot mix histories."""
    from alphatrade_pipelines.market import BarStore

    return BarStore(settings.folders.raw_bars / f"{settings.market.source}-{settings.market.timeframe}")


def bar_store(settings: Settings) -> BarStore:
    """Bars fit for research."""
    from alphatrade_pipelines.market import BarStore

    return BarStore(settings.folders.bars / f"{settings.market.source}-{settings.market.timeframe}")


def ingest(settings: Settings, source: BarSource, store: BarStore, start: date, end: date) -> int:
    """Fetch [start, end) of the universe into the raw store; returns the number of new bars.

    A symbol with no bars in the period yet (not listed, or a future year) is left for a later period: the universe is checked when
    bars are published. Raises ``BarDataError`` for a symbol the source does not know.
    """
    bars = source.fetch(settings.market.symbols, start, end)
    return store.append(bars, source.timeframe, source.name, source.synthetic).added if len(bars) else 0


def publish_bars(settings: Settings) -> pd.DataFrame:
    """Check the raw bars and make them the bars of research, in one atomic write.

    Raises ``BarDataError``: a symbol of the universe without bars or with too few to learn from.
    """
    from alphatrade_pipelines.market import require_history

    raw = raw_store(settings)
    bars = raw.read(settings.market.symbols)
    require_history(bars, minimum=settings.model.horizon + 50, purpose="features and labels")
    facts = raw.manifest()
    bar_store(settings).write(bars, timeframe(settings), facts.source, facts.synthetic)
    return bars


def training_cut(settings: Settings, bars: pd.DataFrame) -> pd.Timestamp:
    """Bars that start before this moment may be trained on. The last ``holdout_sessions`` of a simulation's data lie after it.

    Real sessions keep nothing back: the future is the hold-out. Raises ``SetupError`` when nothing would be left to train on.
    """
    from alphatrade_pipelines.market import SessionCalendar

    stamps = bars.index.get_level_values("timestamp")
    keep_back = settings.research.holdout_sessions if settings.mode == "sim" else 0
    sessions = SessionCalendar().sessions(stamps.min(), stamps.max())
    if keep_back >= len(sessions):
        raise SetupError(f"research.holdout_sessions is {keep_back} but the bars span only {len(sessions)} sessions: lower it or load more")
    end: pd.Timestamp = sessions["open"].iloc[-keep_back] if keep_back else stamps.max() + timedelta(microseconds=1)
    return end


def training_bars(settings: Settings, bars: pd.DataFrame) -> pd.DataFrame:
    """The part of the bars a model may learn from."""
    return bars[bars.index.get_level_values("timestamp") < training_cut(settings, bars)]


def feature_pipeline(settings: Settings) -> FeaturePipeline:
    """The default catalogue for the configured time frame."""
    from alphatrade_pipelines.features import FeaturePipeline

    return FeaturePipeline.default(timeframe(settings))


def label_config(settings: Settings) -> LabelConfig:
    """What a model learns to predict."""
    from alphatrade_pipelines.models.labels import BarrierConfig, LabelConfig, TrendConfig

    m = settings.model
    barrier = BarrierConfig(m.stop_multiple, m.target_multiple, m.horizon, m.cost_bps, horizon_unit=m.horizon_unit)
    trend = TrendConfig(m.trend_shortest, m.trend_longest)
    return LabelConfig(
        m.label, barrier, primary=m.primary, primary_feature=m.primary_feature, primary_threshold=m.primary_threshold, trend=trend
    )


def primary_config(settings: Settings) -> PrimaryConfig | None:
    """How the primary model is fitted; None where the side is not a model's.

    Its trees are as deep and as shrunk as the meta model's, a fixed number of them; monotone constraints are about winning, not direction.
    """
    from alphatrade_pipelines.models.learner import LearnerConfig
    from alphatrade_pipelines.models.primary_fit import PrimaryConfig

    m = settings.model
    if m.primary != "model":
        return None
    trees = PrimaryConfig().learner.iterations
    learner = LearnerConfig(iterations=trees, depth=m.depth, learning_rate=m.learning_rate, seed=m.seed, threads=m.threads)
    return PrimaryConfig(learner, m.primary_refit_sessions, m.primary_min_rows, m.embargo)


def train_config(settings: Settings) -> TrainConfig:
    """Labels, learner and folds."""
    from alphatrade_pipelines.models.fitting import CalibrationConfig
    from alphatrade_pipelines.models.folds import FoldConfig
    from alphatrade_pipelines.models.learner import LearnerConfig
    from alphatrade_pipelines.models.training import TrainConfig
    from alphatrade_pipelines.models.tuning import TuneConfig
    from alphatrade_pipelines.models.weights import WeightConfig

    m, label = settings.model, label_config(settings)
    return TrainConfig(
        barrier=label.barrier,
        label=label,
        weights=WeightConfig(m.attribution, m.decay, m.decay_oldest, m.decay_half_life_days),
        learner=LearnerConfig(
            iterations=m.iterations,
            depth=m.depth,
            learning_rate=m.learning_rate,
            seed=m.seed,
            threads=m.threads,
            monotone=tuple(sorted(m.monotone.items())),
        ),
        folds=FoldConfig(outer=m.folds, inner=m.inner_folds, embargo=m.embargo),
        calibration=CalibrationConfig(m.calibration, bounds=m.bounds),
        drop_empty_features=m.drop_empty_features,
        tuning=TuneConfig(m.tuning_trials, m.inner_folds, m.embargo, m.seed, m.tuning_search) if m.tuning_trials else None,
        primary=primary_config(settings),
    )


def provenance(settings: Settings) -> Provenance:
    """Where data and code come from; travels with the bundle to every order."""
    from alphatrade_pipelines.models.training import Provenance

    store = bar_store(settings)
    facts = store.manifest()
    return Provenance(facts.data_hash, facts.source, facts.timeframe, facts.synthetic, git_commit())


def code_hash(*rooms: str) -> str:
    """SHA-256 of the source files of some rooms of the package: equal code, equal hash, committed or not, checkout or wheel."""
    root = Path(__file__).parent
    sealed = hashlib.sha256()
    for room in sorted(rooms):
        place = root / room
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            sealed.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return sealed.hexdigest()


def dagster_page(settings: Settings, run_id: str) -> str:
    """Where ``alphatrade ui`` shows a Dagster run."""
    return f"http://127.0.0.1:{settings.servers.dagster_port}/runs/{run_id}"


def mlflow_pages(settings: Settings) -> str:
    """Base address of the MLflow server, if one answers: the team's, or that of ``alphatrade ui``; else empty."""
    uri = settings.tracking_uri
    base = uri if uri.startswith(("http://", "https://")) else f"http://127.0.0.1:{settings.servers.mlflow_port}"
    try:
        with build_opener(ProxyHandler({})).open(f"{base.rstrip('/')}/health", timeout=1) as response:
            return base.rstrip("/") if response.status == 200 else ""
    except (OSError, ValueError):
        return ""


def git_commit() -> str:
    """Commit of the checkout, ``+dirty`` when files differ from it, ``unknown`` outside a checkout."""
    if not (project_root() / ".git").exists():
        return "unknown"
    commit = _git("rev-parse", "--short=12", "HEAD")
    return f"{commit}+dirty" if commit and _git("status", "--porcelain", "--untracked-files=no") else commit or "unknown"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=project_root(), capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def core_config(settings: Settings) -> CoreConfig:
    """The trading core's numbers: the same in backtest, simulation, paper and live."""
    from alphatrade_pipelines.risk import LimitsConfig, SizingConfig
    from alphatrade_pipelines.trading.config import CoreConfig

    risk = settings.risk
    sizing = SizingConfig(kelly_fraction=risk.kelly_fraction, max_symbol_fraction=risk.position_cap, max_loss_at_stop=risk.risk_per_trade)
    limits = LimitsConfig(
        max_trades_a_day=risk.trades_per_day,
        max_consecutive_losses=risk.consecutive_losses,
        max_daily_loss=risk.daily_loss,
        max_gross_exposure=risk.gross_cap,
        max_net_exposure=risk.net_cap,
        max_symbol_exposure=max(risk.symbol_cap, risk.position_cap),
        max_order_value=risk.order_value_cap,
        max_order_qty=risk.order_qty_cap,
        max_positions=risk.max_positions,
    )
    return CoreConfig(
        strategy=settings.live.strategy,
        execution=execution_config(settings),
        sizing=sizing,
        limits=limits,
        reconcile_interval_s=settings.live.reconcile_interval_s,
        # a simulated day moves in steps of hours: waiting for the rest of an entry would mean waiting for the next one
        partial_entry_wait_s=0.0 if timeframe(settings).is_daily else CoreConfig().partial_entry_wait_s,
    )


def execution_config(settings: Settings) -> ExecutionConfig:
    """How orders are worked. With daily bars time moves in steps of hours: whole orders, whatever is asked for."""
    from alphatrade_pipelines.risk import ImpactConfig, ImpactModel
    from alphatrade_pipelines.trading.execution import Algo, ExecutionConfig

    chosen = settings.execution
    impact = ImpactConfig(ImpactModel(chosen.impact), risk_aversion=chosen.risk_aversion, max_participation=chosen.max_participation)
    return ExecutionConfig(
        algo=Algo.SINGLE if timeframe(settings).is_daily else Algo(chosen.algo),
        impact=impact,
        saving_bps=chosen.saving_bps,
        slice_s=chosen.slice_s,
        max_slices=chosen.max_slices,
        horizon_s=chosen.horizon_s,
        pov_rate=min(chosen.pov_rate, chosen.max_participation),
        passive=chosen.passive,
        exits=chosen.exits,
        at_close=chosen.at_close,
    )


def exchange_config(settings: Settings, start: pd.Timestamp, end: pd.Timestamp | None = None) -> ExchangeConfig:
    """The exchange of backtests and simulations, from half an hour before the open of the session that ``start`` lies in."""
    from alphatrade_pipelines.market import SessionCalendar
    from alphatrade_pipelines.venue.exchange.config import ExchangeConfig

    research = settings.research
    last = end - timedelta(microseconds=1) if end is not None else None
    first = SessionCalendar().session_bounds(start)[0] - PRE_OPEN
    return ExchangeConfig(start=first, end=last, cash=research.cash, profile=research.profile, seed=research.seed)


def as_markdown(frame: pd.DataFrame) -> str:
    """A small table for a Dagster page."""
    head = [str(column) for column in frame.columns]
    rows = [
        [f"{cell:.6g}" if isinstance(cell, float) else str(cell).replace("|", "/") for cell in row] for row in frame.itertuples(index=False)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


REDIS_NOTE = "journal.redis.head"  # journal.redis_reading.NOTE, without loading that client


def journal_opener(settings: Settings) -> Callable[[Path], JournalStore]:
    """Opens, for writing, the journal of the account whose folder it is given, in the backend of the settings."""
    from alphatrade_pipelines.journal import SqliteJournal

    def sqlite(folder: Path) -> JournalStore:
        return SqliteJournal(folder / "journal.sqlite", reserve_bytes=round(settings.journal.reserve_mb * 2**20))

    def redis(folder: Path) -> JournalStore:
        from alphatrade_pipelines.journal.redis import RedisJournal

        return RedisJournal(redis_journal(settings, folder.name), folder)

    return redis if settings.journal.backend == "redis" else sqlite


def redis_journal(settings: Settings, account: str) -> RedisConfig:
    """Where Redis keeps the journal of an account. Raises ``SetupError`` without a URL."""
    from alphatrade_pipelines.journal.redis import RedisConfig

    if settings.journal.redis_url is None:
        raise SetupError("no Redis is configured for journals: set ALPHATRADE_JOURNAL__REDIS_URL")
    return RedisConfig(settings.journal.redis_url, account, settings.journal.lease_s)


def journal_places(settings: Settings, pattern: str) -> list[Path]:
    """Journals in the backend in force whose account folder matches, newest first: SQLite files, or the notes beside Redis journals."""
    found: dict[Path, float] = {}
    wanted = REDIS_NOTE if settings.journal.backend == "redis" else "journal.sqlite*"
    for path in settings.folders.journals.glob(f"{pattern}/{wanted}"):
        place = path.parent / (REDIS_NOTE if path.name == REDIS_NOTE else "journal.sqlite")
        found[place] = max(found.get(place, 0.0), path.stat().st_mtime)
    return sorted(found, key=lambda place: found[place], reverse=True)


def journal_reader(settings: Settings, place: Path) -> JournalReading:
    """A read-only view of a journal. Raises JournalError when there is none."""
    from alphatrade_pipelines.journal import JournalReader

    if place.name != REDIS_NOTE:
        return JournalReader(place)
    from alphatrade_pipelines.journal.redis import RedisReader

    return RedisReader(redis_journal(settings, place.parent.name), place.parent)
