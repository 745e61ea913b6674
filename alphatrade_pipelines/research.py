"""The retrain walk's steps with settings applied: train, register, judge, promote, and ask whether it is time to do so again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import structlog

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.settings import Mode, Settings, project_root

if TYPE_CHECKING:
    import pandas as pd

    from alphatrade_pipelines.backtest.evidence import Paths
    from alphatrade_pipelines.backtest.overfitting import EffectiveTrials, PathReport
    from alphatrade_pipelines.backtest.result import BacktestResult
    from alphatrade_pipelines.backtest.statistics import Performance
    from alphatrade_pipelines.market import Timeframe
    from alphatrade_pipelines.models.bundle import Bundle
    from alphatrade_pipelines.models.folds import FoldFeatures
    from alphatrade_pipelines.models.gate import GateReport, GateThresholds, Profile
    from alphatrade_pipelines.models.primary import PrimaryModel
    from alphatrade_pipelines.models.registry import Lineage, ModelRegistry, VersionInfo
    from alphatrade_pipelines.models.training import TrainingResult
    from alphatrade_pipelines.models.trials import TrialLedger
    from alphatrade_pipelines.trading.domain import ModelRef
    from alphatrade_pipelines.trading.events import Event

EXPERIMENT = "alphatrade"
REQUIRED_PROFILE: dict[str, Profile] = {"sim": "paper", "paper": "paper", "live": "live"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a sensor saw. ``key`` is equal for equal findings, so that one cause asks once; ``alarm``: what a person must look at, because
    a retrain would not mend it."""

    fires: bool
    detail: str
    key: str
    alarm: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the promotion gate said: a report per profile, the profile passed (empty = refused), who was champion and who is now."""

    reports: tuple[GateReport, ...]
    profile: str
    version: str
    before: str
    champion: str

    @property
    def headline(self) -> str:
        """The decision in one sentence, with its reasons."""
        if self.profile and self.champion != self.version:
            real = "; ".join(line for report in self.reports if not report.passed for line in report.failures)
            return f"version {self.version} passed only the {self.profile} gate; champion stays {self.champion}, which passed more: {real}"
        if self.profile:
            over = f" after version {self.before}" if self.before and self.before != self.version else ""
            weaker = [line for report in self.reports if not report.passed for line in report.failures]
            return f"version {self.version} passed the {self.profile} gate and is champion{over}" + (
                f"; not for real money: {'; '.join(weaker)}" if weaker else ""
            )
        why = "; ".join(self.reports[0].failures)
        return f"version {self.version} was refused; champion stays {self.champion or 'nobody'}: {why}"

    def to_markdown(self) -> str:
        """The headline and every criterion of every profile."""
        return "\n\n".join([self.headline, *(report.to_markdown() for report in self.reports)])

    def to_json(self) -> str:
        """The same for machines."""
        facts = {"version": self.version, "profile": self.profile, "before": self.before, "champion": self.champion}
        return json.dumps({**facts, "reports": [json.loads(report.to_json()) for report in self.reports]}, indent=2)


def registry(settings: Settings) -> ModelRegistry:
    """The model registry in MLflow."""
    from alphatrade_pipelines.models.registry import ModelRegistry, RegistryConfig

    settings.folders.create()
    remote = settings.tracking_uri.startswith(("http://", "https://"))
    root = None if remote else str(settings.folders.mlflow_artifacts)
    return ModelRegistry(RegistryConfig(settings.tracking_uri, root, EXPERIMENT, settings.model.name))


def trial_ledger(settings: Settings) -> TrialLedger:
    """Every model ever tried, for deflating Sharpe ratios."""
    from alphatrade_pipelines.models.trials import TrialLedger

    return TrialLedger(settings.tracking_uri, EXPERIMENT)


@contextmanager
def open_trial(settings: Settings, state: str, dagster_run_id: str) -> Iterator[str]:
    """An MLflow run that counts from before the first fit; what fails inside ends it with its reason. Gives the run id."""
    from alphatrade_pipelines.models.trials import trial_key

    models = registry(settings)
    facts = {
        "data": bootstrap.bar_store(settings).data_hash(),
        "features": hashlib.sha256(state.encode()).hexdigest(),
        "config": bootstrap.train_config(settings).facts(),
        "code": bootstrap.code_hash("market", "features", "models"),
    }
    key, tags = trial_key(facts), lineage(settings, dagster_run_id).tags
    with trial_ledger(settings).trial(models.experiment_id(), key, {**tags, "data_hash": str(facts["data"])}) as run_id:
        yield run_id


def lineage(settings: Settings, dagster_run_id: str) -> Lineage:
    """The Dagster run behind a candidate, with the address of its page."""
    from alphatrade_pipelines.models.registry import Lineage

    return Lineage(dagster_run_id, dagster_url=bootstrap.dagster_page(settings, dagster_run_id))


def count_tuning(settings: Settings, trial: str) -> Callable[[Mapping[str, Any]], None]:
    """Writes knobs that are about to be tried into the run ``trial``, as what a training configured with them would be.

    As a training's, each counts once for every version of the data, whatever the number of folds (docs/models.md, Trials).
    """
    from dataclasses import replace

    from alphatrade_pipelines.models.trials import trial_key

    ledger, config = trial_ledger(settings), bootstrap.train_config(settings)
    facts = {"market": settings.market.model_dump(mode="json"), "code": bootstrap.code_hash("market", "features", "models")}
    data = bootstrap.bar_store(settings).data_hash()

    def count(knobs: Mapping[str, Any]) -> None:
        own = replace(config, learner=replace(config.learner, **knobs), tuning=None)
        ledger.note_tuning(trial, trial_key({**facts, "config": own.facts()}), data, knobs)

    return count


def fit_primary_model(settings: Settings, features: pd.DataFrame, state: str, dagster_run_id: str) -> PrimaryModel | None:
    """The primary model on the training bars, from point-in-time features alone; None where the side is not a model's.

    The trial ledger hears of it before the first fit, under the key that the training will have: whoever looks at how a primary's bets paid
    and tries another has tried twice, and a training that follows is the same trial.
    """
    from alphatrade_pipelines.features import FittedPipeline
    from alphatrade_pipelines.market import adjust_forward
    from alphatrade_pipelines.models.fold_features import point_in_time_columns
    from alphatrade_pipelines.models.primary_fit import fit_primary
    from alphatrade_pipelines.models.weights import log_returns, weigher

    config = bootstrap.train_config(settings)
    if config.primary is None:
        return None
    bars = adjust_forward(bootstrap.training_bars(settings, bootstrap.bar_store(settings).read()))
    columns = point_in_time_columns(FittedPipeline.from_json(state).pipeline)
    with open_trial(settings, state, dagster_run_id) as run_id:
        weigh = weigher(config.weights, log_returns(bars))
        fitted = fit_primary(features.loc[bars.index], bars, columns, config.barrier, config.primary, weigh=weigh)
        trial_ledger(settings).finish(run_id, "the primary model, fitted")
    return fitted


def train_candidate(
    settings: Settings,
    features: pd.DataFrame,
    labels: pd.DataFrame,
    state: str,
    trial: str,
    primary: PrimaryModel | None = None,
    progress: Any = None,
) -> TrainingResult:
    """Train on the training bars; feature statistics are refitted inside each validation fold. ``trial`` is the run of :func:`open_trial`,
    into which what tuning tries is counted; ``primary``: on whose sides the labels bet."""
    from alphatrade_pipelines.features import FittedPipeline
    from alphatrade_pipelines.market import adjust_forward
    from alphatrade_pipelines.models.fold_features import refit_in_folds
    from alphatrade_pipelines.models.training import train

    train_bars = bootstrap.training_bars(settings, bootstrap.bar_store(settings).read())
    own = features.loc[train_bars.index]
    return train(
        own,
        labels,
        FittedPipeline.from_json(state),
        bootstrap.train_config(settings),
        bars=adjust_forward(train_bars),
        provenance=bootstrap.provenance(settings),
        fold_features=refit_in_folds(train_bars, bootstrap.feature_pipeline(settings), own),
        primary=primary,
        progress=progress,
        on_tuning=count_tuning(settings, trial),
    )


def register_candidate(
    settings: Settings, trained: TrainingResult, features: pd.DataFrame, dagster_run_id: str, trial: str | None = None
) -> VersionInfo:
    """Log to MLflow (into the run that :func:`open_trial` opened), register, point ``challenger`` at it."""
    return registry(settings).log_candidate(trained, features, lineage(settings, dagster_run_id), trial=trial)


def gate_thresholds() -> GateThresholds:
    """The gate's numbers: ``mlflow/gate.toml`` of the checkout where there is one, else the defaults."""
    from alphatrade_pipelines.models.gate import GateThresholds

    path = project_root() / "mlflow" / "gate.toml"
    return GateThresholds.load(path) if path.exists() else GateThresholds()


