"""MLflow, imported late, kept quiet, and pointed at one store at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphatrade_pipelines.models.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def mlflow_module() -> Any:
    """The library (importing it costs seconds), with telemetry off and its start-up chatter below warnings."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # a tracking server that is down is said so within seconds, not after minutes of silent retries
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    for name in ("alembic", "mlflow.store.db.utils", "mlflow.tracking", "mlflow.models", "mlflow.pyfunc", "mlflow.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def client(tracking_uri: str) -> MlflowClient:
    """A client of one store. Raises RegistryError when the folder of a SQLite file does not exist."""
    if tracking_uri.startswith("sqlite:///"):
        path = Path(tracking_uri.removeprefix("sqlite:///"))
        if not path.parent.is_dir():
            raise RegistryError(
                f"expected a folder for the MLflow store at {path.parent}, found none; create it or correct the tracking URI"
            )
    return mlflow_module().MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@contextmanager
def store(tracking_uri: str) -> Iterator[Any]:
    """MLflow's fluent API bound to ``tracking_uri``, and put back afterwards."""
    mlflow = mlflow_module()
    # MLflow mirrors both settings in the environment; there, unlike in its getters, "never set" can be told from a default
    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    try:
        yield mlflow
    finally:
        mlflow.set_tracking_uri(before["MLFLOW_TRACKING_URI"])
        mlflow.set_registry_uri(before["MLFLOW_REGISTRY_URI"])
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def registry_errors(doing: str) -> Iterator[None]:
    """Turn MLflow's and the database's exceptions into one that says what was being done."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise RegistryError(f"MLflow failed while {doing}: {error}") from error
