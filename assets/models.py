"""Group `models`: labels, the trained and calibrated candidate, and what is known about it out of sample."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import champions, promoting, training
from alphatrade_pipelines.settings import Settings
from assets.data import OWNERS, bars
from assets.links import mlflow_links
from assets.plots import figure, picture
from assets.reuse import KeptFacts, KeptFrame, reusable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from alphatrade_pipelines.models.primary import PrimaryModel

OUT_OF_FOLD = "model_candidate_oof.parquet"


@dg.asset(group_name="models", owners=OWNERS, kinds={"catboost", "json"}, code_version="1", deps=[bars], pool="training")
@reusable(
    inputs=("bars", "feature_state", "features"),
    rooms=("market", "features", "models", "research"),
    sections=("market", "model", "research"),
    kept=KeptFacts,
)
def primary_model(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], features: pd.DataFrame, feature_state: dict[str, str]
) -> dg.MaterializeResult[dict[str, Any]]:
    """Who proposes each bet: always long, a rule, or a model of direction refitted on past outcomes only, as `model.primary` says."""
    fitted = training.fit_primary_model(settings, features, feature_state["state"], context.run.run_id)
    label = bootstrap.label_config(settings)
    if fitted is None:
        who = "long at every bar" if label.primary_column is None else f"{label.primary} of {label.primary_column}"
        return dg.MaterializeResult(value={}, metadata={"proposes": who})
    sides = label.side(fitted.scored(features), features.index)
    facts = fitted.facts()
    return dg.MaterializeResult(
        value=fitted.to_dict(),
        metadata={
            "proposes": "a primary model",
            **{name: facts[name] for name in ("fits", "first_after", "last_after", "last_known_before", "last_rows")},
            "features": len(facts["columns"]),
            "bets": float((sides != 0).mean()),
        },
    )


def _primary(stored: dict[str, Any]) -> "PrimaryModel | None":
    from alphatrade_pipelines.models.primary import PrimaryModel

    return PrimaryModel.from_dict(stored) if stored else None


@dg.asset(group_name="models", owners=OWNERS, kinds={"parquet", "numba"}, code_version="2", deps=[bars])
@reusable(
    inputs=("bars", "features", "primary_model"),
    rooms=("market", "features", "models"),
    sections=("market", "model", "research"),
    kept=KeptFrame,
)
def labels(
    settings: dg.ResourceParam[Settings], features: pd.DataFrame, primary_model: dict[str, Any]
) -> dg.MaterializeResult[pd.DataFrame]:
    """Outcome of the very bracket that live trading would place (next open, net of cost), labelled as `model.label` says."""
    from alphatrade_pipelines.market import adjust_forward
    from alphatrade_pipelines.models.labels import make_labels
    from alphatrade_pipelines.models.weights import average_uniqueness

    train = bootstrap.training_bars(settings, bootstrap.bar_store(settings).read())
    own, config = features.loc[train.index], bootstrap.label_config(settings)
    primary = _primary(primary_model)
    own = own if primary is None else primary.scored(own)
    frame = make_labels(adjust_forward(train), own["vol_ewma"], config, own)
    uniqueness = average_uniqueness(frame)
    return dg.MaterializeResult(
        value=frame,
        metadata={
            "rows": len(frame),
            "kind": config.kind,
            "win_rate": float(frame["label"].mean()),
            "mean_net_return": float(frame["ret"].mean()),
            "last_known": str(frame["t1"].max()),
            "mean_uniqueness": float(uniqueness.mean()),
            "exits": picture("Net return of the bracket, by how it ended", _returns(frame)),
            "exits_over_time": picture("How brackets ended, share by month, and the share labelled 1", _exits(frame)),
            "uniqueness": picture("Uniqueness of labels over time: 1 = no other label of the symbol lives then", _uniqueness(uniqueness)),
        },
    )


def _candidate_exists(settings: Settings) -> bool:
    """The bundle, the out-of-fold predictions and the registered version of the stored candidate: somebody may have deleted any of them."""
    facts = json.loads((settings.folders.assets / "model_candidate.json").read_text())
    files = Path(facts["bundle"]).is_dir() and (settings.folders.assets / OUT_OF_FOLD).exists()
    return files and champions.version_exists(settings, str(facts["version"]))


@dg.asset(
    group_name="models",
    owners=OWNERS,
    kinds={"catboost", "mlflow"},
    code_version="1",
    deps=[bars],
    pool="training",
)
@reusable(
    inputs=("bars", "feature_state", "features", "labels", "primary_model"),
    rooms=("market", "features", "models", "research"),
    sections=("market", "model", "research"),
    kept=KeptFacts,
    still_there=_candidate_exists,
)
def model_candidate(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    features: pd.DataFrame,
    labels: pd.DataFrame,
    feature_state: dict[str, str],
    primary_model: dict[str, Any],
) -> dg.MaterializeResult[dict[str, Any]]:
    """Purged out-of-fold predictions, calibration, the sealed bundle; logged to MLflow, registered, alias `challenger`."""
    from alphatrade_pipelines.models.plots import reliability_figure

    with training.open_trial(settings, feature_state["state"], context.run.run_id) as trial:
        trained = training.train_candidate(settings, features, labels, feature_state["state"], trial, _primary(primary_model))
        version = training.register_candidate(settings, trained, features, context.run.run_id, trial)
    folder = trained.bundle.save(settings.folders.bundles / trained.bundle.content_hash[:16])
    trained.oof.to_parquet(settings.folders.assets / OUT_OF_FOLD)
    metrics = {name: float(value) for name, value in trained.metrics.items() if math.isfinite(value)}
    return dg.MaterializeResult(
        value={"version": version.version, "mlflow_run_id": version.run_id, "bundle": str(folder), "metrics": metrics},
        data_version=dg.DataVersion(trained.bundle.content_hash),
        metadata={
            "model_version": version.version,
            "mlflow_run_id": version.run_id,
            **mlflow_links(settings, version.run_id, version.version),
            "bundle_hash": trained.bundle.content_hash,
            "data_hash": str(trained.bundle.manifest["data_hash"]),
            "git_commit": str(trained.bundle.manifest["git_commit"]),
            "metrics": _table(metrics),
            "folds": dg.MetadataValue.md(bootstrap.as_markdown(trained.folds.reset_index())),
            "reliability": figure("Reliability", reliability_figure(trained.reliability, trained.metrics["base_rate"])),
            "importance": picture("Feature importance, %", _importance(trained.importance), height=4.2),
        },
    )


@dg.asset(group_name="models", owners=OWNERS, kinds={"python", "mlflow"}, code_version="1")
@reusable(
    inputs=("bars", "feature_state", "model_candidate"),
    rooms=("market", "features", "models", "leaks", "research"),
    sections=("market", "model", "research"),
    kept=KeptFacts,
)
def model_evaluation(
    settings: dg.ResourceParam[Settings], model_candidate: dict[str, Any], feature_state: dict[str, str]
) -> dg.MaterializeResult[dict[str, float]]:
    """What the gate asks beyond training: the look-ahead probe on the state the model was trained with, and the champion on equal rows."""
    from alphatrade_pipelines.features import FittedPipeline
    from alphatrade_pipelines.leaks.house import audit_nightly

    probe = audit_nightly(FittedPipeline.from_json(feature_state["state"]), bootstrap.bar_store(settings).read())
    oof = pd.read_parquet(settings.folders.assets / OUT_OF_FOLD)
    metrics = promoting.evaluate_candidate(settings, model_candidate["version"], model_candidate["metrics"], oof, probe.clean)
    return dg.MaterializeResult(value=metrics, metadata={"metrics": _table(metrics), "values_probed": probe.values_checked})


@dg.asset_check(
    asset=model_evaluation, description="Calibrated: expected calibration error within what a perfect model of this size would show"
)
def calibrated(model_evaluation: dict[str, float]) -> dg.AssetCheckResult:
    ece, noise = model_evaluation["ece"], model_evaluation["ece_noise_95"]
    limit = max(promoting.gate_thresholds().max_ece, noise)
    return dg.AssetCheckResult(
        passed=ece <= limit,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"ECE {ece:.4f}; allowed {limit:.4f} (a perfect model shows up to {noise:.4f} in 95 of 100 samples)",
        metadata={"ece": ece, "limit": limit, "log_loss": model_evaluation["log_loss"], "base_log_loss": model_evaluation["base_log_loss"]},
    )


def _table(metrics: dict[str, float]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(bootstrap.as_markdown(pd.DataFrame(sorted(metrics.items()), columns=["metric", "value"])))


def _returns(frame: pd.DataFrame) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        for name, rows in frame.groupby("exit", observed=True):
            axes.hist(rows["ret"] * 100, bins=80, alpha=0.6, label=f"{name} ({len(rows)})")
        axes.set_xlabel("net return of the bracket, %")
        axes.legend(frameon=False, fontsize=8)

    return draw


def _by_month(values: pd.Series) -> pd.Series:
    stamps = pd.DatetimeIndex(values.index.get_level_values("timestamp")).tz_localize(None)
    monthly: pd.Series = values.groupby(stamps.to_period("M")).mean()
    return monthly.set_axis(pd.PeriodIndex(monthly.index).to_timestamp())


def _exits(frame: pd.DataFrame) -> "Callable[[Axes], None]":
    kinds = ("stop", "horizon", "target")
    shares = [_by_month((frame["exit"] == kind).astype("float64")) for kind in kinds]
    wins = _by_month(frame["label"].astype("float64"))

    def draw(axes: "Axes") -> None:
        axes.stackplot(wins.index, *(share.to_numpy() for share in shares), labels=kinds, colors=("#d9827e", "#d5d5d5", "#86b58a"))
        axes.plot(wins.index, wins.to_numpy(), color="black", linewidth=1.2, label="labelled 1")
        axes.set_ylim(0, 1)
        axes.margins(x=0)
        axes.legend(framealpha=0.9, edgecolor="none", fontsize=8, ncols=4, loc="upper left")

    return draw


def _uniqueness(uniqueness: pd.Series) -> "Callable[[Axes], None]":
    by_symbol = {str(symbol): _by_month(own) for symbol, own in uniqueness.groupby(level="symbol")}
    mean = _by_month(uniqueness)

    def draw(axes: "Axes") -> None:
        for own in list(by_symbol.values())[:30]:
            axes.plot(own.index, own.to_numpy(), color="grey", linewidth=0.6, alpha=0.5)
        axes.plot(mean.index, mean.to_numpy(), color="#1f5f8b", linewidth=1.6, label=f"mean {uniqueness.mean():.3f}; thin: each symbol")
        axes.set_ylim(0, None)
        axes.margins(x=0)
        axes.legend(frameon=False, fontsize=8)

    return draw


def _importance(importance: pd.Series) -> "Callable[[Axes], None]":
    ordered = importance.sort_values()

    def draw(axes: "Axes") -> None:
        axes.barh(ordered.index, ordered.to_numpy(), height=0.7)
        axes.tick_params(labelsize=7)

    return draw
