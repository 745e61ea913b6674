"""Is the model still worth following? Its age, and a test of its live probabilities against their outcomes.

The test is a betting one (Ville 1939; Shafer 2021): the product of base-rate likelihood over model likelihood is a fair game if the
model's probabilities are right, so the chance that it ever multiplies the stake by 1/alpha is at most alpha. An accuracy threshold on the
last 100 trades has no such guarantee: at a true 55 % it cries wolf in a quarter of all looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.metrics import log_losses


@dataclass(frozen=True, slots=True)
class AgeReport:
    """``age`` of what the model knows against the ``limit``."""

    age: timedelta
    limit: timedelta

    @property
    def stale(self) -> bool:
        """True when older than the limit."""
        return self.age > self.limit


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """``evidence`` is the e-value against the model: below 1 it speaks for it, at 1 / ``false_alarm_rate`` the model is called stale.

    ``log_loss_gain``: base-rate minus model log loss over the ``resolved`` predictions (positive = the model helps), ``accuracy`` for
    people, ``runs`` the number of sequences without overlap that the evidence is averaged over.
    """

    resolved: int
    runs: int
    evidence: float
    log_loss_gain: float
    accuracy: float
    false_alarm_rate: float

    @property
    def stale(self) -> bool:
        """True when the evidence reaches its limit; under a right model this happens at most at the stated rate."""
        return self.evidence >= 1.0 / self.false_alarm_rate


def age_staleness(known_through: datetime, now: datetime, limit: timedelta = timedelta(days=30)) -> AgeReport:
    """Age of the newest outcome the model was trained on. ``now`` is wall time or, in a simulation, market time. Both must be aware."""
    if known_through.tzinfo is None or now.tzinfo is None:
        raise ModelDataError("aware times", "a naive one", "Attach UTC.")
    return AgeReport(now - known_through, limit)


def score_staleness(predictions: pd.DataFrame, base_rate: float, last: int = 100, false_alarm_rate: float = 0.01) -> ScoreReport:
    """Test the ``last`` resolved predictions.

    ``predictions``: index (symbol, timestamp), columns t1 (resolved when), label (0/1), probability, as the model gave it at the time.
    Predictions that overlap in time are not independent: they are dealt into sequences without overlap, each a fair game, and the
    mean of fair games is fair. The rate holds for one look at a window of fixed length, not over all windows ever looked at.
    Raises ModelDataError for missing columns or a base rate outside (0, 1).
    """
    absent = [name for name in ("t1", "label", "probability") if name not in predictions]
    if absent or not 0.0 < base_rate < 1.0:
        raise ModelDataError("columns t1, label, probability and a base rate inside (0, 1)", f"no {absent}, base rate {base_rate}")
    recent = predictions.sort_values("t1", kind="stable").tail(last)
    if recent.empty:
        return ScoreReport(0, 0, 1.0, 0.0, float("nan"), false_alarm_rate)
    y, p = recent["label"].to_numpy(np.float64), recent["probability"].to_numpy(np.float64)
    gain = log_losses(y, np.full(len(y), base_rate)) - log_losses(y, p)
    run = _runs(recent)
    totals = np.bincount(run, weights=-gain)
    return ScoreReport(
        resolved=len(recent),
        runs=len(totals),
        evidence=float(np.exp(totals).mean()),
        log_loss_gain=float(gain.mean()),
        accuracy=float(((p > 0.5) == (y > 0.5)).mean()),
        false_alarm_rate=false_alarm_rate,
    )


def _runs(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Deal rows into the fewest sequences in which each prediction is made after the one before is resolved (greedy by start)."""
    starts = pd.DatetimeIndex(rows.index.get_level_values("timestamp")).as_unit("ns").asi8
    ends = pd.DatetimeIndex(rows["t1"]).as_unit("ns").asi8
    run = np.zeros(len(rows), dtype=np.int64)
    free: list[int] = []
    for i in np.argsort(starts, kind="stable"):
        k = next((k for k, busy_until in enumerate(free) if busy_until <= starts[i]), len(free))
        if k == len(free):
            free.append(0)
        free[k], run[i] = int(ends[i]), k
    return run