def decide_promotion(settings: Settings, version: str, metrics: dict[str, float], by: str = "") -> Decision:
    """Judge a version for both profiles and promote it by the strongest it passes; a refused version leaves the champion alone, and so does
    one that passed a weaker profile than the champion holds.

    The decision is attached to the version's MLflow run (``decision/``) and tagged on it. ``by`` goes into the trail of champions.
    """
    from alphatrade_pipelines.models.gate import PROFILES, evaluate_gate

    models = registry(settings)
    models.note_outside_move(by or "the promotion gate")
    before = models.champion()
    reports = tuple(evaluate_gate(metrics, profile, gate_thresholds()) for profile in PROFILES)
    passed = [report for report in reports if report.passed]
    for report in reports:
        models.record_report(version, report)
    # a version good enough for paper only must not take the place of one that real money follows: the next live session would find none
    weaker = bool(passed and before and before.profile and PROFILES.index(passed[-1].profile) < PROFILES.index(_profile(before.profile)))
    if passed and not weaker:
        models.promote(version, passed[-1], by)
    champion = models.champion()
    decision = Decision(
        reports, passed[-1].profile if passed else "", version, before.version if before else "", champion.version if champion else ""
    )
    models.record_decision(version, decision.headline, decision.to_markdown(), decision.to_json())
    return decision


