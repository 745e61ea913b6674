"""Where models and trials are kept, the registry and the ledger in MLflow, and the lineage that ties them to Dagster and to orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.settings import Settings

if TYPE_CHECKING:
    from alphatrade_pipelines.models.registry import Lineage, ModelRegistry, VersionInfo
    from alphatrade_pipelines.models.trials import TrialLedger
    from alphatrade_pipelines.trading.domain import ModelRef

EXPERIMENT = "alphatrade"


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


def lineage(settings: Settings, dagster_run_id: str) -> Lineage:
    """The Dagster run behind a candidate, with the address of its page."""
    from alphatrade_pipelines.models.registry import Lineage

    return Lineage(dagster_run_id, dagster_url=bootstrap.dagster_page(settings, dagster_run_id))


def model_ref(info: VersionInfo) -> ModelRef:
    """The lineage of a version, as orders carry it."""
    from alphatrade_pipelines.trading.domain import ModelRef

    tags = info.tags
    run, data, commit, sealed = (tags.get(name, "") for name in ("dagster.run_id", "data_hash", "git_commit", "bundle_hash"))
    return ModelRef(info.name, info.version, sealed, info.run_id, run, data, commit, info.profile)
