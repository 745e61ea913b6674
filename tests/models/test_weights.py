"""Uniqueness, attribution, decay and the sequential bootstrap: the book's numbers and brute force."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.resampling import draw_probabilities, draw_sequentially, sequential_bootstrap
from alphatrade_pipelines.models.weights import (
    WeightConfig,
    average_uniqueness,
    evidence_weights,
    return_attribution,
    time_decay,
    weigher,
)
from tests.models.makers import daily_index, random_bars

# AFML 4.5.3: three labels on six bars, the first lives on bars 1 to 3, the second on 3 and 4, the third on 5 and 6
FIRST, LAST = np.array([0, 2, 4]), np.array([3, 4, 6])


def test_the_three_observations_of_the_book() -> None:
    """The second label was drawn first: then 5/14, 3/14 and 6/14, before it a third each."""
    np.testing.assert_allclose(draw_probabilities(FIRST, LAST, np.array([], dtype=np.int64)), [1 / 3] * 3)
    np.testing.assert_allclose(draw_probabilities(FIRST, LAST, np.array([1])), [5 / 14, 3 / 14, 6 / 14])


def test_draws_follow_the_probabilities() -> None:
    """The kernel against the formula: every second draw, given the first, in a long run."""
    rng = np.random.default_rng(5)
    pairs = np.array([draw_sequentially(FIRST, LAST, 6, rng.random(2)) for _ in range(30_000)])
    for drawn in range(3):
        second = np.bincount(pairs[pairs[:, 0] == drawn, 1], minlength=3) / (pairs[:, 0] == drawn).sum()
        np.testing.assert_allclose(second, draw_probabilities(FIRST, LAST, np.array([drawn])), atol=0.015)


def labels_of(seed: int, n: int, symbols: tuple[str, ...] = ("A", "B"), longest: int = 9) -> pd.DataFrame:
    """Lives of 1 to ``longest`` days on business days with gaps, rows in any order."""
    rng = np.random.default_rng(seed)
    index = daily_index(list(symbols), n)
    index = index[rng.permutation(len(index))[: max(2, int(len(index) * 0.8))]]
    lives = pd.to_timedelta(rng.integers(1, longest + 1, len(index)), "D")
    return pd.DataFrame({"t1": index.get_level_values("timestamp") + lives}, index=index)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 12))
def test_each_draw_by_brute_force(seed: int, n: int) -> None:
    """The kernel's draws are those of inversion by the slow formula, symbols apart."""
    labels = labels_of(seed, n)
    uniforms = np.random.default_rng(seed).random(15)
    drawn = sequential_bootstrap(labels, np.random.default_rng(seed), 15)
    stamps, ends = labels.index.get_level_values("timestamp"), pd.DatetimeIndex(labels["t1"])
    symbols = labels.index.get_level_values("symbol")
    life = [
        [j for j in range(len(labels)) if symbols[j] == symbols[i] and (stamps[i] <= stamps[j] < ends[i] or i == j)]
        for i in range(len(labels))
    ]
    for step, chosen in enumerate(drawn):
        alive = np.zeros(len(labels))
        for one in drawn[:step]:
            alive[life[one]] += 1
        unique = np.array([np.mean(1 / (1 + alive[places])) for places in life])
        edges = np.cumsum(unique / unique.sum())
        assert (edges[chosen - 1] if chosen else 0.0) <= uniforms[step] + 1e-12
        assert uniforms[step] <= edges[chosen] + 1e-12


