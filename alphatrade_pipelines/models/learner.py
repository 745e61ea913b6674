"""Gradient-boosted trees with everything fixed that could make two trainings differ."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.trees import Trees

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """CatBoost's knobs. Shallow trees, few of them and strong shrinkage: on market data the danger is noise, not lack of capacity.

    ``l2_share`` shrinks leaf values in units of all rows: a leaf that holds this share of them is halved, however many rows there are, so
    the models of the folds and the final model are shrunk alike and one calibration fits them all. ``iterations`` is the most trees ever
    grown, ``stage`` the step in which early stopping looks for the best number. ``monotone``: (feature, 1 or -1) pairs along which the
    score may only rise or only fall, where one knows the sign and does not want to be told otherwise by noise.

    Below some ten thousand rows CatBoost gives the same trees with any number of ``threads``; above, sums are taken in blocks and the last
    bits of a split's score, hence sometimes the split, depend on it. The number is part of the configuration and so of the bundle's hash.
    """

    iterations: int = 200
    depth: int = 3
    learning_rate: float = 0.03
    l2_share: float = 0.005
    row_share: float = 0.6
    column_share: float = 0.6
    stage: int = 10
    seed: int = 7
    threads: int = 2
    monotone: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.stage <= self.iterations:
            raise ModelDataError("1 <= stage <= iterations", f"stage={self.stage}, iterations={self.iterations}")
        names = [name for name, _ in self.monotone]
        if len(set(names)) < len(names) or any(sign not in (1, -1) for _, sign in self.monotone):
            raise ModelDataError("monotone features once each, with 1 or -1", repr(self.monotone))

    def constraints(self, names: Sequence[str]) -> list[int]:
        """1, -1 or 0 for each feature. Raises ModelDataError for a monotone feature that is not among them."""
        signs = dict(self.monotone)
        unknown = sorted(set(signs) - set(names))
        if unknown:
            raise ModelDataError(f"monotone features among {list(names)}", ", ".join(unknown), "Correct the name.")
        return [signs.get(name, 0) for name in names]


def balanced(y: FloatArray, weights: FloatArray) -> FloatArray:
    """Scale weights so that both classes weigh the same and the average is one.

    A score then says what the features add, and nothing about the base rate of the rows it was trained on. Without this, folds with few
    wins are predicted from training rows with many: pooled out-of-fold scores would point the wrong way.
    """
    win = y > 0.5
    share = float(weights[win].sum() / weights.sum())
    if not 0.0 < share < 1.0:
        raise ModelDataError("wins and losses among the training labels", "one class only", "Use more history or other barriers.")
    scaled = np.where(win, weights * 0.5 / share, weights * 0.5 / (1.0 - share))
    return np.asarray(scaled / scaled.mean(), dtype=np.float64)


def fit_trees(X: FloatArray, y: FloatArray, weights: FloatArray, iterations: int, config: LearnerConfig, names: Sequence[str] = ()) -> Any:
    """A fitted ``CatBoostClassifier`` on balanced classes; equal input gives an equal model on one machine and thread count.

    ``names`` of the columns are needed when there are monotone features. Raises ModelDataError for no rows, one class only or constant
    features.
    """
    from catboost import CatBoostClassifier, Pool

    if len(y) == 0:
        raise ModelDataError("training rows", "none left after purging", "Load more history, or use fewer folds or a shorter embargo.")
    if not (np.nanmax(X, axis=0) > np.nanmin(X, axis=0)).any():
        raise ModelDataError("at least one feature that varies", "constant features only", "Use more history or other features.")
    model = CatBoostClassifier(
        iterations=iterations,
        depth=config.depth,
        learning_rate=config.learning_rate,
        l2_leaf_reg=config.l2_share * len(y),
        loss_function="Logloss",
        boosting_type="Plain",
        bootstrap_type="Bernoulli",
        subsample=config.row_share,
        rsm=config.column_share,
        monotone_constraints=config.constraints(names) if config.monotone else None,
        random_seed=config.seed,
        thread_count=config.threads,
        allow_writing_files=False,
        verbose=False,
    )
    model.fit(Pool(X, label=y.astype(np.int64), weight=balanced(y, weights)))
    return model


def scores(model: Any, X: FloatArray) -> FloatArray:
    """Uncalibrated P(1) on balanced classes, by the code that predicts live: CatBoost's ``predict_proba`` to the last bit."""
    return Trees.of(model).scores(X)


def staged_scores(model: Any, X: FloatArray, config: LearnerConfig) -> FloatArray:
    """Scores after each ``stage`` trees, shape (stages, rows)."""
    stages = model.staged_predict_proba(X, ntree_start=0, eval_period=config.stage, thread_count=config.threads)
    return np.array([stage[:, 1] for stage in stages], dtype=np.float64)


def stage_counts(config: LearnerConfig) -> npt.NDArray[np.int64]:
    """Number of trees at each row of :func:`staged_scores`."""
    counts = list(range(config.stage, config.iterations + 1, config.stage))
    if counts[-1] != config.iterations:
        counts.append(config.iterations)
    return np.array(counts, dtype=np.int64)


def model_bytes(model: Any) -> bytes:
    """The ``.cbm`` file, without what CatBoost writes into it beside the model (the time, a random id, how many threads there were): equal
    trees, equal bytes."""
    metadata = model.get_metadata()
    for key in ("model_guid", "train_finish_time"):
        metadata[key] = ""
    metadata["params"] = re.sub(r'"thread_count":\d+', '"thread_count":0', metadata["params"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path))
        return path.read_bytes()


def model_from_bytes(blob: bytes) -> Any:
    """The inverse of :func:`model_bytes`."""
    from catboost import CatBoostClassifier

    return CatBoostClassifier().load_model(blob=blob)
