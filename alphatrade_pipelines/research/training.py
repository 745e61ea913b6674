"""A training with settings applied: counted in the ledger before its first fit, fitted, registered as the challenger."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alphatrade_pipelines import bootstrap
from alphatrade_pipelines.research import tracking
from alphatrade_pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from alphatrade_pipelines.models.primary import PrimaryModel
    from alphatrade_pipelines.models.registry import VersionInfo
    from alphatrade_pipelines.models.training import TrainingResult

LEARNT_BY = ("market", "features", "models")  # rooms whose code makes a trial another one


@contextmanager
def open_trial(settings: Settings, state: str, dagster_run_id: str) -> Iterator[str]:
    """An MLflow run that counts from before the first fit; what fails inside ends it with its reason. Gives the run id."""
    from alphatrade_pipelines.models.trials import trial_key

    models = tracking.registry(settings)
    facts = {
        "data": bootstrap.bar_store(settings).data_hash(),
        "features": hashlib.sha256(state.encode()).hexdigest(),
        "config": bootstrap.train_config(settings).facts(),
        "code": bootstrap.code_hash(*LEARNT_BY),
    }
    key, tags = trial_key(facts), tracking.lineage(settings, dagster_run_id).tags
    with tracking.trial_ledger(settings).trial(models.experiment_id(), key, {**tags, "data_hash": str(facts["data"])}) as run_id:
        yield run_id


def count_tuning(settings: Settings, trial: str) -> Callable[[Mapping[str, Any]], None]:
    """Writes knobs that are about to be tried into the run ``trial``, as what a training configured with them would be.

    As a training's, each counts once for every version of the data, whatever the number of folds (docs/models.md, Trials).
    """
    from dataclasses import replace

    from alphatrade_pipelines.models.trials import trial_key

    ledger, config = tracking.trial_ledger(settings), bootstrap.train_config(settings)
    facts = {"market": settings.market.model_dump(mode="json"), "code": bootstrap.code_hash(*LEARNT_BY)}
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
        tracking.trial_ledger(settings).finish(run_id, "the primary model, fitted")
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
    return tracking.registry(settings).log_candidate(trained, features, tracking.lineage(settings, dagster_run_id), trial=trial)