def test_sequential_draws_overlap_less_and_repeat_with_their_seed() -> None:
    labels = labels_of(1, 120, ("A",), 20)

    def uniqueness(drawn: Any) -> float:
        copies = [labels.iloc[[one]] for one in drawn]
        alive = pd.Series(0.0, index=sorted(labels.index.get_level_values("timestamp")))
        spans = [(row.index[0][1], row["t1"].iloc[0]) for row in copies]
        for start, end in spans:
            alive[(alive.index >= start) & (alive.index < end)] += 1
        return float(np.mean([(1 / alive[(alive.index >= s) & ((alive.index < e) | (alive.index == s))]).mean() for s, e in spans]))

    gains = np.array(
        [
            uniqueness(sequential_bootstrap(labels, np.random.default_rng(k), 40))
            - uniqueness(np.random.default_rng(1000 + k).integers(0, len(labels), 40))
            for k in range(40)
        ]
    )
    assert gains.mean() > 4 * gains.std(ddof=1) / np.sqrt(len(gains))
    twice = [sequential_bootstrap(labels, np.random.default_rng(3)).tolist() for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(twice[0]) == len(labels)


def test_thousands_of_events_in_seconds() -> None:
    labels = labels_of(2, 2500, ("A", "B"), 15)
    assert len(labels) == 4000
    sequential_bootstrap(labels.iloc[:10], np.random.default_rng(0))  # compiles
    began = perf_counter()
    drawn = sequential_bootstrap(labels, np.random.default_rng(0))
    assert perf_counter() - began < 10  # well under one on an idle core
    assert len(drawn) == 4000


def bar_returns(bars: pd.DataFrame) -> pd.Series:
    found: pd.Series = np.log(bars["close"]).groupby(level="symbol", sort=False).diff()
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_attribution_by_brute_force(seed: int) -> None:
    bars = random_bars(["A", "B"], 30, seed)
    returns, labels = bar_returns(bars), labels_of(seed, 22)
    got = return_attribution(labels, returns)
    expected = {}
    for (symbol, start), end in labels["t1"].items():
        total = 0.0
        for stamp, value in returns.xs(symbol).items():
            if start < stamp < end:
                total += value / sum(s < stamp < e for (other, s), e in labels["t1"].items() if other == symbol)
        expected[symbol, start] = abs(total)
    wanted = pd.Series(expected).reindex(labels.index)
    np.testing.assert_allclose(got, wanted / wanted.mean(), rtol=1e-9, atol=1e-12)
    assert got.mean() == pytest.approx(1.0)


def test_linear_decay_as_in_the_book() -> None:
    """Labels that never overlap have uniqueness one: the line is straight in their number."""
    index = daily_index(["A"], 5)
    labels = pd.DataFrame({"t1": index.get_level_values("timestamp") + pd.Timedelta(hours=8)}, index=index)
    cases = {
        1.0: [1, 1, 1, 1, 1],
        0.5: [0.6, 0.7, 0.8, 0.9, 1.0],
        0.0: [0.2, 0.4, 0.6, 0.8, 1.0],
        -0.5: [0, 0, 0.2, 0.6, 1.0],
    }
    for oldest, expected in cases.items():
        np.testing.assert_allclose(time_decay(labels, WeightConfig(decay="linear", oldest=oldest)), expected, atol=1e-12)


def test_decay_by_age() -> None:
    labels = labels_of(3, 80)
    stamps = labels.index.get_level_values("timestamp")
    halved = time_decay(labels, WeightConfig(decay="exponential", half_life_days=30))
    days = (stamps.max() - stamps) / pd.Timedelta(days=1)
    np.testing.assert_allclose(halved, np.exp(-np.log(2) * days / 30))
    linear = time_decay(labels, WeightConfig(decay="linear", oldest=0.2)).sort_index(level="timestamp")
    by_time = linear.groupby(level="timestamp")
    assert (by_time.nunique() == 1).all()
    assert by_time.first().is_monotonic_increasing
    assert linear.iloc[-1] == 1.0
    assert 0.2 < linear.iloc[0] < 0.25


def test_the_default_weighs_by_evidence_and_others_never_claim_more() -> None:
    labels = labels_of(4, 200)
    y = pd.Series(np.random.default_rng(0).integers(0, 2, len(labels)), index=labels.index)
    returns = bar_returns(random_bars(["A", "B"], 220, 1))
    assert weigher(WeightConfig()) is evidence_weights
    plain = evidence_weights(y, labels["t1"])
    configs = [WeightConfig(True), WeightConfig(decay="linear", oldest=-0.5), WeightConfig(True, "exponential", half_life_days=60)]
    for config in configs:
        weight = weigher(config, returns)(y, labels["t1"])
        assert (weight > 0).all()  # a calibrator refuses weights of zero
        assert weight.index.equals(labels.index)
        # uneven weights hold less evidence than even ones (Kish)
        assert weight.sum() < plain.sum()
        assert weight.sum() ** 2 / (weight**2).sum() < len(labels)
    level = weigher(WeightConfig(decay="linear", oldest=1.0))(y, labels["t1"])
    np.testing.assert_allclose(level, plain)


LABELS = labels_of(0, 20)
RETURNS = bar_returns(random_bars(["A", "B"], 60))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average_uniqueness(LABELS.drop(columns="t1")), "end time t1"),
        (lambda: average_uniqueness(LABELS.assign(t1=LABELS["t1"] - pd.Timedelta(days=40))), "earlier end times"),
        (lambda: average_uniqueness(pd.concat([LABELS, LABELS])), "duplicate rows"),
        (lambda: return_attribution(LABELS, RETURNS.iloc[40:]), "a bar at every decision"),
        (lambda: return_attribution(LABELS, RETURNS * np.nan), "NaN"),
        (lambda: return_attribution(LABELS, RETURNS * 0), "return in some life"),
        (lambda: weigher(WeightConfig(attribution=True)), "attribution"),
        (lambda: WeightConfig(oldest=-1.0), "-1 < oldest"),
        (lambda: WeightConfig(half_life_days=0.0), "half_life_days"),
        (lambda: WeightConfig(decay="cubic"), "decay none"),  # type: ignore[arg-type]
        (lambda: sequential_bootstrap(LABELS.iloc[:0], np.random.default_rng()), "0 labels"),
        (lambda: sequential_bootstrap(LABELS, np.random.default_rng(), -1), "size -1"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises(ModelDataError, match=message):
        call()
