"""Which features made a prediction: SHAP values (Lundberg and Lee 2017), exact for trees, summing to the margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.learner import model_from_bytes
from alphatrade_pipelines.models.predictor import Prediction

if TYPE_CHECKING:
    from alphatrade_pipelines.models.bundle import Bundle

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature added to the log odds of this row, against an average training row."""

    feature: str
    value: float
    log_odds: float


@dataclass(frozen=True, slots=True)
class Reasons:
    """``expected`` + the sum of all contributions = ``margin``: log odds on balanced classes, before calibration.

    ``contributions`` are those of all features, the strongest first. ``prediction`` is what calibration makes of the margin.
    """

    expected: float
    margin: float
    contributions: tuple[Contribution, ...]
    prediction: Prediction


def explain_row(bundle: Bundle, row: FloatArray) -> Reasons:
    """The reasons behind one prediction, ``row`` in the order of the bundle's features. Raises ModelDataError as ``predict_row``."""
    from catboost import Pool

    prediction = bundle.predict_row(row)
    x = np.ascontiguousarray(row, dtype=np.float64)[None]
    values = model_from_bytes(bundle.files["model.cbm"]).get_feature_importance(Pool(x), type="ShapValues", thread_count=1)[0]
    names = bundle.feature_names
    found = [Contribution(name, float(value), float(added)) for name, value, added in zip(names, x[0], values[:-1], strict=True)]
    ordered = tuple(sorted(found, key=lambda one: -abs(one.log_odds)))
    return Reasons(float(values[-1]), float(bundle.predictor.trees.margins(x)[0]), ordered, prediction)


def explain_signal(bundle: Bundle, features: tuple[tuple[str, float], ...]) -> Reasons:
    """The same from the (feature, value) pairs a signal carries. Raises ModelDataError when one the bundle reads is not among them."""
    values = dict(features)
    missing = [name for name in bundle.feature_names if name not in values]
    if missing:
        raise ModelDataError(f"the features {bundle.feature_names} with the signal", f"no {', '.join(missing)}")
    return explain_row(bundle, np.array([values[name] for name in bundle.feature_names], dtype=np.float64))
