"""The core's configuration: plain values, travelling inside ``SessionStarted`` so that a replay needs nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from alphatrade_pipelines.risk import LimitsConfig, SizingConfig
from alphatrade_pipelines.trading.codec import from_plain, to_plain
from alphatrade_pipelines.trading.execution import ExecutionConfig


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Durations ``*_s`` are seconds of the events' time; fractions are of the price.

    ``entry_cancel_wait_s``: how long the cancellation of an entry may take before what it has bought is protected or sold beside it.
    ``partial_entry_wait_s``: how long a partly filled entry (whose bracket legs are still asleep) may stay unprotected before its
    remainder is cancelled and the filled part gets an OCO. 0 acts at once; use it where time moves in coarse steps.
    ``stream_lost_interval_s``: how often the broker is read while no trade updates come; ``read_max_age_s``: no entry when the last read
    that succeeded is older (four intervals at least).
    ``default_stop`` / ``default_target``: distances for positions that arrive without a plan (found at start, manual trades).
    Entries: not below ``min_entry_qty`` shares when they are halved; not on a last price older than ``price_max_age_s``; with
    ``entries_when_closed`` they queue for the open; none in the last ``no_entry_before_close_s`` of a session.
    Exits: ``exit_market_attempts`` at market, then ``exit_limit_attempts`` at a limit ``exit_limit_collar`` through the last price (moved
    after ``exit_reprice_s`` without a fill), then the broker is asked to close; an exit at rest for ``exit_stalled_s`` alarms. What
    closes or protects and was refused, or never arrived, waits at most ``exit_retry_longest_s``: the position may have no stop, and what
    stood in the way may be gone at any moment. Where many wait, the broker's rate limit comes first: ``exit_retry_spacing_s`` for each.
    ``protection_bound_s``: open-market time a position may stand exposed before that is a breach; ``protection_renew_days``: age at which
    protection is renewed, ahead of the 90 days after which Alpaca ages orders out.
    A rate limit's own reset is honoured up to ``retry_after_longest_s``.
    """

    strategy: str = "alphatrade"
    sizing: SizingConfig = field(default_factory=SizingConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    allow_short: bool = False
    signal_max_age_s: float = 3600.0
    price_max_age_s: float = 3600.0
    price_collar: float = 0.10
    entries_when_closed: bool = True
    no_entry_before_close_s: float = 0.0
    reconcile_interval_s: float = 30.0
    stream_lost_interval_s: float = 5.0
    read_max_age_s: float = 120.0
    activity_guard_s: float = 2.0
    partial_entry_wait_s: float = 3.0
    cancel_retry_s: float = 5.0
    entry_cancel_wait_s: float = 2.0
    retry_first_s: float = 1.0
    retry_longest_s: float = 60.0
    exit_retry_longest_s: float = 5.0
    exit_retry_spacing_s: float = 2.0
    retry_after_longest_s: float = 120.0
    halt_retry_s: float = 30.0
    max_entry_attempts: int = 4
    min_entry_qty: int = 1
    exit_market_attempts: int = 3
    exit_limit_attempts: int = 2
    exit_limit_collar: float = 0.02
    exit_reprice_s: float = 10.0
    exit_stalled_s: float = 60.0
    protection_bound_s: float = 10.0
    protection_renew_days: float = 80.0
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

    def exit_backoff_s(self, attempts: int, waiting: int) -> float:
        """Seconds to wait after the ``attempts``-th failure to close or to protect, while ``waiting`` positions wait so."""
        longest = max(self.exit_retry_longest_s, self.exit_retry_spacing_s * waiting)
        return min(self.backoff_s(attempts), longest)

    def backoff_s(self, attempts: int) -> float:
        """Seconds to wait after the ``attempts``-th failure: doubling from ``retry_first_s`` up to ``retry_longest_s``."""
        return min(self.retry_longest_s, self.retry_first_s * 2.0 ** min(attempts - 1, 16)) if attempts > 0 else 0.0