def evaluate_candidate(
    settings: Settings, version: str, metrics: Mapping[str, float], oof: pd.DataFrame, leak_free: bool
) -> dict[str, float]:
    """Everything the gate wants to know that training alone does not: the leak probe, and the champion, if another, on the same rows."""
    from alphatrade_pipelines.models.evaluation import compare_predictions

    models = registry(settings)
    champion = models.champion()
    compared = compare_predictions(oof, models.out_of_fold(champion)) if champion and champion.version != version else {}
    return {**metrics, "no_look_ahead": float(leak_free), **compared}


def model_ref(info: VersionInfo) -> ModelRef:
    """The lineage of a version, as orders carry it."""
    from alphatrade_pipelines.trading.domain import ModelRef

    tags = info.tags
    run, data, commit, sealed = (tags.get(name, "") for name in ("dagster.run_id", "data_hash", "git_commit", "bundle_hash"))
    return ModelRef(info.name, info.version, sealed, info.run_id, run, data, commit, info.profile)


@dataclass(frozen=True)
class BacktestReport:
    """Two backtests of one candidate. ``facts`` are plain figures for the gate, the demo and MLflow; ``files`` the tearsheets."""

    research: BacktestResult
    unseen: BacktestResult | None
    facts: dict[str, int | float | str]
    files: tuple[Path, ...]
    headlines: tuple[str, ...]


def backtest_candidate(
    settings: Settings, version: str, bundle_folder: Path, features: pd.DataFrame, oof: pd.DataFrame, labels: pd.DataFrame
) -> BacktestReport:
    """Backtest the training span with out-of-fold probabilities and, where sessions were kept back, those with the model itself.

    The returns of the first go into the trial ledger; its Sharpe ratio is deflated by the effective number of models ever tried. The
    search behind the model is weighed: probability of overfitting, backtest paths. Tearsheets are written under ``reports`` and attached
    to the MLflow run.
    """
    from alphatrade_pipelines.backtest.overfitting import effective_trials
    from alphatrade_pipelines.backtest.report import write_tearsheet
    from alphatrade_pipelines.backtest.statistics import returns_of
    from alphatrade_pipelines.models.bundle import Bundle

    models, ledger = registry(settings), trial_ledger(settings)
    info, bundle = models.version(version), Bundle.load(bundle_folder)
    bars = bootstrap.bar_store(settings).read()
    named = play_candidate(settings, model_ref(info), bundle, features, bars, oof)
    earned = returns_of(named["research"].equity)
    if earned.std() > 0:
        ledger.record(info.run_id, earned)
    tried = ledger.summary()
    trials = effective_trials(tried.series, tried.unknown, tried.repeats)
    facts = economics(settings, bundle, features, labels, bars, oof, named, trials)
    files, lines = [], []
    for name, result in named.items():
        figures = result.performance(trials.effective, trials.variance)
        lines.append(_headline(name, figures, result))
        title = f"{settings.model.name} version {version}, {'out of fold' if name == 'research' else 'unseen sessions'}"
        files.append(write_tearsheet(result, settings.folders.reports / f"{settings.model.name}-v{version}-{name}.html", title, figures))
    models.attach(info, {f"backtest_{name}": value for name, value in facts.items() if isinstance(value, float)}, files)
    return BacktestReport(named["research"], named.get("unseen"), facts, tuple(files), tuple(lines))


