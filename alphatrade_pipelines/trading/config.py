"""The core's configuration: plain values, travelling inside ``SessionStarted`` so that a replay needs nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from alphatrade_pipelines.risk import LimitsConfig, SizingConfig
from alphatrade_pipelines.trading.codec import from_plain, to_plain


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Durations ``*_s`` are seconds of the events' time; fractions are of the price.

    ``partial_entry_wait_s``: how long a partly filled entry (whose bracket legs are still asleep) may stay unprotected before its
    remainder is cancelled and the filled part gets an OCO. 0 acts at once; use it where time moves in coarse steps.
    ``default_stop`` / ``default_target``: distances for positions that arrive without a plan (found at start, manual trades).
    """

    strategy: str = "alphatrade"
    sizing: SizingConfig = field(default_factory=SizingConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    allow_short: bool = False
    signal_max_age_s: float = 3600.0
    price_collar: float = 0.10
    reconcile_interval_s: float = 30.0
    activity_guard_s: float = 2.0
    partial_entry_wait_s: float = 10.0
    cancel_retry_s: float = 5.0
    retry_first_s: float = 1.0
    retry_longest_s: float = 60.0
    max_entry_attempts: int = 4
    attempts_before_alarm: int = 3
    default_stop: float = 0.05
    default_target: float = 0.10

    def to_json(self) -> str:
        """Canonical JSON (sorted keys)."""
        return json.dumps(to_plain(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> CoreConfig:
        """Inverse of ``to_json``. Raises CodecError on unknown or ill-typed fields."""
        config: CoreConfig = from_plain(cls, json.loads(text))
        return config

    def backoff_s(self, attempts: int) -> float:
        """Seconds to wait after the ``attempts``-th failure: doubling from ``retry_first_s`` up to ``retry_longest_s``."""
        return min(self.retry_longest_s, self.retry_first_s * 2.0 ** min(attempts - 1, 16)) if attempts > 0 else 0.0
