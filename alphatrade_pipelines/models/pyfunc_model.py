"""MLflow's models-from-code entry: this file is stored with the model and wraps the bundle folder. Nothing is pickled."""

from __future__ import annotations

from typing import Any

import pandas as pd

import mlflow
from alphatrade_pipelines.models.bundle import Bundle


class BundleModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
    """probability, lower, upper for rows of features."""

    def load_context(self, context: Any) -> None:
        self.bundle = Bundle.load(context.artifacts["bundle"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        return self.bundle.predict(model_input)


mlflow.models.set_model(BundleModel())
