"""The declarations: enough columns, each with formula and reference, exact warm-ups, memories that suffice, a page that is not stale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.features import FeatureInputError, FeaturePipeline
from alphatrade_pipelines.features.base import REGISTRY, SymbolFeature
from alphatrade_pipelines.features.catalogue.regime import VOLATILITY_REGIMES
from alphatrade_pipelines.features.document import document
from alphatrade_pipelines.features.table import Table

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "features.md"
OURS = {kind: cls for kind, cls in REGISTRY.items() if cls.__module__.startswith("alphatrade_pipelines.features.catalogue")}


@pytest.mark.parametrize("timeframe", ["1Day", "5Min"])
def test_at_least_45_columns_by_default(timeframe) -> None:
    assert len(FeaturePipeline.default(timeframe).feature_names) >= 45


@pytest.mark.parametrize("kind", sorted(OURS))
def test_every_kind_declares_formula_and_reference(kind) -> None:
    assert OURS[kind].formula
    assert any(character.isdigit() for character in OURS[kind].reference), "a reference has a year"
    assert OURS[kind].__doc__


def test_page_is_not_stale() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run: python -m alphatrade_pipelines.features.document docs/features.md"


def test_intraday_warmup_is_exact(make_bars) -> None:
    clean = make_bars(640, symbols=3, seed=32, timeframe="5Min", actions=False, missing=0.0, late=0.0)
    fitted = FeaturePipeline.default("5Min").fit(clean)
    values = fitted.transform(clean)
    later = {"overnight_return": 78}  # its first value needs a second session
    for name, needed in fitted.warmup.items():
        first = int(np.argmax(values.loc["S00", name].notna().to_numpy()))
        assert first == later.get(name, needed - 1), name


@pytest.mark.parametrize("timeframe", ["1Day", "5Min"])
def test_declared_memory_suffices(make_bars, timeframe) -> None:
    """A row computed from the last ``memory`` bars alone has the bits of the row computed from all."""
    bars = make_bars(700, symbols=1, seed=33, timeframe=timeframe, late=0.0)
    pipeline = FeaturePipeline.default(timeframe)
    fitted = pipeline.fit(bars)
    (symbol, series), *_ = Table.of(bars).items()
    n = len(series.close)
    for name, feature in pipeline.features.items():
        if not isinstance(feature, SymbolFeature):
            continue
        state = fitted.states.get(name)
        with np.errstate(all="ignore"):
            whole = feature.compute(series, 0, symbol, state)
            for end in (n, n - 1, n - 150):
                part = type(series)(*(column[end - feature.memory : end] for column in series))
                np.testing.assert_array_equal(feature.compute(part, feature.memory - 1, symbol, state)[0], whole[end - 1], err_msg=name)


def test_volatility_regimes_split_the_training_distribution(make_bars) -> None:
    bars = make_bars(760, seed=34)
    found = FeaturePipeline.default("1Day").fit(bars).transform(bars)
    known = found.dropna(subset=["vol_percentile"])
    np.testing.assert_array_equal(known["vol_regime"], pd.cut(known["vol_percentile"], [-1, 0.25, 0.75, 0.95, 1.1], right=False).cat.codes)
    shares = known.loc["S00", "vol_regime"].value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.2, 0.05], atol=0.01)
    assert len(VOLATILITY_REGIMES) == len(shares)
    calm_to_wild = known.groupby("vol_regime")["vol_ewma"].mean()
    assert calm_to_wild.is_monotonic_increasing


def test_one_symbol_with_ten_bars_among_300(make_bars) -> None:
    """The youngest changes nothing it should not: NaN where its windows are not full, a place in the cross-section where they are."""
    many = make_bars(90, symbols=300, seed=35, missing=0.0, late=0.0, actions=False).sort_index()
    times = many.index.get_level_values("timestamp")
    young = (many.index.get_level_values("symbol") == "S150") & (times < times.unique().sort_values()[80])
    bars = many[~young]
    names = ["momentum_5", "reversal_rank_5", "vol_ewma", "vol_rank", "beta_63", "entropy_63"]
    fitted = FeaturePipeline.default("1Day").select(names).fit(bars)
    found = fitted.transform(bars).loc["S150"]
    assert len(found) == 10
    assert found["momentum_5"].notna().tolist() == found["reversal_rank_5"].notna().tolist() == [False] * 5 + [True] * 5
    assert found[["vol_ewma", "vol_rank", "beta_63", "entropy_63"]].isna().all().all()
    with pytest.raises(FeatureInputError, match="training bars for feature"):
        FeaturePipeline.default("1Day").fit(bars)
