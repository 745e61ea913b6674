"""The pictures on the features asset are drawn, and say what moved."""

from __future__ import annotations

import base64
import re

import numpy as np
import pandas as pd
import pytest

from assets.feature_plots import _distance, correlation_map, regimes_over_price, training_against_recent


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    stamps = pd.bdate_range("2020-01-06", periods=200, tz="UTC")
    index = pd.MultiIndex.from_product([["A", "B"], stamps], names=["symbol", "timestamp"])
    rng = np.random.default_rng(0)
    high = rng.random(len(index)) / 2
    shifted = rng.standard_normal(len(index)) + 3.0 * (index.get_level_values("timestamp") >= stamps[150])
    columns = {"return_1": rng.standard_normal(len(index)) * 0.01, "regime_low_vol": 0.5 - high, "regime_high_vol": high, "moved": shifted}
    return pd.DataFrame(columns | {"steady": rng.standard_normal(len(index)), "empty": np.nan}, index=index)


def png(found) -> bytes:  # type: ignore[no-untyped-def]
    match = re.search(r"base64,([^)]*)\)", found.value)
    assert match is not None
    return base64.b64decode(match[1])


def test_pictures_are_drawn(frame) -> None:
    cut = frame.index.get_level_values("timestamp").unique()[150]
    for found in (regimes_over_price(frame), training_against_recent(frame, cut), correlation_map(frame)):
        assert png(found).startswith(b"\x89PNG")
        assert len(png(found)) > 5_000


def test_nothing_recent_is_said(frame) -> None:
    last = frame.index.get_level_values("timestamp").max()
    assert "nothing recent" in training_against_recent(frame, last).value


def test_distance_is_that_of_kolmogorov() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(1)
    one, other = rng.standard_normal(300), np.round(rng.standard_normal(200) + 0.4, 1)
    assert _distance(one, other) == pytest.approx(ks_2samp(one, other).statistic, rel=1e-12)
    assert _distance(one, np.array([])) == 0.0
