"""SHAP values of one prediction add up to it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.models import ModelDataError, TrainingResult
from alphatrade_pipelines.models.explaining import explain_row, explain_signal

Trained = tuple[TrainingResult, pd.DataFrame, pd.Series]


def test_contributions_add_up_to_the_margin_and_find_the_feature_that_matters(trained: Trained) -> None:
    bundle, features = trained[0].bundle, trained[1]
    first = []
    for row in features.to_numpy()[:40]:
        found = explain_row(bundle, row)
        total = found.expected + sum(one.log_odds for one in found.contributions)
        assert total == pytest.approx(found.margin, abs=1e-9)
        assert found.prediction == bundle.predict_row(row)
        strength = [abs(one.log_odds) for one in found.contributions]
        assert strength == sorted(strength, reverse=True)
        assert {one.feature: one.value for one in found.contributions} == dict(zip(bundle.feature_names, row, strict=True))
        first.append(found.contributions[0].feature)
    assert first.count("f0") > 30
    high = {one.feature: one.log_odds for one in explain_row(bundle, np.array([2.0, 0, 0])).contributions}
    low = {one.feature: one.log_odds for one in explain_row(bundle, np.array([-2.0, 0, 0])).contributions}
    assert low["f0"] < 0 < high["f0"]


def test_a_signal_is_explained_from_what_it_carries(trained: Trained) -> None:
    bundle = trained[0].bundle
    given = (("f2", 0.3), ("f0", 1.0), ("f1", -0.2))
    assert explain_signal(bundle, given) == explain_row(bundle, np.array([1.0, -0.2, 0.3]))
    with pytest.raises(ModelDataError, match="no f1"):
        explain_signal(bundle, (("f0", 1.0), ("f2", 0.0)))
    with pytest.raises(ModelDataError, match="nan in f1"):
        explain_row(bundle, np.array([0.0, np.nan, 0.0]))
