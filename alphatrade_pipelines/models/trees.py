"""CatBoost's trees without CatBoost: the same margin to the last bit, two orders of magnitude faster for one row.

A ``.cbm`` is exported once to CatBoost's JSON, and its oblivious trees become flat arrays. A row goes down a tree by comparing, in single
precision as CatBoost does, each feature with a border: bit i of the leaf's number is the outcome of split i. The margin is
scale * (sum of the leaves, tree after tree) + bias.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.market.jit import kernel
from alphatrade_pipelines.models.errors import ModelDataError

FloatArray = npt.NDArray[np.float64]


class TreeArrays(NamedTuple):
    """Oblivious trees as arrays. Splits of tree t are [``split_start[t]``, ``split_start[t + 1]``), its leaves begin at ``leaf_start[t]``.

    ``nan_is_high[i]``: split i sends NaN where infinity goes (CatBoost's ``AsTrue``); otherwise NaN goes where minus infinity does.
    """

    feature: npt.NDArray[np.int64]
    border: npt.NDArray[np.float32]
    nan_is_high: npt.NDArray[np.bool_]
    split_start: npt.NDArray[np.int64]
    leaf: FloatArray
    leaf_start: npt.NDArray[np.int64]
    scale: float
    bias: float


@dataclass(frozen=True, slots=True)
class Trees:
    """A model as compiled code reads it; ``features``: number of columns it was trained on."""

    arrays: TreeArrays
    features: int

    @classmethod
    def of(cls, model: Any) -> Trees:
        """Read a fitted CatBoost model. Raises ModelDataError for what the house never trains: categories, other trees, several classes."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.json"
            model.save_model(str(path), format="json")
            data = json.loads(path.read_bytes())
        inputs = data["features_info"]
        if set(inputs) != {"float_features"} or "oblivious_trees" not in data or len(data["scale_and_bias"][1]) != 1:
            raise ModelDataError("oblivious trees on numbers with one output", f"{sorted(data)} on {sorted(inputs)}")
        high = {one["feature_index"]: one["nan_value_treatment"] == "AsTrue" for one in inputs["float_features"]}
        splits = [split for tree in data["oblivious_trees"] for split in tree["splits"] or ()]
        depths = [len(tree["splits"] or ()) for tree in data["oblivious_trees"]]
        leaves = [tree["leaf_values"] for tree in data["oblivious_trees"]]
        scale, (bias,) = data["scale_and_bias"]
        arrays = TreeArrays(
            feature=np.array([split["float_feature_index"] for split in splits], dtype=np.int64),
            border=np.array([split["border"] for split in splits], dtype=np.float32),
            nan_is_high=np.array([high[split["float_feature_index"]] for split in splits], dtype=np.bool_),
            split_start=np.concatenate([[0], np.cumsum(depths)]).astype(np.int64),
            leaf=np.array([value for values in leaves for value in values], dtype=np.float64),
            leaf_start=np.concatenate([[0], np.cumsum([len(values) for values in leaves])]).astype(np.int64),
            scale=float(scale),
            bias=float(bias),
        )
        return cls(arrays, len(inputs["float_features"]))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; every value is kept to the last bit."""
        arrays = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in self.arrays._asdict().items()}
        return {**arrays, "features": self.features}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trees:
        """The inverse of :meth:`to_dict`."""
        arrays = TreeArrays(
            feature=np.array(data["feature"], dtype=np.int64),
            border=np.array(data["border"], dtype=np.float32),
            nan_is_high=np.array(data["nan_is_high"], dtype=np.bool_),
            split_start=np.array(data["split_start"], dtype=np.int64),
            leaf=np.array(data["leaf"], dtype=np.float64),
            leaf_start=np.array(data["leaf_start"], dtype=np.int64),
            scale=float(data["scale"]),
            bias=float(data["bias"]),
        )
        return cls(arrays, int(data["features"]))

    @classmethod
    def from_cbm(cls, blob: bytes) -> Trees:
        """Read the bytes of a ``.cbm`` file."""
        from catboost import CatBoostClassifier

        return cls.of(CatBoostClassifier().load_model(blob=blob))

    def margins(self, X: FloatArray) -> FloatArray:
        """Log odds of rows, shape (rows,), equal to CatBoost's RawFormulaVal. Raises ModelDataError for another number of columns."""
        X = np.ascontiguousarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.features:
            raise ModelDataError(f"rows of {self.features} features", f"an array of shape {X.shape}")
        return _margins(X, self.arrays)

    def scores(self, X: FloatArray) -> FloatArray:
        """Uncalibrated probabilities of rows, equal to CatBoost's ``predict_proba``."""
        return logistic(self.margins(X))


@kernel
def margin(x: FloatArray, trees: TreeArrays) -> float:
    """Log odds of one row."""
    total = 0.0
    for t in range(len(trees.leaf_start) - 1):
        at = trees.leaf_start[t]
        bit = 1
        for i in range(trees.split_start[t], trees.split_start[t + 1]):
            value = np.float32(x[trees.feature[i]])
            if value > trees.border[i] or (trees.nan_is_high[i] and np.isnan(value)):
                at += bit
            bit *= 2
        total += trees.leaf[at]
    return trees.scale * float(total) + trees.bias


@kernel
def _margins(X: FloatArray, trees: TreeArrays) -> FloatArray:
    found = np.empty(len(X))
    for row in range(len(X)):
        found[row] = margin(X[row], trees)
    return found


@kernel
def logistic_of(z: float) -> float:
    """1 / (1 + e^-z)."""
    return 1.0 / (1.0 + math.exp(-z))


@kernel
def logistic(z: FloatArray) -> FloatArray:
    """:func:`logistic_of` for each element: one implementation for a row and for a batch, hence the same bits."""
    found = np.empty(len(z))
    for i in range(len(z)):
        found[i] = logistic_of(z[i])
    return found
