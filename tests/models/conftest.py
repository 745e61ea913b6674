"""One small training and one store of MLflow, shared by the tests of what comes after them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from alphatrade_pipelines.models import LearnerConfig, ModelRegistry, Provenance, RegistryConfig, TrainConfig, TrainingResult, train
from tests.models.makers import MadeUpState, planted, random_bars

SYMBOLS = ["A", "B", "C"]
CONFIG = TrainConfig(learner=LearnerConfig(iterations=40, threads=2))
STATE = MadeUpState(("f0", "f1", "f2"))
PROVENANCE = Provenance(data_hash="d" * 64, data_source="made up", timeframe="1Day", synthetic=True, git_commit="c0ffee")


def train_planted(
    edge: float = 1.0, n: int = 400, seed: int = 0, config: TrainConfig = CONFIG
) -> tuple[TrainingResult, pd.DataFrame, pd.Series]:
    features, labels, truth = planted(SYMBOLS, n, edge, seed)
    result = train(features, labels, STATE, config, bars=random_bars(SYMBOLS, n), provenance=PROVENANCE)
    return result, features, truth


@pytest.fixture(scope="session")
def trained() -> tuple[TrainingResult, pd.DataFrame, pd.Series]:
    return train_planted()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RegistryConfig:
    folder = tmp_path_factory.mktemp("mlflow")
    return RegistryConfig(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts"))


@pytest.fixture
def registry(config: RegistryConfig, request: pytest.FixtureRequest) -> ModelRegistry:
    """One store (migrations cost seconds), one model name and experiment a test."""
    return ModelRegistry(replace(config, model_name=request.node.name, experiment=request.node.name))
