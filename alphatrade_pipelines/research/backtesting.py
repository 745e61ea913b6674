"""The backtests of a candidate with settings applied, and what its Sharpe ratio is deflated by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import tracking
from alphatrade_pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from alphatrade_pipelines.backtest.evidence import Paths
    from alphatrade_pipelines.backtest.overfitting import EffectiveTrials, PathReport
    from alphatrade_pipelines.backtest.result import BacktestResult
    from alphatrade_pipelines.backtest.statistics import Performance
    from alphatrade_pipelines.models.bundle import Bundle
    from alphatrade_pipelines.models.folds import FoldFeatures
    from alphatrade_pipelines.trading.domain import ModelRef


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

    models, ledger = tracking.registry(settings), tracking.trial_ledger(settings)
    info, bundle = models.version(version), Bundle.load(bundle_folder)
    bars = bootstrap.bar_store(settings).read()
    named = play_candidate(settings, tracking.model_ref(info), bundle, features, bars, oof)
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