def play_candidate(
    settings: Settings, model: ModelRef, bundle: Bundle, features: pd.DataFrame, bars: pd.DataFrame, oof: pd.DataFrame
) -> dict[str, BacktestResult]:
    """The backtests by name: ``research`` over the training span out of fold, ``unseen`` over the sessions kept back, if any were."""
    cut, last = bootstrap.training_cut(settings, bars), bars.index.get_level_values("timestamp").max()
    trained = features.index.get_level_values("timestamp") < cut
    first = oof.index.get_level_values("timestamp").min()
    named = {"research": _play(settings, model, bundle, features[trained], bars, (first, cut), oof)}
    if last >= cut:
        named["unseen"] = _play(settings, model, bundle, features[~trained], bars, (cut, last + timedelta(days=1)))
    return named


def economics(
    settings: Settings,
    bundle: Bundle,
    features: pd.DataFrame,
    labels: pd.DataFrame,
    bars: pd.DataFrame,
    oof: pd.DataFrame,
    named: Mapping[str, BacktestResult],
    trials: EffectiveTrials,
) -> dict[str, int | float | str]:
    """Figures of the backtests and of the search, by name. What cannot be computed is left out: the gate then says "not measured"."""
    facts: dict[str, int | float | str] = {
        "profile": settings.research.profile,
        "trials": trials.count,
        "trial_clusters": trials.clusters,
        "effective_trials": trials.effective,
    }
    for name, result in named.items():
        facts |= _figures(name, result, result.performance(trials.effective, trials.variance))
    facts |= {"deflated_sharpe": facts["research_dsr"], "backtest_return": facts["research_return"]}
    facts |= weigh_search(settings, bundle, features, labels, bars, oof)
    return {name: value for name, value in facts.items() if not isinstance(value, float) or math.isfinite(value)}


