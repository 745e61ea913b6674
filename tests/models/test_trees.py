"""The compiled trees against CatBoost, bit for bit; one row against a batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor

from alphatrade_pipelines.models import ModelDataError, TrainingResult
from alphatrade_pipelines.models.learner import LearnerConfig, fit_trees, model_bytes, scores
from alphatrade_pipelines.models.trees import Trees

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]


def made_up(nan_mode: str, depth: int, trees: int) -> tuple[CatBoostClassifier, np.random.Generator]:
    """Six features of different scales, one constant, one with gaps unless they are forbidden."""
    rng = np.random.default_rng(depth)
    X = rng.normal(size=(2500, 6)).cumsum(axis=1) * [1, 1e-6, 1e6, 1, 1, 0]
    y = (rng.random(2500) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    if nan_mode != "Forbidden":
        X[rng.random(2500) < 0.1, 4] = np.nan
    model = CatBoostClassifier(
        iterations=trees, depth=depth, nan_mode=nan_mode, random_seed=1, thread_count=1, verbose=False, allow_writing_files=False
    )
    return model.fit(X, y), rng


def hostile_rows(model: CatBoostClassifier, rng: np.random.Generator, gaps: bool) -> np.ndarray:
    """Random rows, with borders themselves, their neighbours in single and in double precision, zeros, infinities and gaps mixed in."""
    Z = rng.normal(size=(3000, 6)).cumsum(axis=1) * [1, 1e-6, 1e6, 1, 1, 0]
    for column, borders in model.get_borders().items():
        if not borders:
            continue
        at = np.array(borders, dtype=np.float32)
        near = [at, np.nextafter(at, np.float32(1e30)), np.nextafter(at, np.float32(-1e30))]
        near += [np.nextafter(at.astype(float), 1e30), np.nextafter(at.astype(float), -1e30), np.array([0.0, -0.0, np.inf, -np.inf])]
        for values in near:
            chosen = rng.random(3000) < 0.1
            Z[chosen, column] = rng.choice(values.astype(float), chosen.sum())
    if gaps:
        Z[rng.random(3000) < 0.1, 4] = np.nan
    return Z


@pytest.mark.parametrize("nan_mode", ["Min", "Max", "Forbidden"])
@pytest.mark.parametrize(("depth", "trees"), [(1, 7), (3, 60), (6, 300)])
def test_equal_to_catboost_to_the_last_bit(nan_mode: str, depth: int, trees: int) -> None:
    model, rng = made_up(nan_mode, depth, trees)
    Z = hostile_rows(model, rng, gaps=nan_mode != "Forbidden")
    ours = Trees.of(model)
    np.testing.assert_array_equal(ours.margins(Z), model.predict(Z, prediction_type="RawFormulaVal"))
    np.testing.assert_array_equal(ours.scores(Z), model.predict_proba(Z)[:, 1])
    single = [model.predict(row[None], prediction_type="RawFormulaVal", thread_count=1)[0] for row in Z[:100]]
    np.testing.assert_array_equal(ours.margins(Z[:100]), single)


def test_scale_and_bias_count() -> None:
    model, rng = made_up("Min", 3, 30)
    model.set_scale_and_bias(0.7, -0.123)
    Z = hostile_rows(model, rng, gaps=True)
    np.testing.assert_array_equal(Trees.of(model).margins(Z), model.predict(Z, prediction_type="RawFormulaVal"))


def test_the_cbm_file_gives_the_same_trees() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 3))
    y = (X[:, 0] + rng.normal(size=800) > 0).astype(float)
    model = fit_trees(X, y, np.ones(800), 40, LearnerConfig(iterations=40))
    np.testing.assert_array_equal(Trees.from_cbm(model_bytes(model)).scores(X), model.predict_proba(X)[:, 1])
    np.testing.assert_array_equal(scores(model, X), model.predict_proba(X)[:, 1])
    assert len(Trees.of(model).scores(X[:0])) == 0


def test_refuses_what_the_house_never_trains() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    quiet = {"iterations": 3, "verbose": False, "allow_writing_files": False, "thread_count": 1}
    with pytest.raises(ModelDataError, match="oblivious trees"):
        Trees.of(CatBoostRegressor(grow_policy="Lossguide", **quiet).fit(X, X[:, 0]))
    with pytest.raises(ModelDataError, match="oblivious trees"):
        Trees.of(CatBoostClassifier(loss_function="MultiClass", **quiet).fit(X, np.arange(300) % 3))
    frame = pd.DataFrame(X).assign(sector=["a", "b"] * 150)
    with pytest.raises(ModelDataError, match="oblivious trees"):
        Trees.of(CatBoostClassifier(cat_features=["sector"], **quiet).fit(frame, np.arange(300) % 2))
    with pytest.raises(ModelDataError, match="rows of 3 features"):
        Trees.of(CatBoostRegressor(**quiet).fit(X, X[:, 0])).margins(X[:, :2])


def test_one_row_is_the_batch_to_the_last_bit(trained: Trained) -> None:
    """Backtests predict in batch, live trading a row at a time: not one bit may differ, beyond the range of calibration neither."""
    bundle = trained[0].bundle
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(size=(1500, 3)), rng.normal(size=(1500, 3)) * 30])
    batch = bundle.predict(pd.DataFrame(X, columns=bundle.feature_names))
    rows = [bundle.predict_row(row) for row in X]
    assert [tuple(row) for row in rows] == list(batch.itertuples(index=False, name=None))
    assert batch["extrapolated"].nunique() == 2 or not batch["extrapolated"].any()


def test_a_row_that_cannot_be_judged_is_refused_by_name(trained: Trained) -> None:
    bundle = trained[0].bundle
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ModelDataError, match=f"{value} in f1"):
            bundle.predict_row(np.array([0.0, value, 0.0]))
    with pytest.raises(ModelDataError, match="3 features in one row"):
        bundle.predict_row(np.zeros(2))
    with pytest.raises(ModelDataError, match="3 features in one row"):
        bundle.predict_row(np.zeros((1, 3)))
