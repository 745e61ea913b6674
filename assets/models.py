"""Group `models`: labels, the trained and calibrated candidate, and what is known about it out of sample."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from alphatrade_pipelines import bootstrap, research
from alphatrade_pipelines.settings import Settings
from assets.data import OWNERS, bars
from assets.links import mlflow_links
from assets.plots import figure, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUT_OF_FOLD = "model_candidate_oof.parquet"


@dg.asset(group_name="models", owners=OWNERS, kinds={"parquet", "numba"}, code_version="1", deps=[bars])
def labels(settings: dg.ResourceParam[Settings], features: pd.DataFrame) -> dg.MaterializeResult[pd.DataFrame]:
    """Triple-barrier outcome of the very bracket that live trading would place at each training bar: next open, net of cost."""
    from alphatrade_pipelines.market import adjust_forward
    from alphatrade_pipelines.models.labels import triple_barrier

    train = bootstrap.training_bars(settings, bootstrap.bar_store(settings).read())
    frame = triple_barrier(adjust_forward(train), features.loc[train.index, "vol_ewma"], bootstrap.train_config(settings).barrier)
    return dg.MaterializeResult(
        value=frame,
        metadata={
            "rows": len(frame),
            "win_rate": float(frame["label"].mean()),
            "mean_net_return": float(frame["ret"].mean()),
            "last_known": str(frame["t1"].max()),
            "exits": picture("Net return of the bracket, by how it ended", _returns(frame)),
        },
    )


@dg.asset(
    group_name="models",
    owners=OWNERS,
    kinds={"catboost", "mlflow"},
    code_version="1",
    deps=[bars],
    pool="training",
)
def model_candidate(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    features: pd.DataFrame,
    labels: pd.DataFrame,
    feature_state: dict[str, str],
) -> dg.MaterializeResult[dict[str, Any]]:
    """Purged out-of-fold predictions, calibration, the sealed bundle; logged to MLflow, registered, alias `challenger`."""
    from alphatrade_pipelines.models.plots import reliability_figure

    with research.open_trial(settings, feature_state["state"], context.run_id) as trial:
        trained = research.train_candidate(settings, features, labels, feature_state["state"])
        version = research.register_candidate(settings, trained, features, context.run_id, trial)
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
def model_evaluation(
    settings: dg.ResourceParam[Settings], model_candidate: dict[str, Any], feature_state: dict[str, str]
) -> dg.MaterializeResult[dict[str, float]]:
    """What the gate asks beyond training: the look-ahead probe on the state the model was trained with, and the champion on equal rows."""
    from alphatrade_pipelines.features import FittedPipeline
    from alphatrade_pipelines.leaks.house import audit_features

    probe = audit_features(FittedPipeline.from_json(feature_state["state"]), bootstrap.bar_store(settings).read(), cuts=3)
    oof = pd.read_parquet(settings.folders.assets / OUT_OF_FOLD)
    metrics = research.evaluate_candidate(settings, model_candidate["metrics"], oof, probe.clean)
    return dg.MaterializeResult(value=metrics, metadata={"metrics": _table(metrics), "values_probed": probe.values_checked})


@dg.asset_check(
    asset=model_evaluation, description="Calibrated: expected calibration error within what a perfect model of this size would show"
)
def calibrated(model_evaluation: dict[str, float]) -> dg.AssetCheckResult:
    ece, noise = model_evaluation["ece"], model_evaluation["ece_noise_95"]
    limit = max(research.gate_thresholds().max_ece, noise)
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


def _importance(importance: pd.Series) -> "Callable[[Axes], None]":
    ordered = importance.sort_values()

    def draw(axes: "Axes") -> None:
        axes.barh(ordered.index, ordered.to_numpy(), height=0.7)
        axes.tick_params(labelsize=7)

    return draw
