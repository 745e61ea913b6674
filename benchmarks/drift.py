"""How often drift and staleness cry wolf, and how long they take to see a real shift: figures of quality, not of speed.

Stationary features with the dependence of real ones (memory in time, a market in common) are looked at once a week, as the sensor does with
a window of 60 sessions; then a part of them shifts. The score test is looked at after every resolved prediction.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.timing import Row

SYMBOLS, FEATURES, WINDOW, TRAINING = 20, 50, 60, 1250
STABLE_WEEKS, SHIFTED_WEEKS, HISTORIES = 50, 40, 4
SHIFTED_SHARE = 0.4
SHIFTS = (0.1, 0.25, 0.5)
RETRAIN_SHARE = 0.25
# name, autocorrelation of neighbouring days, correlation between symbols
PANELS = (("own, fast", 0.0, 0.0), ("own, slow", 0.8, 0.0), ("market, fast", 0.0, 0.3), ("market, slow", 0.8, 0.3))


def _panel(sessions: int, memory: float, common: float, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    shape = (sessions, SYMBOLS, FEATURES)
    noise = np.sqrt(common) * rng.normal(size=(sessions, 1, FEATURES)) + np.sqrt(1.0 - common) * rng.normal(size=shape)
    for t in range(1, sessions):
        noise[t] = memory * noise[t - 1] + np.sqrt(1.0 - memory**2) * noise[t]
    return noise


def _frame(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], first: int) -> pd.DataFrame:
    times = pd.date_range("2000-01-03", periods=first + len(values), freq="B", tz="UTC")[first:]
    index = pd.MultiIndex.from_product([times, [f"S{k}" for k in range(SYMBOLS)]], names=["timestamp", "symbol"])
    frame = pd.DataFrame(values.reshape(-1, FEATURES), index=index, columns=[f"f{k}" for k in range(FEATURES)])
    return frame.reorder_levels(["symbol", "timestamp"])


def features() -> list[Row]:
    """Feature drift: false alarms in 100 stable weeks, weeks to detection."""
    from alphatrade_pipelines.models.drift import DriftReport, drift_reference, feature_drift

    rows: list[Row] = []
    for name, memory, common in PANELS:
        stable: list[DriftReport] = []
        delays: dict[float, list[tuple[float, float]]] = {shift: [] for shift in SHIFTS}
        for history in range(HISTORIES):
            rng = np.random.default_rng(history)
            length = TRAINING + WINDOW + 5 * (STABLE_WEEKS + SHIFTED_WEEKS)
            values = _panel(length, memory, common, rng)
            training = _frame(values[:TRAINING], 0)
            reference = drift_reference(training, 0.5 + 0.05 * training["f0"].clip(-3, 3))
            change = TRAINING + WINDOW + 5 * STABLE_WEEKS
            ends = range(TRAINING + WINDOW, change, 5)
            stable += [feature_drift(reference, _frame(values[end - WINDOW : end], end - WINDOW)) for end in ends]
            for shift in SHIFTS:
                moved = values.copy()
                moved[change:, :, : int(SHIFTED_SHARE * FEATURES)] += shift
                delays[shift].append(_delay(reference, moved, change))
        hundred = 100.0 / len(stable)
        rows += [
            (f"{name}: stable, a feature flagged", sum(bool(one.drifted) for one in stable) * hundred, "of 100 weeks"),
            (f"{name}: stable, a retrain asked for", sum(one.share >= RETRAIN_SHARE for one in stable) * hundred, "of 100 weeks"),
        ]
        for shift in SHIFTS:
            first, retrain = (float(np.median(found)) for found in zip(*delays[shift], strict=True))
            never = f"(no = {SHIFTED_WEEKS + 1})"
            rows.append((f"{name}: shift {shift} sd of 40 % of features, first true one flagged", first, f"weeks {never}"))
            rows.append((f"{name}: shift {shift} sd of 40 % of features, retrain asked for", retrain, f"weeks {never}"))
    return rows


def _delay(reference: dict[str, object], values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], change: int) -> tuple[float, float]:
    from alphatrade_pipelines.models.drift import feature_drift

    truly = {f"f{k}" for k in range(int(SHIFTED_SHARE * FEATURES))}
    first = retrain = float(SHIFTED_WEEKS + 1)
    for week in range(1, SHIFTED_WEEKS + 1):
        end = change + 5 * week
        report = feature_drift(reference, _frame(values[end - WINDOW : end], end - WINDOW))
        if truly & set(report.drifted):
            first = min(first, week)
        if report.share >= RETRAIN_SHARE:
            return first, float(week)
    return first, retrain


def scores() -> list[Row]:
    """The score test: predictions between false alarms, predictions until a wrong model is found."""
    from alphatrade_pipelines.models.staleness import evidence_path

    rate, length, histories = 0.001, 5000, 40
    runs: dict[str, list[int]] = {"right": [], "base rate as good": [], "too sure by half": [], "0.05 too high": []}
    for seed in range(histories):
        rng = np.random.default_rng(seed)
        p = np.clip(rng.normal(0.53, 0.05, length), 0.05, 0.95)
        truths = {
            "right": p,
            "base rate as good": np.full(length, 0.53),
            "too sure by half": 0.53 + 0.5 * (p - 0.53),
            "0.05 too high": p - 0.05,
        }
        for name, truth in truths.items():
            times = pd.date_range("2000-01-03", periods=length, freq="B", tz="UTC")
            rows = pd.DataFrame(
                {"t1": times + pd.offsets.BDay(), "label": (rng.random(length) < truth).astype(int), "probability": p},
                index=pd.MultiIndex.from_product([["A"], times], names=["symbol", "timestamp"]),
            )
            crossed = np.flatnonzero(evidence_path(rows, 0.53) >= 1.0 / rate)
            runs[name].append(int(crossed[0]) + 1 if len(crossed) else length + 1)
    found = [
        (f"score test at rate {rate}: {name}, median predictions to an alarm", float(np.median(n)), f"(no = {length + 1})")
        for name, n in runs.items()
    ]
    alarmed = 100.0 * float(np.mean([n <= length for n in runs["right"]]))
    found.append((f"score test at rate {rate}: right models called stale within {length} predictions", alarmed, "%"))
    return found


def volume_feed() -> list[Row]:
    """The tick of a volume feed to 3 % and back, in panels of volumes that wander as real ones do."""
    from alphatrade_pipelines.models.volume_feed import find_volume_feed_change

    caught = false = right_day = 0
    trials = 50
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        sessions, symbols, at = 300, int(rng.integers(2, 30)), int(rng.integers(200, 290))
        times = pd.date_range("2000-01-03", periods=sessions, freq="B", tz="UTC")
        walk = np.cumsum(rng.normal(0, 0.05, sessions)) + rng.normal(0, 0.25, sessions)
        logs = 13.0 + walk[:, None] + rng.normal(0, 0.4, (sessions, symbols))
        index = pd.MultiIndex.from_product([times, [f"S{k}" for k in range(symbols)]], names=["timestamp", "symbol"])
        bars = pd.DataFrame({"close": 50.0, "volume": np.exp(logs).ravel()}, index=index).reorder_levels(["symbol", "timestamp"])
        false += find_volume_feed_change(bars) is not None
        ticked = bars.copy()
        # each symbol's own share of one venue: around 3 %
        share = dict(zip((f"S{k}" for k in range(symbols)), 0.03 * np.exp(rng.normal(0, 0.25, symbols)), strict=True))
        after = ticked.index.get_level_values("timestamp") >= times[at]
        ticked.loc[after, "volume"] *= ticked.index.get_level_values("symbol")[after].map(share)
        found = find_volume_feed_change(ticked)
        caught += found is not None
        right_day += found is not None and found.since == times[at]
    return [
        ("volume feed to about 3 %: recognised", 100.0 * caught / trials, "%"),
        ("volume feed to about 3 %: the right day", 100.0 * right_day / trials, "%"),
        ("volume feed: seen where there was none", 100.0 * false / trials, "%"),
    ]


def drift() -> list[Row]:
    """All of it."""
    return [*features(), *scores(), *volume_feed()]