def weigh_search(
    settings: Settings, bundle: Bundle, features: pd.DataFrame, labels: pd.DataFrame, bars: pd.DataFrame, oof: pd.DataFrame
) -> dict[str, float]:
    """Probability of overfitting and the spread over backtest paths (annual Sharpe ratios over the market)."""
    from alphatrade_pipelines.backtest.evidence import configurations, enough_for_paths, walk_paths
    from alphatrade_pipelines.backtest.statistics import SESSIONS_PER_YEAR
    from alphatrade_pipelines.market import adjust_forward
    from alphatrade_pipelines.models.fold_features import carrying, refit_in_folds
    from alphatrade_pipelines.models.knobs import learner_of
    from alphatrade_pipelines.models.labels import PRIMARY_SCORE
    from alphatrade_pipelines.models.signals import VOLATILITY
    from alphatrade_pipelines.models.training import training_rows
    from alphatrade_pipelines.models.validation import CombinatorialPurgedCV

    train_bars, config = bootstrap.training_bars(settings, bars), bootstrap.train_config(settings)
    own, adjusted = bundle.scored(features.loc[train_bars.index]), adjust_forward(train_bars)
    search = configurations(oof, labels, adjusted, own[VOLATILITY], bootstrap.label_config(settings)).report
    facts = {"pbo": search.pbo, "pbo_loss": search.loss, "pbo_slope": search.slope, "pbo_columns": float(search.columns)}
    if settings.research.cpcv_groups == 0:
        return facts
    rows = training_rows(own, labels, bundle.feature_pipeline(), config, adjusted)
    splitter = CombinatorialPurgedCV(settings.research.cpcv_groups, settings.research.cpcv_test_groups, config.folds.embargo)
    if not enough_for_paths(rows, splitter, config.min_rows // 2):
        return facts
    learner = learner_of(bundle.manifest, config.learner)
    walk = partial(walk_paths, rows, splitter, learner, int(bundle.manifest["trees"]), labels, adjusted)
    small = len(rows.y) <= settings.research.cpcv_refit_rows
    refit = refit_in_folds(train_bars, bootstrap.feature_pipeline(settings), own) if small else None
    if refit is not None and bundle.primary is not None:
        refit = carrying(refit, own[PRIMARY_SCORE])
    paths, refitted = walk_refitted(walk, refit)
    year = math.sqrt(SESSIONS_PER_YEAR)
    return facts | {
        "paths": float(len(paths.sharpes)),
        "paths_refitted": float(refitted),
        "paths_sharpe_mean": paths.mean * year,
        "paths_sharpe_sd": paths.deviation * year,
        "paths_sharpe_least": paths.lowest * year,
        "paths_negative": paths.negative,
    }


def walk_refitted(walk: Callable[[FoldFeatures | None], Paths], refit: FoldFeatures | None) -> tuple[PathReport, bool]:
    """The paths, and whether each split's feature statistics were its own: those of short pieces of history cannot always be fitted."""
    from alphatrade_pipelines.features import FeatureInputError

    if refit is not None:
        try:
            return walk(refit).report, True
        except FeatureInputError as error:
            structlog.get_logger(__name__).warning("backtest paths use the final feature statistics", because=str(error))
    return walk(None).report, False


def _play(
    settings: Settings,
    model: ModelRef,
    bundle: Bundle,
    features: pd.DataFrame,
    bars: pd.DataFrame,
    span: tuple[pd.Timestamp, pd.Timestamp],
    predicted: pd.DataFrame | None = None,
) -> BacktestResult:
    """Trade the sessions that open in [start, end) of ``span`` with the configured fill profile, cash and seed."""
    from alphatrade_pipelines.backtest.driver import run_backtest
    from alphatrade_pipelines.market import SessionCalendar
    from alphatrade_pipelines.models.liquidity import session_liquidity
    from alphatrade_pipelines.models.signals import make_signals

    calendar, (start, end) = SessionCalendar(), span
    liquidity = session_liquidity(bars, bootstrap.timeframe(settings), calendar)
    played = bars[bars.index.get_level_values("timestamp") < end]
    exchange, core = bootstrap.exchange_config(settings, start, end), bootstrap.core_config(settings)
    return run_backtest(
        played,
        make_signals(bundle, features, bars, calendar, model.version, predicted, liquidity),
        exchange,
        core,
        model,
        bootstrap.timeframe(settings),
        calendar,
        every_event=False,
    )


def _figures(name: str, result: BacktestResult, performance: Performance) -> dict[str, int | float | str]:
    return {
        f"{name}_sessions": performance.observations,
        f"{name}_return": performance.total_return,
        f"{name}_hold_return": result.hold_return,
        f"{name}_sharpe": performance.sharpe,
        f"{name}_hold_sharpe": result.hold_sharpe,
        f"{name}_psr": performance.psr,
        f"{name}_dsr": performance.dsr,
        f"{name}_min_track_record": performance.min_track_record,
        f"{name}_min_backtest_years": performance.min_backtest_years,
        f"{name}_max_drawdown": performance.max_drawdown,
        f"{name}_pnl": float(result.summary.pnl),
        f"{name}_orders": len(result.summary.orders),
        f"{name}_fills": len(result.summary.fills),
        f"{name}_trades": len(result.trades),
        f"{name}_cost_bps": result.costs.bps_of_traded,
        f"{name}_digest": result.digest,
    }


def _headline(name: str, performance: Performance, result: BacktestResult) -> str:
    return (
        f"{name}: {performance.observations} sessions, net return {performance.total_return:.2%}, Sharpe {performance.sharpe:.2f}, "
        f"deflated {performance.dsr:.3f} over {performance.trials} effective trials, {len(result.trades)} trades, {result.profile} fills"
    )


def rollback_champion(settings: Settings, reason: str, by: str = "") -> str:
    """Make the previous champion champion again; returns its version. Raises ``NoPromotedModelError`` without one."""
    return registry(settings).rollback(reason, by).version


def _profile(name: str) -> Profile:
    return "live" if name == "live" else "paper"


def champion_to_trade(settings: Settings, mode: Mode, who: str) -> tuple[Bundle, ModelRef]:
    """The champion, if it passed the gate this mode asks for; a move of the alias outside the gate is noted in the trail by ``who``.

    Raises as :func:`~alphatrade_pipelines.models.promoted.load_promoted`.
    """
    from alphatrade_pipelines.models.errors import RegistryError
    from alphatrade_pipelines.models.promoted import load_promoted

    if _has_store(settings):
        try:
            moved = registry(settings).note_outside_move(who)
        except RegistryError as error:  # a store that can be read but not written must not stop a session
            structlog.get_logger(__name__).error("a move of the champion may go unrecorded", error=str(error))
        else:
            if moved is not None:
                structlog.get_logger(__name__).error("ALERT the champion was moved outside the gate", move=str(moved))
    return load_promoted(settings.tracking_uri, settings.model.name, REQUIRED_PROFILE[mode], settings.folders.bundles)


def _has_store(settings: Settings) -> bool:
    """False when asking MLflow would create an empty SQLite store."""
    uri = settings.tracking_uri
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def version_exists(settings: Settings, version: str) -> bool:
    """Is a version of the model registered? Raises ``RegistryError`` when MLflow cannot be reached."""
    if not _has_store(settings):
        return False
    return any(info.version == version for info in registry(settings).versions())


def model_list(settings: Settings) -> list[Any]:
    """What ``alphatrade models`` prints: versions, and the trail of champions."""
    from alphatrade_pipelines.models import render

    if not _has_store(settings):
        return ["no model yet: run the job retrain"]
    models = registry(settings)
    versions = models.versions()
    if not versions:
        return ["no model yet: run the job retrain"]
    return [render.version_table(versions), *render.trail_lines(models.trail(), models.outside_move("this command"))]


def model_details(settings: Settings, version: str) -> list[Any]:
    """What ``alphatrade models show`` prints: lineage, every criterion, figures. Raises ``RegistryError`` without it."""
    from alphatrade_pipelines.models import render

    if not _has_store(settings):
        raise bootstrap.SetupError("no model yet: run the job retrain")
    models = registry(settings)
    info = models.version(version)
    return render.details(info, models.metrics(info), bootstrap.mlflow_pages(settings))


def champion_bundle(settings: Settings) -> tuple[VersionInfo, Bundle] | None:
    """The champion's version and its verified bundle; None when there is no champion."""
    from alphatrade_pipelines.models.errors import NoPromotedModelError
    from alphatrade_pipelines.models.promoted import load_promoted

    try:
        bundle, _ = load_promoted(settings.tracking_uri, settings.model.name, "paper", settings.folders.bundles)
    except NoPromotedModelError:
        return None
    version = registry(settings).champion()
    return None if version is None else (version, bundle)


def champion_version(settings: Settings) -> VersionInfo | None:
    """The champion as the registry names it, without reading its bundle; None before the first one."""
    return registry(settings).champion() if _has_store(settings) else None


def trained_on_all(settings: Settings) -> str:
    """Which champion was trained on exactly the bars now in the store, as a sentence; empty when there are others or no usable champion."""
    from alphatrade_pipelines.models.errors import BundleFormatError

    try:
        facts = champion_bundle(settings)
    except BundleFormatError:
        return ""
    store = bootstrap.bar_store(settings)
    if facts is None or not store.exists or facts[1].manifest["data_hash"] != store.data_hash():
        return ""
    return f"champion {facts[0].version} was trained on exactly these bars"


def no_session_ended(moment: datetime) -> str:
    """Why there is nothing to learn from the New York day of ``moment`` (aware), or empty: a weekend, a holiday, a session not over yet.

    Half days are sessions; they are over in the early afternoon.
    """
    from alphatrade_pipelines.market import SessionCalendar

    calendar = SessionCalendar()
    day = moment.astimezone(ZoneInfo("America/New_York")).date()
    if calendar.session_of(moment) != day:
        return f"{day} was no session of the New York Stock Exchange"
    close = calendar.session_bounds(moment)[1]
    return f"the session of {day} closes only at {close:%H:%M} UTC" if close > moment else ""


def nothing_new_to_learn(settings: Settings) -> str:
    """Why a nightly retrain, which begins with ingest, would repeat itself, or empty. Only sample and synthetic never grow."""
    if settings.market.source not in ("sample", "synthetic"):
        return ""
    seen = trained_on_all(settings)
    return f"{seen}, and source {settings.market.source} does not grow" if seen else ""


@dataclass(frozen=True, slots=True)
class BarFile:
    """A file of bars to probe: long form with a symbol column, time stamps are bar starts."""

    path: Path
    timeframe: str
    timezone: str
    time_column: str


@dataclass(frozen=True, slots=True)
class LeakHunt:
    """Tables to show, and why it failed: empty when nothing leaks and the detector is good enough."""

    tables: tuple[Any, ...]
    problems: tuple[str, ...]


def hunt_leaks(
    settings: Settings, file: BarFile | None, size: tuple[int, int], thorough: bool, planted: bool, tell: Callable[[str], None]
) -> LeakHunt:
    """Probe the house on the latest ``size`` (time stamps, symbols) of a file, of the bar store, or of the configured source."""
    from alphatrade_pipelines.leaks.arena import build_arena, recent
    from alphatrade_pipelines.leaks.house import audit_house
    from alphatrade_pipelines.leaks.render import alarm_table, score_table
    from alphatrade_pipelines.leaks.score import mutation_score

    name, timeframe, bars = _bars_to_probe(settings, file)
    chosen = recent(bars, *size)
    tell(f"{name}: probing {len(chosen)} of {len(bars)} {timeframe} bars")
    reports = audit_house(chosen, timeframe, thorough=thorough, progress=lambda report: tell(f"  {report}"))
    problems = [f"{report.subject}: {len(report.alarms)} alarms" for report in reports if report.alarms]
    problems += [f"{report.subject}: nothing could be compared" for report in reports if not report.values_checked]
    tables: list[Any] = [alarm_table(reports)] if any(report.alarms for report in reports) else []
    if planted:
        score = mutation_score([build_arena(name, chosen)], thorough=thorough)
        tables.append(score_table(score))
        problems += [f"missed: {one}" for one in score.missed if not score.passed]
        problems += [f"false alarm: {one}" for one in score.false_alarms]
    return LeakHunt(tuple(tables), tuple(problems))


def _bars_to_probe(settings: Settings, file: BarFile | None) -> tuple[str, Timeframe, pd.DataFrame]:
    from alphatrade_pipelines.market import FilesConfig, FilesSource, Timeframe

    if file is not None:
        timeframe = Timeframe.parse(file.timeframe)
        columns = {"timestamp": file.time_column} if file.time_column != "timestamp" else {}
        zone = file.timezone or None
        config = FilesConfig(file.path, timeframe, "symbol_column", columns=columns, timezone=zone, off_session="drop")
        return file.path.stem, timeframe, FilesSource(config).fetch()
    store, timeframe = bootstrap.bar_store(settings), bootstrap.timeframe(settings)
    if store.exists:
        return settings.market.source, timeframe, store.read(settings.market.symbols)
    start, end = bootstrap.ingest_span(settings)
    return settings.market.source, timeframe, bootstrap.bar_source(settings).fetch(settings.market.symbols, start, end)


def journal_files(settings: Settings) -> list[Path]:
    """Journals of the mode in force, newest first."""
    return bootstrap.journal_places(settings, f"{settings.mode}-*")


def newest_journal(settings: Settings) -> Path:
    """The journal written last in the mode in force. Raises ``SetupError`` before any session."""
    found = journal_files(settings)
    if not found:
        raise bootstrap.SetupError(f"no journal of mode {settings.mode} under {settings.folders.journals}: run a session first")
    return found[0]


def journal_with(settings: Settings, client_order_id: str) -> Path:
    """The newest journal, of any mode, that mentions an order id; the newest one of all when none does (its error then names near ids)."""
    for path in bootstrap.journal_places(settings, "*"):
        if any(client_order_id in repr(event) for event in read_events(settings, path)):
            return path
    return newest_journal(settings)


def read_events(settings: Settings, path: Path) -> list[Event]:
    """All events of a journal, oldest first."""
    with bootstrap.journal_reader(settings, path) as reader:
        return [event for _, event in reader.events()]
