"""Configuration, frozen state, warm-up, NaN policy and bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import alphatrade_pipelines
from alphatrade_pipelines.features import (
    FeatureConfigError,
    FeatureInputError,
    FeaturePipeline,
    FeatureStateError,
    FittedPipeline,
    drift_reference,
)
from alphatrade_pipelines.market import Timeframe


@pytest.fixture(scope="module")
def bars(make_bars) -> pd.DataFrame:
    return make_bars(760, seed=31)


@pytest.fixture(scope="module")
def fitted(bars) -> FittedPipeline:
    return FeaturePipeline.default(Timeframe.parse("1Day")).fit(bars)


def config(*features: tuple[str, str, dict[str, object]]) -> dict[str, object]:
    return {"timeframe": "1Day", "features": [{"name": name, "kind": kind, "params": params} for name, kind, params in features]}


def test_default_sets_hold_what_they_must() -> None:
    for timeframe in ("1Day", "5Min"):
        names = FeaturePipeline.default(timeframe).feature_names
        assert len(names) >= 14
        assert {"vol_ewma", "regime_high_vol", "fracdiff", "vol_percentile"} <= set(names)
    assert FeaturePipeline.default().timeframe == Timeframe.parse("1Day")


def test_configuration_round_trip() -> None:
    pipeline = FeaturePipeline.default("5Min")
    again = FeaturePipeline.from_config(json.loads(json.dumps(pipeline.to_config())))
    assert again.features == pipeline.features
    assert again.feature_names == pipeline.feature_names


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (config(("m", "momentun", {})), "Did you mean 'momentum'"),
        (config(("m", "momentum", {"windw": 3})), "Did you mean 'window'"),
        (config(("m", "momentum", {"window": 0})), "window an integer of at least 1"),
        (config(("m", "parkinson", {"window": "21"})), "window an integer"),
        (config(("m", "parkinson", {})), "'parkinson' with window"),
        (config(("m5", "momentum", {}), ("r", "cross_rank", {"column": "m_5"})), "Did you mean 'm5'"),
        (config(("r", "cross_rank", {"column": "m"}), ("m", "momentum", {})), "computed before it"),
        (config(("m", "momentum", {}), ("m", "gap", {})), "used once"),
        (config(("a", "regime", {}), ("a_low_vol", "gap", {})), "used once"),
        (config(), "at least one feature"),
    ],
)
def test_bad_configuration(bad, message) -> None:
    with pytest.raises(FeatureConfigError, match=message):
        FeaturePipeline.from_config(bad)


def test_select_takes_what_it_reads_and_suggests_names() -> None:
    pipeline = FeaturePipeline.default("1Day")
    assert list(pipeline.select(["momentum_rank_63", "regime_high_vol"]).features) == ["momentum_63", "momentum_rank_63", "regime"]
    with pytest.raises(FeatureConfigError, match="Did you mean 'momentum_63'"):
        pipeline.select(["momentum63"])


def test_state_round_trip_to_the_last_bit(bars, fitted, same_bits) -> None:
    again = FittedPipeline.from_json(fitted.to_json())
    assert again.content_hash == fitted.content_hash
    assert again.to_json() == fitted.to_json()
    assert same_bits(again.transform(bars), fitted.transform(bars)) == []
    assert FeaturePipeline.default("1Day").fit(bars).content_hash == fitted.content_hash


def test_state_that_was_changed_is_refused(fitted) -> None:
    changed = json.loads(fitted.to_json())
    changed["states"]["fracdiff"]["pooled"] += 0.05
    with pytest.raises(FeatureStateError, match="changed after it was saved"):
        FittedPipeline.from_json(json.dumps(changed))
    with pytest.raises(FeatureStateError, match="no JSON"):
        FittedPipeline.from_json(fitted.to_json()[:-20])
    with pytest.raises(FeatureStateError, match="format 1"):
        FittedPipeline.from_json(json.dumps(changed | {"format": 99}))


def test_transform_and_stream_do_not_touch_the_state(make_bars, fitted) -> None:
    before = fitted.to_json()
    other = make_bars(200, symbols=6, seed=77)
    fitted.transform(other)
    fitted.stream(other)
    assert fitted.to_json() == before


def test_warmup_is_exact_and_enforced(make_bars) -> None:
    clean = make_bars(700, symbols=3, seed=32, actions=False, missing=0.0, late=0.0)
    fitted = FeaturePipeline.default("1Day").fit(clean)
    values = fitted.transform(clean)
    for name, bars_needed in fitted.warmup.items():
        for symbol in ("S00", "S02"):
            first = int(np.argmax(values.loc[symbol, name].notna().to_numpy()))
            assert first == bars_needed - 1, (name, symbol)
    assert fitted.warmup_bars == 127
    assert values.notna().to_numpy()[fitted.warmup["regime_high_vol"] : 700].all()


def test_window_longer_than_the_data(make_bars) -> None:
    short = make_bars(100)
    with pytest.raises(FeatureInputError, match="at least 127 training bars for feature 'momentum_126_21', found at most 100"):
        FeaturePipeline.default("1Day").fit(short)


def test_a_symbol_with_ten_bars_among_others(bars, make_bars) -> None:
    few = make_bars(760, symbols=1, seed=40).tail(10).rename(index={"S00": "ZZZ"})
    fitted = FeaturePipeline.default("1Day").fit(pd.concat([bars, few]))
    found = fitted.transform(pd.concat([bars, few])).loc["ZZZ"]
    assert found["close_location"].notna().all()
    assert found["momentum_5"].notna().sum() == 5
    assert found[["vol_ewma", "fracdiff", "beta_63", "momentum_rank_63"]].isna().all().all()


def test_constant_prices_and_zero_volume_are_nan_never_zero(bars, fitted) -> None:
    still = bars.copy()
    rows = still.index.get_level_values("symbol") == "S00"
    still.loc[rows, ["open", "high", "low", "close"]] = 30.0
    still.loc[rows, "volume"] = 0.0
    still.loc[rows, ["split", "dividend"]] = [1.0, 0.0]
    found = fitted.transform(still).loc["S00"].iloc[130:]
    defined = {
        "return_1",
        "momentum_5",
        "momentum_21",
        "momentum_63",
        "momentum_126_21",
        "gap",
        "fracdiff",
        "beta_63",
        "relative_return_21",
    }
    defined |= {"max_return_21", "below_high_126", "residual_return_63", "momentum_rank_63", "reversal_rank_5", "dispersion_21"}
    defined |= {"weekday", "days_since_bar", "regime_low_vol", "regime_high_vol"}
    assert found.drop(columns=list(defined)).isna().all().all()
    assert (found[["return_1", "momentum_63", "gap", "max_return_21", "below_high_126"]] == 0.0).all().all(), "a return of zero is a fact"


def test_a_week_without_volume_is_nan_while_the_window_holds_it(bars, fitted) -> None:
    quiet = bars.copy()
    column = quiet["volume"].to_numpy(copy=True)
    column[300:305] = 0.0
    quiet["volume"] = column
    found, usual = fitted.transform(quiet), fitted.transform(bars)
    assert found["amihud_21"].iloc[300:325].isna().all()
    assert found["amihud_21"].iloc[325] == usual["amihud_21"].iloc[325]
    assert found[["volume_z_21", "vpin_21"]].iloc[300:320].notna().all().all()
    assert np.isfinite(found.to_numpy()[~found.isna().to_numpy()]).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b.assign(close=b["close"].where(b["close"].index != b.index[5])), "positive prices.*close=nan"),
        (lambda b: b.assign(low=b["low"] - 1e6), "positive prices"),
        (lambda b: b.assign(volume=-1.0), "volume=-1"),
        (lambda b: b.assign(split=0.0), "split=0"),
        (lambda b: b.assign(close=b["close"].astype(str)), "numbers in 'close'"),
        (lambda b: b.rename(columns={"close": "Close"}), "a column 'close'.*Did you mean 'Close'"),
        (lambda b: b.drop(columns="split"), "a column 'split'"),
        (lambda b: b.tz_localize(None, level="timestamp"), "aware time stamps"),
        (lambda b: b.iloc[::-1], "out of order"),
        (lambda b: pd.concat([b.head(1), b]), "repeated"),
        (lambda b: b.reset_index(), r"indexed by \(symbol, timestamp\)"),
        (lambda b: b.head(0), "at least one bar, found none"),
    ],
)
def test_bad_bars(bars, fitted, damage, message) -> None:
    with pytest.raises(FeatureInputError, match=message):
        fitted.transform(damage(bars.copy()))


def test_stream_refuses_what_it_cannot_use_and_goes_on(bars, fitted, same_bits) -> None:
    times = bars.index.get_level_values("timestamp")
    ordered = times.unique().sort_values()
    stream = fitted.stream(bars[times < ordered[-2]])
    rows = bars[times == ordered[-2]]
    with pytest.raises(FeatureInputError, match="bars of one time stamp"):
        stream.update(bars[times >= ordered[-2]])
    with pytest.raises(FeatureInputError, match="a time stamp after"):
        stream.update(bars[times == ordered[-3]])
    with pytest.raises(FeatureInputError, match="positive prices"):
        stream.update(rows.assign(close=np.nan))
    with pytest.raises(FeatureInputError, match="repeated"):
        stream.update(pd.concat([rows, rows]))
    assert same_bits(stream.update(rows), fitted.transform(bars).loc[rows.index]) == []
    with pytest.raises(FeatureInputError, match="a time stamp after"):
        stream.update(rows)


def test_stream_that_broke_half_way_refuses_to_go_on(bars, fitted) -> None:
    times = bars.index.get_level_values("timestamp")
    ordered = times.unique().sort_values()
    stream = fitted.stream(bars[times < ordered[-2]])
    with pytest.raises(ValueError, match="dividend below the previous close"):
        stream.update(bars[times == ordered[-2]].assign(dividend=1e9))
    with pytest.raises(FeatureInputError, match="Build a new stream"):
        stream.update(bars[times == ordered[-1]])


def test_describe_names_everything(fitted) -> None:
    found = json.loads(json.dumps(fitted.describe()))
    assert found["content_hash"] == fitted.content_hash
    assert found["trained"]["symbols"] == ["S00", "S01", "S02", "S03"]
    assert {item["name"] for item in found["features"]} == set(FeaturePipeline.default("1Day").features)
    assert set(found["fracdiff_order"]["by_symbol"]) == {"S00", "S01", "S02", "S03"}


def test_drift_reference(bars, fitted) -> None:
    values = fitted.transform(bars).assign(two_values=lambda f: np.where(f["return_1"] > 0, 1.0, 0.0), empty=np.nan)
    found = json.loads(json.dumps(drift_reference(values)))
    assert set(found) == set(values.columns)
    one = found["vol_ewma"]
    column = values["vol_ewma"].dropna()
    assert one["count"] == len(column)
    assert one["missing"] == pytest.approx(values["vol_ewma"].isna().mean())
    np.testing.assert_allclose(one["quantiles"], np.quantile(column, np.linspace(0, 1, 101)))
    np.testing.assert_allclose(one["shares"], pd.cut(column, [-np.inf, *one["edges"], np.inf]).value_counts(sort=False, normalize=True))
    assert len(found["two_values"]["edges"]) == 2
    assert sum(found["two_values"]["shares"]) == pytest.approx(1.0)
    assert found["empty"] == {"count": 0, "missing": 1.0, "mean": None, "std": None, "quantiles": [], "edges": [], "shares": []}


def test_live_features_need_no_model_library(tmp_path, bars, fitted) -> None:
    """Importing the room and streaming a fitted pipeline must not pay for hmmlearn, scipy or scikit-learn."""
    (tmp_path / "state.json").write_text(fitted.to_json())
    bars.to_pickle(tmp_path / "bars.pkl")
    code = """
import sys, pathlib, pandas as pd
from alphatrade_pipelines.features import FittedPipeline
fitted = FittedPipeline.from_json(pathlib.Path("state.json").read_text())
bars = pd.read_pickle("bars.pkl")
assert fitted.stream().update(bars.groupby(level="timestamp").get_group(bars.index[0][1])).shape[1] == len(fitted.feature_names)
heavy = {"hmmlearn", "sklearn", "statsmodels", "mlflow", "dagster", "catboost"} & set(sys.modules)
assert not heavy, heavy
"""
    here = os.environ | {"PYTHONPATH": str(Path(alphatrade_pipelines.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=here, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
