"""From a Dagster page to the MLflow page of the same thing."""

import dagster as dg

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import tracking
from alphatrade_pipelines.settings import Settings


def mlflow_links(settings: Settings, run_id: str, version: str) -> dict[str, dg.MetadataValue[str]]:
    """Addresses to click when an MLflow server answers; else the run id alone (``alphatrade ui`` starts one)."""
    base = bootstrap.mlflow_pages(settings)
    if not base:
        return {"mlflow_run": dg.MetadataValue.text(f"{run_id} (no MLflow server answered; start `alphatrade ui`)")}
    models = tracking.registry(settings)
    return {
        "mlflow_run": dg.MetadataValue.url(f"{base}/#/experiments/{models.experiment_id()}/runs/{run_id}"),
        "mlflow_version": dg.MetadataValue.url(f"{base}/#/models/{models.config.model_name}/versions/{version}"),
    }
