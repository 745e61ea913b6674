"""Triple-barrier labels: hand-checked brackets and a slow oracle written the other way round."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.labels import BarrierConfig, barrier_prices, triple_barrier
from tests.models.makers import daily_index, random_bars

# stop 98, target 102 around a close of 100; no cost unless a case says so
CONFIG = BarrierConfig(stop_multiple=2, target_multiple=2, horizon=3, cost_bps=0)
FLAT = [100.0, 100.5, 99.5, 100.0]


def bars_of(*rows: list[float]) -> pd.DataFrame:
    """A first flat bar (the decision), the given bars, then flat ones."""
    data = [FLAT, *rows, *[FLAT] * (6 - len(rows))]
    return pd.DataFrame(data, index=daily_index(["A"], len(data)), columns=["open", "high", "low", "close"])


def first_label(*rows: list[float], config: BarrierConfig = CONFIG) -> tuple[pd.Series, pd.DatetimeIndex]:
    bars = bars_of(*rows)
    labels = triple_barrier(bars, pd.Series(0.01, index=bars.index), config)
    return labels.iloc[0], pd.DatetimeIndex(bars.index.get_level_values("timestamp"))


CASES = {
    # name: (bars after the decision, exit, exit price over entry price, label, t1 = start of bar number, bars held)
    "target inside the bar": ([[100, 102.5, 99.5, 101]], "target", 102 / 100, 1, 2, 1),
    "stop inside the bar": ([[100, 101, 97, 99]], "stop", 98 / 100, 0, 2, 1),
    "both in one bar is a stop": ([[100, 103, 97, 101]], "stop", 98 / 100, 0, 2, 1),
    "later bar gaps below the stop": ([FLAT, [96, 97, 95, 96]], "stop", 96 / 100, 0, 2, 1),
    "later bar gaps above the target": ([FLAT, [104, 105, 103, 104]], "target", 104 / 100, 1, 2, 1),
    "entry gaps below the stop": ([[97, 99, 96, 98]], "stop", 1.0, 0, 1, 0),
    "entry gaps above the target": ([[103, 104, 102.5, 103]], "target", 1.0, 0, 1, 0),
    "entry below the close, target from the close": ([[99, 102.5, 98.5, 101]], "target", 102 / 99, 1, 2, 1),
    "horizon, then the following open": ([FLAT, FLAT, FLAT, [101, 110, 90, 100]], "horizon", 101 / 100, 1, 4, 3),
    "horizon below entry": ([FLAT, FLAT, FLAT, [99, 110, 90, 100]], "horizon", 99 / 100, 0, 4, 3),
    "exact touch of the target counts": ([[100, 102, 99.5, 101]], "target", 102 / 100, 1, 2, 1),
}


@pytest.mark.parametrize("case", CASES)
def test_hand_checked_brackets(case: str) -> None:
    rows, exit_kind, gross, label, known_bar, held = CASES[case]
    got, times = first_label(*[[float(x) for x in row] for row in rows])
    assert (got["exit"], got["label"], got["held"]) == (exit_kind, label, held)
    assert got["ret"] == pytest.approx(gross - 1, abs=1e-12)
    assert got["t1"] == times[known_bar]


def test_cost_is_paid_on_both_sides_and_decides_the_label() -> None:
    config = BarrierConfig(horizon=3, cost_bps=60)
    rows = [FLAT, FLAT, FLAT, [101.0, 101, 101, 101]]
    got, _ = first_label(*rows, config=config)
    assert got["ret"] == pytest.approx(101 * (1 - 0.006) / (100 * 1.006) - 1)
    assert got["label"] == 0  # gained 1 % before cost, lost after


def slow_oracle(bars: pd.DataFrame, volatility: pd.Series, config: BarrierConfig) -> dict[tuple[str, pd.Timestamp], tuple[str, float]]:
    """Walks a list of (moment, price range) events instead of arrays; returns exit kind and net return by decision."""
    expected = {}
    for symbol in bars.index.unique("symbol"):
        rows = list(bars.loc[symbol].itertuples())
        for i, decision in enumerate(rows):
            vol = volatility.loc[(symbol, decision.Index)]
            if i + config.horizon + 1 >= len(rows) or not vol > 0:
                continue
            vol = min(max(vol, config.min_volatility), config.max_volatility)
            stop, target = decision.close * (1 - config.stop_multiple * vol), decision.close * (1 + config.target_multiple * vol)
            outcome = None
            for bar in rows[i + 1 : i + 1 + config.horizon]:
                for at_open, low, high in ((True, bar.open, bar.open), (False, bar.low, bar.high)):
                    if low <= stop:
                        outcome = ("stop", bar.open if at_open else stop)
                    elif high >= target:
                        outcome = ("target", bar.open if at_open else target)
                    if outcome:
                        break
                if outcome:
                    break
            kind, price = outcome or ("horizon", rows[i + 1 + config.horizon].open)
            cost = config.cost_bps / 1e4
            expected[(symbol, decision.Index)] = (kind, price * (1 - cost) / (rows[i + 1].open * (1 + cost)) - 1)
    return expected


@pytest.mark.parametrize("seed", range(4))
def test_equals_slow_oracle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bars = random_bars(["A", "B", "C"], 150, seed=seed, volatility=0.02)
    volatility = pd.Series(rng.uniform(0.005, 0.03, len(bars)), index=bars.index)
    volatility[rng.random(len(bars)) < 0.05] = np.nan
    config = BarrierConfig(stop_multiple=1.5, target_multiple=2.5, horizon=int(rng.integers(1, 12)), cost_bps=5)
    labels = triple_barrier(bars, volatility, config)
    expected = slow_oracle(bars, volatility, config)
    assert set(labels.index) == set(expected)
    assert [labels.loc[key, "exit"] for key in expected] == [kind for kind, _ in expected.values()]
    np.testing.assert_allclose([labels.loc[key, "ret"] for key in expected], [ret for _, ret in expected.values()], rtol=0, atol=1e-14)
    assert ((labels["ret"] > 0) == (labels["label"] == 1)).all()
    assert set(labels["exit"].unique()) >= {"stop", "target"}


def test_labels_are_known_after_they_end_and_do_not_depend_on_later_bars() -> None:
    bars = random_bars(["A"], 120, seed=3)
    volatility = pd.Series(0.012, index=bars.index)
    config = BarrierConfig(horizon=8)
    whole = triple_barrier(bars, volatility, config)
    assert (whole["t1"] > whole.index.get_level_values("timestamp")).all()
    cut = triple_barrier(bars.iloc[:80], volatility.iloc[:80], config)
    assert len(cut) == 80 - 9
    pd.testing.assert_frame_equal(cut.iloc[:-1], whole.iloc[: len(cut) - 1])


def test_scale_free() -> None:
    """Prices times a constant (an adjustment factor) give the same label."""
    bars = random_bars(["A"], 100, seed=5)
    volatility = pd.Series(0.012, index=bars.index)
    scaled = bars.assign(**{name: bars[name] * 4.0 for name in ("open", "high", "low", "close")})
    pd.testing.assert_frame_equal(triple_barrier(bars, volatility), triple_barrier(scaled, volatility), check_exact=False, rtol=1e-12)


def test_volatility_is_bounded() -> None:
    config = BarrierConfig(target_multiple=2.0, min_volatility=0.01, max_volatility=0.1)
    stop, target = barrier_prices(np.array([100.0, 100.0]), np.array([1e-9, 5.0]), config)
    np.testing.assert_allclose(stop, [98.0, 80.0])
    np.testing.assert_allclose(target, [102.0, 120.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b, v: (b.drop(columns="high"), v), "no high"),
        (lambda b, v: (b, v.iloc[1:]), "different index"),
        (lambda b, v: (b.iloc[::-1], v.iloc[::-1]), "unsorted"),
        (lambda b, v: (b.assign(close=np.nan), v), "NaN or non-positive prices"),
        (lambda b, v: (b.iloc[:11], v.iloc[:11]), "no label"),
        (lambda b, v: (b, v * np.nan), "no label"),
    ],
)
def test_bad_input(change, message: str) -> None:  # type: ignore[no-untyped-def]
    bars = random_bars(["A"], 40)
    bars, volatility = change(bars, pd.Series(0.01, index=bars.index))
    with pytest.raises(ModelDataError, match=message):
        triple_barrier(bars, volatility)


@pytest.mark.parametrize("bad", [{"horizon": 0}, {"stop_multiple": 0.0}, {"cost_bps": -1.0}, {"max_volatility": 0.5}])
def test_bad_config(bad: dict[str, float]) -> None:
    with pytest.raises(ModelDataError):
        BarrierConfig(**bad)  # type: ignore[arg-type]
