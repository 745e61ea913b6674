"""A stream saved as JSON and resumed, mid-session, goes on to the same bits; a damaged or foreign one is refused."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from alphatrade_pipelines.features import FeatureInputError, FeaturePipeline, FeatureStateError, FittedPipeline


def stamps_of(bars: pd.DataFrame) -> pd.Index:
    return bars.index.get_level_values("timestamp")


@pytest.mark.parametrize(("timeframe", "count", "begin"), [("1Day", 560, 490), ("5Min", 640, 560)])
def test_saved_and_resumed_at_any_bar(make_bars, same_bits, timeframe, count, begin) -> None:
    """Chunks of any length between two savings change nothing: regime refits, splits, a late symbol and half days lie in between."""
    bars = make_bars(count, seed=21, timeframe=timeframe, late=(begin + 20) / count)
    times = stamps_of(bars).unique().sort_values()
    fitted = FeaturePipeline.default(timeframe).fit(bars)
    expected = fitted.transform(bars)
    stream = fitted.stream(bars[stamps_of(bars) < times[begin]])
    found = []
    for at, stamp in enumerate(times[begin:]):
        if at % 17 in (0, 1, 7):
            fitted = FittedPipeline.from_json(fitted.to_json())
            stream = fitted.resume(stream.to_json())
        found.append(stream.update(bars[stamps_of(bars) == stamp]))
    assert same_bits(pd.concat(found).sort_index(), expected[stamps_of(bars) >= times[begin]]) == []


@pytest.fixture(scope="module")
def small(make_bars) -> tuple[FittedPipeline, pd.DataFrame]:
    bars = make_bars(300, seed=22)
    return FeaturePipeline.default("1Day").select(["momentum_21", "vpin_21", "sadf_63", "momentum_rank_63"]).fit(bars), bars


def test_saving_an_empty_stream_and_saving_twice(small, same_bits) -> None:
    fitted, bars = small
    fresh = fitted.resume(fitted.stream().to_json())
    first = bars[stamps_of(bars) == stamps_of(bars).min()]
    assert same_bits(fresh.update(first), fitted.transform(first)) == []
    saved = fitted.stream(bars).to_json()
    assert fitted.resume(saved).to_json() == saved


def test_state_holds_no_more_than_the_longest_memory(small) -> None:
    fitted, bars = small
    once, twice = fitted.stream(bars), fitted.stream(bars[stamps_of(bars) >= stamps_of(bars).unique().sort_values()[120]])
    assert len(once.to_json()) < 1.1 * len(twice.to_json())


def test_damaged_or_foreign_state_is_refused(small, make_bars) -> None:
    fitted, bars = small
    saved = fitted.stream(bars).to_json()
    changed = json.loads(saved)
    changed["adjuster"]["total"]["S00"] *= 2.0
    with pytest.raises(FeatureStateError, match="changed after it was saved"):
        fitted.resume(json.dumps(changed))
    with pytest.raises(FeatureStateError, match="JSON of a stream"):
        fitted.resume(saved[:-9])
    with pytest.raises(FeatureStateError, match="stream of format 1"):
        fitted.resume(fitted.to_json().replace('"format": 1', '"format": 7'))
    other = fitted.pipeline.fit(make_bars(310, seed=23))
    with pytest.raises(FeatureStateError, match="Resume with the pipeline it was saved from"):
        other.resume(saved)


def test_stream_that_broke_cannot_be_saved(small) -> None:
    fitted, bars = small
    times = stamps_of(bars)
    last = bars[times == times.max()]
    stream = fitted.stream(bars[times < times.max()])
    with pytest.raises(ValueError, match="dividend below the previous close"):
        stream.update(last.assign(dividend=1e9))
    with pytest.raises(FeatureInputError, match="last update succeeded"):
        stream.to_json()
