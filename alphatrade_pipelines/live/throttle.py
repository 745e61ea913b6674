"""Our own rate limit, below the broker's: a token bucket in which exits never queue behind reads.

Alpaca allows 200 requests a minute for a key. The bucket grants at most ``per_minute`` in any sixty seconds, and keeps the last of its
tokens for those who need them most: a lane may spend only what lies above its reserve. Whatever the broker says of its limit (429,
``Retry-After``, ``X-RateLimit-*``) is heeded. Durations run on an injected monotonic clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import requests
import structlog

from alphatrade_pipelines.live.transport import ThrottledError, retry_after

log = structlog.get_logger(__name__)
TOO_MANY = 429
# after a 429 that does not say how long it lasts
UNSAID_S = 2.0
# Alpaca's window is a minute: nobody is shut out longer by what one answer says
LONGEST_S = 60.0
NOTHING_S = 1e-6


class Lane(IntEnum):
    """Who asks; lower goes first."""

    EXIT = 0  # exits, protection, cancels, replacements
    PROBE = 1  # orders whose fate is unknown
    GLANCE = 2  # the clock and the account, which the session's loop waits for
    ENTRY = 3
    READ = 4


# share of the burst a lane leaves untouched, and seconds it waits for its turn (reads wait in a thread of their own)
RESERVE = {Lane.EXIT: 0.0, Lane.PROBE: 0.1, Lane.GLANCE: 0.2, Lane.ENTRY: 0.3, Lane.READ: 0.5}
PATIENCE_S = {Lane.EXIT: 2.0, Lane.PROBE: 1.0, Lane.GLANCE: 1.0, Lane.ENTRY: 1.0, Lane.READ: 20.0}


class Throttle:
    """One key's allowance, shared by all its clients; thread-safe. ``per_minute`` requests at most in any sixty seconds, a quarter of
    them at once."""

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        if per_minute < 8:
            raise ValueError(f"expected at least 8 requests a minute, was {per_minute}")
        self.burst = per_minute / 4.0
        self._rate = (per_minute - self.burst) / 60.0
        self._now, self._sleep = now, sleep
        self._tokens, self._at, self._closed_until = self.burst, now(), float("-inf")
        self._lock = threading.Lock()

    def take(self, lane: Lane, patience_s: float | None = None) -> float:
        """Spend one token, waiting for it if need be; returns the seconds waited.

        Raises ThrottledError when it would take longer than ``patience_s`` (default: that of the lane).
        """
        waited, patience = 0.0, PATIENCE_S[lane] if patience_s is None else patience_s
        while (wait := self._take_or_wait(lane)) > 0.0:
            if waited + wait > patience:
                raise ThrottledError(lane.name.lower(), wait)
            self._sleep(wait)
            waited += wait
        return waited

    def _take_or_wait(self, lane: Lane) -> float:
        with self._lock:
            now = self._now()
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            short = 1.0 + RESERVE[lane] * self.burst - self._tokens
            wait = max(self._closed_until - now, short / self._rate)
            if wait > NOTHING_S:
                return wait
            self._tokens -= 1.0
            return 0.0

    def heed(self, status: int, headers: Mapping[str, str]) -> None:
        """Take note of what an answer says about the limit."""
        remaining = headers.get("X-RateLimit-Remaining", "")
        asked = retry_after(headers)
        with self._lock:
            if status == TOO_MANY:
                wait = min(LONGEST_S, UNSAID_S if asked is None else asked)
                self._closed_until = max(self._closed_until, self._now() + wait)
            elif remaining.isdigit() and int(remaining) < self._tokens:
                self._tokens = float(remaining)
        if status == TOO_MANY:
            log.warning("rate limited by the broker", resets_in_s=asked)


class Valve:
    """What every request of one SDK client passes: its turn first, then a look at what the answer says. One client, one thread."""

    def __init__(self, client: Any, throttle: Throttle, lane: Lane) -> None:
        """Puts itself in front of the client's ``requests`` session (the SDK offers no public way)."""
        self.lane, self._throttle = lane, throttle
        session: requests.Session = client._session
        self._send = session.send
        session.send = self._pass  # type: ignore[method-assign]

    def _pass(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        self._throttle.take(self.lane)
        response = self._send(request, **options)
        self._throttle.heed(response.status_code, response.headers)
        return response
