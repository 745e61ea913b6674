"""One training as one MLflow run: what went in, what came out, and the bundle as a model written in code."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alphatrade_pipelines.models._mlflow import store
from alphatrade_pipelines.models.labels import PRIMARY_SCORE
from alphatrade_pipelines.models.plots import reliability_figure
from alphatrade_pipelines.models.trials import HASH_TAG, TRIAL_TAG

if TYPE_CHECKING:
    from alphatrade_pipelines.models.registry import Lineage, RegistryConfig
    from alphatrade_pipelines.models.training import TrainingResult

_MODEL_CODE = Path(__file__).with_name("pyfunc_model.py")


def log_run(
    config: RegistryConfig,
    experiment_id: str,
    result: TrainingResult,
    features: pd.DataFrame,
    lineage: Lineage,
    extra_metrics: Mapping[str, float],
    trial: str | None = None,
) -> tuple[str, str]:
    """Log the run; returns (run id, URI of the logged model). The run ends FAILED when something raises on the way.

    ``trial``: the run opened before the first fit, which is then completed; None begins one.
    """
    bundle = result.bundle
    X = bundle.scored(features.loc[result.oof.index])[bundle.feature_names]
    metrics = {name: float(value) for name, value in {**result.metrics, **extra_metrics}.items() if np.isfinite(value)}
    begun: dict[str, Any] = {"experiment_id": experiment_id} if trial is None else {"run_id": trial}
    with store(config.tracking_uri) as mlflow, mlflow.start_run(**begun):
        run_id = str(mlflow.active_run().info.run_id)
        mlflow.set_tags(_tags(result, lineage))
        mlflow.log_params(_params(result))
        dataset = mlflow.data.from_pandas(
            X.reset_index().assign(label=result.oof["label"].to_numpy()),
            source=mlflow.data.code_dataset_source.CodeDatasetSource(
                {"data_source": bundle.manifest["data_source"], "data_hash": bundle.manifest["data_hash"]}
            ),
            targets="label",
            name="training_rows",
        )
        # MLflow would look at every value in Python, minutes for a million rows: the first ones have the same columns, and none has a gap
        head = X.head(100).drop(columns=PRIMARY_SCORE, errors="ignore")  # a score that the bundle works out by itself
        dataset.__dict__["schema"] = mlflow.models.infer_signature(dataset.df.head(100)).inputs
        mlflow.log_input(dataset, context="training")
        with tempfile.TemporaryDirectory() as folder:
            _write_evaluation(Path(folder) / "evaluation", result)
            mlflow.log_artifacts(folder)
            model = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(_MODEL_CODE),
                artifacts={"bundle": str(bundle.save(Path(folder) / "bundle"))},
                signature=mlflow.models.infer_signature(head, bundle.predict(head.head(5))),
                input_example=head.head(3).reset_index(drop=True),
                pip_requirements=[f"{name}=={version}" for name, version in bundle.manifest["versions"].items() if name != "python"],
            )
        mlflow.log_figure(reliability_figure(result.reliability, result.metrics["base_rate"]), "evaluation/reliability.png")
        mlflow.log_metrics(metrics, dataset=dataset, model_id=model.model_id)
        for name in ("log_loss", "base_log_loss", "auc"):
            for fold, value in enumerate(result.folds[name]):
                if np.isfinite(value):
                    mlflow.log_metric(f"fold_{name}", float(value), step=fold)
    return run_id, f"models:/{model.model_id}"


def _write_evaluation(folder: Path, result: TrainingResult) -> None:
    folder.mkdir()
    result.oof.to_parquet(folder / "oof.parquet")
    result.folds.to_csv(folder / "folds.csv")
    result.importance.to_csv(folder / "importance.csv")


def _tags(result: TrainingResult, lineage: Lineage) -> dict[str, str]:
    manifest = result.bundle.manifest
    return {
        **lineage.tags,
        "data_hash": str(manifest["data_hash"]),
        "data_source": str(manifest["data_source"]),
        "synthetic": str(manifest["synthetic"]).lower(),
        "feature_hash": str(manifest["feature_hash"]),
        "git_commit": str(manifest["git_commit"]),
        HASH_TAG: result.bundle.content_hash,
        TRIAL_TAG: "true",
    }


def _params(result: TrainingResult) -> dict[str, Any]:
    manifest = result.bundle.manifest
    nested = _flat(result.config.facts())
    facts = {name: manifest[name] for name in ("timeframe", "train_start", "train_end", "known_through", "rows", "trees")}
    return {**nested, **facts, "calibrator": manifest["calibration"]["kind"], "symbols": " ".join(manifest["symbols"])[:500]}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested dictionaries under dotted names."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found
