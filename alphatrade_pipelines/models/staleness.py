"""Is the model still worth following? Its age, and a test of its live probabilities against their outcomes.

The test is a betting one (Ville 1939; Shafer 2021): the ratio of another forecaster's likelihood to the model's is a fair game if the
model's probabilities are right. The other forecasters are the base rate and the model itself recalibrated (too sure, not sure enough,
too high, too low, the wrong way round); the stake is spread over them. A model that was right for years may go wrong tomorrow, so every
new prediction opens a new game and the evidence is the sum over games (Shiryaev-Roberts form of an e-detector; Shin, Ramdas & Rinaldo
2023): under a right model the mean number of predictions before a false alarm at 1/alpha is at least 1/alpha, however often one looks.
An accuracy threshold on the last 100 trades has no such guarantee: at a true 55 % it cries wolf in a quarter of all looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from alphatrade_pipelines.models.errors import ModelDataError
from alphatrade_pipelines.models.metrics import log_losses

FloatArray = npt.NDArray[np.float64]
ACCURACY_WINDOW = 100
# (shift, slope) of log odds a rival believes in: too high, too low, too sure, not sure enough, the wrong way round
RIVALS = ((-0.4, 1.0), (0.4, 1.0), (0.0, 0.5), (0.0, 2.0), (0.0, -1.0))


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
    """``path``: evidence against the model after each resolved prediction; at 1 / ``false_alarm_rate`` the model is called stale.

    ``log_loss_gain``: base-rate minus model log loss over the ``resolved`` predictions (positive = the model helps); ``accuracy`` of the
    last :data:`ACCURACY_WINDOW`, for people; ``runs``: sequences without overlap the evidence is averaged over.
    """

    path: FloatArray
    runs: int
    log_loss_gain: float
    accuracy: float
    false_alarm_rate: float

    @property
    def resolved(self) -> int:
        """Number of predictions."""
        return len(self.path)

    @property
    def evidence(self) -> float:
        """Evidence now."""
        return float(self.path[-1]) if len(self.path) else 0.0

    @property
    def peak(self) -> float:
        """The most it ever was."""
        return float(self.path.max()) if len(self.path) else 0.0

    @property
    def stale(self) -> bool:
        """True when the evidence has reached its limit; under a right model at most once in 1 / rate predictions of a run on average."""
        return self.peak >= 1.0 / self.false_alarm_rate


def age_staleness(known_through: datetime, now: datetime, limit: timedelta = timedelta(days=30)) -> AgeReport:
    """Age of the newest outcome the model was trained on. ``now`` is wall time or, in a simulation, market time. Both must be aware."""
    if known_through.tzinfo is None or now.tzinfo is None:
        raise ModelDataError("aware times", "a naive one", "Attach UTC.")
    return AgeReport(now - known_through, limit)


def score_staleness(predictions: pd.DataFrame, base_rate: float, false_alarm_rate: float = 0.001) -> ScoreReport:
    """Test all resolved predictions of one model, in the order in which they were resolved.

    ``predictions``: index (symbol, timestamp), columns t1 (resolved when), label (0/1), probability, as the model gave it at the time.
    Predictions that overlap in time are not independent: they are dealt into sequences without overlap, each a fair game, and the
    mean of the sequences' evidence is evidence. Many overlapping predictions therefore teach little: twenty symbols held for ten days
    hold the evidence of one symbol a fortnight, more or less.
    Raises ModelDataError for missing columns or a base rate outside (0, 1).
    """
    absent = [name for name in ("t1", "label", "probability") if name not in predictions]
    if absent or not 0.0 < base_rate < 1.0:
        raise ModelDataError("columns t1, label, probability and a base rate inside (0, 1)", f"no {absent}, base rate {base_rate}")
    if predictions.empty:
        return ScoreReport(np.empty(0), 0, 0.0, float("nan"), false_alarm_rate)
    rows = predictions.sort_values("t1", kind="stable")
    y, p = rows["label"].to_numpy(np.float64), rows["probability"].to_numpy(np.float64)
    right = ((p > 0.5) == (y > 0.5))[-ACCURACY_WINDOW:]
    gain = log_losses(y, np.full(len(y), base_rate)) - log_losses(y, p)
    return ScoreReport(
        path=evidence_path(rows, base_rate),
        runs=int(_runs(rows).max()) + 1,
        log_loss_gain=float(gain.mean()),
        accuracy=float(right.mean()),
        false_alarm_rate=false_alarm_rate,
    )


def evidence_path(rows: pd.DataFrame, base_rate: float) -> FloatArray:
    """Evidence against the model after each resolved prediction; ``rows`` as in :func:`score_staleness`, sorted by ``t1``.

    In each run R_k = (R_k-1 + 1) x likelihood ratio for every rival; the mean over rivals and over runs is what is returned.
    """
    y, p = rows["label"].to_numpy(np.float64), rows["probability"].to_numpy(np.float64)
    rivals = np.vstack([np.full(len(p), base_rate), *(_recalibrated(p, shift, slope) for shift, slope in RIVALS)])
    ratio = np.exp(log_losses(y, p) - np.array([log_losses(y, rival) for rival in rivals]))
    run = _runs(rows)
    standing = np.zeros((int(run.max()) + 1, len(rivals)))
    path, total = np.empty(len(rows)), 0.0
    for k in range(len(rows)):
        before = standing[run[k]].mean()
        standing[run[k]] = (standing[run[k]] + 1.0) * ratio[:, k]
        total += standing[run[k]].mean() - before
        path[k] = total / len(standing)
    return path


def _recalibrated(p: FloatArray, shift: float, slope: float) -> FloatArray:
    """The model's probabilities with their log odds stretched and moved."""
    odds = shift + slope * np.log(p / (1.0 - p))
    rival: FloatArray = 1.0 / (1.0 + np.exp(-odds))
    return rival


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
