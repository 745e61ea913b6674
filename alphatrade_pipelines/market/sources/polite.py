"""A requests adapter that never hangs, never exceeds the venue's rate limit and retries reads only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception_type, retry_if_result, stop_after_attempt, wait_exponential, wait_random

RETRY_STATUSES = frozenset({429, 500, 502, 503, 504})
_TRANSIENT = (requests.exceptions.ConnectionError, requests.exceptions.Timeout)


class TokenBucket:
    """At most ``per_minute`` acquisitions a minute on average, ``burst`` at once. Thread-safe; waits in the caller's thread."""

    def __init__(
        self, per_minute: float, burst: int, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        if per_minute <= 0 or burst < 1:
            raise ValueError(f"Expected a positive rate and a burst of at least 1, was {per_minute} and {burst}")
        self._rate, self._burst = per_minute / 60.0, float(burst)
        self._now, self._sleep = now, sleep
        self._tokens, self._at = self._burst, now()
        self._lock = threading.Lock()

    def acquire(self) -> float:
        """Take one token, waiting for it if need be; returns the seconds waited."""
        with self._lock:
            now = self._now()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1.0
            self._at = now
            wait = max(0.0, -self._tokens / self._rate)
        if wait > 0:
            self._sleep(wait)
        return wait


class PoliteAdapter(HTTPAdapter):
    """Adds to every request: a connect and a read timeout, a token from ``bucket``; to GETs also retries with jittered backoff.

    Anything but a GET is sent exactly once: a request that changes something must not be repeated blindly. A 429 waits as long as its
    ``Retry-After`` asks, within ``longest_wait``.
    """

    def __init__(
        self,
        bucket: TokenBucket,
        connect_timeout: float,
        read_timeout: float,
        attempts: int,
        longest_wait: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._bucket, self._timeout = bucket, (connect_timeout, read_timeout)
        self._attempts, self._longest, self._sleep = attempts, longest_wait, sleep
        self._backoff = wait_exponential(multiplier=0.5, max=longest_wait) + wait_random(0, 0.5)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        if request.method != "GET":
            return self._send_once(request, *args, **kwargs)
        retrying = Retrying(
            stop=stop_after_attempt(self._attempts),
            wait=self._wait,
            retry=retry_if_exception_type(_TRANSIENT) | retry_if_result(lambda response: response.status_code in RETRY_STATUSES),
            retry_error_callback=_last_outcome,
            sleep=self._sleep,
        )
        return retrying(self._send_once, request, *args, **kwargs)

    def _send_once(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self._bucket.acquire()
        return super().send(request, *args, **kwargs)

    def _wait(self, state: RetryCallState) -> float:
        outcome = state.outcome
        if outcome is not None and not outcome.failed:
            asked = outcome.result().headers.get("Retry-After", "")
            if asked.isdigit():
                return min(float(asked), self._longest)
        return self._backoff(state)


def _last_outcome(state: RetryCallState) -> requests.Response:
    """After the last attempt hand over what there is: the response for the SDK to interpret, or the exception."""
    if state.outcome is None:
        raise RuntimeError("no attempt was made")
    response: requests.Response = state.outcome.result()
    return response
